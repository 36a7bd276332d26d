"""A thousand live sessions: at rest, through a crash of the operator, and a hundred expiring."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from spawnai.api.durations import format_time
from spawnai.api.names import EXPIRES_AT_ANNOTATION
from spawnai.api.spawnclass import LifetimeSpec
from spawnai_local.bench import audit
from spawnai_local.bench.cluster import (
    ClusterClient,
    SessionFollower,
    records_path,
    sessions_path,
)
from spawnai_local.bench.emulator import Call, EmulatorControl, count_by_endpoint
from spawnai_local.bench.figures import Figure, words_of
from spawnai_local.bench.lives import NAMESPACE, ORDERS, session_document
from spawnai_local.bench.machine import Noise, Onlooker
from spawnai_local.bench.operator_process import Memory, OperatorProcess
from spawnai_local.bench.pressure import DELETE_DROPLET, Storm, storm_of
from spawnai_local.bench.seeding import Seeder, Template, at_once
from spawnai_local.bench.stacks import BenchStack, bench_stack
from spawnai_local.classes import LOCAL_DNS_CLASS
from spawnai_local.cloud_settings import LOCAL_DIGITALOCEAN_TOKEN, CloudSettings
from spawnai_local.machines.shell_host import ShellPace
from spawnai_local.narration import Narrator

LIFETIME = LifetimeSpec(
    max="24h", provisioning_deadline="4m", notice="15s", warning="1m", dead_man_grace="5m"
)
_MEBIBYTE = 1024 * 1024
_READY_SECONDS = 90.0
_KNOWN_SECONDS = 180.0
_END_SECONDS = 420.0
_SETTLE_SECONDS = 25.0
_EXPIRY_AHEAD_SECONDS = 40.0
_EXPIRY_SPAN_SECONDS = 60.0
_STORM_SECONDS = 1_200.0
_STORM_ORDERS = 10
_STORM_ORDERS_AFTER_SECONDS = 50.0
FIRST_IN_STORM = 100
"""The copies before this one end in `expire`."""
_MINUTE = 60.0
_WAITED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Rest:
    """What went on in a while in which nothing happened."""

    sessions: int
    seconds: float
    calls: Counter[str]
    cpu_share: float
    writes: Counter[str]
    lease_writes: int
    memory: Memory
    noise: Noise

    @property
    def calls_per_minute(self) -> float:
        """DigitalOcean calls."""
        return self.calls.total() * _MINUTE / self.seconds

    @property
    def writes_per_minute(self) -> float:
        """API-server writes without Lease renewals."""
        return self.writes.total() * _MINUTE / self.seconds


@dataclass(frozen=True, slots=True)
class Restart:
    """How a restart went. Times are seconds from the new process's start."""

    until_known: float
    cloud_writes: Counter[str]
    cloud_reads: Counter[str]
    api_writes: Counter[str]


@dataclass(frozen=True, slots=True)
class Expiries:
    """How a hundred sessions ended. Times are seconds from status.expirationTime."""

    first_call: tuple[float, ...]
    droplet_delete_accepted: tuple[float, ...]
    delete_answer: tuple[float, ...]
    """The emulator's own time for each DELETE of a droplet."""
    until_destroyed: tuple[float, ...]
    calls: Counter[str]
    most_calls_in_a_minute: int
    noise: Noise


