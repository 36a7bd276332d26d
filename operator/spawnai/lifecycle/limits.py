"""Reads a class's time limits for one session."""

from datetime import datetime, timedelta

from spawnai.api.durations import parse_duration
from spawnai.api.record import ResourceKind

from .expiry import Limits
from .observation import Observation, Offer, Record, Session

CLOCK_DOUBT = timedelta(hours=1)
"""By how much the dates of an earlier process may be wrong: its clock may have been set since."""


def limits_of(offer: Offer, session: Session, record: Record | None = None) -> Limits:
    """The class's time limits for this session."""
    lifetime = offer.spec.lifetime
    return Limits(
        default_ttl=parse_duration(offer.tier(session.tier).ttl),
        maximum=parse_duration(lifetime.max),
        notice=parse_duration(lifetime.notice),
        ready_by=_ready_by(offer, record) if record is not None else None,
    )


def _ready_by(offer: Offer, record: Record) -> datetime:
    """The latest moment at which the app can have been ready, as the ledger has it.

    It counts from the droplet that the session goes on with. One that turned up beside it, and is
    about to be deleted, gives no longer life.
    """
    made = [
        record.begun_at(entry)
        for entry in record.status.resources
        if entry.kind is ResourceKind.DROPLET
    ]
    if record.droplet is not None:
        made = [record.begun_at(record.droplet)]
    # A status tells an end in whole seconds, and nothing may end later than it says.
    begun = max(made, default=record.created_at).replace(microsecond=0)
    return begun + parse_duration(offer.spec.lifetime.provisioning_deadline)


def provisioning_deadline(
    o: Observation, started_at: datetime, offer: Offer, now: datetime
) -> datetime:
    """Until when the app must be ready. A droplet that was waited for starts the time again, by
    this process's clock: DigitalOcean's may be minutes apart. Waiting for a turn among
    DigitalOcean's calls takes none of it.

    After a restart, and without a droplet, which costs nothing, it counts from this operator's
    start at the earliest: how long another one waited is not known.
    A start that is still to come was written by somebody else; then the ledger's begin counts.
    """
    if started_at > now and o.record is not None:
        started_at = o.record.created_at
    droplet = o.record.droplet if o.record is not None else None
    if o.record is not None and droplet is not None:
        begun = o.record.begun_at(droplet)
        if o.earlier_life_may_have_created:
            # Its date is by DigitalOcean's clock, and ours may be ahead of that.
            begun = min(max(begun, o.operator_started_at), begun + CLOCK_DOUBT)
    else:
        begun = max(started_at, o.operator_started_at) + o.creation(ResourceKind.DROPLET).waited
    return begun + parse_duration(offer.spec.lifetime.provisioning_deadline)
