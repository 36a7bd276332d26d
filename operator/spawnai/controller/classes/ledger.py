"""The ledgers of classes: what a class shares among its sessions, written before it is made."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from spawnai.api.names import class_firewall_name
from spawnai.api.record import (
    CLASS_OWNER,
    LedgerEntry,
    OwnerReference,
    PlannedResource,
    Presence,
    RecordSpec,
    RecordStatus,
    ResourceKind,
)
from spawnai.controller.cluster import Cluster, Conflict, ObjectNotFound
from spawnai.controller.report import record_document, set_ledger_finalizer, write_ledger
from spawnai.controller.store import Store, StoredClass, StoredRecord

from .state import ClassProblem

WRITES = 3
"""How often a change is made again where somebody else wrote the ledger meanwhile."""


class ClassLedgers:
    """Opens, reads and changes the ledgers of classes. Each call may raise any ClusterError."""

    def __init__(self, cluster: Cluster, store: Store, cluster_uid: str) -> None:
        self._cluster = cluster
        self._store = store
        self._cluster_uid = cluster_uid
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self, known: StoredClass) -> StoredRecord:
        """The class's ledger, begun if there is none."""
        stored = self._store.record(known.uid)
        if stored is not None:
            if not stored.has_finalizer and not stored.deleting:
                await self._hold(known.uid, present=True)
            return self._store.record(known.uid) or stored
        spec = RecordSpec(
            owner=OwnerReference(kind=CLASS_OWNER, name=known.name, uid=known.uid),
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

    async def get(self, uid: str) -> StoredRecord | None:
        """The class's own ledger; that there is none, the API server itself has to say."""
        if self._store.record(uid) is None:
            try:
                self._store.put_record(await self._cluster.get_record(uid))
            except ObjectNotFound:
                return None
        return self._store.record(uid)

    async def release(self, uid: str) -> None:
        """Let the closed ledger be deleted by whoever may."""
        record = self._store.record(uid)
        if record is not None and record.has_finalizer:
            await self._hold(uid, present=False)

    async def _hold(self, uid: str, *, present: bool) -> None:
        await set_ledger_finalizer(self._cluster, self._store, uid, present=present)

    async def change(
        self, known: StoredClass, change: Callable[[RecordStatus], RecordStatus]
    ) -> RecordStatus:
        """Change the ledger, from how it stands when it is written. Returns it."""
        async with self._writing[known.uid]:
            for attempt in range(WRITES):
                record = await self.open(known)
                changed = change(record.status)
                try:
                    await write_ledger(self._cluster, self._store, record, changed)
                except Conflict:
                    if attempt == WRITES - 1:
                        raise
                else:
                    return changed
        raise AssertionError  # the last attempt has returned or raised


def lines(ledger: RecordStatus, kind: ResourceKind) -> list[LedgerEntry]:
    """What of a kind is not seen gone."""
    return [
        line
        for line in ledger.resources
        if line.kind is kind and line.presence is not Presence.GONE
    ]


def without(ledger: RecordStatus, *dropped: LedgerEntry) -> RecordStatus:
    """The ledger without some lines: they are another ledger's now, or were never made."""
    kept = [line for line in ledger.resources if line not in dropped]
    return ledger.model_copy(update={"resources": kept})
