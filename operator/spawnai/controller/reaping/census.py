"""Counts what stands for droplets in the cluster: every ledger and every session that lives.

It asks the API server itself. The operator's own cache may lag behind, and a droplet that only the
cache does not know would be deleted for it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from spawnai.api.record import LedgerEntry, Presence, RecordStatus, ResourceKind
from spawnai.api.session import Phase
from spawnai.clock import Clock
from spawnai.controller.cluster import RECORDS, SESSIONS, Cluster, ClusterError
from spawnai.controller.store import parse_ledger
from spawnai.lifecycle.observation import Session
from spawnai.lifecycle.reaping import ClusterListing, Ledger

from .receipts import ORPHANED

_SECOND = timedelta(seconds=1)


def ledger_of(status: RecordStatus) -> Ledger:
    """What a ledger says of droplets."""
    droplets = [entry for entry in status.resources if entry.kind is ResourceKind.DROPLET]
    return Ledger(
        completed=status.completed_at is not None,
        reaped={one.id: at for one in droplets if (at := _reaped_at(one, status)) is not None},
        present=frozenset(one.id for one in droplets if one.presence is not Presence.GONE),
        gone=frozenset(one.id for one in droplets if one.presence is Presence.GONE),
    )


def _reaped_at(line: LedgerEntry, status: RecordStatus) -> datetime | None:
    """When a reaper deleted a droplet. What ended before its ledger was closed, the session ended.

    A ledger is closed on a whole second, a deletion is accepted between two.
    """
    at, closed = line.deletion_accepted_at, status.completed_at
    if at is None or closed is None:
        return None
    return at if status.termination_reason == ORPHANED or at >= closed + _SECOND else None


def lives(session: Session | None) -> bool:
    """Whether a session may still have a droplet; a tombstone has none."""
    return session is not None and session.status.phase is not Phase.DESTROYED


async def take_census(cluster: Cluster, clock: Clock, *, known_before: int = 0) -> ClusterListing:
    """List all ledgers and sessions. `known_before`: how many ledgers were known to exist.

    Raises:
        ClusterError: not all of them could be had or read; nothing follows then.
    """
    started_at = clock.utc_now()
    ledgers: dict[str, Ledger] = {}
    async for body in cluster.list_all(RECORDS):
        uid = _text(body, "metadata", "name")
        try:
            ledgers[uid] = ledger_of(parse_ledger(body))
        except ValidationError as error:
            raise ClusterError(
                f"list {RECORDS}", f"SpawnRecord {uid} cannot be read: {error.error_count()} errors"
            ) from error
    living = set()
    async for body in cluster.list_all(SESSIONS):
        if (body.get("status") or {}).get("phase") != Phase.DESTROYED:
            living.add(_text(body, "metadata", "uid"))
    return ClusterListing(ledgers, frozenset(living), started_at, known_before)


def _text(body: Mapping[str, Any], *path: str) -> str:
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(value, str) or not value:
        raise ClusterError("list objects", f"an object has no {'.'.join(path)}")
    return value
