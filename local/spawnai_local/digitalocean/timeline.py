"""What happens later: actions kept in order of time and done when the clock has come to them.

Nothing that is due can be missed by a reader: `settle` is called before every answer, so with a
delay of zero an object has moved on by the next request, and with a longer one at its time.
"""

import heapq
import itertools
from collections.abc import Callable

from spawnai_local.digitalocean.clock import Clock


class Timeline:
    """Actions by moment (seconds since the epoch). Two of the same moment keep their order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []

    def after(self, seconds: float, action: Callable[[], None]) -> float:
        """Do `action` in `seconds` from now, never before the running request is answered.

        Returns:
            The moment it is due.
        """
        when = self._clock.now() + max(0.0, seconds)
        heapq.heappush(self._waiting, (when, next(self._order), action))
        self._clock.call_at(when, self.settle)
        return when

    def settle(self) -> None:
        """Do everything that is due by now."""
        while self._waiting and self._waiting[0][0] <= self._clock.now():
            heapq.heappop(self._waiting)[2]()
