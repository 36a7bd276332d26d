"""When the date moves by itself, what is remembered keeps its age and everything is looked at."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.api.record import ResourceKind
from spawnai.controller.clock_steps import BOUND_SECONDS, INTERVAL_SECONDS, ClockSteps
from spawnai.controller.leader import LeadershipLost
from spawnai.controller.memory import Memory
from spawnai.lifecycle.actions import ActionKey
from spawnai.lifecycle.observation import Effort, Failure, FailureKind

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class MovableDate(VirtualClock):
    """Its date can move by itself, as when the machine slept or somebody set its clock."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def utc_now(self) -> datetime:
        return super().utc_now() + self.moved


class Watched:
    """The watch over a clock, and what it has asked for."""

    def __init__(self) -> None:
        self.clock = MovableDate()
        self.leads = True
        self.steps: list[timedelta] = []
        self.looks: list[float] = []
        self.watch = ClockSteps(
            self.clock,
            move_dates=self.steps.append,
            look_at_all=lambda: self.looks.append(self.clock.now()),
            check_leadership=self._check,
        )

    def _check(self) -> None:
        if not self.leads:
            raise LeadershipLost("it must be renewed before anything else is done")

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.watch.watch())
        await asyncio.sleep(0)
        yield
        task.cancel()


def rounded(steps: list[timedelta]) -> list[float]:
    return [round(step.total_seconds(), 1) for step in steps]


@pytest.mark.parametrize("step", [60.0, 3_600.0, -60.0, -3_600.0, BOUND_SECONDS + 0.1])
def test_a_step_is_noticed_within_a_second_and_everything_is_looked_at_once(step):
    @virtual_time
    async def story():
        world = Watched()
        async with world.running():
            await asyncio.sleep(10.3)
            began = world.clock.now()
            world.clock.moved += timedelta(seconds=step)
            await asyncio.sleep(100)
        assert rounded(world.steps) == [round(step, 1)]
        assert len(world.looks) == 1
        assert world.looks[0] - began <= INTERVAL_SECONDS

    story()


@virtual_time
async def test_clocks_that_agree_have_nothing_looked_at():
    world = Watched()
    async with world.running():
        for _ in range(100):
            await asyncio.sleep(36)
            world.clock.moved += timedelta(milliseconds=1)
    assert (world.steps, world.looks) == ([], [])


@virtual_time
async def test_the_look_waits_until_the_lease_was_renewed_and_the_dates_do_not():
    world = Watched()
    async with world.running():
        world.leads = False
        world.clock.moved += HOUR
        await asyncio.sleep(1.5)
        assert (rounded(world.steps), world.looks) == ([3_600.0], [])
        world.leads = True
        await asyncio.sleep(10)
    assert rounded(world.steps) == [3_600.0]
    assert len(world.looks) == 1


@virtual_time
async def test_who_asks_first_notices_the_step_and_the_watch_still_looks():
    world = Watched()
    async with world.running():
        world.clock.moved -= HOUR
        world.watch.notice()
        assert rounded(world.steps) == [-3_600.0]
        await asyncio.sleep(1.5)
    assert rounded(world.steps) == [-3_600.0]
    assert len(world.looks) == 1


DELETION, CHECK = ActionKey("Delete", ResourceKind.DROPLET, "1"), ActionKey("CheckApp")


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_what_is_remembered_of_an_action_keeps_its_age(step):
    refused = Failure(FailureKind.TRANSIENT, "Refused", "no", NOON)
    effort = Effort(
        running=True,
        failures=3,
        failure=refused,
        retry_at=NOON + timedelta(seconds=5),
        started_at=NOON - timedelta(seconds=1),
        done_at=NOON,
    )
    memory = Memory(
        efforts={DELETION: effort, CHECK: Effort()},
        rejected={("nyc3", "*"): refused},
    )
    memory.move_dates(step)
    moved = memory.efforts[DELETION]
    assert moved.failure is not None
    assert (moved.running, moved.failures) == (True, 3)
    assert moved.retry_at == NOON + step + timedelta(seconds=5)
    assert moved.started_at == NOON + step - timedelta(seconds=1)
    assert (moved.done_at, moved.failure.at) == (NOON + step, NOON + step)
    assert memory.efforts[CHECK] == Effort()
    assert memory.rejected["nyc3", "*"].at == NOON + step
