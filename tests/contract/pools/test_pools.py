"""Pools between an emulated account and a small API server: kept, taken, handed over, gone.

Whenever the operator dies, and whatever DigitalOcean and agents answer, a spare is one session's or
nobody's, and in the end there is no droplet that no ledger explains.
"""

import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from tests.contract.pools.world import POOL, Session, World
from tests.support.mortal_world import NAME

from spawnai_local.digitalocean.client import ControlClient

HOUR = 3600.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World.alive() as begun:
        yield begun


async def until_gone(world: World, *sessions: Session) -> None:
    for one in sessions:
        one.ending = True
    world.delete()
    await world.until(world.is_empty)
    assert "open" not in world.reasons()


async def test_a_pool_keeps_as_many_spares_as_it_says(world):
    world.apply(replicas=3)
    await world.until(world.is_full)
    assert len(world.droplets()) == 3
    assert world.status()["ready"] == 3
    assert world.condition("Ready")["status"] == "True"
    figures = world.metrics.figures
    assert (figures.class_name, figures.wanted, figures.is_ready) == (NAME, 3, True)
    await until_gone(world)
    assert world.metrics.figures is None
    assert world.reasons() == ["NotWanted"] * 3


async def test_a_session_takes_a_spare_and_the_pool_makes_another_one(world):
    await world.until(world.is_full)
    [spare] = world.droplets()
    one = await world.begin_session()
    await world.until(lambda: world.has_own(one) and world.is_full())
    line = world.line(one)
    assert line.id == str(spare.id)
    assert world.reasons() == ["TakenOver", "open"]
    assert world.status()["claimed"] == 1
    assert world.metrics.claims == ["taken"]
    [taken] = [x["status"] for x in world.spares() if x["status"].get("takenOverBy")]
    assert taken["takenOverBy"] == one.uid
    assert taken["resources"][0]["deletionAcceptedAt"] == taken["takenOverAt"]
    assert line.created_at.strftime("%Y-%m-%dT%H:%M:%SZ") == taken["takenOverAt"]
    await until_gone(world, one)


async def test_pool_and_session_pay_together_what_the_cloud_bills(world):
    await world.until(world.is_full)
    [spare] = world.droplets()
    world.emulator.clock.advance(3 * HOUR)
    one = await world.begin_session()
    await world.until(lambda: world.has_own(one) and world.is_full())
    world.emulator.clock.advance(5 * HOUR)
    await until_gone(world, one)
    [pool_paid] = [
        Decimal(x["status"]["totalCost"])
        for x in world.spares()
        if x["status"]["resources"][0]["id"] == str(spare.id)
    ]
    session_paid = Decimal(world.records.records[one.uid]["status"]["totalCost"])
    [line] = [x for x in world.emulator.cloud.bill.lines() if x.droplet_id == spare.id]
    billed = line.amount(world.emulator.clock.now())
    assert pool_paid + session_paid == pytest.approx(billed, abs=Decimal("0.00001"))
    assert pool_paid / session_paid == pytest.approx(Decimal(3) / 5, rel=Decimal("0.02"))


async def test_what_a_session_takes_counts_before_its_own_ledger_says_so(world):
    world.apply(maxTotal=1)
    await world.until(world.is_full)
    one = await world.begin_session()
    await world.take_unwritten(one)
    for _ in range(3):
        await world.pools.look(POOL, world.memory)
    assert len(world.droplets()) == 1
    await world.until(lambda: world.has_own(one))
    assert len(world.droplets()) == 1
    await until_gone(world, one)


async def test_two_sessions_never_have_one_spare(world):
    await world.until(world.is_full)
    one, two = await world.begin_session(), await world.begin_session()
    await world.until(lambda: world.has_own(one) and world.has_own(two))
    assert world.line(one).id != world.line(two).id
    await until_gone(world, one, two)


async def test_who_finds_that_another_leader_has_given_the_spare_away_takes_none(world):
    await world.until(world.is_full)
    [spare] = world.open_spares()
    spare["status"] |= {"takenOverBy": "another", "takenOverAt": "2026-11-23T10:00:00Z"}
    spare["metadata"]["resourceVersion"] = "99999"
    one = await world.begin_session()
    with contextlib.suppress(Exception):
        await world._step(one)
    assert world.line(one) is None
    assert spare["status"]["takenOverBy"] == "another"


async def test_an_agent_that_cannot_be_handed_over_gives_its_spare_back(world):
    await world.until(world.is_full)
    world.agents.refuses = True
    one = await world.begin_session()
    await world.until(lambda: "given_back" in world.metrics.claims)
    assert world.line(one) is None
    world.agents.refuses = False
    await world.until(lambda: world.has_own(one))
    assert "HandedBack" in world.reasons()
    await until_gone(world, one)


async def test_a_spare_that_vanishes_under_a_claim_is_forgotten(world):
    await world.until(world.is_full)
    [spare] = world.droplets()
    one = await world.begin_session()
    await world.until(lambda: world.line(one) is not None)
    world.emulator.cloud.droplets.delete(spare.id)
    await world.until(lambda: world.has_own(one))
    assert world.line(one).id != str(spare.id)
    await until_gone(world, one)


async def test_a_session_that_ends_before_its_spare_is_its_own_leaves_nothing(world):
    await world.until(world.is_full)
    one = await world.begin_session()
    await world.until(lambda: world.line(one) is not None)
    await until_gone(world, one)


async def test_a_spare_that_does_not_answer_is_never_offered_and_given_up(world):
    world.agents.silent = True
    for _ in range(10):
        await world.look()
    assert not world.memory.offered
    await world.until(lambda: "NeverReady" in world.reasons())
    world.agents.silent = False
    await world.until(world.is_full)


