"""Ordering the droplet: when, where, how large, and what a session waits for until it has one.

A lost answer is settled by looking before anything else. Then the best region and size is taken
that nobody has refused; a refusal leads to the next one, and where there is none, to a wait.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from spawnai.api.conditions import ConditionType
from spawnai.api.durations import parse_duration
from spawnai.api.names import session_droplet_name
from spawnai.api.record import ResourceKind
from spawnai.api.spawnclass import ExposureMode, PlacementMode

from .actions import ClaimSpare, Create, GenerateApp
from .kinds import ANY, KINDS, Placement, WantedDroplet
from .observation import Effort, Failure, FailureKind, Observation, Offer, Session
from .pooling import choose_spare
from .resources import Name, settle
from .status import Draft

CAPACITY_PAUSE = timedelta(seconds=60)
"""How long to wait when no region of the class has room."""

WAITING_FOR_LIMIT = "Waiting for the account's droplet limit"
NO_ROOM = "No region of the class has room now, trying again"
NO_CALL_LEFT = "DigitalOcean's calls are used up and deletions go first: waiting for a turn"
"""What is said while a session waits; the event comes when it is said first."""

NO_SUCH_PLACE = "DigitalOcean has no region and size as this session or its class asks for"
NO_SUCH_IMAGE = "DigitalOcean does not have the image that the class names: correct spec.image.name"

TURN_EXPECTED = timedelta(seconds=3)
"""After how long an order that waits for its turn among DigitalOcean's calls is worth a word."""


def placements(
    session: Session, offer: Offer, load: Mapping[str, int] | None = None
) -> list[Placement]:
    """Every region and size that may serve the session, best first.

    `load`: how many droplets of the class are in each region. Sessions that begin at the same
    moment see the same, so equal regions come in an order of the session's own.
    """
    regions = offer.spec.regions
    if session.order.location is not None:
        regions = offer.spec.locations.get(session.order.location, [])
    if session.order.region is not None:
        regions = [session.order.region]
    if offer.spec.placement is PlacementMode.SPREAD and session.order.region is None:
        counts = load or {}
        regions = sorted(regions, key=lambda one: (counts.get(one, 0), _share(session.uid, one)))
    sizes = offer.tier(session.tier).sizes
    return [Placement(region, size) for size in sizes for region in regions]


def _share(uid: str, region: str) -> bytes:
    return hashlib.sha256(f"{uid}/{region}".encode()).digest()


def order_droplet(d: Draft, session: Session, offer: Offer, now: datetime) -> None:
    """Plan how the session comes to its droplet, and say what it waits for."""
    o = d.observation
    name = Name(ResourceKind.DROPLET, session_droplet_name(o.uid))
    effort = o.effort(name.create_key)
    if settle(d, name, KINDS[name.kind].resend_after):
        d.set_false(
            ConditionType.DROPLET_READY,
            "Settling",
            "DigitalOcean's answer was lost: looking whether the droplet exists",
        )
        return
    failure = effort.failure
    wanted = placements(session, offer, o.load)
    open_now = [placement for placement in wanted if _refusal(o, placement, now) is None]
    if _waits_for_turn(d, effort, now):
        d.set_false(ConditionType.DROPLET_READY, "WaitingForCalls", NO_CALL_LEFT)
        if not d.said(ConditionType.DROPLET_READY, NO_CALL_LEFT):
            d.notice("Warning", "WaitingForCalls", "Provision", NO_CALL_LEFT)
    elif failure is not None and failure.kind is FailureKind.OVER_QUOTA:
        position = "" if o.queue_position is None else f"; position {o.queue_position} in the queue"
        message = f"{WAITING_FOR_LIMIT}{position} ({failure.message})"
        d.set_false(ConditionType.DROPLET_READY, "WaitingForDropletLimit", message)
        if not d.said(ConditionType.DROPLET_READY, WAITING_FOR_LIMIT):
            d.notice("Warning", "WaitingForDropletLimit", "Provision", message)
    elif failure is not None and failure.kind is FailureKind.NEEDS_PERSON:
        d.set_false(ConditionType.DROPLET_READY, failure.reason, failure.message)
        d.stall(failure.reason, failure.message, "Provision")
    elif failure is not None:
        message = failure.message
        if failure.kind is FailureKind.NO_CAPACITY and open_now and len(open_now) < len(wanted):
            refused = [placement for placement in wanted if placement not in open_now]
            message = f"No room {_where(refused)}, trying {_next(refused, open_now[0])}: {message}"
        d.set_false(ConditionType.DROPLET_READY, failure.reason, message)
    if (open_now or o.spares) and not _claude_answers(o, offer):
        if o.effort(GenerateApp().key).failure is not None:
            message = "The droplet is made once Claude begins to write the app"
            d.set_false(ConditionType.DROPLET_READY, "WaitingForClaude", message)
        return
    if _claim(d, offer, wanted, effort):
        return
    if open_now:
        lifetime = parse_duration(offer.spec.lifetime.provisioning_deadline)
        d.do(Create(WantedDroplet(name.name, open_now[0], lifetime)))
        if not effort.running:
            d.wake(now + TURN_EXPECTED)
        return
    _nowhere_to_go(d, session, offer, wanted, now)


