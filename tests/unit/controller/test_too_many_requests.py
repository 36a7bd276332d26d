"""An API server that says "too many requests" did nothing: it is left alone, then asked again."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from kubernetes.aio import client

from spawnai.controller.cluster import Cluster, ClusterUnavailable, pause_of


class Server:
    """Answers 429 so many times, then takes the write."""

    def __init__(self) -> None:
        self.refusals = 0
        self.retry_after = "1"
        self.asked = 0
        self.address: tuple[str, int] = ("", 0)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.asked <= self.refusals:
            return web.json_response({}, status=429, headers={"Retry-After": self.retry_after})
        return web.json_response({"metadata": {"name": request.path.rpartition("/")[2]}})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    yielded = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", yielded.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yielded.address = runner.addresses[0]
    yield yielded
    await runner.cleanup()


@pytest.fixture
async def cluster(server) -> AsyncIterator[Cluster]:
    host, port = server.address
    checks: list[int] = []
    async with client.ApiClient(client.Configuration(host=f"http://{host}:{port}")) as api:
        made = Cluster(api, before_write=lambda: checks.append(server.asked))
        made.checks = checks
        yield made


async def test_a_short_wait_is_waited_and_the_lease_is_asked_for_again_before_the_next_try(
    server, cluster
):
    server.refusals = 1
    await cluster.patch_class("standard", {"metadata": {"labels": {"a": "b"}}})
    assert cluster.checks == [0, 1]
    assert server.asked == 2


async def test_secrets_and_events_wait_in_the_same_way(server, cluster):
    server.refusals = 1
    assert await cluster.get_secret("default", "key") == {}
    assert server.asked == 2


async def test_a_wait_beyond_the_time_limit_is_left_to_the_queue(server, cluster):
    server.refusals, server.retry_after = 100, "25"
    with pytest.raises(ClusterUnavailable) as caught:
        await cluster.patch_class("standard", {})
    assert server.asked == 1
    assert pause_of(caught.value) == 25


@pytest.mark.parametrize(
    ("header", "pause"),
    [("86400", 30), ("0", 1), ("-5", 1), ("soon", 1), ("²", 1)],
)
async def test_a_wait_that_makes_no_sense_is_bounded(server, cluster, header, pause):
    server.refusals, server.retry_after = 1, header
    if pause == 1:
        await cluster.get_class("standard")
        return
    with pytest.raises(ClusterUnavailable) as caught:
        await cluster.get_class("standard")
    assert pause_of(caught.value) == pause
