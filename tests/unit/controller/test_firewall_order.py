"""The firewall that a class wants around its droplets lets in what the class says."""

from spawnai.api.spawnclass import ClassSpec
from spawnai.controller.actions.firewalls import firewall_order
from spawnai.digitalocean.firewalls import ANYWHERE, PRIVATE_RANGES
from spawnai.droplet.cloud_config import AGENT_PORT


def inbound(**spec) -> dict[str, tuple[str, ...]]:
    order = firewall_order("fw-spawn-1", ClassSpec.model_validate(spec), droplet_ids=(1,))
    return {rule.ports: rule.addresses for rule in order.inbound if rule.protocol == "tcp"}


def test_an_app_is_reached_at_the_ports_of_its_class_and_at_no_others():
    assert inbound().keys() == {"80", "443", str(AGENT_PORT)}
    moved = inbound(exposure={"httpPort": 8080, "httpsPort": 4443})
    assert moved.keys() == {"8080", "4443", str(AGENT_PORT)}
    assert moved["8080"] == moved["4443"] == ANYWHERE


def test_the_agent_is_reached_by_the_operator_and_ssh_from_private_ranges_where_the_class_says_so():
    narrow = inbound(firewall={"operatorAddresses": ["192.0.2.1/32"], "ssh": True})
    assert narrow[str(AGENT_PORT)] == ("192.0.2.1/32",)
    assert narrow["22"] == PRIVATE_RANGES
