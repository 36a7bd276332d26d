"""Cloud firewalls: rules, the droplets and tags they cover, and changes that take time to hold.

Limits are DigitalOcean's: 10 droplets, 5 tags and 50 rules for a firewall; names are unique in the
account; tags must exist. Whatever a client wrote for "all ports" comes back as "0".
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.state.tags import Tags
from spawnai_local.digitalocean.world import World

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*")
MOST_DROPLETS = 10
MOST_TAGS = 5
MOST_RULES = 50
LAST_PORT = 65535
PROTOCOLS = ("tcp", "udp", "icmp")
TARGETS = ("addresses", "droplet_ids", "load_balancer_uids", "kubernetes_ids", "tags")

Rule = dict[str, Any]


@dataclass(slots=True)
class Firewall:
    """A firewall. `pending` holds for each droplet still to be changed whether it is leaving."""

    id: str
    name: str
    created_at: float
    inbound_rules: list[Rule]
    outbound_rules: list[Rule]
    droplet_ids: list[int]
    tags: list[str]
    pending: dict[int, bool] = field(default_factory=dict)
    settling: int = 0
    """Changes not yet in force, with or without a droplet in them."""
    canary: bool = False

    @property
    def status(self) -> str:
        """`waiting` until all changes are in force, then `succeeded`."""
        return "waiting" if self.settling else "succeeded"

    def document(self) -> dict[str, Any]:
        """Return the firewall as the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "inbound_rules": self.inbound_rules,
            "outbound_rules": self.outbound_rules,
            "created_at": timestamp(self.created_at),
            "droplet_ids": self.droplet_ids,
            "tags": self.tags,
            "pending_changes": [
                {"droplet_id": droplet_id, "removing": removing, "status": "waiting"}
                for droplet_id, removing in self.pending.items()
            ],
        }


