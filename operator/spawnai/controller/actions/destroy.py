"""Deletes by recorded identity what shows that it is ours, and sees it gone."""

from collections.abc import Callable
from typing import assert_never

from spawnai.api.names import (
    cluster_tag,
    session_firewall_name,
    session_host_suffix,
    session_tag,
)
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.billing import ledger as books
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import NotOurs, NotYet
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.models import DomainRecord
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.settling import SETTLING, may_still_appear

from .work import Work


class Destroy:
    """Ends resources. Nothing here ever deletes by a name alone."""

    def __init__(self, *, cluster_uid: str, wake: Callable[[str], None]) -> None:
        self._cluster_uid = cluster_uid
        self._wake = wake

    async def delete_resource(self, work: Work, action: do.DeleteResource) -> None:
        """Delete one thing by its recorded identity, once it has shown that it is ours."""
        account, entry = work.backing.account, action.entry
        proven = (entry.kind, entry.id) in work.memory.proven
        if not proven or _seems_changed(account, work.uid, entry):
            ours = await self._is_ours(work, account, entry)
            if ours is None:
                await self._not_found(work, entry)
                return
            work.memory.missing_since.pop((entry.kind, entry.id), None)
            if not ours:
                work.memory.ledger = books.with_unknown(work.memory.book, entry.kind, entry.id)
                # The tags of a new droplet may come later than it does.
                is_new = may_still_appear(work.known_since(entry), work.utc_now())
                raise (NotYet if is_new else NotOurs)(
                    f"{entry.kind} {entry.id} does not show that it belongs to this session: "
                    "it was left alone; look at it and delete it by hand"
                )
            work.memory.proven.add((entry.kind, entry.id))
        accepted = await self._delete(account, entry)
        if accepted:
            work.memory.missing_since.pop((entry.kind, entry.id), None)
            work.memory.ledger = books.with_deletion_accepted(
                work.memory.book, entry.kind, entry.id, work.utc_now()
            )
        else:
            await self._not_found(work, entry)
        if entry.kind is ResourceKind.DROPLET:
            account.quota.leave(work.uid)
            if (waiting := account.quota.first()) is not None:
                self._wake(waiting)

    async def _not_found(self, work: Work, entry: LedgerEntry) -> None:
        """DigitalOcean answers 404: it is gone, since the first such answer.

        Raises:
            NotYet: it is so young that it may not show yet.
        """
        now, key = work.utc_now(), (entry.kind, entry.id)
        since = work.memory.missing_since.setdefault(key, now)
        young = may_still_appear(work.known_since(entry), now)
        if young and not await self._left_its_listing(work, entry):
            raise NotYet(
                f"{entry.kind} {entry.id} is new and answers 404: it may not show yet, so its "
                "deletion is tried again until DigitalOcean accepts it or two minutes have passed"
            )
        work.memory.missing_since.pop(key, None)
        if since < now:
            work.memory.ledger = books.with_deletion_accepted(work.memory.book, *key, since)
        work.memory.ledger = books.with_gone(work.memory.book, *key, now)

    async def _delete(self, account: CloudAccount, entry: LedgerEntry) -> bool:
        """Whether the deletion was accepted; False: it was gone already."""
        priority = Priority.DESTROY
        match entry.kind:
            case ResourceKind.DROPLET:
                accepted = await account.droplets.delete(int(entry.id), priority=priority)
                account.inventory.leaving(int(entry.id))
                return accepted
            case ResourceKind.DOMAIN_RECORD:
                domain = entry.domain or ""
                return await account.records.delete(domain, int(entry.id), priority=priority)
            case ResourceKind.FIREWALL:
                return await account.firewalls.delete(entry.id, priority=priority)
            case unknown:
                assert_never(unknown)

    async def _left_its_listing(self, work: Work, entry: LedgerEntry) -> bool:
        """Whether a droplet's 404 is believed, because no listing by its name shows it either.

        After the settling time such a listing is trusted, as it is before a second POST.
        """
        settled = work.utc_now() >= work.known_since(entry) + SETTLING
        if entry.kind is not ResourceKind.DROPLET or not settled:
            return False
        droplets = work.backing.account.droplets
        listed = await droplets.list_by_name(entry.name, priority=Priority.DESTROY)
        return all(str(droplet.id) != entry.id for droplet in listed)

    async def _is_ours(self, work: Work, account: CloudAccount, entry: LedgerEntry) -> bool | None:
        """Whether the thing itself shows this session's mark; None when it does not exist.

        A droplet's name is no mark: names are not unique. Its tags may show some seconds after its
        creation; what this process made itself has been proven by the answer to its POST.
        """
        priority = Priority.DESTROY
        match entry.kind:
            case ResourceKind.DROPLET:
                known = {droplet.id: droplet for droplet in account.inventory.snapshot_of(work.uid)}
                droplet = known.get(int(entry.id))
                if droplet is None:
                    droplet = await account.droplets.get(int(entry.id), priority=priority)
                if droplet is None:
                    return None
                return {session_tag(work.uid), cluster_tag(self._cluster_uid)} <= droplet.tags
            case ResourceKind.DOMAIN_RECORD:
                domain = entry.domain or ""
                record = account.record_listings.seen(domain, int(entry.id))
                if record is None or not _is_as_made(record, work.uid, entry):
                    # Whoever changed it may have changed it back meanwhile, or deleted it.
                    record = await account.records.get(domain, int(entry.id), priority=priority)
                return None if record is None else _is_as_made(record, work.uid, entry)
            case ResourceKind.FIREWALL:
                firewall = await account.firewalls.get(entry.id, priority=priority)
                if firewall is None:
                    return None
                return firewall.name == session_firewall_name(work.uid)
            case unknown:
                assert_never(unknown)

    async def verify_gone(self, work: Work, action: do.VerifyGone) -> None:
        """See that it is gone."""
        account = work.backing.account
        priority = Priority.PROOF
        match action.kind:
            case ResourceKind.DROPLET:
                gone = await account.droplets.get(int(action.id), priority=priority) is None
                if gone:
                    account.inventory.forget(int(action.id))
            case ResourceKind.DOMAIN_RECORD:
                listings, domain = account.record_listings, action.domain or ""
                gone = await listings.is_gone(domain, int(action.id), priority=priority)
                if gone:
                    listings.forget(domain, int(action.id))
            case ResourceKind.FIREWALL:
                gone = await account.firewalls.get(action.id, priority=priority) is None
            case unknown:
                assert_never(unknown)
        if not gone:
            raise NotYet(f"{action.kind} {action.id} is still there")
        work.saw_gone(action.kind, action.id)


def _seems_changed(account: CloudAccount, uid: str, entry: LedgerEntry) -> bool:
    """Whether a listing showed that somebody changed what was proven to be ours before."""
    if entry.kind is not ResourceKind.DOMAIN_RECORD:
        return False
    shown = account.record_listings.seen(entry.domain or "", int(entry.id))
    return shown is not None and not _is_as_made(shown, uid, entry)


def _is_as_made(record: DomainRecord, uid: str, entry: LedgerEntry) -> bool:
    """Whether a name still is the one that was made, and leads where it was to lead.

    It bears the session's own mark: what somebody else wrote into a ledger is no proof.
    """
    return (
        record.name.endswith(session_host_suffix(uid))
        and f"{record.name}.{record.domain}" == entry.name
        and record.data == entry.ip
    )
