"""Operators as processes of their own, between them and the API server the proxy."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.sessions.eventually import eventually

from spawnai_local.processes import ChildProcess, RestartPolicy, free_port
from spawnai_local.stack import OPERATOR_COMMAND, LocalStack

LEADS_SECONDS = 60.0
_IS_LEADER = re.compile(r"^spawnai_leader 1\.0$", re.MULTILINE)


class Operator:
    """One replica of the Deployment: it comes back when it dies, as under a kubelet."""

    def __init__(self, stack: LocalStack, kubeconfig: Path, name: str, **environment: str) -> None:
        self.name = name
        self._address = f"127.0.0.1:{free_port()}"
        self._log_begins = 0
        self.process = ChildProcess(
            name,
            OPERATOR_COMMAND,
            stack.directory,
            environment={
                **stack.operator_environment(self._address),
                "KUBECONFIG": str(kubeconfig),
                "POD_NAME": name,
                "POD_UID": f"uid-of-{name}",
                **environment,
            },
            stop_seconds=20.0,
            restart=RestartPolicy(),
        )

    async def start(self) -> "Operator":
        """Start it; it may have to wait for the lease."""
        path = self.process.log_path
        # Another one of that name may have written into it before.
        self._log_begins = path.stat().st_size if path.exists() else 0
        await self.process.start()
        return self

    async def until_leads(self, seconds: float = LEADS_SECONDS) -> "Operator":
        """Wait until it holds the lease."""
        await eventually(f"{self.name} leads", self.leads, seconds=seconds, pause=0.1)
        return self

    async def until_waits(self) -> "Operator":
        """Wait until it stands in line for the lease that another one holds."""
        await eventually(
            f"{self.name} waits for the lease",
            lambda: any(" waits" in line.get("message", "") for line in self.log()),
            seconds=LEADS_SECONDS,
        )
        return self

    async def leads(self) -> bool:
        """Whether it says that it holds the lease."""
        return bool(_IS_LEADER.search(await self.metrics()))

    async def metrics(self) -> str:
        """What it says of itself; empty while it does not answer."""
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            try:
                return (await client.get(f"http://{self._address}/metrics")).text
            except httpx.TransportError:
                return ""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        pid = self.process.pid
        assert pid is not None, f"{self.name} does not run"
        os.kill(pid, number)

    async def end(self) -> float:
        """SIGTERM, as at the end of a Pod; returns how many seconds it took to end."""
        began = time.monotonic()
        await self.process.stop()
        return time.monotonic() - began

    def log(self) -> list[dict[str, Any]]:
        """Its log since it was started; a line that is no JSON stands under `text`."""
        lines = []
        written = self.process.log_path.read_bytes()[self._log_begins :].decode(errors="replace")
        for line in written.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"text": line})
        return lines

    def complaints(self) -> list[str]:
        """What it logged as an error, or as something other than a line of its log."""
        return [
            json.dumps(line)
            for line in self.log()
            if "text" in line or line.get("level", "").upper() in {"ERROR", "CRITICAL"}
        ]
