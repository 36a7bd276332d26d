"""`kubectl spawn end`: end an app now, and see it gone."""

import time
from datetime import UTC, datetime, timedelta

import click

from kubectl_spawn.app import EXPIRES_AT, App, dollars
from kubectl_spawn.beside import Later
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import SESSIONS, Cluster
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.console import find_console
from kubectl_spawn.durations import duration_option, format_duration
from kubectl_spawn.errors import CommandError, ExitCode
from kubectl_spawn.follow import follow
from kubectl_spawn.terminal import Terminal, harmless

_USUAL = timedelta(minutes=3)
_MINUTE = 60
_LOOK_SECONDS = 0.5


class _Marks:
    """Tells when the address is off, when the server is destroyed, and what a teardown that takes
    long waits for.
    """

    def __init__(self, terminal: Terminal, cluster: Cluster, before: App) -> None:
        self._terminal = terminal
        self._answers = bool(before.url)
        self._words: object = None
        self._server = Later(lambda: _until_destroyed(cluster, before))
        self.told_server = False

    def show(self, app: App, elapsed: timedelta) -> None:
        if self._answers and not app.url:
            self._answers = False
            self._terminal.done(f"address off after {_seconds(elapsed)}")
        if self._server.get() and not self.told_server:
            self.told_server = True
            self._terminal.done(f"server destroyed after {_seconds(elapsed)}")
        words = app.condition("CleanupComplete").get("message")
        if self._words not in {None, words} and not app.has_ended:
            self._terminal.note(harmless(str(words)))
        self._words = words


def _until_destroyed(cluster: Cluster, app: App) -> bool:
    """Look until the ledger says that the server was given back, which no status tells; the console
    shows the ledger.
    """
    console = find_console(cluster)
    while True:
        receipt = console.json(f"/api/sessions/{app.namespace}.{app.name}/receipt")
        servers = [one for one in receipt["resources"] if one["kind"] == "Droplet"]
        if servers and all(one.get("deletionAcceptedAt") or one.get("goneAt") for one in servers):
            return True
        time.sleep(_LOOK_SECONDS)


def _seconds(took: timedelta) -> str:
    """A duration; below a minute with its tenths, as a server is usually gone within seconds."""
    seconds = took.total_seconds()
    return f"{seconds:.1f}s" if seconds < _MINUTE else format_duration(took)


@click.command("end")
@click.argument("app")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is seen gone (the default).")
@click.option("--timeout", help="How long to wait at most: 3m by default.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    app: str,
    *,
    yes: bool,
    wait: bool,
    timeout: str | None,
    namespace: str | None,
    output: str | None,
) -> int:
    """End an app now: its server and all data on it are destroyed. The receipt stays."""
    call = call_of(ctx, output, namespace)
    limit = duration_option("--timeout", timeout) or _USUAL
    found = find_app(call.cluster, app)
    if found.has_ended:
        if call.terminal.as_json:
            call.terminal.document(found.document)
        call.terminal.done(f"{app} has ended already")
        return ExitCode.OK
    if not yes:
        answer = call.terminal.confirm(f"End {app} now? Its server and data are destroyed.")
        if answer is None:
            raise CommandError(
                f"{app} was not ended: nobody is here to confirm it",
                code=ExitCode.USAGE,
                next_steps=(f"kubectl spawn end {app} --yes",),
            )
        if not answer:
            call.terminal.say(f"{app} goes on.")
            return ExitCode.OK
    began = time.monotonic()
    changes = {"metadata": {"annotations": {EXPIRES_AT: "now"}}}
    changed = call.cluster.patch(SESSIONS, app, changes)
    if not wait:
        if call.terminal.as_json:
            call.terminal.document(changed)
        call.terminal.done(f"{app} ends")
        return ExitCode.OK
    marks = _Marks(call.terminal, call.cluster, found)
    outcome = follow(call.cluster, app, lambda seen: seen.has_ended, marks, limit=limit)
    took = _seconds(timedelta(seconds=time.monotonic() - began))
    last = outcome.app
    if last is None:
        if call.terminal.as_json:
            call.terminal.document(changed)
        call.terminal.done(f"{app} is gone after {took}")
        return ExitCode.OK
    if call.terminal.as_json:
        call.terminal.document(last.document)
    if not last.has_ended:
        raise CommandError(
            f"{app} is not seen gone after {format_duration(limit)}. The operator goes on.",
            code=ExitCode.TIMEOUT,
            cause=last.message,
            next_steps=(f"kubectl spawn status {app}",),
        )
    cost = dollars(last.cost_so_far(datetime.now(UTC)))
    both = "" if marks.told_server else "server destroyed and "
    call.terminal.done(f"{app}: {both}seen gone after {took} · nothing is left · cost {cost}")
    return ExitCode.OK
