"""A world in which operators die: an emulated account, a small API server, and one operator after
another. What it looks after is a subclass's.

The emulator's clock stands still and is moved by hand; the operator goes by it too.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, ClassVar, Self

from aiohttp import web
from kubernetes.aio import client
from tests.contract.reaper.api_server import GROUP_PATH, FakeApiServer

from spawnai.api.names import cluster_tag
from spawnai.controller.accounts import AccountNews, connector
from spawnai.controller.cluster import Cluster
from spawnai.controller.store import Store
from spawnai_local.digitalocean import NO_DELAYS, Emulator, ManualClock, Settings
from spawnai_local.digitalocean.client import ControlClient

CLUSTER = "c1a50000-0000-4000-8000-000000000001"
CLASS = "c1a55000-0000-4000-8000-000000000001"
NAME = "default"
STEP_SECONDS = 10.0


class Killed(BaseException):
    """The process is gone, whatever it was doing."""


class Records(FakeApiServer):
    """Ledgers with finalizers, that are held until the last one is gone; and versions that count.

    Times are those of the emulator.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(CLUSTER)
        self._clock = clock

    def routes(self, app: web.Application) -> None:
        app.router.add_patch(GROUP_PATH + "/spawnrecords/{name}", self._patch_metadata)
        app.router.add_get(GROUP_PATH + "/spawnclasses/{name}", self._class)
        app.router.add_delete(GROUP_PATH + "/spawnrecords/{name}", self._delete)

    def _metadata(self, name: str, uid: str) -> dict[str, str]:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        return {
            **super()._metadata(name, uid),
            "creationTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    async def _patch_metadata(self, request: web.Request) -> web.Response:
        found = self.records[request.match_info["name"]]
        found["metadata"] |= json.loads(await request.text())["metadata"]
        found["metadata"]["resourceVersion"] = str(next(self._versions))
        self._let_go(request.match_info["name"])
        return web.json_response(found)

    async def _class(self, request: web.Request) -> web.Response:
        return web.json_response(self.classes[request.match_info["name"]])

    async def _delete(self, request: web.Request) -> web.Response:
        self.delete(request.match_info["name"])
        return web.json_response({"kind": "Status", "status": "Success"})

    def delete(self, name: str) -> None:
        metadata = self.records[name]["metadata"]
        metadata["deletionTimestamp"] = metadata["creationTimestamp"]
        metadata["resourceVersion"] = str(next(self._versions))
        self._let_go(name)

    def _let_go(self, name: str) -> None:
        metadata = self.records[name]["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            del self.records[name]


class EmulatorClock:
    """The operator's clock, which follows the emulator's."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    async def sleep(self, seconds: float) -> None:
        self._clock.advance(seconds)
        await asyncio.sleep(0)


class MortalWorld:
    """What all such worlds share. `records_type`: the API server's ledgers. `most_looks`: after so
    many looks what is waited for does not come any more.
    """

    records_type: ClassVar[type[Records]] = Records
    most_looks: ClassVar[int] = 600

    def __init__(self, emulator: Emulator, records: Any) -> None:
        self.emulator, self.records = emulator, records
        self.changes = 0
        self.killed_at: tuple[int, str] | None = None
        """Before or after which change the operator dies."""
        self.last_error: Exception | None = None
        self._api: client.ApiClient | None = None
        self._account: Any = None

    @classmethod
    @contextlib.asynccontextmanager
    async def alive(cls) -> AsyncIterator[Self]:
        """A world while it is told of. Foreign things in its account stay untouched."""
        clock = ManualClock()
        emulator = Emulator(clock, settings=Settings(delays=NO_DELAYS))
        await emulator.start(dns_port=None)
        records = cls.records_type(clock)
        await records.start()
        world = cls(emulator, records)
        async with ControlClient(emulator.url) as control:
            await control.seed(droplets=[{"name": "database", "tags": ["production"]}])
            await world.begin()
            try:
                yield world
            finally:
                assert (await control.canaries())["touched"] == []
                await world.stop()
                await emulator.stop()
                await records.stop()

    async def begin(self) -> None:
        """The first process starts."""
        await self.restart()

    async def stop(self) -> None:
        """The process ends."""
        if self._api is not None:
            await self._api.close()
            await self._account.close()

    async def restart(self) -> None:
        """Another process takes over: it knows what the API server and DigitalOcean show."""
        await self.stop()
        self.clock = EmulatorClock(self.emulator.clock)
        self._api = client.ApiClient(client.Configuration(host=self.records.url))
        self.cluster = Cluster(self._api, before_write=lambda: self.change("before"))
        self.store = Store()
        async for body in self.cluster.list_all("spawnrecords"):
            self.store.put_record(body)
        connect = connector(
            base_url=self.emulator.url,
            cluster_tag=cluster_tag(CLUSTER),
            clock=self.clock,
            random=random.Random(1),
            on_call=lambda outcome: (
                None if outcome.endpoint.startswith("GET") else self.change("after")
            ),
            before_change=lambda: self.change("before"),
            droplet_networks=(ip_network("127.0.0.0/8"),),
        )
        quiet = AccountNews(on_droplet=lambda _one: None, on_gone=lambda _one: None)
        self._account = connect("local-token", quiet)
        self._account.task.cancel()

    def change(self, when: str) -> None:
        """Something is about to change outside the process, or has changed."""
        if when == "before":
            self.changes += 1
        if self.killed_at == (self.changes, when):
            self.killed_at = None
            raise Killed

    async def fault(self, line: str) -> None:
        """Let a call of the emulator go wrong."""
        async with ControlClient(self.emulator.url) as control:
            await control.add_faults(line)

    async def look(self) -> None:
        """One look, as the operator takes it; a process that dies is followed by another one."""
        raise NotImplementedError

    async def until(self, condition: Callable[[], object]) -> None:
        """Look again and again until it is so."""
        for _ in range(self.most_looks):
            if condition():
                return
            await self.look()
        raise AssertionError(f"not within {self.most_looks} looks: {self.summary()}")

    def summary(self) -> str:
        """All there is, for a report."""
        raise NotImplementedError
