"""The end of a session: in order, by recorded identity, and seen gone.

Traffic off (DNS) → droplet deleted and seen gone → firewall → receipt in the ledger → tombstone.
An address that is given back goes to a stranger, so no name of ours may point at it by then.
Nothing here may drop the finalizer while something may live.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from spawnai.api.conditions import ConditionType, find_condition
from spawnai.api.durations import format_time
from spawnai.api.record import Presence, ResourceKind
from spawnai.api.session import Phase
from spawnai.billing.ledger import closed, money, residuals

from .actions import GenerateApp, PaidAction, RemoveFinalizer, StopApp, TakeLog, key_of
from .costs import say_bill, say_running
from .keep import is_asked_last, is_last_log, stops_ahead
from .kinds import KINDS
from .observation import Observation, Record
from .resources import delete_all, is_creating, names_of, unaccounted_since
from .status import Draft

LOG_LIMIT = timedelta(milliseconds=500)
"""How long the droplet's deletion may wait for the last lines of the app's log, when they were not
taken before: the order to delete it is to be out within a second."""

BEING_DESTROYED = "Everything the session used is being destroyed"

RESIDUAL_AFTER = timedelta(seconds=15)
"""After how long a teardown that is not done names what is left."""

ORDERS = tuple(sorted({one.__name__ for one in PaidAction.__subclasses__()}))
"""What may order from Claude: an app, a repair, a change."""

ABANDONED = (
    *ORDERS,
    "Await",
    "SetExpiry",
    "CheckApp",
    "StopApp",
    "RestartApp",
    "FindApp",
    "ClaimSpare",
    "TakeOver",
)
"""What only a session that goes on needs."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a session ends. `failed` tells a failure from an orderly end; `since`: when its time was
    over, if that is why it ends now.
    """

    reason: str
    message: str
    failed: bool = False
    since: datetime | None = None


def time_was_over(at: datetime) -> str:
    """The sentence for a session that ends because its time is over."""
    return f"The session's time was over at {format_time(at)}"


def teardown(d: Draft, ending: Ending, now: datetime) -> None:
    """Plan the next steps of a session that ends."""
    o = d.observation
    record = o.record
    d.abandon(*ABANDONED)
    if record is None or (not record.made_anything and not _may_have_made(o, record)):
        _quiet_end(d, ending, now)
        return
    _say_why(d, ending)
    unsure = delete_all(d, record, log_taken=_log_taken(d, now))
    left = residuals(record.status.resources)
    if left or unsure or any(e.running for key, e in o.efforts.items() if key.action in ORDERS):
        _still_ending(d, ending, left, unsure, now)
        return
    _receipt(d, record, ending, now)


def _may_have_made(o: Observation, record: Record) -> bool:
    """Whether something may have been made or paid for that the ledger does not list yet."""
    order = o.effort(key_of(GenerateApp))
    if order.running or (order.started_at is None and o.earlier_life_may_have_created):
        return True
    return any(
        is_creating(o, name) or unaccounted_since(o, name) is not None
        for name in names_of(o, record)
    )


def _log_taken(d: Draft, now: datetime) -> bool:
    """Whether the log of this end is kept, or there is none, or it was waited for long enough."""
    o = d.observation
    session = o.session
    entry = o.record.droplet if o.record is not None else None
    if session is None or entry is None or session.status.ready_at is None or not is_asked_last(o):
        return True
    ip = (o.droplet.ip if o.droplet is not None else None) or entry.ip
    if ip is None or entry.deletion_accepted_at is not None:
        return True
    take = TakeLog(ip)
    effort, end = o.effort(take.key), _end_of_time(d, now)
    if is_last_log(o.effort(key_of(StopApp)), end, stops_ahead(o, end)):
        return True
    if effort.started_at is not None and is_last_log(effort, end):
        given_up_at = effort.started_at + LOG_LIMIT
        if not effort.running or now >= given_up_at:
            return True
        d.wake(given_up_at)
        return False
    if effort.running or (effort.retry_at is not None and effort.retry_at > now):
        return True  # An agent that has been silent for so long says nothing in time.
    d.do(take)
    d.wake(now + LOG_LIMIT)
    return False


def _end_of_time(d: Draft, now: datetime) -> datetime:
    """When the session's life was over: its time, if that ended it, or else its teardown began."""
    end = min(now, _begun_at(d, now))
    expiry: datetime | None = d.get("expiration_time")
    return min(end, expiry) if d.has(ConditionType.EXPIRED) and expiry is not None else end


def _begun_at(d: Draft, now: datetime) -> datetime:
    """Since when the session is torn down, as its status says."""
    cleanup = find_condition(d.previous.conditions, ConditionType.CLEANUP_COMPLETE)
    return cleanup.last_transition_time if cleanup is not None else now


