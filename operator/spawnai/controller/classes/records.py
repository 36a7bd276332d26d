"""DNS records of classes: the gateway's `*.domain`, and proofs for an ACME server.

Each stands in the class's ledger before it is made, with an id that begins with `pending`, so that
one whose answer was lost is found by its name and what it says. DigitalOcean takes the same record
twice, and a lost POST may take effect late: nothing is sent again before it has settled.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from spawnai.api.record import LedgerEntry, RecordStatus, ResourceKind
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.store import StoredClass
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.models import DomainRecord
from spawnai.lifecycle.kinds import KINDS

from .ledger import ClassLedgers, lines, without

PENDING = "pending-"
TTL_SECONDS = 30
SETTLES_WITHIN = KINDS[ResourceKind.DOMAIN_RECORD].resend_after


class RecordUnsettled(Exception):
    """A record's POST got no answer. `until`: when it can have no effect any more."""

    def __init__(self, name: str, until: datetime) -> None:
        super().__init__(
            f"it is not sure yet whether the DNS record {name} was made: it is looked for until "
            f"{until:%Y-%m-%dT%H:%M:%SZ} before it is made again"
        )
        self.until = until


class RecordTaken(Exception):
    """A record of that name leads elsewhere, and is not the operator's."""


@dataclass(frozen=True, slots=True)
class ClassRecord:
    """A record that a class needs. `label` is relative to `domain`."""

    domain: str
    label: str
    type: str
    data: str

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{self.label}.{self.domain}"

    @property
    def pending_id(self) -> str:
        """The id of its line until it has one of DigitalOcean's."""
        said = f"{self.type} {self.name} {self.data}"
        return f"{PENDING}{hashlib.sha256(said.encode()).hexdigest()[:12]}"


class ClassRecords:
    """Makes and removes them. Each call may raise any DigitalOceanError or ClusterError."""

    def __init__(self, ledgers: ClassLedgers, clock: Clock) -> None:
        self._ledgers = ledgers
        self._clock = clock

    async def ensure(self, known: StoredClass, account: CloudAccount, wanted: ClassRecord) -> None:
        """Find it or make it. One that somebody else made and that says the same will do.

        Raises:
            RecordUnsettled: it was sent before, and it is not known what came of it.
            RecordTaken: somebody else's leads elsewhere.
        """
        found = await account.records.find(
            wanted.name, wanted.domain, type_=wanted.type, priority=Priority.NEW
        )
        ledger = (await self._ledgers.open(known)).status
        own = [one for one in lines(ledger, ResourceKind.DOMAIN_RECORD) if one.name == wanted.name]
        pending = next((one for one in own if one.id == wanted.pending_id), None)
        match = next((one for one in found if one.data.strip('"') == wanted.data), None)
        if match is not None:
            is_ours = pending is not None or wanted.type == "TXT"
            if is_ours and all(line.id != str(match.id) for line in own):
                await self._enter(known, wanted, match)
            return
        ids = {line.id for line in own}
        others = [one for one in found if str(one.id) not in ids]
        if others and wanted.type == "A":
            raise RecordTaken(
                f"the DNS record {wanted.name} leads to {others[0].data}, and the gateway is at "
                f"{wanted.data}: change the record, or remove it and the operator makes it"
            )
        now = self._clock.utc_now().replace(microsecond=0)
        if pending is not None and now < pending.created_at + SETTLES_WITHIN:
            raise RecordUnsettled(wanted.name, pending.created_at + SETTLES_WITHIN)
        intent = self._line(wanted, wanted.pending_id)
        await self._ledgers.change(
            known, lambda book: books.with_resource(_without_intent(book, wanted), intent)
        )
        made = await account.records.create(
            wanted.domain,
            wanted.label,
            wanted.data,
            TTL_SECONDS,
            type_=wanted.type,
            priority=Priority.NEW,
        )
        await self._enter(known, wanted, made)

    async def remove(self, known: StoredClass, account: CloudAccount, line: LedgerEntry) -> bool:
        """Take the next step towards a record's end. Returns whether it was seen gone."""
        now = self._clock.utc_now()
        type_, data = said_by(line)
        domain = line.domain or ""
        try:
            found = await account.records.find(
                line.name, domain, type_=type_, priority=Priority.DESTROY
            )
        except NotFound:  # the domain itself has gone
            found = ()
        pending = line.id.startswith(PENDING)
        ours = [
            one
            for one in found
            if one.data.strip('"') == data and (pending or line.id == str(one.id))
        ]
        for one in ours:
            await account.records.delete(domain, one.id, priority=Priority.DESTROY)
        unsettled = pending and now < line.created_at + SETTLES_WITHIN
        if ours or unsettled:
            return False
        await self._ledgers.change(
            known,
            lambda book: (
                without(book, line) if pending else books.with_gone(book, line.kind, line.id, now)
            ),
        )
        return True

    async def _enter(self, known: StoredClass, wanted: ClassRecord, made: DomainRecord) -> None:
        line = self._line(wanted, str(made.id))
        await self._ledgers.change(
            known, lambda book: books.with_resource(_without_intent(book, wanted), line)
        )

    def _line(self, wanted: ClassRecord, id_: str) -> LedgerEntry:
        return LedgerEntry(
            kind=ResourceKind.DOMAIN_RECORD,
            id=id_,
            name=wanted.name,
            domain=wanted.domain,
            ip=wanted.data if wanted.type == "A" else None,
            content=wanted.data if wanted.type == "TXT" else None,
            created_at=self._clock.utc_now().replace(microsecond=0),
        )


def said_by(line: LedgerEntry) -> tuple[str, str]:
    """Type and data of the record that a ledger's line is about."""
    return ("TXT", line.content) if line.content is not None else ("A", line.ip or "")


def _without_intent(book: RecordStatus, wanted: ClassRecord) -> RecordStatus:
    return without(book, *(one for one in book.resources if one.id == wanted.pending_id))
