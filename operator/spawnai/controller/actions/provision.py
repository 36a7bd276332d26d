"""Makes what a session needs in the cloud: its droplet, firewall and name.

Every creation is a POST that must not be sent twice; for each there is a look that finds what a
lost answer left behind.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from spawnai.api.durations import parse_duration
from spawnai.api.names import (
    TAG_EPHEMERAL,
    TAG_PRODUCT,
    class_tag,
    cluster_tag,
    session_droplet_name,
    session_firewall_name,
    session_tag,
    ttl_tag,
)
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import NotCovered
from spawnai.controller.failures import NotYet, failure_of
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import NoCapacity, NotFound, OverQuota, UnknownOption
from spawnai.digitalocean.firewalls import session_rules
from spawnai.digitalocean.models import DomainRecord, Droplet, DropletOrder, Firewall, FirewallOrder
from spawnai.droplet.cloud_config import DropletBootstrap, render_user_data
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import DropletView, Session
from spawnai.lifecycle.reaping import owner_of
from spawnai.lifecycle.settling import APPEARS_WITHIN

from .agents import AGENT_PORT, Agents
from .work import Backing, Work

LOOK_AGAIN = timedelta(seconds=3)
"""Between two looks for what a lost answer may have left behind."""

LISTED_WITHIN_SECONDS = 20.0
"""After how long a droplet that its wave's listing does not show is asked for by id."""


