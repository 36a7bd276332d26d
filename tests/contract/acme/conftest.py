"""A real ACME server (Pebble) that knows one domain through the emulator's DNS."""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from spawnai.acme.client import AcmeAccount
from spawnai.acme.order import Challenge, ChallengeType, KeptOrder, new_key
from spawnai.clock import SystemClock
from spawnai_local import toolchain
from spawnai_local.acme import AcmeServer
from spawnai_local.acme.rate_limits import AcmeLimits
from spawnai_local.address_block import claim_address_block
from spawnai_local.building import ToolchainError
from spawnai_local.digitalocean import NO_DELAYS, Emulator, Settings
from spawnai_local.processes import free_port

DOMAIN = "apps.spawn-ai.test"


class MemoryStore:
    """Keeps one order as an API server would: what `save` returned from is there."""

    def __init__(self) -> None:
        self.kept: KeptOrder | None = None

    async def load(self) -> KeptOrder | None:
        return self.kept

    async def save(self, order: KeptOrder) -> None:
        self.kept = order


class Files:
    """What answers http-01 at one address, as a droplet's web server does."""

    challenge_type = ChallengeType.HTTP_01
    outlives_process = True

    def __init__(self, address: str) -> None:
        self.address = address
        self.shown: dict[str, str] = {}
        self.published = 0
        self.answers = True
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> None:
        application = web.Application()
        application.router.add_get("/.well-known/acme-challenge/{token}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def publish(self, challenge: Challenge) -> None:
        self.published += 1
        if self.answers:
            self.shown[challenge.token] = challenge.proof

    async def withdraw(self, challenge: Challenge) -> None:
        self.shown.pop(challenge.token, None)

    async def _answer(self, request: web.Request) -> web.Response:
        with contextlib.suppress(KeyError):
            return web.Response(text=self.shown[request.match_info["token"]])
        raise web.HTTPNotFound


@pytest.fixture(scope="session")
def pebble() -> Path:
    try:
        return toolchain.pebble()
    except ToolchainError as error:
        pytest.skip(f"Pebble cannot be built here: {error}")


@pytest.fixture
def limits() -> AcmeLimits:
    return AcmeLimits()


@pytest.fixture
def clock_of_limits():
    """Seconds since 1970, for the server's limits; a test may add to it."""

    class Moved:
        by = 0.0

        def __call__(self) -> float:
            return time.time() + self.by

    return Moved()


@pytest.fixture
def limits_now(limits, clock_of_limits):
    return limits, clock_of_limits


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    emulator = Emulator(settings=Settings(delays=NO_DELAYS))
    emulator.cloud.domains.create({"name": DOMAIN})
    await emulator.start(dns_port=0)
    yield emulator
    await emulator.stop()


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    with claim_address_block() as block:
        files = Files(str(block.network.network_address + 2))
        yield files
        await files.stop()


@pytest.fixture
async def server(tmp_path, pebble, emulator, files, limits_now) -> AsyncIterator[AcmeServer]:
    limits, now = limits_now
    port = free_port(files.address)
    server = AcmeServer(
        tmp_path / "acme",
        pebble=pebble,
        address="127.0.0.1",
        dns=f"127.0.0.1:{emulator.dns.port}",
        http_port=port,
        https_port=free_port(files.address),
        limits=limits,
        now=now,
    )
    await files.start(port)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def account_key() -> bytes:
    return new_key()


@pytest.fixture
async def account(server, account_key) -> AsyncIterator[AcmeAccount]:
    account = AcmeAccount(
        server.directory_url, account_key, SystemClock(), ca_file=str(server.ca_path)
    )
    yield account
    await account.close()


@pytest.fixture
def name(emulator, files) -> str:
    """A name whose record leads to the files."""
    emulator.cloud.domains.create_record(
        DOMAIN, {"type": "A", "name": "retro-board-7f3a", "data": files.address, "ttl": 30}
    )
    return f"retro-board-7f3a.{DOMAIN}"
