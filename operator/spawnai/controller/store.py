"""What the API server holds, as the watches and our own writes last showed it.

An event may come late or twice, and after our own write an older state may still arrive: the
higher resourceVersion wins (they can be compared since Kubernetes 1.35, KEP-5504).
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Protocol

from pydantic import ValidationError

from spawnai.api.budget import BudgetSpec, BudgetStatus
from spawnai.api.names import (
    DEFAULT_CLASS_ANNOTATION,
    EXPIRES_AT_ANNOTATION,
    FEEDBACK_ANNOTATION,
    FINALIZER,
    GITOPS_MARKS,
    TTL_ANNOTATION,
)
from spawnai.api.pool import PoolSpec, PoolStatus
from spawnai.api.record import POOL_OWNER, SESSION_OWNER, RecordSpec, RecordStatus
from spawnai.api.session import Phase, SessionSpec, SessionStatus
from spawnai.api.spawnclass import ClassSpec, ClassStatus, CredentialsSpec
from spawnai.lifecycle.observation import Session

from .finalizers import Finalizers


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session and how new what we know of it is."""

    resource_version: int
    session: Session
    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A ledger and how new what we know of it is."""

    resource_version: int
    uid: str
    spec: RecordSpec
    status: RecordStatus
    created_at: datetime
    has_finalizer: bool
    deleting: bool


@dataclass(frozen=True, slots=True)
class StoredClass:
    """A class and how new what we know of it is."""

    resource_version: int
    name: str
    uid: str
    generation: int
    deleting: bool
    has_finalizer: bool
    is_default: bool
    created_at: datetime
    spec: ClassSpec | None
    spec_problem: str | None
    credentials: CredentialsSpec | None
    """Where its keys are; known although another part of the spec cannot be read."""
    status: ClassStatus


@dataclass(frozen=True, slots=True)
class StoredBudget:
    """A budget and how new what we know of it is."""

    resource_version: int
    name: str
    uid: str
    generation: int
    created_at: datetime
    spec: BudgetSpec
    """Of one that cannot be read: one that selects as it says, or all sessions, and has nothing."""
    spec_problem: str | None
    status: BudgetStatus


@dataclass(frozen=True, slots=True)
class StoredPool:
    """A pool and how new what we know of it is."""

    resource_version: int
    name: str
    uid: str
    generation: int
    spec: PoolSpec | None
    spec_problem: str | None
    status: PoolStatus


def parse_session(body: Mapping[str, Any]) -> Session:
    """Read a SpawnSession; a spec that cannot be read is a problem to report, not an error."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    spec, problem = None, None
    try:
        spec = SessionSpec.model_validate(body.get("spec") or {}).compact()
    except ValidationError as error:
        problem = _problems(error)
    try:
        status = SessionStatus.model_validate(body.get("status") or {}).compact()
    except ValidationError:
        status = SessionStatus()
    return Session(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        created_at=_time(metadata["creationTimestamp"]),
        deleting=metadata.get("deletionTimestamp") is not None,
        has_finalizer=FINALIZER in (metadata.get("finalizers") or []),
        ttl=annotations.get(TTL_ANNOTATION),
        expires_at=annotations.get(EXPIRES_AT_ANNOTATION),
        spec=spec,
        spec_problem=problem,
        status=status,
        feedback=annotations.get(FEEDBACK_ANNOTATION),
        kept_by_gitops=not GITOPS_MARKS.isdisjoint({*annotations, *(metadata.get("labels") or {})}),
    )


def parse_ledger(body: Mapping[str, Any]) -> RecordStatus:
    """Read what a SpawnRecord says. One that was made for an orphan is closed from the first: it is
    made and written in two calls, and between them it must not look like a living session's.
    """
    status = RecordStatus.model_validate(body.get("status") or {})
    if status.completed_at is None and (body.get("spec") or {}).get("orphaned"):
        begun = _time(body["metadata"]["creationTimestamp"])
        status = status.model_copy(update={"completed_at": begun})
    return status.compact()


