"""DNS records as whole listings of their domain show them, one listing for all who ask."""

from collections import Counter

from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.listing import PER_PAGE
from spawnai.digitalocean.models import DomainRecord

RECORD_LISTING_SECONDS = 1.0
"""Between two listings of a domain's records, for each page that they take."""


class RecordListings:
    """DNS records as whole listings of their domain show them, one listing for all who ask."""

    def __init__(self, inventory: Inventory, records: DomainRecords, clock: Clock) -> None:
        self._inventory = inventory
        self._records = records
        self._clock = clock
        self._asking: Counter[str] = Counter()
        self._next: dict[str, float] = {}
        self._pages: dict[str, int] = {}
        self._seen: dict[str, dict[int, DomainRecord]] = {}

    async def look(self, domain: str, *, priority: Priority) -> set[int]:
        """The ids of all records, from a listing that begins after this call.

        A domain of a thousand names costs five calls, so it is listed every few seconds at most,
        and whoever asks meanwhile shares the next listing.
        """
        wait = self._next.get(domain, 0.0) - self._clock.now()
        if wait > 0:
            await self._clock.sleep(wait)
        pause = RECORD_LISTING_SECONDS * self._pages.get(domain, 1)
        self._next[domain] = max(self._next.get(domain, 0.0), self._clock.now() + pause)
        records = await self._inventory.verify_records(domain, priority=priority)
        self._pages[domain] = max(1, -(-len(records) // PER_PAGE))
        self._seen[domain] = {record.id: record for record in records}
        return set(self._seen[domain])

    async def is_gone(self, domain: str, record_id: int, *, priority: Priority) -> bool:
        """Whether DigitalOcean does not show the record any more.

        Found out in the way that costs fewer calls: by its id, or, once as many ask as a listing
        has pages, by one listing for all of them.
        """
        self._asking[domain] += 1
        try:
            if self._asking[domain] < self._pages.get(domain, 1):
                return await self._records.get(domain, record_id, priority=priority) is None
            return record_id not in await self.look(domain, priority=priority)
        except NotFound:  # the domain itself has gone
            return True
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
