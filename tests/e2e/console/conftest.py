"""What the tests of the console share: a real API server, the console as a process, two people.

No operator runs here: what it would write into a status, a test writes.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.unit.export.ledgers import record_document

from spawnai.api.names import API_VERSION
from spawnai.database.address import database_url
from spawnai.database.tables import ORDER
from spawnai.export.charges import Ledger
from spawnai.export.database import Database
from spawnai.export.rows import rows_of
from spawnai_local.console import LocalConsole
from spawnai_local.control_plane import ControlPlane
from spawnai_local.installation import install, read_manifests
from spawnai_local.kubectl import Kubectl
from spawnai_local.paths import checkout

TEAM = "console-team"


@dataclass
class World:
    """A console, its API server and history, and the tokens of people with different rights."""

    console: LocalConsole
    kubectl: Kubectl
    history: Database
    editor: str
    viewer: str
    stranger: str
    auditor: str
    """Sees every namespace."""

    def client(self, token: str | None) -> httpx.AsyncClient:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(
            base_url=self.console.url, headers=headers, timeout=20, trust_env=False
        )

    async def order(self, name: str, **order: Any) -> dict[str, Any]:
        async with self.client(self.editor) as client:
            body = {"prompt": "A clock", "appType": "webapp", "namespace": TEAM, "name": name}
            answer = await client.post("api/sessions", json=body | order)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def set_status(self, name: str, **status: Any) -> None:
        """What the operator would write."""
        await self.kubectl.run(
            *("patch", "spawnsession", name, "--namespace", TEAM, "--subresource=status"),
            *("--type=merge", "--patch", json.dumps({"status": status})),
        )

    async def export(self, name: str, user: str, namespace: str = TEAM, **status: Any) -> None:
        """What `spawnai export sql` would write of a session that has ended."""
        document = record_document(f"uid-of-{name}", **status)
        document["spec"]["owner"] |= {"namespace": namespace, "name": name, "user": user}
        ledger = Ledger.of(document)
        await self.history.write(rows_of(None, ledger, ledger.created_at))

    async def clean(self) -> None:
        """Forget every session, and every one that ended."""
        await self.delete()
        async with self.history._engine.begin() as connection:
            for table in reversed(ORDER):
                await connection.execute(table.delete())

    async def delete(self, *names: str) -> None:
        await self.kubectl.run(
            *("delete", "spawnsessions", "--namespace", TEAM, "--ignore-not-found"),
            *(names or ("--all",)),
        )


GROUP = "rbac.authorization.k8s.io"


def account(name: str, *roles: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": TEAM},
        },
        *(
            {
                "apiVersion": f"{GROUP}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"{name}-{role}", "namespace": TEAM},
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": TEAM}],
            }
            for role in roles
        ),
    ]


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def world(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    kubectl = control_plane.kubectl
    manifests = read_manifests(checkout())
    await install(kubectl, manifests, None, digitalocean_token="none", anthropic_api_key="none")
    await kubectl.apply(
        {"apiVersion": API_VERSION, "kind": "SpawnClass", "metadata": {"name": "local"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}},
        *account("editor", "spawnai-session-editor", "spawnai-session-viewer"),
        *account("viewer", "spawnai-session-viewer"),
        *account("stranger"),
        *account("auditor"),
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "console-auditor"},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "spawnai-session-viewer"},
            "subjects": [{"kind": "ServiceAccount", "name": "auditor", "namespace": TEAM}],
        },
    )

    async def token(name: str) -> str:
        return (await kubectl.run("create", "token", name, "--namespace", TEAM)).strip()

    directory: Path = tmp_path_factory.mktemp("console")
    address = f"sqlite:///{directory}/history.db"
    history = Database(database_url(address))
    await history.migrate()
    console = await LocalConsole.start(
        directory, kubectl, operator_namespace=manifests.namespace, database_url=address
    )
    people = [await token(name) for name in ("editor", "viewer", "stranger", "auditor")]
    try:
        yield World(console, kubectl, history, *people)
    finally:
        await console.process.stop()
        await history.close()


@pytest_asyncio.fixture(loop_scope="session")
async def clean(world: World) -> AsyncIterator[World]:
    """A namespace without sessions and history, before and after."""
    await world.clean()
    yield world
    await world.clean()


READY = {
    "phase": "Running",
    "progress": 100,
    "message": "Running",
    "url": "https://clock-7f3a.apps.example.com",
    "startedAt": "2026-11-29T12:00:00Z",
    "region": "nyc3",
    "size": "s-1vcpu-1gb",
    "cost": {"estimated": "0.11", "hourly": "0.00893"},
}


@pytest.fixture
def ready() -> dict[str, Any]:
    return READY
