"""Domains and their records, as the API and the DNS server show them.

DigitalOcean accepts records that are exactly alike, keeps no name for a record but its id, and
takes no TTL below 30 seconds. Names are kept relative to the domain (`@` is the domain itself);
targets are written with a dot at the end and answered without.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.world import World

FIRST_RECORD_ID = 1_750_000_000
DEFAULT_TTL = 1800
SHORTEST_TTL = 30
NAME_SERVERS = ("ns1.digitalocean.com", "ns2.digitalocean.com", "ns3.digitalocean.com")
TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT")
LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
DOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})+")
RECORD_NAME = re.compile(rf"(?=.{{1,253}}$)(@|(\*|{LABEL})(\.{LABEL})*)")
NUMBERS = ("priority", "port", "weight", "flags")
NEEDED_NUMBERS = {"MX": ("priority",), "SRV": ("priority", "port", "weight"), "CAA": ("flags",)}
CAA_TAGS = ("issue", "issuewild", "iodef")


@dataclass(slots=True)
class Record:
    """A record of a domain."""

    id: int
    type: str
    name: str
    data: str
    ttl: int = DEFAULT_TTL
    priority: int | None = None
    port: int | None = None
    weight: int | None = None
    flags: int | None = None
    tag: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the record as the API shows it."""
        return {
            "id": self.id,
            "type": self.type,
            "name": self.name,
            "data": self.data,
            "priority": self.priority,
            "port": self.port,
            "ttl": self.ttl,
            "weight": self.weight,
            "flags": self.flags,
            "tag": self.tag,
        }


@dataclass(slots=True)
class Domain:
    """A domain. `served` is what the DNS server answers from, the others what the API shows."""

    name: str
    serial: int
    records: dict[int, Record] = field(default_factory=dict)
    named: dict[str, dict[int, Record]] = field(default_factory=dict)
    """The same records by their lower-case name."""
    served: dict[str, list[Record]] = field(default_factory=dict)
    """What is published, by lower-case name."""
    canary: bool = False

    def put(self, record: Record) -> None:
        """Add a record, or replace the one of the same id."""
        self.take(record.id)
        self.records[record.id] = record
        self.named.setdefault(record.name.lower(), {})[record.id] = record

    def take(self, record_id: int) -> None:
        """Take a record away, if it is there."""
        record = self.records.pop(record_id, None)
        if record is not None:
            same_name = self.named[record.name.lower()]
            del same_name[record_id]
            if not same_name:
                del self.named[record.name.lower()]

    def fqdn(self, record: Record) -> str:
        """Return the full name of a record, without a dot at the end."""
        return self.name if record.name == "@" else f"{record.name}.{self.name}"

    def soa(self) -> str:
        """Return the data of the zone's SOA record in presentation format."""
        return (
            f"{NAME_SERVERS[0]}. hostmaster.{self.name}. "
            f"{self.serial} 10800 3600 604800 {DEFAULT_TTL}"
        )

    def zone_file(self) -> str:
        """Return the zone as a file of the usual form."""
        lines = [
            f"$ORIGIN {self.name}.",
            f"$TTL {DEFAULT_TTL}",
            f"{self.name}. IN SOA {self.soa()}",
        ]
        lines += [
            f"{self.fqdn(record)}. {record.ttl} IN {record.type} {presentation(record)}"
            for record in self.records.values()
            if record.type != "SOA"
        ]
        return "\n".join(lines) + "\n"

    def document(self, *, zone_file: bool = True) -> dict[str, Any]:
        """Return the domain as the API shows it."""
        return {
            "name": self.name,
            "ttl": DEFAULT_TTL,
            "zone_file": self.zone_file() if zone_file else None,
        }


def presentation(record: Record) -> str:
    """Return a record's data in the presentation format of RFC 1035."""
    target = f"{record.data}."
    if record.type in ("CNAME", "NS"):
        return target
    if record.type == "MX":
        return f"{record.priority} {target}"
    if record.type == "SRV":
        return f"{record.priority} {record.weight} {record.port} {target}"
    if record.type == "CAA":
        return f'{record.flags} {record.tag} "{record.data}"'
    if record.type == "TXT":
        escaped = record.data.replace("\\", "\\\\").replace('"', '\\"')
        return " ".join(
            f'"{escaped[start : start + 255]}"' for start in range(0, len(escaped) or 1, 255)
        )
    return record.data


