"""When a firewall is in force for a droplet: one look for all sessions that wait for it."""

from collections import Counter

from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import Firewall
from spawnai.digitalocean.shared import SharedLook, affordable_pause

FIREWALL_POLL_SECONDS = 0.5
SLOWEST_FIREWALL_POLL_SECONDS = 10.0
"""Between two looks at one firewall, for all who wait for it: with plenty of calls, with few."""


class NotCovered(Exception):
    """A firewall does not cover a droplet, and no change of it is pending. Its text says why."""


class FirewallWatch:
    """Looks at a firewall once for all sessions that wait for it."""

    def __init__(
        self, firewalls: Firewalls, droplets: Droplets, inventory: Inventory, budget: RateBudget
    ) -> None:
        self._firewalls = firewalls
        self._droplets = droplets
        self._inventory = inventory
        self._budget = budget
        self._clock = budget.clock
        self._looks: dict[str, SharedLook[Firewall | None]] = {}
        self._waiting: Counter[str] = Counter()

    async def in_force(self, firewall_id: str, droplet_id: int) -> bool:
        """Return True once the firewall covers the droplet, False when it does not exist.

        Each look begins after the call, so it knows of the droplet. The caller sets the limit.

        Raises:
            NotCovered: no change is on its way that would make the firewall cover the droplet.
            DigitalOceanError: a look failed.
        """
        if firewall_id not in self._looks:
            self._looks[firewall_id] = SharedLook(
                lambda: self._firewalls.get(firewall_id, priority=Priority.NEW),
                self._clock,
                lambda: affordable_pause(
                    self._budget, FIREWALL_POLL_SECONDS, SLOWEST_FIREWALL_POLL_SECONDS
                ),
            )
        self._waiting[firewall_id] += 1
        try:
            while True:
                # Known before the look begins: a tag that comes later may bring a change that the
                # look does not show.
                tags = self._tags_of(droplet_id)
                firewall = await self._looks[firewall_id].get()
                if firewall is None:
                    return False
                if droplet_id in firewall.pending_droplet_ids:
                    continue
                if droplet_id in firewall.droplet_ids or tags & firewall.tags:
                    return True
                await self._look_for_tags(firewall, droplet_id)
        finally:
            self._waiting[firewall_id] -= 1
            if not self._waiting[firewall_id]:
                del self._waiting[firewall_id], self._looks[firewall_id]

    def _tags_of(self, droplet_id: int) -> frozenset[str]:
        """The tags that the droplet has shown: they may be applied later than it is made, or
        never, so what was ordered is no proof.
        """
        droplet = self._inventory.known(droplet_id)
        return droplet.tags if droplet is not None else frozenset()

    async def _look_for_tags(self, firewall: Firewall, droplet_id: int) -> None:
        droplet = await self._droplets.get(droplet_id, priority=Priority.NEW)
        if droplet is not None:
            self._inventory.saw(droplet)
        if droplet is None or not droplet.tags & firewall.tags:
            raise NotCovered(
                f"firewall {firewall.id} does not cover droplet {droplet_id}, which has none of "
                f"its tags ({', '.join(sorted(firewall.tags))})"
            )
