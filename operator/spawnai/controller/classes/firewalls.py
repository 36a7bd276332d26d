"""The Shared firewall of a class: it covers all droplets of the class, by their tag."""

from functools import partial
from typing import Any

from spawnai.api.names import class_firewall_name, class_tag
from spawnai.api.record import LedgerEntry, RecordStatus, ResourceKind
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.actions.firewalls import firewall_order
from spawnai.controller.store import StoredClass, StoredRecord
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import AlreadyExists, Ambiguous
from spawnai.digitalocean.firewall_resource import FirewallResource
from spawnai.digitalocean.firewalls import differs
from spawnai.digitalocean.models import Firewall
from spawnai.digitalocean.resource import Resource

from .ending import delete_step
from .hosted import HostedCertificates
from .ledger import ClassLedgers, lines
from .state import ClassProblem


class ClassFirewalls:
    """Makes and deletes the Shared firewalls."""

    def __init__(self, ledgers: ClassLedgers, hosted: HostedCertificates, clock: Clock) -> None:
        self._ledgers = ledgers
        self._hosted = hosted
        self._clock = clock

    async def ensure(self, known: StoredClass, spec: ClassSpec, account: CloudAccount) -> str:
        """Find or create it, and bring its rules up to date. Returns its id.

        Raises:
            ClassProblem: it is not sure yet whether it was made; the next look tells.
            DigitalOceanError, ClusterError: a call failed.
        """
        ledger = (await self._ledgers.open(known)).status
        name, tag = class_firewall_name(known.uid), class_tag(known.uid)
        wanted = firewall_order(name, spec, tags=(tag,))
        actual = await self._recorded(known, ledger, account)
        if actual is None:
            actual = await self._find(account, name)
        if actual is None:
            await account.firewalls.ensure_tag(tag, priority=Priority.NEW)
            try:
                actual = await account.firewalls.create(wanted, priority=Priority.NEW)
            except (AlreadyExists, Ambiguous) as error:
                # Names are unique: the next look finds it, or makes it.
                raise ClassProblem("FirewallSettling", error.message) from error
        elif differs(wanted, actual):
            await account.firewalls.update(actual.id, wanted, priority=Priority.RUNNING)
        line = self._line_of(actual)
        await self._ledgers.change(known, lambda book: books.with_resource(book, line))
        return actual.id

    def _line_of(self, firewall: Firewall) -> LedgerEntry:
        return LedgerEntry(
            kind=ResourceKind.FIREWALL,
            id=firewall.id,
            name=firewall.name,
            created_at=self._clock.utc_now().replace(microsecond=0),
        )

    async def _recorded(
        self, known: StoredClass, ledger: RecordStatus, account: CloudAccount
    ) -> Firewall | None:
        for entry in lines(ledger, ResourceKind.FIREWALL):
            found = await account.firewalls.get(entry.id, priority=Priority.NEW)
            if found is not None:
                return found
            now = self._clock.utc_now()
            await self._ledgers.change(
                known, partial(books.with_gone, kind=entry.kind, id_=entry.id, at=now)
            )
        return None

    async def _find(self, account: CloudAccount, name: str) -> Firewall | None:
        for firewall in await account.firewalls.list(priority=Priority.NEW):
            if firewall.name == name:
                return firewall
        return None

    async def delete(self, record: StoredRecord, account: CloudAccount | None) -> RecordStatus:
        """Take the next step towards its end, and that of the certificates beside it. Returns the
        ledger, closed once all was seen gone.

        Raises:
            Busy: a certificate is in use, or was a moment ago.
        """
        ledger = record.status
        now = self._clock.utc_now()
        if account is None:
            return ledger.model_copy(update={"residuals": books.residuals(ledger.resources)})
        adapters: dict[ResourceKind, Resource[Any]] = {
            ResourceKind.FIREWALL: FirewallResource(account.firewalls, self._clock),
            ResourceKind.HOSTED_CERTIFICATE: self._hosted.adapter(account),
        }
        ledger = await delete_step(record.spec, ledger, adapters, now)
        if books.residuals(ledger.resources):
            return ledger
        return books.closed(ledger, reason="Deleted", log=(), at=now.replace(microsecond=0))
