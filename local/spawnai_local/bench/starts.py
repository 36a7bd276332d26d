"""From order to Ready, by what a droplet starts from: a stock image, a baked image, a pool's spare.

Droplets really boot here, with Caddy and an agent. Two things are as slow as in earnest: what
DigitalOcean takes for a droplet, and how long Claude writes (the middle of what was measured
there). An app that is written already is one that Claude writes at once.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp

from spawnai.api.names import API_VERSION
from spawnai_local.bench.cluster import ClusterClient, SessionFollower, sessions_path
from spawnai_local.bench.emulator import EmulatorControl
from spawnai_local.bench.figures import Figure, Judge
from spawnai_local.bench.lives import NAMESPACE, answer_length, session_document
from spawnai_local.bench.machine import Noise, Onlooker
from spawnai_local.bench.stacks import BenchStack
from spawnai_local.classes import LOCAL_CLASS
from spawnai_local.claude.tokens import BYTES_PER_TOKEN
from spawnai_local.cloud_settings import LOCAL_DIGITALOCEAN_TOKEN, CloudSettings
from spawnai_local.narration import Narrator
from spawnai_local.stack_settings import StackSettings


class Start(StrEnum):
    """What a droplet starts from."""

    STOCK = "stock image"
    BAKED = "baked image"
    POOL = "pool"


class Writing(StrEnum):
    """What Claude has to write."""

    PAGE = "a page of Sonnet's"
    SMALL = "a small answer"
    STORED = "nothing: the app is stored"


BOOT_SECONDS = {Start.STOCK: 60.0, Start.BAKED: 32.0, Start.POOL: 60.0}
"""From a droplet's order to `active`: 45 to 75 s from a stock image, installation included, and 25
to 40 s from a baked one. A pool's matters to the next spare only."""

WRITING_SECONDS = {Writing.PAGE: 57.0, Writing.SMALL: 17.0, Writing.STORED: 0.0}
"""Sonnet takes 45 to 70 s for a page, and 10 to 25 s for a small answer."""

# What else takes its time at DigitalOcean. The local cloud's own delays are shorter.
_REAL_DELAYS = {"network": 8.0, "action": 4.0, "tags": 2.0, "firewall": 5.0, "answer": 0.3}
_LOCAL_DELAYS = {"boot": 1.0, "network": 0.3, "action": 0.5, "tags": 0.5, "firewall": 3.0}
_FIRST_TOKEN_SECONDS = 0.8
# A page has nothing to install: what a server's packages take comes on top in any case.
_APP_TYPE, _PROMPT = "webapp", "A retro board with three columns, cards people can add and vote on"
_BAKED_CLASS, _POOL_CLASS, _POOL = "bench-baked", "bench-pool", "bench"
_CLASSES = {Start.STOCK: LOCAL_CLASS, Start.BAKED: _BAKED_CLASS, Start.POOL: _POOL_CLASS}
_REGION = "nyc3"
_READY_SECONDS = 240.0
_BAKE_SECONDS = 300.0
_LOCAL_GOAL, _REAL_GOAL = 3.0, 10.0

# The cost of it. A light droplet's price by the hour, and a snapshot's of about 3 GB by the month.
_DROPLET_HOURLY = Decimal("0.00893")
_IMAGE_HOURLY = Decimal("0.18") / 730
SPARES = {1: 1, 5: 1, 20: 2, 60: 3}
"""By orders an hour: with so many, at most one order in twenty finds none (one for one, each made
anew within 35 s, orders at random)."""


@dataclass(frozen=True, slots=True)
class Starts:
    """What was measured, in seconds from the order to Ready."""

    local: tuple[float, ...]
    """On a spare, with the app stored, and the local cloud's own delays."""
    real: Mapping[tuple[Start, Writing], float]
    """With the delays of DigitalOcean and Claude."""
    hits: int
    """How many of the orders for which there was a spare ran on one."""
    pool_orders: int
    noise: Noise = field(default_factory=Noise)

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        spares = f"{self.hits} of {self.pool_orders} orders of the pool's class ran on a spare"
        return [
            Figure(
                "pool hit with a stored bundle: order → Ready, local cloud",
                "s",
                self.local,
                _LOCAL_GOAL,
                Judge.MEDIAN,
                remark=spares,
            ),
            *(
                Figure(
                    f"order → Ready: {start}, {writing}",
                    "s",
                    (took,),
                    _REAL_GOAL if (start, writing) == (Start.POOL, Writing.STORED) else None,
                    Judge.MOST,
                )
                for (start, writing), took in self.real.items()
            ),
        ]


async def measure(
    directory: Path, narrator: Narrator, *, times: int, writings: Sequence[Writing]
) -> Starts:
    """Bring up a stack with a class for each start, and order."""
    settings = StackSettings(
        directory=directory,
        local_cloud=CloudSettings(
            tokens_per_second=0, first_token_seconds=0.05, boot_seconds=(1.0, 1.0)
        ),
    )
    async with (
        BenchStack(settings, progress=narrator.say) as stack,
        ClusterClient(stack.kubeconfig) as cluster,
        EmulatorControl(stack.cloud.digitalocean_url or "", LOCAL_DIGITALOCEAN_TOKEN) as emulator,
    ):
        await stack.until_classes_are_ready(cluster)
        async with SessionFollower(cluster, NAMESPACE) as follower:
            bench = _Bench(stack, cluster, emulator, follower, narrator)
            return await stack.while_up(bench.run(times=times, writings=writings))


