"""How long a closed ledger is kept: 30 days, and for as long as it names something that is left.
An open one is held by our finalizer, whoever deletes it.
"""

from dataclasses import replace

from tests.unit.lifecycle.life import Life

from spawnai.api.session import Phase


def ended() -> Life:
    life = Life(session=None, gone=True)
    before = Life().settle()
    before.change(expires_at="now").pass_time(minutes=1)
    life.now, life.record = before.now, before.record
    assert life.record is not None
    assert life.record.status.completed_at is not None
    return life.settle()


def test_a_closed_ledger_is_dropped_after_its_time():
    life = ended().pass_time(days=29)
    assert "DeleteRecord" not in life.kinds_done()
    life.pass_time(days=2)
    assert life.kinds_done()[-1] == "DeleteRecord"


def test_a_ledger_that_a_reaper_has_not_ended_is_kept_until_it_has():
    life = ended()
    assert life.record is not None
    ledger = life.record.status
    begun = ledger.model_copy(update={"residuals": ["Droplet 7 (spawn-…)"]})
    life.record = replace(life.record, status=begun)
    life.settle().pass_time(days=40)
    assert "DeleteRecord" not in life.kinds_done()
    life.record = replace(life.record, status=ledger)
    life.settle()
    assert life.kinds_done()[-1] == "DeleteRecord"


def test_a_ledger_is_let_go_once_it_is_closed_and_after_its_session():
    life = Life().settle()
    assert life.record is not None
    assert life.record.has_finalizer
    life.change(expires_at="now").pass_time(minutes=1)
    assert life.kinds_done()[-2:] == ["RemoveFinalizer", "ReleaseRecord"]


def test_an_open_ledger_without_our_finalizer_is_held():
    """It was made by an earlier version, or somebody stripped it."""
    life = Life().settle()
    assert life.record is not None
    life.record = replace(life.record, has_finalizer=False)
    life.settle()
    assert life.kinds_done()[-1] == "HoldRecord"
    life.record = replace(life.record, has_finalizer=False, deleting=True)
    life.settle()
    assert life.kinds_done().count("HoldRecord") == 1


def test_a_ledger_that_somebody_deletes_goes_only_when_all_it_names_is_gone():
    life = Life().settle()
    assert life.record is not None
    life.record = replace(life.record, deleting=True)
    life.settle().pass_time(hours=1)
    assert life.status.phase is Phase.RUNNING
    life.change(deleting=True).pass_time(minutes=1)
    assert life.session is None
    assert life.record is None
    assert life.kinds_done()[-2:] == ["RemoveFinalizer", "ReleaseRecord"]
