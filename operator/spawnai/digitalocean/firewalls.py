"""Firewalls: what a session's is to be, whether one already is that, and the calls to get there."""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from spawnai.digitalocean.answers import member, read
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.listing import PER_PAGE, has_no_name_of_ours, list_all, read_page
from spawnai.digitalocean.models import (
    PEER_FIELDS,
    Firewall,
    FirewallOrder,
    FirewallRule,
    Page,
)
from spawnai.digitalocean.tags import Tags

ANYWHERE = ("0.0.0.0/0", "::/0")
# RFC 1918 and RFC 4193: what a VPC's addresses can be.
PRIVATE_RANGES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
ALL_PORTS = "all"

_FIREWALL = TypeAdapter(Firewall)


def session_rules(
    *,
    agent_port: int,
    web_ports: Sequence[int] = (80, 443),
    operator_addresses: Sequence[str] = (),
    web_addresses: Sequence[str] = ANYWHERE,
    ssh_from_private_ranges: bool = False,
) -> tuple[tuple[FirewallRule, ...], tuple[FirewallRule, ...]]:
    """The inbound and outbound rules of a session's droplet. What they do not name is denied.

    No rule ever lets mail out (25, 465, 587): an app written to order must not send spam.

    Args:
        agent_port: where the droplet's agent listens.
        web_ports: where the droplet serves its app.
        operator_addresses: who may talk to the agent; anyone when unknown, because the agent
            knows its operator by token and certificate all the same.
        web_addresses: who may reach these (addresses, CIDRs, or peers such as
            "load_balancer:UID").
        ssh_from_private_ranges: let 22 in from the private ranges.

    Raises:
        ValueError: an address is none.
    """
    for peer in (*operator_addresses, *web_addresses):
        _normal_peer(peer)
    web = tuple(web_addresses)
    inbound = [
        *(FirewallRule("tcp", str(port), web) for port in sorted(set(web_ports))),
        FirewallRule("tcp", str(agent_port), tuple(operator_addresses) or ANYWHERE),
    ]
    if ssh_from_private_ranges:
        inbound.append(FirewallRule("tcp", "22", PRIVATE_RANGES))
    outbound = (
        FirewallRule("tcp", "53", ANYWHERE),
        FirewallRule("udp", "53", ANYWHERE),
        FirewallRule("tcp", "80", ANYWHERE),
        FirewallRule("tcp", "443", ANYWHERE),
        FirewallRule("udp", "123", ANYWHERE),
        FirewallRule("icmp", ALL_PORTS, ANYWHERE),
    )
    return tuple(inbound), outbound


def differs(wanted: FirewallOrder, actual: Firewall) -> bool:
    """Whether the firewall must be updated to be what is wanted.

    Knows the API's habits: it answers "0" where all ports were asked for and for icmp, groups
    and orders rules and addresses as it likes, and writes addresses in other ways. None of this is
    a difference. Whether a change has reached the droplets yet is not either: see `status`.
    """
    return (
        wanted.name != actual.name
        or frozenset(wanted.tags) != actual.tags
        or frozenset(wanted.droplet_ids) != actual.droplet_ids
        or _openings(wanted.inbound) != _openings(actual.inbound)
        or _openings(wanted.outbound) != _openings(actual.outbound)
    )


def _openings(rules: Iterable[FirewallRule]) -> frozenset[tuple[str, str, str]]:
    """Each (protocol, ports, peer) that the rules let through."""
    return frozenset(
        (rule.protocol, _normal_ports(rule), _comparable_peer(peer))
        for rule in rules
        for peer in rule.addresses
    )


def _comparable_peer(peer: str) -> str:
    """A peer as it is compared: one that cannot be read is like no other."""
    try:
        return _normal_peer(peer)
    except ValueError:
        return peer


def _normal_ports(rule: FirewallRule) -> str:
    if rule.protocol == "icmp" or rule.ports in ("", "0", ALL_PORTS, "1-65535"):
        return ALL_PORTS
    first, _, last = rule.ports.partition("-")
    return first if first == last else rule.ports


