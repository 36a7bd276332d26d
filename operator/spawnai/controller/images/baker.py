"""Follows one image: looks at all that exists of it, writes it down, and takes the next step.

What is seen goes into the ledger before anything is done about it. Any call may fail at any point;
the next look finds out how far it came.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from spawnai.api.names import image_name, session_droplet_name
from spawnai.api.record import LedgerEntry, Presence, RecordStatus, ResourceKind
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.actions.droplets import droplet_tags, runtime_archives
from spawnai.controller.beside import own_droplets
from spawnai.controller.cluster import Cluster
from spawnai.controller.report import set_ledger_finalizer, write_ledger
from spawnai.controller.store import Store, StoredClass, StoredRecord
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.droplet_resource import droplet_line
from spawnai.digitalocean.errors import (
    Ambiguous,
    Busy,
    NoCapacity,
    NotFound,
    OverQuota,
    UnknownOption,
)
from spawnai.digitalocean.image_resource import SNAPSHOT, image_line
from spawnai.digitalocean.models import DropletOrder, Image
from spawnai.droplet.builder import ImageBuilder, render_builder_data
from spawnai.lifecycle import baking
from spawnai.lifecycle.baking import Bake, SeenImage, Step
from spawnai.lifecycle.kinds import LISTED_WITHIN


class NoRoom(Exception):
    """The builder cannot be made now; the message says why."""


@dataclass(slots=True)
class BakeMemory:
    """What this process remembers of one image; nothing of it has to outlive the process."""

    settles_at: datetime | None = None
    ending: str | None = None
    """Why it began to be deleted: that is not taken back."""
    transfer: tuple[int, int] | None = None
    """The image and the action of the transfer that was begun last."""
    refused: set[str] = field(default_factory=set)
    """Regions that did not take the builder."""


@dataclass(frozen=True, slots=True)
class Look:
    """One image, as a look found it: its ledger is written, nothing is done yet."""

    stored: StoredRecord
    bake: Bake
    made_at: datetime | None


class Baker:
    """Looks at images, and takes their next steps.

    Every method may raise any DigitalOceanError or ClusterError: the next look goes on from there.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        clock: Clock,
        *,
        cluster_uid: str,
        agent_source: str,
        on_cost: Callable[[StoredRecord, RecordStatus], None] = lambda _stored, _closed: None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._cluster_uid = cluster_uid
        self._agent_source = agent_source
        self._on_cost = on_cost

    async def look(
        self,
        stored: StoredRecord,
        account: CloudAccount,
        memory: BakeMemory,
        *,
        own: Sequence[Image],
        regions: Sequence[str],
    ) -> Look:
        """Find out what exists of the image. `own`: all images of the account, just listed."""
        uid = stored.spec.owner.uid
        book = stored.status
        book, seen = await own_droplets(
            uid, book, account, now=self._clock.utc_now(), cluster_uid=self._cluster_uid
        )
        book, images = await self._images(uid, book, account, own)
        stored = await self._write(stored, book)
        gone = [
            line.gone_at
            for line in book.resources
            if line.kind is ResourceKind.DROPLET and line.gone_at is not None
        ]
        made = [line.created_at for line in _lines(book, ResourceKind.IMAGE)]
        bake = Bake(
            begun_at=stored.created_at,
            settles_at=memory.settles_at,
            builders=tuple(one for one, _ in seen),
            builder_gone_at=max(gone, default=None),
            images=tuple(images),
            had_image=bool(made),
            regions=tuple(regions),
            transferring=await self._is_transferring(account, memory, images),
        )
        return Look(stored, bake, min(made, default=None))

    async def _images(
        self, uid: str, book: RecordStatus, account: CloudAccount, own: Iterable[Image]
    ) -> tuple[RecordStatus, list[SeenImage]]:
        name = image_name(self._cluster_uid, uid)
        found = {str(one.id): one for one in own if one.name == name and one.type == SNAPSHOT}
        for line in _lines(book, ResourceKind.IMAGE):
            if line.presence is Presence.GONE or line.id in found:
                continue
            shown = await account.images.get(int(line.id), priority=Priority.HOUSEKEEPING)
            if shown is not None:
                found[line.id] = shown
            else:
                book = books.with_gone(book, line.kind, line.id, self._clock.utc_now())
        for image in found.values():
            book = books.with_found(book, image_line(image))
        return book, [SeenImage(one.id, one.regions, one.status) for one in found.values()]

    async def _is_transferring(
        self, account: CloudAccount, memory: BakeMemory, images: Iterable[SeenImage]
    ) -> bool:
        if memory.transfer is None:
            return False
        image, number = memory.transfer
        if all(one.id != image for one in images):
            memory.transfer = None
            return False
        action = await account.images.action(image, number, priority=Priority.HOUSEKEEPING)
        if action is not None and action.status == "in-progress":
            return True
        memory.transfer = None
        return False

    async def _write(self, stored: StoredRecord, book: RecordStatus) -> StoredRecord:
        """Write the ledger, with what is left in words."""
        book = book.model_copy(update={"residuals": books.residuals(book.resources)})
        await write_ledger(self._cluster, self._store, stored, book)
        return self._store.record(stored.spec.owner.uid) or stored

    async def take(
        self, step: Step, look: Look, known: StoredClass, account: CloudAccount, memory: BakeMemory
    ) -> None:
        """Take one step.

        Raises:
            NoRoom: the builder cannot be made now.
        """
        stored = look.stored
        try:
            match step:
                case baking.CreateBuilder():
                    await self._create(stored, known, account, memory)
                case baking.TakeSnapshot(builder):
                    name = image_name(self._cluster_uid, stored.spec.owner.uid)
                    await account.droplets.act(
                        builder, "snapshot", name=name, priority=Priority.HOUSEKEEPING
                    )
                case baking.DeleteBuilder(builder):
                    if await account.droplets.delete(builder, priority=Priority.DESTROY):
                        account.inventory.leaving(builder)
                        await self._accepted(stored, ResourceKind.DROPLET, builder)
                case baking.DeleteImage(image):
                    if await account.images.delete(image, priority=Priority.DESTROY):
                        await self._accepted(stored, ResourceKind.IMAGE, image)
                case baking.Transfer(image, region):
                    action = await account.images.transfer(
                        image, region, priority=Priority.HOUSEKEEPING
                    )
                    memory.transfer = (image, action.id)
                case baking.Close(reason):
                    await self._close(stored, reason)
                case baking.Wait() | baking.Done():
                    pass
        except (Busy, NotFound):
            return  # Another action is under way, or it has just gone: the next look tells.
        except Ambiguous:
            if isinstance(step, baking.CreateBuilder):
                memory.settles_at = self._clock.utc_now() + LISTED_WITHIN
            # A snapshot or a transfer that was begun shows by itself.

    async def _accepted(self, stored: StoredRecord, kind: ResourceKind, number: int) -> None:
        now = self._clock.utc_now()
        await self._write(
            stored, books.with_deletion_accepted(stored.status, kind, str(number), now)
        )

    async def _close(self, stored: StoredRecord, reason: str) -> None:
        closed = books.closed(
            stored.status, reason=reason, log=(), at=self._clock.utc_now().replace(microsecond=0)
        )
        await write_ledger(self._cluster, self._store, stored, closed)
        self._on_cost(stored, closed)
        await set_ledger_finalizer(self._cluster, self._store, stored.spec.owner.uid, present=False)

    async def _create(
        self, stored: StoredRecord, known: StoredClass, account: CloudAccount, memory: BakeMemory
    ) -> None:
        spec = known.spec
        if spec is None or stored.spec.image is None:
            raise NoRoom(f"SpawnClass {known.name!r} cannot be read")
        if account.quota.first() is not None:
            raise NoRoom("sessions wait for the account's droplet limit, and go first")
        size = await self._smallest_disk(spec, account)
        refusals = []
        for region in (one for one in spec.regions if one not in memory.refused):
            try:
                droplet = await account.droplets.create(
                    self._order(stored, known, spec, region, size), priority=Priority.HOUSEKEEPING
                )
            except OverQuota as error:
                raise NoRoom(error.message) from error
            except (NoCapacity, UnknownOption) as error:
                memory.refused.add(region)
                refusals.append(f"{region}: {error.message}")
                continue
            # A listing may miss it for a while, and the write may fail.
            memory.settles_at = self._clock.utc_now() + LISTED_WITHIN
            line = droplet_line(droplet, account.prices)
            await self._write(stored, books.with_found(stored.status, line))
            return
        memory.refused.clear()
        raise NoRoom("no region of the class takes the builder: " + "; ".join(refusals))

    def _order(
        self, stored: StoredRecord, known: StoredClass, spec: ClassSpec, region: str, size: str
    ) -> DropletOrder:
        uid, now = stored.spec.owner.uid, self._clock.utc_now()
        source = stored.spec.image.source if stored.spec.image is not None else spec.image.name
        return DropletOrder(
            name=session_droplet_name(uid),
            region=region,
            size=size,
            image=source,
            user_data=render_builder_data(
                ImageBuilder(self._agent_source, runtime_archives(spec.runtime))
            ),
            tags=droplet_tags(
                uid,
                cluster_uid=self._cluster_uid,
                class_uid=known.uid,
                now=now,
                expires_at=now + baking.BAKED_WITHIN,
            ),
        )

    async def _smallest_disk(self, spec: ClassSpec, account: CloudAccount) -> str:
        """An image fits on disks of at least the size it was made on."""
        offered = await account.catalog.sizes(priority=Priority.HOUSEKEEPING)
        tiers = (spec.tiers.light, spec.tiers.standard, spec.tiers.complex)
        wanted = [offered[size] for tier in tiers for size in tier.sizes if size in offered]
        if not wanted:
            raise NoRoom("DigitalOcean offers none of the sizes of the class")
        return min(wanted, key=lambda one: (one.disk or 0, one.price_hourly, one.slug)).slug


def _lines(book: RecordStatus, kind: ResourceKind) -> list[LedgerEntry]:
    return [line for line in book.resources if line.kind is kind]
