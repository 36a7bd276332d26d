"""How long a closed ledger is kept: 30 days, and for as long as it names something that is left."""

from dataclasses import replace

from tests.unit.lifecycle.life import Life


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
    assert life.kinds_done() == []
    life.pass_time(days=2)
    assert life.kinds_done() == ["DeleteRecord"]


def test_a_ledger_that_a_reaper_has_not_ended_is_kept_until_it_has():
    life = ended()
    assert life.record is not None
    ledger = life.record.status
    begun = ledger.model_copy(update={"residuals": ["Droplet 7 (spawn-…)"]})
    life.record = replace(life.record, status=begun)
    life.settle().pass_time(days=40)
    assert life.kinds_done() == []
    life.record = replace(life.record, status=ledger)
    life.settle()
    assert life.kinds_done() == ["DeleteRecord"]
