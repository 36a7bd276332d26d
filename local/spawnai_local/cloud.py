"""The local cloud as one process: DigitalOcean's API and DNS, its droplets' machines, Claude, ACME.

Run as `python -m spawnai_local.cloud DIRECTORY SETTINGS`, where SETTINGS is the JSON of
`CloudSettings`. Once everything answers, DIRECTORY/cloud.json says where (`CloudReport`). It ends
on SIGTERM, and every machine with it.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from spawnai_local.acme import AcmeServer
from spawnai_local.acme import front as acme_front
from spawnai_local.address_block import claim_address_block, first_bindable_port
from spawnai_local.classes import LOCAL_BALANCED_DOMAIN, LOCAL_DOMAIN, LOCAL_WILDCARD_DOMAIN
from spawnai_local.claude import ClaudeSimulator, SimulatorSettings
from spawnai_local.cloud_settings import (
    LOCAL_ANTHROPIC_KEY,
    LOCAL_DIGITALOCEAN_TOKEN,
    CloudReport,
    CloudSettings,
)
from spawnai_local.digitalocean import Delays, Emulator, Limits, Settings, SystemClock
from spawnai_local.interruption import run_until_interrupted
from spawnai_local.machines import MachineHost
from spawnai_local.machines.mirror import Mirror, mirrored_archives
from spawnai_local.machines.shell_host import Door, ShellHost, open_door

# In order of preference. The addresses are this cloud's own, so its ports can be well known ones,
# unless a server of the machine holds them at every address. 0 is any free one.
_API_PORTS = (8080, 8000, 0)
_CLAUDE_PORTS = (8081, 8001, 0)
_DNS_PORTS = (53, 5353, 0)
_HTTP_PORTS = (80, 8080, 8888, 18080)
_HTTPS_PORTS = (443, 4443, 14443)
_ACME_PORTS = (14000, 0)  # as Pebble's own


class CloudError(Exception):
    """The cloud cannot run on this machine; the message says why."""


def main() -> None:
    """Run the cloud until a signal ends it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    directory, settings = Path(sys.argv[1]), CloudSettings.from_json(sys.argv[2])
    run_until_interrupted(_run(directory, settings))


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """The parts of a cloud that is up; None for what its settings leave out."""

    emulator: Emulator | None
    claude: ClaudeSimulator | None
    machines: MachineHost | ShellHost | None
    report: CloudReport
    acme: AcmeServer | None = None


@asynccontextmanager
async def local_cloud(
    directory: Path,
    settings: CloudSettings,
    *,
    tokens: frozenset[str] = frozenset({LOCAL_DIGITALOCEAN_TOKEN}),
    door: Door = open_door,
    acme_door: acme_front.Door = acme_front.open_door,
) -> AsyncIterator[LocalCloud]:
    """Run a cloud in this process; all of it has ended when the context has.

    Args:
        directory: for the machines' files.
        settings: how fast and how large it is.
        tokens: what DigitalOcean's API accepts.
        door: what calls to the agents of shell droplets go through.
        acme_door: what calls to the ACME server go through.

    Raises:
        CloudError: this machine has no port for it.
    """
    block = claim_address_block()
    address = block.service_address
    # Apart from one another: services, droplets with a machine, droplets without one.
    _, shells = block.network.subnets(prefixlen_diff=1)
    http_port = first_bindable_port(address, _HTTP_PORTS)
    https_port = first_bindable_port(address, _HTTPS_PORTS)
    if http_port is None or https_port is None:
        tried = _HTTP_PORTS if http_port is None else _HTTPS_PORTS
        raise CloudError(
            f"none of the ports {tried} can be bound at {address}, so no droplet could serve its "
            "app; end what holds them at every address"
        )
    async with AsyncExitStack() as parts:
        parts.callback(block.close)
        emulator = claude = machines = acme = mirror = None
        if settings.digitalocean:
            doors = http_port, https_port
            machines = _machines(directory, settings, block.network, doors, door)
            if machines is not None:
                parts.push_async_callback(machines.close)
            if isinstance(machines, MachineHost):
                mirror = Mirror(await asyncio.to_thread(mirrored_archives))
                parts.push_async_callback(mirror.stop)
                await mirror.start(str(address))
            emulator = await _start_emulator(
                settings, machines, address, shells, tokens=tokens, http_port=http_port
            )
            parts.push_async_callback(emulator.stop)
        if settings.claude:
            claude = await _start_claude(settings, address)
            parts.push_async_callback(claude.stop)
        if settings.pebble is not None and emulator is not None:
            acme = AcmeServer(
                directory / "acme",
                pebble=Path(settings.pebble),
                address=str(address),
                dns=f"{address}:{emulator.dns.port}",
                http_port=http_port,
                https_port=https_port,
                door=acme_door,
            )
            parts.push_async_callback(acme.stop)
            await acme.start(_port(address, _ACME_PORTS))
            acme.trust_too(emulator.cloud.certificates.authority.root)
        report = CloudReport(
            digitalocean_url=emulator.url if emulator is not None else None,
            claude_url=claude.url if claude is not None else None,
            dns_address=str(address) if emulator is not None else None,
            dns_port=emulator.dns.port if emulator is not None else None,
            http_port=http_port,
            network=str(block.network),
            https_port=https_port,
            mirror_url=mirror.url if mirror is not None else None,
            node_sha256=mirror.archives.node_sha256 if mirror is not None else None,
            caddy_sha256=mirror.archives.caddy_sha256 if mirror is not None else None,
            acme_directory_url=acme.directory_url if acme is not None else None,
            acme_ca=str(acme.ca_path) if acme is not None else None,
            acme_root=str(acme.root_path) if acme is not None else None,
        )
        yield LocalCloud(emulator, claude, machines, report, acme)