def _credentials_of(body: Mapping[str, Any]) -> CredentialsSpec | None:
    """Where the keys of a class are whose spec as a whole cannot be read; None: not even that.

    What exists of the class can be destroyed with its keys.
    """
    try:
        return CredentialsSpec.model_validate(body["spec"].get("credentials") or {})
    except (ValidationError, AttributeError):
        return None


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"spec.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )


def _without_room(written: Mapping[str, Any]) -> BudgetSpec:
    """In place of a budget that cannot be read: whoever it may select does not begin."""
    try:
        return BudgetSpec.model_validate({"limit": "0", "selector": written.get("selector") or {}})
    except ValidationError:
        return BudgetSpec(limit="0")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _version(body: Mapping[str, Any]) -> int:
    return int(body["metadata"]["resourceVersion"])


def _is_gone(body: Mapping[str, Any]) -> bool:
    """Whether this is the last breath of an object, as the patch that let it go answers.

    Taken in after the watch's DELETED, it would live on here for ever: a class brought back so
    was given a new firewall.
    """
    metadata = body["metadata"]
    return metadata.get("deletionTimestamp") is not None and not metadata.get("finalizers")


class StoreListener(Protocol):
    """Who counts sessions and ledgers."""

    def ledger_changed(self, uid: str, class_name: str | None) -> None:
        """A ledger was made, written, closed or dropped."""

    def session_gone(self, uid: str) -> None:
        """A session is gone, or has ended."""

    def budget_changed(self, name: str) -> None:
        """A budget was made, changed or deleted."""


