"""Why a session ended is still told after its teardown took long and said what was left."""

from tests.unit.lifecycle.life import Life

from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import FailureKind


def test_a_tombstone_says_why_it_ended_and_not_what_its_teardown_waited_for():
    life = Life()
    why = "Claude declined to write this app"
    life.failing[do.GenerateApp] = lambda _: life.fail(FailureKind.FINAL, "GenerationRefused", why)
    life.failing[do.Verify] = lambda _: life.fail(FailureKind.TRANSIENT, message="still there")
    life.settle()
    for _ in range(12):
        life.pass_time(seconds=2)
    assert "Not seen gone yet" in (life.status.message or "")
    del life.failing[do.Verify]
    for _ in range(12):
        life.pass_time(seconds=2)
    assert life.status.destroyed_at is not None
    assert (life.status.termination_reason, life.status.message) == ("GenerationRefused", why)


def test_an_end_that_was_written_to_the_ledger_alone_still_says_why():
    life = Life(claude_answers=False)
    why = "the Secret spawn-1-app holds something that is not ours"
    life.failing[do.GenerateApp] = lambda _: life.fail(FailureKind.FINAL, "SecretNotOurs", why)
    life.settle()
    assert life.record is not None
    assert life.record.status.completed_at is not None
    began = next(status for status in life.statuses if status.termination_reason is None)
    life.change(status=began)
    assert (life.status.termination_reason, life.status.message) == ("SecretNotOurs", why)
    assert life.condition("Stalled") == ("True", "SecretNotOurs")


def test_an_expiry_that_was_written_to_the_ledger_alone_is_no_failure():
    life = Life()
    life.settle()
    running = life.status
    life.change(expires_at="now")
    assert life.status.termination_reason == "Expired"
    life.change(status=running)
    assert life.status.termination_reason == "Expired"
    assert life.condition("Stalled") is None
    assert life.condition("Expired") == ("True", "Expired")
