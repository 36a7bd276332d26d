"""Keeps the books of what is reaped: a line for each thing before it is removed, a receipt after.

An orphan whose ledger is lost gets a new one, so that what a leak cost is seen where every other
cost is. Such a ledger is closed from the first: no session goes on with it. What a closed ledger
lists and has not seen gone is the reaper's, also after a crash half-way.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from spawnai.api.names import session_host_suffix
from spawnai.api.record import (
    SESSION_OWNER,
    LedgerEntry,
    OwnerReference,
    PlannedResource,
    Presence,
    RecordSpec,
    RecordStatus,
    ResourceKind,
)
from spawnai.billing import ledger as books
from spawnai.billing.load_balancer_prices import NODE_HOURLY
from spawnai.clock import Clock
from spawnai.controller.cluster import Cluster, Conflict, ObjectNotFound
from spawnai.controller.report import record_document, write_ledger
from spawnai.controller.store import Store, StoredRecord
from spawnai.digitalocean.droplet_resource import droplet_line
from spawnai.digitalocean.load_balancer_resource import load_balancer_line
from spawnai.digitalocean.models import DomainRecord, Droplet, Firewall, LoadBalancer
from spawnai.lifecycle.reaping import Orphan, SeenDroplet

from .removal import Estate, Outcome, Result, full_name

ORPHANED = "Orphaned"
"""The reason in a ledger that was made for an orphan."""

UNKNOWN_NAME = "(unknown)"
"""The name of a session that nothing tells any more; no object can be called so."""


class Receipts:
    """Enters what is removed in the ledgers of its sessions.

    `store` holds what is known of sessions and ledgers; ledgers are read anew before they are
    written. `prices`: dollars an hour, by size. `class_for(class_uid)` names the class of a new
    ledger: the one with that UID, or else one of the same account, which can look after it too.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        clock: Clock,
        *,
        cluster_uid: str,
        prices: Mapping[str, Decimal],
        class_for: Callable[[str | None], str | None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._cluster_uid = cluster_uid
        self._prices = prices
        self._class_for = class_for

    async def begin(self, estate: Estate, droplet: Droplet) -> bool:
        """Give everything that is to be removed a line. Returns False when the ledger is open: it
        was put back meanwhile, and its own session looks after what it made.

        Raises:
            ClusterError: the lines could not be written, so nothing may be removed.
        """
        lines = _lines(estate, droplet_line(droplet, self._prices))
        uid = estate.orphan.session_uid
        stored = await self._read(uid)
        if stored is None:
            stored = await self._make(self._spec(estate, lines))
        if stored is None or stored.status.completed_at is None:
            return False
        new = _with(stored.status, lines)
        if stored.spec.orphaned:
            new = new.model_copy(update={"termination_reason": ORPHANED})
        await self._write(stored, new)
        return True

    async def _make(self, spec: RecordSpec) -> StoredRecord | None:
        """A new ledger; None when another reaper was faster: the command and the operator's own
        may meet.
        """
        try:
            self._store.put_record(await self._cluster.create_record(record_document(spec)))
        except Conflict:
            return None
        return self._store.record(spec.owner.uid)

    async def finish(
        self,
        estate: Estate,
        droplet: Droplet | None,
        outcomes: Iterable[Outcome],
        accepted_at: Mapping[int, datetime],
    ) -> None:
        """Write what was seen gone, and what it cost. `droplet`: as the listing showed it.

        Raises:
            ClusterError: it could not be written. The lines stay, and say so.
        """
        uid, now = estate.orphan.session_uid, self._now()
        stored = await self._read(uid)
        if stored is None or stored.status.completed_at is None:
            return
        book = stored.status
        for outcome in outcomes:
            if outcome.result not in (Result.DELETED, Result.GONE):
                continue
            kind = ResourceKind(outcome.kind)
            if kind is ResourceKind.DROPLET:
                if outcome.result is Result.DELETED and droplet is not None:
                    # Its line may have said that it was gone long before.
                    book = books.with_found(book, droplet_line(droplet, self._prices))
                if (at := accepted_at.get(int(outcome.id))) is not None:
                    book = books.with_deletion_accepted(book, kind, outcome.id, at)
            book = books.with_gone(book, kind, outcome.id, now)
        left = books.residuals(book.resources)
        book = books.with_total(book.model_copy(update={"residuals": left}))
        if stored.spec.orphaned and not left:
            # Until now it was closed by what it is; nobody had written when.
            unwritten = stored.status.model_copy(update={"completed_at": None})
            stored = replace(stored, status=unwritten)
            book = book.model_copy(update={"completed_at": now.replace(microsecond=0)})
        await self._write(stored, book)

    async def _read(self, uid: str) -> StoredRecord | None:
        """The ledger as the API server has it now."""
        try:
            self._store.put_record(await self._cluster.get_record(uid))
        except ObjectNotFound:
            return None
        return self._store.record(uid)

    async def _write(self, stored: StoredRecord, new: RecordStatus) -> None:
        await write_ledger(self._cluster, self._store, stored, new)

    def _now(self) -> datetime:
        return self._clock.utc_now()

    def _spec(self, estate: Estate, lines: Iterable[LedgerEntry]) -> RecordSpec:
        """The intent of a ledger that was lost, as far as the cloud and the tombstone tell it."""
        orphan = estate.orphan
        uid = orphan.session_uid
        session = self._store.session(uid)
        if session is not None:
            user = session.spec.user if session.spec is not None else None
            owner = OwnerReference(
                kind=SESSION_OWNER,
                namespace=session.namespace,
                name=session.name,
                uid=uid,
                user=user or session.namespace,
            )
        else:
            suffix = session_host_suffix(uid)
            told = (one.name.removesuffix(suffix) for one in estate.names)
            owner = OwnerReference(
                kind=SESSION_OWNER, name=next(told, None) or UNKNOWN_NAME, uid=uid
            )
        return RecordSpec(
            owner=owner,
            cluster_uid=self._cluster_uid,
            class_name=self._class_for(orphan.class_uid),
            planned=[PlannedResource(kind=line.kind, name=line.name) for line in lines],
            orphaned=True,
        )


def unfinished(record: StoredRecord) -> Estate | None:
    """What a closed ledger lists and has not seen gone: its removal was begun and not ended."""
    status = record.status
    if status.completed_at is None or not status.residuals:
        return None
    living = [line for line in status.resources if line.presence is not Presence.GONE]
    droplets = [line for line in status.resources if line.kind is ResourceKind.DROPLET]
    droplet = next((line for line in droplets if line in living), next(iter(droplets), None))
    if droplet is None:
        return None
    seen = SeenDroplet(int(droplet.id), droplet.name, frozenset(), droplet.created_at, droplet.ip)
    firewalls = (line for line in living if line.kind is ResourceKind.FIREWALL)
    balancers = (line for line in living if line.kind is ResourceKind.LOAD_BALANCER)
    return Estate(
        Orphan(seen, record.spec.owner.uid),
        tuple(
            DomainRecord(
                int(line.id),
                line.domain or "",
                "A",
                line.name.removesuffix(f".{line.domain}"),
                line.ip or "",
                0,
            )
            for line in living
            if line.kind is ResourceKind.DOMAIN_RECORD
        ),
        next(map(_firewall, firewalls), None),
        next(map(_balancer, balancers), None),
    )


def _firewall(line: LedgerEntry) -> Firewall:
    empty: frozenset[int] = frozenset()
    return Firewall(line.id, line.name, "", frozenset(), empty, empty, (), ())


def _balancer(line: LedgerEntry) -> LoadBalancer:
    return LoadBalancer(
        id=line.id,
        name=line.name,
        status="",
        ip=line.ip,
        region=line.region or "",
        rules=(),
        droplet_ids=frozenset(),
        tag="",
        created_at=line.created_at,
        nodes=1,
        writes_records=False,
    )


def _lines(estate: Estate, droplet: LedgerEntry) -> list[LedgerEntry]:
    """One for each thing. Nobody knows when a name or a firewall was made: after the droplet."""
    names = [
        LedgerEntry(
            kind=ResourceKind.DOMAIN_RECORD,
            id=str(name.id),
            name=full_name(name),
            domain=name.domain,
            ip=name.data,
            created_at=droplet.created_at,
        )
        for name in estate.names
    ]
    firewalls = [
        LedgerEntry(
            kind=ResourceKind.FIREWALL,
            id=firewall.id,
            name=firewall.name,
            created_at=droplet.created_at,
        )
        for firewall in (estate.firewall,)
        if firewall is not None
    ]
    balancers = [
        load_balancer_line(one, NODE_HOURLY) for one in (estate.load_balancer,) if one is not None
    ]
    return [droplet, *names, *balancers, *firewalls]


def _with(ledger: RecordStatus, lines: Iterable[LedgerEntry]) -> RecordStatus:
    for line in lines:
        ledger = books.with_resource(ledger, line)
    return ledger.model_copy(update={"residuals": books.residuals(ledger.resources)})