class Firewalls:
    """All firewalls of the account."""

    def __init__(self, world: World, tags: Tags, droplet_exists: Callable[[int], bool]) -> None:
        self._world = world
        self._tags = tags
        self._droplet_exists = droplet_exists
        self._firewalls: dict[str, Firewall] = {}

    def all(self) -> list[Firewall]:
        """Return all firewalls in the order they were made."""
        return list(self._firewalls.values())

    def get(self, firewall_id: str) -> Firewall:
        """Return a firewall.

        Raises:
            ApiError: 404, there is no such firewall.
        """
        firewall = self._firewalls.get(firewall_id)
        if firewall is None:
            raise errors.not_found()
        return firewall

    def covering(self, droplet_id: int) -> list[Firewall]:
        """Return the firewalls that cover a droplet, by its id or one of its tags."""
        return [one for one in self._firewalls.values() if droplet_id in self._covered(one)]

    def admits(self, droplet_id: int, port: int, load_balancer_id: str) -> bool:
        """Return whether a droplet's firewalls let a load balancer in. Without one all may enter.

        A load balancer comes from a private address, so only its id or everyone will do.
        """
        covering = self.covering(droplet_id)
        return not covering or any(
            rule["protocol"] == "tcp"
            and _holds(rule["ports"], port)
            and (
                load_balancer_id in rule["sources"].get("load_balancer_uids", ())
                or "0.0.0.0/0" in rule["sources"].get("addresses", ())
            )
            for firewall in covering
            for rule in firewall.inbound_rules
        )

    def create(self, order: dict[str, Any], *, canary: bool = False) -> Firewall:
        """Make a firewall; it waits until its rules are in force.

        Raises:
            ApiError: 409 the name is taken; 422 something else is wrong with the order.
        """
        wanted = self._read(order, itself=None)
        firewall = Firewall(self._world.uuid(), created_at=self._world.now(), **wanted)
        firewall.canary = canary
        self._firewalls[firewall.id] = firewall
        self._world.record("firewall created", firewall.id, name=firewall.name)
        self._settle(firewall, dict.fromkeys(self._covered(firewall), False))
        return firewall

    def update(self, firewall_id: str, order: dict[str, Any]) -> Firewall:
        """Replace a firewall; what the order leaves out is empty afterwards.

        Raises:
            ApiError: 404 there is no such firewall; 409 the name is taken; 422 the order is wrong.
        """
        firewall = self.get(firewall_id)
        wanted = self._read(order, itself=firewall)
        self._change(firewall, **wanted)
        return firewall

    def delete(self, firewall_id: str) -> None:
        """Take a firewall away.

        Raises:
            ApiError: 404, there is no such firewall.
        """
        firewall = self.get(firewall_id)
        del self._firewalls[firewall_id]
        self._world.record("firewall deleted", firewall_id, name=firewall.name)

    def add_droplets(self, firewall_id: str, droplet_ids: object) -> None:
        """Cover more droplets by id."""
        firewall = self.get(firewall_id)
        added = self._droplet_ids(droplet_ids)
        self._change(firewall, droplet_ids=_checked_droplets([*firewall.droplet_ids, *added]))

    def remove_droplets(self, firewall_id: str, droplet_ids: object) -> None:
        """Cover droplets by id no longer."""
        firewall = self.get(firewall_id)
        if not isinstance(droplet_ids, list):
            raise errors.unprocessable("droplet_ids must be a list of droplet ids")
        self._change(
            firewall,
            droplet_ids=[one for one in firewall.droplet_ids if one not in droplet_ids],
        )

    def add_tags(self, firewall_id: str, tags: object) -> None:
        """Cover all droplets that carry more tags."""
        firewall = self.get(firewall_id)
        self._change(firewall, tags=_checked_tags([*firewall.tags, *self._existing_tags(tags)]))

    def remove_tags(self, firewall_id: str, tags: object) -> None:
        """Cover the droplets of these tags no longer."""
        firewall = self.get(firewall_id)
        if not isinstance(tags, list):
            raise errors.unprocessable("tags must be a list of tag names")
        self._change(firewall, tags=[one for one in firewall.tags if one not in tags])

    def add_rules(self, firewall_id: str, order: dict[str, Any]) -> None:
        """Add rules."""
        firewall = self.get(firewall_id)
        inbound = _rules(order.get("inbound_rules"), "sources")
        outbound = _rules(order.get("outbound_rules"), "destinations")
        self._change(
            firewall,
            inbound_rules=[*firewall.inbound_rules, *_new(inbound, firewall.inbound_rules)],
            outbound_rules=[*firewall.outbound_rules, *_new(outbound, firewall.outbound_rules)],
        )

    def remove_rules(self, firewall_id: str, order: dict[str, Any]) -> None:
        """Remove rules that are exactly these."""
        firewall = self.get(firewall_id)
        inbound = _rules(order.get("inbound_rules"), "sources")
        outbound = _rules(order.get("outbound_rules"), "destinations")
        self._change(
            firewall,
            inbound_rules=_new(firewall.inbound_rules, inbound),
            outbound_rules=_new(firewall.outbound_rules, outbound),
        )

    def droplet_tagged(self, droplet_id: int, tags: list[str]) -> None:
        """Begin to cover a droplet that now carries these tags."""
        for firewall in self._firewalls.values():
            if any(tag in firewall.tags for tag in tags) and droplet_id not in firewall.droplet_ids:
                self._settle(firewall, {droplet_id: False})

    def droplet_untagged(self, droplet_id: int, tag: str) -> None:
        """Cover a droplet no longer that has lost a tag, unless something else still says so."""
        for firewall in self._firewalls.values():
            if tag in firewall.tags and droplet_id not in self._covered(firewall):
                self._settle(firewall, {droplet_id: True})

    def droplet_gone(self, droplet_id: int) -> None:
        """Forget a droplet."""
        for firewall in self._firewalls.values():
            firewall.pending.pop(droplet_id, None)
            if droplet_id in firewall.droplet_ids:
                firewall.droplet_ids.remove(droplet_id)

    def tag_gone(self, name: str) -> None:
        """Forget a tag that was deleted."""
        for firewall in self._firewalls.values():
            if name in firewall.tags:
                self._change(firewall, tags=[one for one in firewall.tags if one != name])

    def _covered(self, firewall: Firewall) -> set[int]:
        covered = set(firewall.droplet_ids)
        for name in firewall.tags:
            tag = self._tags.find(name)
            if tag is not None:
                covered.update(tag.droplets)
        return covered

    def _change(self, firewall: Firewall, **changes: Any) -> None:
        before = self._covered(firewall)
        same_rules = True
        for name, value in changes.items():
            if name.endswith("_rules") and getattr(firewall, name) != value:
                same_rules = False
            setattr(firewall, name, value)
        after = self._covered(firewall)
        self._world.record("firewall changed", firewall.id, name=firewall.name)
        changed = before ^ after if same_rules else before | after
        self._settle(firewall, {one: one not in after for one in sorted(changed)})

    def _settle(self, firewall: Firewall, changes: dict[int, bool]) -> None:
        firewall.pending.update(changes)
        firewall.settling += 1

        def in_force() -> None:
            firewall.settling -= 1
            for droplet_id, removing in changes.items():
                if firewall.pending.get(droplet_id) == removing:
                    del firewall.pending[droplet_id]

        self._world.timeline.after(self._world.draw(self._world.delays.firewall), in_force)

    def _read(self, order: dict[str, Any], *, itself: Firewall | None) -> dict[str, Any]:
        name = order.get("name")
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise errors.unprocessable(
                "name is invalid: it begins with a letter or digit and holds letters, digits, "
                "dots and dashes"
            )
        inbound = _rules(order.get("inbound_rules"), "sources")
        outbound = _rules(order.get("outbound_rules"), "destinations")
        if not inbound and not outbound:
            raise errors.unprocessable("a firewall needs at least one inbound or outbound rule")
        if len(inbound) + len(outbound) > MOST_RULES:
            raise errors.unprocessable(f"a firewall has at most {MOST_RULES} rules")
        droplet_ids = _checked_droplets(self._droplet_ids(order.get("droplet_ids")))
        tags = _checked_tags(self._existing_tags(order.get("tags")))
        for other in self._firewalls.values():
            if other is not itself and other.name == name:
                raise errors.conflict("duplicate name")
        return {
            "name": name,
            "inbound_rules": inbound,
            "outbound_rules": outbound,
            "droplet_ids": droplet_ids,
            "tags": tags,
        }

    def _droplet_ids(self, wanted: object) -> list[int]:
        if wanted is None:
            return []
        if not isinstance(wanted, list):
            raise errors.unprocessable("droplet_ids must be a list of droplet ids")
        for one in wanted:
            if isinstance(one, bool) or not isinstance(one, int) or not self._droplet_exists(one):
                raise errors.unprocessable(f"droplet {one!r} does not exist")
        return wanted

    def _existing_tags(self, wanted: object) -> list[str]:
        names = self._tags.validate(wanted)
        for name in names:
            if self._tags.find(name) is None:
                raise errors.unprocessable(f"tag {name} does not exist")
        return names


