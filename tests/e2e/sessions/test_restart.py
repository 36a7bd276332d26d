"""SIGKILL at the worst moments, and then at rest: nothing is made twice, nothing is forgotten."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio
from tests.e2e.sessions.eventually import eventually, stays
from tests.e2e.sessions.misbehaving import DEAD_AT_START, HARMFUL
from tests.e2e.sessions.world import Session, World, session

from spawnai.api.names import TAG_PRODUCT
from spawnai.digitalocean.scopes import BASE, LOAD_BALANCERS, of_domain
from spawnai_local.classes import LOCAL_BALANCED_DOMAIN, LOCAL_DOMAIN
from spawnai_local.cloud_settings import LOCAL_ANTHROPIC_KEY, LOCAL_DIGITALOCEAN_TOKEN

PLAIN, NAMED, KEYED = "interrupted", "interrupted-named", "interrupted-keyed"
CREATE = "POST /v2/droplets"
TAKEOVER_AND_SETTLING_SECONDS = 90.0
"""15 s until the dead leader's lease may be taken, 30 s until a lost answer is settled."""
REST_SECONDS = 60
MOST_CALLS_AT_REST = 4
WRITES = ("POST ", "PUT ", "DELETE ")
# Deletions of what cannot exist: they ask whether the token may delete.
SCOPE_PROBES = {
    scope.probe.url_path
    for scope in (
        *BASE,
        *LOAD_BALANCERS,
        *of_domain(LOCAL_DOMAIN),
        *of_domain(LOCAL_BALANCED_DOMAIN),
    )
}