class Domains:
    """All domains of the account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._domains: dict[str, Domain] = {}
        self._at: dict[str, dict[int, Record]] = {}
        """Address records by their address, over all domains."""

    def all(self) -> list[Domain]:
        """Return all domains by name."""
        return [self._domains[name] for name in sorted(self._domains)]

    def get(self, name: str) -> Domain:
        """Return a domain.

        Raises:
            ApiError: 404, there is no such domain in this account.
        """
        domain = self._domains.get(name.lower())
        if domain is None:
            raise errors.not_found()
        return domain

    def create(self, order: dict[str, Any], *, canary: bool = False) -> Domain:
        """Make a domain with its name servers, and an A record if the order has an `ip_address`.

        Raises:
            ApiError: 422, the name is no domain name or is there already.
        """
        name = order.get("name")
        if not isinstance(name, str) or DOMAIN.fullmatch(name) is None:
            raise errors.unprocessable("Domain name is invalid: write it as example.com")
        if name.lower() in self._domains:
            raise errors.unprocessable(f"domain '{name}': name already exists")
        address = order.get("ip_address")
        if address is not None:
            _check_address(address, ipaddress.IPv4Address)
        domain = Domain(name.lower(), int(self._world.now()), canary=canary)
        self._domains[domain.name] = domain
        records = [Record(0, "SOA", "@", str(DEFAULT_TTL))]
        records += [Record(0, "NS", "@", server) for server in NAME_SERVERS]
        if address is not None:
            records.append(Record(0, "A", "@", str(address)))
        for record in records:
            record.id = self._world.number("record", FIRST_RECORD_ID)
            domain.put(record)
            self._point(record)
            self._publish(domain, record.name)
        self._world.record("domain created", domain.name)
        return domain

    def delete(self, name: str) -> None:
        """Take a domain away with all its records.

        Raises:
            ApiError: 404, there is no such domain in this account.
        """
        domain = self.get(name)
        del self._domains[domain.name]
        for record in domain.records.values():
            self._unpoint(record)
        self._world.record("domain deleted", domain.name)

    def zone_of(self, name: str) -> str | None:
        """Return the domain of the account that a name is in; None if it is in none."""
        words = name.removeprefix("*.").lower().rstrip(".").split(".")
        for start in range(len(words)):
            if (domain := ".".join(words[start:])) in self._domains:
                return domain
        return None

    def records(self, domain_name: str, name: str | None, kind: str | None) -> list[Record]:
        """Return a domain's records, of one full name and one type if these are given."""
        domain = self.get(domain_name)
        if kind is not None and kind not in TYPES:
            raise errors.unprocessable(f"type is one of {', '.join(TYPES)}, not {kind!r}")
        records = domain.records
        if name is not None:
            full = name.lower().rstrip(".")
            relative = "@" if full == domain.name else full.removesuffix(f".{domain.name}")
            records = domain.named.get(relative, {}) if relative != full else {}
        return [one for one in records.values() if kind is None or one.type == kind]

    def record(self, domain_name: str, record_id: int) -> Record:
        """Return a record.

        Raises:
            ApiError: 404, there is no such domain, or no such record in it.
        """
        record = self.get(domain_name).records.get(record_id)
        if record is None:
            raise errors.not_found()
        return record

    def pointing_at(self, address: str) -> list[Record]:
        """Return the A and AAAA records, of any domain, with an address."""
        return list(self._at.get(address, {}).values())

    def create_record(self, domain_name: str, order: dict[str, Any]) -> Record:
        """Add a record, also one that is there already: DigitalOcean accepts duplicates.

        Raises:
            ApiError: 404 there is no such domain; 422 the record is wrong.
        """
        domain = self.get(domain_name)
        values = _read(order, domain)
        record = Record(self._world.number("record", FIRST_RECORD_ID), **values)
        _check_alone(domain, record)
        domain.put(record)
        self._changed(domain, "record created", record)
        return record

    def update_record(self, domain_name: str, record_id: int, order: dict[str, Any]) -> Record:
        """Change what the order names of a record.

        Raises:
            ApiError: 404 there is no such domain or record; 422 the record would be wrong.
        """
        domain = self.get(domain_name)
        record = self.record(domain_name, record_id)
        if record.type == "SOA":
            raise errors.unprocessable("the SOA record cannot be changed")
        # Targets are answered without the dot they must be sent with; what is kept needs none.
        dotted = record.data + ("." if record.type in ("CNAME", "NS", "MX", "SRV") else "")
        values = _read({**record.document(), "data": dotted, **order}, domain)
        changed = Record(record.id, **values)
        _check_alone(domain, changed)
        self._unpoint(record)
        domain.put(changed)
        self._publish(domain, record.name)
        self._changed(domain, "record changed", changed)
        return changed

    def delete_record(self, domain_name: str, record_id: int) -> None:
        """Take a record away.

        Raises:
            ApiError: 404, there is no such domain, or no such record in it.
        """
        domain = self.get(domain_name)
        record = self.record(domain_name, record_id)
        if record.type == "SOA":
            raise errors.unprocessable("the SOA record cannot be deleted")
        domain.take(record_id)
        self._unpoint(record)
        self._changed(domain, "record deleted", record)

    def _changed(self, domain: Domain, what: str, record: Record) -> None:
        domain.serial += 1
        self._world.record(
            what,
            record.id,
            domain=domain.name,
            type=record.type,
            name=record.name,
            data=record.data,
        )
        if record.id in domain.records:
            self._point(record)
        self._publish(domain, record.name)

    def _point(self, record: Record) -> None:
        if record.type in ("A", "AAAA"):
            self._at.setdefault(record.data, {})[record.id] = record

    def _unpoint(self, record: Record) -> None:
        pointing = self._at.get(record.data, {})
        pointing.pop(record.id, None)
        if not pointing:
            self._at.pop(record.data, None)

    def _publish(self, domain: Domain, name: str) -> None:
        """Let the DNS server answer for a name what it holds now, after the delay for it."""
        lower = name.lower()
        records = list(domain.named.get(lower, {}).values())

        def serve() -> None:
            domain.served.pop(lower, None)
            if records:
                domain.served[lower] = records

        delay = self._world.draw(self._world.delays.dns)
        if delay > 0:
            self._world.timeline.after(delay, serve)
        else:
            serve()


