"""Apps that misbehave on their droplets: each way to fail is told apart, and nothing is left."""

from collections.abc import Mapping

import pytest
import pytest_asyncio
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.kstatus import kstatus
from tests.e2e.sessions.world import Session, World, session

DEAD_AT_START = {
    "silent": ("app-never-answers", "AppNeverAnswered", "listening, and never answering"),
    "dies": ("app-dies-at-once", "AppCrashed", "the configuration makes no sense"),
}
HARMFUL = {
    "memory": ("app-fills-memory", "OutOfMemory", "filling the memory"),
    "disk": ("app-fills-disk", "DiskFull", "filling the disk"),
    "forks": ("app-forks-without-end", "TooManyProcesses", "starting processes without end"),
}
"""By name: the fault, the reason, and a line that the app wrote before its end."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apps(world: World, namespace: str) -> Mapping[str, Session]:
    sessions = await world.apply(
        namespace,
        *(
            session(name, f"An API about ferns simulate:{fault}", "api")
            for name, (fault, _, _) in DEAD_AT_START.items()
        ),
        *(
            session(name, f"A script about ferns simulate:{fault}", "script", tier="light")
            for name, (fault, _, _) in HARMFUL.items()
        ),
        session("fails", "A script about ferns simulate:app-dies-at-once", "script"),
        session("neighbour", "A page about the neighbours"),
    )
    return {one.name: one for one in sessions}


async def test_a_script_that_fails_has_a_result_like_any_other(apps):
    one = apps["fails"]
    await one.until_running()
    page = await one.until_page(lambda seen: "3" in seen.text and "exit" in seen.text.lower())
    assert "the configuration makes no sense" in page.text


@pytest.mark.parametrize("name", HARMFUL)
async def test_an_app_that_takes_too_much_is_stopped_and_told_apart(apps, name):
    one = apps[name]
    _, reason, line = HARMFUL[name]
    await one.until_destroyed()
    assert one.status["terminationReason"] == reason
    assert line in one.status["message"] + "\n".join((await one.record())["status"]["log"])
    assert kstatus(one.document) == "Failed"


@pytest.mark.parametrize("name", DEAD_AT_START)
async def test_an_app_that_never_comes_up_is_told_apart_with_its_last_lines(apps, name):
    one = apps[name]
    _, reason, line = DEAD_AT_START[name]
    await one.until_destroyed(120)
    assert one.status["terminationReason"] == reason
    assert line in one.status["message"]
    assert kstatus(one.document) == "Failed"
    assert (await one.until_event(reason))["type"] == "Warning"


@pytest.mark.parametrize("name", [*HARMFUL, *DEAD_AT_START])
async def test_a_failed_app_keeps_its_log_and_leaves_nothing(apps, name):
    one = apps[name]
    await one.until_destroyed(120)
    await one.assert_nothing_is_left()
    await one.assert_cost_is_what_was_billed()
    assert (await one.record())["status"]["log"]


async def test_the_neighbours_never_notice(apps):
    await apps["neighbour"].until_running()
    await eventually(
        "the neighbour answers", apps["neighbour"].fetch, lambda page: page.status == 200
    )
    assert apps["neighbour"].phases[-1] == "Running"