@dataclass(slots=True)
class Crowd:
    """What was measured."""

    sessions: int
    few: int
    rest_of_few: Rest | None = None
    rest_of_all: Rest | None = None
    start: Restart | None = None
    restart: Restart | None = None
    expiries: Expiries | None = None
    storm: Storm | None = None
    goals: bool = True
    remarks: list[str] = field(default_factory=list)

    def noise_of_others(self) -> list[float]:
        """What other programs used while something was measured, as shares of a core."""
        measured = (self.rest_of_few, self.rest_of_all, self.expiries, self.storm)
        return [one.noise.others for one in measured if one is not None]

    def _memory_of_one(self, rest: Rest) -> list[Figure]:
        """What each session adds to the operator's memory."""
        few = self.rest_of_few
        if few is None or rest.sessions <= few.sessions:
            return []
        added = (rest.memory.resident - few.memory.resident) / (rest.sessions - few.sessions)
        return [
            Figure(
                "beside it: operator memory for each further session",
                "kB",
                (added / 1e3,),
                remark=f"{few.memory.resident / 1e6:.0f} MB with {few.sessions} sessions",
            )
        ]

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        figures: list[Figure] = []
        if (ends := self.expiries) is not None:
            n = len(ends.first_call)
            figures += [
                Figure(
                    "expiry → first teardown call at DigitalOcean",
                    "ms",
                    _milliseconds(ends.first_call),
                    50,
                    remark=f"{self.sessions} live sessions, {n} expiring within a minute; "
                    f"{sum(one > _WAITED_SECONDS for one in ends.first_call)} of them waited "
                    f"longer than {_WAITED_SECONDS:g} s for their turn, with up to "
                    f"{ends.most_calls_in_a_minute} of DigitalOcean's 250 calls in a minute used; "
                    f"{ends.noise.words()}",
                ),
                Figure(
                    "expiry → droplet delete accepted",
                    "ms",
                    _milliseconds(ends.droplet_delete_accepted),
                    150,
                    remark="the same work; DNS record first, then the droplet",
                ),
                Figure(
                    "beside it: the local cloud's own time for a droplet delete",
                    "ms",
                    _milliseconds(ends.delete_answer),
                ),
                Figure(
                    "expiry → all seen gone (phase Destroyed)",
                    "s",
                    ends.until_destroyed,
                    10,
                    remark=f"calls: {words_of(ends.calls)}",
                ),
            ]
        for rest in (self.rest_of_few, self.rest_of_all):
            if rest is not None:
                figures.append(
                    Figure(
                        f"DigitalOcean calls per minute at rest, {rest.sessions} sessions",
                        "",
                        (rest.calls_per_minute,),
                        4,
                        remark=f"{rest.seconds:.0f} s: {words_of(rest.calls)}",
                    )
                )
        if (rest := self.rest_of_all) is not None:
            figures += [
                Figure(
                    "API-server writes per minute at rest",
                    "",
                    (rest.writes_per_minute,),
                    0,
                    remark=f"{words_of(rest.writes)}; apart: "
                    f"{rest.lease_writes * _MINUTE / rest.seconds:.0f} Lease renewals a minute",
                ),
                Figure(
                    f"operator memory with {rest.sessions} live sessions",
                    "MB",
                    (rest.memory.resident / 1e6,),
                    200,
                    remark=f"resident; at its most {rest.memory.peak / 1e6:.0f} MB",
                ),
                *self._memory_of_one(rest),
                Figure(
                    f"operator CPU at rest, {rest.sessions} live sessions",
                    "% of a core",
                    (rest.cpu_share * 100,),
                    1,
                    remark=rest.noise.words(),
                ),
            ]
        if (again := self.restart) is not None:
            figures += [
                Figure(
                    f"kill -9 and start → all {self.sessions} known again",
                    "s",
                    (again.until_known,),
                    10,
                    remark=""
                    if self.start is None
                    else f"after an orderly end: {self.start.until_known:.1f} s (API-server "
                    f"writes: {words_of(self.start.api_writes)})",
                ),
                Figure(
                    "cloud writes of that restart",
                    "",
                    (float(again.cloud_writes.total()),),
                    0,
                    remark=f"writes: {words_of(again.cloud_writes)}; reads: "
                    f"{words_of(again.cloud_reads)}; API-server writes: "
                    f"{words_of(again.api_writes)}",
                ),
            ]
        if self.storm is not None:
            figures += self.storm.figures()
        if not self.goals:
            figures = [replace(figure, goal=None) for figure in figures]
        return figures