class Provision:
    """Makes droplets, firewalls and names."""

    def __init__(
        self,
        *,
        agents: Agents,
        clock: Clock,
        cluster_uid: str,
        agent_source: str,
        wake: Callable[[str], None],
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._cluster_uid = cluster_uid
        self._agent_source = agent_source
        self._wake = wake

    async def create_droplet(self, work: Work, action: do.CreateDroplet) -> None:
        """Order the droplet, in its turn when the account's limit is reached."""
        session, backing, memory = work.session, work.backing, work.memory
        account = backing.account
        waiter = (work.uid, session.created_at, session.namespace)
        if account.quota.must_wait(*waiter):
            account.quota.join(*waiter)
            raise OverQuota("other sessions wait for the account's droplet limit")
        try:
            async with work.turn(action) as turn:
                # Made now: its times count from when it is sent, and it may have waited for hours.
                order = self._droplet_order(work, action)
                droplet = await account.droplets.create(order, priority=turn)
        except OverQuota:
            account.quota.join(*waiter)
            raise
        except (NoCapacity, UnknownOption) as error:
            refused = _refused_part(action.placement, error)
            memory.rejected[refused] = failure_of(error, self._clock.utc_now())
            raise
        account.quota.served(work.uid, session.namespace)
        self._note_droplet(work, droplet, backing)
        if (waiting := account.quota.first()) is not None:
            self._wake(waiting)

    def _droplet_order(self, work: Work, action: do.CreateDroplet) -> DropletOrder:
        backing = work.backing
        now = self._clock.utc_now()
        expires_at = now + action.lifetime
        return DropletOrder(
            name=session_droplet_name(work.uid),
            region=action.placement.region,
            size=action.placement.size,
            image=backing.spec.image,
            user_data=self._user_data(work.session, backing, expires_at, action.lifetime),
            tags=(
                TAG_PRODUCT,
                TAG_EPHEMERAL,
                session_tag(work.uid),
                cluster_tag(self._cluster_uid),
                class_tag(backing.class_uid),
                wave_tag(now),
                ttl_tag(int(expires_at.timestamp())),
            ),
        )

    def _user_data(
        self, session: Session, backing: Backing, expires_at: datetime, lifetime: timedelta
    ) -> str:
        return render_user_data(
            DropletBootstrap(
                session_uid=session.uid,
                app_type=session.order.app_type,
                credentials=self._agents.credentials(session),
                agent_source=self._agent_source,
                expires_at=expires_at,
                grace_seconds=int(
                    parse_duration(backing.spec.lifetime.dead_man_grace).total_seconds()
                ),
                agent_port=AGENT_PORT,
                http_port=backing.spec.exposure.http_port,
                lifetime=lifetime,
                gateway=self._agents.gateway_certificate(session),
            )
        )

    def _note_droplet(self, work: Work, droplet: Droplet, backing: Backing) -> None:
        work.note(droplet_entry(droplet, backing.account.prices))
        work.memory.saw_droplet(DropletView(droplet.id, droplet.status, droplet.public_ip))
        backing.account.inventory.saw(droplet)

    async def find_droplet(self, work: Work, _action: do.FindDroplet) -> timedelta:
        """Take in a droplet that carries the session's name and all of our marks.

        The name alone proves nothing: names are not unique. Tags may show some seconds later than
        the droplet, long before the settling time is over.
        """
        backing = work.backing
        name = session_droplet_name(work.uid)
        found = await backing.account.droplets.list_by_name(name, priority=Priority.RUNNING)
        for droplet in found:
            if owner_of(droplet.name, droplet.tags, self._cluster_uid) == work.uid:
                self._note_droplet(work, droplet, backing)
        return LOOK_AGAIN

    async def await_droplet(self, work: Work, action: do.AwaitDroplet) -> None:
        """Follow the wave's listing until the droplet is active and has an address."""
        backing, memory = work.backing, work.memory
        inventory = backing.account.inventory
        created = next(
            (
                entry.created_at
                for entry in memory.book.resources
                if entry.id == str(action.droplet_id)
            ),
            self._clock.utc_now(),
        )
        wave = wave_tag(created)
        memory.droplet_news = news = asyncio.Event()
        inventory.watch(wave)
        try:
            async with asyncio.timeout(LISTED_WITHIN_SECONDS):
                while True:
                    view = memory.droplet
                    if view is not None and view.status == "active" and view.ip is not None:
                        memory.ledger = books.with_address(
                            memory.book, ResourceKind.DROPLET, str(view.id), view.ip
                        )
                        return
                    news.clear()
                    await news.wait()
        except TimeoutError:
            pass
        finally:
            inventory.unwatch(wave)
        # Not in its wave's listing: its tag came late, or it is gone.
        droplet = await backing.account.droplets.get(action.droplet_id, priority=Priority.NEW)
        if droplet is not None:
            inventory.saw(droplet)
            memory.saw_droplet(DropletView(droplet.id, droplet.status, droplet.public_ip))
        elif self._clock.utc_now() > created + APPEARS_WITHIN:
            work.saw_gone(ResourceKind.DROPLET, str(action.droplet_id))

    async def create_firewall(self, work: Work, action: do.CreateFirewall) -> None:
        """Make the session's own firewall."""
        backing = work.backing
        order = firewall_order(
            session_firewall_name(work.uid), backing.spec, droplet_ids=(action.droplet_id,)
        )
        async with work.turn(action) as turn:
            firewall = await backing.account.firewalls.create(order, priority=turn)
        self._note_firewall(work, firewall)

    async def find_firewall(self, work: Work, _action: do.FindFirewall) -> timedelta:
        """Take in a firewall that carries the session's name."""
        name = session_firewall_name(work.uid)
        for firewall in await work.backing.account.firewalls.list(priority=Priority.RUNNING):
            if firewall.name == name:
                self._note_firewall(work, firewall)
        return LOOK_AGAIN

    def _note_firewall(self, work: Work, firewall: Firewall) -> None:
        work.note(
            LedgerEntry(
                kind=ResourceKind.FIREWALL,
                id=firewall.id,
                name=firewall.name,
                created_at=self._clock.utc_now().replace(microsecond=0),
            )
        )

    async def check_firewall(self, work: Work, action: do.CheckFirewall) -> None:
        """Wait until the firewall covers the droplet."""
        watch = work.backing.account.firewall_watch
        try:
            exists = await watch.in_force(action.firewall_id, action.droplet_id)
        except NotCovered as error:
            raise NotYet(str(error)) from error
        if not exists:
            raise NotYet(f"firewall {action.firewall_id} does not exist")
        work.memory.firewall_in_force = True

    async def create_domain_record(self, work: Work, action: do.CreateDomainRecord) -> None:
        """Make the session's name."""
        async with work.turn(action) as turn:
            record = await work.backing.account.records.create(
                action.domain, action.name, action.ip, action.ttl_seconds, priority=turn
            )
        self._note_record(work, record)

    async def find_domain_record(self, work: Work, action: do.FindDomainRecord) -> timedelta:
        """Take in all records with the session's name and address."""
        try:
            found = await work.backing.account.records.find(
                f"{action.name}.{action.domain}", action.domain, priority=Priority.RUNNING
            )
        except NotFound:  # the domain itself has gone, and no name is left in it
            return LOOK_AGAIN
        for record in found:
            if record.data == action.ip:
                self._note_record(work, record)
        return LOOK_AGAIN

    def _note_record(self, work: Work, record: DomainRecord) -> None:
        work.note(
            LedgerEntry(
                kind=ResourceKind.DOMAIN_RECORD,
                id=str(record.id),
                name=f"{record.name}.{record.domain}",
                domain=record.domain,
                ip=record.data,
                created_at=self._clock.utc_now().replace(microsecond=0),
            )
        )


def _refused_part(placement: do.Placement, error: NoCapacity | UnknownOption) -> tuple[str, str]:
    """The region and size that need not be asked for again: no region has a size that is none."""
    option = error.option if isinstance(error, UnknownOption) else None
    region = do.ANY if option in ("size", "image") else placement.region
    size = do.ANY if option in ("region", "image") else placement.size
    return region, size


def droplet_entry(droplet: Droplet, prices: Mapping[str, Decimal]) -> LedgerEntry:
    """A droplet as a line of its session's ledger. `prices`: dollars an hour, by size."""
    price = droplet.price_hourly
    if price is None:
        price = prices.get(droplet.size)
    return LedgerEntry(
        kind=ResourceKind.DROPLET,
        id=str(droplet.id),
        name=droplet.name,
        region=droplet.region,
        size=droplet.size,
        ip=droplet.public_ip,
        price_hourly=str(price) if price is not None else None,
        created_at=droplet.created_at,
    )


def wave_tag(at: datetime) -> str:
    """The creation window of ten minutes that a droplet belongs to."""
    window = at.astimezone(UTC)
    return f"wave:{window:%Y%m%d%H}{window.minute // 10}0"


def firewall_order(
    name: str,
    spec: ClassSpec,
    *,
    tags: tuple[str, ...] = (),
    droplet_ids: tuple[int, ...] = (),
) -> FirewallOrder:
    """The firewall that a class wants around its droplets."""
    inbound, outbound = session_rules(
        agent_port=AGENT_PORT,
        operator_addresses=tuple(spec.firewall.operator_addresses),
        ssh_from_private_ranges=spec.firewall.ssh,
    )
    return FirewallOrder(
        name=name, inbound=inbound, outbound=outbound, tags=tags, droplet_ids=droplet_ids
    )
