"""The end of a session: in order, by recorded identity, and seen gone.

Traffic off (DNS) → droplet deleted and seen gone → firewall → receipt in the ledger → tombstone.
An address that is given back goes to a stranger, so no name of ours may point at it by then.
Nothing here may drop the finalizer while something may live.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spawnai.api.conditions import ConditionType
from spawnai.api.record import Presence, ResourceKind
from spawnai.api.session import CostStatus, Phase
from spawnai.billing.ledger import closed, residuals

from .actions import (
    Action,
    AwaitDroplet,
    CheckApp,
    CheckFirewall,
    CreateDomainRecord,
    CreateDroplet,
    CreateFirewall,
    DeleteResource,
    DeployApp,
    FindDomainRecord,
    FindDroplet,
    FindFirewall,
    GenerateApp,
    RemoveFinalizer,
    SetExpiry,
    TakeLog,
    VerifyGone,
)
from .deletion import delete
from .observation import Observation, Record
from .settling import settled, unsettled_since
from .status import Draft, NoticeType

LOG_LIMIT = timedelta(seconds=1)
"""How long the droplet's deletion may wait for the last lines of the app's log."""

RESIDUAL_AFTER = timedelta(seconds=15)
"""After how long a teardown that is not done names what is left."""

ABANDONED = tuple(
    kind.__name__
    for kind in (AwaitDroplet, CheckFirewall, GenerateApp, DeployApp, SetExpiry, CheckApp)
)
"""What only a session that goes on needs. Creations are never stopped half-way."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a session ends. `failed` tells a failure from an orderly end."""

    reason: str
    message: str
    failed: bool = False
    since: datetime | None = None


def teardown(d: Draft, ending: Ending, now: datetime) -> None:
    """Plan the next steps of a session that ends."""
    o = d.observation
    record = o.record
    if record is None or (not record.made_anything and not _may_have_made(o)):
        _quiet_end(d, ending, now)
        return
    _say_why(d, ending)
    d.abandoned = ABANDONED
    unsure = _settle(d, record)
    names = record.living(ResourceKind.DOMAIN_RECORD)
    droplets = record.living(ResourceKind.DROPLET)
    firewalls = record.living(ResourceKind.FIREWALL)
    for entry in names:
        delete(d, record, entry)
    log_taken = _log_taken(d, ending, now)
    traffic_off = all(entry.deletion_accepted_at is not None for entry in names)
    # A name whose creation is not settled may exist already: its address must not go to a stranger.
    if traffic_off and ResourceKind.DOMAIN_RECORD not in unsure and log_taken:
        for entry in droplets:
            delete(d, record, entry)
    if not droplets and not _running(o, CreateDroplet.__name__):
        for entry in firewalls:
            delete(d, record, entry)
    left = residuals(record.status.resources)
    if left or unsure or _running(o, GenerateApp.__name__):
        _still_ending(d, ending, left, now)
        if unsure:
            d.wake(now + timedelta(seconds=1))
        return
    _receipt(d, record, ending, now)


def _may_have_made(o: Observation) -> bool:
    return any(
        _running(o, key) or unsettled_since(o, key) is not None
        for key in (CreateDroplet.__name__, GenerateApp.__name__)
    )


def _running(o: Observation, key: str) -> bool:
    return o.effort(key).running


def _settle(d: Draft, record: Record) -> set[ResourceKind]:
    """Wait for creations under way, look for those whose answer was lost: what is not sure yet."""
    o = d.observation
    unsure: set[ResourceKind] = set()
    planned = {resource.kind: resource.name for resource in record.spec.planned}
    searches: list[tuple[ResourceKind, str, Action]] = [
        (ResourceKind.DROPLET, CreateDroplet.__name__, FindDroplet())
    ]
    if ResourceKind.FIREWALL in planned:
        searches.append((ResourceKind.FIREWALL, CreateFirewall.__name__, FindFirewall()))
    droplet_ip = next(
        (
            entry.ip
            for entry in record.status.resources
            if entry.kind is ResourceKind.DROPLET and entry.ip is not None
        ),
        o.droplet.ip if o.droplet is not None else None,
    )
    if ResourceKind.DOMAIN_RECORD in planned and (droplet_ip is not None or record.droplet):
        label, _, domain = planned[ResourceKind.DOMAIN_RECORD].partition(".")
        # The ledger may not know the address yet; a look at the droplet tells it.
        find = FindDomainRecord(domain, label, droplet_ip) if droplet_ip else FindDroplet()
        searches.append((ResourceKind.DOMAIN_RECORD, CreateDomainRecord.__name__, find))
    for kind, create, find_action in searches:
        if _running(o, create):
            unsure.add(kind)
            continue
        known = any(entry.kind is kind for entry in record.status.resources)
        since = unsettled_since(o, create)
        if known or since is None or settled(o.effort(find_action.key), since):
            continue
        unsure.add(kind)
        d.do(find_action)
    return unsure


