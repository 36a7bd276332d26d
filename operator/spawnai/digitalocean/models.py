"""What DigitalOcean's objects look like to us: the few fields that are used, checked and frozen.

The annotations say how an answer is read (`answers.py`). Objects made here are not checked.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AliasPath, BeforeValidator, Field

from spawnai.digitalocean.answers import (
    Identifier,
    Name,
    NullIsNone,
    Number,
    OptionalPrice,
    OptionalTime,
    Price,
    Tag,
    Text,
    Time,
    Word,
)

Item = TypeVar("Item")


# How peers that are no addresses are written in FirewallRule.addresses, and their API fields.
PEER_FIELDS = {
    "tag": "tags",
    "droplet": "droplet_ids",
    "load_balancer": "load_balancer_uids",
    "kubernetes": "kubernetes_ids",
}


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} should be an object")  # noqa: TRY004 - what pydantic expects
    return value


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    """The objects of a list; none when it is missing or null."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"{what} should be a list of objects")
    return value


def _public_address(networks: Any) -> Any:
    """The address of the first public IPv4 network. A private one may come first, or alone."""
    if networks is None:
        return None
    for network in _objects(_object(networks, "networks").get("v4"), "v4"):
        if network.get("type") == "public":
            return network.get("ip_address")
    return None


def _pending_droplets(changes: Any) -> Any:
    return [change.get("droplet_id") for change in _objects(changes, "pending_changes")]


def _rules(rules: Any) -> Any:
    """Rules with their peers as one list. A rule that names none opens nothing."""
    return [
        {**rule, "addresses": _peers(rule.get("sources") or rule.get("destinations"))}
        for rule in _objects(rules, "rules")
    ]


def _peers(peers: Any) -> Any:
    if peers is None:
        return ()
    known = _object(peers, "the peers of a rule")
    names = list(known.get("addresses") or ())
    for kind, member in PEER_FIELDS.items():
        names += [f"{kind}:{one}" for one in known.get(member) or ()]
    return names


def owner_of(account: Any) -> Any:
    """An account with the uuid of its team, which owns what its tokens make."""
    if isinstance(account, dict) and isinstance(account.get("team"), dict):
        return {**account, "uuid": account["team"].get("uuid")}
    return account


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

    id: Number
    name: Name
    status: Word
    region: Annotated[Word, Field(validation_alias=AliasPath("region", "slug"), default="")]
    size: Annotated[Word, Field(validation_alias="size_slug", default="")]
    tags: frozenset[Tag]
    public_ip: Annotated[
        Text | None,
        Field(validation_alias="networks", default=None),
        BeforeValidator(_public_address),
    ]
    created_at: Time
    price_hourly: Annotated[
        OptionalPrice, Field(validation_alias=AliasPath("size", "price_hourly"), default=None)
    ]
    locked: Annotated[bool, Field(strict=True, default=False)]
    seen_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DropletOrder:
    """What POST /v2/droplets is asked for.

    DigitalOcean's agents are never installed: its first-boot installer races ours for apt, and a
    custom image refuses `monitoring`.

    Attributes:
        ssh_keys: ids of keys for root. Without any DigitalOcean switches password login on and
            mails the password to the account's owner; a custom image needs one.
    """

    name: str
    region: str
    size: str
    image: str
    user_data: str = field(repr=False)
    tags: tuple[str, ...]
    ssh_keys: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DomainRecord:
    """A DNS record. `name` is relative to `domain` ("@" for the domain itself).

    `ttl`: in seconds; None when the answer did not say, as for records of other kinds.
    """

    id: Number
    domain: str
    type: Word
    name: Name
    data: Annotated[str, Field(max_length=65_535)]
    ttl: Annotated[int | None, Field(default=None)]


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """Traffic that one rule lets through.

    Attributes:
        protocol: "tcp", "udp" or "icmp".
        ports: "80", "8000-9000" or "all"; not used for icmp.
        addresses: addresses and CIDRs; other peers as "tag:NAME", "droplet:ID",
            "load_balancer:UID" or "kubernetes:UID".
    """

    protocol: Word
    ports: Annotated[Text, Field(default="0")]
    addresses: tuple[Text, ...]


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

    id: Identifier
    name: Name
    status: Word
    tags: Annotated[frozenset[Tag], NullIsNone, Field(default=frozenset())]
    droplet_ids: Annotated[frozenset[Number], NullIsNone, Field(default=frozenset())]
    pending_droplet_ids: Annotated[
        frozenset[Number],
        Field(validation_alias="pending_changes", default=frozenset()),
        BeforeValidator(_pending_droplets),
    ]
    inbound: Annotated[
        tuple[FirewallRule, ...],
        Field(validation_alias="inbound_rules", default=()),
        BeforeValidator(_rules),
    ]
    outbound: Annotated[
        tuple[FirewallRule, ...],
        Field(validation_alias="outbound_rules", default=()),
        BeforeValidator(_rules),
    ]


@dataclass(frozen=True, slots=True)
class ForwardingRule:
    """Which port of a load balancer leads to which port of its droplets.

    `certificate_id` is needed where TLS ends at the load balancer ("https", "http2").
    """

    entry_protocol: Word
    entry_port: Number
    target_protocol: Word
    target_port: Number
    certificate_id: Annotated[str, Field(max_length=64)] = ""


