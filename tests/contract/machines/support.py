"""Machines as the tests see them: booted with the very user_data the operator would send."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from spawnai.droplet.client import AgentClient, AgentStatus, AgentUnreachable
from spawnai.droplet.cloud_config import (
    AGENT_PORT,
    DropletBootstrap,
    render_user_data,
)
from spawnai.droplet.credentials import (
    SessionCredentials,
    derive_credentials,
    derive_gateway_certificate,
)
from spawnai.droplet.packing import read_agent_source
from spawnai_local.machines import MachineHost

MEMORY_BYTES = 1024**3
# Generous: the tests wait for what must happen, and many may run on this machine at once.
PATIENCE_SECONDS = 60.0

MASTER_KEY = os.urandom(32)
UID = "11111111-2222-3333-4444-555555555555"
HOST_LABEL = "retro-board-11111111"

STATIC_PAGE = {"index.html": "<h1>It lives</h1>"}
ANSWERING_SERVER = """
const http = require('http');
http.createServer((request, response) => response.end('pong')).listen(process.env.PORT);
console.log('listening');
"""


def bundle(app_type: str, files: dict[str, str], **changes: Any) -> dict[str, Any]:
    """The document of PUT /v1/bundle; the first file is the entry point."""
    return {
        "digest": f"digest-of-{app_type}",
        "appType": app_type,
        "entrypoint": next(iter(files)),
        "files": [{"path": path, "content": content} for path, content in files.items()],
        "dependencies": {},
        **changes,
    }


def said_by_the_app(status: AgentStatus) -> tuple[str, ...]:
    """The log without the agent's word that the machine still installs its packages."""
    return tuple(line for line in status.log if not line.startswith("waiting until"))


def new_credentials() -> SessionCredentials:
    return derive_credentials(os.urandom(32), UID, now())


def bootstrap(
    app_type: str | None,
    credentials: SessionCredentials,
    *,
    uid: str = UID,
    expires_in: float = 3600.0,
    grace_seconds: int = 600,
    **more: Any,
) -> DropletBootstrap:
    """What a droplet is told; without an app type it is a spare, which no gateway knows."""
    gateway = derive_gateway_certificate(MASTER_KEY, uid, now(), HOST_LABEL) if app_type else None
    return DropletBootstrap(
        session_uid=uid,
        app_type=app_type,
        credentials=credentials,
        agent_source=read_agent_source(),
        expires_at=now() + timedelta(seconds=expires_in),
        grace_seconds=grace_seconds,
        gateway=gateway,
        **more,
    )


def now() -> datetime:
    return datetime.now(UTC)


async def eventually(is_so: Callable[[], Awaitable[Any]], seconds: float = PATIENCE_SECONDS) -> Any:
    """What `is_so` returns once it is neither None nor False."""
    deadline = time.monotonic() + seconds
    while True:
        found = await is_so()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        await asyncio.sleep(0.02)


class TestMachine:
    """One booted machine, with the operator's client for it and a browser."""

    __test__ = False

    def __init__(self, host: MachineHost, droplet_id: int, app_type: str | None) -> None:
        self.host = host
        self.id = droplet_id
        self.app_type = app_type
        self.address = host.allocate_address()
        self.credentials = new_credentials()
        self.agent = AgentClient(self.address, AGENT_PORT, self.credentials)
        self.browser = httpx.AsyncClient(
            base_url=f"http://{self.address}:{host.http_port}", trust_env=False
        )

    def user_data(self, **more: Any) -> str:
        return render_user_data(bootstrap(self.app_type, self.credentials, **more))

    async def boot(self, user_data: str | None = None) -> None:
        await self.host.boot(self.id, self.address, user_data or self.user_data(), MEMORY_BYTES)

    async def until_it_answers(self) -> AgentStatus:
        async def answers() -> AgentStatus | None:
            try:
                return await self.agent.status()
            except AgentUnreachable:
                return None

        return await eventually(answers)

    async def be_a_spare(self) -> None:
        """Boot as one, until its runtime is installed and its agent and Caddy run."""
        await self.boot(self.user_data(uid="the ledger of a spare"))

        async def is_ready() -> bool:
            return (await self.until_it_answers()).runtime == "ok"

        await eventually(is_ready)

    async def until(self, *states: str) -> AgentStatus:
        """Wait for one of these states; fail early, with the log, in a final one."""

        async def reached() -> AgentStatus | None:
            try:
                status = await self.agent.status()
            except AgentUnreachable:
                return None
            assert status.state in states or status.state != "failed", status
            return status if status.state in states else None

        return await eventually(reached)

    async def run(self, document: dict[str, Any], *states: str) -> AgentStatus:
        """Boot, push the app, and wait for its state."""
        await self.boot()
        await self.until_it_answers()
        await self.agent.push(document)
        return await self.until(*(states or ("running", "finished")))

    async def until_caddy_answers(self) -> httpx.Response:
        async def answer() -> httpx.Response | None:
            try:
                return await self.browser.get("/")
            except httpx.TransportError:
                return None

        return await eventually(answer)

    async def until_off(self) -> None:
        async def is_off() -> bool:
            return not self.host.is_on(self.id)

        await eventually(is_off)
        assert self.processes() == {}

    @property
    def app(self) -> Path:
        """The folder of the revision that was taken last."""
        revisions = self.folder / "revisions"
        return revisions / max((one.name for one in revisions.iterdir()), key=int) / "app"

    @property
    def folder(self) -> Path:
        """The agent's own folder on the machine."""
        return self.host.root_of(self.id) / "opt" / "spawnai"

    def processes(self, text: str = "") -> dict[int, str]:
        """Every process of this machine whose command line contains `text`."""
        return processes_below(self.host.root_of(self.id), text)

    def agents(self) -> list[int]:
        """The agent's process. Its switch and its installer are commands of the same archive."""
        found = self.processes("agent.pyz").items()
        return [pid for pid, command in found if command.rstrip().endswith("agent.pyz")]

    def switch(self) -> dict[str, Any]:
        """What the dead man's switch has promised, as it stands on disk."""
        return json.loads((self.folder / "switch.json").read_text())

    async def close(self) -> None:
        await self.agent.close()
        await self.browser.aclose()
        await self.host.destroy(self.id)


def processes_below(root: Path, text: str = "") -> dict[int, str]:
    """Living processes that were started from, or work below, a machine's root."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry / "environ").read_bytes()
            directory = (entry / "cwd").readlink()
        except OSError:
            continue
        mark = f"{root}/".encode()
        belongs = f"{root}/" in command or mark in environment or f"{root}/" in f"{directory}/"
        if state not in {"Z", "X"} and belongs and text in command:
            found[int(entry.name)] = command
    return found
