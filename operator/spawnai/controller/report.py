"""Writes down what is known: the ledger first, then one status write for each transition.

Equal documents are not written. What is only progress is written every five seconds at most.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, TypeVar

from spawnai.api.conditions import Condition, ConditionStatus, ConditionType
from spawnai.api.names import API_VERSION, FINALIZER, SESSION_UID_LABEL
from spawnai.api.record import RecordSpec, RecordStatus
from spawnai.api.session import SessionStatus
from spawnai.api.spawnclass import ClassStatus
from spawnai.billing.ledger import AT_ONCE, known_cost, merged, tokens_cost, write_within
from spawnai.clock import Clock
from spawnai.lifecycle.kinds import KINDS
from spawnai.lifecycle.observation import Session
from spawnai.lifecycle.status import Plan
from spawnai.telemetry.events import EventRecorder, Regarding, tell
from spawnai.telemetry.metrics import Metrics
from spawnai.telemetry.redaction import Redactor

from .cluster import Cluster, ClusterError, Conflict, ObjectNotFound
from .finalizers import set_finalizer
from .memory import Memory
from .store import Store, StoredRecord
from .user_notices import TellUsers

_LOGGER = logging.getLogger(__name__)

PROGRESS_INTERVAL_SECONDS = 5.0

_NO_SUCH_KIND = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
"""What the API server answers to a creation when the definition is gone, or about to go."""

_MAJOR_FIELDS = (
    "phase",
    "url",
    "ready_at",
    "expiration_time",
    "termination_reason",
    "destroyed_at",
    "revision",
    "expiry_warned_for",
)
_MAJOR_CONDITIONS = (
    ConditionType.READY,
    ConditionType.STALLED,
    ConditionType.EXPIRED,
    ConditionType.CLEANUP_COMPLETE,
    ConditionType.UPDATE_FAILED,
)
_PARTS = (
    ConditionType.DROPLET_READY,
    ConditionType.FIREWALL_READY,
    ConditionType.DNS_READY,
    ConditionType.CERTIFICATE_READY,
    ConditionType.GENERATED,
)


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that makes `new` of `old`; empty when they are equal."""
    patch: dict[str, Any] = {}
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            patch[key] = merge_patch(before, after)
        else:
            patch[key] = after
    return patch


def is_transition(old: SessionStatus, new: SessionStatus) -> bool:
    """Whether a status says something that cannot wait a few seconds."""
    if any(getattr(old, name) != getattr(new, name) for name in _MAJOR_FIELDS):
        return True
    return any(
        _shown(old.conditions, kind) != _shown(new.conditions, kind) for kind in _MAJOR_CONDITIONS
    )


def is_good_news_only(old: SessionStatus, new: SessionStatus) -> bool:
    """Whether all that changed is that a part became ready: that rides along with the next write.

    The phase moves on when the last part is ready, so it never waits for long.
    """
    if old.model_copy(update={"conditions": new.conditions}) != new:
        return False
    before = {known.type: known for known in old.conditions}
    changed = [known for known in new.conditions if before.get(known.type) != known]
    return len(old.conditions) <= len(new.conditions) and all(
        known.type in _PARTS and known.status is ConditionStatus.TRUE for known in changed
    )


def _shown(conditions: list[Condition], kind: ConditionType) -> tuple[str, str] | None:
    return next(((known.status, known.reason) for known in conditions if known.type == kind), None)


StatusModel = TypeVar("StatusModel", SessionStatus, ClassStatus)


def without_secrets(redactor: Redactor, status: StatusModel) -> StatusModel:
    """The status with no secret in its message and its conditions': others' words stand there."""
    shown = {text: redactor.redact(text) for text in _messages_of(status)}
    if all(text == clean for text, clean in shown.items()):
        return status
    changes: dict[str, Any] = {
        "conditions": [
            condition.model_copy(update={"message": shown[condition.message]})
            for condition in status.conditions
        ]
    }
    message = getattr(status, "message", None)
    if message is not None:
        changes["message"] = shown[message]
    return status.model_copy(update=changes)


def _messages_of(status: SessionStatus | ClassStatus) -> set[str]:
    """All its messages, each once: several conditions often say the same."""
    messages = {condition.message for condition in status.conditions}
    if isinstance(status, SessionStatus) and status.message is not None:
        messages.add(status.message)
    return messages