def _log_taken(d: Draft, ending: Ending, now: datetime) -> bool:
    """Whether the log is kept, or there is none, or it has been waited for long enough."""
    o = d.observation
    session = o.session
    entry = o.record.droplet if o.record is not None else None
    if session is None or entry is None or o.log or session.status.ready_at is None:
        return True
    ip = (o.droplet.ip if o.droplet is not None else None) or entry.ip
    if ip is None or entry.deletion_accepted_at is not None:
        return True
    if ending.reason == "Expired":
        return True
    effort = o.effort(TakeLog(ip).key)
    if effort.done_at is not None or effort.failure is not None:
        return True
    if effort.started_at is not None and now >= effort.started_at + LOG_LIMIT:
        return True
    d.wake((effort.started_at or now) + LOG_LIMIT)
    d.do(TakeLog(ip))
    return False


def _say_why(d: Draft, ending: Ending) -> None:
    if d.observation.session is None:
        return
    if d.previous.termination_reason is None:
        type_: NoticeType = "Warning" if ending.failed else "Normal"
        d.notice(type_, ending.reason, "Destroy", ending.message)
    # Its address may soon be a stranger's.
    d.put(termination_reason=ending.reason, message=ending.message, url=None)
    if ending.failed:
        d.set_true(ConditionType.STALLED, ending.reason, ending.message)
    else:
        d.drop(ConditionType.STALLED)
    if ending.reason == "Expired":
        if ending.since is not None:
            d.put(expiration_time=ending.since.replace(microsecond=0))
        d.set_true(ConditionType.EXPIRED, "Expired", ending.message)
    d.drop(ConditionType.READY, ConditionType.EXPIRING_SOON)


def _still_ending(d: Draft, ending: Ending, left: list[str], now: datetime) -> None:
    o = d.observation
    if o.session is not None:
        phase = d.move_to(Phase.DESTROYING)
        if not ending.failed:
            d.set_true(ConditionType.RECONCILING, str(phase), ending.message)
        began = next(
            (
                condition.last_transition_time
                for condition in d.previous.conditions
                if condition.type == ConditionType.CLEANUP_COMPLETE
            ),
            now,
        )
        words = "Everything the session used is being destroyed"
        if now >= began + RESIDUAL_AFTER:
            words = f"Not seen gone yet: {', '.join(left) or 'a creation without an answer'}"
            failures = [
                effort.failure.message
                for key, effort in o.efforts.items()
                if effort.failure is not None
                and key.startswith((DeleteResource.__name__, VerifyGone.__name__))
            ]
            if failures:
                words = "; ".join([words, *failures])
            d.put(message=words)
            if o.record is not None:
                d.ledger = o.record.status.model_copy(update={"residuals": left})
        else:
            d.wake(began + RESIDUAL_AFTER)
        d.set_false(ConditionType.CLEANUP_COMPLETE, "Destroying", words)


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
    cost = d.previous.cost
    d.put(
        destroyed_at=ledger.completed_at,
        cost=CostStatus(
            estimated=ledger.total_cost,
            actual=ledger.total_cost,
            price=cost.price if cost is not None else None,
        ),
    )
    names = [entry.kind for entry in ledger.resources if entry.presence is Presence.GONE]
    words = f"Seen gone: {', '.join(names) or 'nothing was made'}"
    d.set_true(ConditionType.CLEANUP_COMPLETE, "SeenGone", words)
    phase = d.move_to(Phase.DESTROYED)
    if phase is Phase.DESTROYED:
        d.drop(
            ConditionType.RECONCILING,
            ConditionType.DROPLET_READY,
            ConditionType.FIREWALL_READY,
            ConditionType.DNS_READY,
            ConditionType.APP_HEALTHY,
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
        d.drop(ConditionType.RECONCILING)
    if session.has_finalizer:
        d.do(RemoveFinalizer())
