"""A new prompt changes the app beside the one that runs; nothing is paid for twice."""

from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.unit.controller.test_bundles import SESSION
from tests.unit.controller.test_generate import NO_KEYS, QUOTA, Surroundings
from tests.unit.controller.test_inspect import LOOK, Inspector, inspect_with
from tests.unit.controller.test_repairs import Claude
from tests.unit.lifecycle.life import IP, START

from spawnai.clock import SystemClock
from spawnai.controller.actions.revise import Revise
from spawnai.controller.failures import NeedsPerson, NotYet
from spawnai.droplet.client import AgentStatus, UpdateStatus
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Effort
from spawnai.lifecycle.revisions import prompt_digest

FIRST = SESSION.order.prompt


WORD = "w" * 32


class Agent:
    """Switches to what it is given, or fails with each of `failures` first."""

    holds = True

    def __init__(self) -> None:
        self.failures = []
        self.serves = None
        self.state = "running"
        self.update = None

    async def push(self, document) -> None:
        digest = document["digest"]
        if self.failures:
            reason = self.failures.pop(0)
            self.update = UpdateStatus(digest, "failed", reason, "no answer", "Error: no port")
        elif self.holds and document.get("hold"):
            self.update = UpdateStatus(digest, "held", word=WORD)
        elif digest == self.serves:
            self.update = None
        else:
            self.serves, self.update = digest, UpdateStatus(digest, "running")
            self.state = "running"

    async def status(self, after=None) -> AgentStatus:
        reason = "AppCrashed" if self.state == "failed" else None
        log = ("TypeError: votes is undefined",)
        return AgentStatus(
            self.serves, self.state, reason, None, 0, log, START, "1", update=self.update
        )


class World(Surroundings):
    def __init__(self) -> None:
        super().__init__(Claude())
        self.agent = Agent()
        self.inspector = Inspector()

        @asynccontextmanager
        async def client(_session, _ip):
            yield self.agent

        self.revise = Revise(
            agents=SimpleNamespace(client=client),
            bundles=self.bundles,
            generate=self.generate,
            environments=NO_KEYS,
            inspect=inspect_with(self, self.inspector),
            clock=SystemClock(),
        )
        self.running = 1

    async def set_prompt(self, prompt: str, *, repairs: bool = False):
        session = self.work.session
        spec = session.order.model_copy(update={"prompt": prompt})
        status = session.status.model_copy(update={"revision": self.running})
        self.work = replace(self.work, known_session=replace(session, spec=spec, status=status))
        action = do.ReviseApp(IP, prompt_digest(prompt), LOOK, repairs)
        self.memory.efforts[action.key] = Effort(running=True)
        await self.revise.revise_app(self.work, action)
        outcome = self.memory.revised
        if outcome.failure is None:
            self.running = outcome.number
        return outcome


@pytest.fixture
async def world() -> World:
    made = World()
    await made.try_it()
    return made


async def test_claude_gets_the_files_and_both_prompts_and_the_result_is_a_version(world):
    outcome = await world.set_prompt("with votes")
    assert (outcome.number, outcome.failure) == (2, None)
    assert world.agent.serves == outcome.bundle_digest
    order = world.claude.orders[-1]
    assert (order.prompt, order.before.prompt) == ("with votes", FIRST)


async def test_an_earlier_prompt_brings_its_app_back_at_no_cost(world):
    await world.set_prompt("with votes")
    orders, paid = len(world.claude.orders), len(world.memory.book.generations)
    outcome = await world.set_prompt(FIRST)
    assert (outcome.number, outcome.failure) == (1, None)
    again = await world.set_prompt("with votes")
    assert again.number == 2
    assert len(world.claude.orders) == orders
    assert len(world.memory.book.generations) == paid


async def test_a_version_that_does_not_work_is_repaired(world):
    world.agent.failures = ["AppCrashed"]
    outcome = await world.set_prompt("with votes")
    assert (outcome.number, outcome.failure) == (3, None)
    assert "Error: no port" in world.claude.orders[-1].before.findings[0]


async def test_one_that_cannot_be_repaired_leaves_the_app_before_and_says_why(world):
    await world.set_prompt("with votes")
    served = world.agent.serves
    world.agent.failures = ["AppCrashed"] * 9
    outcome = await world.set_prompt("with a chat")
    assert outcome.failure.reason == "AppCrashed"
    assert "Error: no port" in outcome.failure.message
    assert world.agent.serves == served


async def test_a_restarted_operator_finds_the_version_it_had_paid_for(world):
    await world.set_prompt("with votes")
    orders = len(world.claude.orders)
    world.running = 1  # it died before anyone was told
    outcome = await world.set_prompt("with votes")
    assert outcome.number == 2
    assert len(world.claude.orders) == orders


