"""Keeps the baked images of classes: made, up to date, in every region, and gone when unused.

Each class that wants an image, or still has one, is tended by a task of its own beside the work
queue: nothing that sessions need waits for an image. All of it is found out anew by a process that
takes over.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from spawnai import background
from spawnai.api.durations import parse_duration
from spawnai.api.names import image_name, image_prefix, session_droplet_name
from spawnai.api.record import (
    IMAGE_OWNER,
    ImageIntent,
    OwnerReference,
    PlannedResource,
    RecordSpec,
    ResourceKind,
)
from spawnai.api.spawnclass import ClassSpec
from spawnai.app_runtime import npm_lock
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.actions.droplets import runtime_archives
from spawnai.controller.beside import drop_when_old
from spawnai.controller.cluster import Cluster, ClusterError, ObjectNotFound
from spawnai.controller.leader import LeadershipLost
from spawnai.controller.report import record_document
from spawnai.controller.store import Store, StoredClass, StoredRecord
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import DigitalOceanError
from spawnai.digitalocean.image_resource import SNAPSHOT
from spawnai.digitalocean.models import Image
from spawnai.lifecycle.baking import (
    FAILED,
    Done,
    Keeping,
    KnownBake,
    Wait,
    contents_of,
    keep_images,
    plan_bake,
)
from spawnai.lifecycle.kinds import LISTED_WITHIN

from .baker import BakeMemory, Baker, Look, NoRoom

_LOGGER = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
"""How often an image that is being made, moved or deleted is looked at."""

IDLE_SECONDS = 300.0
"""How often one is looked at that is where it should be: one listing of images, 12 calls an hour.
Whoever starts a droplet from one that has vanished in between starts it from the stock image."""

LAST_PAUSE_SECONDS = 300.0

ORPHAN_AGE = timedelta(minutes=10)
"""What is younger and in no open ledger is left alone: its ledger may be just being written."""


@dataclass(frozen=True, slots=True)
class ImageNews:
    """What is known of a class's image, for its status.

    Attributes:
        offered: the image that droplets start from, by region.
        missing: the regions of the class that have none.
        words: what is being done, or why it cannot be.
        has_failed: whether a person should know of it.
    """

    offered: Mapping[str, int]
    missing: tuple[str, ...]
    words: str = ""
    has_failed: bool = False


@dataclass(slots=True)
class ClassImageMemory:
    """One class, from one look to the next."""

    uid: str
    account: CloudAccount
    generation: int
    task: asyncio.Task[None] | None = None
    news: ImageNews | None = None
    unwanted_since: datetime | None = None
    bakes: dict[str, BakeMemory] = field(default_factory=dict)
    unusable: set[tuple[int, str, str]] = field(default_factory=set)
    """Image, region and size that DigitalOcean refused together."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class ClassImages:
    """Looks after the images of all classes.

    `wake(class_name)` has a class looked at. `on_count(class_name, offered, baking)` is told how
    many regions have an image, and how many images are being made.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        clock: Clock,
        random: Random,
        cluster_uid: str,
        baker: Baker,
        wake: Callable[[str], None],
        on_count: Callable[[str, int, int], None] = lambda _name, _offered, _baking: None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._random = random
        self._cluster_uid = cluster_uid
        self._baker = baker
        self._wake = wake
        self._on_count = on_count
        self._memories: dict[str, ClassImageMemory] = {}

    def tend(self, known: StoredClass, account: CloudAccount) -> ImageNews | None:
        """What is known of the class's image; what has to be done goes on beside. None: it wants
        none, and has none.
        """
        memory = self._memories.get(known.name)
        if memory is not None and memory.uid != known.uid:
            self.forget(known.name)
        wanted = known.spec is not None and known.spec.image.baked
        if not wanted and not self._records_of(known.name):
            self.forget(known.name)
            return None
        memory = self._memory_of(known, account)
        if memory.generation != known.generation:
            memory.generation = known.generation
            memory.changed.set()
        if memory.task is None or memory.task.done():
            memory.task = background.once(
                self._tend(known.name, memory), name=f"images of class {known.name}"
            )
        if not wanted:
            return None
        return memory.news or ImageNews({}, tuple(known.spec.regions if known.spec else ()))

    def wake(self, class_name: str) -> None:
        """A ledger of one of its images was written."""
        if (memory := self._memories.get(class_name)) is not None:
            memory.changed.set()

    def image_for(self, class_name: str, region: str, size: str) -> int | None:
        """The image that a droplet starts from; None: the stock image."""
        memory = self._memories.get(class_name)
        if memory is None or memory.news is None:
            return None
        image = memory.news.offered.get(region)
        return None if image is None or (image, region, size) in memory.unusable else image

    def refuse(self, class_name: str, region: str, size: str) -> None:
        """DigitalOcean refused a droplet from the image: the next one starts from stock."""
        memory, image = self._memories.get(class_name), self.image_for(class_name, region, size)
        if memory is not None and image is not None:
            memory.unusable.add((image, region, size))
            memory.changed.set()

    def forget(self, class_name: str) -> None:
        """Nothing of the class is looked after any more."""
        memory = self._memories.pop(class_name, None)
        if memory is not None and memory.task is not None:
            memory.task.cancel()
        if memory is not None:
            self._on_count(class_name, 0, 0)

    async def close(self) -> None:
        """End all that is under way. All of it can be ended half-way and found again."""
        tasks = [one.task for one in self._memories.values() if one.task is not None]
        for name in list(self._memories):
            self.forget(name)
        if tasks:
            await asyncio.wait(tasks)

    async def end(self, known: StoredClass, account: CloudAccount | None) -> bool:
        """Take the next step towards the end of all images of a class that is deleted. Returns
        whether none is left; without an account none that there is can go.
        """
        if known.name not in self._memories and not self._open_of(known.name):
            return True
        if account is None:
            return not self._open_of(known.name)
        memory = self._memory_of(known, account)
        if memory.task is not None:
            memory.task.cancel()
            await asyncio.wait({memory.task})
            memory.task = None
        if self._open_of(known.name):
            await self.look(known, memory)
        if self._open_of(known.name):
            return False
        self.forget(known.name)
        return True

    def _memory_of(self, known: StoredClass, account: CloudAccount) -> ClassImageMemory:
        memory = self._memories.get(known.name)
        if memory is None:
            memory = ClassImageMemory(known.uid, account, known.generation)
            self._memories[known.name] = memory
        memory.account = account
        return memory

    async def _tend(self, name: str, memory: ClassImageMemory) -> None:
        failures = 0
        while True:
            known = self._store.spawn_class(name)
            if known is None or known.uid != memory.uid or known.deleting:
                return
            memory.changed.clear()
            before = memory.news
            try:
                pause = await self.look(known, memory)
                failures = 0
            except LeadershipLost:
                return
            except (DigitalOceanError, ClusterError, NoRoom) as error:
                pause = min(BUSY_SECONDS * 2**failures, LAST_PAUSE_SECONDS)
                failures = min(failures + 1, 10)
                memory.news = self._after(error, known, memory)
                if memory.news != before:
                    _LOGGER.warning("The images of class %s: %s", name, memory.news.words)
            except Exception:
                _LOGGER.exception("The images of class %s could not be looked after", name)
                pause = LAST_PAUSE_SECONDS
            if memory.news != before:
                self._wake(name)
            # A class is looked at once a minute; an idle image need not be.
            if pause >= IDLE_SECONDS:
                await background.first_of(self._clock.sleep(pause), memory.changed.wait())
            else:
                await self._clock.sleep(pause)

    @staticmethod
    def _after(error: Exception, known: StoredClass, memory: ClassImageMemory) -> ImageNews:
        message = error.message if isinstance(error, DigitalOceanError) else str(error)
        regions = tuple(known.spec.regions) if known.spec is not None else ()
        before = memory.news or ImageNews({}, regions)
        return replace(before, words=f"it is tried again: {message}", has_failed=True)

    def _records_of(self, class_name: str) -> list[StoredRecord]:
        return [
            record
            for record in self._store.records()
            if record.spec.owner.kind == IMAGE_OWNER and record.spec.class_name == class_name
        ]

    def _open_of(self, class_name: str) -> list[StoredRecord]:
        return [one for one in self._records_of(class_name) if one.status.completed_at is None]

    async def look(self, known: StoredClass, memory: ClassImageMemory) -> float:
        """Look at all images of a class and take a step with each; returns when to look again."""
        account = memory.account
        now = self._clock.utc_now()
        spec = known.spec
        regions = tuple(spec.regions) if spec is not None else ()
        own = await account.images.list_own(priority=Priority.HOUSEKEEPING)
        open_bakes = self._open_of(known.name)
        memory.bakes = {
            record.spec.owner.uid: memory.bakes.get(
                record.spec.owner.uid, BakeMemory(settles_at=now + LISTED_WITHIN)
            )
            for record in open_bakes
        }
        looks = [
            await self._baker.look(
                record, account, memory.bakes[record.spec.owner.uid], own=own, regions=regions
            )
            for record in open_bakes
        ]
        keeping = self._keep(known, memory, looks)
        self._offer(known, memory, looks, keeping)
        busy = keeping.begin
        for look in looks:
            uid = look.stored.spec.owner.uid
            of_bake = memory.bakes[uid]
            if of_bake.ending is None:
                of_bake.ending = "ClassDeleted" if known.deleting else keeping.endings.get(uid)
            step = plan_bake(replace(look.bake, ending=of_bake.ending), now)
            busy |= not isinstance(step, Done)
            if not isinstance(step, Done | Wait):
                _LOGGER.info("image %s of class %s: %s", uid, known.name, step)
            await self._baker.take(step, look, known, account, of_bake)
        if keeping.begin and spec is not None and not known.deleting:
            await self.begin(known, spec, memory)
        await self._remove_orphans(own, account, now)
        for record in self._records_of(known.name):
            await drop_when_old(self._cluster, self._store, record, known.spec, now)
        return BUSY_SECONDS if busy else IDLE_SECONDS

    def _keep(self, known: StoredClass, memory: ClassImageMemory, looks: Sequence[Look]) -> Keeping:
        now, spec = self._clock.utc_now(), known.spec
        wanted = None
        if spec is not None and spec.image.baked and not known.deleting:
            wanted = contents_wanted(spec)
        if wanted is not None:
            memory.unwanted_since = None
        elif memory.unwanted_since is None:
            memory.unwanted_since = now
        named = {one.spec.image.name for one in self._store.classes() if one.spec is not None}
        return keep_images(
            [_known(look, named) for look in looks],
            wanted=wanted,
            regions=tuple(spec.regions) if spec is not None else (),
            max_age=parse_duration(spec.image.max_age) if spec is not None else timedelta.max,
            failed_at=self._failed_at(known.name),
            unwanted_since=memory.unwanted_since,
            now=now,
        )

    def _failed_at(self, class_name: str) -> datetime | None:
        return max(
            (
                record.status.completed_at
                for record in self._records_of(class_name)
                if record.status.completed_at is not None
                and record.status.termination_reason == FAILED
            ),
            default=None,
        )

    def _offer(
        self, known: StoredClass, memory: ClassImageMemory, looks: Sequence[Look], keeping: Keeping
    ) -> None:
        """Say from which images droplets start from now on, and what is still missing."""
        regions = known.spec.regions if known.spec is not None else []
        missing = tuple(region for region in regions if region not in keeping.offered)
        memory.unusable = {one for one in memory.unusable if one[0] in keeping.offered.values()}
        making = [one for one in looks if one.stored.spec.owner.uid not in keeping.endings]
        steps = (plan_bake(one.bake, self._clock.utc_now()) for one in making)
        words = "; ".join(dict.fromkeys(one.words for one in steps if isinstance(one, Wait)))
        failed_at = self._failed_at(known.name)
        has_failed = failed_at is not None and not making and bool(missing)
        if has_failed and failed_at is not None:
            words = f"the last one failed at {failed_at:%Y-%m-%dT%H:%M:%SZ}; it is tried again"
        memory.news = ImageNews(keeping.offered, missing, words, has_failed)
        baking = sum(1 for one in making if not one.bake.images)
        self._on_count(known.name, len(keeping.offered), baking)

    async def begin(self, known: StoredClass, spec: ClassSpec, memory: ClassImageMemory) -> None:
        """Open the ledger of another image, before anything is made."""
        uid = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        document = record_document(bake_intent(known, spec, uid, self._cluster_uid))
        memory.bakes[uid] = BakeMemory()
        self._store.put_record(await self._cluster.create_record(document))

    async def _remove_orphans(
        self, own: Iterable[Image], account: CloudAccount, now: datetime
    ) -> None:
        """Images of this cluster whose ledger is closed or lost: a snapshot that came too late."""
        prefix = image_prefix(self._cluster_uid)
        for image in own:
            if image.type != SNAPSHOT or not image.name.startswith(prefix):
                continue
            uid = image.name.removeprefix(prefix)
            stored = self._store.record(uid)
            is_open = stored is not None and stored.status.completed_at is None
            if is_open or now < image.created_at + ORPHAN_AGE:
                continue
            try:
                body = await self._cluster.get_record(uid)
            except ObjectNotFound:
                body = {"status": {"completedAt": "never opened"}}
            if not (body.get("status") or {}).get("completedAt"):
                continue
            _LOGGER.warning(
                "Image %d (%s) has no open ledger, and is deleted", image.id, image.name
            )
            await account.images.delete(image.id, priority=Priority.DESTROY)


def contents_wanted(spec: ClassSpec) -> str:
    """The digest of what a class wants in its image."""
    archives = [(one.url, one.sha256) for one in runtime_archives(spec.runtime)]
    return contents_of(spec.image.name, archives, npm_lock())


def bake_intent(
    known: StoredClass, spec: ClassSpec, uid: str, cluster_uid: str, *, kept: bool = False
) -> RecordSpec:
    """The intent of a new image's ledger."""
    return RecordSpec(
        owner=OwnerReference(kind=IMAGE_OWNER, name=known.name, uid=uid),
        cluster_uid=cluster_uid,
        class_name=known.name,
        planned=[
            PlannedResource(kind=ResourceKind.DROPLET, name=session_droplet_name(uid)),
            PlannedResource(kind=ResourceKind.IMAGE, name=image_name(cluster_uid, uid)),
        ],
        image=ImageIntent(
            source=spec.image.name, contents=contents_wanted(spec), kept=kept or None
        ),
    )


def _known(look: Look, named: set[str]) -> KnownBake:
    stored, image = look.stored, look.bake.image
    intent = stored.spec.image
    return KnownBake(
        uid=stored.spec.owner.uid,
        contents=intent.contents if intent is not None else "",
        begun_at=stored.created_at,
        image=image.id if image is not None else None,
        made_at=look.made_at,
        usable_in=image.regions if image is not None else frozenset(),
        kept=intent is not None and bool(intent.kept),
        named=image is not None and str(image.id) in named,
        deleted=stored.deleting,
    )
