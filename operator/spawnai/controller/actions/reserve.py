"""Has more reserved for a living session: decided in one step, written before it is used."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from spawnai.billing import ledger as books
from spawnai.controller.store import Store
from spawnai.lifecycle import actions as do

from .work import Work

AGAIN = timedelta(minutes=2)
"""How soon the budgets are asked again for what they had no room for."""


class Reservations:
    """Asks the budgets for more.

    Args:
        store: the ledgers as they are written.
        reserve: takes up to so many dollars for a session, and tells how many it has now.
    """

    def __init__(self, store: Store, reserve: Callable[[str, Decimal], Decimal | None]) -> None:
        self._store = store
        self._reserve = reserve

    async def reserve(self, work: Work, action: do.Reserve) -> timedelta:
        """Reserve; the ledger is written with the report that follows."""
        granted, stored = self._reserve(work.uid, action.amount), self._store.record(work.uid)
        if granted is not None and stored is not None:
            known = Decimal(work.memory.book.reserved or stored.spec.reserved or 0)
            if granted > known:
                work.memory.ledger = books.with_reserved(work.memory.book, granted)
        return AGAIN
