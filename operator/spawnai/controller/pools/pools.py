"""Keeps the spares of pools: made, replaced when they grow old, offered to sessions, and gone.

Each pool, and each that is gone and has left spares, is tended by a task of its own beside the work
queue: no session waits for a spare. All of it is found out anew by a process that takes over.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from spawnai import background
from spawnai.api.conditions import (
    ConditionType,
    find_condition,
    is_true,
)
from spawnai.api.durations import parse_duration
from spawnai.api.names import API_VERSION, session_droplet_name
from spawnai.api.pool import PoolSpec, PoolStatus
from spawnai.api.record import (
    POOL_OWNER,
    OwnerReference,
    PlannedResource,
    Presence,
    RecordSpec,
    ResourceKind,
    SpareIntent,
)
from spawnai.api.session import Tier
from spawnai.api.spawnclass import ClassSpec, ExposureMode
from spawnai.clock import Clock
from spawnai.controller.actions.droplets import spare_contents
from spawnai.controller.beside import drop_when_old
from spawnai.controller.classes.state import ClassState
from spawnai.controller.cluster import Cluster, ClusterError, ObjectNotFound
from spawnai.controller.failures import NotYet
from spawnai.controller.leader import LeadershipLost
from spawnai.controller.report import merge_patch, record_document
from spawnai.controller.store import Store, StoredClass, StoredPool, StoredRecord
from spawnai.digitalocean.errors import DigitalOceanError
from spawnai.lifecycle.kinds import LISTED_WITHIN, Placement
from spawnai.lifecycle.observation import Offer, Session
from spawnai.lifecycle.placing import placements
from spawnai.lifecycle.pooling import (
    FAILURES,
    NO_ROOM,
    Abandon,
    Circumstances,
    Keeping,
    OfferedSpare,
    Spare,
    Wait,
    Wanted,
    keep_spares,
    plan_spare,
)
from spawnai.telemetry.events import EventRecorder, Regarding
from spawnai.telemetry.metrics import REFILL_FAILURES, Metrics, PoolFigures

from .spares import SpareMemory, Spares, Supply, droplets_of
from .state import Problem, Stand, status_of

_LOGGER = logging.getLogger(__name__)

BUSY_SECONDS = 3.0
"""How often a pool is looked at in which a spare boots, goes, or is handed over."""

IDLE_SECONDS = 30.0
"""How often one is looked at whose spares are all ready. It costs no call to DigitalOcean."""

LAST_PAUSE_SECONDS = 300.0

DROP_SECONDS = 600.0
"""How often a pool looks for ledgers that need not be kept any more: they are kept for days."""

NO_ROOM_SECONDS = 300.0
"""How long a pool waits after the account's droplet limit was reached."""


@dataclass(slots=True)
class PoolMemory:
    """One pool, from one look to the next."""

    task: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    spares: dict[str, SpareMemory] = field(default_factory=dict)
    offered: dict[str, OfferedSpare] = field(default_factory=dict)
    contents: str = ""
    excess_since: datetime | None = None
    no_room_until: float = float("-inf")
    words: str = ""
    """What the last look failed with."""
    refusal: str = ""
    """How DigitalOcean refused the last order that it refused."""
    has_failures: bool = True
    """Whether refills may have failed since one succeeded; a new process has to look."""
    drops_at: float = float("-inf")
    """When ledgers whose time is over are looked for next."""


