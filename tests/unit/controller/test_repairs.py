"""An app that does not come up is repaired from its own log: twice at most, never for nothing."""

from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.unit.controller.test_bundles import APP, SESSION
from tests.unit.controller.test_generate import NO_KEYS, Surroundings
from tests.unit.lifecycle.life import IP, START

from spawnai.clock import SystemClock
from spawnai.controller.actions.deploy import Deploy
from spawnai.controller.failures import NotYet, SessionFailed
from spawnai.droplet.client import AgentStatus
from spawnai.generation.bundle import AppFile
from spawnai.generation.claude import Generated
from spawnai.generation.usage import TokenUsage
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Effort
from spawnai.lifecycle.revisions import prompt_digest

ERROR = "TypeError: Cannot read properties of undefined (reading 'map')"


class Claude:
    """Answers each repair with one more file."""

    def __init__(self) -> None:
        self.orders = []

    async def generate(self, order, *, on_progress, on_retry, before_call) -> Generated:
        self.orders.append(order)
        if order.before is None:
            return Generated(APP, TokenUsage(900, 4000), 0, order.model)
        number = order.before.rounds + 1
        files = (*order.before.bundle.files, AppFile(f"fix{number}.js", "1"))
        return Generated(
            replace(order.before.bundle, files=files), TokenUsage(900, 400), number, order.model
        )


class Agent:
    """Every app fails, for one reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.error = ERROR
        self.pushed = []

    async def knock(self) -> None:
        pass

    async def push(self, document) -> None:
        self.pushed.append(document["digest"])

    async def status(self, after=None) -> AgentStatus:
        log = ("starting", self.error, "Node.js v24")
        digest = self.pushed[-1]
        return AgentStatus(digest, "failed", self.reason, 1, 0, log, START, "1", error=self.error)


class World(Surroundings):
    def __init__(self, reason: str = "AppCrashed") -> None:
        super().__init__(Claude())
        self.agent = Agent(reason)

        @asynccontextmanager
        async def client(_session, _ip):
            yield self.agent

        self.deploy = Deploy(
            agents=SimpleNamespace(client=client),
            bundles=self.bundles,
            environments=NO_KEYS,
            clock=SystemClock(),
            repair=self.generate.repair_app,
        )

    async def deploy_it(self) -> None:
        action = do.DeployApp(IP, self.work.memory.bundle.digest, START)
        self.work.memory.efforts[action.key] = Effort(running=True)
        await self.deploy.deploy_app(self.work, action)


def failing_once(call):
    """The same call, whose first try is not answered in time."""
    tries = 0

    async def tried(*arguments):
        nonlocal tries
        tries += 1
        if tries == 1:
            raise TimeoutError
        return await call(*arguments)

    return tried


async def test_a_crash_is_repaired_with_its_first_error_and_the_repaired_app_is_deployed_next():
    world = World()
    await world.try_it()
    with pytest.raises(NotYet, match="it was repaired"):
        await world.deploy_it()
    stored = world.work.memory.bundle
    assert (stored.number, stored.generation.repairs) == (2, 1)
    [_, repair] = world.claude.orders
    assert repair.before.bundle == APP
    assert ERROR in repair.before.findings[0]
    assert any(line.endswith("Node.js v24") for line in repair.before.findings)
    with pytest.raises(NotYet):
        await world.deploy_it()
    assert world.agent.pushed == [APP.digest, stored.digest]


async def test_a_repair_is_for_the_prompt_of_the_app_also_when_that_has_changed_meanwhile():
    world = World()
    await world.try_it()
    spec = SESSION.order.model_copy(update={"prompt": "another one"})
    world.work = replace(world.work, known_session=replace(SESSION, spec=spec))
    with pytest.raises(NotYet):
        await world.deploy_it()
    assert [order.prompt for order in world.claude.orders] == [SESSION.order.prompt] * 2
    assert world.work.memory.bundle.prompt_digest == prompt_digest(SESSION.order.prompt)


async def test_after_two_repairs_the_session_ends_with_the_reason_of_the_app():
    world = World()
    await world.try_it()
    for _ in range(2):
        with pytest.raises(NotYet):
            await world.deploy_it()
    with pytest.raises(SessionFailed, match="2 repairs did not help") as failed:
        await world.deploy_it()
    assert failed.value.reason == "AppCrashed"
    assert ERROR in str(failed.value)
    assert len(world.claude.orders) == 3
    paid = [entry.output_tokens for entry in world.work.memory.book.generations]
    assert paid == [4000, 400, 400]


async def test_packages_that_do_not_fit_together_are_repaired_like_a_crash():
    world = World("InstallFailed")
    world.agent.error = "npm error ERESOLVE could not resolve"
    await world.try_it()
    with pytest.raises(NotYet, match="it was repaired"):
        await world.deploy_it()


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("InstallFailed", "npm error code EINTEGRITY"),
        ("InstallFailed", "npm error request failed, reason: connect ECONNREFUSED"),
        ("RuntimeNotInstalled", "the droplet's packages: no archive"),
        ("DiskFull", ERROR),
        ("nothing that an agent says", ERROR),
    ],
)
async def test_what_is_no_fault_of_the_app_is_not_paid_for(reason, error):
    world = World(reason)
    world.agent.error = error
    await world.try_it()
    with pytest.raises(SessionFailed):
        await world.deploy_it()
    assert len(world.claude.orders) == 1


async def test_a_restarted_operator_finds_the_repaired_app_and_every_order():
    world = World()
    await world.try_it()
    with pytest.raises(NotYet):
        await world.deploy_it()
    found = await world.bundles.find(SESSION)
    assert found.number == 2
    assert found.digest == world.work.memory.bundle.digest
    assert [entry.output_tokens for entry in (*found.earlier, found.generation)] == [4000, 400]


async def test_one_that_cannot_be_stored_is_not_ordered_again():
    world = World()
    await world.try_it()
    world.bundles.store = failing_once(world.bundles.store)
    with pytest.raises(TimeoutError):
        await world.deploy_it()
    with pytest.raises(NotYet):
        await world.deploy_it()
    assert len(world.claude.orders) == 2
