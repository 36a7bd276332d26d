"""Load balancers as a kind of external resource: known by their name, which holds the cluster's and
the session's UID.
"""

from collections.abc import Sequence
from decimal import Decimal

from spawnai.api.names import load_balancer_name
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.load_balancers import LoadBalancers
from spawnai.digitalocean.models import LoadBalancer, LoadBalancerOrder
from spawnai.digitalocean.resource import Found


class LoadBalancerResource:
    """Implements `Resource` for load balancers. `price`: dollars for a node and hour."""

    def __init__(self, load_balancers: LoadBalancers, cluster_uid: str, price: Decimal) -> None:
        self._load_balancers = load_balancers
        self._cluster_uid = cluster_uid
        self._price = price

    async def create(self, order: LoadBalancerOrder, turn: Slot) -> Found:
        """Order it. It is new, without an address, for minutes."""
        return self._found(await self._load_balancers.create(order, priority=turn))

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """The one of that name: names are unique."""
        listed = await self._load_balancers.list(priority=Priority.RUNNING)
        return [self._found(one) for one in listed if one.name == name]

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:
        """By its name."""
        shown = await self._load_balancers.get(line.id, priority=priority)
        return None if shown is None else shown.name == load_balancer_name(self._cluster_uid, owner)

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:  # noqa: ARG002
        """No listing is kept."""
        return False

    async def delete(self, line: LedgerEntry) -> bool:
        """By its id."""
        return await self._load_balancers.delete(line.id, priority=Priority.DESTROY)

    async def is_gone(self, line: LedgerEntry) -> bool:
        """By DigitalOcean's own 404."""
        return await self._load_balancers.get(line.id, priority=Priority.PROOF) is None

    async def is_unlisted(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """A listing proves no more than the 404."""
        return False

    def _found(self, shown: LoadBalancer) -> Found:
        return Found(load_balancer_line(shown, self._price), shown)


def load_balancer_line(shown: LoadBalancer, price: Decimal) -> LedgerEntry:
    """A load balancer as a line of its session's ledger. `price`: dollars for a node and hour.

    Its address is left out: it is entered once it can be used.
    """
    return LedgerEntry(
        kind=ResourceKind.LOAD_BALANCER,
        id=shown.id,
        name=shown.name,
        region=shown.region,
        price_hourly=str(price * shown.nodes),
        created_at=shown.created_at,
    )