class _Bench:
    """One stack, and what is ordered of it."""

    def __init__(
        self,
        stack: BenchStack,
        cluster: ClusterClient,
        emulator: EmulatorControl,
        follower: SessionFollower,
        narrator: Narrator,
    ) -> None:
        self._stack = stack
        self._cluster = cluster
        self._emulator = emulator
        self._follower = follower
        self._narrator = narrator
        self._count = 0
        self._hits = 0
        self._pool_orders = 0

    async def run(self, *, times: int, writings: Sequence[Writing]) -> Starts:
        """All orders, one after the other: a figure is one session's, alone on the machine."""
        await self._make_classes()
        onlooker = Onlooker(self._stack.pids())
        await self._let_claude_write(Writing.STORED)
        local = [await self._order(Start.POOL) for _ in range(times)]
        real = {}
        for start in Start:
            for writing in writings:
                real[start, writing] = await self._order_in_earnest(start, writing)
                self._narrator.say(f"{start}, {writing}: {real[start, writing]:.1f} s")
        return Starts(tuple(local), real, self._hits, self._pool_orders, onlooker.noise())

    async def _make_classes(self) -> None:
        stock = await self._cluster.get(f"/apis/{API_VERSION}/spawnclasses/{LOCAL_CLASS}")
        for name, image in ((_BAKED_CLASS, {"baked": True}), (_POOL_CLASS, {})):
            spec = {
                **stock["spec"],
                "regions": [_REGION],  # each would have its copy of the image
                "image": {**stock["spec"].get("image", {}), **image},
            }
            await self._create("spawnclasses", "SpawnClass", name, spec)
        pool = {"className": _POOL_CLASS, "tier": "light", "replicas": 1, "minReady": 1}
        await self._create("spawnpools", "SpawnPool", _POOL, pool)
        self._narrator.say("an image is baked")
        await self._until(f"spawnclasses/{_BAKED_CLASS}", _has_image, _BAKE_SECONDS)

    async def _create(self, plural: str, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        await self._cluster.create(
            f"/apis/{API_VERSION}/{plural}",
            {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec},
        )

    async def _until(
        self, path: str, holds: Callable[[dict[str, Any]], object], limit_seconds: float
    ) -> None:
        async with asyncio.timeout(limit_seconds):
            while not holds(await self._status(path)):
                await asyncio.sleep(0.2)

    async def _status(self, path: str) -> dict[str, Any]:
        found = await self._cluster.get(f"/apis/{API_VERSION}/{path}")
        status: dict[str, Any] = found.get("status", {})
        return status

    async def _order_in_earnest(self, start: Start, writing: Writing) -> float:
        if start is Start.POOL:
            await self._until_spare()  # at the local cloud's pace: nobody waits for it
        await self._let_claude_write(writing)
        await self._emulator.set_delays(boot=BOOT_SECONDS[start], **_REAL_DELAYS)
        try:
            return await self._order(start)
        finally:
            await self._emulator.set_delays(answer=0.0, **_LOCAL_DELAYS)

    async def _until_spare(self) -> None:
        await self._until(f"spawnpools/{_POOL}", lambda status: status.get("ready"), _READY_SECONDS)

    async def _order(self, start: Start) -> float:
        """Order an app, and say how long it took until Ready."""
        if start is Start.POOL:
            await self._until_spare()
            self._pool_orders += 1
        droplets = {one["id"] for one in await self._emulator.droplets()}
        self._count += 1
        name = f"start-{self._count}"
        document = session_document(name, _APP_TYPE, _PROMPT)
        document["spec"] |= {"className": _CLASSES[start], "tier": "light"}
        ordered = time.monotonic()
        await self._cluster.create(sessions_path(NAMESPACE), document)
        await self._follower.until_all("Running", {name}, limit_seconds=_READY_SECONDS)
        took = self._follower.reached[name]["Running"] - ordered
        if start is Start.POOL:
            self._hits += self._follower.newest[name]["status"]["droplet"]["id"] in droplets
        await self._cluster.delete(sessions_path(NAMESPACE, name))
        return took

    async def _let_claude_write(self, writing: Writing) -> None:
        """From now on an answer takes this long, from its first token to its last."""
        seconds = WRITING_SECONDS[writing]
        pace = {"first_token_seconds": 0.05, "tokens_per_second": 0.0}
        if seconds:
            tokens = answer_length(_APP_TYPE, _PROMPT) / BYTES_PER_TOKEN
            rate = tokens / (seconds - _FIRST_TOKEN_SECONDS)
            pace = {"first_token_seconds": _FIRST_TOKEN_SECONDS, "tokens_per_second": rate}
        async with (
            aiohttp.ClientSession(self._stack.cloud.claude_url or "") as claude,
            claude.put("/_local/settings", json=pace) as answer,
        ):
            answer.raise_for_status()


def _has_image(status: Mapping[str, Any]) -> bool:
    return any(
        one["type"] == "ImageReady" and one["status"] == "True"
        for one in status.get("conditions", ())
    )


@dataclass(frozen=True, slots=True)
class CostRow:
    """What an image and a pool cost beside the sessions' droplets, in dollars."""

    orders: int
    """An hour."""
    spares: int

    @property
    def image_hour(self) -> Decimal:
        """The same, however many orders there are."""
        return _IMAGE_HOURLY

    @property
    def image_order(self) -> Decimal:
        """Shared by the orders of an hour."""
        return _IMAGE_HOURLY / self.orders

    @property
    def pool_hour(self) -> Decimal:
        """A spare costs what a droplet costs."""
        return self.spares * _DROPLET_HOURLY

    @property
    def pool_order(self) -> Decimal:
        """Shared by the orders of an hour."""
        return self.pool_hour / self.orders


def cost_rows() -> list[CostRow]:
    """By how many orders there are."""
    return [CostRow(orders, spares) for orders, spares in SPARES.items()]
