"""`kubectl spawn list`: your apps, with what is left of their time and what they cost."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click

from kubectl_spawn.app import LIVING, App, State, dollars, left_shown
from kubectl_spawn.cli import Call, call_of, common_options
from kubectl_spawn.cluster import SESSIONS
from kubectl_spawn.durations import duration_option
from kubectl_spawn.history import NEVER, Receipt, Search, read_history
from kubectl_spawn.terminal import Terminal, table


@click.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="The apps of all namespaces.")
@click.option("--ended", is_flag=True, help="The apps that have ended, the newest first.")
@click.option("--user", help="With --ended: whom their cost belongs to.")
@click.option("--class", "class_name", help="With --ended: the SpawnClass that served them.")
@click.option("--since", help="With --ended: those that ended within this time, such as 30d.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    all_namespaces: bool,
    ended: bool,
    user: str | None,
    class_name: str | None,
    since: str | None,
    namespace: str | None,
    output: str | None,
) -> None:
    """List your apps: those that live, the one that ends soonest first.

    With --ended also those that were deleted, which the console knows.
    """
    if not ended and (user or class_name or since):
        raise click.UsageError("--user, --class and --since search among --ended apps", ctx)
    call = call_of(ctx, output, namespace)
    now = datetime.now(UTC)
    within = duration_option("--since", since)
    everything = [App(one) for one in call.cluster.items(SESSIONS, all_namespaces=all_namespaces)]
    over = [app for app in everything if app.state not in LIVING]
    if ended:
        search = Search(user, class_name, now - within if within else None)
        _show_ended(call, over, search, now, all_namespaces=all_namespaces)
        return
    living = _soonest_first([app for app in everything if app.state in LIVING], now)
    if call.terminal.as_json:
        call.terminal.document({"items": [app.document for app in living]})
        return
    if not living:
        call.terminal.say("Nothing runs here. The first app takes about a minute and a few cents.")
        call.terminal.next('kubectl spawn create "A retro board with three columns"')
    else:
        for line in _living_lines(call.terminal, living, now, all_namespaces=all_namespaces):
            call.terminal.data(line)
    today = [app for app in over if _ended_at(app) > now - timedelta(days=1)]
    if today:
        call.terminal.say(
            call.terminal.dim(f"{len(today)} ended today: kubectl spawn list --ended")
        )


def _soonest_first(apps: list[App], now: datetime) -> list[App]:
    return sorted(apps, key=lambda app: (app.left(now) or timedelta.max, app.namespace, app.name))


def _ended_at(app: App | Receipt) -> datetime:
    return app.ended or NEVER


def _show_ended(
    call: Call, over: list[App], search: Search, now: datetime, *, all_namespaces: bool
) -> None:
    history = read_history(call.cluster, search, all_namespaces=all_namespaces)
    apps = [app for app in over if search.finds(app)]
    deleted = history.of_deleted(over)
    if call.terminal.as_json:
        call.terminal.document(
            {
                "items": [app.document for app in sorted(apps, key=_ended_at, reverse=True)],
                "deleted": [one.document for one in deleted],
                "missing": history.missing,
            }
        )
        return
    everything: list[App | Receipt] = [*apps, *deleted]
    shown = sorted(everything, key=_ended_at, reverse=True)
    if shown:
        for line in _ended_lines(call.terminal, shown, now, all_namespaces=all_namespaces):
            call.terminal.data(line)
    else:
        call.terminal.say("No app has ended here.")
    if history.missing:
        call.terminal.note(history.missing)


def _living_lines(
    terminal: Terminal, apps: list[App], now: datetime, *, all_namespaces: bool
) -> list[str]:
    head = ["NAME", "STATE", "LEFT", "COST", "URL"]
    rows = [
        [app.name, str(app.state), left_shown(app, now), _cost(app, now), app.url or "-"]
        for app in apps
    ]
    return _painted_table(terminal, apps, head, rows, with_namespaces=all_namespaces)


def _ended_lines(
    terminal: Terminal, apps: list[App | Receipt], now: datetime, *, all_namespaces: bool
) -> list[str]:
    head = ["NAME", "STATE", "ENDED", "COST", "REASON"]
    rows = [
        [
            app.name, str(app.state), _ended_at(app).astimezone().strftime("%d %b %H:%M"),
            dollars(app.cost_so_far(now)), app.reason or "-",
        ]
        for app in apps
    ]  # fmt: skip
    return _painted_table(terminal, apps, head, rows, with_namespaces=all_namespaces)


def _painted_table(
    terminal: Terminal,
    apps: Sequence[App | Receipt],
    head: list[str],
    rows: list[list[str]],
    *,
    with_namespaces: bool,
) -> list[str]:
    if with_namespaces:
        head = ["NAMESPACE", *head]
        rows = [[app.namespace, *row] for app, row in zip(apps, rows, strict=True)]
    first, *others = table([head, *rows])
    return [
        first,
        *(_painted(terminal, app.state, line) for app, line in zip(apps, others, strict=True)),
    ]


def _painted(terminal: Terminal, state: State, line: str) -> str:
    paint = {
        State.RUNNING: terminal.green, State.BUILDING: terminal.blue,
        State.ENDS_SOON: terminal.yellow, State.WAITING: terminal.yellow,
        State.IN_PART: terminal.yellow, State.NOT_ANSWERING: terminal.red,
        State.FAILED: terminal.red,
    }.get(state)  # fmt: skip
    if paint is None or not terminal.output_is_terminal:
        return line
    return line.replace(str(state), paint(str(state)), 1)


def _cost(app: App, now: datetime) -> str:
    spent = app.cost_so_far(now)
    if spent is None or app.state in {State.BUILDING, State.WAITING}:
        return dollars(app.cost_in_all, about=True, digits=2)
    return dollars(spent)
