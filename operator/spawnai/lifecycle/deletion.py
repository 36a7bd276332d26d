"""How one thing is ended: its line stored, then deleted, then seen gone."""

from spawnai.api.record import LedgerEntry

from .actions import DeleteResource, VerifyGone
from .observation import Record
from .status import Draft


def delete(d: Draft, record: Record, entry: LedgerEntry) -> None:
    """Plan the next step towards the end of one thing in the ledger."""
    if not record.stores(entry):
        d.store_ledger = True  # Or a crash would forget that it ever was.
    elif entry.deletion_accepted_at is None:
        d.do(DeleteResource(entry))
    else:
        d.do(VerifyGone(entry.kind, entry.id, entry.domain))
