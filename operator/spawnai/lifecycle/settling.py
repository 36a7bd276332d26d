"""Whether a creation may have happened that nobody has seen, and when that is settled.

DigitalOcean has no idempotency key. A lost answer is settled by looking, for a stated time, before
the creation may be sent again (docs/decisions/0004).
"""

from datetime import datetime, timedelta

from spawnai.api.record import ResourceKind

from .actions import FindDroplet
from .observation import Effort, FailureKind, Observation

SETTLING = timedelta(seconds=30)
"""How long a POST with an unclear answer may take to show up before it is sent again. DigitalOcean
applies tags after creation and lists late; no published bound exists, 30 s is three times the
slowest seen by other clients of its API."""

APPEARS_WITHIN = timedelta(seconds=120)
"""How long something may answer 404 after DigitalOcean took the order for it, and how late a POST
without an answer may still take effect. No published bound exists; the inventory is as patient with
new droplets that its listings miss."""


CLOCK_DOUBT = timedelta(hours=1)
"""By how much the dates of an earlier process may be wrong: its clock may have been set since."""


def may_still_appear(known_since: datetime, now: datetime) -> bool:
    """Whether a thing is so young that a 404 does not prove that it is gone.

    One that was given up on such a 404 would show up later, cost money, and have no session left.

    Args:
        known_since: when this process first knew of it. Not when it was made, unless that is long
            ago: that date is by another clock, or by this one before it was set.
        now: by the same clock.
    """
    return now < known_since + APPEARS_WITHIN


def unsettled_since(o: Observation, create_key: str) -> datetime | None:
    """Since when a creation may have happened that nobody has seen.

    Either its answer was unclear, or another life of this operator may have sent it.
    """
    effort = o.effort(create_key)
    if effort.failure is not None and effort.failure.kind is FailureKind.AMBIGUOUS:
        return effort.failure.at
    if effort.started_at is None and o.earlier_life_may_have_created:
        return o.operator_started_at
    return None


def settled(find: Effort, since: datetime) -> bool:
    """Whether a look that began after the settling time found nothing."""
    return looked(find, since + SETTLING)


def unaccounted_since(o: Observation, kind: ResourceKind, create_key: str) -> datetime | None:
    """Since when a creation may be on its way beside all that the ledger lists; None: none is.

    A POST without an answer that no look has found is sent again, or its session ends; the first
    may take effect after all. What an earlier life of this operator sent counts as one such POST.
    """
    if o.record is None:
        return None
    effort = o.effort(create_key)
    sent = effort.effects + (1 if _earlier_life_may_have_sent(o, kind) else 0)
    if kind is ResourceKind.FIREWALL:
        sent = min(sent, 1)  # DigitalOcean takes a name only once.
    if sum(1 for entry in o.record.status.resources if entry.kind is kind) >= sent:
        return None
    return effort.unclear_at or o.operator_started_at


def _earlier_life_may_have_sent(o: Observation, kind: ResourceKind) -> bool:
    """A name is made once its droplet's address is stored, and then no droplet is looked for."""
    if not o.earlier_life_may_have_created:
        return False
    looked_for_droplet = o.effort(FindDroplet.__name__).started_at is not None
    return not (kind is ResourceKind.DOMAIN_RECORD and looked_for_droplet)


def looked(find: Effort, since: datetime | None) -> bool:
    """Whether a look was made that began no earlier than that; None: ever."""
    if find.failure is not None or find.done_at is None or find.started_at is None:
        return False
    return since is None or find.started_at >= since