class Reporter:
    """Writes ledgers, statuses and events."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        events: EventRecorder,
        metrics: Metrics,
        redactor: Redactor,
        clock: Clock,
        tell_users: TellUsers = lambda _session, _status: None,
    ) -> None:
        self._tell_users = tell_users
        self._cluster = cluster
        self._store = store
        self._events = events
        self._metrics = metrics
        self._redactor = redactor
        self._clock = clock

    async def report(
        self, uid: str, session: Session | None, memory: Memory, plan: Plan
    ) -> float | None:
        """Write what has changed. Returns after how many seconds the rest is to be written."""
        if plan.ledger is not None:
            if plan.ledger.completed_at is not None and memory.book.completed_at is None:
                self._count_cost(uid, session, plan.ledger)
            memory.ledger = self._with_clean_log(plan.ledger, memory.book)
        ledger_later = await self._write_ledger(uid, memory, at_once=plan.store_ledger)
        status_later = None
        if session is not None and plan.status is not None:
            status_later = await self._write_status(session, memory, plan, plan.status)
        return min((at for at in (ledger_later, status_later) if at is not None), default=None)

    def _with_clean_log(self, ledger: RecordStatus, before: RecordStatus) -> RecordStatus:
        """The ledger with no secret in the lines of the app's log; those of before have none."""
        if not ledger.log or ledger.log == before.log:
            return ledger
        lines = [self._redactor.redact(line) for line in ledger.log]
        return ledger.model_copy(update={"log": lines})

    def _count_cost(self, uid: str, session: Session | None, closed: RecordStatus) -> None:
        record = self._store.record(uid)
        class_name = (record.spec.class_name if record is not None else None) or "unknown"
        total, tokens = known_cost(closed), tokens_cost(closed)
        self._metrics.cost(tokens, "claude", class_name)
        self._metrics.cost(total - tokens, "droplet", class_name)
        known = session.status.cost if session is not None else None
        if known is not None and known.estimated is not None:
            self._metrics.estimate(class_name, estimated=Decimal(known.estimated), actual=total)

    async def _write_ledger(self, uid: str, memory: Memory, *, at_once: bool) -> float | None:
        """Write it when it is time. Returns in how many seconds to come back.

        That is at once after a write: what waits for the ledger to be stored can go on.
        """
        stored = self._store.record(uid)
        if stored is None:
            return None
        named = any(KINDS[one.kind].follows for one in stored.spec.planned)
        within = AT_ONCE if at_once else write_within(stored.status, memory.book, named=named)
        if within is None:
            memory.ledger_waits_since = None
            return None
        now = self._clock.now()
        if memory.ledger_waits_since is None:
            memory.ledger_waits_since = now
        left = memory.ledger_waits_since + within.total_seconds() - now
        if left > 0:
            return left
        try:
            await write_ledger(self._cluster, self._store, stored, memory.book)
        except Conflict:
            # Somebody else wrote it meanwhile: what he noted is kept, and this is written again.
            newer = self._store.record(uid)
            if newer is not None:
                memory.ledger = merged(memory.book, newer.status)
            return 0.0
        memory.ledger_waits_since = None
        return 0.0

    async def _write_status(
        self, session: Session, memory: Memory, plan: Plan, status: SessionStatus
    ) -> float | None:
        """Events go out with the write that makes them true, so that none is told twice."""
        if status == session.status:
            return None
        status = without_secrets(self._redactor, status)
        patch = merge_patch(session.status.document(), status.document())
        if not patch:
            return None
        if is_good_news_only(session.status, status):
            return None
        waited = self._clock.now() - memory.minor_status_written_at
        if not is_transition(session.status, status) and waited < PROGRESS_INTERVAL_SECONDS:
            return PROGRESS_INTERVAL_SECONDS - waited
        version = self._store.version_of(session)
        if version is None:
            return 0.0
        metadata = {"uid": session.uid, "resourceVersion": version}
        try:
            body = await self._cluster.patch_session_status(
                session.namespace, session.name, {"metadata": metadata, "status": patch}
            )
        except ObjectNotFound:
            return None
        except Conflict as conflict:
            return await self._look_again(session, conflict)
        memory.minor_status_written_at = self._clock.now()
        self._store.put_session(body)
        self._emit(session, plan)
        self._tell_users(session, status)
        return 0.0 if self._has_changed(session) else None

    async def _look_again(self, session: Session, conflict: Conflict) -> float | None:
        """The status was decided for an older state than the API server's: read that one.

        After a start the watches may show a session as it was seconds ago, and a status made for
        it would take steps back.

        Raises:
            Conflict: the API server shows nothing newer, so only a later write can succeed.
        """
        try:
            body = await self._cluster.get_session(session.namespace, session.name)
        except ObjectNotFound:
            return None
        if body["metadata"]["uid"] == session.uid:
            if not self._store.put_session(body) and not self._has_changed(session):
                raise conflict
        else:
            # Another one has its name now; the watch that shows it wakes it.
            self._store.remove_session(session.uid)
        return 0.0

    def _has_changed(self, session: Session) -> bool:
        """Whether the answer to a status write shows what somebody else changed meanwhile.

        The watch that tells of it will then be no news.
        """
        known = self._store.session(session.uid)
        return known is None or replace(known, status=session.status) != session

    def _emit(self, session: Session, plan: Plan) -> None:
        regarding = Regarding(
            kind="SpawnSession",
            namespace=session.namespace,
            name=session.name,
            uid=session.uid,
            api_version=API_VERSION,
        )
        for notice in plan.notices:
            tell(
                self._events,
                regarding,
                notice.type,
                reason=notice.reason,
                action=notice.action,
                note=notice.message,
            )


