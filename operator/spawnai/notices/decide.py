"""Which news a status write holds for a person. Pure: the same two statuses give the same news.

A notice belongs to a transition that the API server has stored, so a restarted operator, which
reads the stored status, does not tell it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from spawnai.api.conditions import ConditionType, find_condition, is_true
from spawnai.api.durations import format_time
from spawnai.api.session import Phase, SessionStatus
from spawnai.api.spawnclass import NoticeEvent

DEAR = Decimal("1.5")
"""A session that costs more than this many times its estimate is told of."""

_ADMITTED = "Admitted"


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened. `marker` tells it from another of the same event in one session."""

    event: NoticeEvent
    marker: str
    title: str
    message: str


def news(name: str, before: SessionStatus, after: SessionStatus) -> list[News]:
    """What is worth telling when the status of the session `name` goes from one to the other."""
    return list(_news(name, before, after))


def _news(name: str, before: SessionStatus, after: SessionStatus) -> Iterator[News]:
    yield from _waiting(name, before, after)
    if before.ready_at is None and after.ready_at is not None:
        yield News(NoticeEvent.READY, "", f"{name} is ready", _until(after.expiration_time))
    warned = after.expiry_warned_for
    if warned is not None and warned != before.expiry_warned_for:
        yield News(
            NoticeEvent.EXPIRING,
            format_time(warned),
            f"{name} ends soon",
            f"It ends at {format_time(warned)}. Extend it if you still need it.",
        )
    stalled = find_condition(after.conditions, ConditionType.STALLED)
    if stalled is not None and is_true(after.conditions, ConditionType.STALLED):
        known = find_condition(before.conditions, ConditionType.STALLED)
        if known is None or known.status != stalled.status or known.reason != stalled.reason:
            title = f"{name} failed: {stalled.reason}"
            yield News(NoticeEvent.FAILED, stalled.reason, title, stalled.message)
    if after.phase is Phase.DESTROYED and before.phase is not Phase.DESTROYED:
        yield from _ended(name, before, after)


def _ended(name: str, before: SessionStatus, after: SessionStatus) -> Iterator[News]:
    actual = after.cost.actual if after.cost is not None else None
    estimated = before.cost.estimated if before.cost is not None else None
    spent = f" It cost {actual} USD." if actual is not None else ""
    yield News(
        NoticeEvent.ENDED,
        "",
        f"{name} has ended",
        f"{after.termination_reason or 'Ended'}: everything it used is gone.{spent}",
    )
    if actual is None or estimated is None:
        return
    if Decimal(actual) > DEAR * Decimal(estimated) > 0:
        yield News(
            NoticeEvent.COST,
            "",
            f"{name} cost more than estimated",
            f"It cost {actual} USD; {estimated} USD were estimated.",
        )


def _waiting(name: str, before: SessionStatus, after: SessionStatus) -> Iterator[News]:
    """The session waits for its turn, or for money: the condition Admitted is False."""
    now = find_condition(after.conditions, _ADMITTED)
    if now is None or is_true(after.conditions, _ADMITTED):
        return
    was = find_condition(before.conditions, _ADMITTED)
    if was is not None and (was.status, was.reason) == (now.status, now.reason):
        return
    event = NoticeEvent.BUDGET if "Budget" in now.reason else NoticeEvent.QUEUED
    yield News(event, now.reason, f"{name} waits", now.message)


def _until(end: datetime | None) -> str:
    return f"It runs until {format_time(end)}." if end is not None else "It runs."
