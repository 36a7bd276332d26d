"""What a story of a pool is told with: an account, a cluster, droplets with agents, sessions that
take spares, and operators that die.

The emulator's clock stands still and is moved by hand; the operator goes by it too.
"""

import copy
import itertools
import json
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Self

from aiohttp import web
from tests.contract.reaper.api_server import GROUP_PATH
from tests.support.mortal_world import (
    CLASS,
    CLUSTER,
    NAME,
    STEP_SECONDS,
    Killed,
    MortalWorld,
    Records,
)

from spawnai.api.names import (
    TAG_EPHEMERAL,
    TAG_PRODUCT,
    class_firewall_name,
    class_tag,
    cluster_tag,
    session_droplet_name,
    session_tag,
)
from spawnai.api.record import RecordStatus, ResourceKind
from spawnai.api.session import AppType
from spawnai.billing import ledger as books
from spawnai.controller.actions.claim import Claim
from spawnai.controller.actions.firewalls import firewall_order
from spawnai.controller.actions.work import Backing, Work
from spawnai.controller.classes.state import ClassState
from spawnai.controller.cluster import ClusterError, Conflict
from spawnai.controller.failures import NotYet, failure_of
from spawnai.controller.memory import Memory
from spawnai.controller.pools.pools import PoolMemory, Pools
from spawnai.controller.pools.spares import Spares
from spawnai.controller.report import write_ledger
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.droplet_resource import DropletResource
from spawnai.digitalocean.errors import DigitalOceanError
from spawnai.droplet.client import AgentUnreachable
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import Placement
from spawnai.lifecycle.observation import Effort
from spawnai.lifecycle.pooling import choose_spare
from spawnai.telemetry.metrics import PoolFigures
from spawnai_local.digitalocean import Emulator, ManualClock
from spawnai_local.digitalocean.state.droplets import Droplet

POOL, POOL_UID = "spares", "f0010000-0000-4000-8000-000000000001"
PLACES = [Placement("nyc3", "s-1vcpu-1gb")]
LIFETIME = timedelta(minutes=20)


class PoolRecords(Records):
    """Ledgers, and a pool whose status is written. A write for an older version is refused."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.pool: dict[str, Any] = {}
        self.page_size = 100

    def routes(self, app: web.Application) -> None:
        super().routes(app)
        app.router.add_patch(GROUP_PATH + "/spawnpools/{name}/status", self._patch_pool)

    async def _patch(self, request: web.Request) -> web.Response:
        found = self.records.get(request.match_info["name"])
        wanted = json.loads(await request.text())["metadata"].get("resourceVersion")
        if found is not None and wanted not in (None, found["metadata"]["resourceVersion"]):
            return web.json_response({"message": "an older version"}, status=409)
        return await super()._patch(request)

    async def _patch_pool(self, request: web.Request) -> web.Response:
        if not self.pool:
            return web.json_response({"message": "not found"}, status=404)
        patch = json.loads(await request.text())["status"]
        self.pool.setdefault("status", {}).update(patch)
        self.pool["metadata"]["resourceVersion"] = str(next(self._versions))
        return web.json_response(self.pool)


class Agents:
    """The agents of all droplets: each answers to the keys of one UID."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.keys: dict[int, str] = {}
        self.silent = False
        self.refuses = False

    def _droplet(self, ip: str) -> Droplet:
        found = [one for one in self._world.droplets() if one.public_address == ip]
        if self.silent or not found or found[0].status != "active":
            raise AgentUnreachable(f"{ip} does not answer")
        return found[0]

    def holder(self, droplet: Droplet) -> str:
        """Whose keys it answers to: at first those of the name it was ordered under."""
        return self.keys.setdefault(droplet.id, droplet.name.removeprefix("spawn-"))

    def credentials_of(self, uid: str, _created_at: datetime) -> Any:
        return self._world.credentials(uid)

    def credentials(self, session: Any) -> Any:
        return self._world.credentials(session.uid)

    def gateway_certificate(self, _session: Any) -> None:
        return None

    def spare(self, uid: str, _created_at: datetime, ip: str) -> "_Agent":
        return _Agent(self, uid, ip)

    async def take_over(self, uid: str, _at: datetime, ip: str, bootstrap: Any) -> None:
        self._world.change("before")
        droplet = self._droplet(ip)
        if self.refuses or self.holder(droplet) not in (uid, bootstrap.session_uid):
            raise AgentUnreachable(f"{ip} is not handed over")
        self.keys[droplet.id] = bootstrap.session_uid
        self._world.change("after")


