"""The Shared firewall of a class: it covers all droplets of the class, by their tag."""

from spawnai.api.names import class_firewall_name, class_tag
from spawnai.api.record import (
    LedgerEntry,
    OwnerReference,
    PlannedResource,
    RecordSpec,
    RecordStatus,
    ResourceKind,
)
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.actions.kinds import firewall_order
from spawnai.controller.cluster import Cluster, Conflict, ObjectNotFound
from spawnai.controller.report import record_document, write_ledger
from spawnai.controller.store import Store, StoredClass, StoredRecord
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import AlreadyExists, Ambiguous
from spawnai.digitalocean.firewall_resource import FirewallResource
from spawnai.digitalocean.firewalls import differs
from spawnai.digitalocean.models import Firewall

from .ending import delete_step
from .state import ClassProblem


class ClassFirewalls:
    """Makes and deletes the Shared firewalls, each with a ledger of its own."""

    def __init__(self, cluster: Cluster, store: Store, clock: Clock, cluster_uid: str) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._cluster_uid = cluster_uid

    async def ensure(self, known: StoredClass, spec: ClassSpec, account: CloudAccount) -> str:
        """Find or create it, and bring its rules up to date. Returns its id.

        Raises:
            ClassProblem: it is not sure yet whether it was made; the next look tells.
            DigitalOceanError, ClusterError: a call failed.
        """
        record = await self._record(known)
        name, tag = class_firewall_name(known.uid), class_tag(known.uid)
        wanted = firewall_order(name, spec, tags=(tag,))
        actual = await self._recorded(known, record, account)
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
        record = self._store.record(known.uid) or record
        ledger = books.with_resource(record.status, self._line_of(actual))
        await write_ledger(self._cluster, self._store, record, ledger)
        return actual.id

    def _line_of(self, firewall: Firewall) -> LedgerEntry:
        return LedgerEntry(
            kind=ResourceKind.FIREWALL,
            id=firewall.id,
            name=firewall.name,
            created_at=self._clock.utc_now().replace(microsecond=0),
        )

    async def _recorded(
        self, known: StoredClass, record: StoredRecord, account: CloudAccount
    ) -> Firewall | None:
        for entry in record.status.resources:
            if entry.gone_at is not None:
                continue
            found = await account.firewalls.get(entry.id, priority=Priority.NEW)
            if found is not None:
                return found
            gone = books.with_gone(record.status, entry.kind, entry.id, self._clock.utc_now())
            await write_ledger(self._cluster, self._store, record, gone)
            record = self._store.record(known.uid) or record
        return None

    async def _find(self, account: CloudAccount, name: str) -> Firewall | None:
        for firewall in await account.firewalls.list(priority=Priority.NEW):
            if firewall.name == name:
                return firewall
        return None

    async def _record(self, known: StoredClass) -> StoredRecord:
        stored = self._store.record(known.uid)
        if stored is not None:
            return stored
        spec = RecordSpec(
            owner=OwnerReference(kind="SpawnClass", name=known.name, uid=known.uid),
            cluster_uid=self._cluster_uid,
            class_name=known.name,
            planned=[
                PlannedResource(kind=ResourceKind.FIREWALL, name=class_firewall_name(known.uid))
            ],
        )
        try:
            created = await self._cluster.create_record(record_document(spec))
        except Conflict:
            created = await self._cluster.get_record(known.uid)
        self._store.put_record(created)
        stored = self._store.record(known.uid)
        if stored is None:
            raise ClassProblem("RecordMissing", f"the ledger {known.uid} cannot be read back")
        return stored

    async def ledger(self, uid: str) -> StoredRecord | None:
        """The class's own ledger; that there is none, the API server itself has to say."""
        if self._store.record(uid) is None:
            try:
                self._store.put_record(await self._cluster.get_record(uid))
            except ObjectNotFound:
                return None
        return self._store.record(uid)

    async def delete(self, record: StoredRecord, account: CloudAccount | None) -> RecordStatus:
        """Take the next step towards its end. Returns the ledger, closed once it was seen gone."""
        ledger = record.status
        now = self._clock.utc_now()
        if account is None:
            return ledger.model_copy(update={"residuals": books.residuals(ledger.resources)})
        adapter = FirewallResource(account.firewalls, self._clock)
        ledger = await delete_step(record.spec, ledger, {ResourceKind.FIREWALL: adapter}, now)
        if books.residuals(ledger.resources):
            return ledger
        return books.closed(ledger, reason="Deleted", log=(), at=now.replace(microsecond=0))
