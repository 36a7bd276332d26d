"""Follow one app to where it is going, with a picture of it or a line for each change."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Protocol, Self

from kubectl_spawn.app import App, State, Step, StepState, dollars
from kubectl_spawn.beside import Beside, Range, seconds_shown
from kubectl_spawn.cluster import SESSIONS, Cluster
from kubectl_spawn.durations import format_duration
from kubectl_spawn.terminal import Terminal, harmless

_TICK_SECONDS = 0.5
_STILL_SECONDS = 30.0
_SILENT_SECONDS = 60.0
"""After this long without a status the operator is said to be silent."""
_BAR_CELLS = 50


class Follower(Protocol):
    """Shows an app while it is followed."""

    def show(self, app: App, elapsed: timedelta) -> None:
        """The app as it is now; called at each change and each half second."""


class Outcome:
    """How following ended: the last look, and whether the time limit was over first."""

    def __init__(self, app: App | None, *, timed_out: bool) -> None:
        self.app = app
        self.timed_out = timed_out


def follow(
    cluster: Cluster,
    name: str,
    until: Callable[[App], bool],
    follower: Follower,
    *,
    limit: timedelta | None = None,
) -> Outcome:
    """Look at an app until `until` says so, it is gone, or the limit is over.

    Raises:
        CommandError: the API server refused, or did not answer at the first look.
    """
    started = time.monotonic()
    app: App | None = None
    for document in cluster.watch(SESSIONS, name, _TICK_SECONDS):
        if document is not None:
            app = App(document)
        elapsed = timedelta(seconds=time.monotonic() - started)
        if app is not None:
            follower.show(app, elapsed)
            if until(app):
                return Outcome(app, timed_out=False)
        if limit is not None and elapsed >= limit:
            return Outcome(app, timed_out=True)
    return Outcome(None, timed_out=False)


@contextmanager
def follower_for(terminal: Terminal, cluster: Cluster) -> Iterator[Follower]:
    """A live picture for a terminal, lines for everything else, documents for `-o json`."""
    if terminal.as_json:
        yield _Documents(terminal)
    elif terminal.is_live:
        with _Picture(terminal, Beside(cluster)) as picture:
            yield picture
    else:
        yield _Lines(terminal, Beside(cluster))


class _Documents:
    """NDJSON: the state at each change."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last: dict[str, object] = {}

    def show(self, app: App, elapsed: timedelta) -> None:
        del elapsed
        now = {
            "name": app.name,
            "state": str(app.state),
            "progress": app.progress,
            "message": app.message,
            "url": app.url or None,
        }
        if now != self._last:
            self._last = now
            self._terminal.event(now)


class _Lines:
    """One line for each step that moved, and one each half minute in which none did."""

    def __init__(self, terminal: Terminal, beside: Beside) -> None:
        self._terminal = terminal
        self._beside = beside
        self._room = False
        self._last: tuple[object, ...] = ()
        self._told_at = timedelta()
        self._silent = False

    def show(self, app: App, elapsed: timedelta) -> None:
        now = (app.state, app.progress, *((step.state, step.says) for step in app.steps))
        if now != self._last:
            self._last = now
            self._told_at = elapsed
            self._tell(f"{app.progress:3d}% {_now_of(app)}")
        elif elapsed - self._told_at >= timedelta(seconds=_STILL_SECONDS):
            self._told_at = elapsed
            self._tell(f"still {_now_of(app)} ({format_duration(elapsed)})")
        if app.state is State.WAITING and not self._room:
            room = self._beside.ends_next(datetime.now(UTC))
            if room:
                self._room = True
                self._terminal.say(f"  {room}")
        if not self._silent and _operator_is_silent(app, elapsed):
            self._silent = True
            self._terminal.note(SILENT)

    def _tell(self, line: str) -> None:
        clock = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
        self._terminal.say(f"{clock} {line}")


SILENT = (
    "ordered, but the operator has not answered for 60s; the app starts when the operator is back. "
    "`kubectl spawn doctor` looks for the cause"
)


