"""`kubectl spawn revise`: another prompt for a running app, or an earlier version again."""

import hashlib
import time
from datetime import timedelta
from typing import TextIO

import click

from kubectl_spawn.app import App, dollars
from kubectl_spawn.cli import Call, call_of, common_options
from kubectl_spawn.cluster import SESSIONS, Cluster
from kubectl_spawn.commands.find import find_living_app
from kubectl_spawn.commands.source_command import source_of
from kubectl_spawn.console import find_console
from kubectl_spawn.durations import duration_option, format_duration
from kubectl_spawn.errors import CommandError, ExitCode
from kubectl_spawn.follow import Follower, Outcome, follow, follower_for
from kubectl_spawn.terminal import Terminal, harmless

_USUAL = timedelta(minutes=10)
_MOST_NAMES = 4
_WAITING_FOR_BUDGET = "WaitingForBudget"


class _Waits:
    """Follows a change, and says once that it waits for a budget."""

    def __init__(self, follower: Follower, terminal: Terminal) -> None:
        self._follower = follower
        self._terminal = terminal
        self._told = False

    def show(self, app: App, elapsed: timedelta) -> None:
        self._follower.show(app, elapsed)
        failed = app.condition("UpdateFailed")
        if failed.get("reason") == _WAITING_FOR_BUDGET and not self._told:
            self._told = True
            self._terminal.note(f"{failed.get('message')}; the app runs on as it is until then")
            self._terminal.next("kubectl spawn budgets")


@click.command("revise")
@click.argument("app")
@click.argument("prompt", required=False)
@click.option("-f", "--file", type=click.File(), help="Read the prompt from a file; - is stdin.")
@click.option("--edit", is_flag=True, help="Open the present prompt in your editor.")
@click.option("--to", "version", type=int, help="Go back to this version; it costs nothing.")
@click.option("--wait/--no-wait", default=True, help="Wait until the new version runs.")
@click.option("--timeout", help="How long to wait at most: 10m by default.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    app: str,
    prompt: str | None,
    file: TextIO | None,
    *,
    edit: bool,
    version: int | None,
    wait: bool,
    timeout: str | None,
    namespace: str | None,
    output: str | None,
) -> int:
    """Change a running app: PROMPT is the whole new text.

    Claude changes as little as it can. The app runs on and switches when the new version works;
    when it does not, the old version stays. Data is kept.
    """
    call = call_of(ctx, output, namespace)
    limit = duration_option("--timeout", timeout) or _USUAL
    found = find_living_app(call.cluster, app)
    text = _text(call.cluster, found, prompt, file, edit=edit, version=version)
    if text == found.spec.get("prompt"):
        if call.terminal.as_json:
            call.terminal.document(found.document)
        call.terminal.done(f"{app} has this prompt already")
        return ExitCode.OK
    began = time.monotonic()
    changed = call.cluster.patch(SESSIONS, app, {"spec": {"prompt": text}})
    generation = int(changed["metadata"].get("generation") or 0)
    if not wait:
        if call.terminal.as_json:
            call.terminal.document(changed)
        call.terminal.done(f"{app} is being changed")
        return ExitCode.OK
    try:
        with follower_for(call.terminal, call.cluster) as following:
            follower = _Waits(following, call.terminal)
            outcome = follow(
                call.cluster, app, lambda seen: is_decided(seen, text, generation), follower,
                limit=limit,
            )  # fmt: skip
    except KeyboardInterrupt:
        call.terminal.say(f"\nThe change of {app} goes on without this command.")
        return ExitCode.INTERRUPTED
    tell(call, found, outcome, timedelta(seconds=time.monotonic() - began), limit)
    return ExitCode.OK


