"""An event loop whose time leaps: waiting costs nothing, so a test of days ends in milliseconds.

Whenever every task waits, the loop's time jumps to the next timer. `asyncio.sleep`,
`asyncio.timeout` and `VirtualClock` all follow that one time, so a test may assert exactly how much
of it passed. For code with timers only: a socket or a thread would see time jump while it works.
"""

import asyncio
import functools
import math
import selectors
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

# A test that waits for what never comes would otherwise leap from timer to timer for ever.
LONGEST_TEST_SECONDS = 4 * 86_400.0
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class _LeapingSelector(selectors.SelectSelector):
    """Does not wait for the next timer but makes the loop's time be it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("Every task waits for something that no timer will bring: deadlock")
        if timeout > 0:
            self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on leaping time."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    @property
    def _clock_resolution(self) -> float:
        """How much too early asyncio lets a timer go off: here not by the smallest number.

        Time would otherwise not have moved, and who waits for a moment to come would try for ever.
        """
        return math.ulp(self.time())

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """asyncio sets that of the machine's clock."""

    def time(self) -> float:
        return self._leaping.now

    def jump(self, seconds: float) -> None:
        """Let time pass without anything running, as when the process was stopped."""
        self._leaping.now += seconds


class VirtualClock:
    """The `spawnai.clock.Clock` of the running virtual loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def utc_now(self) -> datetime:
        return START + timedelta(seconds=self.now() - 1_000.0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jump(self, seconds: float) -> None:
        """Let time pass without anything running, as when the process was stopped."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(seconds)


def virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a virtual loop of its own."""

    @functools.wraps(test)
    def run(*args, **kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(LONGEST_TEST_SECONDS):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(bounded())

    return run
