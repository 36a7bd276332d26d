"""DNS records as whole listings of their domain show them, one listing for all who ask."""

from collections import Counter

from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.listing import pages_of
from spawnai.digitalocean.models import DomainRecord
from spawnai.digitalocean.shared import SharedLook
from spawnai.digitalocean.zones import Zones

RECORD_LISTING_SECONDS = 1.0
"""Between two listings of a domain's records, for each page that they take."""


class RecordListings:
    """DNS records as whole listings of their domain show them, one listing for all who ask."""

    def __init__(self, inventory: Inventory, records: DomainRecords, clock: Clock) -> None:
        self._inventory = inventory
        self._records = records
        self._clock = clock
        self._asking: Counter[str] = Counter()
        self._looks: dict[tuple[str, Priority], SharedLook[set[int]]] = {}
        self._pages: dict[str, int] = {}
        self._seen: dict[str, dict[int, DomainRecord]] = {}
        self._zones = Zones(records, clock, inventory.proof_pause)

    async def look(self, domain: str, *, priority: Priority) -> set[int]:
        """The ids of all records, from a listing that begins after this call.

        A domain of a thousand names costs five calls, so it is listed every few seconds at most,
        and whoever asks meanwhile shares the next listing.
        """
        key = (domain, priority)
        if key not in self._looks:
            self._looks[key] = SharedLook(
                lambda: self._list(domain, priority),
                self._clock,
                lambda: self._pause(domain, priority),
            )
        return await self._looks[key].get()

    async def _list(self, domain: str, priority: Priority) -> set[int]:
        records = await self._records.list(domain, priority=priority)
        self._pages[domain] = pages_of(len(records))
        self._seen[domain] = {record.id: record for record in records}
        return set(self._seen[domain])

    def _pause(self, domain: str, priority: Priority) -> float:
        pause = RECORD_LISTING_SECONDS * self._pages.get(domain, 1)
        return max(pause, self._inventory.proof_pause()) if priority is Priority.PROOF else pause

    async def is_gone(self, domain: str, record_id: int, name: str, *, priority: Priority) -> bool:
        """Whether DigitalOcean does not show the record any more, whose full name that is.

        Found out in the way that costs fewer calls: by its id, or, once as many ask as a listing
        has pages, by one listing for all of them; in a crowd by the zone file, where that proves
        it.
        """
        try:
            if self._inventory.is_crowded and await self._zones.is_gone(domain, name):
                return True
            return await self._is_unlisted(domain, record_id, priority)
        except NotFound:  # the domain itself has gone
            return True

    async def _is_unlisted(self, domain: str, record_id: int, priority: Priority) -> bool:
        self._asking[domain] += 1
        try:
            if self._asking[domain] < self._pages.get(domain, 1):
                return await self._records.get(domain, record_id, priority=priority) is None
            return record_id not in await self.look(domain, priority=priority)
        finally:
            self._asking[domain] -= 1

    async def domain_exists(self, domain: str, *, priority: Priority) -> bool:
        """Whether the account's DNS serves the domain.

        The first time all of its records are looked at: after a restart they have then shown whose
        they are, and an expiry need not ask first.
        """
        if domain in self._pages:
            return await self._records.domain_exists(domain, priority=priority)
        try:
            await self.look(domain, priority=priority)
        except NotFound:
            return False
        return True

    def seen(self, domain: str, record_id: int) -> DomainRecord | None:
        """The record as the domain's last listing showed it; None: it was not in it."""
        return self._seen.get(domain, {}).get(record_id)

    def forget(self, domain: str, record_id: int) -> None:
        """The record was seen gone."""
        self._seen.get(domain, {}).pop(record_id, None)

    def cancel(self) -> None:
        """End the looks that are under way."""
        self._zones.cancel()
        for look in self._looks.values():
            look.cancel()