def _read(order: dict[str, Any], domain: Domain) -> dict[str, Any]:
    kind = order.get("type")
    if kind not in TYPES or kind == "SOA":
        raise errors.unprocessable(f"type is one of {', '.join(TYPES)}, not {kind!r}")
    values: dict[str, Any] = {"type": kind, "name": _record_name(order.get("name"), domain)}
    ttl = order.get("ttl")
    ttl = DEFAULT_TTL if ttl is None else ttl
    if isinstance(ttl, bool) or not isinstance(ttl, int) or ttl < SHORTEST_TTL:
        raise errors.unprocessable(f"record ttl must be {SHORTEST_TTL} or greater")
    values["ttl"] = ttl
    for number in NUMBERS:
        value = order.get(number)
        if value is None and number in NEEDED_NUMBERS.get(kind, ()):
            raise errors.unprocessable(f"{number} can't be blank")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise errors.unprocessable(f"{number} is not a number")
        values[number] = value if number in NEEDED_NUMBERS.get(kind, ()) else None
    if kind == "CAA":
        if order.get("tag") not in CAA_TAGS:
            raise errors.unprocessable(f"tag is one of {', '.join(CAA_TAGS)}")
        values["tag"] = order["tag"]
    values["data"] = _data(kind, order.get("data"), domain)
    return values


def _record_name(name: object, domain: Domain) -> str:
    if not isinstance(name, str) or not name:
        raise errors.unprocessable("Name can't be blank")
    relative = name
    if name.lower().rstrip(".") == domain.name:
        relative = "@"
    elif name.endswith("."):
        suffix = f".{domain.name}."
        if not name.lower().endswith(suffix):
            raise errors.unprocessable(f"Name must be within {domain.name}")
        relative = name[: -len(suffix)]
    if RECORD_NAME.fullmatch(relative) is None:
        raise errors.unprocessable("Name Only valid hostname characters are allowed.")
    return relative


def _data(kind: str, data: object, domain: Domain) -> str:
    if not isinstance(data, str) or not data:
        raise errors.unprocessable("Data can't be blank")
    if kind == "A":
        _check_address(data, ipaddress.IPv4Address)
    elif kind == "AAAA":
        _check_address(data, ipaddress.IPv6Address)
    elif kind in ("CNAME", "NS", "MX", "SRV"):
        if data == "@":
            return domain.name
        if not data.endswith("."):
            raise errors.unprocessable("Data needs to end with a dot (.)")
        return data.rstrip(".")
    elif kind == "CAA":
        return data.rstrip(".")
    return data


def _check_address(
    address: object, kind: Callable[[str], ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> None:
    try:
        kind(str(address))
    except ValueError:
        raise errors.unprocessable(f"Data is not an IP address of that type: {address!r}") from None


def _check_alone(domain: Domain, record: Record) -> None:
    """Hold RFC 1034's rule that a CNAME has its name for itself."""
    for other in domain.named.get(record.name.lower(), {}).values():
        if other.id != record.id and "CNAME" in (other.type, record.type):
            raise errors.unprocessable("CNAME records cannot share a name with other records")
