"""Apps that misbehave on their droplets: each way to fail is told apart, and nothing is left."""

import pytest
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.kstatus import is_true, kstatus
from tests.e2e.sessions.misbehaving import DEAD_AT_START, HARMFUL, HOARDS
from tests.e2e.sessions.world import session
from tests.support.gitops import ARGO_CD_OF_KSTATUS, argo_cd_health, kstatus_of


async def test_a_script_that_ends_with_an_error_has_failed(misbehaving):
    one = misbehaving["fails"]
    await one.until_destroyed(120)
    assert one.status["terminationReason"] == "ScriptFailed"
    assert "the configuration makes no sense" in one.status["message"]
    assert kstatus(one.document) == "Failed"
    assert (await one.claude_bill())["calls"] == 2  # the repair was the same app again


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


async def test_an_app_that_breaks_after_it_was_ready_is_told_apart_while_it_lives_and_at_its_end(
    misbehaving,
):
    one = misbehaving[HOARDS]
    await one.until_running()
    message = await one.until_stalled("OutOfMemory", 150)
    assert "so it is given up" in message, "the last lines of its log"
    assert (one.phase, one.status["message"]) == ("Running", message)
    for type_ in ("Ready", "AppHealthy"):
        assert (one.condition(type_)["status"], one.condition(type_)["reason"]) == (
            "False",
            "OutOfMemory",
        )
    assert kstatus(one.document) == "Failed"
    assert (await one.until_event("OutOfMemory"))["type"] == "Warning"
    await one.annotate(expires_at="now")
    await one.until_destroyed()
    assert one.status["terminationReason"] == "OutOfMemory"
    assert one.status["message"] == message
    assert is_true(one.document, "Expired")
    assert kstatus(one.document) == "Failed"
    record = (await one.record())["status"]
    assert record["terminationReason"] == "OutOfMemory"
    assert any("so it is given up" in line for line in record["log"])
    assert [event["reason"] for event in await one.events()].count("OutOfMemory") == 1


async def test_a_droplet_that_is_off_is_told_and_switched_on_again(world, namespace):
    [one] = await world.apply(namespace, session("switched-off"))
    await one.until_running()
    actions = f"/v2/droplets/{one.status['droplet']['id']}/actions"
    await world.digitalocean("POST", actions, {"type": "power_off"})
    await one.until(
        "is known to be off",
        lambda seen: seen.condition("AppHealthy")["reason"] == "PoweredOff",
        60,
    )
    for type_ in ("Ready", "AppHealthy"):
        assert one.condition(type_)["status"] == "False"
    assert str(one.status["droplet"]["id"]) in one.status["message"]
    assert (await one.until_event("PoweredOff"))["type"] == "Warning"
    await one.until("answers again", lambda seen: seen.condition("Ready")["status"] == "True", 90)
    assert one.status["message"].startswith("Running at")
    assert "PoweredOff" not in str(one.status)


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


async def test_flux_and_argo_cd_read_every_status_of_all_these_lives_alike(misbehaving, world):
    seen = [document for one in world.sessions for document in one.history]
    verdicts = kstatus_of(seen)
    assert verdicts == [kstatus(document) for document in seen]
    assert {"InProgress", "Current", "Failed"} <= set(verdicts)
    assert [argo_cd_health(document)[0] for document in seen] == [
        ARGO_CD_OF_KSTATUS[verdict] for verdict in verdicts
    ]
