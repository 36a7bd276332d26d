"""Every kind of external resource with its adapter and its order: the registry.

A kind that is not here cannot be made; a test holds it against `lifecycle/kinds.py`.
"""

from collections.abc import Mapping

from spawnai.api.record import ResourceKind
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.digitalocean.domain_record_resource import DomainRecordOrder, DomainRecordResource
from spawnai.digitalocean.image_resource import ImageResource
from spawnai.lifecycle.kinds import WantedRecord

from .certificates import CertificateSteps, UnrevokedCertificate
from .droplets import DropletSteps
from .firewalls import FirewallSteps
from .load_balancers import HostedCertificateSteps, LoadBalancerSteps
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
