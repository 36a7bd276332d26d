"""Time as something that is handed in, so that days pass in milliseconds in a test."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
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


def seconds_ahead(
    date_header: str | None, sent_at: datetime, answered_at: datetime
) -> float | None:
    """By how many seconds our clock is ahead of a server's, from the Date header of an answer.

    The header has whole seconds (RFC 9110, section 6.6.1) and was written at some moment between
    the two: what these leave open counts as agreement, so 0.0 is the usual answer. Negative: our
    clock is behind. None: no date can be read.
    """
    try:
        date = parsedate_to_datetime(date_header or "")
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        return None
    least = (sent_at - date - timedelta(seconds=1)).total_seconds()
    most = (answered_at - date).total_seconds()
    if least <= 0 <= most:
        return 0.0
    return least if least > 0 else most
