"""`kubectl spawn create`: order an app, and wait until it runs."""

import difflib
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TextIO

import click

from kubectl_spawn.app import LIVING, TTL, UP, App, State, dollars
from kubectl_spawn.cli import Call, call_of, common_options
from kubectl_spawn.cluster import (
    CLASSES,
    SESSIONS,
    AlreadyExistsError,
    Cluster,
    Object,
    UnreachableError,
)
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.durations import duration_option, format_duration, local_clock
from kubectl_spawn.errors import CommandError, ExitCode
from kubectl_spawn.follow import Outcome, follow, follower_for
from kubectl_spawn.names import name_for

_CREATE_TRIES = 3
_AGAIN_SECONDS = 1.0
_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=([a-z0-9][a-z0-9.-]*)/([\w.-]+)", re.ASCII)


@click.command("create")
@click.argument("prompt", required=False)
@click.option("--name", help="The app's name; made from the prompt by default.")
@click.option(
    "-t",
    "--type",
    "app_type",
    type=click.Choice(["webapp", "api", "fullstack", "script"]),
    help="What kind of app it is: webapp by default.",
)
@click.option(
    "--tier", type=click.Choice(["light", "standard", "complex"]), help="How much machine."
)
@click.option("--ttl", help="How long it lives: 90m, 1h30m, 3d. The tier's time by default.")
@click.option("--class", "class_name", help="The SpawnClass; the default one by default.")
@click.option("--region", help="A DigitalOcean region such as ams3.")
@click.option("--location", help="A location of the class, such as europe.")
@click.option("--user", help="Whom limits and cost belong to; the namespace by default.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=SECRET/KEY",
    help="Give the app a key of a Secret that its owner offers; may be repeated.",
)
@click.option("-f", "--file", type=click.File(), help="Read the prompt from a file; - is stdin.")
@click.option("--like", metavar="APP", help="Order what another app was ordered as.")
@click.option("--edit", is_flag=True, help="Open the prompt in your editor first.")
@click.option("--wait/--no-wait", default=True, help="Wait until the app runs (the default).")
@click.option("--timeout", help="How long to wait at most; the app goes on after it.")
@common_options
@click.pass_context
def command(  # noqa: PLR0917 - click's own order
    ctx: click.Context,
    prompt: str | None,
    name: str | None,
    app_type: str | None,
    tier: str | None,
    ttl: str | None,
    class_name: str | None,
    region: str | None,
    location: str | None,
    user: str | None,
    variables: tuple[str, ...],
    file: TextIO | None,
    like: str | None,
    *,
    edit: bool,
    wait: bool,
    timeout: str | None,
    namespace: str | None,
    output: str | None,
) -> int:
    """Order an app, and wait until it runs. Prints its URL on stdout; the rest goes to stderr.

    PROMPT says what the app should be: what people see, what they can do and what is kept.
    """
    call = call_of(ctx, output, namespace)
    limit = duration_option("--timeout", timeout)
    duration_option("--ttl", ttl)
    model = find_app(call.cluster, like).spec if like else {}
    if class_name:
        _require_class(call.cluster, class_name)
    text = _prompt(prompt, file, str(model.get("prompt", "")), edit=edit)
    given = {
        "appType": app_type, "tier": tier, "className": class_name, "region": region,
        "location": location, "user": user,
    }  # fmt: skip
    spec: Object = {**model, **{key: value for key, value in given.items() if value}}
    if variables:
        spec["env"] = [_variable(text) for text in variables]
    spec["prompt"] = text
    spec.setdefault("appType", "webapp")
    document: Object = {
        "apiVersion": "spawn-ai.com/v1alpha1",
        "kind": "SpawnSession",
        "metadata": {"name": name or name_for(text), "annotations": {TTL: ttl} if ttl else {}},
        "spec": spec,
    }
    app = App(_order(call, document))
    if not wait:
        if call.terminal.as_json:
            call.terminal.document(app.document)
        else:
            call.terminal.done(f"{app.name} is ordered")
            call.terminal.next(f"kubectl spawn status --wait {app.name}")
        return ExitCode.OK
    return wait_for(call, app.name, limit)


def _require_class(cluster: Cluster, name: str) -> None:
    """A session waits for a class that may come; a person who mistypes its name does not."""
    try:
        names = [str(one["metadata"]["name"]) for one in cluster.items(CLASSES)]
    except CommandError as error:
        if error.code is ExitCode.NO_RIGHT:
            return  # who may not see classes may still order from them
        raise
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise CommandError(
            f'no class "{name}".' + (f" Did you mean {near[0]}?" if near else ""),
            code=ExitCode.NOT_FOUND,
            next_steps=("kubectl spawn classes",),
        )


def _variable(text: str) -> Object:
    """A variable of spec.env, from how it is written as an option."""
    found = _VARIABLE.fullmatch(text)
    if found is None:
        raise CommandError(
            f'--env "{text}": write NAME=SECRET/KEY, such as OPENWEATHER_KEY=weather/openweather',
            code=ExitCode.USAGE,
        )
    name, secret, key = found.groups()
    return {"name": name, "secretRef": {"name": secret, "key": key}}


