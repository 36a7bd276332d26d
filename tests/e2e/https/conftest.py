"""A stack of its own, with an ACME server: each app gets a certificate."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.e2e.sessions.conftest import CLOUD, LIFETIME
from tests.e2e.sessions.world import World

from spawnai_local import toolchain
from spawnai_local.building import ToolchainError
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import StackSettings


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    try:
        toolchain.pebble()
    except ToolchainError as error:
        pytest.skip(f"Pebble cannot be built here: {error}")
    directory: Path = tmp_path_factory.mktemp("https") / "stack"
    settings = StackSettings(directory, local_cloud=CLOUD, lifetime=LIFETIME, https=True)
    async with LocalStack(settings) as stack, World.of(stack) as world:
        yield world
    assert stack.forgotten_processes == 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def namespace(world: World, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    await world.kubectl.run("create", "namespace", name)
    yield name
    await world.delete_sessions(name)
    await world.until_only_living_sessions_have_anything()
