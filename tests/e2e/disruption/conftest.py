"""What the tests of disruptions share: one stack with shell droplets, and a proxy that breaks.

The operator, the API server and the emulated DigitalOcean are real; droplets are shells, since no
app matters here. Between the operator and the API server stands a proxy. Each module starts its
operators itself, in a namespace of its own, and leaves nothing behind.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tests.e2e.disruption.calls import CLOUD_AHEAD_SECONDS
from tests.e2e.disruption.operators import Operator
from tests.e2e.sessions.canaries import place_canaries, touched_canaries
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Session, World

from spawnai.api.spawnclass import LifetimeSpec
from spawnai_local.api_proxy import ApiProxy
from spawnai_local.bench import audit
from spawnai_local.classes import LOCAL_DNS_CLASS
from spawnai_local.cloud_settings import CloudSettings
from spawnai_local.machines.shell_host import ShellPace
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import StackSettings

LIFETIME = LifetimeSpec(
    max="3h", provisioning_deadline="3m", notice="1s", warning="2s", dead_man_grace="5m"
)
# DigitalOcean's clock is ahead of the operator's in all of these tests.
CLOUD = CloudSettings(
    agents=ShellPace(agent=0.0, install=0.1, start=0.1),
    boot_seconds=(0.3, 0.5),
    # These tests are about something else than firewalls.
    delays={"firewall": 0.3, "tags": 0.1},
    tokens_per_second=20_000.0,
    first_token_seconds=0.05,
    droplet_limit=200,
    clock_offset_seconds=CLOUD_AHEAD_SECONDS,
)
LEASE_SECONDS = 6
"""How long the lease of a replica lasts: short, so that the next one need not wait long."""
SERVICE_ACCOUNT = "spawnai-system:spawnai-operator"


@dataclass(frozen=True, slots=True)
class Disruption:
    """The stack's world, the proxy before its API server, and the log of what was written."""

    world: World
    proxy: ApiProxy
    audit_log: Path

    def operator(self, name: str, **environment: str) -> Operator:
        """An operator that reaches the API server through the proxy; not started yet."""
        return Operator(self.world.stack, self.proxy.kubeconfig, name, **environment)

    async def apply_classes(self) -> None:
        """Apply the stack's classes again, once their kind is served."""
        stack = self.world.stack
        await eventually(
            "the classes are taken",
            lambda: stack.kubectl.apply(*stack.class_documents()),
            lambda _: True,
            20,
            pause=0.5,
        )

    async def until_classes_are_ready(self) -> None:
        """Wait until sessions can be made."""
        for name in self.world.stack.classes:
            await self.world.until_class(name, "Usable", 40)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def disruption(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Disruption]:
    """The stack for all modules; foreign things in its account must be untouched at the end."""
    directory: Path = tmp_path_factory.mktemp("disruption")
    policy, log = directory / "audit-policy.json", directory / "audit.log"
    audit.write_policy(policy, SERVICE_ACCOUNT)
    settings = StackSettings(
        directory / "stack",
        local_cloud=CLOUD,
        lifetime=LIFETIME,
        default_class=LOCAL_DNS_CLASS,
        operator=False,
        api_server_flags=audit.api_server_flags(policy, log),
    )
    async with LocalStack(settings) as stack, World.of(stack) as world:
        await place_canaries(world.cloud)
        async with ApiProxy(stack.operator_kubeconfig, directory / "proxy") as proxy:
            yield Disruption(world, proxy, log)
        assert await touched_canaries(world.cloud) == []


@pytest.fixture
def world(disruption: Disruption) -> World:
    """What people do and see."""
    return disruption.world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def operator(disruption: Disruption) -> AsyncIterator[Operator]:
    """The module's one operator, leading, with usable classes."""
    disruption.proxy.clear()
    one = await disruption.operator("operator").start()
    await one.until_leads()
    await disruption.until_classes_are_ready()
    yield one
    await one.end()


@pytest_asyncio.fixture(loop_scope="session")
async def replicas(disruption: Disruption) -> AsyncIterator[Callable[[str], Operator]]:
    """Makes operators with a short lease, and ends them."""
    async with AsyncExitStack() as ends:

        def make(name: str) -> Operator:
            operator = disruption.operator(name, SPAWNAI_LEASE_SECONDS=str(LEASE_SECONDS))
            ends.push_async_callback(operator.process.kill)
            return operator

        yield make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def namespace(
    disruption: Disruption, operator: Operator, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """The module's own namespace. When the module ends, nothing that it made is left."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    async with clean_namespace(disruption, name):
        yield name


@asynccontextmanager
async def clean_namespace(
    disruption: Disruption, name: str, cleaner: Operator | None = None
) -> AsyncIterator[str]:
    """A namespace whose sessions are deleted at the end, by the operator or by one just for it."""
    world = disruption.world
    await world.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    disruption.proxy.clear()
    await disruption.proxy.come_back()
    await world.control_cloud_normal()
    if cleaner is not None:
        await cleaner.start()
    await world.delete_sessions(name)
    await eventually("nothing of ours is left", lambda: left(world), lambda seen: not seen, 40)
    for one in world.sessions_in(name):
        await assert_all_is_accounted_for(one)
    if cleaner is not None:
        await cleaner.end()


async def assert_all_is_accounted_for(one: Session) -> None:
    """What must be true of a session whatever was disrupted: of its receipts, costs and names."""
    await one.assert_nothing_is_left()
    await one.assert_ledger_is_what_was_billed()
    await one.assert_its_names_led_to_it_alone()


async def left(world: World) -> list[str]:
    """What the account holds of sessions: the firewalls of classes stay."""
    await asyncio.sleep(0.1)
    return [one for one in await world.ours() if not one.startswith("firewall")]
