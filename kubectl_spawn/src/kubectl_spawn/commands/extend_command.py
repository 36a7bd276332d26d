"""`kubectl spawn extend`: move the end of an app."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click

from kubectl_spawn.app import EXPIRES_AT, App, decimal, dollars
from kubectl_spawn.cli import Call, call_of, common_options
from kubectl_spawn.cluster import SESSIONS
from kubectl_spawn.commands.find import find_living_app
from kubectl_spawn.durations import (
    duration_option,
    format_duration,
    format_time,
    local_clock,
    parse_duration,
)
from kubectl_spawn.errors import CommandError, ExitCode


# Without -h for help: click would find it in -1h.
@click.command(
    "extend",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
)
@click.argument("app")
@click.argument("by", metavar="DURATION")
@click.option("--timeout", default="30s", help="How long to wait for the operator's answer.")
@common_options
@click.pass_context
def command(  # noqa: PLR0917 - click's own order
    ctx: click.Context,
    app: str,
    by: str,
    timeout: str,
    namespace: str | None,
    output: str | None,
) -> None:
    """Move the end of an app by DURATION: 1h later, or -1h earlier.

    It writes the annotation spawn-ai.com/expires-at under the field manager "spawn", which Flux,
    Argo CD and `kubectl apply` leave alone.
    """
    call = call_of(ctx, output, namespace)
    change = _change(by)
    limit = duration_option("--timeout", timeout) or timedelta()
    found = find_living_app(call.cluster, app)
    now = datetime.now(UTC)
    if found.expires is None:
        raise CommandError(
            f"{app} has no end yet: its time counts from the moment it is ready",
            code=ExitCode.USAGE,
            next_steps=(f"kubectl annotate --overwrite ss {app} spawn-ai.com/ttl={by}",),
        )
    wanted = found.expires + change
    if wanted <= now:
        raise CommandError(
            f"{by} would end {app} in the past",
            code=ExitCode.USAGE,
            next_steps=(f"kubectl spawn end {app}",),
        )
    call.cluster.patch(
        SESSIONS, app, {"metadata": {"annotations": {EXPIRES_AT: format_time(wanted)}}}
    )
    latched = _latched(call, app, found, limit.total_seconds())
    _tell(call, before=found, after=latched, wanted=wanted)


def _change(by: str) -> timedelta:
    sign = -1 if by.startswith("-") else 1
    try:
        return sign * parse_duration(by.lstrip("+-"))
    except ValueError as error:
        raise CommandError(str(error), code=ExitCode.USAGE) from None


def _latched(call: Call, name: str, before: App, seconds: float) -> App:
    """The app once the operator has taken the change, or as it is when the time is over."""
    deadline = time.monotonic() + seconds
    app = before
    for document in call.cluster.watch(SESSIONS, name, 0.2):
        if document is not None:
            app = App(document)
        if app.expires != before.expires or time.monotonic() >= deadline:
            return app
    return app


def _tell(call: Call, *, before: App, after: App, wanted: datetime) -> None:
    name = after.name
    t = call.terminal
    now = datetime.now(UTC)
    if after.expires is None or after.expires == before.expires:
        raise CommandError(
            f"{name}: the new end is written, but the operator has not taken it yet",
            code=ExitCode.TIMEOUT,
            cause=after.message,
            next_steps=(f"kubectl spawn status {name}",),
        )
    if t.as_json:
        t.document(after.document)
        return
    if after.expires < wanted.replace(microsecond=0):
        t.note(f"capped: {after.expires:%Y-%m-%d %H:%M} UTC is the most that the class allows")
    hourly = decimal((after.status.get("cost") or {}).get("hourly"))
    added = ""
    if hourly is not None and before.expires is not None and after.expires > before.expires:
        hours = Decimal(str((after.expires - before.expires).total_seconds())) / 3600
        added = f" · adds about {dollars(hourly * hours, digits=2)}"
    undo = ""
    if before.expires is not None:
        moved = after.expires - before.expires
        undo = f"{'-' if moved > timedelta() else ''}{format_duration(abs(moved), parts=4)}"
    t.done(
        f"{name} now ends at {local_clock(after.expires, now)}, in "
        f"{format_duration(after.expires - now)}{added} · undo: kubectl spawn extend {name} {undo}"
    )
