"""One look for all who ask at the same time, no more often than the rate budget bears."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from spawnai import background
from spawnai.clock import Clock
from spawnai.digitalocean.budget import RateBudget

Answer = TypeVar("Answer")

# Shares of the rate budget above which a repeated look keeps its full rate.
_PLENTY_OF_HOUR = 0.6
_PLENTY_OF_MINUTE = 0.25


def affordable_pause(budget: RateBudget, shortest: float, longest: float) -> float:
    """Seconds between two looks: the shortest pause while there is plenty, more as calls run low.

    A look a second without end would take 3,600 of the 5,000 calls an hour. Slowed by the square
    of what the hour lacks, it settles at half of them.
    """
    hour, minute = budget.hour_share, budget.minute_share
    if hour <= 0 or minute <= 0:
        return longest
    slower = max(1.0, _PLENTY_OF_HOUR / hour) ** 2 * max(1.0, _PLENTY_OF_MINUTE / minute)
    return min(longest, shortest * slower)


class SharedLook(Generic[Answer]):
    """One look at a time. A caller gets the first one that begins after it asked.

    Args:
        fetch: looks.
        clock: measures the pause.
        pause: seconds from the begin of one look to the begin of the next, asked each time.
        gather: seconds that a look waits for more callers, where none was made before it for as
            long as that.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Answer]],
        clock: Clock,
        pause: Callable[[], float] = lambda: 0.0,
        gather: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._pause = pause
        self._gather = gather
        self._running: asyncio.Task[Answer] | None = None
        self._next: asyncio.Task[Answer] | None = None
        self._began = float("-inf")

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a look."""
        return self._running is None and self._next is None

    async def get(self) -> Answer:
        """What the next look shows. Raises what it raises."""
        if self._next is None:
            self._next = background.awaited(self._run(self._running), name="look")
        # Shielded: one caller who gives up must not take the look from the others.
        return await asyncio.shield(self._next)

    async def _run(self, before: "asyncio.Task[Answer] | None") -> Answer:
        if before is not None:
            await asyncio.wait([before])
        since = self._clock.now() - self._began
        wait, gather = self._pause() - since, self._gather()
        if since >= gather:
            wait = max(wait, gather)
        if wait > 0:
            await self._clock.sleep(wait)
        self._running, self._next = self._next, None
        self._began = self._clock.now()
        try:
            return await self._fetch()
        finally:
            if self._running is asyncio.current_task():
                self._running = None

    def cancel(self) -> None:
        """End the looks that are under way."""
        for task in (self._running, self._next):
            if task is not None:
                task.cancel()
