"""What Git holds and Flux applies, on a stack of its own.

The manifests that tell Flux what to do are those of docs/install.md, as they stand; only the
repository's address is another one.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from tests.e2e.sessions.conftest import CLOUD, LIFETIME
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Manifest, Session, World
from tests.gitops.flux import Flux, running
from tests.gitops.git_server import GitRepository, served

from spawnai_local.paths import checkout
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import StackSettings

TEAM = "shop"
SOURCE = ("gitrepository", "flux-system", "fleet")
CLASSES = "clusters/production/spawnai-classes"
SESSIONS = "teams/shop/sessions"
README = f"{SESSIONS}/README.md"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A world whose classes and sessions are in Git."""

    world: World
    flux: Flux
    git: GitRepository

    def session(self, name: str) -> Session:
        """A session of the team."""
        return self.world.session(TEAM, name)

    async def push(self, message: str, **sessions: Manifest | None) -> str:
        """Commit the manifests of sessions, None for one that is removed, and have Flux fetch them;
        returns the revision.
        """
        return await self.push_files(
            message,
            {
                f"{SESSIONS}/{name}.yaml": None if manifest is None else yaml.safe_dump(manifest)
                for name, manifest in sessions.items()
            },
        )

    async def push_files(self, message: str, files: dict[str, str | None]) -> str:
        """Commit files, and have Flux fetch them; returns the revision."""
        revision = self.git.commit(message, files)
        await self.flux.request(*SOURCE)
        await eventually(
            f"Flux has {revision}",
            lambda: self.flux.get(*SOURCE),
            lambda seen: seen["status"].get("artifact", {}).get("revision") == revision,
        )
        return revision

    async def until_applied(self, revision: str, seconds: float = 90.0) -> Manifest:
        """Wait until the team's Kustomization is Ready at that revision."""
        return await self.flux.until_applied(TEAM, "sessions", revision, seconds)

    async def sync(self) -> Manifest:
        """Have Flux look at the team's sessions again, as it does at each interval."""
        return await self.flux.reconcile("kustomization", TEAM, "sessions")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory = tmp_path_factory.mktemp("gitops")
    lifetime = LIFETIME.model_copy(update={"max": "2h"})
    settings = StackSettings(directory / "stack", local_cloud=CLOUD, lifetime=lifetime)
    async with (
        LocalStack(settings) as stack,
        World.of(stack) as world,
        running(directory / "flux", stack.kubectl) as flux,
    ):
        with served(directory / "fleet") as git:
            offered = yaml.safe_dump(offer(stack))
            git.commit("The offer", {f"{CLASSES}/standard.yaml": offered, README: "# Sessions\n"})
            await stack.kubectl.run("create", "namespace", TEAM)
            await stack.kubectl.apply(*told_to_flux(git.url))
            yield Fleet(world, flux, git)
    assert stack.forgotten_processes == 0


def offer(stack: LocalStack, name: str = "standard", **lifetime: str) -> Manifest:
    """A class as Git holds it, for droplets of this machine."""
    document = stack.class_documents()[0]
    spec = {**document["spec"], "lifetime": {**document["spec"]["lifetime"], **lifetime}}
    return {**document, "metadata": {"name": name}, "spec": spec}


def told_to_flux(url: str) -> list[dict[str, Any]]:
    """The manifests of docs/install.md by which Flux knows classes and sessions."""
    guide = (checkout() / "docs" / "install.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    [block] = [block for block in blocks if "spawnai-classes" in block]
    documents = list(yaml.safe_load_all(block))
    for document in documents:
        if document["kind"] == "GitRepository":
            document["spec"]["url"] = url
    return documents
