"""The last lines of an app's log are those before its end, whatever was taken for an earlier one.

Times in words: the app is Ready at 12:00:00 and its time is over at 14:00:00, so its log is taken
at 13:59:55, and nothing waits for it at 14:00:00. Here no app is told of its end
(test_graceful_stop.py).
"""

from datetime import timedelta

import pytest
from tests.unit.lifecycle.life import START, Life, a_session, an_offer

from spawnai.api.session import AppType, SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import FailureKind
from spawnai.lifecycle.teardown import LOG_LIMIT

WITH_DOMAIN = {"exposure": {"domain": "spawn-ai.test"}}
END = START + timedelta(hours=2)


def running(app_type: AppType = AppType.API, **spec) -> Life:
    order = SessionSpec(prompt="An app about ferns", app_type=app_type)
    spec = {"lifetime": {"gracefulStop": "0s"}} | spec
    life = Life(session=a_session(spec=order, ttl="2h"), offer=an_offer(**spec)).settle()
    assert life.status.expiration_time == END
    return life


def until(life: Life, moment) -> Life:
    return life.pass_time(seconds=(moment - life.now).total_seconds())


def logs_taken(life: Life) -> int:
    return life.kinds_done().count("TakeLog")


def deleted(life: Life) -> list[str]:
    return [str(one.line.kind) for one in life.done if isinstance(one, do.Delete)]


def test_the_log_is_taken_ahead_and_the_end_waits_for_nothing():
    life = until(running(), END - timedelta(seconds=6))
    assert logs_taken(life) == 0
    until(life, END - timedelta(seconds=5))
    assert logs_taken(life) == 1
    life.held.add(do.TakeLog)
    until(life, END)
    assert deleted(life) == ["Droplet"]
    assert logs_taken(life) == 1


def test_a_log_taken_for_an_end_that_was_put_off_is_taken_again_for_the_new_one():
    life = until(running(), END - timedelta(seconds=3))
    life.change(ttl="3h")
    until(life, END + timedelta(hours=1))
    assert logs_taken(life) == 2
    assert deleted(life) == ["Droplet"]


@pytest.mark.parametrize("change", [{"ttl": "0s"}, {"expires_at": "now"}, {"deleting": True}])
def test_an_end_that_nobody_foresaw_waits_for_the_log_but_no_name_does(change):
    life = running(**WITH_DOMAIN).pass_time(minutes=10)
    life.held.add(do.TakeLog)
    life.change(**change)
    assert logs_taken(life) == 1
    assert deleted(life) == ["DomainRecord"]
    life.pass_time(seconds=LOG_LIMIT.total_seconds())
    assert deleted(life) == ["DomainRecord", "Droplet"]


def test_an_end_that_nobody_foresaw_waits_less_than_a_second():
    assert timedelta(seconds=1) > LOG_LIMIT


def test_an_early_end_does_not_take_an_old_log_for_its_last():
    life = until(running(), END - timedelta(seconds=3)).change(ttl="3h")
    assert logs_taken(life) == 1
    life.pass_time(minutes=5).change(expires_at="now")
    assert logs_taken(life) == 2
    assert deleted(life) == ["Droplet"]


def test_an_operator_that_starts_after_the_end_takes_the_log_first():
    life = running().pass_time(minutes=10)
    life.restart()
    life.now = END + timedelta(minutes=1)
    life.settle()
    assert logs_taken(life) == 1
    kinds = life.kinds_done()
    assert kinds.index("TakeLog") < kinds.index("DeleteDroplet")


def test_a_log_that_cannot_be_had_holds_nothing_up():
    life = running().pass_time(minutes=10)
    life.failing[do.TakeLog] = lambda _: life.fail(FailureKind.TRANSIENT, message="no answer")
    life.change(expires_at="now")
    assert deleted(life) == ["Droplet"]


def test_a_cloud_that_does_not_answer_leads_to_no_further_questions_for_the_log():
    life = running().pass_time(minutes=10)
    life.failing[do.Delete] = lambda _: life.fail(FailureKind.TRANSIENT)
    life.change(expires_at="now").pass_time(minutes=1)
    assert logs_taken(life) == 1


def test_a_teardown_that_takes_long_keeps_the_log_through_a_restart():
    life = running().pass_time(minutes=10)
    life.log = ("goodbye",)
    life.failing[do.Verify] = lambda _: life.fail(FailureKind.TRANSIENT, message="still there")
    life.change(expires_at="now").pass_time(seconds=20)
    life.restart()
    life.failing.clear()
    life.pass_time(seconds=20)
    assert life.record is not None
    assert life.record.status.completed_at is not None
    assert life.record.status.log == ["goodbye"]


def test_a_webapp_has_no_process_and_no_log():
    life = running(AppType.WEBAPP).pass_time(minutes=10)
    life.change(expires_at="now")
    assert logs_taken(life) == 0
    assert deleted(life) == ["Droplet"]


def test_a_log_that_is_being_taken_is_waited_for_to_the_millisecond():
    life = running().pass_time(minutes=30)
    life.held.add(do.TakeLog)
    life.change(deleting=True)
    assert life.wake_at == life.now + LOG_LIMIT
    life.pass_time(milliseconds=LOG_LIMIT / timedelta(milliseconds=1) - 1)
    assert deleted(life) == []
    life.pass_time(milliseconds=1)
    assert deleted(life) == ["Droplet"]


def test_a_log_that_was_taken_holds_nothing_up():
    life = running().pass_time(minutes=30).change(deleting=True)
    assert logs_taken(life) == 1
    assert deleted(life) == ["Droplet"]
