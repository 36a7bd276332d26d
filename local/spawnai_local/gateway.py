"""The gateway of class local-wildcard: Caddy and `spawnai gateway`, as they stand in a pod.

What a kubelet does for a pod is done here: it waits for the Secrets, lays them into files, and lays
them there again when they change. The operator orders the certificate and makes the name.
"""

import asyncio
import base64
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from spawnai.api.names import GATEWAY_TLS_SECRET
from spawnai.controller import droplets_authority
from spawnai_local import toolchain
from spawnai_local.classes import LOCAL_WILDCARD_DOMAIN
from spawnai_local.cloud_settings import CloudReport
from spawnai_local.kubectl import Kubectl, KubectlError
from spawnai_local.processes import ChildProcess, RestartPolicy, free_port

_READY_SECONDS = 60.0
_MOUNT_SECONDS = 120.0
_LOOK_SECONDS = 0.5
_SYNC_SECONDS = 5.0
"""Between two looks at the Secrets once they are there. A kubelet takes up to a minute."""


async def mount_secrets(kubectl: Kubectl, namespace: str, directory: Path) -> bool:
    """Lay both Secrets into files of a folder; returns whether they are there."""
    for secret in (droplets_authority.SECRET_NAME, GATEWAY_TLS_SECRET):
        try:
            found = await kubectl.json("get", "secret", secret, "-n", namespace)
        except KubectlError:
            return False
        for name, value in found["data"].items():
            path, content = directory / name, base64.b64decode(value)
            if not path.exists() or path.read_bytes() != content:
                path.touch(mode=0o600)
                path.write_bytes(content)
    return True


class LocalGateway:
    """One gateway, at the cloud's own address. `mount` lays its Secrets into `directory`, and
    returns whether they are there.
    """

    def __init__(
        self,
        directory: Path,
        cloud: CloudReport,
        kubeconfig: Path,
        mount: Callable[[], Awaitable[bool]],
    ) -> None:
        self._directory = directory
        self._cloud = cloud
        self._kubeconfig = kubeconfig
        self._mount = mount
        self._processes: list[ChildProcess] = []
        self._mounts: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Mount its Secrets and start both processes; returns when it serves.

        Raises:
            TimeoutError: the operator has not made the Secrets.
            ProcessError: a process did not come up.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with asyncio.timeout(_MOUNT_SECONDS):
            while not await self._mount():
                await asyncio.sleep(_LOOK_SECONDS)
        self._mounts = asyncio.create_task(self._keep_mounted(), name="mounts of the gateway")
        environment = self._environment()
        lookup = ChildProcess(
            "gateway",
            (sys.executable, "-m", "spawnai.cli", "gateway"),
            self._directory,
            environment=environment,
            restart=RestartPolicy(),
        )
        caddy = ChildProcess(
            "caddy",
            [toolchain.caddy(), "run"],
            self._directory,
            environment={
                "HOME": str(self._directory),
                "XDG_DATA_HOME": str(self._directory),
                "CADDY_ADMIN": f"unix/{environment['SPAWNAI_GATEWAY_ADMIN_SOCKET']}",
            },
            restart=RestartPolicy(),
        )
        self._processes = [lookup, caddy]
        for process in self._processes:
            await process.start()
        telemetry = environment["SPAWNAI_HTTP_ADDRESS"]
        await lookup.wait_until_answers(f"http://{telemetry}/readyz", limit_seconds=_READY_SECONDS)

    async def stop(self) -> None:
        """End both."""
        if self._mounts is not None:
            self._mounts.cancel()
            await asyncio.wait([self._mounts])
        for process in self._processes:
            await process.stop()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run: `spawnai gateway`, then Caddy."""
        return tuple(one.pid for one in self._processes if one.pid is not None)

    def _environment(self) -> dict[str, str]:
        address = str(self._cloud.dns_address)
        return {
            "KUBECONFIG": str(self._kubeconfig),
            "SPAWNAI_GATEWAY_DOMAIN": LOCAL_WILDCARD_DOMAIN,
            "SPAWNAI_GATEWAY_ADDRESS": address,
            "SPAWNAI_GATEWAY_HTTP_PORT": str(self._cloud.http_port),
            "SPAWNAI_GATEWAY_HTTPS_PORT": str(self._cloud.https_port),
            "SPAWNAI_GATEWAY_DROPLET_HTTP_PORT": str(self._cloud.http_port),
            "SPAWNAI_GATEWAY_DROPLET_HTTPS_PORT": str(self._cloud.https_port),
            "SPAWNAI_GATEWAY_DNS": f"{address}:{free_port(address)}",
            "SPAWNAI_GATEWAY_ADMIN_SOCKET": str(self._directory / "admin.sock"),
            "SPAWNAI_GATEWAY_TLS": str(self._directory),
            "SPAWNAI_GATEWAY_CA": str(self._directory),
            "SPAWNAI_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        }

    async def _keep_mounted(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_SECONDS)
            with contextlib.suppress(OSError):
                await self._mount()
