"""How DNS records are seen gone: in the way that costs fewer calls."""

import asyncio
from random import Random

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

    async def list(self, domain, *, priority):
        await asyncio.sleep(0.1)
        if not self.exists:
            raise NotFound("no such domain")
        self.pages += -(-len(self.records) // 200)
        return tuple(self.records.values())

    async def get(self, domain, record_id, *, priority):
        await asyncio.sleep(0.1)
        self.looks_by_id += 1
        return self.records.get(record_id)

    async def domain_exists(self, domain, *, priority):
        return self.exists


def listings_of(dns: Dns) -> RecordListings:
    clock = VirtualClock()
    inventory = Inventory(
        dns,
        dns,
        clock,
        Random(1),
        budget=RateBudget(clock),
        cluster_tag="cluster:1",
        on_droplet=print,
        on_sweep=print,
        on_gone=print,
    )
    return RecordListings(inventory, dns, clock)


async def gone(listings: RecordListings, record_id: int) -> bool:
    return await listings.is_gone(DOMAIN, record_id, priority=Priority.PROOF)


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
