"""What a creation that ran out of time has done: perhaps all of it, or nothing."""

import asyncio
from types import SimpleNamespace

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.controller.actions.actor import Actor
from spawnai.controller.actions.work import Work
from spawnai.controller.memory import Memory
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.digitalocean.errors import Ambiguous
from spawnai.generation.claude import DEFAULT_LIMITS
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import WantedFirewall
from spawnai.lifecycle.observation import Effort

CREATION = do.Create(WantedFirewall("fw-spawn-uid", droplet_id=7))


class Resources:
    """Makes a firewall, whose answer never comes."""

    def __getattr__(self, _name):
        return self.create

    async def create(self, work, action):
        async with work.turn(action):
            await asyncio.Event().wait()


class Nothing:
    """Parts that are not asked for anything."""

    def __getattr__(self, _name):
        return None


def creating(budget: RateBudget) -> tuple[Actor, Work]:
    """A creation that is under way."""
    clock = budget.clock
    client = ApiClient("test-token", "http://127.0.0.1:1", budget)
    backing = SimpleNamespace(account=SimpleNamespace(client=client))
    effort = Effort(running=True, started_at=clock.utc_now())
    memory = Memory(efforts={CREATION.key: effort})
    names = (
        "custody",
        "generate",
        "deploy",
        "inspect",
        "revise",
        "reservations",
        "replace",
        "claim",
    )
    others = {name: Nothing() for name in names}
    actor = Actor(resources=Resources(), **others)
    return actor, Work("uid", None, memory, backing, clock.utc_now)


@virtual_time
async def test_a_creation_that_had_its_turn_may_have_happened_when_its_time_is_over():
    actor, work = creating(RateBudget(VirtualClock()))
    with pytest.raises(Ambiguous):
        await actor.carry_out(work, CREATION)
    assert not work.memory.efforts[CREATION.key].waits_for_turn


@virtual_time
async def test_a_creation_that_only_waited_for_its_turn_has_not_happened_when_its_time_is_over():
    budget = RateBudget(VirtualClock(), per_minute=1)
    actor, work = creating(budget)
    async with budget.slot(Priority.DESTROY):  # the only one
        with pytest.raises(TimeoutError):
            await actor.carry_out(work, CREATION)
    assert work.memory.efforts[CREATION.key].waits_for_turn


@virtual_time
async def test_an_order_is_not_cut_before_the_generator_gives_it_up_itself():
    """One that is cut from outside would be made again, and paid for twice."""
    clock, written = VirtualClock(), []

    async def write(_work, _action):
        await clock.sleep(DEFAULT_LIMITS.total_seconds)
        written.append(clock.now())

    names = ("custody", "deploy", "inspect", "reservations", "replace", "claim", "resources")
    others = {name: Nothing() for name in names}
    writers = SimpleNamespace(generate_app=write), SimpleNamespace(revise_app=write)
    actor = Actor(generate=writers[0], revise=writers[1], **others)
    work = Work("uid", None, Memory(), None, clock.utc_now)
    await actor.carry_out(work, do.GenerateApp())
    await actor.carry_out(work, do.ReviseApp("203.0.113.7", "d" * 64))
    assert len(written) == 2
