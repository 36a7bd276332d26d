"""What a story of a baked image is told with: an account, a cluster, and operators that die.

The emulator's clock stands still and is moved by hand; the operator goes by it too.
"""

import asyncio
import copy
import itertools
import json
import random
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from aiohttp import web
from kubernetes.aio import client
from tests.contract.reaper.api_server import GROUP_PATH, FakeApiServer

from spawnai.api.names import cluster_tag
from spawnai.controller.accounts import AccountNews, connector
from spawnai.controller.cluster import Cluster, ClusterError
from spawnai.controller.images.baker import Baker, NoRoom
from spawnai.controller.images.class_images import ClassImageMemory, ClassImages
from spawnai.controller.store import Store
from spawnai.digitalocean.errors import DigitalOceanError
from spawnai.droplet.packing import read_agent_source
from spawnai_local.digitalocean import NO_DELAYS, Emulator, ManualClock, Settings
from spawnai_local.digitalocean.client import ControlClient
from spawnai_local.digitalocean.state.droplets import Droplet

CLUSTER = "c1a50000-0000-4000-8000-000000000001"
CLASS = "c1a55000-0000-4000-8000-000000000001"
NAME = "default"
STEP_SECONDS = 10.0
MOST_LOOKS = 600


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


class World:
    """One class and its images, looked after by one operator after another."""

    def __init__(self, emulator: Emulator, records: Records) -> None:
        self.emulator, self.records = emulator, records
        self.spec: dict[str, Any] = {
            "regions": ["nyc3", "sfo3"],
            "image": {"baked": True},
        }
        self.deleting = False
        self.changes = 0
        self.killed_at: tuple[int, str] | None = None
        """Before or after which change the operator dies."""
        self.builders_power_off = True
        self.most_builders = self.most_images = 0
        self.last_error: Exception | None = None
        self._generation = itertools.count(1)
        self._api: client.ApiClient | None = None
        self._account: Any = None

    @classmethod
    async def begin(cls) -> "World":
        clock = ManualClock()
        emulator = Emulator(clock, settings=Settings(delays=NO_DELAYS))
        await emulator.start(dns_port=None)
        records = Records(clock)
        await records.start()
        world = cls(emulator, records)
        async with ControlClient(emulator.url) as control:
            await control.seed(
                droplets=[{"name": "database", "tags": ["production"]}],
            )
        await world.restart()
        return world

    async def end(self) -> None:
        async with ControlClient(self.emulator.url) as control:
            assert (await control.canaries())["touched"] == []
        await self._stop()
        await self.emulator.stop()
        await self.records.stop()

    async def _stop(self) -> None:
        if self._api is not None:
            await self._api.close()
            await self._account.close()

    async def restart(self) -> None:
        """Another process takes over: it knows what the API server and DigitalOcean show."""
        await self._stop()
        clock = EmulatorClock(self.emulator.clock)
        self._api = client.ApiClient(client.Configuration(host=self.records.url))
        cluster = self.cluster = Cluster(self._api, before_write=lambda: self._change("before"))
        self.clock = clock
        self.store = Store()
        async for body in cluster.list_all("spawnrecords"):
            self.store.put_record(body)
        connect = connector(
            base_url=self.emulator.url,
            cluster_tag=cluster_tag(CLUSTER),
            clock=clock,
            random=random.Random(1),
            on_call=lambda outcome: (
                None if outcome.endpoint.startswith("GET") else self._change("after")
            ),
            before_change=lambda: self._change("before"),
            droplet_networks=(ip_network("127.0.0.0/8"),),
        )
        quiet = AccountNews(on_droplet=lambda _one: None, on_gone=lambda _one: None)
        self._account = connect("local-token", quiet)
        self._account.task.cancel()
        self.images = ClassImages(
            cluster=cluster,
            store=self.store,
            clock=clock,
            random=random.Random(),
            cluster_uid=CLUSTER,
            baker=Baker(
                cluster,
                self.store,
                clock,
                cluster_uid=CLUSTER,
                agent_source=read_agent_source(),
            ),
            wake=lambda _name: None,
        )
        self.memory = ClassImageMemory(CLASS, self._account, 0)
        self.images._memories[NAME] = self.memory

    def _change(self, when: str) -> None:
        if when == "before":
            self.changes += 1
        if self.killed_at == (self.changes, when):
            self.killed_at = None
            raise Killed

    def known(self) -> Any:
        generation = next(self._generation)
        document = self.records.classes[NAME] = {
            "metadata": {
                "name": NAME,
                "uid": CLASS,
                "resourceVersion": str(generation),
                "generation": generation,
                "creationTimestamp": "2026-11-23T10:00:00Z",
                "finalizers": ["spawn-ai.com/cleanup"],
                **({"deletionTimestamp": "2026-11-23T10:00:00Z"} if self.deleting else {}),
            },
            "spec": self.spec,
        }
        self.store.put_class(document)
        return self.store.spawn_class(NAME)

    async def look(self) -> None:
        """One look, as the operator takes it; a process that dies is followed by another one."""
        try:
            await self.images.look(self.known(), self.memory)
        except Killed:
            await self.restart()
        except (DigitalOceanError, ClusterError, NoRoom) as error:
            self.last_error = error
        for builder in self.builders():
            if builder.status == "active" and self.builders_power_off:
                self.emulator.cloud.droplets.machine_powered_off(builder.id)
        self.most_builders = max(self.most_builders, len(self.builders()))
        self.most_images = max(self.most_images, len(self.made()))
        self.emulator.clock.advance(STEP_SECONDS)
        for body in self.records.records.values():
            self.store.put_record(copy.deepcopy(body))

    async def until(self, condition: Any, *, looks: int = MOST_LOOKS) -> None:
        """Look again and again until it is so."""
        for _ in range(looks):
            if condition():
                return
            await self.look()
        raise AssertionError(f"not within {looks} looks: {self.summary()}")

    def builders(self) -> list[Droplet]:
        return [one for one in self.emulator.cloud.droplets.all() if not one.canary]

    def made(self) -> list[Any]:
        return list(self.emulator.cloud.images.all())

    def offered(self) -> dict[str, int]:
        return dict(self.memory.news.offered) if self.memory.news is not None else {}

    def is_ready(self) -> bool:
        """Whether all there is of it is one image, in every region."""
        return (
            set(self.offered()) == set(self.spec["regions"])
            and not self.builders()
            and len(self.made()) == 1
            and len(self.open_ledgers()) == 1
        )

    def is_empty(self) -> bool:
        return not self.builders() and not self.made() and not self.open_ledgers()

    def open_ledgers(self) -> list[dict[str, Any]]:
        return [
            one
            for one in self.records.records.values()
            if not (one.get("status") or {}).get("completedAt")
        ]

    def reasons(self) -> list[str]:
        return sorted(
            one["status"].get("terminationReason", "open") for one in self.records.records.values()
        )

    def summary(self) -> str:
        return (
            f"builders {[(one.id, one.status, one.locked) for one in self.builders()]}, images "
            f"{[(one.id, one.regions) for one in self.made()]}, ledgers {self.reasons()}, "
            f"news {self.memory.news}, last error {self.last_error!r}"
        )
