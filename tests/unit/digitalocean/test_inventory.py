"""The shared listing over a small cloud with pages that shift, on leaping time."""

import asyncio
import random
from collections.abc import Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.virtual_time import START, VirtualClock, virtual_time

from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.errors import Unavailable
from spawnai.digitalocean.inventory import Inventory, Sweep
from spawnai.digitalocean.models import Droplet, Page

CLUSTER = "cluster:1"
WAVE = "wave:202611011200"
OLD = datetime(2026, 10, 1, tzinfo=UTC)


def droplet(number: int, *, status: str = "active", tags: Iterable[str] = (), **changes) -> Droplet:
    return Droplet(
        id=number,
        name=f"spawn-{number}",
        status=status,
        region="nyc3",
        size="s-1vcpu-1gb",
        tags=frozenset({CLUSTER, f"session:{number}", *tags}),
        public_ip=f"192.0.2.{number % 250}",
        created_at=changes.pop("created_at", OLD),
        price_hourly=None,
        locked=False,
        **changes,
    )


class Cloud:
    """Droplets with the calls that the inventory makes, counted and made to fail."""

    def __init__(self, clock: VirtualClock, *droplets: Droplet) -> None:
        self.clock = clock
        self.droplets = {each.id: each for each in droplets}
        self.hidden: set[int] = set()
        self.calls: list[tuple[float, str]] = []
        self.priorities: dict[str, Priority] = {}
        self.failing = ""
        self.seconds = 0.1
        self.page_size = 200

    async def _call(self, what: str, priority: Priority) -> datetime:
        sent_at = self.clock.utc_now()
        self.priorities[what] = priority
        self.calls.append((self.clock.now(), what))
        await self.clock.sleep(self.seconds)
        if self.failing and what.startswith(self.failing):
            raise Unavailable("no answer", endpoint=what)
        return sent_at

    async def list_page(self, tag: str, page: int, *, priority: Priority) -> Page[Droplet]:
        sent_at = await self._call(f"list {tag} {page}", priority)
        shown = [d for d in self.droplets.values() if tag in d.tags and d.id not in self.hidden]
        first = (page - 1) * self.page_size
        items = tuple(replace(d, seen_at=sent_at) for d in shown[first : first + self.page_size])
        return Page(items, len(shown), is_last=first + self.page_size >= len(shown))

    async def list_by_tag(self, tag: str, *, priority: Priority) -> tuple[Droplet, ...]:
        found: list[Droplet] = []
        number = 1
        while True:
            page = await self.list_page(tag, number, priority=priority)
            found.extend(page.items)
            if page.is_last:
                return tuple(found)
            number += 1

    async def get(self, droplet_id: int, *, priority: Priority) -> Droplet | None:
        sent_at = await self._call(f"get {droplet_id}", priority)
        found = self.droplets.get(droplet_id)
        return replace(found, seen_at=sent_at) if found else None

    def calls_between(self, start: float, end: float) -> list[str]:
        return [what for at, what in self.calls if start <= at < end]


class Watcher:
    """Keeps what the inventory told."""

    def __init__(self) -> None:
        self.droplets: list[Droplet] = []
        self.sweeps: list[Sweep] = []
        self.gone: list[int] = []


@asynccontextmanager
async def running(cloud: Cloud, budget: RateBudget | None = None):
    watcher = Watcher()
    inventory = Inventory(
        cloud,
        cloud.clock,
        random.Random(1),
        budget=budget or RateBudget(cloud.clock),
        cluster_tag=CLUSTER,
        on_droplet=watcher.droplets.append,
        on_sweep=watcher.sweeps.append,
        on_gone=lambda gone: watcher.gone.append(gone.id),
    )
    task = asyncio.create_task(inventory.run())
    try:
        yield inventory, watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("count", [0, 10, 1_000, 10_000])
def test_at_rest_there_are_two_calls_a_minute_however_many_droplets(count):
    @virtual_time
    async def story():
        clock = VirtualClock()
        cloud = Cloud(clock, *(droplet(n) for n in range(count)))
        async with running(cloud) as (inventory, watcher):
            await inventory.first_walk_done.wait()
            rest_began = clock.now()
            await clock.sleep(3600)
            assert len(cloud.calls_between(rest_began, rest_began + 3600)) <= 2.1 * 60
            assert len(inventory) == count
            assert len(watcher.droplets) == count
            assert cloud.priorities[f"list {CLUSTER} 1"] is Priority.HOUSEKEEPING

    story()


@virtual_time
async def test_after_a_start_everything_is_known_as_fast_as_the_pages_come():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(1_000)))
    began = clock.now()
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        assert clock.now() - began < 1
        assert [len(sweep.droplets) for sweep in watcher.sweeps] == [1_000]
        assert inventory.snapshot_of("999")[0].id == 999
        assert inventory.snapshot_of("nobody") == ()


