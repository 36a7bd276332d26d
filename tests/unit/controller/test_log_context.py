"""Each line that is logged for a session names it, also when its reconcile breaks."""

import asyncio
import json
import logging
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.controller.controller import Controller, Outside
from spawnai.telemetry.logs import JsonFormatter
from spawnai.telemetry.redaction import Redactor

UID = "11111111-2222-3333-4444-555555555555"
SESSION = {
    "metadata": {
        "namespace": "team",
        "name": "board",
        "uid": UID,
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-23T12:00:00Z",
    },
    "spec": {"prompt": "A board", "appType": "webapp"},
}
RECORD = {
    "metadata": {
        "name": UID,
        "uid": "record-uid",
        "resourceVersion": "8",
        "creationTimestamp": "2026-11-23T12:00:00Z",
    },
    "spec": {
        "owner": {"kind": "SpawnSession", "namespace": "team", "name": "board", "uid": UID},
        "clusterUid": "cluster-uid",
        "className": "default",
        "planned": [],
    },
    "status": {},
}


class Lines(logging.Handler):
    """What an operator with JSON logs writes."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter(Redactor()))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def lines():
    handler = Lines()
    logging.getLogger("spawnai").addHandler(handler)
    yield handler.lines
    logging.getLogger("spawnai").removeHandler(handler)


def controller_that_breaks() -> Controller:
    """Its first step in each reconcile fails, as a mistake in the program would."""

    def broken() -> None:
        raise KeyError("a mistake")

    unused: Any = SimpleNamespace(watch_queue=lambda **_: None, watch_budget=lambda **_: None)
    unused.reconciled = unused.gateway_certificate = unused.images = lambda *_: None
    return Controller(
        Outside(
            cluster=unused,
            connect=unused,
            claude_for=unused,
            agents=unused,
            events=unused,
            metrics=unused,
            redactor=Redactor(),
            clock=VirtualClock(),
            random=Random(1),
            check_leadership=broken,
            namespace="spawnai",
            cluster_uid="cluster-uid",
            agent_source="",
            inspector=None,
            notices=unused,
        )
    )


async def one_turn(controller: Controller) -> None:
    working = asyncio.create_task(controller.queue.run(1, controller.handle))
    await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.wait([working])


@virtual_time
async def test_the_trace_of_a_reconcile_that_broke_names_its_session(lines):
    controller = controller_that_breaks()
    controller.on_session(None, SESSION)
    await one_turn(controller)
    [line] = [line for line in lines if "exception" in line]
    assert "a mistake" in line["exception"]
    assert (line["namespace"], line["session"], line["uid"]) == ("team", "board", UID)


@virtual_time
async def test_so_does_that_of_a_ledger_whose_session_is_gone(lines):
    controller = controller_that_breaks()
    controller.on_record(None, RECORD)
    await one_turn(controller)
    [line] = [line for line in lines if "exception" in line]
    assert (line["namespace"], line["session"], line["uid"]) == ("team", "board", UID)