async def _run(directory: Path, settings: CloudSettings) -> int:
    async with local_cloud(directory, settings) as cloud:
        unfinished = directory / "cloud.json.unfinished"
        unfinished.write_text(cloud.report.to_json())
        unfinished.rename(directory / "cloud.json")
        await asyncio.Event().wait()  # until a signal cancels it
    return 0


def _machines(
    directory: Path,
    settings: CloudSettings,
    network: IPv4Network,
    ports: tuple[int, int],
    door: Door,
) -> MachineHost | ShellHost | None:
    if settings.agents is not None:
        return ShellHost(network, settings.agents, door=door)
    if settings.machines:
        http_port, https_port = ports
        return MachineHost(
            directory / "machines", network=network, http_port=http_port, https_port=https_port
        )
    return None


async def _start_emulator(
    settings: CloudSettings,
    machines: MachineHost | ShellHost | None,
    address: IPv4Address,
    shells: IPv4Network,
    *,
    tokens: frozenset[str],
    http_port: int,
) -> Emulator:
    emulator = Emulator(
        SystemClock(settings.clock_offset_seconds),
        machines=machines,
        settings=Settings(
            tokens=tokens,
            delays=Delays().changed({"boot": list(settings.boot_seconds), **settings.delays}),
            limits=Limits(droplets=settings.droplet_limit),
            seed=settings.seed,
            shell_network=str(shells),
            ports={80: http_port},
        ),
    )
    for domain in (LOCAL_DOMAIN, LOCAL_WILDCARD_DOMAIN, LOCAL_BALANCED_DOMAIN):
        emulator.cloud.domains.create({"name": domain})
    await emulator.start(
        str(address), _port(address, _API_PORTS), dns_port=_port(address, _DNS_PORTS)
    )
    return emulator


async def _start_claude(settings: CloudSettings, address: IPv4Address) -> ClaudeSimulator:
    claude = ClaudeSimulator(
        SimulatorSettings(
            api_key=LOCAL_ANTHROPIC_KEY,
            first_token_seconds=settings.first_token_seconds,
            tokens_per_second=settings.tokens_per_second,
            seed=settings.seed,
            bundles=Path(settings.bundles) if settings.bundles else None,
        )
    )
    await claude.start(str(address), _port(address, _CLAUDE_PORTS))
    return claude


def _port(address: IPv4Address, candidates: tuple[int, ...]) -> int:
    port = first_bindable_port(address, candidates)
    return 0 if port is None else port


if __name__ == "__main__":
    main()