@virtual_time
async def test_a_first_walk_that_fails_is_made_again_soon_and_told_as_incomplete():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(300)))
    cloud.failing = f"list {CLUSTER} 2"
    async with running(cloud) as (inventory, watcher):
        await clock.sleep(3)
        first = watcher.sweeps[0]
        assert (first.complete, len(first.droplets)) == (False, 200)
        assert not inventory.first_walk_done.is_set()
        cloud.failing = ""
        await clock.sleep(6)
        assert (watcher.sweeps[-1].complete, len(watcher.sweeps[-1].droplets)) == (True, 300)
        assert inventory.first_walk_done.is_set()


@virtual_time
async def test_a_first_walk_that_fails_on_and_on_costs_no_more_calls_than_rest():
    clock = VirtualClock()
    cloud = Cloud(clock)
    cloud.failing = "list"
    async with running(cloud):
        await clock.sleep(60)
        before = len(cloud.calls)
        await clock.sleep(600)
        assert len(cloud.calls) - before <= 24


@virtual_time
async def test_a_watched_wave_is_listed_about_every_second_and_an_unwatched_one_never():
    clock = VirtualClock()
    cloud = Cloud(clock, droplet(1, status="new", tags=[WAVE]))
    async with running(cloud) as (inventory, watcher):
        await clock.sleep(10)
        inventory.watch(WAVE)
        inventory.watch(WAVE)
        watched = clock.now()
        await clock.sleep(20)
        asked = [w for w in cloud.calls_between(watched, watched + 20) if w == f"list {WAVE} 1"]
        assert 15 <= len(asked) <= 22
        cloud.droplets[1] = droplet(1, status="active", tags=[WAVE])
        await clock.sleep(1.5)
        assert [d.status for d in watcher.droplets] == ["new", "active"]
        inventory.unwatch(WAVE)
        assert len([w for _, w in cloud.calls if w == f"list {WAVE} 1"]) > len(asked)
        inventory.unwatch(WAVE)
        await clock.sleep(1.5)
        quiet = clock.now()
        await clock.sleep(60)
        assert f"list {WAVE} 1" not in cloud.calls_between(quiet, quiet + 60)


@pytest.mark.parametrize(
    ("hour_left", "minute_used", "seconds"),
    [
        (5_000, 0, 1.0),
        (3_100, 0, 1.0),
        (1_500, 0, 4.0),
        (750, 0, 16.0),
        (100, 0, 30.0),
        (4_500, 125, 1.0),
        (4_500, 225, 2.5),
    ],
)
def test_a_wave_is_listed_the_rarer_the_less_is_left_of_the_hour_or_minute(
    hour_left, minute_used, seconds
):
    @virtual_time
    async def story():
        clock = VirtualClock()
        budget = RateBudget(clock)
        for _ in range(minute_used):
            async with budget.slot(Priority.DESTROY):
                pass
        budget.observe({"ratelimit-remaining": str(hour_left)}, 200)
        async with running(Cloud(clock), budget) as (inventory, _):
            assert inventory._wave_interval() == pytest.approx(seconds, rel=0.05)

    story()


@virtual_time
async def test_a_wave_that_cannot_be_listed_is_asked_for_again():
    clock = VirtualClock()
    cloud = Cloud(clock, droplet(1, tags=[WAVE]))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        cloud.failing = f"list {WAVE}"
        inventory.watch(WAVE)
        await clock.sleep(5)
        cloud.failing = ""
        cloud.droplets[2] = droplet(2, tags=[WAVE])
        await clock.sleep(2)
        assert [d.id for d in watcher.droplets] == [1, 2]


@virtual_time
async def test_a_droplet_is_told_once_for_each_change_whichever_listing_shows_it():
    clock = VirtualClock()
    cloud = Cloud(clock, droplet(1, tags=[WAVE]))
    async with running(cloud) as (inventory, watcher):
        inventory.watch(WAVE)
        await clock.sleep(120)
        assert len(watcher.droplets) == 1
        cloud.droplets[1] = droplet(1, status="off", tags=[WAVE])
        await clock.sleep(60)
        assert [d.status for d in watcher.droplets] == ["active", "off"]
        (seen,) = inventory.snapshot_of("1")
        assert clock.utc_now() - seen.seen_at < timedelta(seconds=5)


@virtual_time
async def test_an_answer_that_was_overtaken_does_not_bring_the_old_state_back():
    clock = VirtualClock()
    async with running(Cloud(clock)) as (inventory, watcher):
        now = clock.utc_now()
        inventory.saw(droplet(1, status="active", seen_at=now))
        inventory.saw(droplet(1, status="new", seen_at=now - timedelta(seconds=1)))
        assert [d.status for d in inventory.snapshot_of("1")] == ["active"]
        assert len(watcher.droplets) == 1


