"""An app that breaks after it was Ready: soon known, told as it is, and named at its end."""

from datetime import timedelta

import pytest
from tests.unit.lifecycle.life import IP, START, Life, a_session, an_offer

from spawnai.api.conditions import ConditionType, find_condition
from spawnai.api.session import AppType, Phase, SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.health import SILENT_CHECKS
from spawnai.lifecycle.keep import FIRST_LOOK, LONGEST_UNSEEN
from spawnai.lifecycle.observation import AppView, Effort, FailureKind

WORDS = "the app used more memory than it may; its last lines: hoarding"
API = SessionSpec(prompt="An API about ferns", app_type=AppType.API)


def running() -> Life:
    life = Life(session=a_session(spec=API, ttl="2h"), offer=an_offer()).settle()
    assert life.status.phase is Phase.RUNNING
    return life


def said_by(life: Life, state: str) -> AppView:
    failed = state == "failed"
    return AppView(state, "OutOfMemory" if failed else None, life.now, WORDS if failed else "")


def fail(life: Life) -> Life:
    """The agent says at the next question that the app has stopped for good."""
    life.app = said_by(life, "failed")
    return life.settle()


def silence(life: Life) -> Life:
    """The agent answers no question any more."""
    life.failing[do.CheckApp] = lambda _: life.fail(
        FailureKind.TRANSIENT, "AgentUnreachable", "no answer"
    )
    return life


def questions(life: Life, until: timedelta) -> list[float]:
    """When the agent is asked how the app is, in minutes after Ready."""
    ready_at, asked = life.now, []
    while life.wake_at is not None and life.wake_at <= ready_at + until:
        before = life.kinds_done().count("CheckApp")
        life.now = life.wake_at
        life.settle()
        if life.kinds_done().count("CheckApp") > before:
            asked.append((life.now - ready_at) / timedelta(minutes=1))
    return asked


def test_an_app_is_asked_after_soon_then_as_long_as_it_has_lived_then_every_half_hour():
    asked = questions(running(), timedelta(minutes=95))
    assert asked == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 62, 92]


def test_an_app_that_died_within_a_minute_of_ready_is_asked_after_within_another():
    asked = questions(running(), timedelta(minutes=95))
    for died in (0.1, 0.3, 0.6, 0.99):
        assert min(one for one in asked if one >= died) - died <= 1


def test_what_was_heard_of_an_app_long_before_ready_is_asked_for_again_at_once():
    life = Life(session=a_session(spec=API, ttl="2h"), offer=an_offer())
    life.held.add("AwaitFirewall")
    life.settle()
    life.app = said_by(life, "running")
    life.now += 2 * FIRST_LOOK
    life.held.clear()
    life.firewall_in_force = True
    life.settle()
    assert life.status.phase is Phase.RUNNING
    assert "CheckApp" in life.kinds_done()


def test_an_app_that_is_started_again_is_looked_at_again_soon():
    life = running().pass_time(minutes=20)
    said_at, life.app = life.now, said_by(life, "starting")
    life.settle().done.clear()
    life.now = said_at + FIRST_LOOK
    assert "CheckApp" in life.settle().kinds_done()
    assert life.condition("AppHealthy") == ("True", "Answers"), "it is not given up yet"


def test_a_restarted_operator_asks_after_the_apps_it_finds_at_spread_times():
    life = running().pass_time(minutes=20)
    life.restart().settle()
    restarted = life.now
    life.done.clear()
    life.pass_time(minutes=5, seconds=-1)
    assert "CheckApp" not in life.kinds_done()
    assert "CheckApp" in life.pass_time(seconds=1).kinds_done()
    assert life.now == restarted + timedelta(minutes=5)


def test_an_app_that_is_ready_in_the_second_of_the_start_is_asked_after_soon():
    life = running()
    life.started_at = START + timedelta(milliseconds=400)
    assert life.settle().wake_at == START + FIRST_LOOK


