"""What an agent says of its dead man's switch, and when it is believed."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Self

from tests.support.virtual_time import VirtualClock
from tests.unit.lifecycle.life import IP, START, a_session

from spawnai.controller.actions.deploy import Deploy
from spawnai.controller.actions.work import Work
from spawnai.controller.memory import Memory
from spawnai.droplet.client import AgentStatus
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Effort

SAID = START + timedelta(hours=2)


class Agent:
    """It always says that its switch stands at SAID."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def status(self) -> AgentStatus:
        return AgentStatus(None, "running", None, None, 0, (), SAID, "1")


async def heard(memory: Memory) -> Memory:
    agents = SimpleNamespace(client=lambda _session, _ip: Agent())
    deploy = Deploy(agents=agents, bundles=None, clock=VirtualClock())
    work = Work("uid", a_session(), memory, None, lambda: START)
    await deploy.check_app(work, do.CheckApp(IP))
    return memory


async def test_a_process_that_has_told_it_nothing_believes_it():
    assert (await heard(Memory())).switch == SAID


async def test_an_answer_may_be_older_than_what_the_switch_was_told():
    told = Memory(efforts={do.SetExpiry.__name__: Effort(started_at=START)})
    assert (await heard(told)).switch is None
    told.switch = START
    assert (await heard(told)).switch == START