@virtual_time
async def test_two_droplets_of_one_session_are_both_shown():
    clock = VirtualClock()
    async with running(Cloud(clock)) as (inventory, _):
        inventory.saw(droplet(7, tags=["session:twin"]))
        inventory.saw(droplet(3, tags=["session:twin"]))
        assert [d.id for d in inventory.snapshot_of("twin")] == [3, 7]


@virtual_time
async def test_a_droplet_that_moved_to_an_earlier_page_during_the_walk_is_not_gone():
    """A droplet of page 1 goes between the pages; the first of page 2 moves up, and is missed."""
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(400)))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        await clock.sleep(45)  # page 1 of the second walk was read, page 2 not yet
        del cloud.droplets[0]
        inventory.forget(0)
        await clock.sleep(31)
        sweep = watcher.sweeps[1]
        assert sweep.complete
        assert 200 not in {d.id for d in sweep.droplets}
        assert inventory.snapshot_of("200")
        assert watcher.gone == []
        await clock.sleep(90)
        assert inventory.snapshot_of("200")
        assert len(watcher.sweeps[-1].droplets) == 399


@virtual_time
async def test_a_droplet_deleted_by_hand_is_told_gone_by_digitaloceans_own_word():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(20)))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        del cloud.droplets[7]
        await clock.sleep(40)
        assert watcher.gone == [7]
        assert inventory.snapshot_of("7") == ()
        assert [what for _, what in cloud.calls if what.startswith("get")] == ["get 7"]


@virtual_time
async def test_an_empty_answer_where_there_was_plenty_is_suspicious_and_nothing_is_forgotten():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(100)))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        cloud.hidden = set(range(100))
        await clock.sleep(40)
        assert watcher.sweeps[-1].complete
        assert "misses 100 of 100" in watcher.sweeps[-1].suspicious
        assert len(inventory) == 100
        whole = await inventory.verify_droplets(priority=Priority.HOUSEKEEPING)
        assert "misses 100 of 100" in whole.suspicious
        cloud.hidden = set()
        await clock.sleep(40)
        assert watcher.sweeps[-1].suspicious == ""
        assert watcher.gone == []


@virtual_time
async def test_a_listing_that_really_lost_most_is_believed_once_each_was_asked_for():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(50)))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        cloud.droplets.clear()
        await clock.sleep(40)
        assert watcher.sweeps[-1].suspicious
        assert len(watcher.gone) == 20
        await clock.sleep(120)
        assert sorted(watcher.gone) == list(range(50))
        assert watcher.sweeps[-1].suspicious == ""
        assert len(inventory) == 0


@virtual_time
async def test_sessions_that_ended_in_their_thousands_make_no_listing_suspicious():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(1_000)))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        for number in range(990):
            del cloud.droplets[number]
            inventory.forget(number)
        await clock.sleep(200)
        assert watcher.sweeps[-1].suspicious == ""
        assert len(watcher.sweeps[-1].droplets) == 10
        assert watcher.gone == []


@virtual_time
async def test_what_is_being_deleted_may_be_missing_and_is_left_to_whoever_deletes_it():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(100)))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        for number in range(90):
            del cloud.droplets[number]
            inventory.leaving(number)
        await clock.sleep(40)
        assert watcher.sweeps[-1].suspicious == ""
        assert [what for _, what in cloud.calls if what.startswith("get")] == []
        assert inventory.snapshot_of("7"), "it was not seen gone yet"
        # Among what stays, one that is missing is asked for as ever.
        del cloud.droplets[95]
        await clock.sleep(40)
        assert watcher.gone == [95]


@virtual_time
async def test_a_newborn_may_be_missing_everywhere_for_a_while():
    """Accepted, then neither listed nor found for a minute: not there yet, but not gone."""
    clock = VirtualClock()
    cloud = Cloud(clock)
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        born = droplet(1, status="new", created_at=clock.utc_now(), seen_at=clock.utc_now())
        inventory.saw(born)
        await clock.sleep(100)
        assert inventory.snapshot_of("1")
        assert watcher.gone == []
        # It never came to be: said so only after the settling time, by DigitalOcean's own 404.
        await clock.sleep(100)
        assert watcher.gone == [1]


@virtual_time
async def test_a_listing_that_lags_does_not_bring_back_what_was_seen_gone_but_a_lasting_one_does():
    clock = VirtualClock()
    cloud = Cloud(clock, droplet(1), droplet(2))
    async with running(cloud) as (inventory, watcher):
        await inventory.first_walk_done.wait()
        inventory.forget(1)
        await clock.sleep(40)
        assert inventory.snapshot_of("1") == ()
        await clock.sleep(60)
        assert inventory.snapshot_of("1"), "it is still listed: whatever the 404 was, it exists"
        assert [d.id for d in watcher.droplets] == [1, 2, 1]