@dataclass(frozen=True, slots=True)
class LoadBalancerOrder:
    """What a load balancer is to be. It takes droplets by id (ten at most) or by one tag.

    Attributes:
        nodes: 1 is a single node; two or more go on when one fails.
        health_path: asked of each droplet by plain HTTP, at `health_port`.
        idle_seconds: how long a connection may be silent, 30 to 600.
    """

    name: str
    region: str
    rules: tuple[ForwardingRule, ...]
    droplet_ids: tuple[int, ...] = ()
    tag: str = ""
    nodes: int = 1
    redirect_http_to_https: bool = True
    health_port: int = 80
    health_path: str = "/health"
    idle_seconds: int = 600


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A load balancer as one answer showed it.

    Attributes:
        status: "new", "active" or "errored".
        ip: its address, None until it is active.
        nodes: what it is billed for.
    """

    id: Identifier
    name: Name
    status: Word
    ip: Annotated[Text | None, BeforeValidator(lambda ip: ip or None), Field(default=None)]
    region: Annotated[Word, Field(validation_alias=AliasPath("region", "slug"), default="")]
    rules: Annotated[
        tuple[ForwardingRule, ...], Field(validation_alias="forwarding_rules", default=())
    ]
    droplet_ids: Annotated[frozenset[Number], NullIsNone, Field(default=frozenset())]
    tag: Annotated[str, BeforeValidator(lambda tag: tag or ""), Field(default="", max_length=255)]
    created_at: Time
    nodes: Annotated[int, Field(validation_alias="size_unit", default=1)]
    writes_records: Annotated[
        bool,
        BeforeValidator(lambda disabled: not disabled),
        Field(validation_alias="disable_lets_encrypt_dns_records", default=True),
    ]


@dataclass(frozen=True, slots=True)
class CertificateUpload:
    """A certificate that is uploaded with its key, all of it as PEM."""

    name: str
    certificate_pem: str
    chain_pem: str
    private_key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as one answer showed it.

    Attributes:
        id: changes at each renewal; the name does not.
        state: "pending", "verified" or "error".
        type: "lets_encrypt" or "custom".
        not_after: when it expires; None while it is pending.
    """

    id: Identifier
    name: Name
    state: Word
    type: Annotated[Word, Field(default="")]
    dns_names: Annotated[tuple[Text, ...], NullIsNone, Field(default=())]
    created_at: Time
    not_after: Annotated[OptionalTime, Field(default=None)]


@dataclass(frozen=True, slots=True)
class Image:
    """An image as one answer showed it.

    Attributes:
        type: "base", "snapshot", "backup" or "custom".
        slug: None for an image of the account.
        regions: where droplets can be made from it.
        min_disk_size: the smallest disk it fits on, in GB.
        size_gigabytes: what is billed for an image of the account.
        status: "available" once it can be used.
    """

    id: Number
    name: Name
    type: Annotated[Word, Field(default="")]
    slug: Annotated[Word | None, Field(default=None)]
    regions: Annotated[frozenset[Word], NullIsNone, Field(default=frozenset())]
    min_disk_size: Annotated[int | None, Field(default=None)]
    size_gigabytes: Annotated[OptionalPrice, Field(default=None)]
    status: Annotated[Word, Field(default="available")]
    created_at: Time


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in a droplet's own list. `id` is the image's."""

    id: Number
    name: Name
    regions: Annotated[frozenset[Word], NullIsNone, Field(default=frozenset())]
    created_at: Time


@dataclass(frozen=True, slots=True)
class Action:
    """Something that DigitalOcean does over time.

    Attributes:
        status: "in-progress", "completed" or "errored".
        type: "snapshot", "power_off", "transfer" and so on.
        resource_id: the droplet or image; None when the answer did not say.
    """

    id: Number
    status: Word
    type: Word
    resource_id: Annotated[Number | None, Field(default=None)]
    started_at: Annotated[OptionalTime, Field(default=None)]
    completed_at: Annotated[OptionalTime, Field(default=None)]


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key of the account."""

    id: Number
    name: Text
    fingerprint: Annotated[str, Field(max_length=128)]
    public_key: Annotated[str, Field(max_length=16_384)]


@dataclass(frozen=True, slots=True)
class Size:
    """A droplet size on offer. Dollars an hour; `regions` are slugs that offer it now; `disk` in
    GiB.
    """

    slug: Word
    price_hourly: Price
    regions: Annotated[frozenset[Word], NullIsNone, Field(default=frozenset())]
    available: Annotated[bool, Field(strict=True, default=True)]
    disk: Annotated[int | None, Field(default=None)] = None


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns what a token makes: the team, or the account itself where it has none.

    Attributes:
        status: "active", "warning" or "locked".
        message: DigitalOcean's words about the status, "" while it is active.
        droplet_limit: how many droplets it may have; None when the answer did not say.
    """

    status: Annotated[Word, Field(default="active")]
    uuid: Identifier
    message: Annotated[Text, Field(validation_alias="status_message")] = ""
    droplet_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing.

    Attributes:
        total: what DigitalOcean says all pages hold.
        unreadable: how many foreign objects of the page could not be read; they are left out.
    """

    items: tuple[Item, ...]
    total: int
    is_last: bool
    unreadable: int = 0
