"""The limits of classes, held by the leader alone: who may begin is decided here, one at a time.

The ledgers are the truth: a session that has one has begun, also when its session is deleted. Who
was let in and has no ledger yet is remembered, so that two orders never take one place.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from spawnai.admission.places import Begun, ClassLimits, Place, Waiting, places
from spawnai.api.session import Phase
from spawnai.api.spawnclass import ClassSpec
from spawnai.lifecycle.observation import Session

from .store import Store

TOLD_EVERY = timedelta(seconds=10)
"""A person's place is written again after this time at the earliest: a queue that moves costs few
writes."""

_LOOK_EVERY = timedelta(seconds=60)


@dataclass(slots=True)
class _ClassQueue:
    waiting: dict[str, Waiting] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    let_in: dict[str, Begun] = field(default_factory=dict)
    told_at: dict[str, datetime] = field(default_factory=dict)
    counted_at: datetime | None = None


class Admission:
    """Knows who waits for the limits of a class.

    Args:
        store: the sessions and ledgers.
        utc_now: the date.
        wake: has a session looked at now.
        wake_after: has a session looked at after some seconds.
    """

    def __init__(
        self,
        store: Store,
        utc_now: Callable[[], datetime],
        wake: Callable[[str], object],
        wake_after: Callable[[str, float], object],
    ) -> None:
        self._store = store
        self._utc_now = utc_now
        self._wake = wake
        self._wake_after = wake_after
        self._queues: dict[str, _ClassQueue] = {}

    def place(self, session: Session, class_name: str, spec: ClassSpec) -> Place | None:
        """Where a session without a ledger stands; None when its class limits nobody.

        Asking puts it into the queue; being let in takes it out.
        """
        limits = limits_of(spec)
        if limits == ClassLimits():
            self._queues.pop(class_name, None)
            return None
        queue = self._queues.setdefault(class_name, _ClassQueue())
        if session.uid in queue.let_in:
            return Place(position=0, total=0)
        known = queue.places.get(session.uid)
        if known is None or self._is_due(queue, known):
            queue.waiting[session.uid] = Waiting(
                session.uid, _user_of(session), session.namespace, session.created_at
            )
            self._count(class_name, queue, limits)
            known = queue.places[session.uid]
        if known.may_begin:
            self._let_in(queue, session)
        else:
            queue.told_at.setdefault(session.uid, self._utc_now())
        return known

    def class_changed(self, class_name: str) -> None:
        """Other limits may hold: everyone's place is found anew when it is asked for."""
        if (queue := self._queues.get(class_name)) is not None:
            queue.counted_at = None

    def ledger_changed(self, uid: str, class_name: str | None) -> None:
        """A ledger was made, closed or dropped."""
        queue = self._queues.get(class_name or "")
        if queue is None:
            return
        if self._store.record(uid) is not None:
            queue.let_in.pop(uid, None)
        if queue.waiting:
            self._recount(class_name or "", queue)

    def session_gone(self, uid: str) -> None:
        """A session is gone, or has ended without beginning: nobody waits behind it."""
        for class_name, queue in self._queues.items():
            known = queue.waiting.pop(uid, None), queue.let_in.pop(uid, None)
            queue.places.pop(uid, None)
            queue.told_at.pop(uid, None)
            if any(known) and queue.waiting:
                self._recount(class_name, queue)

    def _is_due(self, queue: _ClassQueue, place: Place) -> bool:
        now = self._utc_now()
        counted_at = queue.counted_at
        if counted_at is None or now - counted_at >= _LOOK_EVERY or now < counted_at:
            return True
        return place.look_again_at is not None and now >= place.look_again_at

    def _let_in(self, queue: _ClassQueue, session: Session) -> None:
        queue.waiting.pop(session.uid, None)
        queue.places.pop(session.uid, None)
        queue.told_at.pop(session.uid, None)
        queue.let_in[session.uid] = Begun(
            _user_of(session), session.namespace, self._utc_now(), is_open=True
        )

    def _recount(self, class_name: str, queue: _ClassQueue) -> None:
        spec = self._store.spawn_class(class_name)
        if spec is not None and spec.spec is not None:
            self._count(class_name, queue, limits_of(spec.spec))

    def _count(self, class_name: str, queue: _ClassQueue, limits: ClassLimits) -> None:
        """Find everyone's place, and wake those whose place has moved."""
        now = self._utc_now()
        begun = [
            Begun(
                record.spec.owner.user or record.spec.owner.namespace or "",
                record.spec.owner.namespace or "",
                record.created_at,
                is_open=record.status.completed_at is None,
            )
            for record in self._store.records()
            if record.spec.owner.kind == "SpawnSession" and record.spec.class_name == class_name
        ]
        let_in = [one for uid, one in queue.let_in.items() if self._store.record(uid) is None]
        before = queue.places
        queue.places = places(queue.waiting.values(), [*begun, *let_in], limits, now)
        queue.counted_at = now
        for uid, place in queue.places.items():
            known = before.get(uid)
            if known is None or known.message == place.message:
                continue
            if place.may_begin:
                self._wake(uid)
                continue
            pause = TOLD_EVERY - (now - queue.told_at.get(uid, now - TOLD_EVERY))
            queue.told_at[uid] = now + max(pause, timedelta())
            self._wake_after(uid, max(pause.total_seconds(), 0.0))


def limits_of(spec: ClassSpec) -> ClassLimits:
    """What a class allows."""
    return ClassLimits(
        active_per_user=spec.limits.per_user.active,
        new_per_user=spec.limits.per_user.new_in15_minutes,
        active_per_namespace=spec.limits.per_namespace.active,
    )


def is_waiting(session: Session) -> bool:
    """Whether a session may still have to wait: it has neither begun nor ended."""
    return session.status.phase in {None, Phase.REQUESTED} and not session.deleting


def _user_of(session: Session) -> str:
    return session.order.user or session.namespace
