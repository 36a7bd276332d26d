"""Every kind of external resource with its adapter and its order: the registry.

A kind that is not here cannot be made; a test holds it against `lifecycle/kinds.py`.
"""

from collections.abc import Mapping

from spawnai.api.record import ResourceKind
from spawnai.api.spawnclass import ClassSpec, ExposureMode
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import NotYet
from spawnai.digitalocean.domain_record_resource import DomainRecordOrder, DomainRecordResource
from spawnai.digitalocean.firewall_resource import FirewallResource
from spawnai.digitalocean.firewall_watch import NotCovered
from spawnai.digitalocean.firewalls import session_rules
from spawnai.digitalocean.image_resource import ImageResource
from spawnai.digitalocean.models import FirewallOrder
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import WantedFirewall, WantedRecord

from .agents import AGENT_PORT
from .certificates import CertificateSteps, UnrevokedCertificate
from .droplets import DropletSteps
from .load_balancers import HostedCertificateSteps, LoadBalancerSteps, own_firewall_order
from .resources import Steps
from .work import Work


def steps_of_all_kinds(
    droplets: DropletSteps,
    load_balancers: LoadBalancerSteps,
    clock: Clock,
    certificates: CertificateSteps | None = None,
) -> Mapping[ResourceKind, Steps]:
    """The registry. Without an ACME server there are no certificates to make."""
    return {
        ResourceKind.DROPLET: droplets,
        ResourceKind.FIREWALL: FirewallSteps(clock),
        ResourceKind.DOMAIN_RECORD: DomainRecordSteps(clock),
        ResourceKind.CERTIFICATE: certificates if certificates is not None else NoCertificates(),
        ResourceKind.IMAGE: ImageSteps(),
        ResourceKind.LOAD_BALANCER: load_balancers,
        ResourceKind.HOSTED_CERTIFICATE: HostedCertificateSteps(clock),
    }


class NoCertificates(Steps):
    """What a ledger still lists when the operator has no ACME server any more expires by itself."""

    def adapter(self, account: CloudAccount) -> UnrevokedCertificate:  # noqa: ARG002
        """One that revokes nothing."""
        return UnrevokedCertificate()


class ImageSteps(Steps):
    """Baked images: no session makes one, see `controller/images`."""

    def adapter(self, account: CloudAccount) -> ImageResource:
        """None is a session's own."""
        return ImageResource(account.images, "")


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
            return own_firewall_order(wanted.name, spec, wanted.droplet_id, web_addresses=())
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


class DomainRecordSteps(Steps):
    """Names in DNS."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def adapter(self, account: CloudAccount) -> DomainRecordResource:
        """Records of any domain in the account."""
        return DomainRecordResource(account.records, account.record_listings, self._clock)

    def order(self, work: Work, wanted: WantedRecord) -> DomainRecordOrder:  # noqa: ARG002
        """A session's name."""
        label = wanted.name.removesuffix(f".{wanted.domain}")
        return DomainRecordOrder(wanted.domain, label, wanted.ip, wanted.ttl_seconds)


def firewall_order(
    name: str,
    spec: ClassSpec,
    *,
    tags: tuple[str, ...] = (),
    droplet_ids: tuple[int, ...] = (),
) -> FirewallOrder:
    """The firewall that a class wants around its droplets."""
    inbound, outbound = session_rules(
        agent_port=AGENT_PORT,
        web_ports=(spec.exposure.http_port, spec.exposure.https_port),
        operator_addresses=tuple(spec.firewall.operator_addresses),
        ssh_from_private_ranges=spec.firewall.ssh,
    )
    return FirewallOrder(
        name=name, inbound=inbound, outbound=outbound, tags=tags, droplet_ids=droplet_ids
    )
