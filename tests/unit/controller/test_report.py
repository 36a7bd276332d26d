"""What a status write's answer means: another's change, an older view, another object."""

from datetime import UTC, datetime
from typing import Any

import pytest

from spawnai.api.conditions import Condition, ConditionStatus, ConditionType
from spawnai.api.names import FINALIZER
from spawnai.api.record import LedgerEntry, RecordStatus, ResourceKind
from spawnai.api.session import Phase, SessionStatus
from spawnai.clock import SystemClock
from spawnai.controller.cluster import Conflict
from spawnai.controller.memory import Memory
from spawnai.controller.report import Reporter, is_transition, without_secrets
from spawnai.controller.store import Store
from spawnai.lifecycle.status import Plan
from spawnai.telemetry.redaction import Redactor

UID = "11111111-2222-3333-4444-555555555555"
OTHER_UID = "99999999-2222-3333-4444-555555555555"


def document(version: int, uid: str = UID, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team",
            "name": "board",
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-23T12:00:00Z",
            "finalizers": [FINALIZER],
            **metadata,
        },
        "spec": {"prompt": "A board", "appType": "webapp"},
        "status": {},
    }


class ApiServer:
    """Holds one session; a write answers with it, or refuses when it is another version."""

    def __init__(self, body: dict[str, Any], **meanwhile: str) -> None:
        """`meanwhile`: what somebody else changes in its metadata just before a write."""
        self.body = body
        self.meanwhile = meanwhile

    async def patch_session_status(self, namespace, name, patch):
        found, wanted = self.body["metadata"], patch["metadata"]
        if (found["uid"], found["resourceVersion"]) != (wanted["uid"], wanted["resourceVersion"]):
            raise Conflict(f"patch session-status {namespace}/{name}", "it has changed", 409)
        metadata = {
            **found,
            **self.meanwhile,
            "resourceVersion": str(int(found["resourceVersion"]) + 1),
        }
        self.body = {**self.body, "metadata": metadata, "status": patch["status"]}
        return self.body

    async def get_session(self, _namespace, _name):
        return self.body


async def report(server: ApiServer, store: Store) -> float | None:
    reporter = Reporter(
        cluster=server,  # type: ignore[arg-type]
        store=store,
        events=None,  # type: ignore[arg-type]
        metrics=None,  # type: ignore[arg-type]
        redactor=Redactor(),
        clock=SystemClock(),
    )
    session = store.session(UID)
    assert session is not None
    status = session.status.model_copy(
        update={"phase": Phase.PROVISIONING, "started_at": datetime(2026, 11, 23, 12, tzinfo=UTC)}
    )
    return await reporter.report(UID, session, Memory(), Plan(status=status))


@pytest.fixture
def store() -> Store:
    store = Store()
    store.put_session(document(7))
    return store


async def test_a_write_that_changes_nothing_else_needs_no_other_look(store):
    assert await report(ApiServer(document(7)), store) is None
    assert store.session(UID).status.phase is Phase.PROVISIONING


async def test_an_answer_that_shows_a_deletion_is_looked_at_at_once(store):
    server = ApiServer(document(7), deletionTimestamp="2026-11-23T12:01:00Z")
    assert await report(server, store) == 0.0
    assert store.session(UID).deleting


async def test_a_status_decided_for_an_older_view_is_not_written(store):
    server = ApiServer(document(9, deletionTimestamp="2026-11-23T12:01:00Z"))
    assert await report(server, store) == 0.0
    assert server.body["status"] == {}
    assert store.session(UID).deleting, "the newer one was read"


async def test_a_new_session_of_the_same_name_is_left_to_its_own_watch(store):
    server = ApiServer(document(12, OTHER_UID))
    assert await report(server, store) == 0.0
    assert store.session(UID) is None
    assert store.session(OTHER_UID) is None, "the watch that shows it must be news"


SECRET = "a-key-that-claude-repeated"


