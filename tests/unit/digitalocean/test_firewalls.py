"""What a session's firewall lets through, and when an existing one is as good as the wanted."""

from dataclasses import replace

import pytest

from spawnai.digitalocean.answers import read
from spawnai.digitalocean.firewalls import (
    _FIREWALL,
    ANYWHERE,
    PRIVATE_RANGES,
    _body,
    differs,
    session_rules,
)
from spawnai.digitalocean.models import Firewall, FirewallOrder, FirewallRule

WEB = FirewallRule("tcp", "80", ANYWHERE)
ORDER = FirewallOrder("fw-spawn-1", (WEB,), (), tags=("class:1",))


def actual(order: FirewallOrder = ORDER, **changes) -> Firewall:
    firewall = Firewall(
        id="fw-1",
        name=order.name,
        status="succeeded",
        tags=frozenset(order.tags),
        droplet_ids=frozenset(order.droplet_ids),
        pending_droplet_ids=frozenset(),
        inbound=order.inbound,
        outbound=order.outbound,
    )
    return replace(firewall, **changes)


def rules(*openings: tuple[str, str, str]) -> tuple[FirewallRule, ...]:
    return tuple(
        FirewallRule(protocol, ports, tuple(addresses.split()))
        for protocol, ports, addresses in openings
    )


SAME = {
    "nothing at all": ((), ()),
    "the same": (rules(("tcp", "80", "::/0")), rules(("tcp", "80", "::/0"))),
    "0 for all": (rules(("tcp", "all", "::/0")), rules(("tcp", "0", "::/0"))),
    "an empty text for all": (rules(("tcp", "all", "::/0")), rules(("tcp", "", "::/0"))),
    "1-65535 for all": (rules(("udp", "all", "::/0")), rules(("udp", "1-65535", "::/0"))),
    "icmp has no ports": (rules(("icmp", "all", "::/0")), rules(("icmp", "0", "::/0"))),
    "a range of one": (rules(("tcp", "80", "::/0")), rules(("tcp", "80-80", "::/0"))),
    "addresses in another order": (
        rules(("tcp", "80", "0.0.0.0/0 ::/0")),
        rules(("tcp", "80", "::/0 0.0.0.0/0")),
    ),
    "rules in another order": (
        rules(("tcp", "80", "::/0"), ("tcp", "443", "::/0")),
        rules(("tcp", "443", "::/0"), ("tcp", "80", "::/0")),
    ),
    "two rules made one": (
        rules(("tcp", "80", "0.0.0.0/0"), ("tcp", "80", "::/0")),
        rules(("tcp", "80", "0.0.0.0/0 ::/0")),
    ),
    "an address as a network of one": (
        rules(("tcp", "80", "192.0.2.1")),
        rules(("tcp", "80", "192.0.2.1/32")),
    ),
    "an IPv6 address written out": (
        rules(("tcp", "80", "2001:db8::1")),
        rules(("tcp", "80", "2001:0db8:0:0:0:0:0:1/128")),
    ),
    "a network with bits to spare": (
        rules(("tcp", "80", "10.1.2.3/8")),
        rules(("tcp", "80", "10.0.0.0/8")),
    ),
    "a load balancer": (
        rules(("tcp", "80", "load_balancer:u-1")),
        rules(("tcp", "80", "load_balancer:u-1")),
    ),
}

OTHER = {
    "a port more": (rules(("tcp", "80", "::/0")), rules(("tcp", "80-81", "::/0"))),
    "another port": (rules(("tcp", "80", "::/0")), rules(("tcp", "81", "::/0"))),
    "another protocol": (rules(("tcp", "53", "::/0")), rules(("udp", "53", "::/0"))),
    "a rule more": (
        rules(("tcp", "80", "::/0")),
        rules(("tcp", "80", "::/0"), ("tcp", "25", "::/0")),
    ),
    "a rule less": (rules(("tcp", "80", "::/0")), ()),
    "an address more": (
        rules(("tcp", "80", "10.0.0.1")),
        rules(("tcp", "80", "10.0.0.1 10.0.0.2")),
    ),
    "IPv4 only": (rules(("tcp", "80", "0.0.0.0/0 ::/0")), rules(("tcp", "80", "0.0.0.0/0"))),
    "a tag beside the address": (
        rules(("tcp", "80", "10.0.0.1")),
        rules(("tcp", "80", "10.0.0.1 tag:x")),
    ),
}


