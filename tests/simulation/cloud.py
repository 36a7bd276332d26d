"""A model of DigitalOcean: droplets, names and firewalls that come late, linger, and cost money."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from spawnai.billing.droplet_prices import droplet_cost_between
from spawnai.digitalocean import errors
from spawnai.digitalocean.models import (
    Account,
    Action,
    Certificate,
    DomainRecord,
    Droplet,
    DropletOrder,
    Firewall,
    FirewallOrder,
    LoadBalancer,
    LoadBalancerOrder,
    Page,
    Size,
)

from .edges import Wire
from .loop import utc
from .story import SHOWS_LATE

LATE_SECONDS = 40.0
"""When a POST without an answer takes effect: after it was thought to be settled."""
NEVER = float("inf")
DOMAIN = "apps.example"
SIZES = {"s-1vcpu-1gb": Decimal("0.0893"), "s-2vcpu-2gb": Decimal("0.2679")}
"""Ten times DigitalOcean's prices: lives of minutes would all cost its minimum of a cent."""

REGIONS = frozenset({"nyc3", "sfo3"})


@dataclass(slots=True)
class CloudDroplet:
    """A droplet as the cloud itself knows it. Times are moments of the loop."""

    id: int
    name: str
    region: str
    size: str
    tags: frozenset[str]
    ip: str
    created: float
    active: float
    tagged: float
    listed: float
    covered: float
    session: str | None
    spare: str | None = None
    """The ledger that it was made for as a spare; it stays when a session has taken it."""
    accepted: float = NEVER
    gone: float = NEVER
    unlisted: float = NEVER
    by_hand: bool = False
    late: bool = False
    seen: float = 0.0
    """Until then its own address answers 404."""
    off: bool = False
    hangs: bool = False
    """Nothing on it answers until it is rebooted."""
    broken: bool = False
    """Nothing on it answers any more."""
    harmed: bool = False
    """It was switched off, hung or broken, or deleted by hand, at least once."""

    @property
    def answers(self) -> bool:
        return not (self.off or self.hangs or self.broken)

    def cost(self, until: float) -> Decimal:
        """What the cloud bills, from the order's whole second to the accepted deletion."""
        end = utc(min(self.accepted, until))
        start = utc(self.created).replace(microsecond=0)
        return droplet_cost_between(SIZES[self.size], start, end)


@dataclass(slots=True)
class CloudRecord:
    """A DNS record."""

    record: DomainRecord
    listed: float
    session: str | None
    gone: float = NEVER
    made: float = 0.0
    by_hand: bool = False
    late: bool = False
    seen: float = 0.0
    """Until then its own address answers 404."""


@dataclass(slots=True)
class CloudFirewall:
    """A firewall."""

    id: str
    order: FirewallOrder
    made: float
    covered: float
    session: str | None
    gone: float = NEVER


@dataclass(slots=True)
class Watch:
    """Who is told of what the operators do to the cloud, at the moment it happens."""

    droplet_made: Callable[[CloudDroplet], None]
    droplet_deleted: Callable[[CloudDroplet], None]
    record_made: Callable[[CloudRecord], None]
    foreign_touched: Callable[[str], None]
    droplet_restarted: Callable[[CloudDroplet, str], None]