async def test_a_version_that_cannot_be_stored_is_stored_before_the_next_prompt_is_ordered(world):
    served, world.secrets.error = world.agent.serves, QUOTA
    for prompt in ("with votes", "with a chat"):
        with pytest.raises(NeedsPerson, match="no other app is ordered meanwhile"):
            await world.set_prompt(prompt)
    assert [order.prompt for order in world.claude.orders] == [FIRST, "with votes"]
    assert world.agent.serves == served
    world.secrets.error = None
    outcome = await world.set_prompt("with a chat")
    assert (outcome.number, outcome.failure) == (3, None)
    assert world.claude.orders[-1].before.prompt == FIRST  # the one that runs
    orders, outcome = len(world.claude.orders), await world.set_prompt("with votes")
    assert (outcome.number, outcome.failure) == (2, None)
    assert len(world.claude.orders) == orders


async def test_a_storing_whose_answer_was_lost_is_not_done_again(world):
    create = world.secrets.create_secret

    async def create_and_lose_the_answer(*arguments, **named):
        world.secrets.create_secret = create
        await create(*arguments, **named)
        raise TimeoutError

    world.secrets.create_secret = create_and_lose_the_answer
    with pytest.raises(TimeoutError):
        await world.set_prompt("with votes")
    outcome = await world.set_prompt("with votes")
    assert (outcome.number, len(world.claude.orders)) == (2, 2)
    assert (await world.set_prompt("with a chat")).number == 3


async def test_a_page_that_does_not_work_is_repaired_like_a_crash(world):
    world.inspector.shows = [("main.js:3: uncaught TypeError",)]
    outcome = await world.set_prompt("with votes")
    assert (outcome.number, outcome.failure) == (3, None)
    assert outcome.page.findings == ()
    assert "main.js:3: uncaught TypeError" in world.claude.orders[-1].before.findings


async def test_a_page_is_looked_at_before_anyone_else_has_it(world):
    served, serving = world.agent.serves, []

    async def look(target, inspect=world.inspector.inspect):
        serving.append(world.agent.serves)
        return await inspect(target)

    world.inspector.inspect = look
    outcome = await world.set_prompt("with votes")
    assert serving == [served]
    assert world.inspector.asked[-1].trial == WORD
    assert world.agent.serves == outcome.bundle_digest


async def test_a_word_that_is_worth_nothing_any_more_says_nothing_of_the_version(world):
    """An agent that was started again meanwhile showed the version before instead."""
    served = world.agent.serves

    async def look(target, inspect=world.inspector.inspect):
        update = world.agent.update
        world.agent.update = UpdateStatus(update.bundle_digest, "held", word="v" * 32)
        return await inspect(target)

    world.inspector.inspect, inspect = look, world.inspector.inspect
    with pytest.raises(NotYet):
        await world.set_prompt("with votes")
    assert world.agent.serves == served
    orders, world.inspector.inspect = len(world.claude.orders), inspect
    outcome = await world.set_prompt("with votes")
    assert (outcome.failure, len(world.claude.orders)) == (None, orders)


@pytest.mark.parametrize("holds", [True, False])
async def test_a_page_that_stays_broken_leaves_the_app_before(world, holds):
    """The agent of a droplet that was made by an earlier operator holds nothing: it is put back."""
    world.agent.holds = holds
    await world.set_prompt("with votes")
    served = world.agent.serves
    world.inspector.shows = [("the page is blank",)] * 9
    outcome = await world.set_prompt("with a chat")
    assert outcome.failure.reason == "PageBroken"
    assert "the page is blank" in outcome.failure.message
    assert world.agent.serves == served


async def test_an_app_that_has_stopped_is_repaired_with_its_log(world):
    await world.set_prompt("with votes")
    world.agent.state = "failed"
    outcome = await world.set_prompt("with votes", repairs=True)
    assert (outcome.number, outcome.failure) == (3, None)
    assert world.agent.serves == outcome.bundle_digest
    assert "log: TypeError: votes is undefined" in world.claude.orders[-1].before.findings
    assert world.memory.app.state == "running"


async def test_a_restarted_operator_finds_the_repair_it_had_paid_for(world):
    await world.set_prompt("with votes")
    world.agent.state = "failed"
    await world.set_prompt("with votes", repairs=True)
    orders = len(world.claude.orders)
    world.running = 2  # it died before anyone was told
    outcome = await world.set_prompt("with votes", repairs=True)
    assert outcome.number == 3
    assert len(world.claude.orders) == orders


async def test_an_app_has_two_repairs_in_all(world):
    for number in (2, 3):
        world.agent.state = "failed"
        assert (await world.set_prompt(FIRST, repairs=True)).number == number
    world.agent.state, orders = "failed", len(world.claude.orders)
    outcome = await world.set_prompt(FIRST, repairs=True)
    assert outcome.failure.message == "the app does not work: it gave no reason"
    assert len(world.claude.orders) == orders


async def test_an_app_that_runs_again_is_not_repaired(world):
    await world.set_prompt("with votes")
    with pytest.raises(NotYet):
        await world.set_prompt("with votes", repairs=True)
