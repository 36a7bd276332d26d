"""What an agent says of its dead man's switch, and when it is believed."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Self

from tests.unit.lifecycle.life import IP, START, a_session

from spawnai.controller.actions.deploy import Deploy
from spawnai.controller.actions.work import Work
from spawnai.controller.memory import Memory
from spawnai.droplet.client import AgentStatus
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Effort

ASKED_AT = START + timedelta(minutes=1)
SAID = START + timedelta(hours=2)


class Agent:
    """It always says that its switch stands at SAID."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def status(self, *, after: str | None = None) -> AgentStatus:
        return AgentStatus(None, "running", None, None, 0, (), SAID, "1")


async def heard(memory: Memory) -> Memory:
    agents = SimpleNamespace(client=lambda _session, _ip: Agent())
    deploy = Deploy(
        agents=agents,
        bundles=None,
        environments=None,
        repair=None,
        clock=SimpleNamespace(utc_now=lambda: ASKED_AT),
    )
    work = Work("uid", a_session(), memory, None, lambda: START)
    await deploy.check_app(work, do.CheckApp(IP))
    return memory


async def test_a_process_that_has_told_it_nothing_believes_it():
    assert (await heard(Memory())).switch == SAID


def told(*, done_at: datetime | None) -> Memory:
    effort = Effort(started_at=START, done_at=done_at)
    return Memory(switch=START, efforts={do.key_of(do.SetExpiry): effort})


async def test_an_answer_may_be_older_than_what_the_switch_is_being_told():
    assert (await heard(told(done_at=None))).switch == START


async def test_an_answer_to_a_question_that_was_asked_before_the_telling_ended_proves_nothing():
    assert (await heard(told(done_at=ASKED_AT + timedelta(seconds=1)))).switch == START


async def test_a_switch_that_has_forgotten_what_it_was_told_is_noticed():
    assert (await heard(told(done_at=ASKED_AT))).switch == SAID
