"""Load balancers: ordered, new for minutes, active or errored, busy after each change.

They route by port alone, to droplets of their own region named by id (at most ten) or by one tag.
Names are unique in the account. Nothing can be changed while one is new or busy. Its address is
lost when it is deleted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.state.bill import LOAD_BALANCER_HOURLY, Bill, OtherLine
from spawnai_local.digitalocean.state.catalogue import REGIONS, Catalogue
from spawnai_local.digitalocean.state.certificates import Certificates
from spawnai_local.digitalocean.state.domains import Domains
from spawnai_local.digitalocean.state.tags import Tags
from spawnai_local.digitalocean.world import World

ENTRY_PROTOCOLS = ("http", "https", "http2", "http3", "tcp", "udp")
TARGET_PROTOCOLS = ("http", "https", "http2", "tcp", "udp")
TLS_PROTOCOLS = ("https", "http2", "http3")
MOST_DROPLETS = 10
MOST_NODES = 100
LAST_PORT = 65535
NOT_UNIQUE = "load balancer name is not unique"
HEALTH_CHECK = {
    "protocol": "http",
    "port": 80,
    "path": "/",
    "check_interval_seconds": 10,
    "response_timeout_seconds": 5,
    "unhealthy_threshold": 5,
    "healthy_threshold": 5,
}
FLAGS = {
    "redirect_http_to_https": False,
    "enable_proxy_protocol": False,
    "enable_backend_keepalive": False,
    "disable_lets_encrypt_dns_records": False,
}
LONGEST_IDLE_SECONDS = 600
SHORTEST_IDLE_SECONDS = 30


@dataclass(slots=True)
class LoadBalancer:
    """A load balancer. `status` is new, active or errored; `address` shows once it is active."""

    id: str
    name: str
    region: str
    address: str
    created_at: float
    size_unit: int
    forwarding_rules: list[dict[str, Any]]
    health_check: dict[str, Any]
    droplet_ids: list[int]
    tag: str
    flags: dict[str, bool]
    http_idle_timeout_seconds: int
    vpc_uuid: str
    status: str = "new"
    busy: int = 0
    """Changes that are still being carried out."""
    canary: bool = False

    @property
    def certificate_ids(self) -> set[str]:
        """The certificates that its rules name."""
        return {
            rule["certificate_id"] for rule in self.forwarding_rules if rule.get("certificate_id")
        }


@dataclass(slots=True)
class _Order:
    name: str
    region: str
    size_unit: int
    forwarding_rules: list[dict[str, Any]]
    health_check: dict[str, Any]
    droplet_ids: list[int]
    tag: str
    flags: dict[str, bool]
    http_idle_timeout_seconds: int


@dataclass(slots=True)
class LoadBalancers:
    """All load balancers of the account."""

    world: World
    catalogue: Catalogue
    tags: Tags
    certificates: Certificates
    domains: Domains
    bill: Bill
    region_of: Callable[[int], str | None]
    """The region of a droplet; None: there is none of this id."""
    vpc_of: Callable[[str], str]
    take_address: Callable[[], str]
    give_back: Callable[[str], None]
    on_change: Callable[[], None] = lambda: None
    """Told that a load balancer became active, was changed or went."""
    _all: dict[str, LoadBalancer] = field(default_factory=dict)

    def all(self) -> list[LoadBalancer]:
        """Return all load balancers in the order they were made."""
        return list(self._all.values())

    def get(self, identifier: str) -> LoadBalancer:
        """Return a load balancer.

        Raises:
            ApiError: 404, there is no such load balancer.
        """
        found = self._all.get(identifier)
        if found is None:
            raise errors.not_found()
        return found

    def create(
        self, order: dict[str, Any], *, errored: bool = False, canary: bool = False
    ) -> LoadBalancer:
        """Order a load balancer; it is new for a while and has no address then.

        Raises:
            ApiError: 422, the order is wrong, the name is taken, or the account is full.
        """
        wanted = self._read(order, itself=None)
        if not canary and len(self._all) >= self.world.limits.load_balancers:
            raise errors.unprocessable(
                "you have reached the load balancer limit of your account; request an increase"
            )
        made = LoadBalancer(
            id=self.world.uuid(),
            name=wanted.name,
            region=wanted.region,
            address=self.take_address(),
            created_at=self.world.now(),
            size_unit=wanted.size_unit,
            forwarding_rules=wanted.forwarding_rules,
            health_check=wanted.health_check,
            droplet_ids=wanted.droplet_ids,
            tag=wanted.tag,
            flags=wanted.flags,
            http_idle_timeout_seconds=wanted.http_idle_timeout_seconds,
            vpc_uuid=self.vpc_of(wanted.region),
            canary=canary,
        )
        self._all[made.id] = made
        self._begin_bill(made)
        self.world.record("load balancer created", made.id, name=made.name, region=made.region)
        status = "errored" if errored else "active"
        if canary:
            self._become(made, status)
        else:
            delay = self.world.draw(self.world.delays.load_balancer)
            self.world.timeline.after(delay, lambda: self._become(made, status))
        return made

    def update(self, identifier: str, order: dict[str, Any]) -> LoadBalancer:
        """Replace what a load balancer does; what the order leaves out is as for a new one.

        Raises:
            ApiError: 404 there is none; 403 it is new or busy; 422 the order is wrong.
        """
        known = self._changeable(identifier)
        wanted = self._read({"region": known.region, **order}, itself=known)
        if wanted.region != known.region:
            raise errors.unprocessable("the region of a load balancer cannot be changed")
        known.name, known.forwarding_rules = wanted.name, wanted.forwarding_rules
        known.health_check, known.flags = wanted.health_check, wanted.flags
        known.droplet_ids, known.tag = wanted.droplet_ids, wanted.tag
        known.http_idle_timeout_seconds = wanted.http_idle_timeout_seconds
        if wanted.size_unit != known.size_unit:
            self.bill.end_other("load_balancer", known.id)
            known.size_unit = wanted.size_unit
            self._begin_bill(known)
        self._changed(known)
        return known

    def add_droplets(self, identifier: str, droplet_ids: object) -> None:
        """Send traffic to more droplets."""
        known = self._changeable(identifier)
        known.droplet_ids = self._droplets(
            [*known.droplet_ids, *_list(droplet_ids, "droplet_ids")], known.region
        )
        self._changed(known)

    def remove_droplets(self, identifier: str, droplet_ids: object) -> None:
        """Send no more traffic to droplets."""
        known = self._changeable(identifier)
        gone = _list(droplet_ids, "droplet_ids")
        known.droplet_ids = [one for one in known.droplet_ids if one not in gone]
        self._changed(known)

    def add_rules(self, identifier: str, rules: object) -> None:
        """Forward more ports."""
        known = self._changeable(identifier)
        known.forwarding_rules = self._rules(
            [*known.forwarding_rules, *_list(rules, "forwarding_rules")]
        )
        self._changed(known)

    def remove_rules(self, identifier: str, rules: object) -> None:
        """Forward ports no longer."""
        known = self._changeable(identifier)
        gone = [_rule(rule) for rule in _list(rules, "forwarding_rules")]
        left = [one for one in known.forwarding_rules if one not in gone]
        known.forwarding_rules = self._rules(left)
        self._changed(known)

    def delete(self, identifier: str) -> None:
        """Take a load balancer away; its address is lost, and records at it stay.

        Raises:
            ApiError: 404, there is no such load balancer.
        """
        known = self.get(identifier)
        del self._all[identifier]
        self.bill.end_other("load_balancer", identifier)
        self.world.record(
            "load balancer deleted", identifier, name=known.name, address=known.address
        )
        for record in self.domains.pointing_at(known.address):
            self.world.record("record dangling", record.id, name=record.name, address=record.data)
        self.certificates.released(known.certificate_ids)
        self.give_back(known.address)
        self.on_change()

    def droplet_gone(self, droplet_id: int) -> None:
        """Forget a droplet."""
        for known in self._all.values():
            if droplet_id in known.droplet_ids:
                known.droplet_ids.remove(droplet_id)

    def use(self, certificate_id: str) -> bool:
        """Whether a load balancer names a certificate."""
        return any(certificate_id in known.certificate_ids for known in self._all.values())

    def replace_certificate(self, old: str, new: str) -> None:
        """Have the load balancers name a certificate by its new id."""
        for known in self._all.values():
            for rule in known.forwarding_rules:
                if rule["certificate_id"] == old:
                    rule["certificate_id"] = new
        self.on_change()

    def members(self, known: LoadBalancer) -> list[int]:
        """The droplets that traffic goes to, by id or by tag."""
        if not known.tag:
            return list(known.droplet_ids)
        tag = self.tags.find(known.tag)
        carrying = list(tag.droplets) if tag is not None else []
        return [one for one in carrying if self.region_of(one) == known.region]

    def document(self, known: LoadBalancer) -> dict[str, Any]:
        """Return the load balancer as the API shows it."""
        return {
            "id": known.id,
            "name": known.name,
            "ip": known.address if known.status == "active" else "",
            "size_unit": known.size_unit,
            "algorithm": "round_robin",
            "status": known.status,
            "created_at": timestamp(known.created_at),
            "forwarding_rules": known.forwarding_rules,
            "health_check": known.health_check,
            "sticky_sessions": {"type": "none"},
            "region": self.catalogue.region(known.region),
            "vpc_uuid": known.vpc_uuid,
            "tag": known.tag,
            "droplet_ids": self.members(known),
            **known.flags,
            "http_idle_timeout_seconds": known.http_idle_timeout_seconds,
            "network": "EXTERNAL",
            "type": "REGIONAL",
        }

    def _begin_bill(self, known: LoadBalancer) -> None:
        self.bill.begin_other(
            OtherLine(
                "load_balancer",
                known.id,
                known.name,
                LOAD_BALANCER_HOURLY * known.size_unit,
                self.world.now(),
                known.canary,
            )
        )

    def _become(self, known: LoadBalancer, status: str) -> None:
        if known.id not in self._all:
            return
        known.status = status
        self.world.record(
            f"load balancer {status}", known.id, name=known.name, address=known.address
        )
        if status == "active":
            self._write_apex(known)
        self.on_change()

    def _write_apex(self, known: LoadBalancer) -> None:
        """Make the A record that DigitalOcean makes by itself for a Let's Encrypt certificate.

        It stands at the apex of the domain, whatever names the certificate has: unless told not
        to, this takes a site down that lives there.
        """
        if known.flags["disable_lets_encrypt_dns_records"]:
            return
        for identifier in known.certificate_ids:
            certificate = self.certificates.find(identifier)
            if certificate is None or certificate.type != "lets_encrypt":
                continue
            for domain in {self.domains.zone_of(name) for name in certificate.dns_names} - {None}:
                order = {"type": "A", "name": "@", "data": known.address, "ttl": 1800}
                self.domains.create_record(str(domain), order)

    def _changeable(self, identifier: str) -> LoadBalancer:
        known = self.get(identifier)
        if known.status == "new" or known.busy:
            raise errors.of_status(
                403, "Load Balancer can't be updated while it processes previous actions"
            )
        return known

    def _changed(self, known: LoadBalancer) -> None:
        known.busy += 1
        self.world.record("load balancer changed", known.id, name=known.name)

        def done() -> None:
            known.busy -= 1
            self.on_change()

        delay = self.world.draw(self.world.delays.load_balancer_change)
        self.world.timeline.after(delay, done)

    def _read(self, order: dict[str, Any], *, itself: LoadBalancer | None) -> _Order:
        name = order.get("name")
        if not isinstance(name, str) or not name:
            raise errors.unprocessable("name can't be blank")
        region = order.get("region")
        if region not in REGIONS:
            raise errors.unprocessable("region is invalid")
        if order.get("droplet_ids") and order.get("tag"):
            raise errors.unprocessable("you can't specify both droplet_ids and tag")
        size = order.get("size_unit", 1)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_NODES:
            raise errors.unprocessable(f"size_unit must be from 1 to {MOST_NODES}")
        idle = order.get("http_idle_timeout_seconds", 60)
        if not isinstance(idle, int) or not SHORTEST_IDLE_SECONDS <= idle <= LONGEST_IDLE_SECONDS:
            raise errors.unprocessable("http_idle_timeout_seconds must be from 30 to 600")
        rules = self._rules(_list(order.get("forwarding_rules"), "forwarding_rules"))
        droplet_ids = self._droplets(_list(order.get("droplet_ids"), "droplet_ids"), str(region))
        tag = order.get("tag") or ""
        if tag:
            [tag] = self.tags.validate([tag])
            tag = self.tags.ensure(tag).name
        if any(one.name == name and one is not itself for one in self._all.values()):
            raise errors.unprocessable(NOT_UNIQUE)
        return _Order(
            name,
            str(region),
            size,
            rules,
            _health_check(order.get("health_check")),
            droplet_ids,
            tag,
            {flag: bool(order.get(flag, usual)) for flag, usual in FLAGS.items()},
            idle,
        )

    def _rules(self, wanted: list[Any]) -> list[dict[str, Any]]:
        rules = [_rule(rule) for rule in wanted]
        if not rules:
            raise errors.unprocessable("forwarding_rules can't be blank")
        ports = [rule["entry_port"] for rule in rules]
        if len(ports) != len(set(ports)):
            raise errors.unprocessable("two forwarding rules have the same entry port")
        for rule in rules:
            needs = rule["entry_protocol"] in TLS_PROTOCOLS and not rule["tls_passthrough"]
            certificate = self.certificates.find(rule["certificate_id"])
            if needs and (certificate is None or certificate.state != "verified"):
                raise errors.unprocessable(
                    f"certificate {rule['certificate_id']!r} does not exist or is not verified"
                )
        return rules

    def _droplets(self, wanted: list[Any], region: str) -> list[int]:
        different = list(dict.fromkeys(wanted))
        if len(different) > MOST_DROPLETS:
            raise errors.unprocessable(f"a load balancer takes at most {MOST_DROPLETS} droplets")
        for one in different:
            found = self.region_of(one) if isinstance(one, int) else None
            if found is None:
                raise errors.unprocessable(f"droplet {one!r} does not exist")
            if found != region:
                raise errors.unprocessable("all droplets must be in the load balancer's region")
        return different


def _list(value: object, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise errors.unprocessable(f"{name} must be a list")
    return value


def _rule(wanted: object) -> dict[str, Any]:
    if not isinstance(wanted, dict):
        raise errors.unprocessable("a forwarding rule must be an object")
    if wanted.get("entry_protocol") not in ENTRY_PROTOCOLS:
        raise errors.unprocessable(f"entry_protocol is one of {', '.join(ENTRY_PROTOCOLS)}")
    if wanted.get("target_protocol") not in TARGET_PROTOCOLS:
        raise errors.unprocessable(f"target_protocol is one of {', '.join(TARGET_PROTOCOLS)}")
    for port in ("entry_port", "target_port"):
        value = wanted.get(port)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LAST_PORT:
            raise errors.unprocessable(f"{port} must be from 1 to {LAST_PORT}")
    return {
        "entry_protocol": wanted["entry_protocol"],
        "entry_port": wanted["entry_port"],
        "target_protocol": wanted["target_protocol"],
        "target_port": wanted["target_port"],
        "certificate_id": str(wanted.get("certificate_id") or ""),
        "tls_passthrough": bool(wanted.get("tls_passthrough", False)),
    }


def _health_check(wanted: object) -> dict[str, Any]:
    if wanted is None:
        return dict(HEALTH_CHECK)
    if not isinstance(wanted, dict):
        raise errors.unprocessable("health_check must be an object")
    check = {**HEALTH_CHECK, **{key: wanted[key] for key in HEALTH_CHECK if key in wanted}}
    if check["protocol"] not in ("http", "https", "tcp"):
        raise errors.unprocessable("health_check.protocol is one of http, https, tcp")
    for name, low, high in (
        ("port", 1, LAST_PORT),
        ("check_interval_seconds", 3, 300),
        ("response_timeout_seconds", 3, 300),
        ("unhealthy_threshold", 2, 10),
        ("healthy_threshold", 2, 10),
    ):
        if not isinstance(check[name], int) or not low <= check[name] <= high:
            raise errors.unprocessable(f"health_check.{name} must be from {low} to {high}")
    if check["protocol"] == "tcp":
        del check["path"]
    return check
