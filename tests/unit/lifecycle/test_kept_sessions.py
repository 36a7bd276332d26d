"""How long an ended session is kept: until somebody deletes it, or as long as its class says."""

from tests.unit.lifecycle.life import Life, an_offer

from spawnai.api.session import Phase

WEEK = {"lifetime": {"ttlAfterFinished": "7d"}}


def ended(**spec: object) -> Life:
    life = Life(offer=an_offer(**spec)).settle()
    return life.change(expires_at="now").pass_time(minutes=1)


def test_a_tombstone_stays_until_somebody_deletes_it():
    life = ended().pass_time(days=3650)
    assert "DeleteSession" not in life.kinds_done()
    assert life.status.phase is Phase.DESTROYED


def test_a_class_may_have_it_deleted_a_while_after_its_end():
    life = ended(**WEEK)
    life.pass_time(days=6, hours=23)
    assert "DeleteSession" not in life.kinds_done()
    life.pass_time(hours=2)
    assert life.kinds_done()[-1] == "DeleteSession"
    assert life.session is None


def test_its_ledger_outlives_it():
    life = ended(**WEEK).pass_time(days=8)
    assert life.session is None
    assert life.record is not None
    life.pass_time(days=30)
    assert life.record is None


def test_what_a_gitops_tool_would_make_again_is_not_deleted():
    """Each time would be a droplet and a bill."""
    life = ended(**WEEK).change(kept_by_gitops=True).pass_time(days=3650)
    assert "DeleteSession" not in life.kinds_done()


def test_a_session_that_lives_is_not_deleted():
    life = Life(offer=an_offer(lifetime={"ttlAfterFinished": "0s"})).settle()
    assert life.status.phase is Phase.RUNNING
    life.pass_time(minutes=30)
    assert "DeleteSession" not in life.kinds_done()


def test_a_failed_session_is_deleted_after_the_same_time():
    life = Life(offer=an_offer(**WEEK), claude_answers=False)
    life.held = {"GenerateApp"}
    life.settle().pass_time(minutes=11)
    assert life.status.phase is Phase.DESTROYED
    life.pass_time(days=8)
    assert life.session is None
