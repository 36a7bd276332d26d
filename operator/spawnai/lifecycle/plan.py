"""plan(observation, now): the whole life of a session, in one place and without I/O.

    Requested ─► Provisioning ─► Generating ─► Deploying ─► Running
                      │               │            │           │
                      └───────────────┴─────┬──────┴───────────┘
                                            ▼
                                       Destroying ─► Destroyed

A session is built until there is a reason to end it; from then on it is only ever torn down.
Rules that hold between the parts:

* Nothing outside the cluster before the finalizer and the ledger are in the API server.
* A creation whose answer was lost is settled by looking before it is sent again.
* That a ledger is missing is believed only when the API server itself says so: after a restart the
  watches may show a session before its ledger.
* The finalizer goes last, when every line of the ledger has been seen gone.
* Equal observations give equal plans; a plan that changes nothing writes nothing.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from spawnai.api.conditions import (
    WAITED_FOR,
    ConditionStatus,
    ConditionType,
    find_condition,
)
from spawnai.api.durations import parse_duration
from spawnai.api.record import Presence, ResourceKind
from spawnai.api.session import Phase, SessionStatus
from spawnai.api.spawnclass import OnAppFailure, OnDropletFailure

from .actions import (
    ConfirmNoRecord,
    ConfirmSessionGone,
    DeleteRecord,
    DeleteSession,
    GenerateApp,
    HoldRecord,
    ReleaseRecord,
    RemoveFinalizer,
    key_of,
)
from .build import build
from .expiry import Wish, read_wish
from .keep import app_failure, expiries
from .limits import provisioning_deadline
from .observation import FailureKind, Observation, Record, Session
from .replacing import LOST, can_replace, fault
from .replacing import deadline as replacement_deadline
from .status import Draft, Plan
from .teardown import Ending, teardown, time_was_over

DELETED = "The session was deleted: destroying everything it used"

ANEW = "to have the app again, apply it under a new name"
CALLED_DESTROYED = (
    "Somebody wrote into its status that it is Destroyed while it was not, so everything it used "
    f"is destroyed now; {ANEW}"
)

STALLED_RETRY = timedelta(seconds=30)
"""How often a session that waits for a person is looked at again, without writing."""


def plan(observation: Observation, now: datetime) -> Plan:
    """Decide what to do for one session, what to say, and when to look again."""
    observation = _borne_out(observation)
    draft = Draft(observation, now)
    session = observation.session
    _hold_record(draft)
    if session is None:
        _without_session(draft, now)
        return draft.finish()
    if _is_tombstone(session) and _is_over(observation):
        if session.has_finalizer:
            draft.do(RemoveFinalizer())
        else:
            _keep_record(draft, now)
            _keep_session(draft, session, now)
        return draft.finish()
    wish = read_wish(session.ttl, session.expires_at)
    ending = _ending(observation, session, wish, now)
    if (
        ending is not None
        and observation.record is None
        and not observation.record_confirmed_absent
    ):
        draft.do(ConfirmNoRecord())
    elif ending is not None:
        teardown(draft, ending, now)
    elif _may_lack_its_ledger(observation, session):
        draft.do(ConfirmNoRecord())
        _wake_at_the_end(draft, session, wish, now)
    else:
        _wake_at_the_end(draft, session, wish, now)
        if observation.offer is not None:
            draft.wake(replacement_deadline(observation, observation.offer))
        stalled = _cannot_begin(observation, session, wish)
        if stalled is not None:
            _stall(draft, *stalled, now)
        elif observation.offer is not None:
            build(draft, session, observation.offer, wish, now)
    return draft.finish()


def _wake_at_the_end(d: Draft, session: Session, wish: Wish, now: datetime) -> None:
    """Whatever a session waits for meanwhile, its end is looked at in time."""
    d.wake(_expiry_time(d.observation, session, wish, now))


def _borne_out(o: Observation) -> Observation:
    """Without a readiness that the ledger does not bear out: no app was ready without a droplet.

    Whoever may write the status can claim it.
    """
    session = o.session
    if session is None or session.status.ready_at is None or _is_tombstone(session):
        return o
    if _may_lack_its_ledger(o, session):
        return o
    lines = o.record.status.resources if o.record is not None else []
    if any(line.kind is ResourceKind.DROPLET for line in lines):
        return o
    status = session.status.model_copy(update={"ready_at": None})
    return replace(o, session=replace(session, status=status))


def _may_lack_its_ledger(o: Observation, session: Session) -> bool:
    """Whether a session says that it was ready, and its ledger was not shown yet.

    After a start the watches may show the one before the other.
    """
    return (
        session.status.ready_at is not None and o.record is None and not o.record_confirmed_absent
    )


def _is_tombstone(session: Session) -> bool:
    return session.status.phase is Phase.DESTROYED


def _is_over(o: Observation) -> bool:
    """Whether nothing is left to do for a tombstone but to let it go, and to keep its ledger."""
    held = o.session is not None and o.session.has_finalizer
    if o.record is None:
        return o.record_confirmed_absent or not held
    # What turns up after a session was let go is the reaper's.
    return o.record.status.completed_at is not None and (
        not held or all(entry.presence is Presence.GONE for entry in o.record.status.resources)
    )


def _without_session(d: Draft, now: datetime) -> None:
    """A ledger without its session: finalizer stripped by hand, or the session long gone."""
    record = d.observation.record
    if record is None:
        return
    if record.status.completed_at is not None:
        _keep_record(d, now)
        return
    owner = record.spec.owner
    if not d.observation.session_confirmed_gone:
        d.do(ConfirmSessionGone(owner.namespace or "", owner.name))
        return
    teardown(d, Ending("SessionRemoved", "The session was removed from the cluster"), now)


def _hold_record(d: Draft) -> None:
    """An open ledger that an earlier version made, or whose finalizer was stripped, is held."""
    record = d.observation.record
    if record is None or record.has_finalizer or record.deleting:
        return
    if record.status.completed_at is None:
        d.do(HoldRecord())


def _keep_record(d: Draft, now: datetime) -> None:
    """A closed ledger is kept for the class's time, then dropped. One that names something which
    was not seen gone stays: a reaper has not ended what it began.
    """
    record, offer = d.observation.record, d.observation.offer
    if record is None or record.status.completed_at is None or record.status.residuals:
        return
    if record.has_finalizer:
        if record.is_closed_in_store:
            d.do(ReleaseRecord())
        return
    retention = parse_duration(offer.spec.records.retention) if offer else timedelta(days=30)
    drop_at = record.status.completed_at + retention
    if d.observation.counts_until is not None:
        drop_at = max(drop_at, d.observation.counts_until)
    if now >= drop_at:
        d.do(DeleteRecord())
    else:
        d.wake(drop_at)


def _keep_session(d: Draft, session: Session, now: datetime) -> None:
    """A tombstone stays until somebody deletes it, or for as long as its class says. One that a
    GitOps tool holds stays in any case: it would be made again, and with it a droplet.
    """
    offer, ended_at = d.observation.offer, session.status.destroyed_at
    if offer is None or ended_at is None or session.deleting or session.kept_by_gitops:
        return
    kept = offer.spec.lifetime.ttl_after_finished
    if kept is None:
        return
    drop_at = ended_at + parse_duration(kept)
    if now >= drop_at:
        d.do(DeleteSession())
    else:
        d.wake(drop_at)


def _ending(o: Observation, session: Session, wish: Wish, now: datetime) -> Ending | None:
    """The reason to end the session, if there is one. Once latched in the status, it stays."""
    status = session.status
    if status.termination_reason is not None:
        return _latched_ending(status, status.termination_reason)
    if session.deleting:
        return Ending("Deleted", DELETED)
    failed = _failed(o, status)
    # A droplet that was deleted for one of these reasons, while no status could be written, is no
    # lost one.
    over = _expired(o, session, wish, now) or _deadline(o, session, now)
    if o.record is not None and o.record.status.completed_at is not None:
        return _told_by_ledger(o.record, failed, over)
    if _is_tombstone(session):
        # Somebody else wrote so. What is called Destroyed must have nothing, and no phase takes a
        # step back: so it ends.
        return Ending("Destroyed", CALLED_DESTROYED)
    if failed is not None or over is not None:
        return failed or over
    if (broken := _app_failed(o)) is not None:
        return broken
    if o.record is not None and o.record.droplet_was_deleted:
        # Its time was over when that was done; a longer life asked for since comes too late.
        return _time_was_over(o, status.expiration_time or now)
    return _droplet_failed(o, now)


def _droplet_failed(o: Observation, now: datetime) -> Ending | None:
    """The end of a session whose droplet is lost, or broken, and is not replaced."""
    if o.offer is not None and (until := replacement_deadline(o, o.offer)) is not None:
        return _replacement_failed(o, until, now)
    if can_replace(o, now):
        return None
    lost = o.record is not None and o.record.lost_droplet is not None
    if lost:
        return Ending(LOST, "The droplet was deleted outside the operator", failed=True)
    wants_end = (
        o.offer is not None and o.offer.spec.health.on_droplet_failure is OnDropletFailure.END
    )
    found = fault(o, now) if wants_end else None
    return Ending(found.reason, found.message, failed=True) if found is not None else None


def _replacement_failed(o: Observation, until: datetime, now: datetime) -> Ending | None:
    """The end of a session whose app does not come up on another droplet either."""
    replacing = o.record.replacing if o.record is not None else None
    if replacing is None:
        return None
    failure = o.final_failure()
    if failure is not None:
        return Ending(failure.reason, failure.message, failed=True)
    if o.record is not None and o.record.lost_droplet is not None:
        return Ending(LOST, "The droplet was deleted outside the operator", failed=True)
    if now < until:
        return None
    words = f"{replacing.message}, and the app was not ready on another one in time"
    return Ending("ReplacementFailed", words, failed=True)


def _failed(o: Observation, status: SessionStatus) -> Ending | None:
    """The failure that ended the session before it was ready."""
    failure = o.final_failure()
    if failure is None or status.ready_at is not None:
        return None
    return Ending(failure.reason, failure.message, failed=True)


def _app_failed(o: Observation) -> Ending | None:
    """The end of a session whose agent says that its app has stopped for good, where the class
    wants that.
    """
    wants = o.offer is not None and o.offer.spec.health.on_app_failure is OnAppFailure.END
    if o.app is None or not wants:
        return None
    failure = app_failure(o)
    return Ending(*failure, failed=True) if failure is not None else None


def _told_by_ledger(record: Record, *reasons: Ending | None) -> Ending:
    """The ending that a closed ledger names, in the words of the reason that holds for it still."""
    named = record.status.termination_reason or "Destroyed"
    told = (ending for ending in reasons if ending is not None and ending.reason == named)
    message = f"Everything it used was destroyed before, as its SpawnRecord shows: {named}; {ANEW}"
    return next(told, Ending(named, message, failed=True))


def _latched_ending(status: SessionStatus, reason: str) -> Ending:
    """The ending that the status tells of. While a teardown lasts, its message tells what is left:
    why the session ended stands in the condition.
    """
    stalled = find_condition(status.conditions, ConditionType.STALLED)
    failed = stalled is not None and stalled.status is ConditionStatus.TRUE
    why = stalled if failed else find_condition(status.conditions, ConditionType.EXPIRED)
    if why is not None:
        return Ending(reason, why.message, failed=failed)
    return Ending(reason, DELETED if reason == "Deleted" else status.message or "")


def _expiry_time(o: Observation, session: Session, wish: Wish, now: datetime) -> datetime | None:
    """When the session's time is over, as far as that is known."""
    status = session.status
    if o.offer is not None:
        # Without a ledger nothing was made, and nothing can be ready.
        ready_at = status.ready_at if o.record is not None else None
        return expiries(o, session, o.offer, wish, ready_at=ready_at, now=now).in_force.time
    if wish.now:
        return now
    return status.expiration_time or wish.expires_at


