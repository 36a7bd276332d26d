"""`kubectl delete` at any moment: whatever was made is gone, and nothing else comes of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Session, World, assert_nothing_was_made, session

from spawnai.api.names import FINALIZER
from spawnai_local.browser import fetch
from spawnai_local.classes import LOCAL_DNS_CLASS, LOCAL_DOMAIN

LONG_BOOT_SECONDS = 4.0  # long enough to delete a session while it is Provisioning
SLOW = "A page about ferns simulate:slow"
LONGEST_NAME = "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 61
PHASES = {
    "Provisioning": session("provisioning", SLOW),
    "Generating": session("generating", SLOW + " simulate:hang-mid-stream"),
    "Deploying": session("deploying", "An API about ferns", "api"),
    "Running": session("running"),
    "Destroying": session("destroying"),
    "Destroyed": session("destroyed"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def living(world: World, namespace: str) -> AsyncIterator[Mapping[str, Session]]:
    usual = (await world.cloud.set_delays())["boot"]
    await world.cloud.set_delays(boot=LONG_BOOT_SECONDS)
    sessions = await world.apply(
        namespace,
        *PHASES.values(),
        session("again"),
        session("wanted-again", SLOW),
        session(LONGEST_NAME, class_name=LOCAL_DNS_CLASS),
    )
    await world.kubectl.run("create", "namespace", f"{namespace}-too")
    twins = await world.apply(f"{namespace}-too", session("running", "A page of the other one"))
    yield {one.name: one for one in sessions} | {"twin": twins[0]}
    await world.cloud.set_delays(boot=usual)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def deleted_on_their_way(living: Mapping[str, Session]) -> Mapping[str, asyncio.Task[None]]:
    """Sessions by the phase in which each was deleted, all of them at their own moment."""
    phases = ("Provisioning", "Generating", "Deploying", "Running")
    tasks = {
        phase: asyncio.create_task(delete_in(living[phase.lower()], phase)) for phase in phases
    }
    await asyncio.wait(tasks.values())
    return tasks


async def delete_in(one: Session, phase: str) -> None:
    """Delete it while it is in the phase, and make sure that it really was."""
    await one.until_phase(phase)
    await eventually("its droplet is made", one.droplets, bool)
    await one.delete()
    await one.until(
        "is being deleted",
        lambda seen: not seen.is_there or seen.document["metadata"].get("deletionTimestamp"),
        10,
    )
    first = next(
        document
        for document in one.history
        if document["metadata"].get("deletionTimestamp") and document["metadata"]["uid"] == one.uid
    )
    assert first["status"]["phase"] == phase, "the phase was over before the deletion came"


@pytest.mark.parametrize("phase", ["Provisioning", "Generating", "Deploying", "Running"])
async def test_a_session_deleted_on_its_way_takes_everything_along(
    living, deleted_on_their_way, phase
):
    one = living[phase.lower()]
    await deleted_on_their_way[phase]
    await one.until_gone()
    await one.assert_nothing_is_left()
    record = await one.record()
    assert record["status"]["terminationReason"] == "Deleted"
    assert {entry["kind"] for entry in record["status"]["resources"]} == {"Droplet"}


async def test_a_session_deleted_before_anything_was_made_is_gone_at_once(world, namespace):
    [one] = await world.apply(namespace, session("requested", class_name="not-there-yet"))
    await one.until_stalled("ClassNotFound")
    assert one.phase == "Requested"
    await one.delete()
    await one.until_gone(10)
    await assert_nothing_was_made(world, one)


async def test_a_session_deleted_while_it_is_destroyed_keeps_its_finalizer_to_the_end(
    world, living
):
    one = living["destroying"]
    await one.until_running()
    await world.cloud.add_faults(
        f"DELETE /v2/droplets/{{droplet_id}} error_before status=503 times=6 session={one.uid}"
    )
    await one.annotate(expires_at="now")
    await delete_in(one, "Destroying")
    assert FINALIZER in (await one.get())["metadata"]["finalizers"]
    assert len(await one.droplets()) == 1
    await one.until_gone(60)
    await one.assert_nothing_is_left()


async def test_a_tombstone_is_deleted_at_once(living):
    one = living["destroyed"]
    await one.until_running()
    await one.annotate(expires_at="now")
    await one.until_destroyed()
    await one.delete()
    await one.until_gone(5)
    await one.assert_nothing_is_left()


@pytest.mark.parametrize(("name", "cascade"), [("again", "background"), ("wanted-again", "orphan")])
async def test_the_same_name_can_be_ordered_again_right_after_the_deletion(
    world, namespace, living, name, cascade
):
    """Also where `--cascade=orphan` leaves behind whatever a session owns: it owns nothing."""
    one = living[name]
    await one.until_phase("Provisioning")
    await world.kubectl.run(
        *("delete", "spawnsession", name, "--namespace", namespace, "--timeout=40s"),
        f"--cascade={cascade}",
        limit_seconds=45,
    )
    first = one.uid
    assert await world.kubectl.items("secrets", "--namespace", namespace) == []
    await world.apply(namespace, session(name, "A page of the second order"))
    await one.until("is another one", lambda seen: seen.uid != first, 10)
    await one.until_running()
    assert (await one.fetch()).title == "A page of the second order"
    assert await world.left_of(first) == []


async def test_two_sessions_of_one_name_in_two_namespaces_never_meet(world, namespace, living):
    twin = living["twin"]
    await twin.until_running()
    [one] = await world.apply(namespace, session("twin", "A page of the one"))
    [other] = await world.apply(f"{namespace}-too", session("twin", "A page of the other"))
    await asyncio.gather(one.until_running(), other.until_running())
    assert one.status["droplet"]["id"] != other.status["droplet"]["id"]
    assert ((await one.fetch()).title, (await other.fetch()).title) == (
        "A page of the one",
        "A page of the other",
    )
    await one.delete()
    await one.until_gone()
    assert (await other.fetch()).status == 200
    assert other.phase == "Running"


async def test_a_name_of_253_characters_works_also_in_dns(world, living):
    assert len(LONGEST_NAME) == 253
    one = living[LONGEST_NAME]
    await one.until_running()
    host = one.status["url"].removeprefix("http://").partition(":")[0]
    assert host.endswith(f".{LOCAL_DOMAIN}")
    assert max(map(len, host.split("."))) <= 63
    assert (await one.fetch()).status == 200
    await one.delete()
    await one.until_gone()
    await one.assert_nothing_is_left()


async def test_a_deleted_namespace_takes_its_sessions_along_in_every_state(world, living):
    name = "short-lived"
    await world.kubectl.run("create", "namespace", name)
    running, slow, stalled = await world.apply(
        name,
        session("running"),
        session("slow", SLOW),
        session("stalled", class_name="not-there-yet"),
    )
    await running.until_running()
    url = running.status["url"]
    [late] = await world.apply(name, session("late", SLOW))
    await late.until_phase("Provisioning")
    await world.kubectl.run("delete", "namespace", name, "--timeout=60s", limit_seconds=70)
    for one in (running, slow, late):
        await one.assert_nothing_is_left()
    await assert_nothing_was_made(world, stalled)
    await eventually("nobody answers", lambda: world.is_answering(url), lambda seen: not seen)


async def test_a_session_whose_finalizer_was_taken_away_is_cleaned_up_from_its_ledger(
    world, namespace, living
):
    [one] = await world.apply(namespace, session("orphan"))
    await one.until_running()
    url = one.status["url"]
    await world.cloud.add_faults(
        f"DELETE /v2/droplets/{{droplet_id}} error_before status=503 times=4 session={one.uid}"
    )
    await one.delete()
    await world.kubectl.run(
        *("patch", "spawnsession", "orphan", "--namespace", namespace, "--type", "merge"),
        *("--patch", '{"metadata": {"finalizers": null}}'),
    )
    await one.until_gone(5)
    await one.assert_nothing_is_left()
    with pytest.raises(Exception, match="no answer"):
        await fetch(url)