async def write_ledger(
    cluster: Cluster, store: Store, stored: StoredRecord, new: RecordStatus
) -> None:
    """Write a ledger's status against the version that `stored` is; one that somebody deleted is
    put back.

    Raises:
        Conflict: somebody else has written it since. The store holds what he wrote.
        ClusterError: it could not be written.
    """
    name = stored.spec.owner.uid
    patch = merge_patch(stored.status.document(), new.document())
    if not patch:
        return
    try:
        body = await cluster.patch_record_status(
            name, {"metadata": _version_of(stored), "status": patch}
        )
    except Conflict:
        store.put_record(await cluster.get_record(name))
        raise
    except ObjectNotFound:
        if store.record(name) is None:
            raise
        try:
            body = await cluster.create_record(record_document(stored.spec))
            body = await cluster.patch_record_status(
                name,
                {
                    "metadata": {
                        "uid": body["metadata"]["uid"],
                        "resourceVersion": body["metadata"]["resourceVersion"],
                    },
                    "status": new.document(),
                },
            )
        except ClusterError as error:
            if error.status not in _NO_SUCH_KIND:
                raise
            # With its kind: nothing holds it any more, and nothing shall wait for it.
            _LOGGER.warning("The ledger %s cannot be kept: %s", name, error)
            store.lose_record(name, stored=new)
            return
        _LOGGER.warning("The ledger %s was deleted, and is put back", name)
    store.put_record(body)


def _version_of(stored: StoredRecord) -> dict[str, str]:
    """The precondition of a write; none for a ledger that is not in the API server any more."""
    if not stored.resource_version:
        return {}
    return {"uid": stored.uid, "resourceVersion": str(stored.resource_version)}


async def set_ledger_finalizer(cluster: Cluster, store: Store, name: str, *, present: bool) -> None:
    """Put our finalizer on a ledger or take it off. One that is gone is forgotten.

    Raises:
        ClusterError: it could not be read or written.
    """
    stored = store.record(name)
    if stored is None:
        return
    try:
        body = await set_finalizer(
            stored.uid,
            present=present,
            get=lambda: cluster.get_record(name),
            patch=lambda patch: cluster.patch_record(name, patch),
        )
    except ObjectNotFound:
        store.remove_record(name)
        return
    store.put_record(body)


def record_document(spec: RecordSpec) -> dict[str, Any]:
    """A new ledger as the API server takes it.

    Our finalizer keeps it from being deleted, by a person, a prune or with its definition, before
    it is closed. One that is made for an orphan is closed from the first.
    """
    metadata = {"name": spec.owner.uid, "labels": {SESSION_UID_LABEL: spec.owner.uid}}
    held = {} if spec.orphaned else {"finalizers": [FINALIZER]}
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnRecord",
        "metadata": metadata | held,
        "spec": spec.document(),
    }


def seconds_until(moment: datetime, now: datetime) -> float:
    """Seconds from now until then, never negative."""
    return max((moment - now).total_seconds(), 0.0)
