"""Firewalls: a session's own or its class's, and what each lets in."""

from spawnai.api.spawnclass import ClassSpec, ExposureMode
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import NotYet
from spawnai.digitalocean.firewall_resource import FirewallResource
from spawnai.digitalocean.firewall_watch import NotCovered
from spawnai.digitalocean.firewalls import ANYWHERE, session_rules
from spawnai.digitalocean.models import FirewallOrder
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import WantedFirewall

from .agents import AGENT_PORT
from .resources import Steps
from .work import Work


class FirewallSteps(Steps):
    """Firewalls."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def adapter(self, account: CloudAccount) -> FirewallResource:
        """Firewalls of sessions and classes."""
        return FirewallResource(account.firewalls, self._clock)

    def order(self, work: Work, wanted: WantedFirewall) -> FirewallOrder:
        """A session's own firewall around its droplet."""
        spec = work.backing.spec
        if spec.exposure.mode is ExposureMode.LOAD_BALANCER:
            return balanced_firewall_order(wanted.name, spec, wanted.droplet_id)
        return firewall_order(wanted.name, spec, droplet_ids=(wanted.droplet_id,))

    async def wait(self, work: Work, action: do.Await) -> None:
        """Wait until the firewall, a session's own or its class's, covers the droplet."""
        watch = work.backing.account.firewall_watch
        try:
            exists = await watch.in_force(action.id, int(action.subject))
        except NotCovered as error:
            raise NotYet(str(error)) from error
        if not exists:
            raise NotYet(f"firewall {action.id} does not exist")
        work.memory.firewall_in_force = True


def firewall_order(
    name: str,
    spec: ClassSpec,
    *,
    tags: tuple[str, ...] = (),
    droplet_ids: tuple[int, ...] = (),
) -> FirewallOrder:
    """The firewall that a class wants around its droplets."""
    web_ports = (spec.exposure.http_port, spec.exposure.https_port)
    return _order(name, spec, web_ports, ANYWHERE, tags=tags, droplet_ids=droplet_ids)


def balanced_firewall_order(
    name: str, spec: ClassSpec, droplet_id: int, *, balancer_id: str | None = None
) -> FirewallOrder:
    """The firewall around a droplet behind a load balancer, which alone reaches its web server.

    Without its id nobody does: it is let in once it is active.
    """
    web_ports = (spec.exposure.http_port,) if balancer_id is not None else ()
    web_addresses = (f"load_balancer:{balancer_id}",) if balancer_id is not None else ()
    return _order(name, spec, web_ports, web_addresses, tags=(), droplet_ids=(droplet_id,))


def _order(
    name: str,
    spec: ClassSpec,
    web_ports: tuple[int, ...],
    web_addresses: tuple[str, ...],
    *,
    tags: tuple[str, ...],
    droplet_ids: tuple[int, ...],
) -> FirewallOrder:
    inbound, outbound = session_rules(
        agent_port=AGENT_PORT,
        web_ports=web_ports,
        operator_addresses=tuple(spec.firewall.operator_addresses),
        web_addresses=web_addresses,
        ssh_from_private_ranges=spec.firewall.ssh,
    )
    return FirewallOrder(
        name=name, inbound=inbound, outbound=outbound, tags=tags, droplet_ids=droplet_ids
    )
