"""What the cloud cannot give: sizes, regions, capacity, one more droplet."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from tests.e2e.sessions.eventually import eventually, stays
from tests.e2e.sessions.kstatus import kstatus
from tests.e2e.sessions.world import Session, World, moment, session

SMALL = "s-1vcpu-1gb"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wanting(world: World, namespace: str) -> Mapping[str, Session]:
    await world.cloud.set_capacity(
        closed_regions=("sgp1", "blr1"), sold_out=(("lon1", SMALL), ("fra1", SMALL))
    )
    light = {"ttl": "10m"}
    classes = {
        "closed-first": {"regions": ["sgp1", "ams3"]},
        "sold-out-first": {
            "regions": ["lon1"],
            "tiers": {"light": {"sizes": [SMALL, "s-1vcpu-2gb"]}},
        },
        "unknown-first": {"regions": ["zzz9", "ams3"]},
        "unknown-size-first": {"tiers": {"light": {"sizes": ["s-9vcpu-9gb", SMALL]}}},
        "unknown-region": {"regions": ["zzz9"]},
        "unknown-size": {"tiers": {"light": {"sizes": ["s-9vcpu-9gb"]}}},
        "full": {"regions": ["sgp1", "fra1"]},
    }
    for name, spec in classes.items():
        if "tiers" in spec:
            spec["tiers"]["light"] |= light
        await world.apply_class(name, **spec)
    sessions = await world.apply(
        namespace,
        *(session(name, class_name=name) for name in classes),
        session("own-region", region="xyz1"),
        session("own-location", class_name="full", location="moon"),
    )
    return {one.name: one for one in sessions}


@pytest.mark.parametrize(
    ("name", "region", "size"),
    [
        ("closed-first", "ams3", SMALL),
        ("sold-out-first", "lon1", "s-1vcpu-2gb"),
        ("unknown-first", "ams3", SMALL),
        ("unknown-size-first", "nyc3", SMALL),
    ],
)
async def test_where_there_is_no_room_the_next_region_or_size_is_taken(wanting, name, region, size):
    one = wanting[name]
    await one.until_running()
    assert (one.status["region"], one.status["size"]) == (region, size)
    assert len(await one.droplets()) == 1


@pytest.mark.parametrize("name", ["unknown-region", "unknown-size", "own-region"])
async def test_what_does_not_exist_stalls_the_session_with_digitaloceans_own_words(wanting, name):
    one = wanting[name]
    message = await one.until_stalled("UnknownRegionOrSize", 30)
    assert ("size" if "size" in name else "region") in message
    assert kstatus(one.document) == "Failed"
    told = await one.until_event("UnknownRegionOrSize")
    assert (told["type"], told["note"]) == ("Warning", message)
    assert await one.droplets() == []
    # Each region was asked once, and is not asked again.
    assert (await one.calls())["POST /v2/droplets"] == 1, "no region has a size that is none"


async def test_a_location_that_the_class_does_not_name_stalls_the_session(wanting):
    message = await wanting["own-location"].until_stalled("UnknownRegionOrSize", 30)
    for words in ("SpawnClass 'full'", "'moon'", "it has: none", "spec.locations"):
        assert words in message


async def test_where_no_region_has_room_the_session_waits_and_says_so(wanting):
    one = wanting["full"]
    await one.until(
        "waits for room",
        lambda seen: seen.condition("DropletReady").get("reason") == "NoCapacity",
        30,
    )
    assert kstatus(one.document) == "InProgress"
    assert (await one.until_event("NoCapacity"))["type"] == "Warning"
    calls = (await one.calls())["POST /v2/droplets"]
    await stays(
        "no region is asked again soon", one.calls, lambda now: now["POST /v2/droplets"] == calls, 3
    )


async def ordered_last(world: World, namespace: str, name: str) -> Session:
    """A session that waits, and is a second older than any that comes after it."""
    [one] = await world.apply(namespace, session(name))
    await one.until("waits for the droplet limit", waits_for_limit, 20)
    created = moment(one.document["metadata"]["creationTimestamp"])
    await eventually("a second has passed", lambda: (datetime.now(UTC) - created).seconds)
    return one


def waits_for_limit(one: Session) -> bool:
    return one.condition("DropletReady").get("reason") == "WaitingForDropletLimit"


async def test_sessions_wait_for_the_droplet_limit_in_order_and_nobody_behind_those_who_left(
    world, namespace, wanting
):
    await asyncio.gather(
        *(wanting[name].until_running() for name in ("closed-first", "unknown-first"))
    )
    # Fewer than there are: no end of another test's session makes room meanwhile.
    await world.cloud.set_limits(droplets=1)
    queue = [await ordered_last(world, namespace, name) for name in ("first", "second", "third")]
    [given_up] = await world.apply(namespace, session("given-up"))
    await given_up.until("waits for the droplet limit", waits_for_limit, 20)
    for position, one in enumerate(queue, start=1):
        await one.until(
            f"is at position {position}",
            lambda seen, position=position: (
                f"position {position} " in seen.condition("DropletReady")["message"]
            ),
            15,
        )
        assert "limit" in one.condition("DropletReady")["message"]
        assert kstatus(one.document) == "InProgress"
        assert (await one.until_event("WaitingForDropletLimit"))["type"] == "Warning"
    await queue[1].delete()
    await queue[1].until_gone(10)
    del queue[1]
    living = len((await world.cloud.state())["droplets"])
    await world.cloud.set_limits(droplets=living + 1)
    await queue[0].until_running()
    assert await queue[1].droplets() == []
    await wanting["closed-first"].delete()
    await queue[1].until_running()
    made = [(await one.droplets())[0]["created_at"] for one in queue]
    assert made == sorted(made)
    assert await given_up.droplets() == []
    await given_up.delete()
    await given_up.until_gone(10)
    await world.cloud.set_limits(droplets=living + 20)
    [late] = await world.apply(namespace, session("late"))
    await late.until_running()