@dataclass
class _Agent:
    agents: Agents
    uid: str
    ip: str

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def status(self) -> Any:
        if self.agents.holder(self.agents._droplet(self.ip)) != self.uid:
            raise AgentUnreachable("these are another's keys")
        return SimpleNamespace(runtime="ok")


class NoImages:
    """Spares start from stock."""

    def image_for(self, *_: str) -> None:
        return None

    def refuse(self, *_: str) -> None:
        pass


class Counted:
    """Metrics: what came of claims and of refills, and how the pool stands."""

    def __init__(self) -> None:
        self.claims: list[str] = []
        self.failed_refills: list[str] = []
        self.figures: PoolFigures | None = None

    def pool_claim(self, _class_name: str, result: str) -> None:
        self.claims.append(result)

    def pool_refill_failed(self, _name: str, reason: str) -> None:
        self.failed_refills.append(reason)

    def pool(self, _name: str, figures: PoolFigures | None) -> None:
        self.figures = figures


@dataclass
class Session:
    """One that wants a droplet, as far as its plan deals with spares."""

    uid: str
    memory: Memory = field(default_factory=Memory)
    ending: bool = False

    @property
    def order(self) -> Any:
        return SimpleNamespace(app_type=AppType.API)


class World(MortalWorld):
    """One pool, looked after by one operator after another."""

    records_type = PoolRecords
    most_looks = 300

    def __init__(self, emulator: Emulator, records: PoolRecords) -> None:
        super().__init__(emulator, records)
        self.spec: dict[str, Any] = {"className": NAME, "replicas": 1}
        self.class_spec: dict[str, Any] = {"regions": ["nyc3"]}
        self.agents = Agents(self)
        self.metrics = Counted()
        self.sessions: dict[str, Session] = {}
        self.usable = True
        self._versions = itertools.count(10_000)
        self._numbers = itertools.count(1)
        self._firewall = ""
        self._generation = 1

    async def begin(self) -> None:
        self.apply()
        await self.restart()

    def credentials(self, uid: str) -> Any:
        return SimpleNamespace(
            token_sha256="0" * 64,
            certificate_pem=f"certificate of {uid}",
            private_key_pem="key",
            operator_certificate_pem="operator",
        )

    def apply(self, **spec: Any) -> None:
        """Apply the pool, as it is or changed."""
        if spec:
            self._generation += 1
        self.spec |= spec
        self.records.pool = {
            "metadata": {
                "name": POOL,
                "uid": POOL_UID,
                "generation": self._generation,
                "resourceVersion": str(next(self._versions)),
            },
            "spec": self.spec,
            "status": self.records.pool.get("status", {}),
        }

    def delete(self) -> None:
        """Delete the pool."""
        self.records.pool = {}

    async def restart(self) -> None:
        await super().restart()
        for one in self.sessions.values():
            one.memory = Memory()
        spares = Spares(
            cluster=self.cluster,
            store=self.store,
            agents=self.agents,
            images=NoImages(),
            clock=self.clock,
            cluster_uid=CLUSTER,
            agent_source="agent",
            book_of=self._open_book,
        )
        self.pools = Pools(
            cluster=self.cluster,
            store=self.store,
            spares=spares,
            events=SimpleNamespace(emit=lambda *_: None),
            metrics=self.metrics,
            clock=self.clock,
            random=random.Random(),
            cluster_uid=CLUSTER,
            agent_source="agent",
            class_state=self._class_state,
        )
        self.pools.tend = lambda _name: None
        self.memory = PoolMemory()
        self.pools._memories[POOL] = self.memory
        self.claim = Claim(
            cluster=self.cluster,
            store=self.store,
            agents=self.agents,
            pools=self.pools,
            metrics=self.metrics,
            clock=self.clock,
            agent_source="agent",
        )
        self._show()
        if not self._firewall:
            spec = self.store.spawn_class(NAME).spec
            tag = class_tag(CLASS)
            await self._account.firewalls.ensure_tag(tag, priority=Priority.NEW)
            made = await self._account.firewalls.create(
                firewall_order(class_firewall_name(CLASS), spec, tags=(tag,)),
                priority=Priority.NEW,
            )
            self._firewall = made.id
            self.changes = 0

    def _class_state(self, _name: str) -> ClassState:
        return ClassState(
            account=self._account,
            firewall_id=self._firewall,
            checked_at=self.clock.utc_now() if self.usable else None,
        )

    def _show(self) -> None:
        """What the watches show."""
        self.store.put_class(
            {
                "metadata": {
                    "name": NAME,
                    "uid": CLASS,
                    "resourceVersion": str(next(self._versions)),
                    "generation": 1,
                    "creationTimestamp": "2026-11-23T10:00:00Z",
                },
                "spec": self.class_spec,
            }
        )
        for body in self.records.records.values():
            self.store.put_record(copy.deepcopy(body))
        for gone in {one.spec.owner.uid for one in self.store.records()} - set(
            self.records.records
        ):
            self.store.remove_record(gone)
        if self.records.pool:
            self.store.put_pool(copy.deepcopy(self.records.pool))
        else:
            self.store.remove_pool(POOL)

    async def look(self) -> None:
        """One look of the pool and of each session; who dies is followed by another one."""
        try:
            self._show()
            await self.pools.look(POOL, self.memory)
            for one in list(self.sessions.values()):
                await self._step(one)
        except Killed:
            await self.restart()
        except (DigitalOceanError, ClusterError, NotYet) as error:
            self.last_error = error
        self.emulator.clock.advance(STEP_SECONDS)

    # A session: only what its plan does about spares.

    async def begin_session(self) -> Session:
        """A session with an open ledger, and no droplet."""
        uid = f"5e550000-0000-4000-8000-{next(self._numbers):012}"
        planned = ({"kind": "Droplet", "name": session_droplet_name(uid)},)
        self.records.put_record(uid, {}, planned=planned)
        self.records.records[uid]["metadata"]["finalizers"] = ["spawn-ai.com/cleanup"]
        self.sessions[uid] = Session(uid)
        self._show()
        return self.sessions[uid]

    async def take_unwritten(self, one: Session) -> None:
        """A session takes a spare, and has not written its own ledger yet."""
        self._show()
        await self._take_one(one)

    def book(self, one: Session) -> RecordStatus:
        """Its ledger with all that is known."""
        if one.memory.ledger is None:
            one.memory.ledger = self.store.record(one.uid).status
        return one.memory.ledger

    def _open_book(self, uid: str) -> RecordStatus | None:
        stored = self.store.record(uid)
        if stored is None or stored.status.completed_at is not None:
            return None
        return self.book(self.sessions[uid])

    def line(self, one: Session) -> Any:
        """Its droplet, as its ledger lists it."""
        lines = [x for x in self.book(one).resources if x.presence != "Gone"]
        return lines[0] if lines else None

    async def _step(self, one: Session) -> None:
        stored = self.store.record(one.uid)
        if stored is None or stored.status.completed_at is not None:
            return
        if one.ending:
            await self._end_session(one)
            return
        line = self.line(one)
        if line is None:
            await self._take_one(one)
        elif line.name == session_droplet_name(one.uid):
            return
        else:
            await self._act(one, do.TakeOver(line.id, LIFETIME), self.claim.take_over)
        await self._write(one)

    async def _take_one(self, one: Session) -> None:
        offer = choose_spare(self.pools.offered(NAME, one.uid), PLACES)
        if offer is not None:
            action = do.ClaimSpare(offer.uid, offer.droplet_id)
            await self._act(one, action, self.claim.claim_spare)

    async def _act(self, one: Session, action: do.Action, handler: Any) -> None:
        effort = one.memory.efforts.get(action.key, Effort())
        one.memory.efforts[action.key] = replace(effort, running=True)
        try:
            await handler(self._work(one), action)
        except Exception as error:
            failure = failure_of(error, self.clock.utc_now())
            one.memory.efforts[action.key] = replace(effort, failure=failure)
            raise

    def _work(self, one: Session) -> Work:
        spec = self.store.spawn_class(NAME).spec
        backing = Backing(NAME, CLASS, self._account, spec, None)
        return Work(one.uid, one, one.memory, backing, self.clock.utc_now)

    async def _write(self, one: Session) -> None:
        try:
            await write_ledger(self.cluster, self.store, self.store.record(one.uid), self.book(one))
        except Conflict:
            one.memory.ledger = None

    async def _end_session(self, one: Session) -> None:
        """As a teardown does: what its ledger lists goes, if it shows that it is ours."""
        adapter = DropletResource(self._account.droplets, self._account.inventory, CLUSTER, {})
        now, line = self.clock.utc_now(), self.line(one)
        if line is None:
            one.memory.ledger = books.closed(self.book(one), reason="Ended", log=(), at=now)
        else:
            ours = await adapter.is_ours(line, one.uid, Priority.DESTROY)
            assert ours is not False, f"droplet {line.id} is not known as the session's"
            is_there = ours is not None and await adapter.delete(line)
            note = books.with_deletion_accepted if is_there else books.with_gone
            one.memory.ledger = note(self.book(one), ResourceKind.DROPLET, line.id, now)
        await self._write(one)

    # What there is.

    def droplets(self) -> list[Droplet]:
        """All but the canary."""
        return [one for one in self.emulator.cloud.droplets.all() if not one.canary]

    def spares(self) -> list[dict[str, Any]]:
        """The ledgers of all spares."""
        return [
            one
            for one in self.records.records.values()
            if one["spec"]["owner"]["kind"] == "SpawnPool"
        ]

    def open_spares(self) -> list[dict[str, Any]]:
        return [one for one in self.spares() if not one["status"].get("completedAt")]

    def reasons(self) -> list[str]:
        """How the spares ended."""
        return sorted(one["status"].get("terminationReason", "open") for one in self.spares())

    def status(self) -> dict[str, Any]:
        return dict(self.records.pool.get("status", {}))

    def condition(self, type_: str) -> dict[str, Any]:
        found = [one for one in self.status().get("conditions", ()) if one["type"] == type_]
        return dict(found[0]) if found else {}

    def is_full(self) -> bool:
        """Whether as many as wanted are ready, and nothing else of the pool exists."""
        ready = len(self.memory.offered)
        return ready == self.spec["replicas"] == len(self.open_spares())

    def has_own(self, one: Session) -> bool:
        """Whether a droplet is the session's, by its ledger, name, tags and keys."""
        line = self.line(one) if self.store.record(one.uid) is not None else None
        if line is None or line.name != session_droplet_name(one.uid):
            return False
        [droplet] = [x for x in self.droplets() if str(x.id) == line.id]
        marks = {TAG_PRODUCT, TAG_EPHEMERAL, session_tag(one.uid), cluster_tag(CLUSTER)}
        worn = {tag for tag in droplet.tags if tag.startswith("session:")}
        return (
            droplet.name == line.name
            and marks <= set(droplet.tags)
            and worn == {session_tag(one.uid)}
            and self.agents.holder(droplet) == one.uid
        )

    def is_empty(self) -> bool:
        return not self.droplets() and not self.open_spares()

    def summary(self) -> str:
        shown = [(x.id, x.name, x.status, sorted(x.tags)) for x in self.droplets()]
        return (
            f"droplets {shown}, spares {self.reasons()}, offered {list(self.memory.offered)}, "
            f"status {self.status()}, last error {self.last_error!r}, at "
            f"{datetime.fromtimestamp(self.emulator.clock.now(), UTC)}"
        )
