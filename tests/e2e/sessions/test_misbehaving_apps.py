"""Apps that misbehave on their droplets: each way to fail is told apart, and nothing is left."""

import pytest
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.kstatus import kstatus
from tests.e2e.sessions.misbehaving import DEAD_AT_START, HARMFUL


async def test_a_script_that_fails_has_a_result_like_any_other(misbehaving):
    one = misbehaving["fails"]
    await one.until_running()
    page = await one.until_page(lambda seen: "3" in seen.text and "exit" in seen.text.lower())
    assert "the configuration makes no sense" in page.text


@pytest.mark.parametrize("name", HARMFUL)
async def test_an_app_that_takes_too_much_is_stopped_and_told_apart(misbehaving, name):
    one = misbehaving[name]
    _, reason, line = HARMFUL[name]
    await one.until_destroyed()
    assert one.status["terminationReason"] == reason
    assert line in one.status["message"] + "\n".join((await one.record())["status"]["log"])
    assert kstatus(one.document) == "Failed"


@pytest.mark.parametrize("name", DEAD_AT_START)
async def test_an_app_that_never_comes_up_is_told_apart_with_its_last_lines(misbehaving, name):
    one = misbehaving[name]
    _, reason, line = DEAD_AT_START[name]
    await one.until_destroyed(120)
    assert one.status["terminationReason"] == reason
    assert line in one.status["message"]
    assert kstatus(one.document) == "Failed"
    assert (await one.until_event(reason))["type"] == "Warning"


@pytest.mark.parametrize("name", [*HARMFUL, *DEAD_AT_START])
async def test_a_failed_app_keeps_its_log_and_leaves_nothing(misbehaving, name):
    one = misbehaving[name]
    await one.until_destroyed(120)
    await one.assert_nothing_is_left()
    await one.assert_cost_is_what_was_billed()
    assert (await one.record())["status"]["log"]


async def test_the_neighbours_never_notice(misbehaving):
    await misbehaving["neighbour"].until_running()
    await eventually(
        "the neighbour answers", misbehaving["neighbour"].fetch, lambda page: page.status == 200
    )
    assert misbehaving["neighbour"].phases[-1] == "Running"