@virtual_time
async def test_a_verification_that_fails_fails_for_all_and_the_next_is_fresh():
    clock = VirtualClock()
    cloud = Cloud(clock, droplet(1))
    async with running(cloud) as (inventory, _):
        await clock.sleep(1)
        cloud.failing = "list"
        answers = await asyncio.gather(
            *(inventory.verify_droplets(priority=Priority.DESTROY) for _ in range(3)),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [Unavailable] * 3
        cloud.failing = ""
        sweep = await inventory.verify_droplets(priority=Priority.DESTROY)
        assert sweep.complete
        assert [d.id for d in sweep.droplets] == [1]
        assert sweep.started_at == START + timedelta(seconds=clock.now() - 1_000 - 0.1)


@virtual_time
async def test_one_who_stops_waiting_for_a_verification_does_not_take_it_from_the_others():
    clock = VirtualClock()
    cloud = Cloud(clock, droplet(1))
    async with running(cloud) as (inventory, _):
        await clock.sleep(1)
        first, second = (
            asyncio.create_task(inventory.verify_droplets(priority=Priority.DESTROY))
            for _ in range(2)
        )
        await clock.sleep(0.01)
        first.cancel()
        assert (await second).complete
        assert first.cancelled()


@virtual_time
async def test_stopping_ends_every_listing_that_is_under_way():
    clock = VirtualClock()
    cloud = Cloud(clock, droplet(1))
    async with running(cloud) as (inventory, _):
        await clock.sleep(1)
        cloud.seconds = 1_000
        waiting = asyncio.create_task(inventory.verify_droplets(priority=Priority.DESTROY))
        await clock.sleep(1)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def proofs(inventory: Inventory, *numbers: int) -> list[bool]:
    """Ask for all of them at once; their deletions were accepted before."""
    for number in numbers:
        inventory.leaving(number)
    return list(await asyncio.gather(*map(inventory.is_gone, numbers)))


@virtual_time
async def test_a_hundred_deletions_are_proven_by_the_pages_of_one_listing():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(1_000)))
    async with running(cloud) as (inventory, _):
        await inventory.first_walk_done.wait()
        going = range(100)
        for number in going:
            del cloud.droplets[number]
        began = clock.now()
        assert all(await proofs(inventory, *going))
        calls = cloud.calls_between(began, clock.now() + 1)
        assert len([call for call in calls if call.startswith("list")]) <= 5
        assert len(calls) <= 10, "the first few are cheaper by their ids"


@virtual_time
async def test_who_is_still_listed_is_not_gone_and_who_is_not_is():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(10)))
    async with running(cloud) as (inventory, _):
        await inventory.first_walk_done.wait()
        del cloud.droplets[3]
        assert await proofs(inventory, 1, 2, 3) == [False, False, True]


@pytest.mark.parametrize("hidden", [range(10), range(5, 10), range(9, 10)], ids=str)
def test_a_listing_that_misses_what_has_to_be_there_proves_nothing(hidden):
    @virtual_time
    async def story():
        clock = VirtualClock()
        cloud = Cloud(clock, *(droplet(n) for n in range(10)))
        async with running(cloud) as (inventory, _):
            await inventory.first_walk_done.wait()
            cloud.hidden = {1, 2, 3, *hidden}
            assert await proofs(inventory, 1, 2, 3) == [False, False, False]

    story()


@virtual_time
async def test_a_listing_that_began_before_a_deletion_proves_nothing_of_it():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(150)))
    async with running(cloud) as (inventory, _):
        await inventory.first_walk_done.wait()
        for number in (1, 2, 3):
            del cloud.droplets[number]
        first = asyncio.create_task(proofs(inventory, 1, 2, 3))
        await clock.sleep(0.05)
        cloud.hidden = {7}
        second = asyncio.create_task(proofs(inventory, 7))
        assert await first == [True, True, True]
        cloud.hidden = set()
        assert await second == [False]


@virtual_time
async def test_a_droplet_that_no_listing_has_shown_yet_is_proven_by_its_own_404():
    clock = VirtualClock()
    cloud = Cloud(clock, *(droplet(n) for n in range(10)))
    async with running(cloud) as (inventory, _):
        await inventory.first_walk_done.wait()
        late = droplet(77)
        cloud.droplets[77], cloud.hidden = late, {77}
        inventory.saw(replace(late, seen_at=clock.utc_now()))
        del cloud.droplets[3]
        assert await proofs(inventory, 3, 4, 77) == [True, False, False]
