"""Reads a class's time limits for one session."""

from datetime import datetime

from spawnai.api.durations import parse_duration
from spawnai.api.record import ResourceKind

from .actions import CreateDroplet
from .expiry import Limits
from .observation import Observation, Offer, Record, Session


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
        entry.created_at for entry in record.status.resources if entry.kind is ResourceKind.DROPLET
    ]
    if record.droplet is not None:
        made = [record.droplet.created_at]
    begun = max(made, default=record.created_at)
    return begun + parse_duration(offer.spec.lifetime.provisioning_deadline)


def provisioning_deadline(
    o: Observation, started_at: datetime, offer: Offer, now: datetime
) -> datetime:
    """Until when the app must be ready. A droplet that was waited for starts the time again, and
    waiting for a turn among DigitalOcean's calls takes none of it.

    Without a droplet, which costs nothing, it counts from this operator's start at the earliest:
    how long another one waited is not known.
    A start that is still to come was written by somebody else; then the ledger's begin counts.
    """
    if started_at > now and o.record is not None:
        started_at = o.record.created_at
    droplet = o.record.droplet if o.record is not None else None
    if droplet is not None:
        begun = droplet.created_at
    else:
        begun = max(started_at, o.operator_started_at) + o.effort(CreateDroplet.__name__).waited
    return begun + parse_duration(offer.spec.lifetime.provisioning_deadline)
