"""The account's own images: snapshots of droplets, and images that were uploaded.

A snapshot exists in the region of its droplet only; the image action `transfer` takes it to others.
It fits on disks of at least the size it was made on. Its action does not tell its id: it is found
by its name in the droplet's snapshots.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.state.actions import Action, Actions
from spawnai_local.digitalocean.state.bill import IMAGE_GIGABYTE_HOURLY, Bill, OtherLine
from spawnai_local.digitalocean.state.catalogue import REGIONS, Catalogue, Image
from spawnai_local.digitalocean.world import World

FIRST_IMAGE_ID = 210_000_000
SNAPSHOT_GIGABYTES = 2.58
UPLOADED_GIGABYTES = 1.5


@dataclass(slots=True)
class Images:
    """All images that the account made."""

    world: World
    catalogue: Catalogue
    actions: Actions
    bill: Bill
    on_deleted: Callable[[int], None] = lambda _image_id: None
    """Told of each image that is gone."""
    _of_droplet: dict[int, list[int]] = field(default_factory=dict)
    _transfers: dict[int, Action] = field(default_factory=dict)
    """The transfer under way of each image."""

    def all(self) -> list[Image]:
        """Return the account's own images in the order they were made."""
        return list(self.catalogue.own_images.values())

    def get(self, identifier: str) -> Image:
        """Return an image of the account by id.

        Raises:
            ApiError: 404, there is no such image.
        """
        found = self.catalogue.own_images.get(int(identifier)) if identifier.isdigit() else None
        if found is None:
            raise errors.not_found()
        return found

    def of_droplet(self, droplet_id: int) -> list[Image]:
        """Return the snapshots that were made of a droplet."""
        own = self.catalogue.own_images
        return [own[one] for one in self._of_droplet.get(droplet_id, ()) if one in own]

    def snapshot(self, droplet_id: int, name: str, base: Image, region: str, disk: int) -> Image:
        """Keep the disk of a droplet as an image."""
        made = Image(
            id=self.world.number("image", FIRST_IMAGE_ID),
            slug=None,
            name=name,
            distribution=base.distribution,
            type="snapshot",
            public=False,
            regions=(region,),
            created_at=timestamp(self.world.now()),
            min_disk_size=disk,
            size_gigabytes=SNAPSHOT_GIGABYTES,
            droplet_id=droplet_id,
        )
        self._of_droplet.setdefault(droplet_id, []).append(made.id)
        self._keep(made)
        return made

    def upload(self, order: dict[str, Any]) -> Image:
        """Begin to import an image from an address; it is pending, then available.

        Raises:
            ApiError: 422, the order is wrong.
        """
        name, region = order.get("name"), order.get("region")
        if not isinstance(name, str) or not name or not order.get("url"):
            raise errors.unprocessable("name and url can't be blank")
        if region not in REGIONS:
            raise errors.unprocessable("region is invalid")
        made = Image(
            id=self.world.number("image", FIRST_IMAGE_ID),
            slug=None,
            name=name,
            distribution=str(order.get("distribution") or "Unknown"),
            type="custom",
            public=False,
            regions=(str(region),),
            created_at=timestamp(self.world.now()),
            min_disk_size=10,
            size_gigabytes=UPLOADED_GIGABYTES,
            status="NEW",
        )
        self._keep(made)
        self.world.timeline.after(
            self.world.draw(self.world.delays.transfer), lambda: self._available(made)
        )
        return made

    def rename(self, image: Image, order: dict[str, Any]) -> None:
        """Give an image another name.

        Raises:
            ApiError: 422, that is no name.
        """
        name = order.get("name")
        if not isinstance(name, str) or not name:
            raise errors.unprocessable("name can't be blank")
        image.name = name
        self.catalogue.describe(image)

    def transfer(self, image: Image, order: dict[str, Any], *, errored: bool = False) -> Action:
        """Begin to copy an image to another region.

        Raises:
            ApiError: 422, the region is none or has it already, or a transfer is under way.
        """
        if order.get("type") != "transfer":
            raise errors.unprocessable(f"{order.get('type')!r} is no action that is emulated here")
        region = order.get("region")
        if region not in REGIONS:
            raise errors.unprocessable("region is invalid")
        if region in image.regions:
            raise errors.unprocessable("Image is already available in this region.")
        if image.id in self._transfers:
            raise errors.unprocessable("Image already has a pending event.")
        action = self.actions.begin("transfer", image.id, str(region), "image")
        self._transfers[image.id] = action

        def done() -> None:
            del self._transfers[image.id]
            gone = image.id not in self.catalogue.own_images
            self.actions.end(action, "errored" if gone or errored else "completed")
            if action.status == "completed":
                image.regions = (*image.regions, str(region))
                self.catalogue.describe(image)
                self.world.record("image transferred", image.id, name=image.name, region=region)

        self.world.timeline.after(self.world.draw(self.world.delays.transfer), done)
        return action

    def delete(self, image: Image) -> None:
        """Take an image away, in all its regions."""
        del self.catalogue.own_images[image.id]
        self.bill.end_other("image", str(image.id))
        self.on_deleted(image.id)
        self.world.record("image deleted", image.id, name=image.name)

    def _keep(self, image: Image) -> None:
        self.catalogue.own_images[image.id] = image
        self.catalogue.describe(image)
        self.bill.begin_other(
            OtherLine(
                "image",
                str(image.id),
                image.name,
                IMAGE_GIGABYTE_HOURLY * image.gigabytes,
                self.world.now(),
            )
        )
        self.world.record("image created", image.id, name=image.name)

    def _available(self, image: Image) -> None:
        image.status = "available"
        self.catalogue.describe(image)


def snapshot_document(image: Image) -> dict[str, Any]:
    """Return an image as `/v2/snapshots` shows it."""
    return {
        "id": str(image.id),
        "name": image.name,
        "created_at": image.created_at,
        "regions": list(image.regions),
        "min_disk_size": image.min_disk_size,
        "size_gigabytes": image.size_gigabytes,
        "resource_id": str(image.droplet_id),
        "resource_type": "droplet",
        "tags": [],
    }


def droplet_snapshot_document(image: Image) -> dict[str, Any]:
    """Return an image as a droplet's list of snapshots shows it."""
    return {
        "id": image.id,
        "name": image.name,
        "created_at": image.created_at,
        "regions": list(image.regions),
        "min_disk_size": image.min_disk_size,
        "size_gigabytes": image.size_gigabytes,
        "type": "snapshot",
    }