async def test_three_that_came_to_nothing_end_the_trying_until_the_pool_is_changed(world):
    await world.fault("POST /v2/droplets error_before status=422 times=1000")
    await world.until(lambda: world.reasons().count("OrderRefused") == 3)
    for _ in range(20):
        await world.look()
    assert world.reasons() == ["OrderRefused"] * 3
    assert world.condition("Stalled")["reason"] == "RefillsFailed"
    assert world.metrics.failed_refills == ["OrderRefused"] * 3
    assert not world.metrics.figures.is_ready
    async with ControlClient(world.emulator.url) as control:
        await control.clear_faults()
    world.apply(maxAge="12h")
    await world.until(world.is_full)
    assert world.condition("Stalled") == {}


async def test_a_pool_that_is_made_smaller_gives_spares_up_and_keeps_what_sessions_have(world):
    world.apply(replicas=2)
    await world.until(world.is_full)
    one = await world.begin_session()
    await world.until(lambda: world.line(one) is not None)
    world.apply(replicas=0)
    await world.until(lambda: not world.open_spares())
    assert world.has_own(one)
    assert len(world.droplets()) == 1
    await until_gone(world, one)


async def test_a_pool_that_is_deleted_and_made_again_goes_on_with_its_spares(world):
    await world.until(world.is_full)
    [spare] = world.droplets()
    pool = world.records.pool
    world.delete()
    world.records.pool = pool
    await world.look()
    assert world.droplets() == [spare]


async def test_one_whose_deletion_is_seen_before_an_answer_stays_deleted(world, monkeypatch):
    patch = world.cluster.patch_pool_status

    async def patch_and_delete(*change):
        body = await patch(*change)
        world.store.remove_pool(POOL)
        return body

    monkeypatch.setattr(world.cluster, "patch_pool_status", patch_and_delete)
    await world.look()
    assert world.store.pool(POOL) is None


async def test_spares_that_boot_with_something_else_are_replaced(world):
    await world.until(world.is_full)
    [old] = world.droplets()
    world.apply(size="s-1vcpu-2gb")
    await world.until(lambda: world.is_full() and old not in world.droplets())
    assert "Outdated" in world.reasons()


async def test_one_that_has_aged_is_replaced(world):
    world.apply(minReady=1)
    await world.until(world.is_full)
    [old] = world.droplets()
    world.emulator.clock.advance(24 * HOUR)
    await world.until(lambda: world.is_full() and old not in world.droplets())
    assert "Aged" in world.reasons()


async def test_one_that_somebody_deletes_is_missed_and_made_again(world):
    await world.until(world.is_full)
    [old] = world.droplets()
    world.emulator.cloud.droplets.delete(old.id)
    world.pools.droplet_gone(world.open_spares()[0]["metadata"]["name"])
    await world.until(lambda: "SpareGone" in world.reasons() and world.is_full())


async def test_sessions_that_wait_for_a_droplet_go_first(world):
    await world.until(world.is_full)
    quota = world._account.quota
    quota.join("waits", world.clock.utc_now(), "shop")
    await world.until(lambda: not world.droplets())
    assert world.reasons() == ["GaveWay"]
    assert world.memory.offered == {}
    for _ in range(5):
        await world.look()
    assert not world.droplets()
    quota.leave("waits")
    await world.until(world.is_full)


async def test_no_spare_is_ordered_while_the_class_cannot_be_used(world):
    world.usable = False
    for _ in range(5):
        await world.look()
    assert not world.spares()
    assert world.condition("Ready")["reason"] == "ClassNotUsable"


async def test_a_lost_answer_to_an_order_makes_no_second_spare(world):
    await world.fault("POST /v2/droplets error_after status=500")
    await world.until(world.is_full)
    assert len(world.droplets()) == 1


async def a_life(world: World) -> None:
    """A pool of one, a session that takes it, and the end of both."""
    await world.until(world.is_full)
    one = await world.begin_session()
    await world.until(lambda: world.has_own(one) and world.is_full())
    await until_gone(world, one)


async def test_a_spare_that_could_not_be_written_down_is_not_ordered_again(world):
    await world.fault("POST /v2/droplets unseen seconds=25")
    world.records.refuses["patch"] = 500
    while not world.droplets():
        await world.look()
    del world.records.refuses["patch"]
    seen: set[int] = set()

    def is_full() -> bool:
        seen.update(one.id for one in world.droplets())
        return world.is_full()

    await world.until(is_full)
    assert len(seen) == 1


async def test_an_operator_that_dies_at_any_change_leaves_nothing():
    """Right after each change outside of it, and before the next one is begun."""
    async with World.alive() as world:
        await a_life(world)
        total = world.changes
    assert total > 15
    for number in range(1, total + 1):
        async with World.alive() as world:
            world.killed_at = (number, "after")
            await a_life(world)


@pytest.mark.parametrize("meanwhile", ["the session ends", "the pool goes", "it is scaled to none"])
async def test_what_happens_between_the_steps_of_a_claim_leaves_nothing(meanwhile):
    async with World.alive() as world:
        await world.until(world.is_full)
        before = world.changes
        one = await world.begin_session()
        await world.until(lambda: world.has_own(one))
        steps = world.changes - before
    for number in range(1, steps + 1):
        async with World.alive() as world:
            await world.until(world.is_full)
            one = await world.begin_session()
            world.killed_at = (world.changes + number, "after")
            for _ in range(5):
                await world.look()
                if world.killed_at is None:
                    break
            world.killed_at = None
            if meanwhile == "the session ends":
                one.ending = True
                await world.until(lambda world=world: world.is_full())
            elif meanwhile == "the pool goes":
                world.delete()
            else:
                world.apply(replicas=0)
            for _ in range(20):
                await world.look()
            await until_gone(world, one)