class Store:
    """The newest known state of every session, class and ledger."""

    def __init__(self) -> None:
        self.listener: StoreListener | None = None
        self._sessions: dict[str, StoredSession] = {}
        # By time of end, in seconds: a time without a zone, which anyone may write into a status,
        # cannot be held against the others.
        self._ends: list[tuple[float, str]] = []
        self._classes: dict[str, StoredClass] = {}
        self._records: dict[str, StoredRecord] = {}
        self._budgets: dict[str, StoredBudget] = {}
        self._pools: dict[str, StoredPool] = {}
        self._spares: set[str] = set()
        """The names of the ledgers of spares."""
        self._open_spares: set[str] = set()
        """Of those that are open: few, and looked for with each session that begins."""
        self._takers: set[str] = set()
        """The names of the open ledgers of sessions that list a spare."""

    def put_session(self, body: Mapping[str, Any]) -> bool:
        """Take in a session; False when something newer is known."""
        uid, version = body["metadata"]["uid"], _version(body)
        if _is_gone(body):
            self.remove_session(uid)
            return True
        known = self._sessions.get(uid)
        if known is not None and known.resource_version >= version:
            return False
        finalizers = tuple(body["metadata"].get("finalizers") or ())
        session = parse_session(body)
        self._forget_end(uid)
        self._sessions[uid] = StoredSession(version, session, finalizers)
        if (end := session.status.expiration_time) is not None:
            insort(self._ends, (end.timestamp(), uid))
        if session.status.phase is Phase.DESTROYED and self.listener is not None:
            self.listener.session_gone(uid)
        return True

    def put_record(self, body: Mapping[str, Any]) -> bool:
        """Take in a ledger; False when something newer is known."""
        metadata, version = body["metadata"], _version(body)
        name = metadata["name"]
        known = self._records.get(name)
        if _is_gone(body):
            if known is not None and known.uid == metadata["uid"]:
                self.remove_record(name)
            return True
        if known is not None and known.resource_version >= version:
            return False
        record = StoredRecord(
            resource_version=version,
            uid=metadata["uid"],
            spec=RecordSpec.model_validate(body.get("spec") or {}).compact(),
            status=parse_ledger(body),
            created_at=_time(metadata["creationTimestamp"]),
            has_finalizer=FINALIZER in (metadata.get("finalizers") or []),
            deleting=metadata.get("deletionTimestamp") is not None,
        )
        self._records[name] = record
        if record.spec.owner.kind == POOL_OWNER:
            self._spares.add(name)
            is_open = record.status.completed_at is None
            (self._open_spares.add if is_open else self._open_spares.discard)(name)
        elif record.status.completed_at is None and any(
            line.spare is not None for line in record.status.resources
        ):
            self._takers.add(name)
        else:
            self._takers.discard(name)
        self._tell_of(name, record)
        return True

    def _tell_of(self, name: str, record: StoredRecord) -> None:
        if self.listener is not None and record.spec.owner.kind == SESSION_OWNER:
            self.listener.ledger_changed(name, record.spec.class_name)

    def put_class(self, body: Mapping[str, Any]) -> bool:
        """Take in a class; False when something newer is known."""
        metadata, version = body["metadata"], _version(body)
        known = self._classes.get(metadata["name"])
        if _is_gone(body):
            if known is not None and known.uid == metadata["uid"]:
                self.remove_class(metadata["name"])
            return True
        if known is not None and known.resource_version >= version:
            return False
        annotations = metadata.get("annotations") or {}
        spec, problem = None, None
        try:
            spec = ClassSpec.model_validate(body.get("spec") or {})
        except ValidationError as error:
            problem = _problems(error)
        self._classes[metadata["name"]] = StoredClass(
            resource_version=version,
            name=metadata["name"],
            uid=metadata["uid"],
            generation=int(metadata.get("generation", 1)),
            deleting=metadata.get("deletionTimestamp") is not None,
            has_finalizer=FINALIZER in (metadata.get("finalizers") or []),
            is_default=annotations.get(DEFAULT_CLASS_ANNOTATION) == "true",
            created_at=_time(metadata["creationTimestamp"]),
            spec=spec,
            spec_problem=problem,
            credentials=spec.credentials if spec is not None else _credentials_of(body),
            status=ClassStatus.model_validate(body.get("status") or {}),
        )
        return True

    def put_budget(self, body: Mapping[str, Any]) -> bool:
        """Take in a budget; False when something newer is known."""
        metadata, version = body["metadata"], _version(body)
        known = self._budgets.get(metadata["name"])
        if known is not None and known.uid == metadata["uid"] and known.resource_version >= version:
            return False
        written, problem = body.get("spec") or {}, None
        try:
            spec = BudgetSpec.model_validate(written)
        except ValidationError as error:
            spec, problem = _without_room(written), _problems(error)
        new = self._budgets[metadata["name"]] = StoredBudget(
            resource_version=version,
            name=metadata["name"],
            uid=metadata["uid"],
            generation=int(metadata.get("generation", 1)),
            created_at=_time(metadata["creationTimestamp"]),
            spec=spec,
            spec_problem=problem,
            status=BudgetStatus.model_validate(body.get("status") or {}),
        )
        told_before = known is not None and (known.uid, known.spec, known.spec_problem) == (
            new.uid,
            new.spec,
            new.spec_problem,
        )
        if self.listener is not None and not told_before:
            self.listener.budget_changed(new.name)
        return True

    def remove_budget(self, name: str) -> None:
        """The budget is gone from the API server."""
        if self._budgets.pop(name, None) is not None and self.listener is not None:
            self.listener.budget_changed(name)

    def put_pool(self, body: Mapping[str, Any]) -> bool:
        """Take in a pool; False when something newer is known."""
        metadata, version = body["metadata"], _version(body)
        known = self._pools.get(metadata["name"])
        if known is not None and known.uid == metadata["uid"] and known.resource_version >= version:
            return False
        spec, problem = None, None
        try:
            spec = PoolSpec.model_validate(body.get("spec") or {})
        except ValidationError as error:
            problem = _problems(error)
        self._pools[metadata["name"]] = StoredPool(
            resource_version=version,
            name=metadata["name"],
            uid=metadata["uid"],
            generation=int(metadata.get("generation", 1)),
            spec=spec,
            spec_problem=problem,
            status=PoolStatus.model_validate(body.get("status") or {}),
        )
        return True

    def remove_pool(self, name: str) -> None:
        """The pool is gone from the API server."""
        self._pools.pop(name, None)

    def pool(self, name: str) -> StoredPool | None:
        """The pool of that name."""
        return self._pools.get(name)

    def pools(self) -> Iterator[StoredPool]:
        """All pools."""
        yield from list(self._pools.values())

    def spares(self) -> Iterator[StoredRecord]:
        """The ledgers of all spares, also those that are closed and kept."""
        for name in list(self._spares):
            yield self._records[name]

    def open_spares(self) -> Iterator[StoredRecord]:
        """The open ledgers of all spares."""
        for name in list(self._open_spares):
            yield self._records[name]

    def takers(self) -> Iterator[StoredRecord]:
        """The open ledgers of sessions that have taken a spare."""
        for name in list(self._takers):
            yield self._records[name]

    def remove_session(self, uid: str) -> None:
        """The session is gone from the API server."""
        self._forget_end(uid)
        if self._sessions.pop(uid, None) is not None and self.listener is not None:
            self.listener.session_gone(uid)

    def _forget_end(self, uid: str) -> None:
        known = self._sessions.get(uid)
        if known is not None and (end := known.session.status.expiration_time) is not None:
            del self._ends[bisect_left(self._ends, (end.timestamp(), uid))]

    def remove_record(self, name: str) -> None:
        """The ledger is gone from the API server."""
        record = self._records.pop(name, None)
        self._spares.discard(name)
        self._open_spares.discard(name)
        self._takers.discard(name)
        if record is not None:
            self._tell_of(name, record)

    def lose_record(self, name: str, *, stored: RecordStatus) -> None:
        """An open ledger is gone from the API server, where now no more than `stored` is."""
        known = self._records[name]
        self._records[name] = replace(
            known, resource_version=0, status=stored, has_finalizer=False, deleting=True
        )

    def remove_class(self, name: str) -> None:
        """The class is gone from the API server."""
        self._classes.pop(name, None)

    def session(self, uid: str) -> Session | None:
        """The session with that UID."""
        known = self._sessions.get(uid)
        return known.session if known is not None else None

    def version_of(self, session: Session) -> str | None:
        """The resourceVersion of a session as it was observed; None when a newer one is known."""
        known = self._sessions.get(session.uid)
        if known is None or known.session is not session:
            return None
        return str(known.resource_version)

    def finalizers_of(self, uid: str) -> Finalizers | None:
        """The finalizers of the session with that UID, ours and those of others."""
        known = self._sessions.get(uid)
        if known is None:
            return None
        return Finalizers(str(known.resource_version), known.finalizers)

    def record(self, uid: str) -> StoredRecord | None:
        """The ledger of the session or class with that UID."""
        return self._records.get(uid)

    def spawn_class(self, name: str) -> StoredClass | None:
        """The class of that name."""
        return self._classes.get(name)

    def default_class(self) -> StoredClass | None:
        """The default class; the newest where several say they are, as with StorageClass."""
        defaults = [known for known in self._classes.values() if known.is_default]
        return max(defaults, key=lambda known: (known.created_at, known.name), default=None)

    @property
    def record_count(self) -> int:
        """How many ledgers there are, those of classes too."""
        return len(self._records)

    def sessions(self) -> Iterator[Session]:
        """All sessions."""
        for known in list(self._sessions.values()):
            yield known.session

    def ending(self, earliest: datetime, latest: datetime) -> Iterator[Session]:
        """The sessions whose time is over between these moments, however many others there are."""
        first = bisect_left(self._ends, earliest.timestamp(), key=itemgetter(0))
        after_last = bisect_right(self._ends, latest.timestamp(), key=itemgetter(0))
        for _, uid in self._ends[first:after_last]:
            yield self._sessions[uid].session

    def records(self) -> Iterator[StoredRecord]:
        """All ledgers."""
        yield from list(self._records.values())

    def budget(self, name: str) -> StoredBudget | None:
        """The budget of that name."""
        return self._budgets.get(name)

    def budgets(self) -> Iterator[StoredBudget]:
        """All budgets."""
        yield from list(self._budgets.values())

    def classes(self) -> Iterator[StoredClass]:
        """All classes."""
        yield from list(self._classes.values())

    def class_of(self, session: Session) -> str | None:
        """The name of the class that serves a session: latched, asked for, or the default."""
        if session.status.class_name is not None:
            return session.status.class_name
        if session.spec is not None and session.spec.class_name is not None:
            return session.spec.class_name
        default = self.default_class()
        return default.name if default is not None else None
