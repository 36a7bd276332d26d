"""Follows one spare: looks at all that exists of it, writes it down, and takes the next step.

What is seen goes into the ledger before anything is done about it. Any call may fail at any point;
the next look finds out how far it came.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from spawnai.api.names import session_droplet_name
from spawnai.api.record import LedgerEntry, Presence, RecordStatus, ResourceKind, SpareIntent
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.actions.agents import Agents
from spawnai.controller.actions.droplets import BakedImages, bootstrap_of, droplet_tags
from spawnai.controller.beside import own_droplets
from spawnai.controller.cluster import Cluster
from spawnai.controller.report import set_ledger_finalizer, write_ledger
from spawnai.controller.store import Store, StoredRecord
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.droplet_resource import droplet_line
from spawnai.digitalocean.errors import (
    Ambiguous,
    Busy,
    NoCapacity,
    NotFound,
    OverQuota,
    Refused,
    UnknownOption,
)
from spawnai.digitalocean.firewall_watch import NotCovered
from spawnai.digitalocean.models import DropletOrder
from spawnai.droplet.client import AgentError
from spawnai.droplet.cloud_config import render_user_data
from spawnai.lifecycle import pooling
from spawnai.lifecycle.beside import OwnDroplet
from spawnai.lifecycle.kinds import LISTED_WITHIN, Placement
from spawnai.lifecycle.pooling import MARGIN, NO_ROOM, REFUSED, Holder, Spare, Step

FIREWALL_SECONDS = 5.0
"""How long one look waits for a firewall to cover a spare; the next one waits on."""

CHECK_SECONDS = 30.0
"""How often a spare that is ready is asked whether it still is: no call to DigitalOcean."""


@dataclass(slots=True)
class SpareMemory:
    """What this process remembers of one spare; nothing of it has to outlive the process."""

    settles_at: datetime | None = None
    covered: bool = False
    """Its firewall was seen in force."""
    ready: bool = False
    """It answered a health check."""
    checked_at: float = field(default=float("-inf"))
    silent_since: datetime | None = None
    refused: str = ""
    words: str = ""
    """Why its order was refused."""
    abandoning: bool = False
    """It is about to be given up: no session may enter it any more."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What spares of a class are made with."""

    class_name: str
    class_uid: str
    spec: ClassSpec | None
    account: CloudAccount
    firewall_id: str | None
    max_age: timedelta


