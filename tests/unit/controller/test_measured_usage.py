"""How busy a droplet was: asked of its agent, and entered in the ledger."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Self

import pytest
from tests.unit.lifecycle.life import IP, START, a_session

from spawnai.api.record import RecordStatus, UsageTotals
from spawnai.api.session import Phase, SessionStatus
from spawnai.controller.actions.deploy import Deploy
from spawnai.controller.actions.work import Work
from spawnai.controller.memory import Memory
from spawnai.droplet.client import AgentRejected, AgentStatus, AgentUnreachable, UsageSample
from spawnai.lifecycle import actions as do

READY = START + timedelta(minutes=1)
SAMPLES = tuple(
    UsageSample(START + timedelta(minutes=minute), 60.0, 90.0, 10.0) for minute in (1, 2, 3)
)
"""The first of them was measured before the app was ready."""


class Agent:
    """It numbers its samples from its start, as the real one does."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked: list[int] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def status(self, *, after: str | None = None) -> AgentStatus:
        return AgentStatus(None, "running", None, None, 0, (), START, "1")

    async def stop(self, _seconds: float) -> None:
        pass

    async def read_usage(self, after: int = 0) -> tuple[tuple[UsageSample, ...], int]:
        self.asked.append(after)
        if self.failure is not None:
            raise self.failure
        return SAMPLES[after:], len(SAMPLES)


class Told:
    """A running session whose droplet is asked."""

    def __init__(self, agent: Agent, *, measures: bool = True) -> None:
        self.memory = Memory(ledger=RecordStatus())
        session = a_session(status=SessionStatus(phase=Phase.RUNNING, ready_at=READY))
        self.work = Work("uid", session, self.memory, None, lambda: START, measures_usage=measures)
        self.deploy = Deploy(
            agents=SimpleNamespace(client=lambda _session, _ip: agent),
            bundles=None,
            environments=None,
            repair=None,
            clock=SimpleNamespace(utc_now=lambda: START),
        )

    async def check(self) -> UsageTotals | None:
        await self.deploy.check_app(self.work, do.CheckApp(IP))
        return self.memory.book.usage


TWO_MINUTES = UsageTotals(
    next=3, measured_seconds=120, cpu_busy_seconds=120, memory_idle_seconds=120
)


async def test_what_was_measured_while_the_app_ran_is_entered_once():
    agent = Agent()
    told = Told(agent)
    assert await told.check() == TWO_MINUTES
    assert await told.check() == TWO_MINUTES
    assert agent.asked == [0, 3]


@pytest.mark.parametrize("action", [do.TakeLog(IP), do.StopApp(IP, START)])
async def test_it_is_read_before_the_end(action):
    told = Told(Agent())
    carry_out = told.deploy.take_log if isinstance(action, do.TakeLog) else told.deploy.stop_app
    await carry_out(told.work, action)
    assert told.memory.book.usage == TWO_MINUTES


async def test_a_session_whose_price_does_not_depend_on_it_is_not_asked():
    agent = Agent()
    assert await Told(agent, measures=False).check() is None
    assert agent.asked == []


@pytest.mark.parametrize("failure", [AgentUnreachable("cut"), AgentRejected(404, "unknown")])
async def test_an_agent_that_does_not_tell_spoils_nothing_else(failure):
    told = Told(Agent(failure))
    assert await told.check() is None
    assert told.memory.app is not None


async def test_two_that_ask_at_once_count_once():
    agent = Agent()
    told = Told(agent)

    async def read_and_be_late(after: int = 0) -> tuple[tuple[UsageSample, ...], int]:
        del agent.read_usage
        await told.check()
        return SAMPLES[after:], len(SAMPLES)

    agent.read_usage = read_and_be_late
    assert await told.check() == TWO_MINUTES


async def test_a_new_droplet_numbers_its_samples_anew():
    agent = Agent()
    told = Told(agent)
    await told.check()
    told.memory.leave_droplet()
    usage = await told.check()
    assert agent.asked == [0, 0]
    assert usage is not None
    assert usage.measured_seconds == 240
