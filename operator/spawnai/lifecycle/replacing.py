"""A droplet that was lost or does not come back: switched on, rebooted, and then replaced, once.

    lost ──────────────────────────────────────────────┐
    off ─► switched on ─► (still does not answer) ──────┤
    silent for 3 minutes ─► rebooted ─► (still silent) ─┴─► given up ─► all of it gone
        ─► new droplet ─► firewall, name, certificate ─► the same app answers

The new droplet comes only when the old one was seen gone, so a session never has two. What was
given up stands in the ledger before anything is deleted, so a restart goes on. Nothing is done
while the operator may be the one who does not see: DigitalOcean has to show the droplet, and
another droplet has to answer, before a silent one is touched.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spawnai.api.conditions import ConditionType
from spawnai.api.durations import parse_duration
from spawnai.api.record import LedgerEntry, Presence, RecordStatus, ResourceKind
from spawnai.api.spawnclass import OnDropletFailure

from .actions import Action, RecoverDroplet, ReplaceDroplet
from .health import Verdict, outside_is, silent_for, verdict
from .kinds import KINDS
from .observation import Observation, Offer, Reachability
from .resources import names_of, settle
from .status import Draft

SILENCE = timedelta(minutes=3)
"""How long neither agent nor app answers before anything is done about the droplet."""

COMES_BACK_WITHIN = timedelta(minutes=2)
"""How long a droplet that was switched on or rebooted has until its agent answers."""

CONFIRMED_WITHIN = timedelta(seconds=90)
"""How fresh DigitalOcean's word on a silent droplet has to be."""

TRIES = 3
"""So many refused orders to switch a droplet on, or reboot it, end the trying."""

LEAST_START = timedelta(seconds=30)

REPLACING = "Replacing"
LOST = "DropletLost"
FAILED = "DropletFailed"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a session's droplet, for certain."""

    droplet: LedgerEntry
    reason: str
    message: str


def takes_to_start(o: Observation, offer: Offer) -> timedelta:
    """How long it takes until an app answers on another droplet: as long as it took at first."""
    longest = parse_duration(offer.spec.lifetime.provisioning_deadline)
    status = o.session.status if o.session is not None else None
    if status is None or status.ready_at is None or status.started_at is None:
        return longest
    took = status.ready_at - status.started_at
    return min(max(took, LEAST_START), longest)


def can_replace(o: Observation, now: datetime) -> bool:
    """Whether the session's droplet may be replaced: its class wants it, it was Ready, it was not
    replaced before, and more life is left than a start takes.
    """
    session, record, offer = o.session, o.record, o.offer
    if session is None or record is None or offer is None or session.deleting:
        return False
    status = session.status
    if status.ready_at is None or status.expiration_time is None or record.status.replacements:
        return False
    if offer.spec.health.on_droplet_failure is not OnDropletFailure.REPLACE:
        return False
    if offer.problem is not None:
        return False
    return status.expiration_time - now > takes_to_start(o, offer)


def fault(o: Observation, now: datetime) -> Fault | None:
    """What is certainly wrong with the droplet of a running session."""
    if o.record is None:
        return None
    lost = o.record.lost_droplet
    if lost is not None:
        return Fault(lost, LOST, f"Droplet {lost.id} was deleted outside the operator")
    line = o.record.droplet
    if line is None or o.session is None or o.session.status.ready_at is None:
        return None
    found = verdict(o)
    if found is Verdict.POWERED_OFF:
        tried = _tried(o, RecoverDroplet(line.id, "power_on"), now)
        words = f"Droplet {line.id} was off, and does not come back after it was switched on"
        return Fault(line, FAILED, words) if tried else None
    if found is Verdict.SILENT and _is_certain(o, now):
        tried = _tried(o, RecoverDroplet(line.id, "reboot"), now)
        tried = tried or _tried(o, RecoverDroplet(line.id, "power_on"), now)
        words = f"Nothing on droplet {line.id} answers, also not after it was started again"
        return Fault(line, FAILED, words) if tried else None
    return None


