"""observe → plan → act → report, for one key at a time.

Actions run beside the queue: a reconcile starts them and ends; each wakes its session when it is
done. So a session is never blocked by a call that takes long, and its TTL is always looked at.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random

from spawnai import background
from spawnai.api.conditions import ConditionType, is_true
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.session import SessionStatus
from spawnai.billing.prices import is_measured
from spawnai.clock import Clock
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.health import probe_target
from spawnai.lifecycle.observation import Effort, FailureKind, Observation, Session
from spawnai.lifecycle.plan import plan
from spawnai.lifecycle.retry import LONGEST, LONGEST_FOR_DELETIONS, delay_after
from spawnai.lifecycle.status import Plan
from spawnai.telemetry.metrics import Metrics

from .actions.actor import NEEDS_CLASS, Actor, doing
from .actions.work import Backing, Work
from .failures import NotYet, failure_of, is_expected
from .health_watch import HealthWatch
from .memory import Memories, Memory
from .observe import NotReadyYet, Observer
from .report import Reporter, seconds_until
from .store import Store
from .workqueue import WorkQueue

_LOGGER = logging.getLogger(__name__)

JITTER = 0.2

HOLDS_UP_DELETIONS = (do.Delete, do.Find, do.Verify)
"""Deletions, their proofs, and the looks that a teardown makes before it may delete."""


class Reconciler:
    """Brings a session a step closer to what its manifest says."""

    def __init__(
        self,
        *,
        store: Store,
        memories: Memories,
        observer: Observer,
        actor: Actor,
        reporter: Reporter,
        health: HealthWatch,
        queue: WorkQueue,
        metrics: Metrics,
        clock: Clock,
        random: Random,
        check_leadership: Callable[[], None],
        notice_steps: Callable[[], None],
    ) -> None:
        """Take what it uses.

        `notice_steps` brings what is remembered to the date of the clock, if that was set.
        """
        self._store = store
        self._memories = memories
        self._observer = observer
        self._actor = actor
        self._reporter = reporter
        self._health = health
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._check_leadership = check_leadership
        self._notice_steps = notice_steps

    async def reconcile(self, uid: str) -> None:
        """One round for one session."""
        self._check_leadership()
        await self._observer.learn(uid)
        now = self._date()
        try:
            observed = self._observer.observe(uid)
        except NotReadyYet:
            return
        if observed is None:
            self._memories.forget(uid)
            self._health.leave(uid)
            self._metrics.session_seen(uid, None)
            return
        observation, backing = observed
        memory = self._memories.of(uid)
        planned = plan(observation, now)
        session = observation.session
        self._count(observation, planned, memory)
        self._follow(observation, planned)
        for key in planned.abandoned:
            if (task := memory.tasks.get(key)) is not None:
                task.cancel()
        for action in planned.actions:
            if backing is None and isinstance(action, NEEDS_CLASS):
                continue  # The class wakes its sessions once it can be used.
            self._start(observation, backing, memory, action)
        # A time to come is set before anything is written: a write that is refused must not keep
        # the end waiting. What is due already waits for the write, or its refusal would bring the
        # key back at once, past the queue's backoff.
        pause = self._seconds_until_wake(planned)
        if pause is not None and pause > 0:
            self._queue.add_after(uid, pause)
        record_before = self._store.record(uid)
        try:
            async with asyncio.timeout(self._until_end(session, planned)):
                later = await self._reporter.report(uid, session, memory, planned)
        except TimeoutError:
            later = 0.0
        if later is not None:
            self._queue.add_after(uid, later)
        elif pause is not None and pause <= 0:
            written = session is not None and self._store.session(uid) is not session
            if written or self._store.record(uid) is not record_before:
                self._queue.add(uid)
            else:
                self._queue.add_rate_limited(uid)
        if _has_ended(session):
            memory.unstored = None
        if backing is not None and _is_ending(session, planned):
            self._leave_quota(uid, backing)
        if session is None and observation.record is None:
            self._memories.forget(uid)

    def _seconds_until_wake(self, planned: Plan) -> float | None:
        """Seconds until the plan asks to be made again; 0 when that is due. None: it does not."""
        if planned.wake_at is None:
            return None
        return seconds_until(planned.wake_at, self._clock.utc_now())

    def _date(self) -> datetime:
        """The date, to be held against remembered ones."""
        self._notice_steps()
        return self._clock.utc_now()

    def _until_end(self, session: Session | None, planned: Plan) -> float | None:
        """Seconds until a session that goes on is to end; a write must not take longer."""
        if session is None or _is_ending(session, planned):
            return None
        expiry = (planned.status or session.status).expiration_time
        left = seconds_until(expiry, self._clock.utc_now()) if expiry is not None else 0.0
        return left or None

    def _leave_quota(self, uid: str, backing: Backing) -> None:
        """Who ends does not wait for a droplet any more, and nobody waits behind him."""
        quota = backing.account.quota
        if quota.position(uid) is not None:
            quota.leave(uid)
            if (waiting := quota.first()) is not None:
                self._queue.add(waiting)

    def _follow(self, observation: Observation, planned: Plan) -> None:
        """Have the app of a running session looked at from outside."""
        session = observation.session
        status = planned.status or (session.status if session is not None else None)
        target = probe_target(observation, status) if status is not None else None
        if target is None or _is_ending(session, planned):
            self._health.leave(observation.uid)
        else:
            self._health.follow(observation.uid, target)

    def _count(self, observation: Observation, planned: Plan, memory: Memory) -> None:
        session = observation.session
        if session is None:
            self._metrics.session_seen(observation.uid, None)
            return
        status = planned.status or session.status
        self._metrics.session_seen(observation.uid, status, feedback=session.feedback)
        if session.status.termination_reason is None and status.termination_reason is not None:
            self._count_end(memory, status)
        now = self._clock.utc_now()
        if session.status.ready_at is None and status.ready_at is not None:
            self._metrics.ready((now - session.created_at).total_seconds())
        memory.expired_at = memory.expired_at or _expired_at(session.status, status, now)

    def _count_end(self, memory: Memory, status: SessionStatus) -> None:
        """Count an end once, although its status may have to be written more than once."""
        if not memory.end_counted:
            memory.end_counted = True
            self._metrics.session_ended(status)

    def _count_overrun(self, memory: Memory, entry: LedgerEntry) -> None:
        """Count, once for a session whose time was over, how late its droplet's deletion came."""
        if entry.kind is not ResourceKind.DROPLET or memory.overrun_counted:
            return
        accepted_at = next(
            (
                known.deletion_accepted_at
                for known in memory.book.resources
                if (known.kind, known.id) == (entry.kind, entry.id)
            ),
            None,
        )
        if memory.expired_at is not None and accepted_at is not None:
            memory.overrun_counted = True
            self._metrics.ttl_overrun((accepted_at - memory.expired_at).total_seconds())

    def _start(
        self,
        observation: Observation,
        backing: Backing | None,
        memory: Memory,
        action: do.Action,
    ) -> None:
        now = self._date()
        before = memory.efforts.get(action.key, Effort())
        memory.efforts[action.key] = replace(
            before, running=True, retry_at=None, started_at=now, done_at=None, turn_at=None
        )
        record = observation.record
        work = Work(
            observation.uid,
            observation.session,
            memory,
            backing,
            self._clock.utc_now,
            measures_usage=record is not None and is_measured(record.spec.price_terms),
        )
        memory.tasks[action.key] = background.once(
            self._run(work, action), name=f"{action.key} for {observation.uid}"
        )

    async def _run(self, work: Work, action: do.Action) -> None:
        memory, key = work.memory, action.key
        try:
            pause = await self._actor.carry_out(work, action)
            if isinstance(action, do.Delete):
                self._count_overrun(memory, action.line)
            now, before = self._date(), memory.efforts[key]
            memory.efforts[key] = Effort(
                started_at=before.started_at,
                done_at=now,
                retry_at=now + pause if pause is not None else None,
                effects=before.effects + 1,
                unclear_at=before.unclear_at,
            )
        except asyncio.CancelledError:
            before = memory.efforts[key]
            memory.efforts[key] = Effort(
                started_at=before.started_at,
                waited=before.waited,
                effects=before.effects,
                unclear_at=before.unclear_at,
            )
            raise
        except Exception as error:  # noqa: BLE001 - every failure becomes a value the plan reads
            memory.efforts[key] = self._failed(memory, action, error)
        finally:
            memory.tasks.pop(key, None)
            self._queue.add(work.uid)

    def _failed(self, memory: Memory, action: do.Action, error: Exception) -> Effort:
        now, key = self._date(), action.key
        before = memory.efforts[key]
        failure = failure_of(error, now, doing(action))
        failures = before.failures + 1
        longest = LONGEST_FOR_DELETIONS if isinstance(action, HOLDS_UP_DELETIONS) else LONGEST
        delay = delay_after(failure.kind, failures, longest)
        if isinstance(error, NotYet):
            _LOGGER.debug("%s: %s", key, error)
        elif failure.kind is FailureKind.TRANSIENT and failures % 5 != 1:
            _LOGGER.info("%s failed again (%d times): %s", key, failures, failure.message)
        else:
            trace = None if is_expected(error) else error
            _LOGGER.warning("%s failed: %s", key, failure.message, exc_info=trace)
        unclear = failure.kind is FailureKind.AMBIGUOUS
        return Effort(
            failures=failures,
            failure=failure,
            started_at=before.started_at,
            retry_at=now + delay * self._random.uniform(1 - JITTER, 1 + JITTER),
            waited=before.waited,
            effects=before.effects + (1 if unclear else 0),
            unclear_at=now if unclear else before.unclear_at,
        )


def _has_ended(session: Session | None) -> bool:
    """Whether its end is known to the API server, so that it cannot be taken back."""
    return session is None or session.deleting or session.status.termination_reason is not None


def _expired_at(before: SessionStatus, after: SessionStatus, now: datetime) -> datetime | None:
    """When the session's time was over, if that is why it ends.

    A status tells it in whole seconds. An end that was asked for at once, so that no status told of
    it before, is this moment and not the second's beginning.
    """
    if not is_true(after.conditions, ConditionType.EXPIRED):
        return None
    return after.expiration_time if after.expiration_time == before.expiration_time else now


def _is_ending(session: Session | None, planned: Plan) -> bool:
    if session is None or session.deleting:
        return True
    return (planned.status or session.status).termination_reason is not None
