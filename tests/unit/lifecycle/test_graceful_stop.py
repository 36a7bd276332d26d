"""An app is told of its end shortly before it, and the end waits for nothing.

Times in words: the app is Ready at 12:00:00 and its time is over at 14:00:00. With the class's
default it is stopped at 13:59:55.
"""

from datetime import timedelta

import pytest
from tests.unit.lifecycle.life import START, Life, a_session, an_offer

from spawnai.api.session import AppType, SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import AppView, FailureKind

END = START + timedelta(hours=2)


def running(ttl: str = "2h", **lifetime: str) -> Life:
    order = SessionSpec(prompt="An app about ferns", app_type=AppType.API)
    offer = an_offer(lifetime=lifetime)
    return Life(session=a_session(spec=order, ttl=ttl), offer=offer).settle()


def until(life: Life, moment) -> Life:
    return life.pass_time(seconds=(moment - life.now).total_seconds())


def count(life: Life, name: str) -> int:
    return life.kinds_done().count(name)


def deletions(life: Life) -> int:
    return count(life, "DeleteDroplet")


@pytest.mark.parametrize(("graceful_stop", "seconds"), [("5s", 5), ("30s", 30)])
def test_it_is_stopped_ahead_and_its_droplet_goes_on_the_second(graceful_stop, seconds):
    life = until(running(gracefulStop=graceful_stop), END - timedelta(seconds=seconds + 1))
    assert count(life, "StopApp") == 0
    until(life, END - timedelta(seconds=seconds))
    assert (count(life, "StopApp"), deletions(life)) == (1, 0)
    until(life, END - timedelta(seconds=1))
    assert (count(life, "StopApp"), deletions(life)) == (1, 0)
    until(life, END)
    assert deletions(life) == 1
    assert count(life, "TakeLog") == 0
    assert life.status.termination_reason == "Expired"


def test_an_agent_that_does_not_answer_costs_no_time():
    life = until(running(), END - timedelta(seconds=6))
    life.held.add(do.StopApp)
    until(life, END)
    assert deletions(life) == 1


def test_a_stop_that_failed_is_tried_again_until_the_end():
    life = until(running(), END - timedelta(seconds=6))
    life.failing[do.StopApp] = lambda _: life.fail(FailureKind.TRANSIENT, message="no answer")
    until(life, END - timedelta(seconds=2))
    assert count(life, "StopApp") > 1
    until(life, END)
    assert deletions(life) == 1


def test_no_status_is_written_for_it():
    life = until(running(), END - timedelta(seconds=6))
    written = len(life.statuses)
    until(life, END - timedelta(seconds=1))
    assert len(life.statuses) == written


@pytest.mark.parametrize("answered", [True, False], ids=["stopped", "perhaps stopped"])
def test_an_app_that_was_stopped_for_an_end_which_is_put_off_serves_again(answered):
    life = until(running(), END - timedelta(seconds=6))
    if not answered:
        life.failing[do.StopApp] = lambda _: life.fail(FailureKind.TRANSIENT, message="lost")
    until(life, END - timedelta(seconds=4))
    life.change(ttl="3h")
    assert count(life, "RestartApp") == 1
    life.failing.clear()
    until(life, END + timedelta(hours=1))
    assert count(life, "StopApp") > 1
    assert deletions(life) == 1


def test_while_the_droplet_is_told_of_a_later_end_the_app_is_not_stopped():
    life = until(running(), END - timedelta(seconds=8))
    life.held.add(do.SetExpiry)
    life.change(ttl="3h")
    until(life, END - timedelta(seconds=1))
    assert count(life, "StopApp") == 0


def test_another_operator_finds_a_stopped_app_whose_end_was_put_off():
    life = until(running(), END - timedelta(seconds=4))
    life.session = life.restart().session
    life.change(ttl="3h")
    life.pass_time(minutes=6)
    assert count(life, "RestartApp") == 1


def test_a_short_life_is_not_spent_standing_still():
    life = running(ttl="8s")
    life.pass_time(seconds=5)
    assert count(life, "StopApp") == 0
    life.pass_time(seconds=1)
    assert count(life, "StopApp") == 1


def test_an_app_that_has_failed_keeps_the_page_that_says_why():
    life = running()
    life.app = AppView("failed", "AppCrashed", life.now, "it died")
    until(life, END)
    assert (count(life, "StopApp"), count(life, "TakeLog")) == (0, 1)
    assert life.status.termination_reason == "AppCrashed"


@pytest.mark.parametrize("change", [{"ttl": "0s"}, {"expires_at": "now"}, {"deleting": True}])
def test_an_end_that_nobody_foresaw_does_not_wait_for_the_app(change):
    life = running().pass_time(minutes=30)
    life.change(**change)
    assert deletions(life) == 1
    assert count(life, "StopApp") == 0