def _claim(d: Draft, offer: Offer, wanted: list[Placement], order: Effort) -> bool:
    """Plan to take a spare, where one fits: whatever region or size has no room now.

    An order that was sent is waited for, so that a session does not come to two droplets.
    """
    if offer.spec.exposure.mode is ExposureMode.LOAD_BALANCER:
        return False  # A spare is covered by the class's firewall, which lets everyone in.
    spare = choose_spare(d.observation.spares, wanted)
    if spare is None or (order.running and not order.waits_for_turn):
        return False
    if order.running:
        d.abandon(unsent=(ResourceKind.DROPLET,))
    d.set_false(ConditionType.DROPLET_READY, "TakingSpare", "A spare droplet is being taken")
    d.do(ClaimSpare(spare.uid, spare.droplet_id))
    return True


def _waits_for_turn(d: Draft, effort: Effort, now: datetime) -> bool:
    """Whether the order is held back because the account's calls go to deletions."""
    if not effort.waits_for_turn or effort.started_at is None:
        return False
    if now < effort.started_at + TURN_EXPECTED:
        d.wake(effort.started_at + TURN_EXPECTED)
        return False
    return True


def _claude_answers(o: Observation, offer: Offer) -> bool:
    """Whether there is an app, or Claude has begun to write it, or will: it just took another order
    of the class, and this one is on its way.

    Claude takes a second to say no and a minute to write: a droplet that is made before it has
    said anything may wait, paid for, for an app that never comes.
    """
    if o.bundle is not None or o.generation_fraction is not None:
        return True
    order = o.effort(GenerateApp().key)
    return offer.claude_answers and order.running and order.failure is None


def _refusal(o: Observation, placement: Placement, now: datetime) -> Failure | None:
    """Why a placement need not be tried now."""
    for region in (placement.region, ANY):
        for size in (placement.size, ANY):
            failure = o.rejected.get((region, size))
            if failure is not None and (
                failure.kind is FailureKind.UNKNOWN_OPTION or failure.at + CAPACITY_PAUSE > now
            ):
                return failure
    return None


def _where(placements: Iterable[Placement]) -> str:
    """Such as "for s-1vcpu-1gb in nyc3, sfo3"."""
    regions: dict[str, list[str]] = {}
    for placement in placements:
        regions.setdefault(placement.size, []).append(placement.region)
    return ", ".join(f"for {size} in {', '.join(names)}" for size, names in regions.items())


def _next(refused: Iterable[Placement], placement: Placement) -> str:
    """What is tried now: a region, and the size where that is another one."""
    if placement.size in {one.size for one in refused}:
        return placement.region
    return f"{placement.size} in {placement.region}"


def _no_such_location(offer: Offer, location: str | None) -> str:
    known = ", ".join(sorted(offer.spec.locations)) or "none"
    return (
        f"SpawnClass {offer.name!r} has no location {location!r} (it has: {known}): add it to "
        "spec.locations of the class, or make the session again with one that is there"
    )


def _nowhere_to_go(
    d: Draft, session: Session, offer: Offer, wanted: list[Placement], now: datetime
) -> None:
    o = d.observation
    failures = [
        failure for placement in wanted if (failure := _refusal(o, placement, now)) is not None
    ]
    words = "; ".join(sorted({failure.message for failure in failures}))
    if not wanted:
        words = _no_such_location(offer, session.order.location)
    if all(failure.kind is FailureKind.UNKNOWN_OPTION for failure in failures):
        reason, message = "UnknownRegionOrSize", f"{NO_SUCH_PLACE}: {words}"
        if (ANY, ANY) in o.rejected:
            reason, message = "UnknownImage", f"{NO_SUCH_IMAGE}: {words}"
        d.set_false(ConditionType.DROPLET_READY, reason, message)
        d.stall(reason, message, "Provision")
        d.wake(now + CAPACITY_PAUSE)
        return
    message = f"{NO_ROOM} ({_where(wanted)}): {words}" if wanted else f"{NO_ROOM}: {words}"
    d.set_false(ConditionType.DROPLET_READY, "NoCapacity", message)
    if not d.said(ConditionType.DROPLET_READY, NO_ROOM):
        d.notice("Warning", "NoCapacity", "Provision", message)
    d.wake(min(failure.at for failure in failures) + CAPACITY_PAUSE)
