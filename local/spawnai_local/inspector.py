"""The inspector of a local stack: a process of its own, with this machine's Chromium."""

import importlib.util
import sys
from pathlib import Path

from spawnai.inspector.program import find_chromium
from spawnai_local.cloud_settings import CloudReport
from spawnai_local.processes import ChildProcess, RestartPolicy, free_port

NOT_INSPECTED = "pages are not inspected: there is no Chromium here (install the package chromium)"

_READY_SECONDS = 60.0
_STOP_SECONDS = 5.0


class LocalInspector:
    """The inspector as a child process; it comes back when it dies.

    Attributes:
        url: where it is asked.
    """

    def __init__(self, directory: Path, cloud: CloudReport) -> None:
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        # Nothing of this machine's environment but the path: it needs no key.
        environment = {
            "SPAWNAI_INSPECTOR_ADDRESS": address,
            "SPAWNAI_INSPECTOR_BROWSERS": "1",
            "SPAWNAI_DROPLET_NETWORKS": cloud.network,
            "SPAWNAI_INSPECTOR_DNS": f"{cloud.dns_address}:{cloud.dns_port}"
            if cloud.dns_address is not None
            else "",
            "DIGITALOCEAN_TOKEN": "",
            "ANTHROPIC_API_KEY": "",
        }
        self._process = ChildProcess(
            "inspector",
            [sys.executable, "-m", "spawnai.cli", "inspector"],
            directory,
            environment=environment,
            stop_seconds=_STOP_SECONDS,
            restart=RestartPolicy(),
        )

    @staticmethod
    def is_possible() -> bool:
        """Whether this machine has a browser, and the library that drives it."""
        return find_chromium() is not None and importlib.util.find_spec("playwright") is not None

    async def start(self) -> None:
        """Start it; returns when it takes pages.

        Raises:
            ProcessError: it did not come up.
        """
        await self._process.start()
        await self._process.wait_until_answers(f"{self.url}/readyz", limit_seconds=_READY_SECONDS)

    async def stop(self) -> None:
        """End it."""
        await self._process.stop()