# What each session is at when the operator dies, and the call that is held there.
HELD = {
    "creating": (PLAIN, f"{CREATE} timeout_after seconds=120"),
    "fencing": (NAMED, "POST /v2/firewalls timeout_after seconds=120"),
    "naming": (NAMED, "POST /v2/domains/{domain_name}/records timeout_after seconds=120"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def interrupted(world: World, namespace: str) -> Mapping[str, Session]:
    """Sessions of all kinds, after the operator that made them was killed and another took over."""
    keys = {
        "digitalocean_token": LOCAL_DIGITALOCEAN_TOKEN,
        "anthropic_api_key": LOCAL_ANTHROPIC_KEY,
    }
    await world.apply_secret(KEYED, **keys)
    await world.apply_class(KEYED, credentials={"secretName": KEYED})
    steady = await world.apply(
        namespace,
        session("running"),
        session("tampered"),
        session("keyless", class_name=KEYED),
        session("ending"),
    )
    # They wait for their class, so that faults can be set before their first call.
    held = await world.apply(
        namespace,
        session("written", class_name=PLAIN),
        session("writing", "A page simulate:hang-mid-stream-once", class_name=PLAIN),
        *(session(name, class_name=class_name) for name, (class_name, _) in HELD.items()),
    )
    await asyncio.gather(
        *(one.until_known() for one in held), *(one.until_running() for one in steady)
    )
    sessions = {one.name: one for one in (*steady, *held)}

    refused = await world.cloud.add_faults(
        f"{CREATE} error_before status=503 times=0 session={sessions['written'].uid}"
    )
    faults = await world.cloud.add_faults(
        *(f"{fault} session={sessions[name].uid}" for name, (_, fault) in HELD.items()),
        "DELETE /v2/droplets/{droplet_id} timeout_after seconds=120 "
        f"session={sessions['ending'].uid}",
    )
    await sessions["ending"].annotate(expires_at="now")
    await world.apply_secret(KEYED, **keys | {"anthropic_api_key": "revoked"})
    await world.apply_class(PLAIN)
    await world.apply_class(
        NAMED, firewall={"mode": "PerSession"}, exposure={"domain": LOCAL_DOMAIN}
    )
    await asyncio.gather(
        *(until_suffered(world, fault) for fault in faults),
        until_half_written(world, sessions["writing"]),
        eventually(
            "the bundle of the written session is kept",
            lambda: world.secrets_of(sessions["written"]),
            seconds=20,
            pause=0.3,
        ),
        write_foreign_droplet_into_status(world, sessions["tampered"]),
    )
    await world.kill_operator()
    await world.cloud.remove_fault(refused[0]["id"])
    return sessions


async def until_suffered(world: World, fault: dict[str, Any]) -> None:
    seen = await world.cloud.wait_for_fault(fault["id"], seconds=40)
    assert seen["suffered"] == 1, seen["line"]


async def until_half_written(world: World, one: Session) -> None:
    async def calls() -> list[dict[str, Any]]:
        return list((await world.claude(f"calls?session={one.uid}"))["calls"])

    await eventually(
        "Claude has written half of the app",
        calls,
        lambda seen: seen and seen[0]["outcome"] == "hung",
        30,
    )


async def canary(world: World) -> dict[str, Any]:
    """A droplet of someone else that has our product's tag."""
    state = await world.cloud.state()
    return next(one for one in state["droplets"] if one["canary"] and one["tags"][0] == TAG_PRODUCT)


async def write_foreign_droplet_into_status(world: World, one: Session) -> None:
    foreign = await canary(world)
    patch = (
        f'{{"status": {{"droplet": {{"id": {foreign["id"]}, "name": "{foreign["name"]}", '
        f'"ip": "{foreign["public_address"]}"}}}}}}'
    )
    await world.kubectl.run(
        *("patch", "spawnsession", one.name, "--namespace", one.namespace),
        *("--subresource", "status", "--type", "merge", "--patch", patch),
    )


async def billed_droplets(world: World, one: Session) -> list[dict[str, Any]]:
    """Every droplet there ever was for the session."""
    lines = (await world.cloud.bill())["droplets"]
    return [line for line in lines if f"session:{one.uid}" in line["tags"]]


@pytest.mark.parametrize("name", ["creating", "fencing", "naming", "written", "writing"])
async def test_a_session_that_was_being_made_goes_on_and_has_everything_once(
    world, interrupted, name
):
    one = interrupted[name]
    await one.until_running(TAKEOVER_AND_SETTLING_SECONDS)
    assert len(await billed_droplets(world, one)) == 1
    ours = await world.left_of(one.uid)
    assert [what.split()[0] for what in ours].count("droplet") == 1
    if HELD.get(name, (PLAIN,))[0] == NAMED:
        assert sorted(what.split()[0] for what in ours) == ["droplet", "firewall", "record"]
        calls = await one.calls()
        assert calls["POST /v2/firewalls"] == 1
        assert calls["POST /v2/domains/{domain_name}/records"] == 1
    assert (await one.fetch()).status == 200


async def test_an_app_that_was_kept_is_not_paid_twice(interrupted):
    await interrupted["written"].until_running(TAKEOVER_AND_SETTLING_SECONDS)
    assert (await interrupted["written"].claude_bill())["calls"] == 1


async def test_an_app_that_was_half_written_is_written_again_once(interrupted):
    await interrupted["writing"].until_running(TAKEOVER_AND_SETTLING_SECONDS)
    assert (await interrupted["writing"].claude_bill())["calls"] == 2


async def test_a_deletion_whose_answer_was_lost_is_finished(world, interrupted):
    one = interrupted["ending"]
    await one.until_destroyed(60)
    assert one.status["terminationReason"] == "Expired"
    await one.assert_nothing_is_left()


async def test_a_droplet_that_someone_wrote_into_a_status_is_never_touched(world, interrupted):
    one, foreign = interrupted["tampered"], await canary(world)
    own = (await billed_droplets(world, one))[0]["droplet_id"]
    await one.until(
        "shows its own droplet again", lambda seen: seen.status["droplet"]["id"] == own, 40
    )
    await write_foreign_droplet_into_status(world, one)
    await one.annotate(expires_at="now")
    await one.until_destroyed(40)
    await one.assert_nothing_is_left()
    assert await canary(world) == foreign
    calls = await world.cloud.call_log()
    assert not [call for call in calls if call["path"].endswith(f"/droplets/{foreign['id']}")]


async def test_a_session_is_destroyed_in_time_though_its_class_lost_its_claude_key(
    world, interrupted
):
    one = interrupted["keyless"]
    await world.until_class(KEYED, "ClaudeUnauthorized", 30)
    assert (await one.fetch()).status == 200
    await one.annotate(expires_at="now")
    await one.until_destroyed(30)
    await one.assert_nothing_is_left()


async def versions(world: World) -> dict[str, str]:
    """The resourceVersion of everything that the operator may write, its lease apart."""
    kinds = (
        "spawnsessions,spawnclasses,spawnrecords,secrets,events.events.k8s.io,"
        "customresourcedefinitions"
    )
    items = await world.kubectl.items(kinds, "--all-namespaces")
    return {
        f"{one['kind']} {one['metadata'].get('namespace')}/{one['metadata']['name']}": one[
            "metadata"
        ]["resourceVersion"]
        for one in items
    }


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a status that differ."""
    before, after = old.get("status", {}), new.get("status", {})
    return {
        key: (before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


async def written_since(world: World, before: Mapping[str, str]) -> list[str]:
    """What was written; of sessions how their last two states differ."""
    written = []
    for name, version in (await versions(world)).items():
        if before.get(name) != version:
            kind, _, path = name.partition(" ")
            states = world.session(*path.split("/")).history[-2:] if kind == "SpawnSession" else []
            written.append(f"{name}: {difference(*states)}" if len(states) == 2 else name)
    return written


async def calls_after(world: World, number: int) -> list[dict[str, Any]]:
    return list(await world.cloud.call_log(after=number))


async def last_call(world: World) -> int:
    return max((call["number"] for call in await calls_after(world, 0)), default=0)


async def until_at_rest(world: World) -> None:
    """Wait until no session is on its way and the operator has said all it has to say."""
    seen: dict[str, Any] = {"call": 0, "versions": {}}

    async def moved() -> dict[str, Any]:
        calls, known = await calls_after(world, seen["call"]), await versions(world)
        changed = [name for name, version in known.items() if seen["versions"].get(name) != version]
        seen.update(call=max((call["number"] for call in calls), default=seen["call"]))
        seen.update(versions=known)
        return {"written": changed, "called": [call["endpoint"] for call in calls]}

    await eventually(
        "all is at rest",
        moved,
        lambda now: not now["written"] and len(now["called"]) <= 1,
        60,
        pause=3,
    )


async def test_at_rest_nothing_is_written_and_hardly_anything_called_also_after_a_kill(
    world, misbehaving, interrupted
):
    await asyncio.gather(
        *(misbehaving[name].until_destroyed(120) for name in (*HARMFUL, *DEAD_AT_START)),
        *(
            interrupted[name].until_running(TAKEOVER_AND_SETTLING_SECONDS)
            for name in ("creating", "fencing", "naming", "written", "writing")
        ),
    )
    await until_at_rest(world)
    before, begun = await versions(world), await last_call(world)
    await world.kill_operator()
    await until_at_rest(world)
    written = await written_since(world, before)
    assert not written, "\n".join(written)
    rest = await last_call(world)
    await stays(
        "nothing is written at rest",
        lambda: written_since(world, before),
        lambda written: written == [],
        REST_SECONDS,
        pause=REST_SECONDS / 4,
    )
    calls = await calls_after(world, begun)
    written_calls = [call for call in calls if call["endpoint"].startswith(WRITES)]
    assert [call for call in written_calls if call["path"] not in SCOPE_PROBES] == []
    at_rest = [call["endpoint"] for call in calls if call["number"] > rest]
    assert len(at_rest) <= MOST_CALLS_AT_REST, at_rest
    for name in ("running", "creating", "written"):
        assert (await interrupted[name].fetch()).status == 200