async def measure(
    directory: Path,
    narrator: Narrator,
    *,
    sessions: int,
    few: int,
    expiring: int,
    storming: int,
    rest_seconds: float,
    parts: frozenset[str],
    goals: bool = True,
) -> Crowd:
    """Bring up a stack with so many sessions, and measure the `parts`: rest, restart, expiry,
    pressure. `goals`: whether the figures are held against any.
    """
    cloud = CloudSettings(
        boot_seconds=(1.0, 1.0),
        first_token_seconds=0.2,
        tokens_per_second=20_000,
        agents=ShellPace(0.0, 0.2, 0.1),
        droplet_limit=2 * sessions + 100,
    )
    async with (
        bench_stack(directory, cloud, LIFETIME, narrator) as stack,
        ClusterClient(stack.kubeconfig) as cluster,
        EmulatorControl(stack.cloud.digitalocean_url or "", LOCAL_DIGITALOCEAN_TOKEN) as emulator,
    ):
        run = _Run(stack, cluster, emulator, narrator, Crowd(sessions, few, goals=goals))
        await stack.while_up(
            run.all(parts, expiring=expiring, storming=storming, rest_seconds=rest_seconds)
        )
        return run.crowd


class _Run:
    def __init__(
        self,
        stack: BenchStack,
        cluster: ClusterClient,
        emulator: EmulatorControl,
        narrator: Narrator,
        crowd: Crowd,
    ) -> None:
        self.crowd = crowd
        self.operator = OperatorProcess(stack)
        self._stack = stack
        self._cluster = cluster
        self._emulator = emulator
        self._narrator = narrator

    async def all(
        self, parts: frozenset[str], *, expiring: int, storming: int, rest_seconds: float
    ) -> None:
        """Measure these parts."""
        await self.bring_up_few()
        if "rest" in parts:
            self.crowd.rest_of_few = await self.rest(self.crowd.few, rest_seconds)
        await self.operator.stop()
        await self.seed(self.crowd.sessions - self.crowd.few)
        self.crowd.start = await self.restart()
        await asyncio.sleep(_SETTLE_SECONDS)
        if "rest" in parts:
            self.crowd.rest_of_all = await self.rest(self.crowd.sessions, rest_seconds)
        if "restart" in parts:
            await self.operator.kill()
            self.crowd.restart = await self.restart()
            await asyncio.sleep(_SETTLE_SECONDS)
        if "expiry" in parts:
            self.crowd.expiries = await self.expire(expiring)
        if "pressure" in parts:
            self.crowd.storm = await self.end_in_one_minute(storming)
        await self.operator.stop()

    async def bring_up_few(self) -> None:
        """The sessions that really come to life."""
        await self.operator.start()
        await self._stack.until_classes_are_ready(self._cluster)
        names = {f"live-{number:02d}" for number in range(self.crowd.few)}
        async with SessionFollower(self._cluster, NAMESPACE) as follower:
            for number, name in enumerate(sorted(names)):
                app_type, prompt = ORDERS[number % len(ORDERS)]
                await self._cluster.create(
                    sessions_path(NAMESPACE), session_document(name, app_type, prompt)
                )
            await follower.until_all("Running", names, limit_seconds=_READY_SECONDS)
        self._narrator.say(f"{self.crowd.few} sessions came to life")
        await asyncio.sleep(_SETTLE_SECONDS)

    async def seed(self, count: int) -> None:
        """Copy them."""
        began = time.monotonic()
        sessions = (await self._cluster.get(sessions_path(NAMESPACE)))["items"]
        templates = [
            Template(session, await self._cluster.get(records_path(session["metadata"]["uid"])))
            for session in sessions
        ]
        # List items have no kind of their own.
        for template in templates:
            template.session.setdefault("apiVersion", template.record["apiVersion"])
            template.session.setdefault("kind", "SpawnSession")
        seeder = Seeder(
            self._cluster,
            self._emulator,
            namespace=NAMESPACE,
            operator_namespace=self._stack.manifests.namespace,
            class_name=LOCAL_DNS_CLASS,
        )
        await self._emulator.set_delays(boot=0.0, network=0.0, firewall=0.0)
        await seeder.seed(templates, count)
        self._narrator.say(f"{count} copies of them made in {time.monotonic() - began:.0f} s")

    async def restart(self) -> Restart:
        """Start the operator and wait until it knows every session again."""
        before, began_at = await self._emulator.last_number(), time.time()
        began = await self.operator.start()
        known = await self.operator.until_running(self.crowd.sessions, limit_seconds=_KNOWN_SECONDS)
        await asyncio.sleep(10)
        calls = await self._emulator.calls(before)
        restart = Restart(
            until_known=known - began,
            cloud_writes=count_by_endpoint(call for call in calls if call.is_write),
            cloud_reads=count_by_endpoint(call for call in calls if not call.is_write),
            api_writes=self._writes(began_at)[0],
        )
        self._narrator.say(f"the operator knew all sessions {restart.until_known:.1f} s later")
        return restart

    async def rest(self, sessions: int, seconds: float) -> Rest:
        """Watch for a while."""
        before, began_at = await self._emulator.last_number(), time.time()
        onlooker = Onlooker(self._stack.pids())
        used, began = self.operator.cpu_seconds(), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - began
        cpu = (self.operator.cpu_seconds() - used) / elapsed
        noise = onlooker.noise()
        writes, lease_writes = self._writes(began_at)
        rest = Rest(
            sessions=sessions,
            seconds=elapsed,
            calls=count_by_endpoint(await self._emulator.calls(before)),
            cpu_share=cpu,
            writes=writes,
            lease_writes=lease_writes,
            memory=self.operator.memory(),
            noise=noise,
        )
        self._narrator.say(
            f"at rest with {sessions}: CPU {cpu:.2%}, memory {rest.memory.resident / 1e6:.0f} MB, "
            f"{rest.calls_per_minute:.1f} calls and {rest.writes_per_minute:.1f} writes a minute"
        )
        return rest

    async def expire(self, count: int) -> Expiries:
        """Give `count` sessions an end within one minute, and watch them go."""
        names = [f"copy-{number:04d}" for number in range(count)]
        first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_EXPIRY_AHEAD_SECONDS)
        ends = _within_one_minute(names, first)
        async with SessionFollower(self._cluster, NAMESPACE) as follower:
            await self._give_ends(ends)
            left = (first - datetime.now(UTC)).total_seconds()
            self._narrator.say(f"{count} sessions end within a minute, the first in {left:.0f} s")
            await asyncio.sleep(max(0.0, left - 1))
            before = await self._emulator.last_number()
            onlooker = Onlooker(self._stack.pids())
            began, began_at = time.monotonic(), time.time()
            await follower.until_all("Destroyed", set(names), limit_seconds=_END_SECONDS)
            noise = onlooker.noise()
            calls = await self._emulator.calls(before)
            uids = {follower.newest[name]["metadata"]["uid"]: name for name in names}
            destroyed = {
                name: follower.reached[name]["Destroyed"] - began + began_at for name in names
            }
        return _expiries(ends, uids, destroyed, calls, noise)

    async def _give_ends(self, ends: Mapping[str, datetime]) -> None:
        await at_once(
            ends.items(),
            lambda item: self._cluster.patch(
                sessions_path(NAMESPACE, item[0]),
                {"metadata": {"annotations": {EXPIRES_AT_ANNOTATION: format_time(item[1])}}},
            ),
        )

    async def end_in_one_minute(self, count: int) -> Storm:
        """Let `count` sessions end within one minute, order some meanwhile, and watch."""
        names = [f"copy-{FIRST_IN_STORM + number:04d}" for number in range(count)]
        orders = [f"order-{number:02d}" for number in range(_STORM_ORDERS)]
        ahead = _EXPIRY_AHEAD_SECONDS + _MINUTE
        first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=ahead)
        ends = _within_one_minute(names, first)
        async with SessionFollower(self._cluster, NAMESPACE) as follower:
            await self._give_ends(ends)
            await _sleep_until(first - timedelta(seconds=_MINUTE))
            before = await self._emulator.last_number()
            await _sleep_until(first)
            self._narrator.say(f"{count} sessions end within this minute")
            onlooker = Onlooker(self._stack.pids())
            began, began_at = time.monotonic(), time.time()
            await asyncio.sleep(_STORM_ORDERS_AFTER_SECONDS)
            for number, name in enumerate(orders):
                app_type, prompt = ORDERS[number % len(ORDERS)]
                await self._cluster.create(
                    sessions_path(NAMESPACE), session_document(name, app_type, prompt)
                )
            await asyncio.sleep(_SETTLE_SECONDS)
            said_so = {
                follower.newest[name]["metadata"]["uid"]
                for name in orders
                if name in follower.newest and _waits_for_calls(follower.newest[name])
            }
            await follower.until_all("Destroyed", set(names), limit_seconds=_STORM_SECONDS)
            noise = onlooker.noise()
            uids = {name: follower.newest[name]["metadata"]["uid"] for name in (*names, *orders)}
            return storm_of(
                {uids[name]: end.timestamp() for name, end in ends.items()},
                await self._emulator.calls(before),
                destroyed={
                    uids[name]: follower.reached[name]["Destroyed"] - began + began_at
                    for name in names
                },
                orders={uids[name] for name in orders},
                said_so=said_so,
                noise=noise,
            )

    def _writes(self, since: float) -> tuple[Counter[str], int]:
        writes = [write for write in audit.read_writes(self._stack.audit_log) if write.at >= since]
        leases = sum(write.kind is audit.WriteKind.LEASE for write in writes)
        return Counter(
            write.what for write in writes if write.kind is not audit.WriteKind.LEASE
        ), leases


