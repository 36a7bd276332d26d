"""A droplet that is locked is asked to go once the lock is over, or nobody knows of it any more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from spawnai.digitalocean.budget import RateBudget
from spawnai.digitalocean.droplet_resource import DropletResource, droplet_line
from spawnai.digitalocean.errors import Busy
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import Droplet

START = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
DROPLET = Droplet(
    id=7,
    name="spawn-1",
    status="active",
    region="nyc3",
    size="s-1vcpu-1gb",
    tags=frozenset({"cluster:1"}),
    public_ip="192.0.2.7",
    created_at=START - timedelta(hours=1),
    price_hourly=Decimal("0.00893"),
    locked=True,
    seen_at=START,
)


class Clock:
    def __init__(self) -> None:
        self.passed = timedelta()

    def now(self) -> float:
        return self.passed.total_seconds()

    def utc_now(self) -> datetime:
        return START + self.passed


class Droplets:
    """Counts the deletions that reach DigitalOcean."""

    def __init__(self) -> None:
        self.deletions = 0

    async def delete(self, _droplet_id, *, priority):
        del priority
        self.deletions += 1
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def droplets():
    return Droplets()


@pytest.fixture
def inventory(clock, droplets):
    return Inventory(
        droplets,
        clock,
        Random(1),
        budget=RateBudget(clock),
        cluster_tag="cluster:1",
        on_droplet=lambda _droplet: None,
        on_sweep=lambda _sweep: None,
        on_gone=lambda _droplet: None,
    )


@pytest.fixture
def resource(droplets, inventory):
    return DropletResource(droplets, inventory, "1", {})


LINE = droplet_line(DROPLET, {})


async def test_one_that_was_just_seen_locked_is_not_asked(resource, inventory, droplets, clock):
    inventory.saw(DROPLET)
    for _ in range(9):
        with pytest.raises(Busy, match="droplet 7 is locked"):
            await resource.delete(LINE)
        clock.passed += timedelta(seconds=3)
    assert droplets.deletions == 0


async def test_it_is_asked_as_soon_as_it_is_seen_unlocked(resource, inventory, droplets, clock):
    inventory.saw(DROPLET)
    clock.passed = timedelta(seconds=5)
    inventory.saw(replace(DROPLET, locked=False, seen_at=clock.utc_now()))
    assert await resource.delete(LINE) is True
    assert droplets.deletions == 1


async def test_it_is_asked_when_the_lock_was_seen_long_ago(resource, inventory, clock):
    inventory.saw(DROPLET)
    clock.passed = timedelta(seconds=30)
    assert await resource.delete(LINE) is True


async def test_one_that_is_being_created_is_asked_all_the_time(resource, inventory):
    """Its creation ends within seconds, and it is to go as soon as it can."""
    inventory.saw(replace(DROPLET, status="new"))
    assert await resource.delete(LINE) is True


async def test_one_that_nobody_saw_is_asked(resource):
    assert await resource.delete(LINE) is True
