"""`kubectl spawn list`: your apps, with what is left of their time and what they cost."""

from datetime import UTC, datetime, timedelta

import click

from kubectl_spawn.app import LIVING, App, State, dollars, left_shown
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import SESSIONS
from kubectl_spawn.terminal import Terminal, table


@click.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="The apps of all namespaces.")
@click.option("--ended", is_flag=True, help="The apps that have ended, the newest first.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    all_namespaces: bool,
    ended: bool,
    namespace: str | None,
    output: str | None,
) -> None:
    """List your apps: those that live, the one that ends soonest first."""
    call = call_of(ctx, output, namespace)
    now = datetime.now(UTC)
    everything = [App(one) for one in call.cluster.items(SESSIONS, all_namespaces=all_namespaces)]
    living = [app for app in everything if app.state in LIVING]
    over = [app for app in everything if app.state not in LIVING]
    shown = _newest_first(over) if ended else _soonest_first(living, now)
    if call.terminal.as_json:
        call.terminal.document({"items": [app.document for app in shown]})
        return
    if not shown:
        call.terminal.say(
            "No app has ended here." if ended else "Nothing runs here. The first app takes about a "
            "minute and a few cents."
        )  # fmt: skip
        if not ended:
            call.terminal.next('kubectl spawn create "A retro board with three columns"')
    else:
        for line in _lines(call.terminal, shown, now, all_namespaces=all_namespaces, ended=ended):
            call.terminal.data(line)
    today = [app for app in over if _ended_at(app) > now - timedelta(days=1)]
    if today and not ended:
        call.terminal.say(
            call.terminal.dim(f"{len(today)} ended today: kubectl spawn list --ended")
        )


def _soonest_first(apps: list[App], now: datetime) -> list[App]:
    return sorted(apps, key=lambda app: (app.left(now) or timedelta.max, app.namespace, app.name))


def _newest_first(apps: list[App]) -> list[App]:
    return sorted(apps, key=_ended_at, reverse=True)


def _ended_at(app: App) -> datetime:
    from kubectl_spawn.durations import parse_time

    ended = parse_time(app.status.get("destroyedAt")) or app.created
    return ended or datetime.min.replace(tzinfo=UTC)


def _lines(
    terminal: Terminal, apps: list[App], now: datetime, *, all_namespaces: bool, ended: bool
) -> list[str]:
    place = ["NAMESPACE"] if all_namespaces else []
    if ended:
        head = [*place, "NAME", "STATE", "ENDED", "COST", "REASON"]
        rows = [
            [
                *([app.namespace] if all_namespaces else []),
                app.name, str(app.state), _ended_at(app).astimezone().strftime("%d %b %H:%M"),
                dollars(app.cost_so_far(now)), app.reason or "-",
            ]
            for app in apps
        ]  # fmt: skip
    else:
        head = [*place, "NAME", "STATE", "LEFT", "COST", "URL"]
        rows = [
            [
                *([app.namespace] if all_namespaces else []),
                app.name, str(app.state), left_shown(app, now), _cost(app, now), app.url or "-",
            ]
            for app in apps
        ]  # fmt: skip
    first, *others = table([head, *rows])
    return [first, *(_painted(terminal, app, line) for app, line in zip(apps, others, strict=True))]


def _painted(terminal: Terminal, app: App, line: str) -> str:
    paint = {
        State.RUNNING: terminal.green, State.BUILDING: terminal.blue,
        State.ENDS_SOON: terminal.yellow, State.WAITING: terminal.yellow,
        State.IN_PART: terminal.yellow, State.NOT_ANSWERING: terminal.red,
        State.FAILED: terminal.red,
    }.get(app.state)  # fmt: skip
    if paint is None or not terminal.output_is_terminal:
        return line
    return line.replace(str(app.state), paint(str(app.state)), 1)


def _cost(app: App, now: datetime) -> str:
    spent = app.cost_so_far(now)
    if spent is None or app.state in {State.BUILDING, State.WAITING}:
        return dollars(app.cost_in_all, about=True, digits=2)
    return dollars(spent)