class Spares:
    """Looks at spares, and takes their next steps.

    Every method may raise any DigitalOceanError or ClusterError: the next look goes on from there.
    `book_of(session_uid)` is a session's open ledger with all that is known; None: it is closed, or
    there is none.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        agents: Agents,
        images: BakedImages,
        clock: Clock,
        cluster_uid: str,
        agent_source: str,
        book_of: Callable[[str], RecordStatus | None],
        on_cost: Callable[[StoredRecord, RecordStatus], None] = lambda _stored, _closed: None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._agents = agents
        self._images = images
        self._clock = clock
        self._cluster_uid = cluster_uid
        self._agent_source = agent_source
        self._book_of = book_of
        self._on_cost = on_cost

    async def look(
        self, stored: StoredRecord, memory: SpareMemory, supply: Supply
    ) -> tuple[StoredRecord, Spare]:
        """Find out what exists of a spare, and write it down."""
        uid, book = stored.spec.owner.uid, stored.status
        lines = droplets_of(book)
        is_kept = book.taken_over_by is None and book.abandoned_at is None
        if is_kept and lines and memory.ready and memory.silent_since is None:
            # Nothing but its own agent is asked. One that goes is missed by the walks.
            droplets = [OwnDroplet(int(line.id), "active", locked=False) for line in lines]
        else:
            book, seen = await own_droplets(
                uid,
                book,
                supply.account,
                now=self._clock.utc_now(),
                cluster_uid=self._cluster_uid,
                by_name=not lines,
            )
            for own, shown in seen:
                if shown is not None and shown.public_ip is not None:
                    book = books.with_address(
                        book, ResourceKind.DROPLET, str(own.id), shown.public_ip
                    )
            droplets = [own for own, _ in seen]
            stored = await self.write(stored, book)
        if is_kept:
            await self._check(stored, memory, droplets, supply)
        return stored, self._spare(stored, memory, droplets)

    def _spare(
        self, stored: StoredRecord, memory: SpareMemory, droplets: list[OwnDroplet]
    ) -> Spare:
        book, intent = stored.status, stored.spec.spare
        ending = None
        if book.abandoned_at is not None:
            ending = book.termination_reason or "Abandoned"
        return Spare(
            uid=stored.spec.owner.uid,
            begun_at=stored.created_at,
            place=Placement(intent.region, intent.size) if intent else Placement("", ""),
            contents=intent.contents if intent is not None else "",
            droplets=tuple(droplets),
            had_droplet=any(one.kind is ResourceKind.DROPLET for one in book.resources),
            settles_at=memory.settles_at,
            is_ready=memory.ready and memory.silent_since is None and bool(droplets),
            silent_since=memory.silent_since,
            holder=self._holder(stored),
            ending=ending,
            refused=memory.refused,
            deleted=stored.deleting,
        )

    def _holder(self, stored: StoredRecord) -> Holder | None:
        """What the ledger of the session that took it says."""
        taker = stored.status.taken_over_by
        if taker is None:
            return None
        book = self._book_of(taker)
        if book is None:
            return Holder.OVER
        if _lists(book, stored):
            # A pool counts what sessions use by their stored ledgers.
            written = self._store.record(taker)
            is_written = written is not None and _lists(written.status, stored)
            return Holder.LISTS if is_written else Holder.UNDECIDED
        return Holder.OVER if droplets_of(book) else Holder.UNDECIDED

    async def _check(
        self,
        stored: StoredRecord,
        memory: SpareMemory,
        droplets: list[OwnDroplet],
        supply: Supply,
    ) -> None:
        """See that nobody but the operator reaches it, and ask its agent how it is."""
        line = next(iter(droplets_of(stored.status)), None)
        active = [one for one in droplets if one.status == "active" and one.shows_marks]
        if line is None or line.ip is None or all(str(one.id) != line.id for one in active):
            return
        if not memory.covered and not await self._is_covered(int(line.id), supply):
            return
        memory.covered = True
        now = self._clock.now()
        if memory.ready and memory.silent_since is None and now - memory.checked_at < CHECK_SECONDS:
            return
        memory.checked_at = now
        if await self._answers(stored, line.ip):
            memory.ready, memory.silent_since = True, None
        elif memory.ready and memory.silent_since is None:
            memory.silent_since = self._clock.utc_now()

    async def _is_covered(self, droplet_id: int, supply: Supply) -> bool:
        if supply.firewall_id is None:
            return False
        try:
            async with asyncio.timeout(FIREWALL_SECONDS):
                watch = supply.account.firewall_watch
                return await watch.in_force(supply.firewall_id, droplet_id)
        except (NotCovered, TimeoutError):
            return False

    async def _answers(self, stored: StoredRecord, ip: str) -> bool:
        """Whether its agent answers to the spare's own keys, and can take an app."""
        try:
            async with self._agents.spare(stored.spec.owner.uid, stored.created_at, ip) as agent:
                status = await agent.status()
        except AgentError:
            return False
        return status.runtime == "ok"

    async def write(self, stored: StoredRecord, book: RecordStatus) -> StoredRecord:
        """Write the ledger against the version that was read, with what is left in words."""
        book = book.model_copy(update={"residuals": books.residuals(book.resources)})
        await write_ledger(self._cluster, self._store, stored, book)
        return self._store.record(stored.spec.owner.uid) or stored

    async def take(
        self, step: Step, stored: StoredRecord, memory: SpareMemory, supply: Supply
    ) -> None:
        """Take one step."""
        try:
            match step:
                case pooling.Order():
                    await self._order(stored, memory, supply)
                case pooling.Remove(droplet):
                    if await supply.account.droplets.delete(droplet, priority=Priority.DESTROY):
                        supply.account.inventory.leaving(droplet)
                        now = self._clock.utc_now()
                        book = books.with_deletion_accepted(
                            stored.status, ResourceKind.DROPLET, str(droplet), now
                        )
                        await self.write(stored, book)
                case pooling.Abandon(reason):
                    memory.abandoning = True
                    await self.abandon(stored, reason)
                case pooling.Close(reason):
                    await self._close(stored, reason)
                case pooling.Wait():
                    pass
        except (Busy, NotFound):
            return  # Another action is under way, or it has just gone: the next look tells.
        except Ambiguous:
            memory.settles_at = self._clock.utc_now() + LISTED_WITHIN

    async def abandon(self, stored: StoredRecord, reason: str) -> None:
        """Write that it is given up: from then on it is the spare's own ledger that deletes it."""
        now = self._clock.utc_now().replace(microsecond=0)
        changes = {"abandoned_at": now, "termination_reason": reason}
        await self.write(stored, stored.status.model_copy(update=changes))

    async def _close(self, stored: StoredRecord, reason: str) -> None:
        book, now = stored.status, self._clock.utc_now().replace(microsecond=0)
        for line in droplets_of(book):
            # It is the session's now, which pays for it from when it took it.
            until = book.taken_over_at or now
            book = books.with_deletion_accepted(book, line.kind, line.id, until)
            book = books.with_gone(book, line.kind, line.id, now)
        closed = books.closed(book, reason=reason, log=(), at=now)
        await write_ledger(self._cluster, self._store, stored, closed)
        self._on_cost(stored, closed)
        await set_ledger_finalizer(self._cluster, self._store, stored.spec.owner.uid, present=False)

    async def _order(self, stored: StoredRecord, memory: SpareMemory, supply: Supply) -> None:
        intent, spec, account = stored.spec.spare, supply.spec, supply.account
        if intent is None or spec is None:
            return
        baked = self._images.image_for(supply.class_name, intent.region, intent.size)
        try:
            droplet = await account.droplets.create(
                self._order_of(stored, supply, spec, intent, baked),
                priority=Priority.HOUSEKEEPING,
            )
        except OverQuota as error:
            memory.refused, memory.words = NO_ROOM, error.message
            return
        except (NoCapacity, UnknownOption, Refused) as error:
            if baked is not None and not isinstance(error, NoCapacity):
                self._images.refuse(supply.class_name, intent.region, intent.size)
                return
            memory.refused, memory.words = REFUSED, error.message
            return
        account.inventory.saw(droplet)
        # A listing may miss it for a while, and the write may fail.
        memory.settles_at = self._clock.utc_now() + LISTED_WITHIN
        await self.write(
            stored, books.with_found(stored.status, droplet_line(droplet, account.prices))
        )

    def _order_of(
        self,
        stored: StoredRecord,
        supply: Supply,
        spec: ClassSpec,
        intent: SpareIntent,
        baked: int | None,
    ) -> DropletOrder:
        uid, now = stored.spec.owner.uid, self._clock.utc_now()
        lifetime = supply.max_age + MARGIN
        return DropletOrder(
            name=session_droplet_name(uid),
            region=intent.region,
            size=intent.size,
            image=str(baked) if baked is not None else spec.image.name,
            user_data=render_user_data(
                bootstrap_of(
                    uid,
                    None,
                    self._agents.credentials_of(uid, stored.created_at),
                    spec,
                    agent_source=self._agent_source,
                    expires_at=now + lifetime,
                    lifetime=lifetime,
                )
            ),
            tags=droplet_tags(
                uid,
                cluster_uid=self._cluster_uid,
                class_uid=supply.class_uid,
                now=now,
                expires_at=now + lifetime,
            ),
        )


def _lists(book: RecordStatus, spare: StoredRecord) -> bool:
    """Whether a session's ledger has the droplet of a spare."""
    own = {line.id for line in droplets_of(spare.status)}
    return any(line.spare == spare.spec.owner.uid or line.id in own for line in droplets_of(book))


def droplets_of(book: RecordStatus) -> list[LedgerEntry]:
    """The droplets that a ledger lists, of those that were not seen gone."""
    return [
        line
        for line in book.resources
        if line.kind is ResourceKind.DROPLET and line.presence is not Presence.GONE
    ]
