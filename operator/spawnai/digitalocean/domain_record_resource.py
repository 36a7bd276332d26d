"""DNS records as a kind of external resource: known by their name and the address they lead to."""

from collections.abc import Sequence
from dataclasses import dataclass

from spawnai.api.names import session_host_suffix
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.models import DomainRecord
from spawnai.digitalocean.record_listings import RecordListings
from spawnai.digitalocean.resource import Found


@dataclass(frozen=True, slots=True)
class DomainRecordOrder:
    """An A record to be made. `label` is relative to `domain`."""

    domain: str
    label: str
    ip: str
    ttl_seconds: int


class DomainRecordResource:
    """Implements `Resource` for A records."""

    def __init__(self, records: DomainRecords, listings: RecordListings, clock: Clock) -> None:
        self._records = records
        self._listings = listings
        self._clock = clock

    async def create(self, order: DomainRecordOrder, turn: Slot) -> Found:
        """Make it."""
        record = await self._records.create(
            order.domain, order.label, order.ip, order.ttl_seconds, priority=turn
        )
        return self._found(record)

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """Those of that name that lead to the address."""
        domain = name.partition(".")[2]
        try:
            listed = await self._records.find(name, domain, priority=Priority.RUNNING)
        except NotFound:  # the domain itself has gone, and no name is left in it
            return []
        return [self._found(record) for record in listed if record.data == address]

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:
        """While it is as it was made: whoever changed it may have changed it back meanwhile."""
        domain = line.domain or ""
        record = self._listings.seen(domain, int(line.id))
        if record is None or not _is_as_made(record, owner, line):
            record = await self._records.get(domain, int(line.id), priority=priority)
        return None if record is None else _is_as_made(record, owner, line)

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:
        """By the last listing of its domain."""
        shown = self._listings.seen(line.domain or "", int(line.id))
        return shown is not None and not _is_as_made(shown, owner, line)

    async def delete(self, line: LedgerEntry) -> bool:
        """By its id."""
        domain = line.domain or ""
        return await self._records.delete(domain, int(line.id), priority=Priority.DESTROY)

    async def is_gone(self, line: LedgerEntry) -> bool:
        """By its own 404, or by one look at its domain for all who ask."""
        domain, number = line.domain or "", int(line.id)
        gone = await self._listings.is_gone(domain, number, line.name, priority=Priority.PROOF)
        if not gone:
            return False
        self._listings.forget(domain, number)
        return True

    async def is_unlisted(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """A listing proves no more than the 404."""
        return False

    def _found(self, record: DomainRecord) -> Found:
        line = LedgerEntry(
            kind=ResourceKind.DOMAIN_RECORD,
            id=str(record.id),
            name=f"{record.name}.{record.domain}",
            domain=record.domain,
            ip=record.data,
            created_at=self._clock.utc_now().replace(microsecond=0),
        )
        return Found(line, record)


def _is_as_made(record: DomainRecord, owner: str, line: LedgerEntry) -> bool:
    """Whether a name still is the one that was made, and leads where it was to lead.

    It bears the session's own mark: what somebody else wrote into a ledger is no proof.
    """
    return (
        record.name.endswith(session_host_suffix(owner))
        and f"{record.name}.{record.domain}" == line.name
        and record.data == line.ip
    )