def _checked_droplets(droplet_ids: list[int]) -> list[int]:
    different = list(dict.fromkeys(droplet_ids))
    if len(different) > MOST_DROPLETS:
        raise errors.unprocessable(f"a firewall covers at most {MOST_DROPLETS} droplets by id")
    return different


def _checked_tags(tags: list[str]) -> list[str]:
    different = list(dict.fromkeys(tags))
    if len(different) > MOST_TAGS:
        raise errors.unprocessable(f"a firewall covers at most {MOST_TAGS} tags")
    return different


def _new(rules: list[Rule], known: list[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule not in known]


def _rules(wanted: object, peers: str) -> list[Rule]:
    """Read rules as a client writes them into the form in which the API answers them."""
    if wanted is None:
        return []
    if not isinstance(wanted, list) or not all(isinstance(rule, dict) for rule in wanted):
        raise errors.unprocessable("rules must be a list of objects")
    rules: list[Rule] = []
    for rule in wanted:
        protocol = rule.get("protocol")
        if protocol not in PROTOCOLS:
            raise errors.unprocessable(f"protocol is one of tcp, udp and icmp, not {protocol!r}")
        target = rule.get(peers)
        if not isinstance(target, dict) or not any(target.get(key) for key in TARGETS):
            raise errors.unprocessable(f"a rule must name its {peers}")
        for address in target.get("addresses") or []:
            _check_address(address)
        kept = {
            "protocol": protocol,
            "ports": "0" if protocol == "icmp" else _ports(rule.get("ports")),
            peers: {key: target[key] for key in TARGETS if target.get(key)},
        }
        if kept not in rules:
            rules.append(kept)
    return rules


def _ports(wanted: object) -> str:
    text = str(wanted) if isinstance(wanted, int) and not isinstance(wanted, bool) else wanted
    if text in ("all", "0", "1-65535", "0-65535"):
        return "0"
    if isinstance(text, str) and re.fullmatch(r"\d{1,5}(-\d{1,5})?", text):
        first, _, last = text.partition("-")
        if 1 <= int(first) <= int(last or first) <= LAST_PORT:
            return text
    raise errors.unprocessable(
        f"ports must be a port, a range such as 8000-9000, or all, not {wanted!r}"
    )


def _holds(ports: str, port: int) -> bool:
    first, _, last = ports.partition("-")
    return ports == "0" or int(first) <= port <= int(last or first)


def _check_address(address: object) -> None:
    try:
        ipaddress.ip_network(str(address), strict=False)
    except ValueError:
        raise errors.unprocessable(f"invalid address {address!r}") from None
