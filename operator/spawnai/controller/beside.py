"""What ledgers need that no session's plan looks after: of an image, or of a spare."""

from contextlib import suppress
from datetime import datetime

from spawnai.api.durations import parse_duration
from spawnai.api.names import cluster_tag, session_droplet_name, session_tag
from spawnai.api.record import Presence, RecordStatus, ResourceKind
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.droplet_resource import droplet_line
from spawnai.digitalocean.models import Droplet
from spawnai.lifecycle.beside import OwnDroplet
from spawnai.lifecycle.kinds import APPEARS_WITHIN

from .accounts import CloudAccount
from .cluster import Cluster, ObjectNotFound
from .report import set_ledger_finalizer
from .store import Store, StoredRecord

Seen = tuple[OwnDroplet, Droplet | None]
"""One droplet, and how DigitalOcean shows it; None: it is too new to show."""


async def own_droplets(
    uid: str,
    book: RecordStatus,
    account: CloudAccount,
    *,
    now: datetime,
    cluster_uid: str,
    by_name: bool = True,
) -> tuple[RecordStatus, list[Seen]]:
    """What exists of a ledger's droplets, and the ledger with what was learnt.

    Args:
        uid: the ledger's name, whose mark they wear.
        book: the ledger.
        account: where they are.
        now: the time.
        cluster_uid: the cluster whose mark they wear.
        by_name: whether those that the ledger does not list are looked for, too.

    Raises:
        DigitalOceanError: a call failed.
    """
    marks = {session_tag(uid), cluster_tag(cluster_uid)}
    recorded = {
        line.id: line
        for line in book.resources
        if line.kind is ResourceKind.DROPLET and line.presence is not Presence.GONE
    }
    listed: dict[str, Droplet] = {}
    if by_name:
        name = session_droplet_name(uid)
        found = await account.droplets.list_by_name(name, priority=Priority.HOUSEKEEPING)
        listed = {str(one.id): one for one in found if str(one.id) in recorded or marks <= one.tags}
    seen: list[Seen] = []
    for droplet in listed.values():
        book = books.with_found(book, droplet_line(droplet, account.prices))
        seen.append((_view(droplet, marks), droplet))
    for number, line in recorded.items():
        if number in listed:
            continue
        shown = await account.droplets.get(int(number), priority=Priority.HOUSEKEEPING)
        if shown is not None:
            account.inventory.saw(shown)
            seen.append((_view(shown, marks), shown))
        elif line.deletion_accepted_at is None and now < line.created_at + APPEARS_WITHIN:
            seen.append((OwnDroplet(int(number), "new", locked=True, shows_marks=False), None))
        else:
            book = books.with_gone(book, line.kind, line.id, now)
            account.inventory.forget(int(number))
    return book, seen


def _view(droplet: Droplet, marks: set[str]) -> OwnDroplet:
    return OwnDroplet(droplet.id, droplet.status, droplet.locked, marks <= droplet.tags)


async def drop_when_old(
    cluster: Cluster, store: Store, record: StoredRecord, spec: ClassSpec | None, now: datetime
) -> None:
    """Keep a closed ledger as long as those of sessions, then delete it. `spec`: of its class.

    Raises:
        ClusterError: a write failed; the next look tries again.
    """
    uid, closed_at = record.spec.owner.uid, record.status.completed_at
    if closed_at is None:
        return
    if record.has_finalizer:
        await set_ledger_finalizer(cluster, store, uid, present=False)
    elif spec is not None and now >= closed_at + parse_duration(spec.records.retention):
        with suppress(ObjectNotFound):
            await cluster.delete_record(uid)
        store.remove_record(uid)
