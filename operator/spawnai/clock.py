"""Time as something that is handed in, so that days pass in milliseconds in a test."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a part gets its time from. Monotonic seconds measure, UTC datetimes date."""

    def now(self) -> float:
        """Monotonic seconds. Only differences mean anything; never mix them with dates."""
        ...

    def utc_now(self) -> datetime:
        """The date and time, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Monotonic seconds of this machine."""
        return time.monotonic()

    def utc_now(self) -> datetime:
        """The machine's date and time, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep in the running event loop."""
        await asyncio.sleep(seconds)