def _say_why(d: Draft, ending: Ending) -> None:
    if d.observation.session is None:
        return
    over = ending.reason if ending.since is None else "Expired"
    words = ending.message if ending.since is None else time_was_over(ending.since)
    if d.previous.termination_reason is None and (ending.since is not None or not ending.failed):
        d.notice("Normal", over, "Destroy", words)
    # Its address may soon be a stranger's.
    d.put(termination_reason=ending.reason, message=ending.message, url=None)
    if ending.failed:
        d.stall(ending.reason, ending.message, "Destroy")
    else:
        d.drop(ConditionType.STALLED)
    if ending.since is not None:
        d.put(expiration_time=ending.since.replace(microsecond=0))
    if over == "Expired":
        d.set_true(ConditionType.EXPIRED, "Expired", words)
    d.drop(ConditionType.READY, ConditionType.EXPIRING_SOON)


def _still_ending(
    d: Draft, ending: Ending, left: list[str], unsure: set[ResourceKind], now: datetime
) -> None:
    o = d.observation
    if o.session is not None:
        phase = d.move_to(Phase.DESTROYING)
        say_running(d, now)
        d.set_true(ConditionType.RECONCILING, str(phase), ending.message)
        began = _begun_at(d, now)
        words = BEING_DESTROYED
        if now >= began + RESIDUAL_AFTER:
            words = _what_is_left(left, unsure)
            failures = [
                effort.failure.message
                for key, effort in o.efforts.items()
                if effort.failure is not None and key.action in ("Delete", "Verify")
            ]
            if failures:
                words = "; ".join([words, *failures])
            if d.said(ConditionType.CLEANUP_COMPLETE, BEING_DESTROYED):
                d.notice("Warning", "CleanupDelayed", "Destroy", words)
            d.put(message=words)
            if o.record is not None:
                ledger = o.record.status
                log = list(o.log) or ledger.log
                d.ledger = ledger.model_copy(update={"residuals": left, "log": log})
        else:
            d.wake(began + RESIDUAL_AFTER)
        d.set_false(ConditionType.CLEANUP_COMPLETE, "Destroying", words)


def _what_is_left(left: list[str], unsure: set[ResourceKind]) -> str:
    """What a teardown waits for, in words."""
    if left:
        return f"Not seen gone yet: {', '.join(left)}"
    if unsure:
        kinds = " and ".join(sorted(f"a {kind}" for kind in unsure))
        return (
            f"DigitalOcean has not answered whether it made {kinds} for this session: what shows "
            "up is destroyed, and the session ends when nothing can show up any more"
        )
    return "The order to Claude is being ended, so that what it cost is known"


def _receipt(d: Draft, record: Record, ending: Ending, now: datetime) -> None:
    """Everything was seen gone: close the ledger, then the tombstone, then let go."""
    o = d.observation
    ledger = record.status
    if ledger.completed_at is None:
        d.ledger = ledger = closed(
            ledger, reason=ending.reason, log=o.log, at=now.replace(microsecond=0)
        )
        d.wake(now)
    if o.session is None:
        return
    d.put(destroyed_at=ledger.completed_at)
    say_bill(d, ledger.total_cost)
    names = [entry.kind for entry in ledger.resources if entry.presence is Presence.GONE]
    words = f"Seen gone: {', '.join(names) or 'nothing was made'}"
    d.set_true(ConditionType.CLEANUP_COMPLETE, "SeenGone", words)
    phase = d.move_to(Phase.DESTROYED)
    if phase is Phase.DESTROYED:
        parts = (row.condition for row in KINDS.values())
        d.drop(
            ConditionType.RECONCILING,
            ConditionType.APP_HEALTHY,
            ConditionType.INSPECTED,
            ConditionType.DEGRADED,
            *parts,
        )
        if d.previous.phase is not Phase.DESTROYED:
            d.notice(
                "Normal",
                "Destroyed",
                "Destroy",
                f"Everything was seen gone; the session cost {ledger.total_cost} USD",
            )
    if not o.session.has_finalizer:
        return
    told = d.previous.phase is Phase.DESTROYED or o.session.deleting
    if told and record.status.completed_at is not None:
        d.do(RemoveFinalizer())
    else:
        d.wake(now)


def _quiet_end(d: Draft, ending: Ending, now: datetime) -> None:
    """The end of a session that never made anything: one write, no receipt, no wake-up."""
    o = d.observation
    record = o.record
    if record is not None and record.status.completed_at is None:
        d.ledger = closed(record.status, reason=ending.reason, log=(), at=now)
    session = o.session
    if session is None:
        return
    if not session.deleting and d.previous.phase is not Phase.DESTROYED:
        _say_why(d, ending)
        d.put(phase=Phase.DESTROYED, destroyed_at=now.replace(microsecond=0))
        if d.previous.cost is not None:
            say_bill(d, money(Decimal(0)))
        d.drop(ConditionType.RECONCILING)
    if session.has_finalizer:
        d.do(RemoveFinalizer())
