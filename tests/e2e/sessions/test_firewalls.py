"""Firewalls: in force before an app starts, one for a class or one for each session."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest_asyncio
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Session, World, session

SHARED, OWN = "walled", "walled-each"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def walled(world: World, namespace: str) -> Mapping[str, Session]:
    await world.apply_class(SHARED)
    await world.apply_class(OWN, firewall={"mode": "PerSession"})
    sessions = await world.apply(
        namespace,
        session("shared-one", class_name=SHARED),
        session("shared-two", class_name=SHARED),
        session("own-one", class_name=OWN),
        session("own-two", class_name=OWN),
    )
    await asyncio.gather(*(one.until_running() for one in sessions))
    return {one.name: one for one in sessions}


async def firewalls(world: World, name: str) -> list[dict[str, Any]]:
    return [one for one in (await world.cloud.state())["firewalls"] if one["name"] == name]


async def class_firewalls(world: World, name: str) -> list[dict[str, Any]]:
    uid = (await world.get_class(name))["metadata"]["uid"]
    return await firewalls(world, f"fw-spawn-class-{uid}")


async def test_a_shared_firewall_covers_all_sessions_of_its_class_by_tag(world, walled):
    [shared] = await class_firewalls(world, SHARED)
    document = await world.get_class(SHARED)
    assert shared["tags"] == [f"class:{document['metadata']['uid']}"]
    assert document["status"]["firewallId"] == shared["id"]
    for name in ("shared-one", "shared-two"):
        [droplet] = await walled[name].droplets()
        assert shared["tags"][0] in droplet["tags"]
        assert await firewalls(world, f"fw-spawn-{walled[name].uid}") == []


async def test_a_session_of_the_other_mode_has_one_of_its_own_around_its_droplet(world, walled):
    assert await class_firewalls(world, OWN) == []
    for name in ("own-one", "own-two"):
        one = walled[name]
        [own] = await firewalls(world, f"fw-spawn-{one.uid}")
        assert own["droplet_ids"] == [one.status["droplet"]["id"]]
        assert not own["tags"]
        planned = {(part["kind"], part["name"]) for part in (await one.record())["spec"]["planned"]}
        assert ("Firewall", f"fw-spawn-{one.uid}") in planned


async def test_only_the_web_and_the_agent_come_in_and_no_mail_goes_out(world, walled):
    [shared] = await class_firewalls(world, SHARED)
    [own] = await firewalls(world, f"fw-spawn-{walled['own-one'].uid}")
    for firewall in (shared, own):
        inbound = {(rule["protocol"], rule["ports"]) for rule in firewall["inbound_rules"]}
        assert inbound == {("tcp", "80"), ("tcp", "443"), ("tcp", "8443")}
        outbound = {rule["ports"] for rule in firewall["outbound_rules"]}
        assert outbound.isdisjoint({"25", "465", "587", "all", "1-65535"})
        assert {"53", "80", "443", "123"} <= outbound


async def test_no_app_is_started_before_its_firewall_is_in_force(world, namespace):
    before = await world.cloud.set_delays()
    await world.cloud.set_delays(firewall=4)
    try:
        [one] = await world.apply(namespace, session("early", class_name=OWN))
        await one.until_running()
    finally:
        await world.cloud.set_delays(firewall=before["firewall"])
    for document in one.history:
        known = (
            {known["type"]: known["status"] for known in document["status"].get("conditions", [])}
            if "status" in document
            else {}
        )
        if known.get("AppHealthy") == "True":
            assert known["FirewallReady"] == "True"
    waited = [
        document
        for document in one.history
        if any(
            (known["type"], known["status"]) == ("FirewallReady", "False")
            for known in document.get("status", {}).get("conditions", [])
        )
    ]
    assert waited
    assert all(document["status"]["phase"] != "Running" for document in waited)


async def test_a_sessions_own_firewall_goes_with_it_after_its_droplet(world, walled):
    one = walled["own-one"]
    await one.annotate(expires_at="now")
    await one.until_destroyed()
    await one.assert_nothing_is_left()
    entries = {entry["kind"]: entry for entry in (await one.record())["status"]["resources"]}
    assert set(entries) == {"Droplet", "Firewall"}
    assert entries["Droplet"]["goneAt"] <= entries["Firewall"]["deletionAcceptedAt"]
    assert len(await firewalls(world, f"fw-spawn-{walled['own-two'].uid}")) == 1


async def test_a_shared_firewall_stays_until_its_class_goes(world, namespace, walled):
    for name in ("shared-one", "shared-two"):
        await walled[name].delete()
    for name in ("shared-one", "shared-two"):
        await walled[name].until_gone()
    [shared] = await class_firewalls(world, SHARED)
    assert shared["tags"]
    uid = (await world.get_class(SHARED))["metadata"]["uid"]
    await world.kubectl.run("delete", "spawnclass", SHARED, "--timeout=25s")
    assert await firewalls(world, f"fw-spawn-class-{uid}") == []
    record = await world.kubectl.json("get", "spawnrecord", uid)
    [entry] = record["status"]["resources"]
    assert (entry["presence"], entry["id"]) == ("Gone", shared["id"])


async def test_a_shared_firewall_that_was_deleted_by_hand_is_found_missing_and_made_again(
    world, walled
):
    name = "walled-again"
    await world.apply_class(name)
    await world.until_class(name, "Usable")
    first = (await world.get_class(name))["status"]["firewallId"]
    await world.digitalocean("DELETE", f"/v2/firewalls/{first}")
    # It is compared with the cloud when its spec changes, and once an hour.
    await world.apply_class(name, records={"retention": "29d"})
    await eventually(
        "another firewall",
        lambda: class_firewalls(world, name),
        lambda seen: seen and seen[0]["id"] != first,
        20,
    )
