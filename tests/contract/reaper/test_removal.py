"""Just before it is deleted everything is looked at again: the world may have changed meanwhile."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from tests.contract.reaper.world import CLUSTER, DOMAIN, TOKEN, UID

from spawnai.api.names import load_balancer_name
from spawnai.clock import SystemClock
from spawnai.controller.reaping.removal import SEEN_GONE_SECONDS, Estate, Removal, Result, seen
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.load_balancers import LoadBalancers
from spawnai.lifecycle.reaping import Orphan


class SleepsAtOnce(SystemClock):
    """Its time passes only while it sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


@pytest.fixture
async def removal(world):
    api = ApiClient(
        TOKEN,
        world.emulator.url,
        RateBudget(SystemClock()),
        droplet_networks=(ip_network("127.0.0.0/8"),),
    )
    yield Removal(
        Droplets(api),
        DomainRecords(api),
        Firewalls(api),
        LoadBalancers(api),
        SleepsAtOnce(),
        CLUSTER,
    )
    await api.close()


async def orphan_of(removal: Removal, number: int, uid: str = UID) -> Orphan:
    droplet = await removal.droplets.get(number, priority=Priority.HOUSEKEEPING)
    return Orphan(seen(droplet), uid)


def results(outcomes) -> list[tuple[str, Result]]:
    return [(outcome.kind, outcome.result) for outcome in outcomes]


async def test_a_droplet_that_lost_a_mark_meanwhile_stays(removal, world):
    made = await world.droplet()
    orphan = await orphan_of(removal, made["id"])
    world.emulator.cloud.droplets.unset_tag("ephemeral", [made["id"]])
    assert results(await removal.remove(Estate(orphan))) == [("Droplet", Result.LEFT)]
    assert await world.left() == {made["id"]}


async def test_a_canary_in_the_place_of_an_orphan_stays(removal, world):
    state = await world.control.state()
    for canary in state["droplets"]:
        orphan = await orphan_of(removal, canary["id"])
        assert results(await removal.remove(Estate(orphan))) == [("Droplet", Result.LEFT)]


async def test_a_name_that_was_changed_meanwhile_stays_and_so_does_the_droplet(removal, world):
    made = await world.droplet()
    placed = await world.name("retro-board-5e550000", made["public_address"])
    (estate,) = await removal.survey([await orphan_of(removal, made["id"])], [DOMAIN])
    domain, _, number = placed.partition("/")
    assert [str(name.id) for name in estate.names] == [number]
    world.emulator.cloud.domains.record(domain, int(number)).data = "127.9.9.9"
    assert results(await removal.remove(estate)) == [
        ("DomainRecord", Result.LEFT),
        ("Droplet", Result.LEFT),
    ]
    assert await world.left() == {made["id"]}


async def test_a_firewall_that_was_given_more_to_cover_meanwhile_stays(removal, world):
    made = await world.droplet()
    await world.firewall(f"fw-spawn-{UID}", droplet_ids=[made["id"]])
    (estate,) = await removal.survey([await orphan_of(removal, made["id"])], [])
    (own,) = [
        one
        for one in world.emulator.cloud.firewalls.all()
        if one.name == f"fw-spawn-{UID}" and not one.canary
    ]
    own.tags.append("production")
    assert results(await removal.remove(estate)) == [
        ("Droplet", Result.DELETED),
        ("Firewall", Result.LEFT),
    ]


async def test_a_deletion_that_is_not_seen_is_no_success_and_keeps_the_firewall(removal, world):
    made = await world.droplet()
    await world.firewall(f"fw-spawn-{UID}", droplet_ids=[made["id"]])
    (estate,) = await removal.survey([await orphan_of(removal, made["id"])], [])
    await world.control.set_delays(delete_visible=3600)
    assert results(await removal.remove(estate)) == [("Droplet", Result.UNVERIFIED)]
    assert SEEN_GONE_SECONDS - 5 <= removal.clock.now() <= SEEN_GONE_SECONDS
    assert await world.firewalls() == {f"fw-spawn-{UID}"}


async def test_an_answer_that_says_nothing_is_not_gone(removal, world):
    made = await world.droplet()
    estate = Estate(await orphan_of(removal, made["id"]))
    await world.control.add_faults("GET /v2/droplets/* error_before status=500 nth=2 times=0")
    assert results(await removal.remove(estate)) == [("Droplet", Result.UNVERIFIED)]


@pytest.mark.parametrize("fault", ["cut_after", "error_after status=500"])
async def test_a_deletion_whose_answer_was_lost_is_seen_done(removal, world, fault):
    made = await world.droplet()
    estate = Estate(await orphan_of(removal, made["id"]))
    await world.control.add_faults(f"DELETE /v2/droplets/* {fault}")
    assert results(await removal.remove(estate)) == [("Droplet", Result.DELETED)]
    assert await world.left() == set()


async def test_a_deletion_that_did_not_happen_is_told_in_digitalocean_s_words(removal, world):
    made = await world.droplet()
    estate = Estate(await orphan_of(removal, made["id"]))
    await world.control.add_faults("DELETE /v2/droplets/* error_before status=500 times=0")
    (outcome,) = await removal.remove(estate)
    assert outcome.result is Result.FAILED
    assert "DELETE /v2/droplets/{id}" in outcome.words
    assert await world.left() == {made["id"]}


async def test_two_droplets_of_one_session_share_its_firewall_which_goes_with_the_last(
    removal, world
):
    one, two = await world.droplet(), await world.droplet()
    await world.firewall(f"fw-spawn-{UID}", droplet_ids=[one["id"], two["id"]])
    orphans = [await orphan_of(removal, made["id"]) for made in (one, two)]
    first, second = await removal.survey(orphans, [])
    assert results(await removal.remove(first)) == [
        ("Droplet", Result.DELETED),
        ("Firewall", Result.LEFT),
    ]
    assert results(await removal.remove(second)) == [
        ("Droplet", Result.DELETED),
        ("Firewall", Result.DELETED),
    ]


async def test_a_domain_that_is_gone_holds_no_names(removal, world):
    made = await world.droplet()
    orphan = await orphan_of(removal, made["id"])
    (estate,) = await removal.survey([orphan], ["gone.example", DOMAIN])
    assert estate == replace(estate, names=(), firewall=None)


async def test_a_load_balancer_of_an_orphan_goes_after_the_name_that_leads_to_it(removal, world):
    made = await world.droplet()
    cloud = world.emulator.cloud
    balancer = cloud.load_balancers.create(
        {
            "name": load_balancer_name(CLUSTER, UID),
            "region": made["region"]["slug"]
            if isinstance(made["region"], dict)
            else made["region"],
            "forwarding_rules": [
                {
                    "entry_protocol": "http",
                    "entry_port": 80,
                    "target_protocol": "http",
                    "target_port": 80,
                }
            ],
            "droplet_ids": [made["id"]],
        },
        canary=True,  # active at once
    )
    await world.name("retro-board-5e550000", balancer.address)
    (estate,) = await removal.survey([await orphan_of(removal, made["id"])], [DOMAIN])
    assert results(await removal.remove(estate)) == [
        ("DomainRecord", Result.DELETED),
        ("LoadBalancer", Result.DELETED),
        ("Droplet", Result.DELETED),
    ]
