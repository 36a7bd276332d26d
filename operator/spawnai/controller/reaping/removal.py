"""Removes what an orphan left in the cloud: its names, then its load balancer, then the droplet,
then its own firewall.

An address that is given back goes to a stranger, so no name of ours may point at it by then.
Everything is looked at again just before it is deleted, and must still show that it is ours.
"""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from spawnai.api.names import (
    class_tag,
    load_balancer_name,
    owner_of,
    session_firewall_name,
)
from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.errors import DigitalOceanError, Forbidden, NotFound, Unavailable
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.images import Images
from spawnai.digitalocean.load_balancers import LoadBalancers
from spawnai.digitalocean.models import (
    DomainRecord,
    Droplet,
    Firewall,
    Image,
    LoadBalancer,
)
from spawnai.lifecycle.reaping import (
    Orphan,
    SeenDroplet,
    is_bare_class_firewall,
    is_bare_session_firewall,
    is_name_of,
)

SEEN_GONE_SECONDS = 60.0
"""How long a droplet's 404 is waited for once its deletion was accepted. What takes longer is
found again by the next sweep."""

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
_STILL_SHOWN = "its deletion was accepted, and it is still shown"


class Result(StrEnum):
    """What became of one thing."""

    DELETED = "deleted"
    GONE = "gone"
    UNVERIFIED = "unverified"
    LEFT = "left"
    FAILED = "failed"


