"""Notices follow stored status writes: each news is told once, also after a restart."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.controller.test_report import UID, ApiServer, document

from spawnai.api.conditions import Condition
from spawnai.api.session import SessionStatus
from spawnai.clock import SystemClock
from spawnai.controller.memory import Memory
from spawnai.controller.report import Reporter
from spawnai.controller.store import Store
from spawnai.controller.user_notices import UserNotices
from spawnai.lifecycle.status import Plan
from spawnai.telemetry.redaction import Redactor

CLASS = {
    "metadata": {
        "name": "standard",
        "uid": "a-class",
        "resourceVersion": "3",
        "generation": 1,
        "creationTimestamp": "2026-11-23T12:00:00Z",
    },
    "spec": {"notices": [{"type": "Slack", "secretRef": {"name": "slack"}}]},
}


class StoringApiServer(ApiServer):
    """Keeps what a patch does not name."""

    async def patch_session_status(self, namespace, name, patch):
        before = self.body["status"]
        await super().patch_session_status(namespace, name, patch)
        self.body = {**self.body, "status": {**before, **patch["status"]}}
        return self.body


class Heard:
    """What the sender was asked to send."""

    def __init__(self) -> None:
        self.notices: list[Any] = []

    def send(self, class_name: str, wanted: Any, notice: Any) -> None:
        assert class_name == "standard"
        assert [one.type.value for one in wanted] == ["Slack"]
        self.notices.append(notice)


def process(server: ApiServer, heard: Heard) -> tuple[Reporter, Store]:
    """A new operator process: it knows what the API server holds."""
    store = Store()
    store.put_class(CLASS)
    store.put_session(server.body)
    reporter = Reporter(
        cluster=server,  # type: ignore[arg-type]
        store=store,
        events=None,  # type: ignore[arg-type]
        metrics=None,  # type: ignore[arg-type]
        redactor=Redactor(),
        clock=SystemClock(),
        tell_users=UserNotices(heard, store, SystemClock()).tell,  # type: ignore[arg-type]
    )
    return reporter, store


def ready_status(store: Store) -> SessionStatus:
    return store.session(UID).status.model_copy(
        update={
            "ready_at": datetime(2026, 11, 23, 12, 1, tzinfo=UTC),
            "class_name": "standard",
            "url": "https://board.apps.example.com",
        }
    )


@pytest.fixture
def heard() -> Heard:
    return Heard()


async def test_a_stored_news_is_told_once_and_not_again_by_the_next_process(heard):
    server = StoringApiServer({**document(7), "status": {"className": "standard"}})
    for _ in range(2):
        reporter, store = process(server, heard)
        for _ in range(2):
            status = ready_status(store)
            await reporter.report(UID, store.session(UID), Memory(), Plan(status=status))
    assert [(one.event.value, one.name, one.url) for one in heard.notices] == [
        ("Ready", "board", "https://board.apps.example.com")
    ]


async def test_a_write_that_was_refused_tells_nothing(heard):
    server = StoringApiServer({**document(9), "status": {"className": "standard"}})
    reporter, store = process(server, heard)
    server.body = {**server.body, "metadata": {**server.body["metadata"], "resourceVersion": "10"}}
    status = ready_status(store)
    await reporter.report(UID, store.session(UID), Memory(), Plan(status=status))
    assert heard.notices == []


async def test_no_secret_is_in_a_notice(heard):
    server = StoringApiServer({**document(7), "status": {"className": "standard"}})
    reporter, store = process(server, heard)
    token = "dop_v1_" + "0" * 64
    stalled = Condition(
        type="Stalled",
        status="True",
        reason="AppCrashed",
        message=f"it printed {token}",
        last_transition_time=datetime(2026, 11, 23, 12, 1, tzinfo=UTC),
    )
    status = store.session(UID).status.model_copy(update={"conditions": [stalled]})
    await reporter.report(UID, store.session(UID), Memory(), Plan(status=status))
    (notice,) = heard.notices
    assert token not in notice.message
    assert "[redacted]" in notice.message
