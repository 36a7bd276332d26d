"""MachineHost: boots, powers off and destroys the machines behind droplets."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spawnai_local import toolchain
from spawnai_local.address_block import first_bindable_port
from spawnai_local.machines.cloud_init import plan_boot
from spawnai_local.machines.userland import Userland
from spawnai_local.paths import cache_directory

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_AGENT_FOLDER = "opt/spawnai"
_PREFIXES = ("/etc/", "/opt/", "/root", "/run/", "/srv/", "/tmp/", "/usr/local/", "/var/")  # noqa: S108

# Apps listen on 0.0.0.0, so their ports are shared by the whole host. A machine has two, for two
# revisions of its app. Below Linux's ephemeral range
# (32768 and up), and apart from the ports that other parts of a local cloud pick (20000 and up).
_APP_PORTS = range(10_000, 20_000)

# A droplet's own system needs this much of its memory, so an app gets the rest.
_SYSTEM_MEMORY_BYTES = 300 * 1024 * 1024
# A laptop's disk is not a droplet's: no app needs more for as long as it lives here.
_APP_DISK_BYTES = 1024 * 1024 * 1024

_STOP_SECONDS = 20.0

log = logging.getLogger(__name__)


class MachineError(Exception):
    """A machine, or the supervisor of all, did not do what was asked."""


@dataclass(slots=True)
class _Machine:
    address: str
    root: Path
    app_port: int
    port_claim: socket.socket
    is_off: asyncio.Event
    ordered_off: bool = False


class MachineHost:
    """All machines of one local cloud. Use it within one event loop.

    `network` are the addresses it may give out (`AddressBlock.network`); `directory` holds the
    machines' roots and is emptied first. `http_port` is what machines serve apps at: 80 where that
    may be bound, else 8080, unless given; `https_port` the same: 443, else 4443. `caddy` is another
    Caddy than the virtual environment's.
    `machine_environment` is added to each machine's `machine.env`, for example tighter limits.
    """

    def __init__(
        self,
        directory: Path,
        network: IPv4Network,
        *,
        http_port: int | None = None,
        https_port: int | None = None,
        caddy: Path | None = None,
        machine_environment: Mapping[str, str] | None = None,
    ) -> None:
        self.on_power_off: Callable[[int], None] | None = None
        self._directory = directory
        self._machines: dict[int, _Machine] = {}
        self._free_addresses = _addresses_for_ever(network)
        self._machine_environment = dict(machine_environment or {})
        self.http_port = _bindable(network, (80, 8080) if http_port is None else (http_port,))
        self.https_port = _bindable(network, (443, 4443) if https_port is None else (https_port,))
        self._caddy = caddy
        self._userland: Userland | None = None
        self._supervisor: asyncio.subprocess.Process | None = None
        self._reports: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._booted: dict[int, asyncio.Event] = {}

    def allocate_address(self) -> str:
        """An address that no machine of this host had lately: the whole block goes round."""
        taken = {machine.address for machine in self._machines.values()}
        return next(address for address in self._free_addresses if address not in taken)

    async def start(self) -> None:
        """Make ready for the first boot, which otherwise does this and takes a second longer."""
        async with self._starting:
            if self._supervisor is not None:
                return
            if self._userland is None:
                self._userland = await asyncio.to_thread(self._make_userland)
            self._supervisor = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_SUPERVISOR)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            self._reports = asyncio.create_task(self._read_reports(self._supervisor))

    async def boot(
        self,
        droplet_id: int,
        address: str,
        user_data: str,
        memory_bytes: int,
        image_id: int | None = None,
    ) -> None:
        """Start a droplet's machine; one that was powered off comes up again with its files, and a
        new one begins with those of the image.

        Returns as soon as it runs: what user_data asks for happens then, as on a droplet.

        Raises:
            MachineError: it runs already, or the supervisor is gone.
        """
        await self.start()
        machine = self._machines.get(droplet_id)
        if machine is None:
            machine = await asyncio.to_thread(self._furnish, droplet_id, address, image_id)
            self._machines[droplet_id] = machine
        elif not machine.is_off.is_set():
            raise MachineError(f"the machine of droplet {droplet_id} runs already")
        self._write_settings(machine, memory_bytes)
        machine.is_off.clear()
        machine.ordered_off = False
        assert self._userland is not None  # noqa: S101 - start() made it
        booted = self._booted[droplet_id] = asyncio.Event()
        await self._order(
            {
                "order": "boot",
                "id": droplet_id,
                "root": str(machine.root),
                "search_path": self._userland.search_path(machine.root),
                "plan": plan_boot(user_data, machine.root).document(),
                "prefixes": _PREFIXES,
            }
        )
        async with asyncio.timeout(_STOP_SECONDS):
            await booted.wait()

    async def keep_disk(self, droplet_id: int, image_id: int) -> None:
        """Keep a copy of a machine's files, for others to begin with."""
        machine = self._machines.get(droplet_id)
        if machine is not None:
            part = self._directory / f"part-of-image-{image_id}"
            await asyncio.to_thread(_copy_disk, machine.root, part, self._image(image_id))
            part.rename(self._image(image_id))

    async def drop_disk(self, image_id: int) -> None:
        """Remove such a copy. Safe to repeat."""
        await asyncio.to_thread(shutil.rmtree, self._image(image_id), ignore_errors=True)

    def _image(self, image_id: int) -> Path:
        return self._directory / f"image-{image_id}"

    async def power_off(self, droplet_id: int) -> None:
        """Cut a machine's power: every process of it is killed; its files stay. Safe to repeat."""
        machine = self._machines.get(droplet_id)
        if machine is None or machine.is_off.is_set():
            return
        machine.ordered_off = True
        await self._order({"order": "off", "id": droplet_id})
        async with asyncio.timeout(_STOP_SECONDS):
            await machine.is_off.wait()

    async def destroy(self, droplet_id: int) -> None:
        """Power a machine off and remove its files. Safe to repeat."""
        await self.power_off(droplet_id)
        machine = self._machines.pop(droplet_id, None)
        if machine is not None:
            machine.port_claim.close()
            await asyncio.to_thread(shutil.rmtree, machine.root, ignore_errors=True)

    def is_on(self, droplet_id: int) -> bool:
        """Whether a machine of that droplet exists and has power."""
        machine = self._machines.get(droplet_id)
        return machine is not None and not machine.is_off.is_set()

    def root_of(self, droplet_id: int) -> Path:
        """Where a machine's files are.

        Raises:
            KeyError: there is no such machine.
        """
        return self._machines[droplet_id].root

    async def close(self) -> None:
        """Kill every machine and remove their files."""
        if self._supervisor is not None and self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._supervisor.wait()
            except TimeoutError:
                self._supervisor.kill()
        if self._reports is not None:
            await self._reports
        self._supervisor = None
        for machine in self._machines.values():
            machine.port_claim.close()
        self._machines.clear()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _make_userland(self) -> Userland:
        shutil.rmtree(self._directory, ignore_errors=True)
        cache = cache_directory() / "npm"
        cache.mkdir(parents=True, exist_ok=True)
        return Userland(
            self._directory / "userland",
            caddy=self._caddy or toolchain.caddy(),
            node=toolchain.node(),
            npm=toolchain.npm(),
            npm_cache=cache,
        )

    def _furnish(self, droplet_id: int, address: str, image_id: int | None) -> _Machine:
        assert self._userland is not None  # noqa: S101 - start() made it
        root = self._directory / str(droplet_id)
        if image_id is not None and self._image(image_id).is_dir():
            _copy_disk(self._image(image_id), root, root)
        (root / _AGENT_FOLDER).mkdir(parents=True, exist_ok=True)
        # The interpreter itself, not the virtual environment's: a droplet has no packages of ours.
        self._userland.furnish(root, Path(sys.executable).resolve())
        claim, port = _claim_app_ports()
        machine = _Machine(address, root, port, claim, asyncio.Event())
        machine.is_off.set()
        return machine

    def _write_settings(self, machine: _Machine, memory_bytes: int) -> None:
        settings = {
            "BIND_ADDRESS": machine.address,
            "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port),
            "APP_PORT": str(machine.app_port),
            "RUN_APP_WITH": "process",
            "POWEROFF_COMMAND": "systemctl poweroff",
            "MEMORY_BYTES": str(max(memory_bytes - _SYSTEM_MEMORY_BYTES, memory_bytes // 2)),
            "DISK_BYTES": str(_APP_DISK_BYTES),
            # All machines share this host's kernel, and its clock is as right as any.
            "BOOT_ID": os.urandom(8).hex(),
            "CLOCK_SETTLE_SECONDS": "0",
            **self._machine_environment,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (machine.root / _AGENT_FOLDER / "machine.env").write_text(text)

    async def _order(self, order: Mapping[str, Any]) -> None:
        supervisor = self._supervisor
        if supervisor is None or supervisor.stdin is None or supervisor.returncode is not None:
            raise MachineError(
                "the supervisor of the machines is gone; start the local cloud again"
            )
        supervisor.stdin.write(json.dumps(order).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await supervisor.stdin.drain()

    async def _read_reports(self, supervisor: asyncio.subprocess.Process) -> None:
        assert supervisor.stdout is not None  # noqa: S101 - it was asked for
        async for line in supervisor.stdout:
            report = json.loads(line)
            droplet_id = report["id"]
            machine = self._machines.get(droplet_id)
            if report["event"] == "booted":
                if booted := self._booted.pop(droplet_id, None):
                    booted.set()
            elif machine is not None and not machine.is_off.is_set():
                machine.is_off.set()
                self._tell(droplet_id, machine)
        # Its end is every machine's end.
        for droplet_id, machine in self._machines.items():
            if not machine.is_off.is_set():
                machine.is_off.set()
                self._tell(droplet_id, machine)

    def _tell(self, droplet_id: int, machine: _Machine) -> None:
        if machine.ordered_off or self.on_power_off is None:
            return
        try:
            self.on_power_off(droplet_id)
        except Exception:
            log.exception("the power-off of droplet %d was not heard", droplet_id)


def _copy_disk(source: Path, target: Path, place: Path) -> None:
    """Copy a machine's files without those of what runs. Links to files of the machine lead to
    those of the copy, which is to be at that place.
    """
    shutil.copytree(
        source,
        target,
        symlinks=True,
        ignore=lambda folder, names: (
            [name for name in names if name in {"run", "tmp"}] if Path(folder) == source else []
        ),
    )
    for folder, folders, files in os.walk(target):
        for name in (*folders, *files):
            link = Path(folder) / name
            if link.is_symlink() and (leads_to := link.readlink()).is_relative_to(source):
                link.unlink()
                link.symlink_to(place / leads_to.relative_to(source))


def _bindable(network: IPv4Network, wanted: tuple[int, ...]) -> int:
    port = first_bindable_port(network.broadcast_address - 1, wanted)
    if port is None:
        raise MachineError(
            f"port {' and '.join(map(str, wanted))} cannot be bound in {network}: a server "
            "holds it at every address of this host; give another port"
        )
    return port


def _addresses_for_ever(network: IPv4Network) -> Iterator[str]:
    # The first is the cloud's own; .0 and .255 look like mistakes.
    usable = [
        number
        for number in range(int(network.network_address) + 2, int(network.broadcast_address))
        if number % 256 not in {0, 255}
    ]
    while True:
        for number in usable:
            yield str(IPv4Address(number))


def _claim_app_ports() -> tuple[socket.socket, int]:
    """A port that no other machine of this host has, of whichever local cloud, nor the next one.

    The claim is an abstract Unix socket named for the port: the kernel lets one process have it,
    and takes it back when that process ends in whatever way.
    """
    pairs = _APP_PORTS[::2]
    first = int.from_bytes(os.urandom(4)) % len(pairs)
    for offset in range(len(pairs)):
        port = pairs[(first + offset) % len(pairs)]
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0spawnai-app-port-{port}")
            for one in (port, port + 1):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("0.0.0.0", one))  # noqa: S104 - where the app will listen
        except OSError:
            claim.close()
            continue
        return claim, port
    raise MachineError(f"all ports from {_APP_PORTS.start} to {_APP_PORTS.stop - 1} are taken")