def test_an_app_that_stopped_for_good_is_told_with_its_last_lines():
    life = fail(running().pass_time(minutes=1))
    assert life.status.message == WORDS
    for type_ in ("AppHealthy", "Ready"):
        assert life.condition(type_) == ("False", "OutOfMemory")
    assert life.condition("Stalled") == ("True", "OutOfMemory")
    assert life.condition("Reconciling") is None
    stalled = find_condition(life.status.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert stalled.message == WORDS
    told = [notice for notice in life.notices if notice.reason == "OutOfMemory"]
    assert [(one.type, one.message) for one in told] == [("Warning", WORDS)]
    assert life.status.phase is Phase.RUNNING, "it still costs, until its time is over"


def test_a_failed_app_is_told_once_and_nothing_more_is_written():
    life = fail(running().pass_time(minutes=1))
    written = len(life.statuses)
    life.pass_time(minutes=50)
    assert len(life.statuses) == written
    assert life.reasons().count("OutOfMemory") == 1


def test_a_restarted_operator_still_says_that_the_app_failed():
    life = fail(running().pass_time(minutes=1))
    told = life.status
    life.restart()
    life.app = None
    life.settle()
    assert life.status == told


@pytest.mark.parametrize("restarted", [False, True])
def test_the_end_of_a_failed_app_s_time_is_told_by_its_failure(restarted):
    life = fail(running().pass_time(minutes=1))
    if restarted:
        life.restart()
        life.app = None
        life.settle()
    life.pass_time(hours=2)
    assert life.status.phase is Phase.DESTROYED
    assert (life.status.termination_reason, life.status.message) == ("OutOfMemory", WORDS)
    assert life.condition("Stalled") == ("True", "OutOfMemory")
    assert life.condition("Expired") == ("True", "Expired")
    assert life.condition("CleanupComplete") == ("True", "SeenGone")
    assert life.record is not None
    assert life.record.status.termination_reason == "OutOfMemory"
    assert life.reasons().count("Expired") == 1
    assert life.reasons().count("OutOfMemory") == 1


def test_a_failure_that_is_heard_of_with_the_last_log_is_in_time_for_the_end():
    life = running().pass_time(hours=2, seconds=-3)
    fail(life)
    life.pass_time(seconds=3)
    assert life.status.termination_reason == "OutOfMemory"


def test_a_failed_app_s_session_that_is_deleted_was_deleted():
    life = fail(running().pass_time(minutes=1))
    life.change(deleting=True)
    assert life.record is not None
    assert life.record.status.termination_reason == "Deleted"


def test_nobody_knows_how_an_app_is_whose_agent_is_silent_and_the_status_says_so():
    life = silence(running())
    life.pass_time(minutes=2)
    assert life.condition("AppHealthy") == ("Unknown", "AgentUnreachable")
    assert life.condition("Ready") == ("Unknown", "AgentUnreachable")
    assert life.condition("Stalled") is None
    assert IP in (life.status.message or "")
    assert "does not answer" in (life.status.message or "")
    told = [notice for notice in life.notices if notice.reason == "AgentUnreachable"]
    assert [one.type for one in told] == ["Warning"]


def test_a_few_questions_without_an_answer_say_nothing_yet():
    life = silence(running())
    life.pass_time(seconds=FIRST_LOOK.total_seconds() + SILENT_CHECKS - 2)
    assert life.efforts[do.key_of(do.CheckApp)].failures == SILENT_CHECKS - 1
    assert life.condition("AppHealthy") == ("True", "Answers")


def test_an_agent_that_answers_again_is_believed_at_once():
    life = silence(running()).pass_time(minutes=2)
    del life.failing[do.CheckApp]
    life.now += timedelta(seconds=1)
    life.app = said_by(life, "running")
    life.efforts[do.key_of(do.CheckApp)] = Effort(started_at=life.now, done_at=life.now)
    life.settle()
    assert life.condition("AppHealthy") == ("True", "Answers")
    assert life.condition("Ready") == ("True", "Running")
    assert (life.status.message or "").startswith("Running at")


def test_a_restarted_operator_asks_a_silent_agent_again_at_once():
    life = silence(running()).pass_time(minutes=2)
    life.restart()
    life.app = None
    life.done.clear()
    assert "CheckApp" in life.settle().kinds_done()
    assert life.condition("AppHealthy") == ("Unknown", "AgentUnreachable")


def test_an_answer_that_cannot_be_written_down_is_not_asked_for_again():
    life = silence(running()).pass_time(minutes=2)
    life.restart()
    life.settle()
    del life.failing[do.CheckApp]
    life.app = said_by(life, "running")
    life.efforts[do.key_of(do.CheckApp)] = Effort(started_at=life.now, done_at=life.now)
    assert life.condition("AppHealthy") == ("Unknown", "AgentUnreachable")
    assert not any(isinstance(one, do.CheckApp) for one in life.plan().actions)


def test_a_failure_is_not_forgotten_when_the_agent_falls_silent():
    life = silence(fail(running().pass_time(seconds=5)))
    life.pass_time(seconds=LONGEST_UNSEEN.total_seconds() + 30)
    assert life.efforts[do.key_of(do.CheckApp)].failures >= SILENT_CHECKS
    assert life.condition("Stalled") == ("True", "OutOfMemory")
