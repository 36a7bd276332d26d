"""The inspector of a local stack: a process of its own, with a Chromium that this machine has, or
that is fetched for it.
"""

import importlib.util
import sys
from pathlib import Path

from spawnai_local import toolchain
from spawnai_local.building import BuildReport, ToolchainError
from spawnai_local.cloud_settings import CloudReport
from spawnai_local.processes import ChildProcess, ProcessError, RestartPolicy, free_port


class NotInspected(Exception):
    """Pages are not inspected here; the message says why, in a line."""


_READY_SECONDS = 60.0
_STOP_SECONDS = 5.0


class LocalInspector:
    """The inspector as a child process; it comes back when it dies.

    Attributes:
        url: where it is asked.
    """

    def __init__(self, directory: Path, cloud: CloudReport, chromium: Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        # Nothing of this machine's environment but the path: it needs no key.
        environment = {
            "SPAWNAI_INSPECTOR_ADDRESS": address,
            "SPAWNAI_INSPECTOR_BROWSERS": "1",
            "SPAWNAI_INSPECTOR_CHROMIUM": str(chromium),
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
    def find_browser(report: BuildReport) -> Path:
        """The browser that opens pages here. Blocks for minutes at most, where it is fetched.

        Raises:
            NotInspected: there is none, or not the library that drives it.
        """
        if importlib.util.find_spec("playwright") is None:
            raise NotInspected("pages are not inspected: run `make setup`, which brings playwright")
        try:
            return toolchain.chromium(report)
        except ToolchainError as error:
            raise NotInspected(
                "pages are not inspected: there is no Chromium here (install the package "
                f"chromium), and none can be fetched: {error}"
            ) from error

    async def start(self) -> None:
        """Start it; returns when it takes pages.

        Raises:
            NotInspected: its browser does not start.
        """
        try:
            await self._process.start()
            await self._process.wait_until_answers(
                f"{self.url}/readyz", limit_seconds=_READY_SECONDS
            )
        except ProcessError as error:
            await self._process.stop()
            first_line = str(error).partition("\n")[0]
            raise NotInspected(f"pages are not inspected: {first_line}") from error

    async def stop(self) -> None:
        """End it."""
        await self._process.stop()