async def told(store: Store, server: ApiServer, message: str, log: tuple[str, ...] = ()) -> Memory:
    """Report a status and a ledger in which others' words stand."""
    redactor = Redactor()
    redactor.register(SECRET)
    reporter = Reporter(
        cluster=server,  # type: ignore[arg-type]
        store=store,
        events=None,  # type: ignore[arg-type]
        metrics=None,  # type: ignore[arg-type]
        redactor=redactor,
        clock=SystemClock(),
    )
    session, memory = store.session(UID), Memory()
    assert session is not None
    stalled = Condition(
        type=ConditionType.STALLED,
        status=ConditionStatus.TRUE,
        reason="ClaudeUnauthorized",
        message=message,
        last_transition_time=datetime(2026, 11, 23, 12, tzinfo=UTC),
    )
    status = session.status.model_copy(update={"message": message, "conditions": [stalled]})
    plan = Plan(status=status, ledger=RecordStatus(log=list(log)))
    assert await reporter.report(UID, session, memory, plan) is None
    return memory


async def test_no_secret_gets_into_a_status_or_a_ledger(store):
    server = ApiServer(document(7))
    memory = await told(
        store, server, f"invalid x-api-key: {SECRET}", log=("listening", f"env: {SECRET}")
    )
    written = server.body["status"]
    assert written["message"] == "invalid x-api-key: [redacted]"
    assert written["conditions"][0]["message"] == "invalid x-api-key: [redacted]"
    assert memory.book.log == ["listening", "env: [redacted]"]


async def test_a_secret_that_is_told_again_and_again_is_written_once(store):
    server = ApiServer(document(7))
    for _ in range(3):
        await told(store, server, f"invalid x-api-key: {SECRET}")
    assert server.body["metadata"]["resourceVersion"] == "8"


def test_a_status_without_a_secret_is_left_as_it_is():
    status = SessionStatus(message="Running at http://203.0.113.7")
    assert without_secrets(Redactor(), status) is status


class LedgerServer:
    """Holds one ledger, and refuses a write that was decided for another version of it."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {
            "metadata": {
                "name": UID,
                "uid": "record-1",
                "resourceVersion": "7",
                "creationTimestamp": "2026-11-23T12:00:00Z",
            },
            "spec": {
                "owner": {"kind": "SpawnSession", "namespace": "team", "name": "board", "uid": UID},
                "clusterUid": "cluster",
            },
            "status": {},
        }

    def write(self, status: RecordStatus) -> None:
        version = str(int(self.body["metadata"]["resourceVersion"]) + 1)
        metadata = {**self.body["metadata"], "resourceVersion": version}
        merged = {**self.body["status"], **status.document()}
        self.body = {**self.body, "metadata": metadata, "status": merged}

    async def patch_record_status(self, name, patch):
        found, wanted = self.body["metadata"], patch["metadata"]
        if any(found[key] != wanted[key] for key in ("uid", "resourceVersion")):
            raise Conflict(f"patch record-status {name}", "it has changed", 409)
        self.write(RecordStatus.model_validate({**self.body["status"], **patch["status"]}))
        return self.body

    async def get_record(self, _name):
        return self.body


def line(kind: ResourceKind, id_: str) -> LedgerEntry:
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    return LedgerEntry(kind=kind, id=id_, name=f"name-{id_}", created_at=at)


async def test_a_line_that_another_writer_noted_is_never_dropped():
    """A reaper by hand, and a leader whose write came late, write the same ledger."""
    server, store = LedgerServer(), Store()
    store.put_record(server.body)
    server.write(RecordStatus(resources=[line(ResourceKind.DROPLET, "1")]))
    reporter = Reporter(
        cluster=server,  # type: ignore[arg-type]
        store=store,
        events=None,  # type: ignore[arg-type]
        metrics=None,  # type: ignore[arg-type]
        redactor=Redactor(),
        clock=SystemClock(),
    )
    memory = Memory(ledger=RecordStatus(resources=[line(ResourceKind.FIREWALL, "2")]))
    assert await reporter.report(UID, None, memory, Plan()) == 0.0, "refused, and looked at again"
    assert await reporter.report(UID, None, memory, Plan()) == 0.0
    assert [one["id"] for one in server.body["status"]["resources"]] == ["2", "1"]
    assert await reporter.report(UID, None, memory, Plan()) is None


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({"revision": 2}, False),
        ({"phase": "Destroying"}, False),
        ({"progress": 60}, True),
        ({"message": "the app is being changed for its new prompt"}, True),
    ],
)
def test_what_a_person_waits_for_is_written_at_once(change, waits):
    before = SessionStatus.model_validate({"phase": "Running", "progress": 50, "revision": 1})
    after = SessionStatus.model_validate(before.document() | change)
    assert is_transition(before, after) is not waits
