"""How DNS records are seen gone: in the way that costs fewer calls, and by no look in doubt."""

import asyncio
from dataclasses import replace
from random import Random

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import DomainRecord
from spawnai.digitalocean.record_listings import RecordListings

DOMAIN = "apps.example"


class Dns:
    """A domain with many records, and the calls that were needed to look at it."""

    def __init__(self, count: int) -> None:
        self.records = {
            n: DomainRecord(n, DOMAIN, "A", f"app-{n}", "192.0.2.1", 30) for n in range(count)
        }
        self.exists = True
        self.looks_by_id = 0
        self.pages = 0
        self.zones = 0
        self.zone_hides: set[int] = set()

    async def list(self, domain, *, priority):
        shown = tuple(self.records.values())
        await asyncio.sleep(0.1)
        if not self.exists:
            raise NotFound("no such domain")
        self.pages += -(-len(shown) // 200)
        return shown

    async def get(self, domain, record_id, *, priority):
        await asyncio.sleep(0.1)
        self.looks_by_id += 1
        return self.records.get(record_id)

    async def zone_names(self, domain, *, priority):
        self.zones += 1
        shown = frozenset(
            f"{record.name}.{domain}"
            for record in self.records.values()
            if record.id not in self.zone_hides
        )
        await asyncio.sleep(0.1)
        return shown

    async def domain_exists(self, domain, *, priority):
        return self.exists


def listings_of(dns: Dns, *, deletions_due: int = 0) -> RecordListings:
    clock = VirtualClock()
    inventory = Inventory(
        dns,
        clock,
        Random(1),
        budget=RateBudget(clock, deletions_due=lambda: deletions_due),
        cluster_tag="cluster:1",
        on_droplet=print,
        on_sweep=print,
        on_gone=print,
    )
    return RecordListings(inventory, dns, clock)


async def gone(listings: RecordListings, record_id: int) -> bool:
    name = f"app-{record_id}.{DOMAIN}"
    return await listings.is_gone(DOMAIN, record_id, name, priority=Priority.PROOF)


@virtual_time
async def test_one_record_of_ten_thousand_is_asked_for_by_its_id():
    dns = Dns(10_000)
    listings = listings_of(dns)
    assert await listings.domain_exists(DOMAIN, priority=Priority.NEW)
    dns.pages = 0
    del dns.records[7]
    assert await gone(listings, 7)
    assert not await gone(listings, 8)
    assert (dns.looks_by_id, dns.pages) == (2, 0)


@virtual_time
async def test_a_thousand_records_are_seen_gone_by_few_calls():
    dns = Dns(2_000)
    listings = listings_of(dns)
    assert await listings.domain_exists(DOMAIN, priority=Priority.NEW)
    dns.pages = 0
    for record_id in range(1_000):
        del dns.records[record_id]
    assert all(await asyncio.gather(*(gone(listings, n) for n in range(1_000))))
    assert dns.looks_by_id + dns.pages <= 20


@virtual_time
async def test_a_domain_of_one_page_is_listed_for_all_who_ask():
    dns = Dns(20)
    listings = listings_of(dns)
    await asyncio.gather(*(gone(listings, n) for n in range(10)))
    assert dns.looks_by_id == 0
    assert dns.pages <= 2


@virtual_time
async def test_with_the_domain_its_records_are_gone():
    dns = Dns(500)
    listings = listings_of(dns)
    await listings.domain_exists(DOMAIN, priority=Priority.NEW)
    dns.exists = False
    assert await asyncio.gather(*(gone(listings, 900 + n) for n in range(5))) == [True] * 5
    assert not await listings.domain_exists(DOMAIN, priority=Priority.NEW)


@virtual_time
async def test_each_whole_listing_replaces_what_was_seen_of_its_domain():
    dns = Dns(2)
    listings = listings_of(dns)
    await listings.look(DOMAIN, priority=Priority.NEW)
    assert listings.seen(DOMAIN, 1) is not None
    del dns.records[1]
    await listings.look(DOMAIN, priority=Priority.NEW)
    assert listings.seen(DOMAIN, 0) is not None
    assert listings.seen(DOMAIN, 1) is None


async def in_a_crowd(count: int = 1_000) -> tuple[Dns, RecordListings]:
    """Two hundred deletions are due, and the zone file was looked at for the first of them."""
    dns = Dns(count)
    listings = listings_of(dns, deletions_due=200)
    assert await listings.domain_exists(DOMAIN, priority=Priority.NEW)
    del dns.records[0]
    assert await gone(listings, 0)
    assert (dns.zones, dns.looks_by_id) == (1, 1), "one look has nothing to be held against"
    dns.pages = dns.looks_by_id = 0
    return dns, listings


@virtual_time
async def test_in_a_crowd_one_zone_file_proves_all_names_that_have_gone():
    dns, listings = await in_a_crowd()
    for number in range(1, 20):
        del dns.records[number]
    assert all(await asyncio.gather(*(gone(listings, n) for n in range(1, 20))))
    assert (dns.zones, dns.looks_by_id, dns.pages) == (2, 0, 0)


@virtual_time
async def test_a_name_that_the_zone_file_still_shows_is_asked_for_by_its_id():
    """It may be another record's too."""
    dns, listings = await in_a_crowd()
    dns.records[-1] = replace(dns.records.pop(5), id=-1)
    assert await asyncio.gather(gone(listings, 5), gone(listings, 6)) == [True, False]
    assert dns.looks_by_id == 2


@pytest.mark.parametrize("hidden", [range(1_000), range(500, 1_000), range(100, 115)], ids=str)
def test_a_zone_file_that_misses_what_has_to_be_there_proves_nothing(hidden):
    @virtual_time
    async def story():
        dns, listings = await in_a_crowd()
        dns.zone_hides = {5, 6, *hidden}
        assert await asyncio.gather(gone(listings, 5), gone(listings, 6)) == [False, False]

    story()


@virtual_time
async def test_a_name_that_no_zone_file_has_shown_is_proven_by_its_own_404():
    dns, listings = await in_a_crowd()
    dns.records[7_000] = DomainRecord(7_000, DOMAIN, "A", "app-7000", "192.0.2.1", 30)
    dns.zone_hides = {7_000}
    assert not await gone(listings, 7_000)
    del dns.records[7_000]
    assert await gone(listings, 7_000)
    assert dns.looks_by_id == 2


@virtual_time
async def test_a_zone_file_that_was_asked_for_before_a_deletion_proves_nothing_of_it():
    dns, listings = await in_a_crowd()
    del dns.records[5]
    first = asyncio.create_task(gone(listings, 5))
    while dns.zones < 2:
        await asyncio.sleep(0.01)
    dns.zone_hides = {6}
    second = asyncio.create_task(gone(listings, 6))
    assert await first
    dns.zone_hides = set()
    assert not await second
    assert dns.zones == 3


@virtual_time
async def test_who_asks_while_a_listing_is_read_shares_the_next_one():
    """What was made meanwhile may be missing in the first; it must not be in the next."""
    dns = Dns(20)
    listings = listings_of(dns)
    early = asyncio.create_task(listings.look(DOMAIN, priority=Priority.DESTROY))
    await asyncio.sleep(0.05)
    dns.records[77] = DomainRecord(77, DOMAIN, "A", "app-77", "192.0.2.1", 30)
    late = [
        asyncio.create_task(listings.look(DOMAIN, priority=Priority.DESTROY)) for _ in range(100)
    ]
    assert 77 not in await early
    assert all(77 in ids for ids in await asyncio.gather(*late))
    assert dns.pages == 2