@dataclass
class Cloud:
    """The account and everything in it."""

    wire: Wire
    watch: Watch
    session_of: Callable[[str], str | None]
    droplets: dict[int, CloudDroplet] = field(default_factory=dict)
    records: dict[int, CloudRecord] = field(default_factory=dict)
    firewalls: dict[str, CloudFirewall] = field(default_factory=dict)
    balancers: dict[str, "CloudBalancer"] = field(default_factory=dict)
    certificates: dict[str, float] = field(default_factory=dict)
    """Those for load balancers, by name, and when each was ordered."""
    dangling: list[str] = field(default_factory=list)
    """Names that led to a load balancer when it was deleted."""
    foreign: set[tuple[str, str]] = field(default_factory=set)
    writes: int = 0

    def __post_init__(self) -> None:
        self.random = Random(f"{self.wire.story.seed}/cloud")
        self._ids = itertools.count(1001)
        self._addresses = itertools.count(1)
        self._free: list[str] = []
        self._unseen = Random(f"{self.wire.story.seed}/cloud/unseen")

    @property
    def now(self) -> float:
        return self.wire.loop.time()

    def living(self, session: str) -> list[CloudDroplet]:
        """The session's droplets that are billed."""
        return [
            droplet
            for droplet in self.droplets.values()
            if droplet.session == session and droplet.accepted == NEVER
        ]

    def balancers_of(self, session: str) -> list["CloudBalancer"]:
        """The session's load balancers that are active."""
        return [
            one
            for one in self.balancers.values()
            if one.session == session and one.active <= self.now < one.gone
        ]

    # --- droplets ----------------------------------------------------------------------------

    def make_droplet(
        self, name: str, region: str, size: str, tags: frozenset[str], session: str | None
    ) -> CloudDroplet:
        settings, random, now = self.wire.story.settings, self.random, self.now
        lag = settings.lag_seconds
        active = now + settings.boot_seconds * random.uniform(0.7, 1.3)
        tagged = now + random.uniform(0, lag)
        made = CloudDroplet(
            id=next(self._ids),
            name=name,
            region=region,
            size=size,
            tags=tags,
            ip=self._address(),
            created=now,
            active=active,
            tagged=tagged,
            listed=now + random.uniform(0, lag),
            covered=max(active, tagged) + random.uniform(0, 2),
            session=session,
        )
        self.droplets[made.id] = made
        return made

    def place_foreign(self, name: str, tags: frozenset[str]) -> None:
        """A droplet of somebody else, which was there long before."""
        number, now = next(self._ids), self.now
        self.droplets[number] = CloudDroplet(
            id=number,
            name=name,
            region="nyc3",
            size="s-1vcpu-1gb",
            tags=tags,
            ip=f"198.51.100.{number % 250}",
            created=now,
            active=now,
            tagged=now,
            listed=now,
            covered=now,
            session=None,
        )
        self.foreign.add(("droplet", str(number)))

    def _address(self) -> str:
        if self._free and self.random.random() < 0.5:
            return self._free.pop(0)
        return f"203.0.113.{next(self._addresses)}"

    def end_droplet(self, droplet: CloudDroplet, *, by_hand: bool = False) -> None:
        now = self.now
        droplet.accepted = now
        droplet.by_hand = by_hand
        droplet.harmed = droplet.harmed or by_hand
        droplet.gone = now + self.random.uniform(0.2, 6)
        droplet.unlisted = droplet.gone + self.random.uniform(
            0, self.wire.story.settings.lag_seconds
        )
        self._free.append(droplet.ip)

    def shown(self, droplet: CloudDroplet, asked: float) -> Droplet:
        now = self.now
        return Droplet(
            id=droplet.id,
            name=droplet.name,
            status="off" if droplet.off else "active" if now >= droplet.active else "new",
            region=droplet.region,
            size=droplet.size,
            tags=droplet.tags if now >= droplet.tagged else frozenset(),
            public_ip=droplet.ip if now >= droplet.active - 1 else None,
            created_at=utc(droplet.created).replace(microsecond=0),
            price_hourly=SIZES[droplet.size],
            locked=now < droplet.active,
            seen_at=utc(asked),
        )

    # --- names and firewalls -----------------------------------------------------------------

    def make_record(self, name: str, ip: str, session: str | None) -> CloudRecord:
        number = next(self._ids)
        lag = min(self.wire.story.settings.lag_seconds, 3.0)
        made = CloudRecord(
            DomainRecord(number, DOMAIN, "A", name, ip, 30),
            self.now + self.random.uniform(0, lag),
            session,
        )
        self.records[number] = made
        return made

    def make_firewall(self, order: FirewallOrder, session: str | None) -> CloudFirewall:
        made = CloudFirewall(
            f"firewall-{next(self._ids)}",
            order,
            self.now,
            self.now + self.random.uniform(0, 2),
            session,
        )
        self.firewalls[made.id] = made
        return made

    def seen_at(self) -> float:
        """When the address of something made now answers for the first time."""
        return self.now + self._unseen.uniform(0, self.wire.story.settings.unseen_seconds)

    def is_shown(self, thing: CloudDroplet | CloudRecord | None) -> bool:
        """Whether the address of a thing answers; a new one may not do so yet."""
        if thing is None or self.now >= thing.gone:
            return False
        if self.now < thing.seen:
            self.wire.disturb(self.now, thing.seen, "something new answers 404")
            return False
        return True

    def bill(self) -> Decimal:
        """What the account is billed for our droplets until now."""
        return sum(
            (
                droplet.cost(self.now)
                for droplet in self.droplets.values()
                if ("droplet", str(droplet.id)) not in self.foreign
            ),
            Decimal(0),
        )

    # --- calls -------------------------------------------------------------------------------

    def now_or_late(self, kind: str | None, make: Callable[[], Any]) -> Any:
        """What a POST makes; one that shows late has no answer."""
        if kind != SHOWS_LATE:
            return make()

        def make_late() -> None:
            # Refused then, if its name was taken meanwhile: nobody hears of it.
            with suppress(errors.AlreadyExists):
                make()

        self.wire.disturb(self.now, self.now + LATE_SECONDS, "something shows late")
        self.wire.loop.outside(LATE_SECONDS, make_late)
        raise errors.Ambiguous("no answer in time")

    async def call(self, name: str, effect: Callable[[], Any], words: str = "") -> Any:
        kind = self.wire.fault_kind(name)
        if kind == "rate limited":

            def limited() -> Any:
                raise errors.RateLimited("too many requests", retry_after_seconds=2.0)

            return await self.wire.call(name, "the cloud", limited, _lost(name), _refused, words)
        return await self.wire.call(name, "the cloud", effect, _lost(name), _refused, words)


