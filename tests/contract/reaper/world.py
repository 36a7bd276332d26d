"""What a story of the reaper is told with: an account, a cluster, and a look at both."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from tests.contract.reaper.api_server import FakeApiServer

from spawnai.controller.accounts import CloudAccount
from spawnai.controller.controller import Controller
from spawnai.controller.leader import LeadershipLost
from spawnai.digitalocean.budget import Priority
from spawnai.telemetry.events import EventRecorder
from spawnai.telemetry.metrics import Metrics
from spawnai_local.digitalocean import Emulator
from spawnai_local.digitalocean.client import ControlClient

TOKEN = "local-token"
CLUSTER = "c1a50000-0000-4000-8000-000000000001"
OTHER_CLUSTER = "c1a50000-0000-4000-8000-000000000002"
UID = "5e550000-0000-4000-8000-000000000001"
OTHER_UID = "5e55ffff-0000-4000-8000-000000000002"
CLASS = "c1a55000-0000-4000-8000-000000000001"
OTHER_CLASS = "c1a55000-0000-4000-8000-000000000002"
DOMAIN = "apps.example"
INBOUND = [{"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}]


def tags(uid: str = UID, cluster: str = CLUSTER, class_uid: str = CLASS) -> list[str]:
    """The tags of a session's droplet."""
    return [
        *("spawn-ai", "ephemeral", "wave:202611231100", "ttl:1795438800"),
        *(f"session:{uid}", f"cluster:{cluster}", f"class:{class_uid}"),
    ]


def lacking(tag: str) -> list[str]:
    return [one for one in tags() if not one.startswith(tag)]


CANARIES: dict[str, list[Any]] = {
    "tags": ["production", f"cluster:{OTHER_CLUSTER}", f"class:{OTHER_CLASS}", f"class:{CLASS}"],
    "droplets": [
        {"name": "database", "tags": ["production"]},
        {"name": f"spawn-{OTHER_UID}", "tags": tags(OTHER_UID, OTHER_CLUSTER, OTHER_CLASS)},
        {"name": f"spawn-{UID}", "tags": tags(UID, OTHER_CLUSTER)},
        {"name": f"spawn-{UID}"},
        {"name": f"spawn-{UID}", "tags": lacking("spawn-ai")},
        {"name": f"spawn-{UID}", "tags": lacking("ephemeral")},
        {"name": f"spawn-{UID}", "tags": lacking("session:")},
        {"name": f"spawn-{UID}", "tags": [*tags(), f"session:{OTHER_UID}"]},
        {"name": "spawn-me-a-beer", "tags": tags()},
    ],
    "firewalls": [
        {"name": "fw-production", "tags": ["production"], "inbound_rules": INBOUND},
        {"name": f"fw-spawn-{OTHER_UID}", "tags": [], "inbound_rules": INBOUND},
        {
            "name": f"fw-spawn-class-{OTHER_CLASS}",
            "tags": [f"class:{OTHER_CLASS}"],
            "inbound_rules": INBOUND,
        },
    ],
    "domains": [{"name": DOMAIN}, {"name": "canary.example"}],
    "records": [
        {"domain": "canary.example", "type": "A", "name": "www", "data": "127.9.9.9"},
        {"domain": DOMAIN, "type": "A", "name": "www", "data": "127.9.9.9"},
        # Our label, and a stranger's address.
        {"domain": DOMAIN, "type": "A", "name": "retro-board-5e550000", "data": "127.9.9.8"},
    ],
}


@dataclass
class World:
    """An operator that leads, its account and its cluster."""

    @dataclass
    class Lease:
        """May be taken away, also after a number of checks."""

        checks_left: int | None = None

        def check(self) -> None:
            if self.checks_left == 0:
                raise LeadershipLost("the lease has passed")
            if self.checks_left is not None:
                self.checks_left -= 1

    emulator: Emulator
    control: ControlClient
    api_server: FakeApiServer
    controller: Controller
    metrics: Metrics
    recorder: EventRecorder
    written: list[dict[str, Any]]
    lease: Lease
    account: CloudAccount | None = None

    async def droplet(self, uid: str = UID, *, old: bool = True, **changes: Any) -> dict[str, Any]:
        """Make a session's droplet, an hour old unless it is to be new."""
        if not old:
            self.age()
        order = {"name": f"spawn-{uid}", "tags": tags(uid), **changes}
        placed = await self.control.seed(canary=False, droplets=[order])
        number = int(placed["droplets"][0])
        state = await self.control.state()
        return next(one for one in state["droplets"] if one["id"] == number)

    async def name(self, label: str, address: str, domain: str = DOMAIN) -> str:
        record = {"domain": domain, "type": "A", "name": label, "data": address}
        placed = await self.control.seed(canary=False, records=[record])
        return str(placed["records"][0])

    async def firewall(self, name: str, **changes: Any) -> str:
        order = {"name": name, "inbound_rules": INBOUND, **changes}
        placed = await self.control.seed(canary=False, firewalls=[order])
        return str(placed["firewalls"][0])

    def age(self) -> None:
        """An hour passes for DigitalOcean, once: its clock is now everybody's."""
        self.emulator.clock.advance(max(0.0, time.time() - self.emulator.clock.now()))

    async def sweep(self, times: int = 1) -> None:
        """That many finished walks, each worked off."""
        self.age()
        if self.account is None:
            self.account = self.controller.accounts.open(TOKEN)
            await self.account.inventory.first_walk_done.wait()
            await self.settled()
            times -= 1
        for _ in range(times):
            sweep = await self.account.inventory.verify_droplets(priority=Priority.HOUSEKEEPING)
            self.controller.reaper.on_sweep(self.account, sweep)
            await self.settled()

    async def settled(self) -> None:
        """Wait until the reaper has nothing under way."""
        async with asyncio.timeout(20):
            for task in asyncio.all_tasks():
                if task.get_name() == "reaper":
                    await asyncio.wait([task])

    async def left(self) -> set[int]:
        """The ids of the droplets that are no canaries."""
        state = await self.control.state()
        return {one["id"] for one in state["droplets"] if not one["canary"]}

    async def firewalls(self) -> set[str]:
        state = await self.control.state()
        return {one["name"] for one in state["firewalls"] if not one["canary"]}

    async def names(self) -> set[tuple[str, str]]:
        state = await self.control.state()
        return {
            (record["name"], record["data"])
            for domain in state["domains"]
            for record in domain["records"]
            if record["type"] == "A"
        }

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    async def events(self) -> list[tuple[str, str]]:
        """Reason and the kind of what it is about, in order."""
        await self.recorder.shut_down()
        return [(one["reason"], one["involvedObject"]["kind"]) for one in self.written]
