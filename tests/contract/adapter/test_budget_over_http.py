"""A thousand sessions expire in one minute, over real HTTP, on a clock that the test moves."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.digitalocean.droplets import Droplets
from spawnai_local.digitalocean import Emulator, Limits, ManualClock
from spawnai_local.digitalocean.client import ControlClient

SESSIONS = 1_000
STEP_SECONDS = 0.5


class OperatorClock:
    """The operator's clock, going by the emulator's."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def emulator(settings, clock):
    unlimited = Limits(droplets=2 * SESSIONS, rate_limited=False)
    emulator = Emulator(clock, settings=replace(settings, limits=unlimited))
    await emulator.start(dns_port=None)
    yield emulator
    await emulator.stop()


async def let_time_pass(clock: ManualClock, budget: RateBudget) -> None:
    """Time stands still while calls are under way, so this machine's speed plays no part."""
    while True:
        await asyncio.sleep(0.001)
        if budget._under_way == 0:
            clock.advance(STEP_SECONDS)


async def test_a_thousand_deletions_take_all_of_the_budget_and_creations_wait(
    emulator, clock, control: ControlClient
):
    order = {"region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}
    expiring = [{"name": f"spawn-{n}", **order} for n in range(SESSIONS)]
    await control.seed(canary=False, droplets=expiring)
    droplets = [one["id"] for one in (await control.state())["droplets"]]
    clock.advance(60)
    await control.set_limits(rate_limited=True)
    await control.reset_limits()
    await control.reset_calls()

    budget = RateBudget(OperatorClock(clock))
    api = ApiClient("local-token", emulator.url, budget)
    calls = Droplets(api)
    began = clock.now()
    passing = asyncio.create_task(let_time_pass(clock, budget))
    deletions = [
        asyncio.create_task(calls.delete(droplet, priority=Priority.DESTROY))
        for droplet in droplets
    ]
    newcomers = [asyncio.create_task(calls.get(n, priority=Priority.NEW)) for n in range(1, 21)]
    accepted = await asyncio.gather(*deletions)
    minutes = (clock.now() - began) / 60
    waited = budget.waiting(Priority.NEW)
    await asyncio.gather(*newcomers)
    passing.cancel()
    await api.close()

    assert accepted == [True] * SESSIONS
    counted = await control.calls()
    assert counted["rate_limited"] == 0
    deleted = Counter(
        call["path"] for call in await control.call_log() if call["endpoint"].startswith("DELETE ")
    )
    assert set(deleted.values()) == {1}, "none is sent twice"
    assert len(deleted) == SESSIONS, "none is lost"
    assert (await control.state())["droplets"] == []
    # 250 at once and 250 in each of three more minutes is the most that is allowed.
    assert minutes <= 3 / 0.95
    assert waited == 20, "creations wait while there are deletions"
