import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.contract.machines.support import TestMachine

from spawnai_local.address_block import claim_address_block
from spawnai_local.machines import MachineHost

IDS = itertools.count(1)

MakeMachine = Callable[..., TestMachine]

DEBIANS_CADDY = Path(os.environ.get("SPAWNAI_DEBIAN_CADDY", "/usr/bin/caddy"))

# An app that takes more than its share is noticed within seconds, and before the host feels it.
TIGHT = {
    "MEMORY_BYTES": str(200 * 1024 * 1024),
    "DISK_BYTES": str(20 * 1024 * 1024),
    "PROCESSES": "24",
    "ANSWER_SECONDS": "4",
    "SCRIPT_SECONDS": "3",
    "RESTARTS": "2",
    "RESTART_DELAY_SECONDS": "0.05",
    "STEADY_SECONDS": "1",
    "DRAIN_SECONDS": "1",
    "HEALTH_INTERVAL_SECONDS": "0.3",
    "HEALTH_TIMEOUT_SECONDS": "0.5",
    "SAMPLE_SECONDS": "0.1",
}


@pytest.fixture(scope="session")
def network():
    with claim_address_block() as block:
        yield block.network


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def host(tmp_path_factory, network) -> AsyncIterator[MachineHost]:
    async with MachineHost(
        tmp_path_factory.mktemp("machines in a path with spaces"), network
    ) as machine_host:
        yield machine_host


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tight_host(tmp_path_factory) -> AsyncIterator[MachineHost]:
    directory = tmp_path_factory.mktemp("tight machines")
    with claim_address_block() as block:  # two hosts would give out the same addresses
        async with MachineHost(directory, block.network, machine_environment=TIGHT) as made:
            yield made


@pytest_asyncio.fixture(loop_scope="session")
async def plain_machine(tmp_path_factory) -> AsyncIterator[TestMachine]:
    """One in a path without spaces, for user data of others, whose shell quotes no path."""
    with claim_address_block() as block:
        async with MachineHost(tmp_path_factory.mktemp("plain"), block.network) as made:
            each = TestMachine(made, next(IDS), "webapp")
            yield each
            await each.close()


@asynccontextmanager
async def machines_on(host: MachineHost, usual_type: str) -> AsyncIterator[MakeMachine]:
    """Makes machines of a host; they are gone in the end."""
    made = []

    def make(app_type: str | None = usual_type) -> TestMachine:
        made.append(TestMachine(host, next(IDS), app_type))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest_asyncio.fixture(loop_scope="session")
async def machine(host) -> AsyncIterator[MakeMachine]:
    """Makes machines for one test; gone after it."""
    async with machines_on(host, "webapp") as make:
        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def tight_machine(tight_host) -> AsyncIterator[MakeMachine]:
    """Makes machines with tight limits for one test; gone after it."""
    async with machines_on(tight_host, "api") as make:
        yield make


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["own", "Debian's"])
async def caddys_host(request, tmp_path_factory) -> AsyncIterator[MachineHost]:
    """With the Caddy that droplets install, and with Debian's (2.6), on which they fall back."""
    if request.param == "Debian's" and not DEBIANS_CADDY.exists():
        pytest.skip(f"there is no {DEBIANS_CADDY}: `apt-get install caddy`")
    caddy = DEBIANS_CADDY if request.param == "Debian's" else None
    directory = tmp_path_factory.mktemp("with a space")
    with claim_address_block() as block:
        async with MachineHost(directory, block.network, caddy=caddy) as made:
            yield made


@pytest_asyncio.fixture(loop_scope="session")
async def caddys_machine(caddys_host) -> AsyncIterator[MakeMachine]:
    """Makes machines with either Caddy for one test; gone after it."""
    async with machines_on(caddys_host, "webapp") as make:
        yield make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def idle_spare(host):
    """One spare that waits for its session; for tests that leave it so."""
    waiting = TestMachine(host, next(IDS), None)
    await waiting.be_a_spare()
    yield waiting
    await waiting.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def idle_webapp(host):
    """One machine that waits for its app; for tests that leave it so."""
    waiting = TestMachine(host, next(IDS), "webapp")
    await waiting.boot()
    await waiting.until_it_answers()
    await waiting.until_caddy_answers()
    yield waiting
    await waiting.close()
