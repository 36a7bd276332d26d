"""The probes of a whole process, over real HTTP: what kubelet is told, and when."""

import asyncio
from random import Random
from types import SimpleNamespace

import httpx
import pytest
from tests.support.virtual_time import START

from spawnai.clock import SystemClock
from spawnai.controller.accounts import AccountNews, Accounts, account_behind
from spawnai.controller.operator import STUCK_SECONDS, Process
from spawnai.controller.workqueue import WorkQueue
from spawnai.digitalocean.budget import RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.settings import Address, settings_from


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
    settings = settings_from({})
    return Process(settings.model_copy(update={"http_address": Address("127.0.0.1", 0)}))


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


async def test_a_process_whose_listings_have_ended_is_not_alive(process, probes, caplog):
    def connect(_token, _news):
        client = ApiClient("test-token", "http://127.0.0.1:1", RateBudget(SystemClock()))
        news = AccountNews(lambda _: None, lambda _: None, on_sweep=broken)
        return account_behind(
            client,
            client.budget,
            news,
            cluster_tag="cluster:1",
            clock=SystemClock(),
            random=Random(1),
        )

    def broken(_sweep):
        raise RuntimeError("a mistake of our own")

    accounts = Accounts(connect, AccountNews(lambda _: None, lambda _: None))
    account = accounts.open("test-token")
    async with asyncio.timeout(20):
        await asyncio.wait([account.task])
    answer = await probes.get("/healthz")
    assert answer.status_code == 500
    assert "listings of a DigitalOcean account died" in answer.text
    assert "a mistake of our own" in caplog.text
    await accounts.close()


async def test_a_background_task_that_dies_ends_the_process_and_not_in_silence(
    process, monkeypatch
):
    """Here the review of rights, by a mistake in what it calls."""

    class Api:
        def __getattr__(self, _name):
            raise RuntimeError("a mistake of our own")

    async def work(*_arguments):
        await asyncio.Event().wait()

    monkeypatch.setattr(process, "_work", work)
    leadership = SimpleNamespace(check=lambda: None)
    async with asyncio.timeout(60):
        with pytest.raises(RuntimeError, match="a mistake of our own"):
            await process._lead(Api(), leadership)