def recover(d: Draft, now: datetime) -> None:
    """Switch a droplet on that is off, reboot one that is silent; each once."""
    o, record = d.observation, d.observation.record
    line = record.droplet if record is not None else None
    offer = o.offer
    if line is None or offer is None or line.deletion_accepted_at is not None:
        return
    if offer.spec.health.on_droplet_failure is OnDropletFailure.KEEP:
        return
    found = verdict(o)
    if found is Verdict.POWERED_OFF:
        _once(d, RecoverDroplet(line.id, "power_on"), now)
    elif found is Verdict.SILENT and o.silent_since is not None:
        left = SILENCE - silent_for(o, now)
        if left > timedelta():
            d.wake(now + left)
        elif _is_certain(o, now):
            _once(d, RecoverDroplet(line.id, "reboot"), now)


def replace_droplet(d: Draft, found: Fault, now: datetime) -> None:
    """Ask for the replacement, once nothing of the old one can appear any more."""
    o, record = d.observation, d.observation.record
    if record is None:
        return
    unclear = [
        name for name in names_of(o, record) if settle(d, name, KINDS[name.kind].close_after)
    ]
    if unclear:
        return
    say_replacing(d, found.message)
    action = ReplaceDroplet(found.droplet.id, found.reason, found.message)
    if not o.may_replace:
        d.wake(now + timedelta(seconds=5))
        return
    d.do(action)


def say_replacing(d: Draft, why: str) -> None:
    """Say that the app is on its way to another droplet."""
    message = f"{why}: the same app is brought to another droplet, and ends when it was to end"
    if d.set_false(ConditionType.APP_HEALTHY, REPLACING, message):
        d.notice("Warning", REPLACING, "Replace", message)
    d.drop(ConditionType.STALLED)


def given_up_parts(ledger: RecordStatus, droplet_id: str, *, named_certificate: bool) -> list[str]:
    """The ids of a droplet and of all that leads to it, or would not fit another one.

    `named_certificate`: the session's certificate is for a name, and serves another droplet too.
    """
    parts = [
        line.id
        for line in ledger.resources
        if line.presence is not Presence.GONE
        and line.kind is not ResourceKind.DROPLET
        and not (line.kind is ResourceKind.CERTIFICATE and named_certificate)
    ]
    return [droplet_id, *parts]


def deadline(o: Observation, offer: Offer) -> datetime | None:
    """Until when an app must answer on its new droplet; a restart begins the time again."""
    replacing = o.record.replacing if o.record is not None else None
    if replacing is None:
        return None
    begun = max(replacing.started_at, o.operator_started_at)
    return begun + parse_duration(offer.spec.lifetime.provisioning_deadline)


def _is_certain(o: Observation, now: datetime) -> bool:
    """Whether a silent droplet is silent, and not the operator without sight."""
    confirmed = o.droplet_confirmed_at
    if o.sight.is_blind or not o.sight.others_answer or confirmed is None:
        return False
    if not outside_is(o, Reachability.SILENT) or silent_for(o, now) < COMES_BACK_WITHIN:
        return False
    return o.silent_since is not None and confirmed >= max(o.silent_since, now - CONFIRMED_WITHIN)


def _once(d: Draft, action: Action, now: datetime) -> None:
    effort = d.observation.effort(action.key)
    if effort.done_at is not None and effort.failure is None:
        d.wake(max(effort.done_at + COMES_BACK_WITHIN, now + timedelta(seconds=1)))
    elif effort.failures < TRIES:
        d.do(action)


def _tried(o: Observation, action: Action, now: datetime) -> bool:
    """Whether that was done and has had its time to help, or cannot be done."""
    effort = o.effort(action.key)
    if effort.failures >= TRIES:
        return True
    if effort.done_at is None or effort.failure is not None:
        return False
    return now >= effort.done_at + COMES_BACK_WITHIN
