"""Dead tags go in the background; whatever else is tagged in the account keeps its tags."""

from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace

import pytest

from spawnai.clock import SystemClock
from spawnai.controller.tag_cleanup import TagCleanup
from spawnai.digitalocean import errors
from spawnai.digitalocean.budget import Priority

UID = "0a1b2c3d-0000-4000-8000-000000000001"
LONG_AGO = datetime.now(UTC) - timedelta(days=2)
DEAD = (
    f"session:{UID}",
    f"ttl:{int(LONG_AGO.timestamp())}",
    f"wave:{LONG_AGO:%Y%m%d%H%M}",
)
ALIVE = ("spawn-ai", "class:1", "session:another", f"ttl:{int(datetime.now(UTC).timestamp())}")


@pytest.fixture
def account(adapter):
    return SimpleNamespace(client=adapter.api, budget=adapter.api.budget)


@pytest.fixture
def cleanup(account):
    record = SimpleNamespace(
        spec=SimpleNamespace(owner=SimpleNamespace(uid=UID)),
        status=SimpleNamespace(completed_at=LONG_AGO),
    )
    store = SimpleNamespace(records=lambda: iter([record]))
    return TagCleanup(lambda: [account], store, SystemClock(), Random(1))


async def test_dead_tags_go_and_all_others_stay(cleanup, account, control):
    await control.seed(
        tags=[*DEAD, "production"], droplets=[{"name": "db", "tags": ["production", *ALIVE]}]
    )
    await control.seed(tags=list(ALIVE), canary=False)
    assert await cleanup.clean(account) == len(DEAD)
    assert set((await control.state())["tags"]) == {"production", *ALIVE}
    assert await cleanup.clean(account) == 0


async def test_a_dead_tag_that_something_carries_stays(cleanup, account, control):
    await control.seed(droplets=[{"name": "db", "tags": list(DEAD)}])
    assert await cleanup.clean(account) == 0
    assert (await control.canaries())["intact"]


async def test_without_plenty_of_calls_dead_tags_wait(cleanup, adapter, account, control):
    await control.seed(tags=list(DEAD), canary=False)
    await control.set_limits(requests_per_minute=5_000)
    await control.spend_requests("local-token", 2_600)
    await adapter.catalog.account(priority=Priority.NEW)
    assert await cleanup.clean(account) == 0
    assert len((await control.state())["tags"]) == len(DEAD)


async def test_a_token_that_may_not_delete_tags_leaves_them(cleanup, account, control):
    await control.seed(tags=list(DEAD), canary=False)
    await control.set_token("local-token", ["tag:read", "droplet:read"])
    with pytest.raises(errors.Forbidden, match="tag:delete"):
        await cleanup.clean(account)
