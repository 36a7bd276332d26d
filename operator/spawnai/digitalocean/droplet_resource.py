"""Droplets as a kind of external resource: known by all of our tags, never by their name alone."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from spawnai.api.names import cluster_tag, owner_of, session_tag
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.errors import Busy
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import Droplet, DropletOrder
from spawnai.digitalocean.resource import Found


class DropletResource:
    """Implements `Resource` for droplets. `prices`: dollars an hour, by size."""

    def __init__(
        self,
        droplets: Droplets,
        inventory: Inventory,
        cluster_uid: str,
        prices: Mapping[str, Decimal],
    ) -> None:
        self._droplets = droplets
        self._inventory = inventory
        self._cluster_uid = cluster_uid
        self._prices = prices

    async def create(self, order: DropletOrder, turn: Slot) -> Found:
        """Order a droplet. Its tags may show some seconds later."""
        return self._found(await self._droplets.create(order, priority=turn))

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """Those of that name that bear all of our marks: names are not unique."""
        listed = await self._droplets.list_by_name(name, priority=Priority.RUNNING)
        return [
            self._found(droplet)
            for droplet in listed
            if owner_of(droplet.name, droplet.tags, self._cluster_uid) == owner
        ]

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:
        """By the tags of its session (or of the spare that it was) and its cluster."""
        known = {droplet.id: droplet for droplet in self._inventory.snapshot_of(owner)}
        droplet = known.get(int(line.id))
        if droplet is None:
            droplet = await self._droplets.get(int(line.id), priority=priority)
        if droplet is None:
            return None
        marks = {session_tag(one) for one in (owner, line.spare) if one is not None}
        return cluster_tag(self._cluster_uid) in droplet.tags and bool(marks & droplet.tags)

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:  # noqa: ARG002
        """Nobody can take another one's id."""
        return False

    async def delete(self, line: LedgerEntry) -> bool:
        """The inventory then expects to miss it.

        One that was just seen locked is not asked: DigitalOcean would refuse.
        """
        if self._inventory.is_locked(int(line.id)):
            raise Busy(
                f"droplet {line.id} is locked: another action is running on it",
                endpoint="DELETE /v2/droplets/{id}",
            )
        accepted = await self._droplets.delete(int(line.id), priority=Priority.DESTROY)
        self._inventory.leaving(int(line.id))
        return accepted

    async def is_gone(self, line: LedgerEntry) -> bool:
        """By a whole listing for all who ask, or by DigitalOcean's own 404."""
        return await self._inventory.is_gone(int(line.id))

    async def is_unlisted(self, line: LedgerEntry) -> bool:
        """After the settling time a listing by name is trusted, as it is before a second POST."""
        listed = await self._droplets.list_by_name(line.name, priority=Priority.DESTROY)
        return all(str(droplet.id) != line.id for droplet in listed)

    def _found(self, droplet: Droplet) -> Found:
        return Found(droplet_line(droplet, self._prices), droplet)


def droplet_line(droplet: Droplet, prices: Mapping[str, Decimal]) -> LedgerEntry:
    """A droplet as a line of its session's ledger. `prices`: dollars an hour, by size."""
    price = droplet.price_hourly
    if price is None:
        price = prices.get(droplet.size)
    return LedgerEntry(
        kind=ResourceKind.DROPLET,
        id=str(droplet.id),
        name=droplet.name,
        region=droplet.region,
        size=droplet.size,
        ip=droplet.public_ip,
        price_hourly=str(price) if price is not None else None,
        created_at=droplet.created_at,
    )