def _lost(name: str) -> Callable[[str], Exception]:
    kind = errors.Ambiguous if name.startswith("POST") else errors.Unavailable
    return lambda why: kind(why, endpoint=name)


def _refused(why: str) -> Exception:
    return errors.Unavailable(why)


class SimulatedDroplets:
    """What the controller knows as `Droplets`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def create(self, order: DropletOrder, *, priority) -> Droplet:
        cloud, asked = self._cloud, self._cloud.now
        kind = cloud.wire.fault_kind("POST droplet")

        def make() -> Droplet:
            session = cloud.session_of(order.name)
            made = cloud.make_droplet(
                order.name, order.region, order.size, frozenset(order.tags), session
            )
            made.spare = order.name.removeprefix("spawn-") if session is None else None
            made.late = kind == SHOWS_LATE
            made.seen = cloud.seen_at()
            cloud.watch.droplet_made(made)
            return cloud.shown(made, asked)

        def effect() -> Droplet:
            if kind == "no capacity":
                raise errors.NoCapacity(f"no room in {order.region}")
            ours = sum(
                1
                for droplet in cloud.droplets.values()
                if droplet.accepted == NEVER and (droplet.session or droplet.spare) is not None
            )
            if ours >= cloud.wire.story.settings.droplet_limit:
                raise errors.OverQuota("creating this would exceed your droplet limit")
            cloud.writes += 1
            return cloud.now_or_late(kind, make)

        return await cloud.call("POST droplet", effect, f"{order.name} in {order.region}")

    async def get(self, droplet_id: int, *, priority) -> Droplet | None:
        cloud, asked = self._cloud, self._cloud.now

        def effect() -> Droplet | None:
            droplet = cloud.droplets.get(droplet_id)
            return cloud.shown(droplet, asked) if cloud.is_shown(droplet) else None

        return await cloud.call("GET droplet", effect, str(droplet_id))

    async def delete(self, droplet_id: int, *, priority) -> bool:
        cloud = self._cloud
        kind = cloud.wire.fault_kind("DELETE droplet")

        def effect() -> bool:
            droplet = cloud.droplets.get(droplet_id)
            if not cloud.is_shown(droplet):
                return False
            if kind == "busy":
                raise errors.Busy("an action is running")
            if ("droplet", str(droplet_id)) in cloud.foreign:
                cloud.watch.foreign_touched(f"droplet {droplet_id} ({droplet.name})")
            if droplet.accepted == NEVER:
                cloud.writes += 1
                cloud.end_droplet(droplet)
                cloud.watch.droplet_deleted(droplet)
            return True

        return await cloud.call("DELETE droplet", effect, str(droplet_id))

    async def act(self, droplet_id: int, kind: str, *, priority) -> Action:
        cloud = self._cloud

        def effect() -> Action:
            droplet = cloud.droplets.get(droplet_id)
            if not cloud.is_shown(droplet):
                raise errors.NotFound("no such droplet")
            if ("droplet", str(droplet_id)) in cloud.foreign:
                cloud.watch.foreign_touched(f"droplet {droplet_id} ({droplet.name})")
            cloud.writes += 1
            cloud.watch.droplet_restarted(droplet, kind)
            if kind == "power_on" and droplet.off:
                droplet.off = False
                droplet.active = cloud.now + cloud.wire.story.settings.boot_seconds / 2
            elif kind == "reboot":
                droplet.hangs = False
            return Action(next(cloud._ids), "in-progress", kind, droplet_id, None, None)

        return await cloud.call("POST action", effect, f"{kind} {droplet_id}")

    async def rename(self, droplet_id: int, name: str, *, priority) -> None:
        cloud = self._cloud

        def effect() -> None:
            droplet = _ours(cloud, droplet_id)
            cloud.writes += 1
            droplet.name = name

        await cloud.call("RENAME droplet", effect, f"{droplet_id} {name}")

    def _list(self, chosen: Callable[[CloudDroplet], bool], asked: float) -> tuple[Droplet, ...]:
        cloud = self._cloud
        return tuple(
            cloud.shown(droplet, asked)
            for droplet in cloud.droplets.values()
            if cloud.now < droplet.unlisted and chosen(droplet)
        )

    async def list_by_name(self, name: str, *, priority) -> tuple[Droplet, ...]:
        cloud, asked = self._cloud, self._cloud.now
        return await cloud.call(
            "LIST droplets by name",
            lambda: self._list(
                lambda droplet: droplet.name == name and cloud.now >= droplet.listed, asked
            ),
            name,
        )

    async def list_by_tag(self, tag: str, *, priority) -> tuple[Droplet, ...]:
        cloud, asked = self._cloud, self._cloud.now
        kind = cloud.wire.fault_kind("LIST droplets by tag")

        def effect() -> tuple[Droplet, ...]:
            if kind == "empty":
                return ()
            return self._list(
                lambda droplet: (
                    tag in droplet.tags and cloud.now >= max(droplet.tagged, droplet.listed)
                ),
                asked,
            )

        return await cloud.call("LIST droplets by tag", effect, tag)

    async def list_page(self, tag: str, page: int, *, priority) -> Page[Droplet]:
        items = await self.list_by_tag(tag, priority=priority)
        return Page(items, len(items), is_last=True)


def _ours(cloud: Cloud, droplet_id: int) -> CloudDroplet:
    """A droplet that is to be changed."""
    droplet = cloud.droplets.get(droplet_id)
    if droplet is None or not cloud.is_shown(droplet):
        raise errors.NotFound("no such droplet")
    if ("droplet", str(droplet_id)) in cloud.foreign:
        cloud.watch.foreign_touched(f"droplet {droplet_id} ({droplet.name})")
    return droplet


class SimulatedTags:
    """What the controller knows as `Tags`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def tag(self, name: str, droplet_id: int, *, priority) -> None:
        await self._change("TAG droplet", name, droplet_id, lambda tags: tags | {name})

    async def untag(self, name: str, droplet_id: int, *, priority) -> bool:
        await self._change("UNTAG droplet", name, droplet_id, lambda tags: tags - {name})
        return True

    async def _change(self, call: str, name: str, droplet_id: int, change) -> None:
        cloud = self._cloud

        def effect() -> None:
            droplet = _ours(cloud, droplet_id)
            cloud.writes += 1
            droplet.tags = frozenset(change(droplet.tags))

        await cloud.call(call, effect, f"{droplet_id} {name}")


