"""A crowd of orders on one budget, while the leader is killed and another one follows it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest_asyncio
from tests.e2e.disruption.conftest import Disruption, clean_namespace
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Session, World, session

from spawnai.api.names import API_VERSION

LIMIT = Decimal(5)
ORDERS = 60
USER = "dana"
RECORDS_PATH = f"/apis/{API_VERSION}/spawnrecords"
_LACKS = re.compile(r"no room for the (\d+\.\d+) USD")


class Sums:
    """What the ledgers of the user come to, at every version of them that there was."""

    def __init__(self) -> None:
        self._amounts: dict[str, Decimal] = {}
        self.most = Decimal(0)

    @property
    def now(self) -> Decimal:
        return sum(self._amounts.values(), Decimal(0))

    @property
    def begun(self) -> int:
        """How many sessions have a ledger, and so a reservation, or had one."""
        return len(self._amounts)

    async def follow(self, world: World) -> None:
        async for event in world.kubectl.watch(RECORDS_PATH):
            record = event["object"]
            if record["spec"]["owner"].get("user") != USER:
                continue
            status = record.get("status", {})
            counts = status.get("totalCost") if status.get("completedAt") else None
            reserved = status.get("reserved") or record["spec"]["reserved"]
            self._amounts[record["metadata"]["name"]] = Decimal(counts or reserved)
            self.most = max(self.most, self.now)


@asynccontextmanager
async def sums_of(world: World) -> AsyncIterator[Sums]:
    sums = Sums()
    following = asyncio.create_task(sums.follow(world))
    try:
        yield sums
        assert not following.done(), "the watch was cut: not every version was seen"
    finally:
        following.cancel()
        await asyncio.wait([following])


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(disruption: Disruption, replicas) -> AsyncIterator[str]:
    async with clean_namespace(disruption, "budgets", replicas("cleaner")) as name:
        yield name


def lacking(one: Session) -> Decimal | None:
    """What it may cost at most, where it waits because the budget has no room for it."""
    admitted = one.condition("Admitted")
    if one.phase != "Requested" or admitted.get("reason") != "WaitingForBudget":
        return None
    found = _LACKS.search(admitted["message"])
    return Decimal(found[1]) if found else None


async def test_sixty_orders_for_five_dollars_cost_no_cent_more_and_leave_no_room_unused(
    disruption, world: World, replicas, namespace
):
    first = await (await replicas("first").start()).until_leads()
    await disruption.until_classes_are_ready()
    second = await (await replicas("second").start()).until_waits()
    await world.apply(
        None,
        {
            "apiVersion": API_VERSION,
            "kind": "SpawnBudget",
            "metadata": {"name": "crowd"},
            "spec": {"limit": str(LIMIT), "period": "Month", "selector": {"users": [USER]}},
        },
    )
    await world.apply_class("crowded", limits={"perUser": {"active": 90, "newIn15Minutes": 90}})
    await world.until_class("crowded", "Usable", 40)
    async with sums_of(world) as sums:
        orders = await world.apply(
            namespace,
            *(
                session(f"order-{number:02}", user=USER, class_name="crowded")
                for number in range(ORDERS)
            ),
        )

        def is_used_up() -> bool:
            prices = [amount for one in orders if (amount := lacking(one)) is not None]
            begun = [one for one in orders if one.phase in ("Running", "Destroyed")]
            room = LIMIT - sums.now
            return len(begun) + len(prices) == ORDERS and all(room < price for price in prices)

        await eventually("some have begun", lambda: sums.begun, lambda count: count >= 2, 60)
        for one in orders:
            one.lost_orders = True
        await first.process.kill()
        await second.until_leads()
        await eventually("all of it is used", is_used_up, seconds=120)

        first_begun = [one for one in orders if one.phase == "Running"]
        assert 2 < len(first_begun) < ORDERS
        for one in first_begun:
            await one.annotate(expires_at="now")
        await asyncio.gather(*(one.until_destroyed() for one in first_begun))
        await eventually("all that came back is used", is_used_up, seconds=120)
        assert sums.begun > len(first_begun)
    assert LIMIT / 2 < sums.most <= LIMIT
    await world.kubectl.run("delete", "spawnbudget", "crowd")
