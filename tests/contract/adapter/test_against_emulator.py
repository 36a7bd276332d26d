"""The adapter's promises on an emulated account, with faults before and after the effect."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from spawnai.clock import SystemClock
from spawnai.digitalocean import errors
from spawnai.digitalocean.account import Catalog
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.digitalocean.firewalls import differs, session_rules
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import DropletOrder, FirewallOrder
from spawnai_local.digitalocean import Limits, Settings

NEW, DESTROY = Priority.NEW, Priority.DESTROY
SESSION = "0a1b2c3d-0000-4000-8000-000000000001"
CLUSTER = "cluster:1f0e"
WAVE = "wave:202611011200"
DOMAIN = "example.com"


def order(session: str = SESSION, **changes) -> DropletOrder:
    made = DropletOrder(
        name=f"spawn-{session}",
        region="nyc3",
        size="s-1vcpu-1gb",
        image="ubuntu-24-04-x64",
        user_data="#cloud-config\n",
        tags=("spawn-ai", "ephemeral", f"session:{session}", CLUSTER, WAVE),
    )
    return replace(made, **changes)


async def test_a_droplet_is_made_seen_listed_and_gone(adapter, control):
    made = await adapter.droplets.create(order(), priority=NEW)
    assert made.public_ip is None
    seen = await adapter.droplets.get(made.id, priority=NEW)
    assert seen.status == "active"
    assert seen.public_ip is not None
    assert seen.price_hourly == Decimal("0.00893")
    assert seen.tags >= {f"session:{SESSION}", CLUSTER}
    assert await adapter.droplets.list_by_tag(f"session:{SESSION}", priority=NEW) == (seen,)
    assert await adapter.droplets.list_by_name(f"spawn-{SESSION}", priority=NEW) == (seen,)
    assert await adapter.droplets.list_by_tag("session:nobody", priority=NEW) == ()
    assert await adapter.droplets.delete(made.id, priority=DESTROY) is True
    assert await adapter.droplets.get(made.id, priority=DESTROY) is None
    assert await adapter.droplets.delete(made.id, priority=DESTROY) is False
    assert (await control.state())["droplets"] == []


async def test_the_address_is_the_public_one_also_when_a_private_one_comes_first(adapter):
    ips = set()
    for number in range(12):
        made = await adapter.droplets.create(order(f"s-{number}"), priority=NEW)
        ips.add((await adapter.droplets.get(made.id, priority=NEW)).public_ip)
    assert len(ips) == 12
    assert not any(ip.startswith("10.") for ip in ips)


class TestManyDroplets:
    @pytest.fixture
    def settings(self, settings) -> Settings:
        limits = Limits(droplets=1_000, requests_per_minute=5_000, requests_per_hour=50_000)
        return replace(settings, limits=limits)

    async def test_a_listing_of_three_pages_is_whole(self, adapter, control):
        adapter.api.budget.per_minute = 5_000
        names = [f"s-{number}" for number in range(450)]
        await asyncio.gather(
            *(adapter.droplets.create(order(name), priority=DESTROY) for name in names)
        )
        await control.reset_calls()
        listed = await adapter.droplets.list_by_tag(CLUSTER, priority=NEW)
        assert {droplet.name for droplet in listed} == {f"spawn-{name}" for name in names}
        page = await adapter.droplets.list_page(CLUSTER, 3, priority=NEW)
        assert (len(page.items), page.total, page.is_last) == (50, 450, True)
        first = await adapter.droplets.list_page(CLUSTER, 1, priority=NEW)
        assert (len(first.items), first.total, first.is_last) == (200, 450, False)

    async def test_deletions_while_a_listing_is_read_lose_none_of_the_others(self, adapter):
        adapter.api.budget.per_minute = 5_000
        made = await asyncio.gather(
            *(adapter.droplets.create(order(f"s-{n}"), priority=DESTROY) for n in range(450))
        )
        staying = {droplet.id for droplet in made[40:]}
        deletions = [
            asyncio.create_task(adapter.droplets.delete(droplet.id, priority=DESTROY))
            for droplet in made[:40]
        ]
        for _ in range(5):
            try:
                listed = await adapter.droplets.list_by_tag(CLUSTER, priority=DESTROY)
            except errors.Unavailable:
                continue
            assert {droplet.id for droplet in listed} >= staying
        assert all(await asyncio.gather(*deletions))
        listed = await adapter.droplets.list_by_tag(CLUSTER, priority=DESTROY)
        assert {droplet.id for droplet in listed} == staying


FAULTS_OF_A_POST = [
    ("error_before status=500", errors.Ambiguous, 0),
    ("error_after status=500", errors.Ambiguous, 1),
    ("error_after status=502", errors.Ambiguous, 1),
    ("error_before status=503", errors.Ambiguous, 0),
    ("timeout_before", errors.Ambiguous, 0),
    ("timeout_after", errors.Ambiguous, 1),
    ("cut_before", errors.Ambiguous, 0),
    ("cut_after", errors.Ambiguous, 1),
    ("rate_limited seconds=1", errors.RateLimited, 0),
    ("error_before status=401", errors.Unauthorized, 0),
    ("slow seconds=0.2", None, 1),
]


@pytest.mark.parametrize(("fault", "expected", "made"), FAULTS_OF_A_POST)
async def test_a_creation_is_sent_once_and_says_whether_it_may_have_happened(
    adapter, control, fault, expected, made
):
    await control.add_faults(f"POST /v2/droplets {fault} times=0")
    if expected is None:
        await adapter.droplets.create(order(), priority=NEW)
    else:
        with pytest.raises(expected):
            await adapter.droplets.create(order(), priority=NEW)
    assert [one["matched"] for one in await control.faults()] == [1]
    assert len((await control.state())["droplets"]) == made


@pytest.mark.parametrize("fault", ["error_before status=500", "timeout_before", "cut_before"])
async def test_a_deletion_that_did_not_happen_is_unavailable_and_works_when_repeated(
    adapter, control, fault
):
    made = await adapter.droplets.create(order(), priority=NEW)
    # Twice, because a connection that is cut is used once more for a deletion.
    await control.add_faults(f"DELETE /v2/droplets/{{droplet_id}} {fault} times=2")
    with pytest.raises(errors.Unavailable):
        await adapter.droplets.delete(made.id, priority=DESTROY)
    await control.clear_faults()
    assert await adapter.droplets.delete(made.id, priority=DESTROY) is True


@pytest.mark.parametrize("fault", ["error_after status=500", "timeout_after"])
async def test_a_deletion_that_happened_unseen_is_gone_when_repeated(adapter, control, fault):
    made = await adapter.droplets.create(order(), priority=NEW)
    await control.add_faults(f"DELETE /v2/droplets/{{droplet_id}} {fault}")
    with pytest.raises(errors.Unavailable):
        await adapter.droplets.delete(made.id, priority=DESTROY)
    assert await adapter.droplets.delete(made.id, priority=DESTROY) is False


async def test_what_the_account_cannot_give_is_told_apart(adapter, control):
    await control.set_capacity(closed_regions=("sfo3",), sold_out=(("nyc3", "s-1vcpu-1gb"),))
    with pytest.raises(errors.NoCapacity):
        await adapter.droplets.create(order(), priority=NEW)
    with pytest.raises(errors.NoCapacity):
        await adapter.droplets.create(order(region="sfo3"), priority=NEW)
    for unknown in ({"region": "moon1"}, {"size": "s-0"}, {"image": "no-such-image"}):
        with pytest.raises(errors.UnknownOption) as refusal:
            await adapter.droplets.create(order(**unknown), priority=NEW)
        assert [refusal.value.option] == list(unknown)
    await control.set_limits(droplets=1)
    await adapter.droplets.create(order(region="ams3"), priority=NEW)
    with pytest.raises(errors.OverQuota, match="will exceed your droplet limit"):
        await adapter.droplets.create(order(region="ams3"), priority=NEW)
    assert (await adapter.catalog.account(priority=NEW)).status == "active"


async def test_a_droplet_that_is_busy_is_deleted_later(adapter, control):
    await control.set_delays(boot=0.4)
    made = await adapter.droplets.create(order(), priority=NEW)
    with pytest.raises(errors.Busy):
        await adapter.droplets.delete(made.id, priority=DESTROY)
    async with asyncio.timeout(5):
        while (await adapter.droplets.get(made.id, priority=NEW)).status != "active":
            await asyncio.sleep(0.05)
    assert await adapter.droplets.delete(made.id, priority=DESTROY) is True


async def test_a_wrong_token_is_said_so(emulator):
    api = ApiClient("another-token", emulator.url, RateBudget(SystemClock()))
    with pytest.raises(errors.Unauthorized, match="Unable to authenticate"):
        await Catalog(api).account(priority=NEW)
    await api.close()


async def test_records_are_made_found_listed_and_gone(adapter, control):
    await control.seed(domains=[{"name": DOMAIN}])
    assert await adapter.records.domain_exists(DOMAIN, priority=NEW)
    assert not await adapter.records.domain_exists("nobody.example", priority=NEW)
    made = await adapter.records.create(DOMAIN, "app-7f3a", "192.0.2.7", 30, priority=NEW)
    twin = await adapter.records.create(DOMAIN, "app-7f3a", "192.0.2.7", 30, priority=NEW)
    assert (made.name, made.data, made.ttl, made.type) == ("app-7f3a", "192.0.2.7", 30, "A")
    assert made.id != twin.id, "DigitalOcean accepts the same record twice"
    found = await adapter.records.find(f"app-7f3a.{DOMAIN}", DOMAIN, priority=NEW)
    assert set(found) == {made, twin}
    assert set(await adapter.records.list(DOMAIN, priority=NEW)) == {made, twin}
    assert await adapter.records.get(DOMAIN, made.id, priority=NEW) == made
    assert await adapter.records.delete(DOMAIN, made.id, priority=DESTROY) is True
    assert await adapter.records.delete(DOMAIN, made.id, priority=DESTROY) is False
    assert await adapter.records.get(DOMAIN, made.id, priority=NEW) is None
    assert f"app-7f3a.{DOMAIN}" in await adapter.records.zone_names(DOMAIN, priority=NEW)
    assert await adapter.records.delete(DOMAIN, twin.id, priority=DESTROY) is True
    assert await adapter.records.zone_names(DOMAIN, priority=NEW) == {DOMAIN}
    with pytest.raises(errors.NotFound):
        await adapter.records.create("nobody.example", "a", "192.0.2.7", 30, priority=NEW)


async def test_a_record_without_an_answer_is_found_by_looking(adapter, control):
    await control.seed(domains=[{"name": DOMAIN}])
    await control.add_faults("POST /v2/domains/{domain_name}/records cut_after")
    with pytest.raises(errors.Ambiguous):
        await adapter.records.create(DOMAIN, "app", "192.0.2.7", 30, priority=NEW)
    (found,) = await adapter.records.find(f"app.{DOMAIN}", DOMAIN, priority=NEW)
    assert found.data == "192.0.2.7"


async def test_a_firewall_is_made_covers_a_tag_is_compared_updated_and_gone(adapter):
    inbound, outbound = session_rules(agent_port=8443)
    wanted = FirewallOrder("fw-spawn-class-1", inbound, outbound, tags=("class:1",))
    with pytest.raises(errors.Refused):
        await adapter.firewalls.create(wanted, priority=NEW)
    await adapter.firewalls.ensure_tag("class:1", priority=NEW)
    await adapter.firewalls.ensure_tag("class:1", priority=NEW)
    made = await adapter.firewalls.create(wanted, priority=NEW)
    assert not differs(wanted, made)
    seen = await adapter.firewalls.get(made.id, priority=NEW)
    assert seen.status == "succeeded"
    assert not differs(wanted, seen), "a stable firewall causes no write"
    with pytest.raises(errors.AlreadyExists):
        await adapter.firewalls.create(wanted, priority=NEW)
    inbound, outbound = session_rules(
        agent_port=8443, operator_addresses=["203.0.113.7"], ssh_from_private_ranges=True
    )
    changed = replace(wanted, inbound=inbound)
    assert differs(changed, seen)
    await adapter.firewalls.update(made.id, changed, priority=NEW)
    assert not differs(changed, await adapter.firewalls.get(made.id, priority=NEW))
    assert [one.id for one in await adapter.firewalls.list(priority=NEW)] == [made.id]
    assert await adapter.firewalls.delete(made.id, priority=DESTROY) is True
    assert await adapter.firewalls.delete(made.id, priority=DESTROY) is False
    assert await adapter.firewalls.get(made.id, priority=NEW) is None
    with pytest.raises(errors.NotFound):
        await adapter.firewalls.update(made.id, changed, priority=NEW)


async def test_a_firewall_tells_which_droplets_its_change_has_not_reached(adapter, control):
    await control.set_delays(firewall=0.3)
    made = await adapter.droplets.create(order(), priority=NEW)
    inbound, outbound = session_rules(agent_port=8443)
    own = FirewallOrder(f"fw-spawn-{SESSION}", inbound, outbound, droplet_ids=(made.id,))
    firewall = await adapter.firewalls.create(own, priority=NEW)
    assert (firewall.status, firewall.pending_droplet_ids) == ("waiting", {made.id})
    async with asyncio.timeout(5):
        while firewall.status != "succeeded":
            await asyncio.sleep(0.05)
            firewall = await adapter.firewalls.get(firewall.id, priority=NEW)
    assert firewall.pending_droplet_ids == frozenset()
    assert not differs(own, firewall)


async def test_all_sizes_of_the_design_have_a_price_and_a_region(adapter):
    sizes = await adapter.catalog.sizes(priority=NEW)
    for slug, price in [
        ("s-1vcpu-1gb", "0.00893"),
        ("s-2vcpu-2gb", "0.02679"),
        ("s-2vcpu-4gb", "0.03571"),
    ]:
        assert sizes[slug].price_hourly == Decimal(price)
        assert sizes[slug].available
        assert sizes[slug].regions


async def test_the_budget_knows_what_another_program_took(adapter, control):
    await control.spend_requests("local-token", 200)
    await adapter.catalog.account(priority=NEW)
    assert adapter.api.budget.remaining == 5_000 - 201


async def test_a_full_minute_is_a_429_that_pauses_the_rest(adapter, control):
    await control.spend_requests("local-token", 250)
    with pytest.raises(errors.RateLimited) as caught:
        await adapter.droplets.create(order(), priority=NEW)
    assert 50 <= caught.value.retry_after_seconds <= 60
    assert adapter.api.budget.paused_seconds > 45
    waiting = asyncio.create_task(adapter.droplets.create(order(), priority=NEW))
    await asyncio.sleep(0.2)
    assert adapter.api.budget.waiting(NEW) == 1
    # The minute is over early: the first deletion finds out, and everyone goes on.
    await control.reset_limits()
    assert await adapter.droplets.delete(1, priority=DESTROY) is False
    assert (await waiting).name == f"spawn-{SESSION}"


async def test_a_new_droplet_that_lists_late_is_told_as_soon_as_it_shows(adapter, control):
    await control.set_delays(listing=0.5, network=0.2, boot=0.3)
    told: list[tuple[str, bool]] = []
    inventory = Inventory(
        adapter.droplets,
        SystemClock(),
        random.Random(1),
        budget=adapter.api.budget,
        cluster_tag=CLUSTER,
        on_droplet=lambda droplet: told.append((droplet.status, droplet.public_ip is not None)),
        on_sweep=lambda _sweep: None,
        on_gone=lambda _droplet: None,
        wave_seconds=0.1,
    )
    running = asyncio.create_task(inventory.run())
    inventory.watch(WAVE)
    inventory.saw(await adapter.droplets.create(order(), priority=NEW))
    async with asyncio.timeout(5):
        while ("active", True) not in told:
            await asyncio.sleep(0.02)
    inventory.unwatch(WAVE)
    assert told[0] == ("new", False)
    (droplet,) = inventory.snapshot_of(SESSION)
    assert droplet.status == "active"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_every_call_is_counted_as_the_server_counted_it(adapter, control):
    made = await adapter.droplets.create(order(), priority=NEW)
    await adapter.droplets.get(made.id, priority=NEW)
    await adapter.droplets.delete(made.id, priority=DESTROY)
    await adapter.droplets.delete(made.id, priority=DESTROY)
    counted = Counter((outcome.endpoint, outcome.result) for outcome in adapter.outcomes)
    assert counted == {
        ("POST /v2/droplets", "ok"): 1,
        ("GET /v2/droplets/{id}", "ok"): 1,
        ("DELETE /v2/droplets/{id}", "ok"): 1,
        ("DELETE /v2/droplets/{id}", "not_found"): 1,
    }
    assert (await control.calls())["total"] == len(adapter.outcomes)
