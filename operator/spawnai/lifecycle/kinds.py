"""Each kind of external resource in one row: all that the decisions need to know of it.

What is decided for every kind alike stands in `lifecycle/resources.py`, how DigitalOcean is asked
in the kind's adapter (`digitalocean/resource.py` is the contract). See "Adding a kind of external
resource" in docs/architecture.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from spawnai.api.conditions import ConditionType
from spawnai.api.record import ResourceKind

from .actions import Wanted

APPEARS_WITHIN = timedelta(seconds=120)
"""How long something may answer 404 after DigitalOcean took the order for it, and how late a POST
without an answer may still take effect. No published bound exists; the inventory is as patient with
new droplets that its listings miss."""

LISTED_WITHIN = timedelta(seconds=30)
"""How long a droplet may take to show in a listing of its name. DigitalOcean applies tags after
creation and lists late; no published bound exists, 30 s is three times the slowest seen by other
clients of its API."""


class MakesWay(StrEnum):
    """From when on a thing that is deleted holds up nothing that is deleted after it."""

    ASKED = "asked"  # its deletion was asked for: whatever came of it is tried again beside
    ACCEPTED = "accepted"  # DigitalOcean took the deletion, or it is not ours to delete
    GONE = "gone"  # it was seen gone


@dataclass(frozen=True, slots=True)
class Kind:
    """What is to be known of a kind.

    Attributes:
        noun: what it is called in a sentence, after "the".
        condition: what a session's status says of it.
        teardown_order: lower ones are deleted first; equal ones side by side.
        makes_way: when those of a higher order may be deleted.
        resend_after: how long a lost answer is settled by looking before a second POST. Long enough
            that the first can have no effect any more, or the kind is `unique`, or what comes even
            later is found by `garbage_collected`.
        close_after: how long the ledger stays open after a lost answer that nothing accounts for.
        unique: DigitalOcean takes a name only once.
        garbage_collected: it wears our tags, so that one that appears after its ledger was closed
            is found by a listing.
        follows: it is made only once the ledger stores one of that kind with its address, and is
            found by that address. Of several the first that the ledger's intent names.
        holds_the_log: it goes only after the app's log was taken.
    """

    noun: str
    condition: ConditionType
    teardown_order: int
    makes_way: MakesWay
    resend_after: timedelta
    close_after: timedelta
    unique: bool = False
    garbage_collected: bool = False
    follows: tuple[ResourceKind, ...] = ()
    holds_the_log: bool = False


KINDS: Mapping[ResourceKind, Kind] = {
    # Traffic off first: an address that is given back goes to a stranger, so no name of ours may
    # point at it by then.
    ResourceKind.DOMAIN_RECORD: Kind(
        noun="session's name in DNS",
        condition=ConditionType.DNS_READY,
        teardown_order=10,
        makes_way=MakesWay.ACCEPTED,
        resend_after=APPEARS_WITHIN,
        close_after=APPEARS_WITHIN,
        follows=(ResourceKind.LOAD_BALANCER, ResourceKind.DROPLET),
    ),
    # A new or busy one refuses to be deleted for minutes: the droplet does not run on for that.
    ResourceKind.LOAD_BALANCER: Kind(
        noun="load balancer",
        condition=ConditionType.LOAD_BALANCER_READY,
        teardown_order=20,
        makes_way=MakesWay.ASKED,
        resend_after=timedelta(),
        close_after=APPEARS_WITHIN,
        unique=True,
    ),
    ResourceKind.DROPLET: Kind(
        noun="droplet",
        condition=ConditionType.DROPLET_READY,
        teardown_order=30,
        makes_way=MakesWay.GONE,
        resend_after=LISTED_WITHIN,
        close_after=LISTED_WITHIN,
        garbage_collected=True,
        holds_the_log=True,
    ),
    ResourceKind.FIREWALL: Kind(
        noun="session's firewall",
        condition=ConditionType.FIREWALL_READY,
        teardown_order=40,
        makes_way=MakesWay.GONE,
        resend_after=timedelta(),
        close_after=APPEARS_WITHIN,
        unique=True,
    ),
    # Not before the droplet is gone: nothing is to wait for an ACME server that is away. Its key
    # would be valid for a stranger's address, so it is revoked.
    ResourceKind.CERTIFICATE: Kind(
        noun="certificate",
        condition=ConditionType.CERTIFICATE_READY,
        teardown_order=50,
        makes_way=MakesWay.ACCEPTED,
        # An order whose answer was lost is never finalized: it costs an order and no certificate.
        resend_after=timedelta(),
        close_after=timedelta(),
        unique=True,
        follows=(ResourceKind.DROPLET,),
    ),
    # A baked image belongs to no session: `baking.py` decides about it.
    ResourceKind.IMAGE: Kind(
        noun="baked image",
        condition=ConditionType.IMAGE_READY,
        teardown_order=60,
        makes_way=MakesWay.GONE,
        resend_after=timedelta(),
        close_after=LISTED_WITHIN,
        garbage_collected=True,
    ),
    # A class's, for its load balancers (controller/classes/hosted.py). It is refused while one of
    # them uses it.
    ResourceKind.HOSTED_CERTIFICATE: Kind(
        noun="class's certificate at DigitalOcean",
        condition=ConditionType.CERTIFICATE_READY,
        teardown_order=70,
        makes_way=MakesWay.GONE,
        resend_after=timedelta(),
        close_after=APPEARS_WITHIN,
        unique=True,
    ),
}

TEARDOWN = tuple(sorted(KINDS, key=lambda kind: KINDS[kind].teardown_order))
"""All kinds in the order in which they are deleted."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a droplet is made and how large it is."""

    region: str
    size: str


ANY = "*"
"""In place of a region or a size that a refusal had nothing to do with."""


@dataclass(frozen=True, slots=True)
class WantedDroplet(Wanted):
    """A session's droplet.

    `lifetime`: how long the droplet lives, from its order on, unless it is told of another end.
    """

    kind: ClassVar[ResourceKind] = ResourceKind.DROPLET
    placement: Placement
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class WantedFirewall(Wanted):
    """A session's own firewall around its droplet (firewall mode PerSession)."""

    kind: ClassVar[ResourceKind] = ResourceKind.FIREWALL
    droplet_id: int


@dataclass(frozen=True, slots=True)
class WantedLoadBalancer(Wanted):
    """A session's load balancer before its droplet. `certificate`: the name of the class's."""

    kind: ClassVar[ResourceKind] = ResourceKind.LOAD_BALANCER
    region: str
    droplet_id: int
    certificate: str


@dataclass(frozen=True, slots=True)
class WantedRecord(Wanted):
    """A DNS record; `name` is the whole host name, `ip` the address that it leads to."""

    kind: ClassVar[ResourceKind] = ResourceKind.DOMAIN_RECORD
    domain: str
    ip: str
    ttl_seconds: int


@dataclass(frozen=True, slots=True)
class WantedCertificate(Wanted):
    """A session's own certificate. `host`: the name or address that it is for."""

    kind: ClassVar[ResourceKind] = ResourceKind.CERTIFICATE
    host: str
    ip: str
