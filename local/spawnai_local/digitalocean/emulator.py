"""The emulator: one DigitalOcean account behind an HTTP server and a DNS server."""

from spawnai_local.digitalocean.api import Api
from spawnai_local.digitalocean.clock import Clock, SystemClock
from spawnai_local.digitalocean.cloud import Cloud
from spawnai_local.digitalocean.control import Control
from spawnai_local.digitalocean.dns import DnsServer
from spawnai_local.digitalocean.forwarding import Forwarding
from spawnai_local.digitalocean.machine_host import MachineHost
from spawnai_local.digitalocean.server import HttpServer
from spawnai_local.digitalocean.settings import Settings


class Emulator:
    """DigitalOcean's API v2 on this machine.

    Args:
        clock: what all delays, bills and limits go by; the machine's own clock if none is given.
        machines: starts a machine for each droplet; without it droplets are shells.
        settings: tokens, delays, limits, seed.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        machines: MachineHost | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.clock = clock if clock is not None else SystemClock()
        self.settings = settings if settings is not None else Settings()
        self.cloud = Cloud(self.clock, self.settings, machines)
        self.api = Api(self.cloud, self.settings.tokens, self.settings.scopes)
        self.dns = DnsServer(self.cloud.domains, self.cloud.timeline.settle)
        self.control = Control(self.cloud, self.api, lambda: self.dns.port)
        self.forwarding = Forwarding(self.cloud, self.clock, self.settings.ports)
        self._server = HttpServer(self.api, self.control, self.clock)
        self._host = ""
        if machines is not None:
            machines.on_power_off = self.cloud.droplets.machine_powered_off

    @property
    def url(self) -> str:
        """The base URL for clients, without a slash at the end; known once started."""
        return f"http://{self._host}:{self._server.port}"

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, *, dns_port: int | None = 0
    ) -> None:
        """Listen on an address.

        Args:
            host: an address of this machine.
            port: for the API; 0 takes any free one.
            dns_port: for DNS over UDP and TCP; 0 takes any free one, None starts no DNS server.

        Raises:
            OSError: an address cannot be had.
        """
        self._host = host
        await self._server.start(host, port)
        self.forwarding.start()
        if dns_port is not None:
            try:
                await self.dns.start(host, dns_port)
            except OSError:
                await self.forwarding.stop()
                await self._server.stop()
                raise

    async def stop(self) -> None:
        """Stop listening; orders already given to machines are seen through."""
        await self.forwarding.stop()
        await self._server.stop()
        await self.dns.stop()
        await self.cloud.droplets.drain_machines()