@pytest.mark.parametrize(("wanted", "found"), SAME.values(), ids=SAME.keys())
def test_the_apis_habits_are_no_difference(wanted, found):
    assert not differs(replace(ORDER, inbound=wanted), actual(inbound=found))
    assert not differs(replace(ORDER, outbound=wanted), actual(outbound=found))


@pytest.mark.parametrize(("wanted", "found"), OTHER.values(), ids=OTHER.keys())
def test_what_lets_other_traffic_through_differs_in_both_directions(wanted, found):
    assert differs(replace(ORDER, inbound=wanted), actual(inbound=found))
    assert differs(replace(ORDER, inbound=found), actual(inbound=wanted))
    assert differs(replace(ORDER, outbound=wanted), actual(outbound=found))
    assert differs(replace(ORDER, outbound=found), actual(outbound=wanted))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"status": "waiting", "pending_droplet_ids": frozenset({1})}, False),
        ({"id": "fw-2"}, False),
        ({"name": "fw-spawn-2"}, True),
        ({"tags": frozenset()}, True),
        ({"tags": frozenset({"class:1", "class:2"})}, True),
        ({"droplet_ids": frozenset({7})}, True),
        ({"inbound": ()}, True),
        ({"outbound": (WEB,)}, True),
    ],
)
def test_name_coverage_and_rules_count_but_not_how_far_a_change_has_come(change, expected):
    assert differs(ORDER, actual(**change)) is expected


def openings(rules: tuple[FirewallRule, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(rule.protocol, rule.ports, rule.addresses) for rule in rules]


def test_a_session_is_reached_by_web_and_agent_and_reaches_names_web_and_time():
    inbound, outbound = session_rules(agent_port=8443)
    assert openings(inbound) == [
        ("tcp", "80", ANYWHERE),
        ("tcp", "443", ANYWHERE),
        ("tcp", "8443", ANYWHERE),
    ]
    assert openings(outbound) == [
        ("tcp", "53", ANYWHERE),
        ("udp", "53", ANYWHERE),
        ("tcp", "80", ANYWHERE),
        ("tcp", "443", ANYWHERE),
        ("udp", "123", ANYWHERE),
        ("icmp", "all", ANYWHERE),
    ]


def test_the_agents_port_is_only_for_the_operator_and_the_web_only_for_the_gateway_when_known():
    inbound, _ = session_rules(
        agent_port=8443,
        operator_addresses=["203.0.113.7"],
        web_addresses=["load_balancer:u-1"],
        ssh_from_private_ranges=True,
    )
    assert openings(inbound) == [
        ("tcp", "80", ("load_balancer:u-1",)),
        ("tcp", "443", ("load_balancer:u-1",)),
        ("tcp", "8443", ("203.0.113.7",)),
        ("tcp", "22", PRIVATE_RANGES),
    ]


def test_mail_never_leaves():
    for ssh in (True, False):
        _, outbound = session_rules(agent_port=8443, ssh_from_private_ranges=ssh)
        for rule in outbound:
            first, _, last = rule.ports.partition("-")
            for port in (25, 465, 587):
                assert rule.protocol == "icmp" or not int(first) <= port <= int(last or first)


def test_an_address_that_is_none_is_named():
    with pytest.raises(ValueError, match="'the office' is no address"):
        session_rules(agent_port=8443, operator_addresses=["the office"])


def test_what_is_sent_and_answered_as_digitalocean_does_is_what_was_wanted():
    inbound, outbound = session_rules(
        agent_port=8443,
        operator_addresses=["203.0.113.7", "tag:ops", "droplet:7", "kubernetes:k-1"],
        web_addresses=["load_balancer:u-1"],
    )
    order = FirewallOrder("fw", inbound, outbound, tags=("class:1",), droplet_ids=(5,))
    sent = _body(order)
    everything = FirewallOrder("fw", rules(("tcp", "0", "::/0"), ("icmp", "all", "::/0")), ())
    assert [rule["ports"] for rule in _body(everything)["inbound_rules"]] == ["all", "0"]
    assert sent["inbound_rules"][2]["sources"] == {
        "addresses": ["203.0.113.7"],
        "tags": ["ops"],
        "droplet_ids": [7],
        "kubernetes_ids": ["k-1"],
    }
    answer = {
        **sent,
        "id": "fw-1",
        "status": "waiting",
        "pending_changes": [{"droplet_id": 5, "removing": False, "status": "waiting"}],
    }
    firewall = read(_FIREWALL, answer, "firewall")
    assert not differs(order, firewall)
    assert firewall.pending_droplet_ids == {5}