def tell(call: Call, before: App, outcome: Outcome, took: timedelta, limit: timedelta) -> None:
    """What became of a change of the app that was so before.

    Raises:
        CommandError: the new version does not run.
    """
    app, last = before.name, outcome.app
    if last is None:
        raise CommandError(f"{app} was deleted", code=ExitCode.APP_FAILED)
    failed = last.condition("UpdateFailed")
    waits = failed.get("reason") == _WAITING_FOR_BUDGET
    if failed.get("status") == "True" and not waits:
        raise CommandError(
            f"the new version of {app} does not work; the old one still runs{_paid(before, last)}",
            code=ExitCode.APP_FAILED,
            cause=str(failed.get("message") or ""),
            next_steps=(f"kubectl spawn revise {app} --edit",),
        )
    if last.has_ended:
        raise CommandError(
            f"{app} ended before the new version ran",
            code=ExitCode.APP_FAILED,
            cause=last.message,
            next_steps=(f"kubectl spawn create --like {app} --edit",),
        )
    if outcome.timed_out:
        raise CommandError(
            f"the new version of {app} does not run after {format_duration(limit)}. It goes on.",
            code=ExitCode.TIMEOUT,
            cause=str(failed.get("message")) if waits else last.message,
            next_steps=("kubectl spawn budgets" if waits else f"kubectl spawn status {app}",),
        )
    number = f"version {last.revision}" if last.revision is not None else "the new version"
    files = "" if call.terminal.as_json else _changed_files(call.cluster, before, last)
    ran = f"{number} of {app} runs after {format_duration(took)}"
    call.terminal.done(f"{ran}{files}{_paid(before, last)} · data kept")


def _paid(before: App, last: App) -> str:
    """What Claude was paid meanwhile; empty where that is nothing, or not known."""
    if before.claude_cost is None or last.claude_cost is None:
        return ""
    paid = last.claude_cost - before.claude_cost
    return f" · {dollars(paid, digits=2)}" if paid > 0 else ""


def _changed_files(cluster: Cluster, before: App, last: App) -> str:
    """Which files the version has changed; empty where the console does not tell."""
    if None in {before.revision, last.revision}:
        return ""
    try:
        console = find_console(cluster)
        old, new = (source_of(console, one, one.revision) for one in (before, last))
    except (CommandError, OSError):
        return ""
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not names:
        return ""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f" ({harmless(', '.join(names[:_MOST_NAMES]))}{more} changed)"


def _text(
    cluster: Cluster,
    found: App,
    prompt: str | None,
    file: TextIO | None,
    *,
    edit: bool,
    version: int | None,
) -> str:
    present = str(found.spec.get("prompt", ""))
    if version is not None:
        return _prompt_of(cluster, found, version)
    text = file.read() if file is not None else prompt or (present if edit else "")
    if edit:
        text = click.edit(text, extension=".txt") or ""
    if not text.strip():
        raise CommandError(
            "no prompt: give it as an argument, with -f FILE, with --edit, or a version with --to",
            code=ExitCode.USAGE,
        )
    return str(text).strip()


def _prompt_of(cluster: Cluster, found: App, version: int) -> str:
    """The prompt of a version that worked. A status keeps digests; the console has the texts."""
    worked = sorted({int(one["revision"]) for one in found.revisions if not one.get("failed")})
    if version in worked:
        console = find_console(cluster)
        listed = console.json(f"/api/sessions/{found.namespace}.{found.name}/versions")["items"]
        for one in listed:
            if one["version"] == version and one["prompt"]:
                return str(one["prompt"])
    raise CommandError(
        f"{found.name} has no version {version} to go back to; those that worked: "
        f"{', '.join(map(str, worked)) or 'none'}",
        code=ExitCode.NOT_FOUND,
        next_steps=(f"kubectl spawn revise {found.name} --edit",),
    )


def is_decided(app: App, prompt: str, generation: int) -> bool:
    """Whether the change runs, was given up, or its app is over."""
    if app.has_ended:
        return True
    if int(app.status.get("observedGeneration") or 0) < generation or not app.revisions:
        return False
    wanted = hashlib.sha256(prompt.encode()).hexdigest()
    last = app.revisions[-1]
    if app.is_true("UpdateFailed") and last.get("failed") and last.get("promptDigest") == wanted:
        return True
    return any(
        one.get("revision") == app.revision
        and one.get("promptDigest") == wanted
        and not one.get("failed")
        for one in app.revisions
    )
