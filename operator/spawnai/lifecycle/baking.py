"""Baking an image: which step comes next, and which images a class keeps. Pure.

An image is baked by a droplet of its own, the builder. It starts from a stock image, installs what
apps need, cleans up after itself and powers itself off; then its disk is kept as a snapshot, the
builder is deleted, and the snapshot goes to the other regions.

Every step is found out from what exists, by the names that stand in the image's ledger before
anything is made. So a process that dies at any point leaves nothing that the next one does not see:

* the builder bears the marks of a session whose UID is the image's own. Once the ledger is closed,
  the reaper takes whatever turns up late;
* the image bears the cluster's and its own UID in its name. Two snapshots of the same name, after
  a lost answer, are seen as two, and one of them is deleted;
* an image that is not there half an hour after its ledger was opened has failed: what exists of it
  is deleted, and the ledger is closed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .beside import OwnDroplet
from .kinds import LISTED_WITHIN

BAKED_WITHIN = timedelta(minutes=30)
"""From the ledger to the image. A droplet boots in 1 minute, installs in 1 to 10, and a snapshot of
3 GB takes minutes; longer than that something is wrong with it."""

IN_USE_FOR = timedelta(minutes=15)
"""How long an image is kept after its successor is there: a droplet that was ordered from it may
still be made from it."""

RETRY_AFTER = timedelta(minutes=30)
"""How long after a failure the next image is begun."""

BAKE_VERSION = 1
"""Counted up whenever the builder's script changes, so that images are made anew."""


@dataclass(frozen=True, slots=True)
class SeenImage:
    """An image of the account as DigitalOcean showed it last."""

    id: int
    regions: frozenset[str]
    status: str = "available"

    @property
    def is_usable(self) -> bool:
        """Whether droplets can start from it."""
        return self.status == "available"


@dataclass(frozen=True, slots=True)
class Bake:
    """One image, and all that exists of it now.

    Attributes:
        begun_at: when its ledger was opened.
        settles_at: until when an order whose answer was lost may still take effect.
        builders: those not seen gone.
        builder_gone_at: when the last of them was seen gone.
        images: those not seen gone.
        had_image: whether there was ever one.
        regions: where the image is to be; the builder is made in the first that has room.
        transferring: whether a transfer is under way.
        ending: why all of it is to go, in one word, or None.
    """

    begun_at: datetime
    settles_at: datetime | None
    builders: tuple[OwnDroplet, ...]
    builder_gone_at: datetime | None
    images: tuple[SeenImage, ...]
    regions: tuple[str, ...]
    had_image: bool = False
    transferring: bool = False
    ending: str | None = None

    @property
    def image(self) -> SeenImage | None:
        """The image that is kept, of those that droplets can start from."""
        usable = (one for one in self.images if one.is_usable)
        return min(usable, key=lambda one: (-len(one.regions), one.id), default=None)


@dataclass(frozen=True, slots=True)
class CreateBuilder:
    """Order the builder."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Keep the builder's disk."""

    builder: int


@dataclass(frozen=True, slots=True)
class DeleteBuilder:
    """Delete a builder."""

    builder: int