class _Picture:
    """The four steps and a bar, redrawn in place."""

    def __init__(self, terminal: Terminal, beside: Beside) -> None:
        from rich.console import Console
        from rich.live import Live

        self._terminal = terminal
        self._beside = beside
        console = Console(file=terminal.talk_file, highlight=False, markup=False)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, app: App, elapsed: timedelta) -> None:
        from rich.text import Text

        picture = Text.from_ansi("\n".join(self._drawn(app, elapsed)))
        self._live.update(picture, refresh=True)

    def _drawn(self, app: App, elapsed: timedelta) -> list[str]:
        t, now = self._terminal, datetime.now(UTC)
        lines = [f"{t.bold(app.name)} · {order_of(app, self._beside.claude_cost(app))}"]
        if app.state is State.WAITING:
            lines.append(f"{t.yellow(t.symbols.waiting)} {_now_of(app)}")
            room = self._beside.ends_next(now)
            lines += [f"  {room}"] if room else []
        else:
            usual = self._beside.ready_range(app)
            about = f" of about {sum(usual) // 2}s" if usual else ""
            ranges = self._beside.step_ranges(app)
            lines += [
                self._step(step, time_of(step, seconds, now))
                for step, seconds in zip_longest(app.steps, ranges)
            ]
            filled = app.progress * _BAR_CELLS // 100
            bar = t.blue("━" * filled) + t.dim("─" * (_BAR_CELLS - filled))
            lines.append(
                f"  {bar} {app.progress:3d}%  {format_duration(elapsed)}{about} · Ctrl-C leaves it"
            )
        if _operator_is_silent(app, elapsed):
            lines.append(f"{t.yellow(t.symbols.note)} {SILENT}")
        return lines

    def _step(self, step: Step, time: str) -> str:
        t = self._terminal
        width = max(20, t.width - 16 - len(time))
        says = "" if step.state is StepState.OPEN else f"{step.says[:width]}  "
        return f"  {self._mark(step)} {step.name:<7} {says}{t.dim(time)}".rstrip()

    def _mark(self, step: Step) -> str:
        t = self._terminal
        return {
            StepState.DONE: t.green(t.symbols.done),
            StepState.BUSY: t.blue(t.symbols.busy),
            StepState.FAILED: t.red(t.symbols.failed),
            StepState.OPEN: t.dim(t.symbols.open),
        }[step.state]


def time_of(step: Step, usual: Range | None, now: datetime) -> str:
    """How long a step took, or has been under way, and how long it usually takes."""
    if step.took is not None:
        return format_duration(step.took)
    range_ = "" if usual is None else seconds_shown(usual)
    if step.state is not StepState.BUSY or step.begun is None:
        return range_
    so_far = format_duration(max(now - step.begun, timedelta()))
    return f"{so_far} of {range_}" if range_ else so_far


def order_of(app: App, claude: Decimal | None) -> str:
    """What was ordered, and its estimate. `claude`: dollars that Claude takes of a first one."""
    parts = [str(app.spec.get("appType", ""))]
    if app.tier:
        parts.append(app.tier)
    estimate = app.cost_in_all
    cost = f" · about {dollars(estimate, digits=2)}" if estimate is not None else ""
    if claude is not None and estimate is not None and estimate > claude and not app.revisions:
        cost += f" (server {estimate - claude:.3f}, Claude {claude:.3f})"
    return ", ".join(parts) + cost


def _now_of(app: App) -> str:
    if app.state is State.WAITING:
        place = harmless(str(app.condition("Admitted").get("message") or ""))
        return f"waits: {place.rstrip('.')}. It costs nothing until it starts."
    busy = [step for step in app.steps if step.state is StepState.BUSY]
    if busy:
        return "; ".join(f"{step.name.lower()}: {step.says or 'under way'}" for step in busy)
    return app.message or str(app.state).lower()


def _operator_is_silent(app: App, elapsed: timedelta) -> bool:
    return not app.status.get("phase") and elapsed >= timedelta(seconds=_SILENT_SECONDS)