def wait_for(call: Call, name: str, limit: timedelta | None) -> int:
    """Follow an app until it runs, has failed or ended, or the limit is over; the exit code."""
    began = time.monotonic()
    try:
        with follower_for(call.terminal, call.cluster) as follower:
            outcome = follow(call.cluster, name, _is_decided, follower, limit=limit)
    except KeyboardInterrupt:
        call.terminal.say()
        call.terminal.say(f"{name} goes on without this command.")
        call.terminal.next(f"kubectl spawn status --wait {name}", f"kubectl spawn end {name}")
        return ExitCode.INTERRUPTED
    return _tell(call, name, outcome, timedelta(seconds=time.monotonic() - began), limit)


def _is_decided(app: App) -> bool:
    return app.state in UP or app.state in {State.FAILED, State.ENDED} or app.has_ended


def _prompt(argument: str | None, file: TextIO | None, model: str, *, edit: bool) -> str:
    text = argument or model
    if file is not None:
        text = file.read()
    elif not text and not sys.stdin.isatty():
        text = sys.stdin.read()
    if edit or (not text and sys.stdin.isatty()):
        text = click.edit(text, extension=".txt") or ""
    if not text.strip():
        raise CommandError(
            "no prompt: give it as an argument, with -f FILE or on stdin",
            code=ExitCode.USAGE,
            next_steps=('kubectl spawn create "A retro board with three columns"',),
        )
    return text.strip()


def _order(call: Call, document: Object) -> Object:
    """Create the session. Its name is the key: an order whose answer was lost is found by it."""
    name = document["metadata"]["name"]
    unclear = False
    for attempt in range(1, _CREATE_TRIES + 1):
        try:
            return call.cluster.create(document)
        except AlreadyExistsError as error:
            there = call.cluster.get(SESSIONS, name)
            if unclear and _is_same_order(there, document):
                return there
            raise CommandError(
                f"{name} exists already with another order"
                if not _is_same_order(there, document)
                else f"{name} exists already",
                code=ExitCode.USAGE,
                cause=error.cause,
                next_steps=(
                    f"kubectl spawn status {name}",
                    f"kubectl spawn revise {name}",
                    "kubectl spawn create --name …",
                ),
            ) from None
        except UnreachableError:
            unclear = True
            if attempt == _CREATE_TRIES:
                raise
            time.sleep(_AGAIN_SECONDS)
        except CommandError as error:
            if error.code is ExitCode.NO_RIGHT and "(Forbidden)" in error.cause:
                raise CommandError(
                    f"no right to order in namespace {call.cluster.namespace}, or the order is "
                    "not allowed",
                    code=_refusal_code(error),
                    cause=error.cause,
                    next_steps=error.next_steps,
                ) from None
            raise
    raise AssertionError("unreachable")


def _refusal_code(error: CommandError) -> ExitCode:
    return ExitCode.BUDGET if "budget" in error.cause.lower() else ExitCode.NO_RIGHT


def _is_same_order(there: Object, ours: Object) -> bool:
    spec = there.get("spec") or {}
    return all(spec.get(key) == value for key, value in ours["spec"].items())


def _tell(call: Call, name: str, outcome: Outcome, took: timedelta, limit: timedelta | None) -> int:
    app, t = outcome.app, call.terminal
    now = datetime.now(UTC)
    if app is None:
        raise CommandError(f"{name} was deleted", code=ExitCode.APP_FAILED)
    if app.state in UP:
        until = ""
        left = app.left(now)
        if app.expires is not None and left is not None:
            until = f", until {local_clock(app.expires, now)} ({format_duration(left)})"
        spent, in_all = app.cost_so_far(now), app.cost_in_all
        cost = "" if spent is None else f" · {dollars(spent, digits=2)} so far"
        cost += (
            ""
            if in_all is None
            else f"{' ·' if not cost else ','} about {dollars(in_all, digits=2)} in all"
        )
        t.done(f"{t.bold(name)} runs after {format_duration(took)}{until}{cost}")
        if app.status.get("note"):
            t.say(f"  Claude notes: {app.status['note']}")
        if app.state is State.IN_PART:
            t.note(f"it runs, but: {app.condition('Degraded').get('message', '')}")
        remark = str(app.condition("Ready").get("message") or "").partition("; ")[2]
        if remark:
            t.note(remark)
        t.say(f"  Next: kubectl spawn open | extend | logs -f | revise | end  {name}")
        if not t.as_json:
            t.data(app.url)
        return ExitCode.OK
    if outcome.timed_out and app.state in LIVING:
        waiting = app.state is State.WAITING
        raise CommandError(
            f"{name} is {'still waiting' if waiting else 'not running yet'} after "
            f"{format_duration(limit or took)}. "
            + ("It starts by itself." if waiting else "It goes on."),
            code=ExitCode.TIMEOUT,
            cause=app.message,
            next_steps=(f"kubectl spawn status --wait {name}",),
        )
    raise CommandError(
        _failure(app),
        code=ExitCode.BUDGET if "Budget" in app.reason else ExitCode.APP_FAILED,
        cause=app.message,
        next_steps=(
            f"kubectl spawn logs {name}",
            f"kubectl spawn create --like {name} --edit",
        ),
    )


def _failure(app: App) -> str:
    """That it failed, at which step, and what was tried."""
    reason = f" ({app.reason})" if app.reason else ""
    if app.state is not State.FAILED:
        return f"{app.name} ended first{reason}"
    times = {1: "once", 2: "twice"}.get(app.repairs, f"{app.repairs} times")
    repaired = f". Claude repaired it {times}, in vain" if app.repairs else ""
    return f"{app.name} failed at {app.failed_at}{reason}{repaired}"