@dataclass(frozen=True, slots=True)
class DeleteImage:
    """Delete an image in all its regions."""

    image: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy the image to another region."""

    image: int
    region: str


@dataclass(frozen=True, slots=True)
class Close:
    """All of it was seen gone: close the ledger with that reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but to look again; `words` say what for."""

    words: str


@dataclass(frozen=True, slots=True)
class Done:
    """The image is where it should be."""


Step = CreateBuilder | TakeSnapshot | DeleteBuilder | DeleteImage | Transfer | Close | Wait | Done

FAILED, GONE = "BakeFailed", "ImageGone"
"""Why a ledger was closed: no image came of it in time; its image was deleted by somebody else."""


def plan_bake(bake: Bake, now: datetime) -> Step:
    """The next step of one image."""
    if bake.ending is not None:
        return _end(bake, bake.ending, now)
    image = bake.image
    if not bake.images and not bake.builders and bake.had_image:
        return _end(bake, GONE, now)
    if not bake.images and not bake.builders and bake.builder_gone_at is not None:
        return _end(bake, FAILED, now)
    if image is None and now >= bake.begun_at + BAKED_WITHIN:
        return _end(bake, FAILED, now)
    if image is not None:
        return _finish(bake, image)
    if bake.images:
        return Wait("the snapshot is being written")
    if not bake.builders:
        if bake.settles_at is not None and now < bake.settles_at:
            return Wait("the builder was ordered, and DigitalOcean does not list it yet")
        return CreateBuilder()
    builder = min(bake.builders, key=lambda one: one.id)
    spare = next((one for one in bake.builders if one is not builder and one.may_go), None)
    if spare is not None:
        return DeleteBuilder(spare.id)
    if builder.locked or builder.status == "new":
        return Wait(
            "the snapshot is being made" if builder.status == "off" else "the builder is being made"
        )
    if builder.status == "off":
        return TakeSnapshot(builder.id)
    return Wait("the builder installs what apps need")


def _finish(bake: Bake, image: SeenImage) -> Step:
    """There is an image: what made it goes, and the image goes where it should be."""
    extra = next((one for one in bake.images if one is not image and one.is_usable), None)
    if extra is not None:
        return DeleteImage(extra.id)
    if bake.builders:
        return _remove_builder(bake)
    missing = next((region for region in bake.regions if region not in image.regions), None)
    if missing is None:
        return Done()
    if bake.transferring:
        return Wait("the image is being copied to another region")
    return Transfer(image.id, missing)


def _end(bake: Bake, reason: str, now: datetime) -> Step:
    if bake.builders:
        return _remove_builder(bake)
    if bake.images:
        return DeleteImage(bake.images[0].id)
    gone_at, settles_at = bake.builder_gone_at, bake.settles_at
    # A snapshot that was under way may show a little later than its builder goes.
    may_show = gone_at is not None and now < gone_at + LISTED_WITHIN
    if may_show or (settles_at is not None and now < settles_at):
        return Wait("whether anything shows late")
    return Close(reason)


def _remove_builder(bake: Bake) -> Step:
    builder = next((one for one in bake.builders if one.may_go), None)
    return Wait("the builder is locked") if builder is None else DeleteBuilder(builder.id)


def contents_of(
    source: str, archives: Sequence[tuple[str, str]], npm_lock: Mapping[str, object]
) -> str:
    """The digest of what is in an image. `archives`: name and SHA-256 of each."""
    said = [BAKE_VERSION, source, sorted(archives), dict(npm_lock)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class KnownBake:
    """One image of a class, for the choice which ones are kept.

    Attributes:
        usable_in: the regions where droplets can start from it; none while it is being made.
        image: its number, once it is there.
        kept: a person asked for it.
        named: a class names it as its image.
        deleted: its ledger is being deleted: a person wants it gone.
        made_at: when its image was made.
    """

    uid: str
    contents: str
    begun_at: datetime
    image: int | None = None
    made_at: datetime | None = None
    usable_in: frozenset[str] = frozenset()
    kept: bool = False
    named: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Keeping:
    """What becomes of a class's images.

    Attributes:
        endings: the images that go, by UID, and why in one word.
        begin: whether another one is begun now.
        offered: the image that droplets start from, by region.
    """

    endings: Mapping[str, str]
    begin: bool
    offered: Mapping[str, int]


def keep_images(
    bakes: Sequence[KnownBake],
    *,
    wanted: str | None,
    regions: Sequence[str],
    max_age: timedelta,
    failed_at: datetime | None,
    unwanted_since: datetime | None,
    now: datetime,
) -> Keeping:
    """Decide which images a class keeps and offers.

    Args:
        bakes: all with an open ledger.
        wanted: the digest of what the class wants in its image; None: it wants none.
        regions: where the class wants it.
        max_age: from when on another one is made.
        failed_at: when the last image failed.
        unwanted_since: since when the class wants none.
        now: the time.
    """
    endings = {one.uid: "Deleted" for one in bakes if one.deleted}
    living = sorted(
        (one for one in bakes if one.uid not in endings), key=lambda one: (one.begun_at, one.uid)
    )
    own = [one for one in living if not one.kept]
    fitting = [one for one in own if one.contents == wanted]
    whole = [one for one in fitting if one.image is not None and one.usable_in >= set(regions)]
    newest = whole[-1] if whole else None
    for one in own:
        if one.contents != wanted and one.image is None:
            endings[one.uid] = "Outdated"
        elif one.image is None or one.named:
            continue
        elif wanted is None:
            if unwanted_since is not None and now >= unwanted_since + IN_USE_FOR:
                endings[one.uid] = "NotWanted"
        elif newest is not None and _is_replaced(one, newest, now):
            endings[one.uid] = "Superseded"
    asked_for = [one for one in living if one.kept and one.image is not None]
    for older in asked_for[:-1]:
        if not older.named and _is_replaced(older, asked_for[-1], now):
            endings[older.uid] = "Superseded"
    return Keeping(
        endings,
        wanted is not None and _is_due(fitting, max_age, failed_at, now),
        {
            region: one.image
            for one in fitting
            if one.image is not None and one.uid not in endings
            for region in sorted(one.usable_in)
        },
    )


def _is_replaced(older: KnownBake, newer: KnownBake, now: datetime) -> bool:
    made_at = newer.made_at or newer.begun_at
    return older.begun_at < newer.begun_at and now >= made_at + IN_USE_FOR


def _is_due(
    fitting: Sequence[KnownBake], max_age: timedelta, failed_at: datetime | None, now: datetime
) -> bool:
    if failed_at is not None and now < failed_at + RETRY_AFTER:
        return False
    if any(one.image is None for one in fitting):
        return False
    return all(now >= one.begun_at + max_age for one in fitting)
