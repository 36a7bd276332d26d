"""The limits of a class, on the real API server: who waits, what is told, and who is next."""

import asyncio
from decimal import Decimal
from typing import Any

from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.kstatus import kstatus
from tests.e2e.sessions.world import Manifest, Session, World, session

from spawnai.api.names import API_VERSION


async def until_queued(one: Session) -> str:
    """Wait until it is told its place; the sentence."""
    await one.until("is queued", lambda seen: seen.condition("Admitted").get("message"), 30)
    condition = one.condition("Admitted")
    assert (condition["status"], condition["reason"]) == ("False", "Queued")
    return str(condition["message"])


async def test_who_is_over_a_limit_waits_and_begins_when_there_is_room(world: World, namespace):
    await world.apply_class("limited", limits={"perUser": {"active": 1}})
    (first,) = await world.apply(namespace, session("first", class_name="limited"))
    await first.until_running()
    second, third = await world.apply(
        namespace,
        session("second", class_name="limited"),
        session("third", class_name="limited"),
    )
    assert "has 1 of 1 running" in await until_queued(second)
    await until_queued(third)
    assert kstatus(second.document) == "InProgress"
    assert await second.droplets() == []
    assert "finalizers" not in second.document["metadata"]
    assert (await second.until_event("Queued"))["type"] == "Normal"

    await third.delete()
    await third.until_gone()
    await first.annotate(expires_at="now")
    await second.until_running()
    assert second.condition("Admitted")["status"] == "True"
    assert len(await second.droplets()) == 1


async def test_another_users_limit_is_no_reason_to_wait(world: World, namespace):
    await world.apply_class("limited-too", limits={"perUser": {"newIn15Minutes": 1}})
    (one,) = await world.apply(namespace, session("one", class_name="limited-too"))
    await one.until_running()
    held, other = await world.apply(
        namespace,
        session("held", class_name="limited-too"),
        session("other", class_name="limited-too", user="kim"),
    )
    await other.until_running()
    assert "has ordered 1 in 15 minutes, 1 are allowed" in await until_queued(held)


async def budget_of(world: World, name: str) -> dict[str, Any]:
    return dict((await world.kubectl.json("get", "spawnbudget", name)).get("status", {}))


async def test_a_budget_holds_back_what_it_cannot_pay_and_counts_what_it_paid(
    world: World, namespace
):
    def budget(limit: str) -> Manifest:
        return {
            "apiVersion": API_VERSION,
            "kind": "SpawnBudget",
            "metadata": {"name": "team"},
            "spec": {"limit": limit, "period": "Day", "selector": {"users": ["dana"]}},
        }

    async def settled() -> dict[str, Any]:
        return await budget_of(world, "team")

    await world.apply(None, budget("100"))
    (paid,) = await world.apply(namespace, session("paid-for", user="dana"))
    await paid.until_running()
    await eventually(
        "the budget counts it",
        settled,
        lambda seen: seen.get("sessions") == 1 and Decimal(seen["reserved"]) > 0,
    )
    await world.apply(None, budget("0.02"))
    await eventually("the budget is lower", settled, lambda seen: Decimal(seen["left"]) <= 0)
    (held,) = await world.apply(namespace, session("unpaid", user="dana"))
    await held.until("waits", lambda seen: seen.condition("Admitted").get("status") == "False", 60)
    assert held.condition("Admitted")["reason"] == "WaitingForBudget"
    assert "team" in held.condition("Admitted")["message"]
    assert kstatus(held.document) == "InProgress"
    assert await held.droplets() == []
    assert paid.phase == "Running", "a lowered budget ends nothing"

    await world.apply(None, budget("100"))
    await held.until_running()
    for one in (paid, held):
        await one.annotate(expires_at="now")
    await asyncio.gather(paid.until_destroyed(), held.until_destroyed())
    costs = [Decimal(one.status["cost"]["actual"]) for one in (paid, held)]
    ended = await eventually(
        "all is counted", settled, lambda seen: Decimal(seen["spent"]) == sum(costs)
    )
    assert Decimal(ended["reserved"]) == 0
    assert Decimal(ended["left"]) == 100 - sum(costs)
    await world.kubectl.run("delete", "spawnbudget", "team")
