"""What the tests of sessions share: one stack, driven with kubectl, and its sessions as seen.

The stack is real: a control plane, the emulated DigitalOcean with droplets that boot, the Claude
simulator, and the operator under its own rights. Each module starts all its sessions at once, in a
namespace of its own; its tests then wait for what each of them has to show.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from tests.e2e.sessions.canaries import place_canaries, touched_canaries
from tests.e2e.sessions.misbehaving import misbehaving_apps
from tests.e2e.sessions.world import Session, World

from spawnai.api.spawnclass import LifetimeSpec
from spawnai_local.cloud_settings import CloudSettings
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import StackSettings

LIFETIME = LifetimeSpec(
    max="10m", provisioning_deadline="3m", notice="4s", warning="5s", dead_man_grace="1m"
)
"""Everything a test waits for comes soon; what it does not wait for comes never."""

CLOUD = CloudSettings(
    boot_seconds=(1.5, 2.0),
    # Most of these tests are about something else than firewalls.
    delays={"firewall": 0.5, "tags": 0.3},
    tokens_per_second=2500.0,
    first_token_seconds=0.3,
    droplet_limit=100,
)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The stack for all modules; foreign things in its account must be untouched at the end."""
    directory: Path = tmp_path_factory.mktemp("sessions") / "stack"
    settings = StackSettings(directory, local_cloud=CLOUD, lifetime=LIFETIME)
    async with LocalStack(settings) as stack, World.of(stack) as world:
        await place_canaries(world.cloud)
        yield world
        assert await touched_canaries(world.cloud) == []
    assert stack.forgotten_processes == 0


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def misbehaving(world: World) -> Mapping[str, Session]:
    """Sessions whose apps misbehave. One of them takes a minute: see who begins them early."""
    name = "misbehaving"
    await world.kubectl.run("create", "namespace", name)
    sessions = await world.apply(name, *misbehaving_apps())
    return {one.name: one for one in sessions}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def namespace(world: World, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The module's own namespace. When the module ends, nothing that it made is left."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    await world.kubectl.run("create", "namespace", name)
    yield name
    await world.control_cloud_normal()
    await asyncio.gather(*(world.delete_sessions(one) for one in (name, f"{name}-too")))
    await world.until_only_living_sessions_have_anything()
