"""Load balancers: ordered before a droplet, let in by its firewall, waited for until they serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from spawnai.api.names import session_firewall_name
from spawnai.api.record import LedgerEntry, Presence, ResourceKind
from spawnai.billing import ledger as books
from spawnai.billing.load_balancer_prices import NODE_HOURLY
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import CreationErrored, NotYet
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.hosted_certificate_resource import HostedCertificateResource
from spawnai.digitalocean.load_balancer_resource import LoadBalancerResource
from spawnai.digitalocean.models import ForwardingRule, LoadBalancer, LoadBalancerOrder
from spawnai.droplet.probe import ProbeAnswer, Probes
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import WantedLoadBalancer
from spawnai.lifecycle.resources import may_still_appear

from .firewalls import balanced_firewall_order
from .resources import Steps
from .work import Work

LOOK_SECONDS = 10.0
"""Between two looks at one that is new. DigitalOcean's own clients look every 15 s."""

PROBE_SECONDS = 1.0
"""Between two tries to reach the app through one, and how long each may take beside that."""

WAIT_SECONDS = 45.0
"""How long one wait goes on before its session is looked at again."""


class LoadBalancerSteps(Steps):
    """What a load balancer needs beside what is done for every kind."""

    def __init__(self, clock: Clock, cluster_uid: str, probes: Probes) -> None:
        self._clock = clock
        self._cluster_uid = cluster_uid
        self._probes = probes

    def adapter(self, account: CloudAccount) -> LoadBalancerResource:
        """Load balancers of this cluster."""
        return LoadBalancerResource(account.load_balancers, self._cluster_uid, NODE_HOURLY)

    @asynccontextmanager
    async def turn(self, work: Work, creation: do.Create) -> AsyncIterator[Slot]:
        """First the id of the class's certificate is asked for: it changes at each renewal."""
        account, wanted = work.backing.account, creation.wanted
        assert isinstance(wanted, WantedLoadBalancer)  # noqa: S101 - the registry's key
        found = await account.certificates.find(wanted.certificate, priority=Priority.NEW)
        if found is None or found.state != "verified":
            raise NotYet(f"the class's certificate {wanted.certificate} cannot be used yet")
        account.certificate_ids[wanted.certificate] = found.id
        async with work.turn(creation) as turn:
            yield turn

    def order(self, work: Work, wanted: WantedLoadBalancer) -> LoadBalancerOrder:
        """TLS ends here; the droplet is reached by HTTP at its private address.

        Nothing documents that DigitalOcean looks at a droplet's certificate, and the way there is
        the account's own network.
        """
        exposure = work.backing.spec.exposure
        certificate = work.backing.account.certificate_ids[wanted.certificate]
        http, https = exposure.http_port, exposure.https_port
        return LoadBalancerOrder(
            name=wanted.name,
            region=wanted.region,
            rules=(
                ForwardingRule("https", https, "http", http, certificate),
                ForwardingRule("http", http, "http", http),
            ),
            droplet_ids=(wanted.droplet_id,),
            health_port=http,
        )

    async def wait(self, work: Work, action: do.Await) -> None:
        """Until it is active, then until the app answers through it at the host `subject`.

        The firewall lets it in before its address is entered: whoever knows the address need not
        look again.
        """
        line = work.line(action.kind, action.id)
        if line.ip is None:
            await self._until_active(work, line)
            raise NotYet(f"load balancer {line.id} is active; the app is not seen through it yet")
        host, port = action.subject, work.backing.spec.exposure.https_port
        until = self._clock.now() + WAIT_SECONDS
        while (
            await self._probes.health_of(host, line.ip, port, PROBE_SECONDS) is not ProbeAnswer.UP
        ):
            if self._clock.now() >= until:
                await self._shown(work, line)
                raise NotYet(f"the app does not answer at load balancer {line.id} ({line.ip})")
            await self._clock.sleep(PROBE_SECONDS)

    async def _until_active(self, work: Work, line: LedgerEntry) -> None:
        until = self._clock.now() + WAIT_SECONDS
        while True:
            shown = await self._shown(work, line)
            if shown is not None and shown.status == "errored":
                raise CreationErrored(
                    f"DigitalOcean could not make load balancer {line.id}: it is deleted, and "
                    "another one is made"
                )
            if shown is not None and shown.status == "active" and shown.ip is not None:
                await self._let_in(work, line)
                work.memory.ledger = books.with_address(
                    work.memory.book, line.kind, line.id, shown.ip
                )
                return
            if self._clock.now() >= until:
                raise NotYet(f"load balancer {line.id} is not active yet")
            await self._clock.sleep(LOOK_SECONDS)

    async def _shown(self, work: Work, line: LedgerEntry) -> LoadBalancer | None:
        """The load balancer as DigitalOcean shows it; None: it may appear yet."""
        balancers = work.backing.account.load_balancers
        shown = await balancers.get(line.id, priority=Priority.NEW)
        if shown is None and not may_still_appear(work.known_since(line), work.utc_now()):
            work.saw_gone(line.kind, line.id)
            raise NotYet(f"load balancer {line.id} was deleted outside the operator")
        return shown

    async def _let_in(self, work: Work, line: LedgerEntry) -> None:
        """Open the session's own firewall to it, and to nobody else."""
        name = session_firewall_name(work.uid)
        living = [
            one
            for one in work.memory.book.resources
            if one.kind is ResourceKind.FIREWALL and one.presence is Presence.PRESENT
        ]
        droplet = next(
            (
                one
                for one in work.memory.book.resources
                if one.kind is ResourceKind.DROPLET and one.presence is Presence.PRESENT
            ),
            None,
        )
        if not living or droplet is None:
            raise NotYet(f"load balancer {line.id} is active; firewall {name} is not there yet")
        order = balanced_firewall_order(
            name, work.backing.spec, int(droplet.id), balancer_id=line.id
        )
        await work.backing.account.firewalls.update(living[-1].id, order, priority=Priority.NEW)


class HostedCertificateSteps(Steps):
    """Certificates at DigitalOcean: no session makes one, see `controller/classes/hosted.py`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def adapter(self, account: CloudAccount) -> HostedCertificateResource:
        """Those of classes."""
        return HostedCertificateResource(account.certificates, self._clock)