def _expired(o: Observation, session: Session, wish: Wish, now: datetime) -> Ending | None:
    expiry_time = _expiry_time(o, session, wish, now)
    if expiry_time is None or expiry_time > now:
        return None
    return _time_was_over(o, expiry_time)


def _time_was_over(o: Observation, at: datetime) -> Ending:
    """The end of its time, which for an app that had stopped for good is that failure's end."""
    failure = app_failure(o)
    if failure is not None:
        reason, message = failure
        return Ending(reason, message, failed=True, since=at)
    return Ending("Expired", time_was_over(at), since=at)


def _deadline(o: Observation, session: Session, now: datetime) -> Ending | None:
    """The provisioning deadline: it holds until Ready, and rests while a limit or a person does."""
    status = session.status
    if status.ready_at is not None or status.started_at is None or o.offer is None:
        return None
    failures = (
        o.creation(ResourceKind.DROPLET).failure,
        o.effort(key_of(GenerateApp)).failure,
    )
    resting = any(
        failure is not None and failure.kind in (FailureKind.OVER_QUOTA, FailureKind.NEEDS_PERSON)
        for failure in failures
    )
    # An order takes seconds; one under way for longer waits for its turn among the account's calls.
    resting = resting or o.creation(ResourceKind.DROPLET).running
    droplet = o.record.droplet if o.record is not None else None
    if resting and droplet is None:
        return None
    if now < provisioning_deadline(o, status.started_at, o.offer, now):
        return None
    limit = o.offer.spec.lifetime.provisioning_deadline
    tried = "; ".join(failure.message for failure in failures if failure is not None)
    return Ending(
        "ProvisioningDeadlineExceeded",
        f"The app was not ready within {limit}{': ' if tried else ''}{tried}",
        failed=True,
    )


def _cannot_begin(o: Observation, session: Session, wish: Wish) -> tuple[str, str] | None:
    """What a person has to mend before anything is made."""
    if session.spec_problem is not None:
        return "InvalidSpec", session.spec_problem
    begun = o.record is not None and o.record.made_anything
    if wish.problem is not None and not begun and session.status.started_at is None:
        return "InvalidExpiry", f"Nothing was created: {wish.problem}"
    if o.offer is None:
        failure = o.offer_problem
        nothing = ("ClassMissing", f"No SpawnClass serves {session.namespace}/{session.name}")
        return (failure.reason, failure.message) if failure else nothing
    if o.offer.problem is not None and not begun:
        return o.offer.problem.reason, o.offer.problem.message
    return None


def _stall(d: Draft, reason: str, message: str, now: datetime) -> None:
    phase = d.previous.phase or Phase.REQUESTED
    d.put(phase=phase, message=message)
    d.set_false(ConditionType.READY, reason, message)
    if reason in WAITED_FOR:
        d.wait(reason, message, "Wait")
    else:
        d.stall(reason, message, "Wait")
        d.drop(ConditionType.RECONCILING)
    d.wake(now + STALLED_RETRY)
