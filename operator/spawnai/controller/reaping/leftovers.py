"""What a lost cluster probably left: names, firewalls and load balancers without a droplet.

A droplet wears its cluster's mark. A DNS record or a firewall is known by the droplet that it
stands for; when that has gone, its form alone is left, and another cluster of the account gives its
things the same form. So these are shown to a person, each with the reason, and not deleted here.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from spawnai.api.names import load_balancer_prefix
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.load_balancers import LoadBalancers
from spawnai.digitalocean.models import DomainRecord, Droplet, Firewall
from spawnai.lifecycle.reaping import has_form_of_firewall, has_form_of_name

from .removal import Estate, full_name, shown_balancers

_WHOSE = "which cluster made it cannot be told"


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing, and why it may be left over."""

    kind: str
    id: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Looks for them in the whole account. Changes nothing."""

    droplets: Droplets
    records: DomainRecords
    firewalls: Firewalls
    load_balancers: LoadBalancers
    cluster_uid: str

    async def find(
        self, domains: Iterable[str], estates: Collection[Estate], ends: Iterable[Firewall]
    ) -> list[Leftover]:
        """Look in these domains and at all firewalls, for what is neither among these estates nor
        one of the firewalls that end with them.

        Raises:
            DigitalOceanError: a listing could not be had.
        """
        goes = {estate.orphan.droplet.id for estate in estates}
        stays = [
            droplet
            for droplet in await self.droplets.list_account(priority=Priority.HOUSEKEEPING)
            if droplet.id not in goes
        ]
        names = {(one.domain, one.id) for estate in estates for one in estate.names}
        closed = {one.id for one in ends}
        closed |= {estate.firewall.id for estate in estates if estate.firewall is not None}
        balancers = await shown_balancers(self.load_balancers)
        prefix = load_balancer_prefix(self.cluster_uid)
        ends_too = {one.load_balancer.id for one in estates if one.load_balancer is not None}
        led_to = {one.public_ip for one in stays}
        led_to |= {one.ip for one in balancers if not one.name.startswith(prefix)}
        found = [
            _left_name(record)
            for domain in sorted(set(domains))
            for record in await self._records_of(domain)
            if (domain, record.id) not in names and _leads_nowhere(record, led_to)
        ]
        for firewall in await self.firewalls.list(priority=Priority.HOUSEKEEPING):
            if firewall.id not in closed and _covers_nothing(firewall, stays):
                words = f"no droplet that stays is covered by it, and {_WHOSE}"
                found.append(Leftover("Firewall", firewall.id, firewall.name, words))
        for balancer in balancers:
            if balancer.name.startswith(prefix) and balancer.id not in ends_too:
                words = "this cluster made it, and no droplet of its session is left"
                found.append(Leftover("LoadBalancer", balancer.id, balancer.name, words))
        return found

    async def _records_of(self, domain: str) -> tuple[DomainRecord, ...]:
        try:
            return await self.records.list(domain, priority=Priority.HOUSEKEEPING)
        except NotFound:
            return ()


def _left_name(record: DomainRecord) -> Leftover:
    words = f"no droplet that stays has the address {record.data}, and {_WHOSE}"
    return Leftover("DomainRecord", str(record.id), full_name(record), words)


def _leads_nowhere(record: DomainRecord, led_to: Collection[str | None]) -> bool:
    """Whether it has the form of a session's name, and leads to none of these addresses."""
    return has_form_of_name(record.name) and record.data not in led_to


def _covers_nothing(firewall: Firewall, stays: Iterable[Droplet]) -> bool:
    """Whether it has the form of one of our firewalls, and covers none of these droplets."""
    return has_form_of_firewall(firewall.name) and not any(
        droplet.id in firewall.droplet_ids or droplet.tags & firewall.tags for droplet in stays
    )
