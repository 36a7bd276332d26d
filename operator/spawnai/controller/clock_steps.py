"""Notices that the date has moved by itself, and has everything looked at again.

What is to come is waited for by the monotonic clock, but a session ends at a date. The two move
apart when somebody sets the machine's clock, or when the machine sleeps and its monotonic clock
stands still: then every wait is wrong by the same step. Until it is noticed an expiry would come
late by the whole step; and what is remembered with its date would lie in the future or long ago:
a deletion would wait an hour for its next try, and a lost answer would count as settled at once.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from spawnai.clock import Clock

from .leader import LeadershipLost

_LOGGER = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
"""How often the clocks are compared: it takes some microseconds, and bounds how late an expiry is
after a step."""

BOUND_SECONDS = 0.5
"""By how much the two may move apart before it counts as a step. Clocks that are disciplined run
apart by less in an hour; a smaller step delays an expiry by no more than itself."""


class ClockSteps:
    """Compares the date with the monotonic clock."""

    def __init__(
        self,
        clock: Clock,
        *,
        move_dates: Callable[[timedelta], None],
        look_at_all: Callable[[], None],
        check_leadership: Callable[[], None],
    ) -> None:
        """Take what it uses.

        `move_dates` is told of a step at once: what is remembered is to keep its age.
        `look_at_all` is called once this process may act: after a long step the lease has to be
        renewed first, and `check_leadership` raises until then.
        """
        self._clock = clock
        self._move_dates = move_dates
        self._look_at_all = look_at_all
        self._check_leadership = check_leadership
        self._apart = self._measured()
        self._owes_a_look = False

    def notice(self) -> None:
        """Take in a step, if there was one; ask before a date is held against remembered ones."""
        apart = self._measured()
        step = apart - self._apart
        if abs(step) < BOUND_SECONDS:
            return
        _LOGGER.warning(
            "The date moved by %+.1f s against the monotonic clock (the machine slept, or its "
            "clock was set): looking at everything again",
            step,
        )
        self._apart = apart
        self._owes_a_look = True
        self._move_dates(timedelta(seconds=step))

    async def watch(self) -> None:
        """Compare the clocks every second, until cancelled."""
        while True:
            await self._clock.sleep(INTERVAL_SECONDS)
            self.notice()
            if self._owes_a_look:
                with suppress(LeadershipLost):
                    self._check_leadership()
                    self._owes_a_look = False
                    self._look_at_all()

    def _measured(self) -> float:
        return self._clock.utc_now().timestamp() - self._clock.now()
