"""What people do to the objects by hand: nothing foreign is touched, nothing of theirs is lost."""

import asyncio
import base64
import json
from typing import Any

from tests.e2e.disruption.calls import (
    CREATE,
    DELETE,
    until_deleted,
    until_deletion_accepted,
)
from tests.e2e.sessions.canaries import touched_canaries
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Session, World, session

from spawnai_local.classes import LOCAL_DNS_CLASS


async def patch(world: World, one: Session, document: Any, *arguments: str) -> None:
    await world.kubectl.run(
        *("patch", "spawnsession", one.name, "--namespace", one.namespace, *arguments),
        *("--type", "merge", "--patch", json.dumps(document)),
    )


async def test_a_finalizer_stripped_by_hand_costs_the_session_and_leaks_nothing(
    world, operator, namespace
):
    kept, gone = await world.apply(namespace, session("finalizer-kept"), session("finalizer-gone"))
    await asyncio.gather(kept.until_running(), gone.until_running())
    await patch(world, kept, {"metadata": {"finalizers": None}})
    await kept.until(
        "is held again",
        lambda one: "spawn-ai.com/cleanup" in one.document["metadata"].get("finalizers", []),
        10,
    )
    await world.cloud.add_faults(f"{DELETE} slow seconds=2 session={gone.uid}")
    await gone.delete()
    await patch(world, gone, {"metadata": {"finalizers": None}})
    await until_deleted(world, gone)
    await until_deletion_accepted(world, gone, 10)
    await gone.assert_nothing_is_left()
    assert kept.phase == "Running"


async def test_another_sessions_droplet_address_and_name_in_a_status_mean_nothing(
    world, operator, namespace
):
    """A user writes what is another's into his own status, and ends his session."""
    victim, thief = await world.apply(
        namespace,
        session("victim", class_name=LOCAL_DNS_CLASS),
        session("thief", class_name=LOCAL_DNS_CLASS),
    )
    await asyncio.gather(victim.until_running(), thief.until_running())
    own = thief.status["droplet"]["id"]
    loot = {
        "droplet": victim.status["droplet"],
        "url": victim.status["url"],
        "phase": "Running",
    }
    await patch(world, thief, {"status": loot}, "--subresource", "status")
    await thief.until("shows its own droplet", lambda one: one.status["droplet"]["id"] == own, 40)
    await patch(world, thief, {"status": loot}, "--subresource", "status")
    await thief.annotate(expires_at="now")
    await thief.until_destroyed()
    await thief.assert_nothing_is_left()
    assert victim.phase == "Running"
    left = await world.left_of(victim.uid)
    assert sorted(what.split()[0] for what in left) == ["droplet", "record"]
    assert await touched_canaries(world.cloud) == []
    await patch(world, victim, {"status": {"phase": "Destroyed"}}, "--subresource", "status")
    await victim.delete()
    await until_deleted(world, victim)
    await victim.assert_nothing_is_left()


async def test_a_secret_with_the_name_of_the_app_beside_its_session_is_neither_used_nor_touched(
    world, operator, namespace
):
    """Apps are kept in the operator's namespace: who may write Secrets here changes nothing."""
    [one] = await world.apply(namespace, session("foreign-secret", class_name="not-there-yet"))
    await one.until_known()
    await world.kubectl.run(
        *("create", "secret", "generic", f"spawn-{one.uid}-app", "--namespace", namespace),
        "--from-literal=bundle=another's",
    )
    await world.apply_class("not-there-yet")
    await one.until_running()
    assert (await one.claude_bill())["calls"] == 1
    secret = await world.kubectl.json(
        "get", "secret", f"spawn-{one.uid}-app", "--namespace", namespace
    )
    assert base64.b64decode(secret["data"]["bundle"]).decode() == "another's"
    own = await world.kubectl.json(
        *("get", "secret", f"spawn-{one.uid}-app", "--namespace", "spawnai-system")
    )
    [owner] = own["metadata"]["ownerReferences"]
    record = await one.record()
    assert (owner["kind"], owner["uid"]) == ("SpawnRecord", record["metadata"]["uid"])
    await one.delete()
    await until_deleted(world, one)
    await one.assert_nothing_is_left()
    await world.kubectl.run("get", "secret", f"spawn-{one.uid}-app", "--namespace", namespace)


async def test_an_open_ledger_deleted_by_hand_stays(world, operator, namespace):
    [one] = await world.apply(namespace, session("ledgerless", class_name=LOCAL_DNS_CLASS))
    await one.until_running()
    before = await one.record()
    await world.kubectl.run("delete", "spawnrecord", one.uid, "--wait=false")
    held = await one.record()
    assert held["metadata"]["deletionTimestamp"]
    assert held["status"] == before["status"]
    # Somebody strips the finalizer, too: then it is put back.
    patch = '{"metadata": {"finalizers": null}}'
    await world.kubectl.run("patch", "sr", one.uid, "--type=merge", "--patch", patch)
    after = await eventually(
        "the ledger is there again",
        one.record,
        lambda record: record.get("status", {}).get("resources"),
        10,
    )
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    assert after["status"]["resources"] == before["status"]["resources"]
    await one.delete()
    await until_deleted(world, one)
    await one.assert_nothing_is_left()
    await eventually(
        "the closed ledger is held no longer",
        one.record,
        lambda record: not record["metadata"].get("finalizers"),
        10,
    )


async def test_a_namespace_that_is_deleted_in_mid_creation_leaves_nothing(
    world, operator, namespace
):
    name = f"{namespace}-doomed"
    await world.kubectl.run("create", "namespace", name)
    [creation] = await world.cloud.add_faults(f"{CREATE} slow seconds=2")
    half, begun = await world.apply(name, session("half"), session("begun"))
    await world.cloud.wait_for_fault(creation["id"])
    await world.kubectl.run("delete", "namespace", name, "--timeout=60s", limit_seconds=70)
    for one in (half, begun):
        await one.assert_nothing_is_left()
