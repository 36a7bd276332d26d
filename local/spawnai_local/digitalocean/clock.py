"""The one clock everything in the emulator goes by: the machine's, or one moved by hand.

Times are seconds since the epoch (UTC). A clock also calls back at a moment and sleeps, so that a
droplet boots, a firewall settles and a slow answer leaves when the clock says so, and at no other
time.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the emulator needs of a clock."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` once, at `when` (seconds since the epoch) or soon after."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on this clock."""
        ...


class SystemClock:
    """The machine's own time, or one that is `offset` seconds ahead of it (behind, if negative).

    `call_at` needs a running event loop.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset

    def now(self) -> float:
        """Return this clock's time in seconds since the epoch."""
        return time.time() + self._offset

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` on the running event loop at `when`."""
        asyncio.get_running_loop().call_later(max(0.0, when - self.now()), callback)

    async def sleep(self, seconds: float) -> None:
        """Sleep as asyncio does."""
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that stands still until `advance` moves it; days pass in microseconds."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        """Return the time the clock was last moved to."""
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` when `advance` reaches `when`; also a past moment waits for `advance`."""
        heapq.heappush(self._waiting, (when, next(self._order), callback))

    async def sleep(self, seconds: float) -> None:
        """Return once `advance` has moved the clock on by `seconds`."""
        loop = asyncio.get_running_loop()
        awake = loop.create_future()
        self.call_at(self._now + seconds, lambda: None if awake.done() else awake.set_result(None))
        await awake

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`, calling back in order of time whatever falls due on the way."""
        target = self._now + seconds
        while self._waiting and self._waiting[0][0] <= target:
            when, _, callback = heapq.heappop(self._waiting)
            self._now = max(self._now, when)
            callback()
        self._now = target


def timestamp(seconds: float) -> str:
    """Write a moment as DigitalOcean does: UTC, whole seconds, `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
