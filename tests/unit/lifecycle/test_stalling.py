"""Whatever a session cannot go on for, or cannot end for, is told once as an event."""

from dataclasses import replace

import pytest
from tests.unit.lifecycle.life import Life, a_session, an_offer

from spawnai.api.conditions import ConditionType, find_condition
from spawnai.api.record import RecordStatus
from spawnai.api.session import AppType, Phase, SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import ANY
from spawnai.lifecycle.observation import Failure, FailureKind
from spawnai.lifecycle.status import Notice


def told(life: Life, reason: str) -> list[Notice]:
    return [notice for notice in life.notices if notice.reason == reason]


def refused(life: Life, action: type[do.Action], reason: str) -> Life:
    life.failing[action] = lambda _: life.fail(FailureKind.NEEDS_PERSON, reason, "the key is wrong")
    return life.settle()


def without(life: Life, region: str, size: str) -> Life:
    """DigitalOcean does not know what the order names."""

    def refuse(_: do.Action) -> Failure:
        failure = life.fail(FailureKind.UNKNOWN_OPTION, "UnknownOption", "you named none")
        life.rejected[(region, size)] = failure
        return failure

    life.failing["CreateDroplet"] = refuse
    return life.settle()


@pytest.mark.parametrize(
    ("action", "reason"),
    [(do.GenerateApp, "ClaudeNoCredit"), ("CreateDroplet", "DigitalOceanUnauthorized")],
)
def test_a_key_that_is_refused_in_mid_life_is_told_once_and_stands_unchanged(action, reason):
    life = refused(Life(), action, reason)
    since = find_condition(life.status.conditions, ConditionType.STALLED)
    life.pass_time(minutes=3)
    assert life.condition("Stalled") == ("True", reason)
    assert [(one.type, one.message) for one in told(life, reason)] == [
        ("Warning", "the key is wrong")
    ]
    assert find_condition(life.status.conditions, ConditionType.STALLED) == since


def test_a_session_that_stalls_for_another_reason_tells_that_too():
    life = refused(Life(), do.GenerateApp, "ClaudeNoCredit")
    refused(life, do.GenerateApp, "ClaudeUnauthorized").pass_time(minutes=1)
    assert life.condition("Stalled") == ("True", "ClaudeUnauthorized")
    assert len(told(life, "ClaudeNoCredit")) == len(told(life, "ClaudeUnauthorized")) == 1


def test_a_session_that_stalls_again_tells_it_again():
    life = refused(Life(held={"CreateDroplet"}), do.GenerateApp, "ClaudeNoCredit")
    life.held.add(do.GenerateApp)
    life.failing.clear()
    life.pass_time(seconds=2)
    assert life.efforts[life.key("GenerateApp")].running
    life.efforts[life.key("GenerateApp")] = replace(
        life.efforts[life.key("GenerateApp")], failure=None, running=False
    )
    life.settle()
    assert life.condition("Stalled") is None
    life.held.discard(do.GenerateApp)
    life.efforts.pop(life.key("GenerateApp"))
    refused(life, do.GenerateApp, "ClaudeNoCredit")
    assert len(told(life, "ClaudeNoCredit")) == 2


def test_a_region_or_size_that_does_not_exist_is_told_once():
    life = without(Life(offer=an_offer(regions=["zzz9"])), "zzz9", ANY).pass_time(minutes=3)
    assert life.condition("Stalled") == ("True", "UnknownRegionOrSize")
    [notice] = told(life, "UnknownRegionOrSize")
    assert notice.type == "Warning"
    assert "region and size" in notice.message


def test_an_image_that_does_not_exist_is_not_taken_for_a_region_or_a_size():
    life = without(Life(), ANY, ANY).pass_time(minutes=3)
    assert life.condition("Stalled") == ("True", "UnknownImage")
    assert life.condition("DropletReady") == ("False", "UnknownImage")
    [notice] = told(life, "UnknownImage")
    assert "spec.image.name" in notice.message
    assert "region" not in notice.message


def test_a_location_that_the_class_does_not_name_is_told_once():
    order = SessionSpec(prompt="A retro board", app_type=AppType.WEBAPP, location="moon")
    life = Life(session=a_session(spec=order)).settle().pass_time(minutes=3)
    [notice] = told(life, "UnknownRegionOrSize")
    assert "'moon'" in notice.message


def test_a_failure_that_ends_a_session_is_told_once():
    life = Life()
    life.failing[do.DeployApp] = lambda _: life.fail(FailureKind.FINAL, "AppCrashed", "boom")
    life.settle()
    assert [one.type for one in told(life, "AppCrashed")] == ["Warning"]


def test_a_teardown_that_begins_to_name_what_is_left_tells_it_once():
    life = Life().settle()
    life.failing[do.Verify] = lambda _: life.fail(FailureKind.TRANSIENT, message="still there")
    life.change(expires_at="now").pass_time(seconds=14)
    assert told(life, "CleanupDelayed") == []
    life.pass_time(minutes=5)
    [notice] = told(life, "CleanupDelayed")
    assert notice.type == "Warning"
    assert "Droplet 77" in notice.message
    assert "still there" in notice.message


def test_a_teardown_that_waits_for_an_answer_says_so_in_plain_words():
    life = Life(held={"CreateDroplet"}).settle().change(expires_at="now")
    life.pass_time(minutes=1)
    assert "has not answered whether it made a Droplet" in (life.status.message or "")
    assert len(told(life, "CleanupDelayed")) == 1


def test_a_status_that_somebody_forged_is_answered_with_what_was_done_and_what_to_do():
    life = Life().settle()
    forged = life.status.model_copy(update={"phase": Phase.DESTROYED})
    life.change(status=forged)
    assert life.record is not None
    assert life.record.status.completed_at is not None
    assert "apply it under a new name" in (life.status.message or "")


def test_a_ledger_that_is_closed_already_is_told_by_its_kind():
    life = Life().settle()
    assert life.record is not None
    closed = RecordStatus(completed_at=life.now, termination_reason="Expired")
    life.record = replace(life.record, status=closed)
    life.settle()
    assert "SpawnRecord" in (life.status.message or "")