def _waits_for_calls(session: dict[str, Any]) -> bool:
    """Whether a session says that it waits for its turn among DigitalOcean's calls."""
    return any(
        condition["reason"] == "WaitingForCalls"
        for condition in session.get("status", {}).get("conditions", [])
    )


async def _sleep_until(moment: datetime) -> None:
    await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _within_one_minute(names: Sequence[str], first: datetime) -> dict[str, datetime]:
    """An end for each, spread evenly, in whole seconds."""
    return {
        name: first + timedelta(seconds=int(number * _EXPIRY_SPAN_SECONDS / len(names)))
        for number, name in enumerate(names)
    }


def _expiries(
    ends: dict[str, datetime],
    uids: dict[str, str],
    destroyed: dict[str, float],
    calls: Sequence[Call],
    noise: Noise,
) -> Expiries:
    first: dict[str, float] = {}
    accepted: dict[str, float] = {}
    answers: list[float] = []
    for call in sorted(calls, key=lambda one: one.received_at):
        name = uids.get(call.session or "")
        if name is None:
            continue
        end = ends[name].timestamp()
        if call.is_write:
            first.setdefault(name, call.received_at - end)
        if call.endpoint == DELETE_DROPLET and call.status == 204:  # noqa: PLR2004 - accepted
            accepted.setdefault(name, call.answered_at - end)
            answers.append(call.server_seconds)
    return Expiries(
        first_call=tuple(first.values()),
        droplet_delete_accepted=tuple(accepted.values()),
        delete_answer=tuple(answers),
        until_destroyed=tuple(destroyed[name] - end.timestamp() for name, end in ends.items()),
        calls=count_by_endpoint(calls),
        most_calls_in_a_minute=busiest_minute([call.received_at for call in calls]),
        noise=noise,
    )


def busiest_minute(moments: Sequence[float]) -> int:
    """The most of these moments (seconds) that fall into any one minute."""
    ordered = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - _MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most


def _milliseconds(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(one * 1000 for one in seconds)
