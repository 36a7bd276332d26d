"""What a session's memory makes of a ledger that it sees: by a watch, an answer, or at a start."""

from datetime import UTC, datetime

from spawnai.api.record import LedgerEntry, Presence, RecordStatus, ResourceKind
from spawnai.controller.memory import Memory

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def line(name: str, presence: Presence) -> LedgerEntry:
    return LedgerEntry(
        kind=ResourceKind.DROPLET, id=name, name=name, createdAt=NOW, presence=presence
    )


def ids(ledger: RecordStatus | None) -> dict[str, Presence]:
    assert ledger is not None
    return {one.id: one.presence for one in ledger.resources}


def test_what_another_writer_noted_in_an_open_ledger_is_kept_beside_what_is_not_written_yet():
    memory = Memory(ledger=RecordStatus(resources=[line("1", Presence.PRESENT)]))
    memory.take_in_ledger(RecordStatus(resources=[line("2", Presence.PRESENT)]))
    assert set(ids(memory.ledger)) == {"1", "2"}


def test_a_closed_ledger_is_taken_as_a_reaper_wrote_it():
    """It lists a droplet as present again that we saw gone: the removal is the reaper's to end, and
    our next write must not take that back.
    """
    memory = Memory(ledger=RecordStatus(resources=[line("1", Presence.GONE)]))
    memory.take_in_ledger(RecordStatus(resources=[line("1", Presence.PRESENT)], completedAt=NOW))
    assert ids(memory.ledger) == {"1": Presence.PRESENT}


def test_a_ledger_of_which_nothing_is_remembered_stays_the_stores():
    memory = Memory()
    memory.take_in_ledger(RecordStatus(resources=[line("1", Presence.PRESENT)]))
    assert memory.ledger is None
