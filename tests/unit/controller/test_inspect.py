"""The look at a page before Ready: its picture is kept, and what is wrong is repaired."""

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.controller.test_bundles import SESSION
from tests.unit.controller.test_generate import Surroundings
from tests.unit.controller.test_repairs import Claude, failing_once
from tests.unit.lifecycle.life import IP

from spawnai.clock import SystemClock
from spawnai.controller.actions.inspect import Inspect
from spawnai.controller.cluster import ObjectNotFound
from spawnai.controller.failures import NotYet, SessionFailed
from spawnai.inspector.client import InspectorAway
from spawnai.inspector.inspection import Inspection
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Effort
from spawnai.telemetry.metrics import Metrics

LOOK = do.PageLook("https://board.example.com/", IP, repairs=True)
PICTURE = b"\x89PNG\r\n\x1a\nboard"


class Inspector:
    """Shows each of `shows` once, then a page that works."""

    def __init__(self) -> None:
        self.shows = []
        self.asked = []

    async def inspect(self, target) -> Inspection:
        self.asked.append(target)
        shown = self.shows.pop(0) if self.shows else ()
        if isinstance(shown, Exception):
            raise shown
        return Inspection(shown, PICTURE, 0.5)


def inspect_with(world: Surroundings, inspector: Inspector) -> Inspect:
    return Inspect(
        inspector,
        bundles=world.bundles,
        metrics=Metrics(CollectorRegistry()),
        clock=SystemClock(),
        repair=world.generate.repair_app,
    )


class World(Surroundings):
    def __init__(self) -> None:
        super().__init__(Claude())
        self.inspector = Inspector()
        self.inspect = inspect_with(self, self.inspector)

    async def look(self, *, repairs: bool = True) -> None:
        look = do.PageLook(LOOK.url, LOOK.address, repairs)
        action = do.InspectApp(look, self.memory.bundle.digest)
        self.memory.efforts[action.key] = Effort(running=True)
        await self.inspect.inspect_app(self.work, action)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.try_it()
    return made


async def test_a_page_that_works_is_pictured_and_costs_nothing(world):
    await world.look()
    assert world.memory.page.findings == ()
    assert await world.bundles.screenshot(SESSION) == PICTURE
    assert [target.address for target in world.inspector.asked] == [IP]
    assert len(world.claude.orders) == 1


async def test_one_that_does_not_work_is_repaired_and_the_repaired_one_is_looked_at_again(world):
    world.inspector.shows = [("main.js:3: uncaught TypeError",)]
    with pytest.raises(NotYet, match="it was repaired"):
        await world.look()
    assert world.memory.bundle.number == 2
    assert "main.js:3: uncaught TypeError" in world.claude.orders[-1].before.findings
    await world.look()
    assert world.memory.page.digest == world.memory.bundle.digest
    assert world.memory.page.findings == ()


async def test_after_two_repairs_the_session_ends_and_says_what_the_page_does(world):
    world.inspector.shows = [("the page is blank",)] * 3
    for _ in range(2):
        with pytest.raises(NotYet):
            await world.look()
    with pytest.raises(SessionFailed, match="the page is blank") as failed:
        await world.look()
    assert failed.value.reason == "PageBroken"
    assert len(world.claude.orders) == 3


async def test_where_findings_are_only_told_nothing_is_paid_for(world):
    world.inspector.shows = [("the page is blank",)]
    await world.look(repairs=False)
    assert world.memory.page.findings == ("the page is blank",)
    assert len(world.claude.orders) == 1


async def test_an_inspector_that_is_away_fails_nothing(world):
    world.inspector.shows = [InspectorAway("the inspector does not answer")]
    await world.look()
    assert (world.memory.page.findings, world.memory.page.problem) == (
        (),
        "the inspector does not answer",
    )
    with pytest.raises(ObjectNotFound):
        await world.bundles.screenshot(SESSION)


async def test_a_repair_that_could_not_be_stored_is_not_looked_at_or_ordered_again(world):
    world.inspector.shows = [("the page is blank",)]
    world.bundles.store = failing_once(world.bundles.store)
    with pytest.raises(TimeoutError):
        await world.look()
    with pytest.raises(NotYet):
        await world.look()
    assert len(world.inspector.asked) == 1
    assert len(world.claude.orders) == 2
