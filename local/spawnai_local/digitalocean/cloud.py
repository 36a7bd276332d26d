"""The whole account in one place: every kind of resource, and the paths that answer for them."""

import random

from spawnai_local.digitalocean.clock import Clock
from spawnai_local.digitalocean.machine_host import MachineHost
from spawnai_local.digitalocean.router import Router
from spawnai_local.digitalocean.routes.account import AccountRoutes
from spawnai_local.digitalocean.routes.certificates import CertificateRoutes
from spawnai_local.digitalocean.routes.domains import DomainRoutes
from spawnai_local.digitalocean.routes.droplets import DropletRoutes
from spawnai_local.digitalocean.routes.firewalls import FirewallRoutes
from spawnai_local.digitalocean.routes.images import ImageRoutes
from spawnai_local.digitalocean.routes.load_balancers import LoadBalancerRoutes
from spawnai_local.digitalocean.routes.ssh_keys import SshKeyRoutes
from spawnai_local.digitalocean.routes.tags import TagRoutes
from spawnai_local.digitalocean.routes.unused import UnusedRoutes
from spawnai_local.digitalocean.settings import Settings
from spawnai_local.digitalocean.state.account import Account
from spawnai_local.digitalocean.state.actions import Actions
from spawnai_local.digitalocean.state.bill import Bill
from spawnai_local.digitalocean.state.catalogue import Catalogue
from spawnai_local.digitalocean.state.certificates import Certificates
from spawnai_local.digitalocean.state.domains import Domains
from spawnai_local.digitalocean.state.droplets import Droplets
from spawnai_local.digitalocean.state.load_balancers import LoadBalancers
from spawnai_local.digitalocean.state.ssh_keys import SshKeys
from spawnai_local.digitalocean.state.tags import Tags
from spawnai_local.digitalocean.timeline import Timeline
from spawnai_local.digitalocean.world import World


class Cloud:
    """One account and all it holds, in memory."""

    def __init__(self, clock: Clock, settings: Settings, machine_host: MachineHost | None) -> None:
        self.timeline = Timeline(clock)
        self.world = World(
            clock,
            self.timeline,
            random.Random(settings.seed),  # noqa: S311 - chance that can be repeated
            settings.delays,
            settings.limits,
        )
        self.account = Account(self.world)
        self.catalogue = Catalogue()
        self.tags = Tags()
        self.actions = Actions(self.world, self.catalogue)
        self.bill = Bill(self.world)
        self.ssh_keys = SshKeys(self.world)
        self.domains = Domains(self.world)
        self.droplets = Droplets(
            world=self.world,
            settings=settings,
            catalogue=self.catalogue,
            tags=self.tags,
            actions=self.actions,
            bill=self.bill,
            ssh_keys=self.ssh_keys,
            domains=self.domains,
            machine_host=machine_host,
        )
        self.firewalls = self.droplets.firewalls
        self.images = self.droplets.images
        self.certificates = Certificates(self.world, self.domains)
        self.load_balancers = LoadBalancers(
            world=self.world,
            catalogue=self.catalogue,
            tags=self.tags,
            certificates=self.certificates,
            domains=self.domains,
            bill=self.bill,
            region_of=self.droplets.region_of,
            vpc_of=self.droplets.vpc,
            take_address=self.droplets.take_address,
            give_back=self.droplets.give_back_address,
        )
        self.certificates.users_of = self.load_balancers.use
        self.certificates.replace = self.load_balancers.replace_certificate
        self.droplets.on_gone = self.load_balancers.droplet_gone

    def router(self) -> Router:
        """Return the table of DigitalOcean's paths."""
        router = Router()
        for routes in (
            AccountRoutes(self.account, self.catalogue, self.bill),
            TagRoutes(self.tags, self.droplets),
            DropletRoutes(self.droplets, self.actions),
            FirewallRoutes(self.firewalls),
            DomainRoutes(self.domains),
            SshKeyRoutes(self.ssh_keys),
            LoadBalancerRoutes(self.load_balancers),
            CertificateRoutes(self.certificates),
            ImageRoutes(self.catalogue, self.images, self.actions),
            UnusedRoutes(),
        ):
            router.add(routes.table())
        return router