Told = tuple[Result, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing, what became of it, and why in words where that is not plain."""

    kind: str
    id: str
    name: str
    result: Result
    words: str = ""


@dataclass(frozen=True, slots=True)
class Estate:
    """An orphan and what hangs on it."""

    orphan: Orphan
    names: tuple[DomainRecord, ...] = ()
    firewall: Firewall | None = None
    load_balancer: LoadBalancer | None = None

    @property
    def addresses(self) -> list[str]:
        """What its names may lead to."""
        balancer = self.load_balancer.ip if self.load_balancer is not None else None
        return [ip for ip in (self.orphan.droplet.ip, balancer) if ip is not None]


@dataclass(slots=True)
class Removal:
    """Looks for what hangs on orphans, and removes it.

    `accepted_at`: when DigitalOcean accepted the deletion of each droplet.
    """

    droplets: Droplets
    records: DomainRecords
    firewalls: Firewalls
    load_balancers: LoadBalancers
    clock: Clock
    cluster_uid: str
    accepted_at: dict[int, datetime] = field(default_factory=dict)
    _gone: dict[str, set[int]] = field(default_factory=dict)

    async def survey(self, orphans: Sequence[Orphan], domains: Iterable[str]) -> list[Estate]:
        """Find the names (in these domains) and firewalls of orphans. Changes nothing.

        Raises:
            DigitalOceanError: a listing could not be had, so what hangs on them is not known.
        """
        if not orphans:
            return []
        names: list[DomainRecord] = []
        for domain in sorted(set(domains)):
            try:
                names += await self.records.list(domain, priority=Priority.HOUSEKEEPING)
            except NotFound:
                continue
        firewalls = {
            firewall.name: firewall
            for firewall in await self.firewalls.list(priority=Priority.HOUSEKEEPING)
        }
        balancers = {one.name: one for one in await shown_balancers(self.load_balancers)}
        own: dict[str, set[int]] = {}
        for orphan in orphans:
            own.setdefault(orphan.session_uid, set()).add(orphan.droplet.id)
        estates = []
        for orphan in orphans:
            uid = orphan.session_uid
            firewall = firewalls.get(session_firewall_name(uid))
            if firewall is not None and not is_bare_session_firewall(
                uid, firewall.name, firewall.tags, firewall.droplet_ids, own[uid]
            ):
                firewall = None
            balancer = balancers.get(load_balancer_name(self.cluster_uid, uid))
            estate = Estate(orphan, (), firewall, balancer)
            led = (one for one in names if is_name_of(uid, one.name, one.data, estate.addresses))
            estates.append(replace(estate, names=tuple(led)))
        return estates

    async def remove(self, estate: Estate) -> list[Outcome]:
        """Remove an orphan and what hangs on it. What fails is told, and keeps what follows."""
        droplet = estate.orphan.droplet
        outcomes = [
            await _told("DomainRecord", name.id, full_name(name), self._remove_name(estate, name))
            for name in estate.names
        ]
        if any(outcome.result in (Result.FAILED, Result.LEFT) for outcome in outcomes):
            words = "a DNS record that may point at it is still there"
            left = Outcome("Droplet", str(droplet.id), droplet.name, Result.LEFT, words)
            return [*outcomes, left]
        if (balancer := estate.load_balancer) is not None:
            going = self._remove_balancer(estate.orphan.session_uid, balancer)
            outcomes.append(await _told("LoadBalancer", balancer.id, balancer.name, going))
        removing = self._remove_droplet(estate.orphan)
        outcomes.append(await _told("Droplet", droplet.id, droplet.name, removing))
        if outcomes[-1].result in (Result.DELETED, Result.GONE):
            self._gone.setdefault(estate.orphan.session_uid, set()).add(droplet.id)
            if estate.firewall is not None:
                firewall = estate.firewall
                closing = self._remove_firewall(estate.orphan.session_uid, firewall)
                outcomes.append(await _told("Firewall", firewall.id, firewall.name, closing))
        return outcomes

    async def _remove_name(self, estate: Estate, name: DomainRecord) -> Told:
        found = await self.records.get(name.domain, name.id, priority=Priority.HOUSEKEEPING)
        if found is None:
            return Result.GONE, ""
        if not is_name_of(estate.orphan.session_uid, found.name, found.data, estate.addresses):
            return Result.LEFT, f"it was changed meanwhile: {found.name} points at {found.data}"
        if not await self.records.delete(name.domain, name.id, priority=Priority.DESTROY):
            return Result.GONE, ""
        return _proven(await self.records.get(name.domain, name.id, priority=Priority.HOUSEKEEPING))

    async def _remove_balancer(self, session_uid: str, balancer: LoadBalancer) -> Told:
        """One that is busy is told as failed, and tried again by the next sweep."""
        found = await self.load_balancers.get(balancer.id, priority=Priority.HOUSEKEEPING)
        if found is None:
            return Result.GONE, ""
        if found.name != load_balancer_name(self.cluster_uid, session_uid):
            return Result.LEFT, "it has another name by now"
        if not await self.load_balancers.delete(found.id, priority=Priority.DESTROY):
            return Result.GONE, ""
        return _proven(await self.load_balancers.get(found.id, priority=Priority.HOUSEKEEPING))

    async def _remove_droplet(self, orphan: Orphan) -> Told:
        number = orphan.droplet.id
        found = await self.droplets.get(number, priority=Priority.HOUSEKEEPING)
        if found is None:
            return Result.GONE, ""
        if owner_of(found.name, found.tags, self.cluster_uid) != orphan.session_uid:
            return Result.LEFT, "it does not wear all of our marks any more"
        if found.public_ip != orphan.droplet.ip:
            return Result.LEFT, "its address has changed since it was listed: it is looked at anew"
        lost: Unavailable | None = None
        try:
            await self.droplets.delete(number, priority=Priority.DESTROY)
        except Unavailable as error:
            # It may have been carried out: what is gone then was deleted here.
            lost = error
        self.accepted_at[number] = self.clock.utc_now()
        deadline = self.clock.now() + SEEN_GONE_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while await self._is_there(number):
            if self.clock.now() + pause > deadline:
                if lost is not None:
                    raise lost
                return Result.UNVERIFIED, _STILL_SHOWN
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return Result.DELETED, ""

    async def _is_there(self, droplet_id: int) -> bool:
        """Whether it may still be there: an answer that says nothing does not say it is gone."""
        try:
            found = await self.droplets.get(droplet_id, priority=Priority.HOUSEKEEPING)
        except DigitalOceanError:
            return True
        return found is not None

    async def _remove_firewall(self, session_uid: str, firewall: Firewall) -> Told:
        found = await self.firewalls.get(firewall.id, priority=Priority.HOUSEKEEPING)
        if found is None:
            return Result.GONE, ""
        own = self._gone.get(session_uid, set())
        if not is_bare_session_firewall(
            session_uid, found.name, found.tags, found.droplet_ids, own
        ):
            return Result.LEFT, "it covers something else too"
        return await self._end_firewall(firewall)

    async def _end_firewall(self, firewall: Firewall) -> Told:
        if not await self.firewalls.delete(firewall.id, priority=Priority.DESTROY):
            return Result.GONE, ""
        return _proven(await self.firewalls.get(firewall.id, priority=Priority.HOUSEKEEPING))

    async def class_firewalls(self, orphans: Iterable[Orphan]) -> dict[str, Firewall]:
        """The Shared firewalls of the classes that these droplets were made for, by class UID.

        Raises:
            DigitalOceanError: the listing could not be had.
        """
        wanted = {orphan.class_uid for orphan in orphans if orphan.class_uid is not None}
        if not wanted:
            return {}
        return {
            uid: firewall
            for firewall in await self.firewalls.list(priority=Priority.HOUSEKEEPING)
            for uid in sorted(wanted)
            if is_bare_class_firewall(uid, firewall.name, firewall.tags, firewall.droplet_ids)
        }

    async def remove_class_firewall(self, class_uid: str, firewall: Firewall) -> Outcome:
        """Remove a class's firewall once no droplet carries the class's tag any more."""
        closing = self._remove_class_firewall(class_uid, firewall)
        return await _told("Firewall", firewall.id, firewall.name, closing)

    async def _remove_class_firewall(self, class_uid: str, firewall: Firewall) -> Told:
        covered = await self.droplets.list_by_tag(
            class_tag(class_uid), priority=Priority.HOUSEKEEPING
        )
        if covered:
            return Result.LEFT, f"it still covers {len(covered)} droplets"
        found = await self.firewalls.get(firewall.id, priority=Priority.HOUSEKEEPING)
        if found is None:
            return Result.GONE, ""
        if not is_bare_class_firewall(class_uid, found.name, found.tags, found.droplet_ids):
            return Result.LEFT, "it covers something else too"
        return await self._end_firewall(firewall)


async def remove_image(images: Images, image: Image) -> Outcome:
    """Remove a baked image in all its regions."""

    async def removing() -> Told:
        if not await images.delete(image.id, priority=Priority.DESTROY):
            return Result.GONE, ""
        return _proven(await images.get(image.id, priority=Priority.HOUSEKEEPING))

    return await _told("Image", image.id, image.name, removing())


async def shown_balancers(load_balancers: LoadBalancers) -> tuple[LoadBalancer, ...]:
    """All of the account; none where the token may not see them, as it made none then.

    Raises:
        DigitalOceanError: the listing could not be had.
    """
    try:
        return await load_balancers.list(priority=Priority.HOUSEKEEPING)
    except Forbidden:
        return ()


def seen(droplet: Droplet) -> SeenDroplet:
    """A droplet as the reaper looks at it."""
    return SeenDroplet(
        droplet.id, droplet.name, droplet.tags, droplet.created_at, droplet.public_ip
    )


def full_name(record: DomainRecord) -> str:
    """The whole host name of a DNS record."""
    return f"{record.name}.{record.domain}"


def _proven(found: object | None) -> Told:
    """What the look after an accepted deletion shows."""
    return (Result.DELETED, "") if found is None else (Result.UNVERIFIED, _STILL_SHOWN)


async def _told(kind: str, id_: int | str, name: str, removing: Awaitable[Told]) -> Outcome:
    """What came of it, in words where DigitalOcean refused."""
    try:
        result, words = await removing
    except DigitalOceanError as error:
        result, words = Result.FAILED, str(error)
    return Outcome(kind, str(id_), name, result, words)
