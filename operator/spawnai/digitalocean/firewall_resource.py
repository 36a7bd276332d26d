"""Firewalls as a kind of external resource: known by their name, which DigitalOcean keeps unique
and which holds the UID of whom it was made for.
"""

from collections.abc import Sequence

from spawnai.api.names import class_firewall_name, session_firewall_name
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.models import Firewall, FirewallOrder
from spawnai.digitalocean.resource import Found


class FirewallResource:
    """Implements `Resource` for firewalls, of a session or of a class."""

    def __init__(self, firewalls: Firewalls, clock: Clock) -> None:
        self._firewalls = firewalls
        self._clock = clock

    async def create(self, order: FirewallOrder, turn: Slot) -> Found:
        """Make it; its tags must exist."""
        return self._found(await self._firewalls.create(order, priority=turn))

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """The one of that name."""
        listed = await self._firewalls.list(priority=Priority.RUNNING)
        return [self._found(one) for one in listed if one.name == name]

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:
        """By its name."""
        firewall = await self._firewalls.get(line.id, priority=priority)
        if firewall is None:
            return None
        return firewall.name in (session_firewall_name(owner), class_firewall_name(owner))

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:  # noqa: ARG002
        """No listing is kept."""
        return False

    async def delete(self, line: LedgerEntry) -> bool:
        """By its id."""
        return await self._firewalls.delete(line.id, priority=Priority.DESTROY)

    async def is_gone(self, line: LedgerEntry) -> bool:
        """By DigitalOcean's own 404."""
        return await self._firewalls.get(line.id, priority=Priority.PROOF) is None

    async def is_unlisted(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """A listing proves no more than the 404."""
        return False

    def _found(self, firewall: Firewall) -> Found:
        line = LedgerEntry(
            kind=ResourceKind.FIREWALL,
            id=firewall.id,
            name=firewall.name,
            created_at=self._clock.utc_now().replace(microsecond=0),
        )
        return Found(line, firewall)
