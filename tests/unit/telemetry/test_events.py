"""Events: counted when repeated, bounded when many, and never in anyone's way."""

import asyncio
import contextlib
import re
from collections import Counter

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.telemetry.events import EventRecorder, Regarding

SESSION = Regarding("SpawnSession", "team-a", "board", "uid-1", "spawn-ai.com/v1alpha1")
RECORD = Regarding("SpawnRecord", None, "uid-1", "uid-9", "spawn-ai.com/v1alpha1")


class Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"the API server answered {status}")
        self.status = status


class Server:
    """Keeps Events by namespace and name; `faults` are used up write by write."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str], dict] = {}
        self.writes: list[tuple[float, str]] = []
        self.faults: list[object] = []

    async def write(self, namespace, name, body, patch) -> None:
        self.writes.append((VirtualClock().now(), "patch" if patch else "create"))
        fault = self.faults.pop(0) if self.faults else None
        if fault == "hang":
            await asyncio.sleep(3600)
        if isinstance(fault, Exception):
            raise fault
        key = (namespace, name)
        if patch:
            if key not in self.events:
                raise Refused(404)
            self.events[key] = {**self.events[key], **body}
        elif key in self.events:
            raise Refused(409)
        else:
            self.events[key] = body
        if fault == "hang after":
            await asyncio.sleep(3600)

    @property
    def only(self) -> dict:
        [event] = self.events.values()
        return event


class Results(Counter):
    """How many writes came to what."""

    def count_one(self, result: str) -> None:
        self[result] += 1


@contextlib.asynccontextmanager
async def recording(server: Server, results: Results | None = None):
    recorder = EventRecorder(
        server.write,
        VirtualClock(),
        instance="operator-0",
        on_result=(results if results is not None else Results()).count_one,
    )
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def tell(recorder: EventRecorder, note: str = "The droplet is ready", regarding=SESSION) -> None:
    recorder.emit(regarding, "Normal", "DropletReady", "CreateDroplet", note)


@virtual_time
async def test_an_event_has_all_fields_old_and_new_so_that_every_reader_orders_it():
    server = Server()
    async with recording(server) as recorder:
        tell(recorder)
        await asyncio.sleep(1)
    [(namespace, name)] = server.events
    assert namespace == "team-a"
    assert re.fullmatch(r"board\.[0-9a-f]{16}", name)
    assert server.only == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "team-a"},
        "eventTime": "2026-11-01T12:00:00.000000Z",
        "firstTimestamp": "2026-11-01T12:00:00Z",
        "lastTimestamp": "2026-11-01T12:00:00Z",
        "count": 1,
        "source": {"component": "spawn-ai.com/operator"},
        "reportingComponent": "spawn-ai.com/operator",
        "reportingInstance": "operator-0",
        "type": "Normal",
        "reason": "DropletReady",
        "action": "CreateDroplet",
        "message": "The droplet is ready",
        "involvedObject": {
            "apiVersion": "spawn-ai.com/v1alpha1",
            "kind": "SpawnSession",
            "namespace": "team-a",
            "name": "board",
            "uid": "uid-1",
        },
    }


@virtual_time
async def test_an_event_about_a_cluster_scoped_object_lives_in_default():
    server = Server()
    async with recording(server) as recorder:
        tell(recorder, regarding=RECORD)
        await asyncio.sleep(1)
    assert server.only["metadata"]["namespace"] == "default"
    assert "namespace" not in server.only["involvedObject"]


@virtual_time
async def test_repeated_news_is_one_event_with_a_count_patched_at_most_once_a_minute():
    """One emission a second for 150 s: made at 0 s, counted at 60 s, 120 s and 180 s."""
    server = Server()
    start = VirtualClock().now()
    async with recording(server) as recorder:
        for _ in range(150):
            tell(recorder)
            await asyncio.sleep(1)
        await asyncio.sleep(100)
    assert [(round(at - start), what) for at, what in server.writes] == [
        (0, "create"),
        (60, "patch"),
        (120, "patch"),
        (180, "patch"),
    ]
    assert server.only["series"] == {
        "count": 150,
        "lastObservedTime": "2026-11-01T12:02:29.000000Z",
    }


@virtual_time
async def test_the_second_of_two_far_apart_is_counted_at_once():
    server = Server()
    async with recording(server) as recorder:
        tell(recorder)
        await asyncio.sleep(120)
        tell(recorder)
        await asyncio.sleep(1)
    assert server.only["series"]["count"] == 2


@virtual_time
async def test_after_ten_quiet_minutes_the_same_news_is_a_new_event():
    """599 s after the last: the same one. 600 s after it: a new one."""
    server = Server()
    async with recording(server) as recorder:
        tell(recorder)
        await asyncio.sleep(599)
        tell(recorder)
        await asyncio.sleep(1)
        assert len(server.events) == 1
        await asyncio.sleep(599)
        tell(recorder)
        await asyncio.sleep(1)
    assert len(server.events) == 2


@virtual_time
async def test_other_news_is_another_event():
    server = Server()
    async with recording(server) as recorder:
        tell(recorder)
        tell(recorder, "The droplet is ready, again")
        tell(recorder, regarding=RECORD)
        recorder.emit(SESSION, "Warning", "DropletReady", "CreateDroplet", "The droplet is ready")
        await asyncio.sleep(1)
    assert len(server.events) == 4


@virtual_time
async def test_emitting_never_waits_however_slow_the_server():
    server, results = Server(), Results()
    server.faults = ["hang"] * 10_000
    async with recording(server, results) as recorder:
        start = VirtualClock().now()
        for number in range(3_000):
            tell(recorder, f"news {number}")
        assert VirtualClock().now() == start
        await asyncio.sleep(0)
        assert len(recorder._waiting) == 1_000
        assert results["dropped"] == 2_000


@virtual_time
async def test_dropping_is_complained_about_once_a_minute(caplog):
    recorder = EventRecorder(Server().write, VirtualClock(), instance="operator-0")
    for number in range(3_000):
        tell(recorder, f"news {number}")
    assert len(caplog.records) == 1
    assert "Events dropped" in caplog.text


@pytest.mark.parametrize("fault", [Refused(500), Refused(429), ConnectionError("cut"), "hang"])
@virtual_time
async def test_a_write_that_failed_is_tried_again(fault):
    server, results = Server(), Results()
    server.faults = [fault, fault]
    async with recording(server, results) as recorder:
        tell(recorder)
        await asyncio.sleep(60)
    assert len(server.events) == 1
    assert results == {"written": 1}


@virtual_time
async def test_a_write_is_tried_three_times_and_then_given_up():
    server, results = Server(), Results()
    server.faults = [Refused(500)] * 3
    async with recording(server, results) as recorder:
        tell(recorder, "first")
        tell(recorder, "second")
        await asyncio.sleep(60)
    assert len(server.writes) == 4
    assert server.only["message"] == "second"
    assert results == {"failed": 1, "written": 1}


@virtual_time
async def test_a_refusal_is_not_repeated():
    """A namespace that is being deleted takes no Events: 403."""
    server, results = Server(), Results()
    server.faults = [Refused(403)]
    async with recording(server, results) as recorder:
        tell(recorder)
        await asyncio.sleep(60)
    assert len(server.writes) == 1
    assert results == {"failed": 1}


@virtual_time
async def test_an_event_that_did_arrive_without_an_answer_is_not_made_twice():
    server, results = Server(), Results()
    server.faults = ["hang after"]
    async with recording(server, results) as recorder:
        tell(recorder)
        await asyncio.sleep(60)
    assert len(server.writes) == 2
    assert len(server.events) == 1
    assert results == {"written": 1}


@virtual_time
async def test_a_series_whose_event_ran_out_is_made_afresh_with_its_count():
    server = Server()
    async with recording(server) as recorder:
        tell(recorder)
        await asyncio.sleep(100)
        server.events.clear()
        tell(recorder)
        await asyncio.sleep(10)
    assert server.only["series"]["count"] == 2
    assert server.only["message"] == "The droplet is ready"


@virtual_time
async def test_shutting_down_writes_what_is_left_once_each():
    server = Server()
    recorder = EventRecorder(server.write, VirtualClock(), instance="operator-0")
    task = asyncio.create_task(recorder.run())
    tell(recorder, "first")
    await asyncio.sleep(1)
    tell(recorder, "first")
    tell(recorder, "second")
    server.faults = ["hang", Refused(500)]
    await asyncio.sleep(1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    server.faults = []
    await recorder.shut_down()
    tell(recorder, "too late")
    assert {event["message"] for event in server.events.values()} == {"first", "second"}
    assert max(event.get("series", {}).get("count", 1) for event in server.events.values()) == 2


@virtual_time
async def test_a_note_is_redacted_and_cut_at_the_limit_of_kubernetes():
    server = Server()
    secret = "sk-" + "ant-api03-" + "x" * 30
    async with recording(server) as recorder:
        tell(recorder, f"{secret} " + "é" * 2_000)
        await asyncio.sleep(1)
    note = server.only["message"]
    assert note.startswith("[redacted] é")
    assert note.endswith("é…")
    assert 1_021 <= len(note.encode()) <= 1_024


@pytest.mark.parametrize("name", ["a" * 253, "a" * 235 + "." + "b" * 17, "b"])
@virtual_time
async def test_an_events_name_is_valid_for_any_objects_name(name):
    server = Server()
    async with recording(server) as recorder:
        tell(recorder, regarding=Regarding("SpawnSession", "team-a", name, "uid", "v1"))
        await asyncio.sleep(1)
    [(_, event_name)] = server.events
    assert len(event_name) <= 253
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", p) for p in event_name.split("."))


@virtual_time
async def test_memory_of_what_was_told_is_bounded():
    recorder = EventRecorder(Server().write, VirtualClock(), instance="operator-0")
    task = asyncio.create_task(recorder.run())
    for number in range(20_000):
        tell(recorder, f"news {number}")
        if number % 500 == 0:
            await asyncio.sleep(1)
    assert len(recorder._series) <= 4_096
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@virtual_time
async def test_a_recorder_at_rest_wakes_nobody():
    server = Server()
    async with recording(server) as recorder:
        tell(recorder)
        await asyncio.sleep(100_000)
    assert len(server.writes) == 1
