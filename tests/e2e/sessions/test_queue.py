"""The limits of a class, on the real API server: who waits, what is told, and who is next."""

from tests.e2e.sessions.kstatus import kstatus
from tests.e2e.sessions.world import Session, World, session


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