def _normal_peer(peer: str) -> str:
    if peer.partition(":")[0] in PEER_FIELDS:
        return peer
    try:
        return str(ipaddress.ip_network(peer, strict=False))
    except ValueError as error:
        raise ValueError(
            f"{peer!r} is no address that a firewall rule can name: write an IP address, a CIDR"
            ' such as "10.0.0.0/8", or "tag:NAME", "droplet:ID", "load_balancer:UID"'
        ) from error


class Firewalls:
    """The calls below /v2/firewalls. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def create(self, order: FirewallOrder, *, priority: Priority | Slot) -> Firewall:
        """Make a firewall. Its tags must exist: see ensure_tag.

        Raises:
            AlreadyExists: names are unique, and one of this name is there.
            Ambiguous: it may have been made: list() tells.
        """
        return await self._api.call(
            Call("POST", "/v2/firewalls", body=_body(order)), _read_firewall, priority=priority
        )

    async def get(self, firewall_id: str, *, priority: Priority) -> Firewall | None:
        """The firewall, or None when DigitalOcean itself says that there is none."""
        try:
            return await self._api.call(
                Call("GET", "/v2/firewalls/{id}", {"id": firewall_id}),
                _read_firewall,
                priority=priority,
            )
        except NotFound:
            return None

    async def list(self, *, priority: Priority) -> tuple[Firewall, ...]:
        """All firewalls of the account (the API has no filter), complete or not at all."""

        async def fetch(page: int) -> Page[Firewall]:
            return await self._api.call(
                Call("GET", "/v2/firewalls", query={"page": page, "per_page": PER_PAGE}),
                lambda document, _sent_at: read_page(
                    document, "firewalls", _FIREWALL, is_foreign=has_no_name_of_ours
                ),
                priority=priority,
            )

        return await list_all(fetch, identity=lambda firewall: firewall.id)

    async def update(
        self, firewall_id: str, order: FirewallOrder, *, priority: Priority
    ) -> Firewall:
        """Make the firewall exactly what is ordered; what the order does not name goes.

        Raises:
            NotFound: there is no such firewall.
        """
        return await self._api.call(
            Call("PUT", "/v2/firewalls/{id}", {"id": firewall_id}, body=_body(order)),
            _read_firewall,
            priority=priority,
        )

    async def delete(self, firewall_id: str, *, priority: Priority) -> bool:
        """Delete the firewall. True: done. False: it was gone already."""
        try:
            await self._api.call(
                Call("DELETE", "/v2/firewalls/{id}", {"id": firewall_id}),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True

    async def ensure_tag(self, name: str, *, priority: Priority) -> None:
        """Make the tag exist: see Tags.ensure."""
        await Tags(self._api).ensure(name, priority=priority)


def _body(order: FirewallOrder) -> dict[str, Any]:
    return {
        "name": order.name,
        "tags": list(order.tags),
        "droplet_ids": list(order.droplet_ids),
        "inbound_rules": [_rule_body(rule, "sources") for rule in order.inbound],
        "outbound_rules": [_rule_body(rule, "destinations") for rule in order.outbound],
    }


def _rule_body(rule: FirewallRule, direction: str) -> dict[str, Any]:
    peers: dict[str, list[str | int]] = {}
    for peer in rule.addresses:
        kind, _, name = peer.partition(":")
        if kind not in PEER_FIELDS:
            peers.setdefault("addresses", []).append(peer)
        else:
            peers.setdefault(PEER_FIELDS[kind], []).append(int(name) if kind == "droplet" else name)
    return {"protocol": rule.protocol, "ports": _sent_ports(rule), direction: peers}


def _sent_ports(rule: FirewallRule) -> str:
    """All ports are answered as "0" but must be asked for as "all" (godo issue 149). For icmp the
    API's description wants the field, "0", and the API ignores it.
    """
    if rule.protocol == "icmp":
        return "0"
    return ALL_PORTS if _normal_ports(rule) == ALL_PORTS else rule.ports


def _read_firewall(document: Any, _sent_at: datetime) -> Firewall:
    return read(_FIREWALL, member(document, "firewall"), "firewall")
