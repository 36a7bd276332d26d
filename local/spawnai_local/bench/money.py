"""What limits, budgets and exports cost: a thousand orders at once, one that need not wait, 100,000
ledgers in a database.

The queue runs with the whole product, on an account that gives no droplet: so a thousand sessions
come to their turn within minutes, and not within the twenty that DigitalOcean's 250 calls a minute
would take. Each is deleted as soon as it has begun.
"""

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from spawnai.api.names import API_VERSION
from spawnai.controller.admission import Admission
from spawnai.controller.store import Store
from spawnai.database.address import database_url
from spawnai.export.charges import Ledger
from spawnai.export.database import Database
from spawnai.export.rows import SessionObject, rows_of
from spawnai_local.bench import audit
from spawnai_local.bench.cluster import ClusterClient, SessionFollower, sessions_path
from spawnai_local.bench.emulator import EmulatorControl
from spawnai_local.bench.figures import Figure, Judge, words_of
from spawnai_local.bench.lives import (
    LIFETIME,
    NAMESPACE,
    ORDERS,
    session_document,
    session_of,
)
from spawnai_local.bench.machine import Noise, Onlooker
from spawnai_local.bench.operator_process import OperatorProcess
from spawnai_local.bench.seeding import at_once
from spawnai_local.bench.stacks import BenchStack, bench_stack
from spawnai_local.classes import LOCAL_DNS_CLASS
from spawnai_local.cloud_settings import LOCAL_DIGITALOCEAN_TOKEN, CloudSettings
from spawnai_local.machines.shell_host import ShellPace
from spawnai_local.narration import Narrator
from spawnai_local.postgresql import NoServer, postgresql

_ACTIVE_PER_USER = 3
_USERS = 50
_ACTIVE_PER_NAMESPACE = 60
"""Fewer than all users may have: otherwise nobody would wait for another one's turn."""
_FEW = 6
_READY_SECONDS = 120.0
_END_SECONDS = 120.0
_QUEUE_SECONDS = 900.0
_BUDGET = "bench"
_ASKED = 200
_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Queue:
    """How a thousand orders came to their turn."""

    orders: int
    begun: int
    seconds: float
    writes: tuple[float, ...]
    """For each session that had to wait: writes of its status before its ledger was made."""
    spread: tuple[float, ...]
    """At each turn: the largest share of a user who waited, less the smallest."""
    noise: Noise


@dataclass(frozen=True, slots=True)
class Export:
    """How long it took to write so many ledgers, and again; and how many rows that changed."""

    ledgers: int
    first_seconds: float
    second_seconds: float
    rows: int
    changed_again: int


@dataclass(slots=True)
class Money:
    """What was measured."""

    free: tuple[Counter[str], ...] = ()
    bounded: tuple[Counter[str], ...] = ()
    decisions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    queue: Queue | None = None
    export: Export | None = None

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        figures: list[Figure] = []
        if (queue := self.queue) is not None:
            title = f"{queue.orders} orders at once, {_ACTIVE_PER_USER} active per user"
            figures += [
                Figure(
                    f"{title}: writes per waiting session until its turn",
                    "",
                    queue.writes,
                    4,
                    Judge.MOST,
                    remark=f"{_USERS} users, {_ACTIVE_PER_NAMESPACE} places in all; {queue.begun} "
                    f"of {queue.orders} had their turn within {queue.seconds:.0f} s; "
                    f"{queue.noise.words()}",
                ),
                Figure(
                    f"{title}: largest share of a user less the smallest, at each turn",
                    "",
                    queue.spread,
                    1,
                    Judge.MOST,
                ),
            ]
        figures += [
            Figure(
                f"added to an order that need not wait, {words}",
                "ms",
                tuple(seconds * 1000 for seconds in took),
                5,
            )
            for words, took in self.decisions.items()
        ]
        if self.free and self.bounded:
            usual = max(one.total() for one in self.free)
            figures.append(
                Figure(
                    "API-server writes more until 8 s after Ready, with limits and a budget",
                    "",
                    tuple(float(one.total() - usual) for one in self.bounded),
                    0,
                    Judge.MOST,
                    remark=f"without: {words_of(self.free[0])}; with: {words_of(self.bounded[0])}. "
                    "Right after Ready an app gives back what its budget reserved for repairs: one "
                    "write of the ledger; see below why it is one of its own",
                )
            )
        if (export := self.export) is not None:
            title = f"export of {export.ledgers} ledgers to PostgreSQL"
            figures += [
                Figure(title, "s", (export.first_seconds,), 60, remark=f"{export.rows} rows"),
                Figure(f"{title}, again", "s", (export.second_seconds,), 60),
                Figure(f"{title}, again: rows changed", "", (float(export.changed_again),), 0),
            ]
        return figures


