"""Whether a creation may have happened that nobody has seen, and when that is settled.

DigitalOcean has no idempotency key. A lost answer is settled by looking, for a stated time, before
the creation may be sent again (docs/decisions/0004).
"""

from datetime import datetime, timedelta

from .observation import Effort, FailureKind, Observation

SETTLING = timedelta(seconds=30)
"""How long a POST with an unclear answer may take to show up before it is sent again. DigitalOcean
applies tags after creation and lists late; no published bound exists, 30 s is three times the
slowest seen by other clients of its API."""


def unsettled_since(o: Observation, create_key: str) -> datetime | None:
    """Since when a creation may have happened that nobody has seen.

    Either its answer was unclear, or another life of this operator may have sent it.
    """
    effort = o.effort(create_key)
    if effort.failure is not None and effort.failure.kind is FailureKind.AMBIGUOUS:
        return effort.failure.at
    if effort.started_at is None and o.record is not None:
        return None if o.record_made_here else o.operator_started_at
    return None


def settled(find: Effort, since: datetime) -> bool:
    """Whether a look that began after the settling time found nothing."""
    return (
        find.failure is None
        and find.done_at is not None
        and find.started_at is not None
        and find.started_at >= since + SETTLING
    )
