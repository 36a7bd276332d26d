"""What DigitalOcean's objects look like to us: the few fields that are used, checked and frozen."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Droplet:
    """A droplet as one answer showed it.

    Attributes:
        id: DigitalOcean's number for it; never given to another droplet.
        status: "new", "active", "off" or "archive". "active" is powered on, not booted.
        region: the region's slug, "" when the answer did not say.
        size: the size's slug, "" when the answer did not say.
        public_ip: its public IPv4 address. None until it has one; a private one never counts.
        created_at: when DigitalOcean took the order, by its clock.
        price_hourly: dollars an hour, None when the answer did not say.
        locked: an action is running on it.
        seen_at: when the request was sent that this answers. Two droplets that differ in nothing
            else are equal.
    """

    id: int
    name: str
    status: str
    region: str
    size: str
    tags: frozenset[str]
    public_ip: str | None
    created_at: datetime
    price_hourly: Decimal | None
    locked: bool
    seen_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DropletOrder:
    """What POST /v2/droplets is asked for. DigitalOcean's own agent is never installed."""

    name: str
    region: str
    size: str
    image: str
    user_data: str = field(repr=False)
    tags: tuple[str, ...]
    monitoring: bool = True


@dataclass(frozen=True, slots=True)
class DomainRecord:
    """A DNS record. `name` is relative to `domain` ("@" for the domain itself); TTL in seconds."""

    id: int
    domain: str
    type: str
    name: str
    data: str
    ttl: int


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """Traffic that one rule lets through.

    Attributes:
        protocol: "tcp", "udp" or "icmp".
        ports: "80", "8000-9000" or "all"; not used for icmp.
        addresses: addresses and CIDRs; other peers as "tag:NAME", "droplet:ID",
            "load_balancer:UID" or "kubernetes:UID".
    """

    protocol: str
    ports: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirewallOrder:
    """What a firewall is to be. Rules not listed are denied, in both directions."""

    name: str
    inbound: tuple[FirewallRule, ...]
    outbound: tuple[FirewallRule, ...]
    tags: tuple[str, ...] = ()
    droplet_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Firewall:
    """A firewall as one answer showed it.

    Attributes:
        status: "waiting", "succeeded" or "failed".
        droplet_ids: droplets named one by one (those covered by a tag are not listed here).
        pending_droplet_ids: droplets that the latest change has not reached yet.
    """

    id: str
    name: str
    status: str
    tags: frozenset[str]
    droplet_ids: frozenset[int]
    pending_droplet_ids: frozenset[int]
    inbound: tuple[FirewallRule, ...]
    outbound: tuple[FirewallRule, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """A droplet size on offer. Dollars an hour; `regions` are slugs that offer it now."""

    slug: str
    price_hourly: Decimal
    regions: frozenset[str]
    available: bool


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns what a token makes: the team, or the account itself where it has none.

    `status` is "active", "warning" or "locked".
    """

    status: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing. `total` is what DigitalOcean says all pages hold."""

    items: tuple[Item, ...]
    total: int
    is_last: bool