async def measure(directory: Path, narrator: Narrator, *, orders: int, ledgers: int) -> Money:
    """Measure all of it. `orders` wait at once; `ledgers` are exported."""
    money = Money()
    money.decisions = {
        f"{begun} live and {waiting} waiting in its class": _decide(begun, waiting)
        for begun, waiting in ((150, 0), (150, 1000), (3000, 0))
    }
    narrator.say("the decisions were timed")
    money.export = await _export(narrator, ledgers)
    cloud = CloudSettings(
        boot_seconds=(1.0, 1.0),
        first_token_seconds=0.2,
        tokens_per_second=20_000,
        agents=ShellPace(0.0, 0.2, 0.1),
        droplet_limit=10 * _FEW,
    )
    async with (
        bench_stack(directory, cloud, LIFETIME, narrator) as stack,
        ClusterClient(stack.kubeconfig) as cluster,
        EmulatorControl(stack.cloud.digitalocean_url or "", LOCAL_DIGITALOCEAN_TOKEN) as emulator,
    ):
        run = _Run(stack, cluster, emulator, narrator)
        await stack.while_up(run.all(money, orders))
    return money


class _Run:
    def __init__(
        self,
        stack: BenchStack,
        cluster: ClusterClient,
        emulator: EmulatorControl,
        narrator: Narrator,
    ) -> None:
        self._operator = OperatorProcess(stack)
        self._stack = stack
        self._cluster = cluster
        self._emulator = emulator
        self._narrator = narrator

    async def all(self, money: Money, orders: int) -> None:
        """Measure what needs the product."""
        await self._operator.start()
        await self._stack.until_classes_are_ready(self._cluster)
        money.free = await self._writes_until_ready("free")
        await self._bound()
        money.bounded = await self._writes_until_ready("bounded")
        await self._emulator.set_limits(droplets=0)
        money.queue = await self._queue(orders)
        await self._operator.stop()

    async def _bound(self) -> None:
        """Limits for the class, and a budget that has room for everyone."""
        limits = {
            "perUser": {"active": _ACTIVE_PER_USER},
            "perNamespace": {"active": _ACTIVE_PER_NAMESPACE},
        }
        await self._cluster.patch(
            f"/apis/{API_VERSION}/spawnclasses/{LOCAL_DNS_CLASS}", {"spec": {"limits": limits}}
        )
        await self._cluster.create(
            f"/apis/{API_VERSION}/spawnbudgets",
            {
                "apiVersion": API_VERSION,
                "kind": "SpawnBudget",
                "metadata": {"name": _BUDGET},
                "spec": {"limit": "100000"},
            },
        )
        await asyncio.sleep(3)  # the operator's watches show it both

    async def _writes_until_ready(self, prefix: str) -> tuple[Counter[str], ...]:
        """What the operator writes for each of a few sessions until some seconds after Ready."""
        names = {f"{prefix}-{number}" for number in range(_FEW)}
        async with SessionFollower(self._cluster, NAMESPACE) as follower:
            for number, name in enumerate(sorted(names)):
                app_type, prompt = ORDERS[number % len(ORDERS)]
                document = session_document(name, app_type, prompt)
                document["spec"]["user"] = f"user-of-{name}"
                await self._cluster.create(sessions_path(NAMESPACE), document)
            await follower.until_all("Running", names, limit_seconds=_READY_SECONDS)
            await asyncio.sleep(8)  # what waits to be written is
            uids = {name: str(follower.newest[name]["metadata"]["uid"]) for name in names}
            counted = _by_session(audit.read_writes(self._stack.audit_log), uids)
            for name in names:
                await self._cluster.delete(sessions_path(NAMESPACE, name))
            await self._until_gone(names)
        self._narrator.say(f"{_FEW} sessions were Ready and are gone")
        return tuple(counted[name] for name in sorted(names))

    async def _queue(self, orders: int) -> Queue:
        """Order all at once, each user in turn, and let each go as soon as it has begun."""
        names = [f"queued-{number:04d}" for number in range(orders)]
        users = {name: f"user-{number % _USERS:02d}" for number, name in enumerate(names)}
        onlooker = Onlooker(self._stack.pids())
        async with SessionFollower(self._cluster, NAMESPACE) as follower:
            began = time.monotonic()

            async def order(name: str) -> None:
                document = session_document(name, *ORDERS[0])
                document["spec"]["user"] = users[name]
                await self._cluster.create(sessions_path(NAMESPACE), document)

            await at_once(names, order)
            self._narrator.say(f"{orders} orders in {time.monotonic() - began:.0f} s")
            uids = await self._let_all_through(follower, names, began)
        taken = time.monotonic() - began
        noise = onlooker.noise()
        writes = audit.read_writes(self._stack.audit_log)
        turns = _turns(writes, uids)
        self._narrator.say(f"{len(turns)} of {orders} had their turn within {taken:.0f} s")
        return Queue(
            orders=orders,
            begun=len(turns),
            seconds=taken,
            writes=_writes_before(writes, turns),
            spread=tuple(spread_of(turns, users)),
            noise=noise,
        )

    async def _let_all_through(
        self, follower: SessionFollower, names: Sequence[str], began: float
    ) -> dict[str, str]:
        """Delete each session that has begun, the oldest first, until all have or time is over."""
        uids: dict[str, str] = {}
        deleted: set[str] = set()
        while len(deleted) < len(names) and time.monotonic() < began + _QUEUE_SECONDS:
            for name in names:
                if name in follower.newest:
                    uids[name] = str(follower.newest[name]["metadata"]["uid"])
            begun = [
                name
                for name in names
                if name not in deleted and "Provisioning" in follower.reached.get(name, {})
            ]
            begun.sort(key=lambda name: follower.reached[name]["Provisioning"])
            # Not all places are free at once: who has begun first goes first.
            batch = begun[: _ACTIVE_PER_NAMESPACE // 4]
            await at_once(batch, lambda name: self._cluster.delete(sessions_path(NAMESPACE, name)))
            deleted.update(batch)
            await asyncio.sleep(0.5)
        return uids

    async def _until_gone(self, names: Iterable[str]) -> None:
        left, deadline = set(names), time.monotonic() + _END_SECONDS
        while left and time.monotonic() < deadline:
            found = (await self._cluster.get(sessions_path(NAMESPACE)))["items"]
            left &= {str(one["metadata"]["name"]) for one in found}
            await asyncio.sleep(0.5)
        if left:
            raise TimeoutError(f"{len(left)} sessions did not go within {_END_SECONDS:.0f} s")


def _by_session(writes: Iterable[audit.Write], uids: Mapping[str, str]) -> dict[str, Counter[str]]:
    """The writes of state of each session and its ledger."""
    written: dict[str, Counter[str]] = {name: Counter() for name in uids}
    for write in writes:
        owner = session_of(write, uids)
        if owner is not None and write.kind is audit.WriteKind.STATE:
            written[owner][write.what] += 1
    return written


def _turns(writes: Iterable[audit.Write], uids: Mapping[str, str]) -> dict[str, float]:
    """When the ledger of each session was made, in that order."""
    names = {uid: name for name, uid in uids.items()}
    turns = {
        names[write.name]: write.at
        for write in writes
        if write.what == "create spawnrecords" and write.name in names
    }
    return dict(sorted(turns.items(), key=lambda item: item[1]))


def _writes_before(writes: Iterable[audit.Write], turns: Mapping[str, float]) -> tuple[float, ...]:
    """How often the status of each session was written before its turn; those that were let in at
    once were not written.
    """
    counted: Counter[str] = Counter()
    for write in writes:
        if write.resource == "spawnsessions/status" and write.at < turns.get(write.name, 0.0):
            counted[write.name] += 1
    return tuple(float(number) for number in counted.values())


def spread_of(turns: Iterable[str], users: Mapping[str, str]) -> Iterator[float]:
    """At each turn: the largest number of turns that a user has had, less the smallest, among the
    users who still wait.
    """
    waiting = Counter(users.values())
    had: Counter[str] = Counter(dict.fromkeys(users.values(), 0))
    for name in turns:
        had[users[name]] += 1
        waiting[users[name]] -= 1
        shares = [had[user] for user, left in waiting.items() if left > 0]
        if shares:
            yield float(max(shares) - min(shares))


_NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def _decide(begun: int, waiting: int) -> tuple[float, ...]:
    """How long it takes to let orders in that fit, beside so many others: seconds each."""
    store = Store()
    admission = Admission(store, lambda: _NOON, lambda _key: None, lambda _key, _seconds: None)
    store.listener = admission
    limits = {"perUser": {"active": _ACTIVE_PER_USER, "newIn15Minutes": 50}}
    store.put_class({"metadata": _metadata("bench", 1), "spec": {"limits": limits}})
    for number in range(5):
        budget = {"limit": "1000000"}
        store.put_budget({"metadata": _metadata(f"budget-{number}", 1), "spec": budget})
    for number in range(begun):
        store.put_record(_live_record(number))
    spec = store.spawn_class("bench")
    if spec is None or spec.spec is None:
        raise RuntimeError("the class cannot be read")

    def order(name: str, user: str, number: int) -> float:
        document = session_document(name, *ORDERS[0])
        document["metadata"] |= _metadata(name, number)
        document["spec"]["user"] = user
        store.put_session(document)
        session = store.session(name)
        if session is None or spec.spec is None:
            raise RuntimeError("the order cannot be read")
        at = time.perf_counter()
        admission.place(session, "bench", spec.spec, Decimal("0.5"))
        return time.perf_counter() - at

    for number in range(waiting):
        order(f"waits-{number}", f"user-{number % _USERS}", number)
    return tuple(order(f"new-{number}", f"new-{number}", number) for number in range(_ASKED))


def _metadata(name: str, number: int) -> dict[str, Any]:
    created = _NOON - timedelta(hours=1) + timedelta(seconds=number)
    return {
        "name": name,
        "uid": name,
        "resourceVersion": str(number + 1),
        "creationTimestamp": created.isoformat(),
    }


def _live_record(number: int) -> dict[str, Any]:
    name = f"lives-{number}"
    owner = {
        "kind": "SpawnSession",
        "namespace": NAMESPACE,
        "name": name,
        "uid": name,
        "user": f"user-{number % _USERS}",
    }
    spec = {"owner": owner, "clusterUid": "bench", "className": "bench", "reserved": "0.5"}
    return {"metadata": _metadata(name, number), "spec": spec, "status": {}}


async def _export(narrator: Narrator, ledgers: int) -> Export | None:
    """Write so many ledgers with their sessions to a PostgreSQL of its own, and again."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="spawnai-bench-"))
        try:
            address = stack.enter_context(postgresql(Path(directory)))
        except NoServer as error:
            narrator.warn(str(error))
            return None
        database = Database(database_url(address))
        try:
            await database.migrate()
            began = time.monotonic()
            rows = await _write_ledgers(database, ledgers)
            first = time.monotonic() - began
            changed = await _write_ledgers(database, ledgers)
            second = time.monotonic() - began - first
        finally:
            await database.close()
    narrator.say(f"{ledgers} ledgers were exported in {first:.0f} s, and again in {second:.0f} s")
    return Export(ledgers, first, second, rows, changed)


async def _write_ledgers(database: Database, ledgers: int) -> int:
    """Read and write them as `spawnai export sql` does, but for the API server's answers."""
    changed, batch, now = 0, [], _NOON
    for number in range(ledgers):
        session, record = _ended_session(number)
        batch += list(rows_of(SessionObject.of(session), Ledger.of(record), now))
        if len(batch) >= _ROWS_AT_ONCE:
            changed += await database.write(batch)
            batch = []
    return changed + await database.write(batch)


def _ended_session(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A session that has ended, and its ledger, as the API server holds them."""
    uid = f"00000000-0000-4000-8000-{number:012d}"
    name = f"ended-{number}"
    begun = "2026-11-28T12:00:00Z"
    ended = "2026-11-28T14:00:00Z"
    session = {
        "metadata": {
            "name": name,
            "namespace": f"team-{number % 20}",
            "uid": uid,
            "creationTimestamp": begun,
        },
        "spec": {"prompt": ORDERS[0][1], "appType": "webapp"},
        "status": {
            "phase": "Destroyed",
            "className": "bench",
            "tier": "light",
            "region": "nyc3",
            "size": "s-1vcpu-1gb",
            "expirationTime": ended,
            "terminationReason": "Expired",
            "cost": {"estimated": "0.0850", "actual": "0.10386"},
        },
    }
    droplet = {
        "kind": "Droplet",
        "id": str(number),
        "name": f"spawn-{uid}",
        "region": "nyc3",
        "size": "s-1vcpu-1gb",
        "ip": "203.0.113.24",
        "priceHourly": "0.00893",
        "createdAt": begun,
        "deletionAcceptedAt": ended,
        "goneAt": ended,
        "presence": "Gone",
        "cost": "0.01786",
    }
    order = {
        "model": "claude-sonnet-5-5",
        "startedAt": begun,
        "finishedAt": begun,
        "outcome": "Stored",
        "inputTokens": 3000,
        "outputTokens": 8000,
        "cost": "0.086",
    }
    record = {
        "metadata": {"name": uid, "creationTimestamp": begun},
        "spec": {
            "owner": {
                "kind": "SpawnSession",
                "namespace": f"team-{number % 20}",
                "name": name,
                "uid": uid,
                "user": f"user-{number % _USERS}",
            },
            "clusterUid": "bench",
            "className": "bench",
            "appType": "webapp",
            "tier": "light",
        },
        "status": {
            "resources": [droplet],
            "generations": [order],
            "totalCost": "0.10386",
            "terminationReason": "Expired",
            "completedAt": ended,
        },
    }
    return session, record