class SimulatedRecords:
    """What the controller knows as `DomainRecords`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def create(self, domain, name, ip, ttl, *, priority) -> DomainRecord:
        cloud = self._cloud
        kind = cloud.wire.fault_kind("POST record")

        def make() -> DomainRecord:
            made = cloud.make_record(name, ip, cloud.session_of(name))
            made.made, made.seen, made.late = cloud.now, cloud.seen_at(), kind == SHOWS_LATE
            cloud.watch.record_made(made)
            return made.record

        def effect() -> DomainRecord:
            cloud.writes += 1
            return cloud.now_or_late(kind, make)

        return await cloud.call("POST record", effect, f"{name} → {ip}")

    async def get(self, domain, record_id, *, priority) -> DomainRecord | None:
        cloud = self._cloud

        def effect() -> DomainRecord | None:
            known = cloud.records.get(record_id)
            return known.record if cloud.is_shown(known) else None

        return await cloud.call("GET record", effect, str(record_id))

    async def delete(self, domain, record_id, *, priority) -> bool:
        cloud = self._cloud

        def effect() -> bool:
            known = cloud.records.get(record_id)
            if not cloud.is_shown(known):
                return False
            if ("record", str(record_id)) in cloud.foreign:
                cloud.watch.foreign_touched(f"record {record_id} ({known.record.name})")
            cloud.writes += 1
            known.gone = cloud.now
            return True

        return await cloud.call("DELETE record", effect, str(record_id))

    async def find(self, fqdn, domain, *, priority) -> tuple[DomainRecord, ...]:
        found = await self.list(domain, priority=priority)
        return tuple(record for record in found if f"{record.name}.{domain}" == fqdn)

    async def list(self, domain, *, priority) -> tuple[DomainRecord, ...]:
        cloud = self._cloud
        return await cloud.call(
            "LIST records",
            lambda: tuple(
                known.record
                for known in cloud.records.values()
                if known.listed <= cloud.now < known.gone
            ),
        )

    async def domain_exists(self, domain, *, priority) -> bool:
        return await self._cloud.call("GET domain", lambda: domain == DOMAIN)

    async def zone_names(self, domain, *, priority) -> frozenset[str]:
        cloud = self._cloud
        kind = cloud.wire.fault_kind("GET zone")

        def effect() -> frozenset[str]:
            if kind == "empty":
                return frozenset()
            return frozenset(
                f"{known.record.name}.{domain}"
                for known in cloud.records.values()
                if known.listed <= cloud.now < known.gone
            )

        return await cloud.call("GET zone", effect)


class SimulatedFirewalls:
    """What the controller knows as `Firewalls`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def _shown(self, known: CloudFirewall) -> Firewall:
        cloud, order = self._cloud, known.order
        waiting = frozenset(
            droplet.id
            for droplet in cloud.droplets.values()
            if cloud.now < droplet.covered
            and (droplet.id in order.droplet_ids or set(order.tags) & droplet.tags)
        )
        return Firewall(
            id=known.id,
            name=order.name,
            status="succeeded" if cloud.now >= known.covered else "waiting",
            tags=frozenset(order.tags),
            droplet_ids=frozenset(order.droplet_ids),
            pending_droplet_ids=waiting,
            inbound=order.inbound,
            outbound=order.outbound,
        )

    def _since(self, moment: float) -> list[CloudFirewall]:
        return [known for known in self._cloud.firewalls.values() if moment < known.gone]

    def _living(self) -> list[CloudFirewall]:
        return self._since(self._cloud.now)

    async def create(self, order: FirewallOrder, *, priority) -> Firewall:
        cloud = self._cloud
        kind = cloud.wire.fault_kind("POST firewall")
        asked = cloud.now

        def make() -> Firewall:
            # One that comes late is refused also when its name was taken only for a while.
            if any(known.order.name == order.name for known in self._since(asked)):
                raise errors.AlreadyExists("name must be unique")
            return self._shown(cloud.make_firewall(order, cloud.session_of(order.name)))

        def effect() -> Firewall:
            cloud.writes += 1
            return cloud.now_or_late(kind, make)

        return await cloud.call("POST firewall", effect, order.name)

    async def get(self, firewall_id, *, priority) -> Firewall | None:
        cloud = self._cloud

        def effect() -> Firewall | None:
            known = cloud.firewalls.get(firewall_id)
            return self._shown(known) if known is not None and cloud.now < known.gone else None

        return await cloud.call("GET firewall", effect, firewall_id)

    async def list(self, *, priority) -> tuple[Firewall, ...]:
        return await self._cloud.call(
            "LIST firewalls", lambda: tuple(self._shown(known) for known in self._living())
        )

    async def update(self, firewall_id, order, *, priority) -> Firewall:
        cloud = self._cloud

        def effect() -> Firewall:
            known = cloud.firewalls.get(firewall_id)
            if known is None or cloud.now >= known.gone:
                raise errors.NotFound("no such firewall")
            if ("firewall", firewall_id) in cloud.foreign:
                cloud.watch.foreign_touched(f"firewall {known.order.name}")
            cloud.writes += 1
            known.order = order
            return self._shown(known)

        return await cloud.call("PUT firewall", effect, firewall_id)

    async def delete(self, firewall_id, *, priority) -> bool:
        cloud = self._cloud

        def effect() -> bool:
            known = cloud.firewalls.get(firewall_id)
            if known is None or cloud.now >= known.gone:
                return False
            if ("firewall", firewall_id) in cloud.foreign:
                cloud.watch.foreign_touched(f"firewall {known.order.name}")
            cloud.writes += 1
            known.gone = cloud.now
            return True

        return await cloud.call("DELETE firewall", effect, firewall_id)

    async def ensure_tag(self, name, *, priority) -> None:
        await self._cloud.call("POST tag", lambda: None, name)


