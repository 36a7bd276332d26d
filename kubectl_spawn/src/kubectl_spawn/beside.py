"""What is told beside an app that is followed: how long it usually takes, and which apps end next.

It is looked up while the app is followed, so nothing waits for it. What cannot be had is left out.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Generic, TypeVar
from urllib.parse import urlencode

from kubectl_spawn.app import UP, App, decimal
from kubectl_spawn.cluster import SESSIONS, Cluster, Object
from kubectl_spawn.console import find_console
from kubectl_spawn.durations import format_duration
from kubectl_spawn.errors import CommandError

Range = tuple[int, int]
"""Seconds: of ten apps one was quicker than the first, and one slower than the second."""

_MOST_ENDS = 2

Answer = TypeVar("Answer")


class Later(Generic[Answer]):
    """An answer that is asked for in the background, from the first time that it is wanted on."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._thread: threading.Thread | None = None
        self._answer: Answer | None = None

    def get(self) -> Answer | None:
        """The answer; None while it is not there, and where there is none."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except (CommandError, OSError, KeyError, TypeError, ValueError):
            return


class Beside:
    """What is told beside the apps of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._offers: dict[str, Later[Object]] = {}
        self._others = Later(lambda: [App(one) for one in cluster.items(SESSIONS)])

    def ready_range(self, app: App) -> Range | None:
        """How long apps of its class and type take until they run."""
        return range_of(self._kind(app).get("readySeconds"))

    def step_ranges(self, app: App) -> list[Range | None]:
        """How long each of the four steps takes; empty where that is not known."""
        return [range_of(one) for one in self._kind(app).get("stepSeconds") or []]

    def claude_cost(self, app: App) -> Decimal | None:
        """Dollars that Claude usually takes for an app of its class and type."""
        return decimal(self._kind(app).get("claudeCost"))

    def ends_next(self, now: datetime) -> str:
        """Which apps end next, and the line that makes room; empty while that is not known."""
        running = [app for app in self._others.get() or [] if app.state in UP and app.expires]
        running.sort(key=lambda app: app.left(now) or timedelta.max)
        if not running:
            return ""
        told = ", ".join(
            f"{app.name} in {format_duration(app.left(now) or timedelta())}"
            for app in running[:_MOST_ENDS]
        )
        return f"Ends next: {told} · to make room: kubectl spawn end {running[0].name}"

    def _kind(self, app: App) -> Object:
        name = app.class_name
        if not name:
            return {}
        offer = self._offers.setdefault(name, Later(lambda: self._offer(name))).get() or {}
        wanted = app.spec.get("appType")
        kinds: list[Object] = offer.get("appTypes") or []
        return next((one for one in kinds if one.get("appType") == wanted), {})

    def _offer(self, class_name: str) -> Object:
        query = urlencode({"namespace": self._cluster.namespace, "class": class_name})
        return dict(find_console(self._cluster).json(f"/api/offer?{query}"))


def range_of(value: object) -> Range | None:
    """A range from an offer; None where it holds none."""
    if not isinstance(value, list) or not all(isinstance(one, int) for one in value):
        return None
    return (value[0], value[1]) if len(value) == 2 else None  # noqa: PLR2004


def seconds_shown(seconds: Range) -> str:
    """A range for people: 45-70s."""
    return f"{seconds[0]}-{seconds[1]}s"
