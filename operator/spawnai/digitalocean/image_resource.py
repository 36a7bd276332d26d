"""Baked images as a kind of external resource: known by their name, which holds the UID of the
cluster and their own. DigitalOcean takes a name more than once.
"""

from collections.abc import Sequence
from decimal import Decimal

from spawnai.api.names import image_name
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.images import GIGABYTE_PRICE_MONTHLY, Images
from spawnai.digitalocean.models import Image
from spawnai.digitalocean.resource import Found

_HOURS_BILLED = Decimal(672)
"""The hours of a month that are billed at most, so that a whole month costs the monthly price."""

_PLACES = Decimal("1e-9")

SNAPSHOT = "snapshot"


class ImageResource:
    """Implements `Resource` for baked images. They are made by an action of their builder."""

    def __init__(self, images: Images, cluster_uid: str) -> None:
        self._images = images
        self._cluster_uid = cluster_uid

    async def create(self, order: object, turn: Slot) -> Found:
        """No call makes one: see Droplets.act."""
        raise NotImplementedError

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """All snapshots of that name."""
        listed = await self._images.list_own(priority=Priority.RUNNING)
        return [Found(image_line(one), one) for one in listed if one.name == name]

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:
        """By its name, and that it is a snapshot."""
        image = await self._images.get(int(line.id), priority=priority)
        if image is None:
            return None
        return image.name == image_name(self._cluster_uid, owner) and image.type == SNAPSHOT

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:  # noqa: ARG002
        """No listing is kept."""
        return False

    async def delete(self, line: LedgerEntry) -> bool:
        """By its id, in all its regions."""
        return await self._images.delete(int(line.id), priority=Priority.DESTROY)

    async def is_gone(self, line: LedgerEntry) -> bool:
        """By DigitalOcean's own 404."""
        return await self._images.get(int(line.id), priority=Priority.PROOF) is None

    async def is_unlisted(self, line: LedgerEntry) -> bool:
        """By a whole listing."""
        listed = await self._images.list_own(priority=Priority.DESTROY)
        return all(str(one.id) != line.id for one in listed)


def image_line(image: Image) -> LedgerEntry:
    """An image as a line of its ledger, with what it costs by the hour."""
    price = None
    if image.size_gigabytes is not None:
        exact = GIGABYTE_PRICE_MONTHLY * image.size_gigabytes / _HOURS_BILLED
        price = format(exact.quantize(_PLACES), "f")
    return LedgerEntry(
        kind=ResourceKind.IMAGE,
        id=str(image.id),
        name=image.name,
        price_hourly=price,
        created_at=image.created_at,
    )