class SimulatedCatalog:
    """What the controller knows as `Catalog`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def missing_scopes(self, wanted, *, priority) -> tuple:
        return ()

    async def account(self, *, priority) -> Account:
        return Account(status="active", uuid="account")

    async def sizes(self, *, priority) -> dict[str, Size]:
        return await self._cloud.call(
            "GET sizes",
            lambda: {
                slug: Size(slug, price, REGIONS, available=True) for slug, price in SIZES.items()
            },
        )


BALANCER_HOURLY = Decimal("0.01786")


@dataclass(slots=True)
class CloudBalancer:
    """A load balancer as the cloud itself knows it."""

    id: str
    order: LoadBalancerOrder
    ip: str
    made: float
    active: float
    errored: bool
    session: str | None
    gone: float = NEVER
    by_hand: bool = False


class SimulatedLoadBalancers:
    """What the controller knows as `LoadBalancers`: new for a while, errored at times, and busy
    while new.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._random = Random(f"{cloud.wire.story.seed}/balancers")

    def _shown(self, known: CloudBalancer) -> LoadBalancer:
        is_new = self._cloud.now < known.active
        status = "new" if is_new else "errored" if known.errored else "active"
        return LoadBalancer(
            id=known.id,
            name=known.order.name,
            status=status,
            ip=known.ip if status == "active" else None,
            region=known.order.region,
            rules=known.order.rules,
            droplet_ids=frozenset(known.order.droplet_ids),
            tag="",
            created_at=utc(known.made).replace(microsecond=0),
            nodes=1,
            writes_records=False,
        )

    def _living(self, balancer_id: str) -> CloudBalancer | None:
        known = self._cloud.balancers.get(balancer_id)
        return known if known is not None and self._cloud.now < known.gone else None

    async def create(self, order: LoadBalancerOrder, *, priority) -> LoadBalancer:
        cloud = self._cloud
        kind = cloud.wire.fault_kind("POST load balancer")

        def make() -> LoadBalancer:
            if any(one.order.name == order.name and cloud.now < one.gone for one in self._all()):
                raise errors.AlreadyExists("load balancer name is not unique")
            number = next(cloud._ids)
            made = CloudBalancer(
                f"balancer-{number}",
                order,
                f"192.0.2.{number % 250}",
                cloud.now,
                cloud.now + self._random.uniform(5, 70),
                self._random.random() < 0.1,
                cloud.session_of(order.name),
            )
            cloud.balancers[made.id] = made
            return self._shown(made)

        def effect() -> LoadBalancer:
            cloud.writes += 1
            return cloud.now_or_late(kind, make)

        return await cloud.call("POST load balancer", effect, order.name)

    def _all(self) -> list[CloudBalancer]:
        return list(self._cloud.balancers.values())

    async def get(self, balancer_id: str, *, priority) -> LoadBalancer | None:
        def effect() -> LoadBalancer | None:
            known = self._living(balancer_id)
            return self._shown(known) if known is not None else None

        return await self._cloud.call("GET load balancer", effect, balancer_id)

    async def list(self, *, priority) -> tuple[LoadBalancer, ...]:
        return await self._cloud.call(
            "LIST load balancers",
            lambda: tuple(self._shown(one) for one in self._all() if self._cloud.now < one.gone),
        )

    async def delete(self, balancer_id: str, *, priority) -> bool:
        cloud = self._cloud

        def effect() -> bool:
            known = self._living(balancer_id)
            if known is None:
                return False
            if cloud.now < known.active and not known.errored:
                raise errors.Busy("it processes previous actions")
            leads = (
                one
                for one in cloud.records.values()
                if one.record.data == known.ip and cloud.now < one.gone and not one.by_hand
            )
            cloud.dangling += [f"{one.record.name} still leads to {balancer_id}" for one in leads]
            cloud.writes += 1
            known.gone = cloud.now
            return True

        return await cloud.call("DELETE load balancer", effect, balancer_id)


