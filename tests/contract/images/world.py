"""What a story of a baked image is told with: an account, a cluster, and operators that die.

The emulator's clock stands still and is moved by hand; the operator goes by it too.
"""

import copy
import itertools
import random
from typing import Any

from tests.support.mortal_world import (
    CLASS,
    CLUSTER,
    NAME,
    STEP_SECONDS,
    Killed,
    MortalWorld,
    Records,
)

from spawnai.controller.cluster import ClusterError
from spawnai.controller.images.baker import Baker, NoRoom
from spawnai.controller.images.class_images import ClassImageMemory, ClassImages
from spawnai.digitalocean.errors import DigitalOceanError
from spawnai.droplet.packing import read_agent_source
from spawnai_local.digitalocean import Emulator
from spawnai_local.digitalocean.state.droplets import Droplet


class World(MortalWorld):
    """One class and its images, looked after by one operator after another."""

    def __init__(self, emulator: Emulator, records: Records) -> None:
        super().__init__(emulator, records)
        self.spec: dict[str, Any] = {
            "regions": ["nyc3", "sfo3"],
            "image": {"baked": True},
        }
        self.deleting = False
        self.builders_power_off = True
        self.most_builders = self.most_images = 0
        self._generation = itertools.count(1)

    async def restart(self) -> None:
        await super().restart()
        self.images = ClassImages(
            cluster=self.cluster,
            store=self.store,
            clock=self.clock,
            random=random.Random(),
            cluster_uid=CLUSTER,
            baker=Baker(
                self.cluster,
                self.store,
                self.clock,
                cluster_uid=CLUSTER,
                agent_source=read_agent_source(),
            ),
            wake=lambda _name: None,
        )
        self.memory = ClassImageMemory(CLASS, self._account, 0)
        self.images._memories[NAME] = self.memory

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