class Pools:
    """Looks after all pools, and knows which spare a session may take.

    `class_state(name)` is what a class can do now; `session_book(uid)` a session's open ledger.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        spares: Spares,
        events: EventRecorder,
        metrics: Metrics,
        clock: Clock,
        random: Random,
        cluster_uid: str,
        agent_source: str,
        class_state: Callable[[str], ClassState | None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._spares = spares
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._cluster_uid = cluster_uid
        self._agent_source = agent_source
        self._class_state = class_state
        self._memories: dict[str, PoolMemory] = {}
        self._claims: dict[str, str] = {}
        """Which session is taking which spare just now, by the spare's UID."""
        self._contents: dict[str, tuple[tuple[str, int], str]] = {}

    def tend(self, name: str) -> None:
        """Have a pool looked at now. What has to be done goes on beside."""
        memory = self._memories.setdefault(name, PoolMemory())
        memory.changed.set()
        if memory.task is None or memory.task.done():
            memory.task = background.once(self._tend(name, memory), name=f"pool {name}")

    def tend_class(self, class_name: str) -> None:
        """A class can be used now, or has changed: so may its pools."""
        names = {
            pool.name
            for pool in self._store.pools()
            if pool.spec is not None and pool.spec.class_name == class_name
        }
        names |= {one.spec.owner.name for one in self.open_of_class(class_name)}
        for name in names:
            self.tend(name)

    def serve_class(self, class_name: str) -> bool:
        """Whether spares of the class are kept, or still there."""
        asked = any(
            one.spec is not None and one.spec.class_name == class_name
            for one in self._store.pools()
        )
        return asked or bool(self.open_of_class(class_name))

    def open_of_class(self, class_name: str) -> list[StoredRecord]:
        """The open ledgers of a class's spares: it cannot go before them."""
        return [one for one in self._store.open_spares() if one.spec.class_name == class_name]

    async def close(self) -> None:
        """End all that is under way. All of it can be ended half-way and found again."""
        tasks = [one.task for one in self._memories.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # What sessions ask for.

    def offered(self, class_name: str, session_uid: str) -> Sequence[OfferedSpare]:
        """The spares that a session of the class may take; first what it has taken already."""
        known, open_now = self._store.spawn_class(class_name), list(self._store.open_spares())
        if known is None or known.spec is None or not open_now:
            return ()
        held = [one for one in open_now if self._is_held(one, session_uid)]
        if held:
            return tuple(_offer(one, is_held=True) for one in held)
        contents = self._contents_of(known, known.spec)
        return tuple(
            offer
            for memory in self._memories.values()
            for uid, offer in memory.offered.items()
            if memory.contents == contents
            and self._claims.get(uid, session_uid) == session_uid
            and self._is_free(uid, class_name)
        )

    def _is_held(self, stored: StoredRecord, session_uid: str) -> bool:
        status = stored.status
        if status.completed_at is not None or status.abandoned_at is not None:
            return False
        memory = self._memory_of(stored)
        if memory is not None and memory.abandoning:
            return False
        taker = status.taken_over_by or self._claims.get(stored.spec.owner.uid)
        return taker == session_uid and any(droplets_of(status))

    def _is_free(self, uid: str, class_name: str) -> bool:
        stored = self._store.record(uid)
        if stored is None or stored.spec.class_name != class_name or stored.deleting:
            return False
        memory = self._memory_of(stored)
        status = stored.status
        return (
            status.taken_over_by is None
            and status.abandoned_at is None
            and status.completed_at is None
            and not (memory is not None and memory.abandoning)
        )

    def begin_claim(self, uid: str, session_uid: str) -> StoredRecord:
        """The ledger of a spare that a session takes now; nobody else may take it meanwhile.

        Raises:
            NotYet: another session is quicker, or the spare has gone.
        """
        stored = self._store.record(uid)
        if stored is not None and self._is_held(stored, session_uid):
            self._claims[uid] = session_uid
            return stored
        class_name = stored.spec.class_name if stored is not None else None
        if stored is None or uid in self._claims or not self._is_free(uid, class_name or ""):
            raise NotYet(f"spare {uid} was taken by another session, or is gone")
        self._claims[uid] = session_uid
        return stored

    def end_claim(self, uid: str) -> None:
        """It was taken, or could not be: what its ledger says holds from now on."""
        self._claims.pop(uid, None)
        self.changed(uid)

    def missed(self, session: Session, offer: Offer) -> None:
        """A session has ordered a droplet of its own: count it, if it could have had a spare of a
        pool that keeps some.
        """
        asked = (pool.spec for pool in self._store.pools() if pool.spec is not None)
        kept = {
            _place(spec, offer.spec)
            for spec in asked
            if spec.class_name == offer.name and spec.replicas > 0
        }
        is_served = offer.spec.exposure.mode is not ExposureMode.LOAD_BALANCER
        if is_served and not kept.isdisjoint(placements(session, offer)):
            self._metrics.pool_claim(offer.name, "missed")

    def changed(self, uid: str) -> None:
        """Something became of a spare: its pool looks at once, and refills."""
        stored = self._store.record(uid)
        if stored is not None:
            self.tend(stored.spec.owner.name)

    def droplet_gone(self, uid: str) -> None:
        """DigitalOcean says that a droplet is not there any more; of a spare, if it is one."""
        stored = self._store.record(uid)
        if stored is None or stored.spec.owner.kind != POOL_OWNER:
            return
        if (memory := self._memory_of(stored)) is not None:
            memory.silent_since = memory.silent_since or self._clock.utc_now()
        self.changed(uid)

    def _memory_of(self, stored: StoredRecord) -> SpareMemory | None:
        memory = self._memories.get(stored.spec.owner.name)
        return memory.spares.get(stored.spec.owner.uid) if memory is not None else None

    def _contents_of(self, known: StoredClass, spec: ClassSpec) -> str:
        key = (known.uid, known.generation)
        cached = self._contents.get(known.name)
        if cached is None or cached[0] != key:
            cached = self._contents[known.name] = (key, spare_contents(spec, self._agent_source))
        return cached[1]

    # What a pool needs.

    async def _tend(self, name: str, memory: PoolMemory) -> None:
        failures = 0
        while True:
            memory.changed.clear()
            try:
                pause = await self.look(name, memory)
                failures = 0
            except LeadershipLost:
                return
            except (DigitalOceanError, ClusterError) as error:
                pause = min(BUSY_SECONDS * 2**failures, LAST_PAUSE_SECONDS)
                failures = min(failures + 1, 10)
                words = error.message if isinstance(error, DigitalOceanError) else str(error)
                if words != memory.words:
                    _LOGGER.warning("Pool %s: %s", name, words)
                memory.words = words
                await self._clock.sleep(pause)
                continue
            except Exception:
                _LOGGER.exception("Pool %s could not be looked after", name)
                await self._clock.sleep(LAST_PAUSE_SECONDS)
                continue
            if pause is None:
                self._memories.pop(name, None)
                return
            await background.first_of(self._clock.sleep(pause), memory.changed.wait())

    async def look(self, name: str, memory: PoolMemory) -> float | None:
        """Look at all spares of a pool and take a step with each. Returns when to look again; None:
        there is neither the pool nor a spare.
        """
        pool = self._store.pool(name)
        open_now = [one for one in self._store.open_spares() if one.spec.owner.name == name]
        now = self._clock.utc_now()
        memory.spares = {
            one.spec.owner.uid: memory.spares.get(one.spec.owner.uid)
            or SpareMemory(settles_at=now + LISTED_WITHIN)
            for one in open_now
        }
        looked: list[tuple[StoredRecord, Spare, Supply]] = []
        unreached = 0
        for stored in sorted(open_now, key=lambda one: (one.created_at, one.spec.owner.uid)):
            supply = self._supply(stored.spec.class_name or "", pool)
            if supply is None:
                unreached += 1
                continue
            of_spare = memory.spares[stored.spec.owner.uid]
            current, spare = await self._spares.look(stored, of_spare, supply)
            looked.append((current, spare, supply))
        spares = [spare for _, spare, _ in looked]
        wanted, supply_now, problem = self._wanted(pool)
        around = self._circumstances(pool, name, supply_now, memory)
        keeping = keep_spares(spares, wanted, around, self._clock.utc_now())
        memory.excess_since = (memory.excess_since or now) if keeping.has_excess else None
        memory.contents = wanted.contents if wanted is not None else ""
        memory.offered = {
            stored.spec.owner.uid: _offer(stored)
            for stored, spare, _ in looked
            if spare.uid in keeping.offered
        }
        busy = bool(unreached) or keeping.has_excess
        for stored, spare, supply in looked:
            step = plan_spare(spare, self._clock.utc_now(), abandon=self._ending(spare, keeping))
            busy |= not isinstance(step, Wait) or not spare.is_ready
            if not isinstance(step, Wait):
                _LOGGER.info("spare %s of pool %s: %s", spare.uid, name, step)
            of_spare = memory.spares[spare.uid]
            before = of_spare.refused
            await self._spares.take(step, stored, of_spare, supply)
            if isinstance(step, Abandon) and step.reason in REFILL_FAILURES:
                self._metrics.pool_refill_failed(name, step.reason)
                memory.has_failures = True
            memory.refusal = of_spare.words or memory.refusal
            if of_spare.refused == NO_ROOM and before != NO_ROOM:
                memory.no_room_until = self._clock.now() + NO_ROOM_SECONDS
        if supply_now is not None and wanted is not None and pool is not None:
            for _ in range(keeping.begin):
                await self._begin(pool, supply_now, wanted, memory)
                busy = True
        if self._clock.now() >= memory.drops_at:
            await self._drop_old(name, now)
            memory.drops_at = self._clock.now() + DROP_SECONDS
        if pool is not None:
            await self._report(pool, Stand(spares, keeping, around, problem, memory.refusal))
        else:
            self._metrics.pool(name, None)
            if not open_now:
                return None
        return BUSY_SECONDS if busy or keeping.missing else IDLE_SECONDS

    async def _drop_old(self, name: str, now: datetime) -> None:
        """Delete the ledgers of a pool's spares whose time is over."""
        for stored in self._all_of(name):
            known = self._store.spawn_class(stored.spec.class_name or "")
            await drop_when_old(
                self._cluster, self._store, stored, known.spec if known is not None else None, now
            )

    def _all_of(self, name: str) -> list[StoredRecord]:
        """The ledgers of a pool's spares. Closed ones are kept for long, and may be thousands."""
        return [one for one in self._store.spares() if one.spec.owner.name == name]

    def _ending(self, spare: Spare, keeping: Keeping) -> str | None:
        """Why it goes; not while a session is taking it this moment."""
        return None if spare.uid in self._claims else keeping.endings.get(spare.uid)

    def _supply(self, class_name: str, pool: StoredPool | None) -> Supply | None:
        """What serves the spares of a class; None: its account is not known now."""
        known, state = self._store.spawn_class(class_name), self._class_state(class_name)
        if known is None or state is None or state.account is None:
            return None
        max_age = pool.spec.max_age if pool is not None and pool.spec is not None else "24h"
        return Supply(
            class_name,
            known.uid,
            known.spec,
            state.account,
            state.firewall_id,
            parse_duration(max_age),
        )

    def _wanted(
        self, pool: StoredPool | None
    ) -> tuple[Wanted | None, Supply | None, Problem | None]:
        """What the pool asks for, what serves it, and what is wrong with it."""
        if pool is None:
            return None, None, None
        spec = pool.spec
        if spec is None:
            return (
                None,
                None,
                Problem("InvalidSpec", pool.spec_problem or "it cannot be read", for_a_person=True),
            )
        known, state = self._store.spawn_class(spec.class_name), self._class_state(spec.class_name)
        if known is None:
            words = f"there is no SpawnClass {spec.class_name!r}: create it; the pool goes on then"
            return None, None, Problem("ClassNotFound", words)
        if known.spec is None or known.deleting:
            words = f"SpawnClass {spec.class_name!r} is deleted, or cannot be read"
            return None, None, Problem("ClassNotUsable", words)
        if known.spec.exposure.mode is ExposureMode.LOAD_BALANCER:
            words = (
                f"SpawnClass {spec.class_name!r} serves apps through load balancers; spares are "
                "covered by the class's firewall, which lets everyone in: name another class"
            )
            return None, None, Problem("ClassNotSupported", words, for_a_person=True)
        wanted = Wanted(
            place=_place(spec, known.spec),
            contents=self._contents_of(known, known.spec),
            replicas=spec.replicas,
            min_ready=spec.min_ready,
            max_total=spec.max_total,
            max_age=parse_duration(spec.max_age),
        )
        supply = self._supply(spec.class_name, pool)
        if supply is None or state is None or not state.is_usable:
            words = f"SpawnClass {spec.class_name!r} cannot be used now; its status says why"
            return wanted, None, Problem("ClassNotUsable", words)
        return wanted, supply, None

    def _circumstances(
        self,
        pool: StoredPool | None,
        name: str,
        supply: Supply | None,
        memory: PoolMemory,
    ) -> Circumstances:
        failures, failed_at = 0, None
        if memory.has_failures:
            ready = {uid for uid, one in memory.spares.items() if one.ready}
            generation = pool.generation if pool is not None else 0
            failures, failed_at = _failures(self._all_of(name), ready, generation)
            memory.has_failures = failures > 0
        return Circumstances(
            claimed=self._claimed(name),
            failures=failures,
            failed_at=failed_at,
            excess_since=memory.excess_since,
            sessions_wait=len(supply.account.quota) if supply is not None else 0,
            held_up=self._held_up(supply, memory),
        )

    def _claimed(self, name: str) -> int:
        """How many droplets of the pool sessions use."""
        used = (
            self._store.record(line.spare)
            for record in self._store.takers()
            for line in record.status.resources
            if line.spare is not None and line.presence is not Presence.GONE
        )
        return sum(1 for spare in used if spare is not None and spare.spec.owner.name == name)

    def _held_up(self, supply: Supply | None, memory: PoolMemory) -> str:
        """Why nothing may be ordered now: whatever sessions need goes first."""
        if supply is None:
            return "the class cannot be used now"
        account = supply.account
        if len(account.quota):
            return "sessions wait for the account's droplet limit, and go first"
        if self._clock.now() < memory.no_room_until:
            return "the account's droplet limit was reached just now"
        if account.budget.is_crowded:
            return "DigitalOcean's calls are needed for deletions, which go first"
        return ""

    async def _begin(
        self, pool: StoredPool, supply: Supply, wanted: Wanted, memory: PoolMemory
    ) -> None:
        """Open the ledger of another spare, before anything is made, and order it."""
        uid = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        intent = RecordSpec(
            owner=OwnerReference(kind=POOL_OWNER, name=pool.name, uid=uid),
            cluster_uid=self._cluster_uid,
            class_name=supply.class_name,
            planned=[PlannedResource(kind=ResourceKind.DROPLET, name=session_droplet_name(uid))],
            spare=SpareIntent(
                region=wanted.place.region,
                size=wanted.place.size,
                contents=wanted.contents,
                pool_generation=pool.generation,
            ),
        )
        # It was made here, so nothing of it can have been ordered before.
        memory.spares[uid] = SpareMemory()
        self._store.put_record(await self._cluster.create_record(record_document(intent)))

    async def _report(self, pool: StoredPool, stand: Stand) -> None:
        """Say how the pool stands, on the object and in the metrics."""
        status = status_of(pool, stand, self._clock.utc_now().replace(microsecond=0))
        self._metrics.pool(pool.name, _figures(pool, stand, status))
        patch = merge_patch(pool.status.document(), status.document())
        if not patch:
            return
        try:
            body = await self._cluster.patch_pool_status(
                pool.name, {"metadata": {"uid": pool.uid}, "status": patch}
            )
        except ObjectNotFound:
            return
        known = self._store.pool(pool.name)
        if known is not None and known.uid == pool.uid:  # Or its deletion was seen meanwhile.
            self._store.put_pool(body)
        stalled = find_condition(status.conditions, ConditionType.STALLED)
        before = find_condition(pool.status.conditions, ConditionType.STALLED)
        if stalled is not None and (before is None or before.reason != stalled.reason):
            regarding = Regarding("SpawnPool", None, pool.name, pool.uid, API_VERSION)
            self._events.emit(regarding, "Warning", stalled.reason, "Refill", stalled.message)


def _figures(pool: StoredPool, stand: Stand, status: PoolStatus) -> PoolFigures:
    spec = pool.spec
    return PoolFigures(
        class_name=spec.class_name if spec is not None else None,
        wanted=spec.replicas if spec is not None else 0,
        is_ready=is_true(status.conditions, ConditionType.READY),
        droplets=stand.counts,
    )


def _place(spec: PoolSpec, of_class: ClassSpec) -> Placement:
    """Where the spares are made, and how large they are."""
    tiers = {
        Tier.LIGHT: of_class.tiers.light,
        Tier.STANDARD: of_class.tiers.standard,
        Tier.COMPLEX: of_class.tiers.complex,
    }
    size = spec.size or tiers[spec.tier or Tier.LIGHT].sizes[0]
    return Placement(spec.region or of_class.regions[0], size)


def _failures(
    records: Sequence[StoredRecord], ready: Collection[str], generation: int
) -> tuple[int, datetime | None]:
    """How many refills have failed in a row for this generation of the pool, and when the last."""
    count, last = 0, None
    for record in sorted(records, key=lambda one: one.created_at, reverse=True):
        intent, status = record.spec.spare, record.status
        is_other = intent is None or intent.pool_generation != generation
        if is_other or record.spec.owner.uid in ready:
            break
        if status.termination_reason in FAILURES:
            count += 1
            last = last or status.abandoned_at or status.completed_at
        elif status.completed_at is not None and status.termination_reason != NO_ROOM:
            break
    return count, last


def _offer(stored: StoredRecord, *, is_held: bool = False) -> OfferedSpare:
    intent = stored.spec.spare
    line = next(iter(droplets_of(stored.status)))
    return OfferedSpare(
        stored.spec.owner.uid,
        line.id,
        Placement(intent.region, intent.size) if intent is not None else Placement("", ""),
        stored.created_at,
        is_held,
    )
