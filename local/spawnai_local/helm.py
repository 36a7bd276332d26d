"""Helm against one cluster, run as a person would run it."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from spawnai_local.kubectl import Kubectl
from spawnai_local.paths import checkout

CHART = checkout() / "helm" / "spawnai"
RELEASE = "spawnai"
SECONDS_PER_COMMAND = 300.0


class HelmError(Exception):
    """Helm refused, failed, or took too long; the message shows the command and its answer."""


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm with the kubeconfig of a `Kubectl`. What it remembers is kept in `home`."""

    program: Path
    kubectl: Kubectl
    home: Path

    async def run(self, *arguments: str, limit_seconds: float = SECONDS_PER_COMMAND) -> str:
        """Run it and return what it printed.

        Raises:
            HelmError: it ended with an error, or the time was over.
        """
        shown = " ".join(("helm", *arguments))
        process = await asyncio.create_subprocess_exec(
            *(str(self.program), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "KUBECONFIG": str(self.kubectl.kubeconfig),
                "HELM_CACHE_HOME": str(self.home / "cache"),
                "HELM_CONFIG_HOME": str(self.home / "config"),
                "HELM_DATA_HOME": str(self.home / "data"),
            },
        )
        try:
            async with asyncio.timeout(limit_seconds):
                output, errors = await process.communicate()
        except TimeoutError:
            raise HelmError(f"`{shown}` gave no answer within {limit_seconds:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise HelmError(f"`{shown}` failed: {errors.decode(errors='replace').strip()}")
        return output.decode(errors="replace")

    async def install(self, namespace: str, *arguments: str, chart: Path = CHART) -> str:
        """Install the chart or upgrade it, without a pod: the operator runs as a process here.

        Raises:
            HelmError: as `run`.
        """
        return await self.run(
            *("upgrade", "--install", RELEASE, str(chart)),
            *("--namespace", namespace, "--create-namespace"),
            *("--set", "operator.replicaCount=0"),
            *arguments,
        )
