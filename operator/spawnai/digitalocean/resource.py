"""The contract of an adapter for one kind of external resource.

An adapter turns calls about one kind into lines of a ledger. It decides nothing: whether a lost
answer is settled, what may be deleted and in which order is the lifecycle's to say. Every method
may raise any `DigitalOceanError`; nothing else gets out.

* `Ambiguous` is raised by `create` alone, when the thing may have been made.
* `Busy` says that DigitalOcean refuses for now: another action is running on the thing, or
  something else still uses it. It is tried again.
* An answer that says nothing (a time-out, a 5xx, a page that cannot be read) is never turned into
  "there is none".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from spawnai.api.record import LedgerEntry
from spawnai.digitalocean.budget import Priority, Slot

OrderT_contra = TypeVar("OrderT_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that exists: its line, and the adapter's own view of it where there is more."""

    line: LedgerEntry
    shown: Any = None


class Resource(Protocol[OrderT_contra]):
    """What can be done with one kind in one account. `owner`: the UID whose mark it has to bear.

    Where DigitalOcean changes a thing's id (a certificate that is renewed), the adapter looks for
    it by the name of its line.
    """

    async def create(self, order: OrderT_contra, turn: Slot) -> Found:
        """Make it, in a turn that was waited for. Its line has its price, where it has one.

        Raises:
            Ambiguous: it may have been made: `find` tells.
        """
        ...

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:
        """All of that name that bear the owner's mark. A name alone is no mark where DigitalOcean
        takes it twice. `address`: where it has to lead, for a kind that leads somewhere.
        """
        ...

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:
        """Whether the thing itself shows the owner's mark; None when it does not exist (404)."""
        ...

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:
        """Whether a listing has shown, without another call, that somebody changed it since."""
        ...

    async def delete(self, line: LedgerEntry) -> bool:
        """Delete it by its id. True: accepted. False: there is none (404).

        Raises:
            Busy: not now.
        """
        ...

    async def is_gone(self, line: LedgerEntry) -> bool:
        """Whether DigitalOcean does not show it any more, in the way that costs fewest calls.

        Only asked for what DigitalOcean has accepted the deletion of.
        """
        ...

    async def is_unlisted(self, line: LedgerEntry) -> bool:
        """Whether a 404 for something new is borne out by a listing that does not show it either.

        False for a kind whose listings prove no more than the 404.
        """
        ...
