"""Why a session ended is still told after its teardown took long and said what was left."""

from tests.unit.lifecycle.life import Life

from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import FailureKind


def test_a_tombstone_says_why_it_ended_and_not_what_its_teardown_waited_for():
    life = Life()
    why = "Claude declined to write this app"
    life.failing[do.GenerateApp] = lambda _: life.fail(FailureKind.FINAL, "GenerationRefused", why)
    life.failing[do.VerifyGone] = lambda _: life.fail(FailureKind.TRANSIENT, message="still there")
    life.settle()
    for _ in range(12):
        life.pass_time(seconds=2)
    assert "Not seen gone yet" in (life.status.message or "")
    del life.failing[do.VerifyGone]
    for _ in range(12):
        life.pass_time(seconds=2)
    assert life.status.destroyed_at is not None
    assert (life.status.termination_reason, life.status.message) == ("GenerationRefused", why)
