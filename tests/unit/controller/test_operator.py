"""The probes of a whole process, over real HTTP: what kubelet is told, and when."""

from dataclasses import replace
from random import Random
from types import SimpleNamespace

import httpx
import pytest
from tests.support.virtual_time import START

from spawnai.controller.operator import STUCK_SECONDS, Process
from spawnai.controller.workqueue import WorkQueue
from spawnai.settings import settings_from


class Clock:
    """Moved by hand: real HTTP needs real time beside it."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    def utc_now(self):
        return START

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


@pytest.fixture
def process() -> Process:
    return Process(replace(settings_from({}), http_host="127.0.0.1", http_port=0))


@pytest.fixture
async def probes(process):
    server = process.server()
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=5) as client:
        yield client
    await server.stop()


async def test_a_process_that_waits_for_the_lease_is_alive_and_ready(probes):
    """Or a rolling update would wait for ever: the old pod gives the lease back when it ends."""
    for path in ("/healthz", "/readyz"):
        assert (await probes.get(path)).status_code == 200


async def test_the_process_is_alive_as_long_as_its_own_queue_moves(process, probes):
    clock = Clock()
    queue = WorkQueue(clock, Random(1))
    process.controller = SimpleNamespace(queue=queue)
    queue.add("a-session")
    assert await queue.get() == "a-session"
    clock.time += STUCK_SECONDS
    assert (await probes.get("/healthz")).status_code == 200
    clock.time += 1
    answer = await probes.get("/healthz")
    assert answer.status_code == 500
    assert "a worker has been busy with a-session for 61 s" in answer.text
    assert (await probes.get("/readyz")).status_code == 200, "the metrics are still wanted"
    queue.done("a-session")
    assert (await probes.get("/healthz")).status_code == 200
