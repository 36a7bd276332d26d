"""Lives that share kills wait for each other, and for nobody who is not coming any more."""

import asyncio

import pytest

from spawnai_local.chaos.faults import Fault
from spawnai_local.chaos.gate import Trap
from spawnai_local.chaos.lives import Company, Life, Stage
from spawnai_local.chaos.plans import Flavour, Situation

LIMIT_SECONDS = 5.0


def life(name, fault=Fault.KILLED_BEFORE):
    trap = Trap(name, Situation.EXPIRING, "DELETE", fault)
    return Life(name, "lane-00", Flavour.OWN_FIREWALL, Situation.EXPIRING, trap)


@pytest.fixture
def two():
    return life("plan-1"), life("plan-2")


async def settled(task):
    """Whether a task has ended once everything that could run has run."""
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def test_nobody_goes_on_before_all_have_come(two):
    first, second = two
    company = Company(two)
    waiting = asyncio.create_task(company.reach(first, Stage.RUNS))
    assert not await settled(waiting)
    async with asyncio.timeout(LIMIT_SECONDS):
        await company.reach(second, Stage.RUNS)
        await waiting


async def test_who_has_left_is_not_waited_for(two):
    first, second = two
    company = Company(two)
    waiting = asyncio.create_task(company.reach(first, Stage.STRUCK))
    assert not await settled(waiting)
    company.leave(second)
    async with asyncio.timeout(LIMIT_SECONDS):
        await waiting


async def test_a_later_stage_counts_for_an_earlier_one(two):
    first, second = two
    company = Company(two)
    ahead = asyncio.create_task(company.reach(second, Stage.STRUCK))
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.sleep(0)
        await company.reach(first, Stage.RUNS)
    assert not await settled(ahead)
    company.leave(first)
    async with asyncio.timeout(LIMIT_SECONDS):
        await ahead


async def test_it_is_complete_when_every_call_that_is_waited_for_has_come(two):
    first, second = two
    company = Company([*two, life("plan-3", Fault.SLOW)])
    assert not company.is_complete
    first.trap.struck_at = 1.0
    assert not company.is_complete
    second.trap.struck_at = 1.0
    assert company.is_complete


async def test_whoever_left_or_is_past_the_point_makes_no_kill_wait(two):
    first, second = two
    company = Company(two)
    company.leave(first)
    assert not company.is_complete
    async with asyncio.timeout(LIMIT_SECONDS):
        await company.reach(second, Stage.STRUCK)
    assert company.is_complete
