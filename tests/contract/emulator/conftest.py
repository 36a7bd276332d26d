"""An emulator for each test, on a clock that the test moves, with every answer held against
DigitalOcean's own description."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.contract.emulator.support import Account
from tests.contract.openapi import violations

from spawnai_local.digitalocean import Delay, Delays, Emulator, ManualClock, Settings
from spawnai_local.digitalocean.client import ControlClient


@pytest.fixture
def settings() -> Settings:
    """Tests that need other settings define this fixture for themselves.

    Tags show at once here: most tests are about something else.
    """
    return Settings(delays=Delays(tags=Delay(0.0, 0.0)))


@pytest.fixture
def machines():
    """No machines: droplets are shells, unless a test says otherwise."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def emulator(settings, machines, clock) -> AsyncIterator[Emulator]:
    emulator = Emulator(clock, machines, settings)
    wrong: list[str] = []

    def hold(endpoint, request, answer):
        if request.path.startswith("/v2/") and endpoint.startswith(request.method):
            wrong.extend(violations(endpoint, answer.status, answer.body, strict=True))

    emulator.api.observers.append(hold)
    await emulator.start()
    yield emulator
    await emulator.stop()
    assert wrong == []


@pytest.fixture
async def account(emulator, clock) -> AsyncIterator[Account]:
    async with aiohttp.ClientSession() as session:
        yield Account(emulator, clock, session)


@pytest.fixture
async def control(emulator) -> AsyncIterator[ControlClient]:
    async with ControlClient(emulator.url) as client:
        yield client