class SimulatedCertificates:
    """What the controller knows as `Certificates`: one of each name, verified after a while."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def _shown(self, name: str) -> Certificate:
        made = self._cloud.certificates[name]
        state = "verified" if self._cloud.now >= made + 8 else "pending"
        return Certificate(f"{name}-id", name, state, "lets_encrypt", (), utc(made), None)

    async def find(self, name: str, *, priority) -> Certificate | None:
        def effect() -> Certificate | None:
            return self._shown(name) if name in self._cloud.certificates else None

        return await self._cloud.call("LIST certificates", effect, name)

    async def order(self, name: str, dns_names, *, priority) -> Certificate:
        cloud = self._cloud

        def effect() -> Certificate:
            if name in cloud.certificates:
                raise errors.AlreadyExists("certificate name is not unique")
            cloud.writes += 1
            cloud.certificates[name] = cloud.now
            return self._shown(name)

        return await cloud.call("POST certificate", effect, name)

    async def delete(self, identifier: str, *, priority) -> bool:
        cloud, name = self._cloud, identifier.removesuffix("-id")

        def effect() -> bool:
            if any(
                cloud.now < one.gone
                and any(rule.certificate_id == identifier for rule in one.order.rules)
                for one in cloud.balancers.values()
            ):
                raise errors.Busy("Make sure the certificate is not in use before deleting it")
            return cloud.certificates.pop(name, None) is not None

        return await cloud.call("DELETE certificate", effect, name)
