"""A droplet is covered by its own tag and its own pending change, whatever else is pending."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.firewall_watch import FirewallWatch, NotCovered
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import Droplet, Firewall

TAG = "class:1"
BARE = Droplet(
    id=5,
    name="spawn-5",
    status="active",
    region="nyc3",
    size="s-1vcpu-1gb",
    tags=frozenset({"cluster:1"}),
    public_ip="203.0.113.5",
    created_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    price_hourly=None,
    locked=False,
)
TAGGED = replace(BARE, tags=frozenset({TAG, "cluster:1"}))
OTHER = 6


def shared(*pending: int) -> Firewall:
    """The class's firewall while the changes of these droplets are on their way."""
    status = "waiting" if pending else "succeeded"
    return Firewall(
        "f", "shared", status, frozenset({TAG}), frozenset(), frozenset(pending), (), ()
    )


class Cloud:
    """A firewall as each look shows it, the last of them for ever, and droplet 5 by its id."""

    def __init__(self, *shown: Firewall | None, droplet: Droplet = TAGGED) -> None:
        self.shown = list(shown)
        self.looks: list[float] = []
        self.droplet = droplet
        self.clock = VirtualClock()
        self.budget = RateBudget(self.clock)
        self.inventory = Inventory(
            self,  # type: ignore[arg-type]
            self.clock,
            Random(1),
            budget=self.budget,
            cluster_tag="cluster:1",
            on_droplet=lambda _droplet: None,
            on_sweep=print,
            on_gone=print,
        )
        droplets = DropletById(self)
        self.watch = FirewallWatch(self, droplets, self.inventory, self.budget)  # type: ignore[arg-type]

    async def get(self, _id: str, *, priority: Priority) -> Firewall | None:
        self.looks.append(self.clock.now())
        await asyncio.sleep(0.05)
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]


class DropletById:
    """The single look at droplet 5."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def get(self, _id: int, *, priority: Priority) -> Droplet:
        return self._cloud.droplet


@virtual_time
async def test_changes_of_other_droplets_hold_nobody_up():
    cloud = Cloud(shared(OTHER))
    cloud.inventory.saw(TAGGED)
    assert await cloud.watch.in_force("f", 5)
    assert len(cloud.looks) == 1


@virtual_time
async def test_a_droplet_waits_for_its_own_change():
    cloud = Cloud(shared(5), shared(5, OTHER), shared(OTHER))
    cloud.inventory.saw(TAGGED)
    assert await cloud.watch.in_force("f", 5)
    assert len(cloud.looks) == 3


@virtual_time
async def test_a_firewall_that_names_no_tag_of_the_droplet_is_never_in_force():
    cloud = Cloud(shared(), droplet=BARE)
    cloud.inventory.saw(BARE)
    with pytest.raises(NotCovered, match=f"does not cover droplet 5.*{TAG}"):
        await cloud.watch.in_force("f", 5)


@virtual_time
async def test_a_tag_that_shows_after_a_look_needs_another_look():
    """The change that the tag brings may not have been there when the first look began."""
    cloud = Cloud(shared(), shared(5), shared(), droplet=TAGGED)
    cloud.inventory.saw(BARE)
    assert await cloud.watch.in_force("f", 5)
    assert len(cloud.looks) == 3


@virtual_time
async def test_a_droplet_of_the_firewalls_own_list_needs_no_tag():
    own = replace(shared(), tags=frozenset(), droplet_ids=frozenset({5}))
    cloud = Cloud(replace(own, pending_droplet_ids=frozenset({5})), own, droplet=BARE)
    assert await cloud.watch.in_force("f", 5)
    assert len(cloud.looks) == 2


@virtual_time
async def test_a_firewall_that_does_not_exist_is_said_so():
    assert not await Cloud(None).watch.in_force("f", 5)


@virtual_time
async def test_a_crowd_that_waits_costs_two_looks_a_second_however_large_it_is():
    """One session comes every 0.1 s, and each waits 20 s for its change."""
    cloud = Cloud(shared(5))
    cloud.inventory.saw(TAGGED)

    async def wait(after: float) -> None:
        await asyncio.sleep(after)
        await cloud.watch.in_force("f", 5)

    waiting = [asyncio.create_task(wait(number / 10)) for number in range(100)]
    await asyncio.sleep(20)
    cloud.shown = [shared()]
    await asyncio.gather(*waiting)
    assert len(cloud.looks) <= 2 * 20 + 2


@virtual_time
async def test_looks_become_rare_as_the_calls_of_the_hour_run_out():
    cloud = Cloud(shared(5))
    cloud.inventory.saw(TAGGED)
    waiting = asyncio.create_task(cloud.watch.in_force("f", 5))
    for _ in range(4500):
        async with cloud.budget.slot(Priority.DESTROY):
            pass
    before = len(cloud.looks)
    await asyncio.sleep(30)
    assert len(cloud.looks) - before <= 30 / 5
    waiting.cancel()
