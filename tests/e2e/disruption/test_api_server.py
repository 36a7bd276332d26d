"""The API server dies and comes back: nothing leaks, nothing is made twice, nothing is late."""

import asyncio
import time

from tests.e2e.busy import CpuWait
from tests.e2e.disruption.calls import (
    CREATE,
    assert_made_once,
    calls_of,
    expiry,
    until_deleted,
    until_deletion_accepted,
)
from tests.e2e.sessions.world import in_seconds, session

from spawnai_local.bench import audit

LATE_SECONDS = 1.0
TAKEOVER_SECONDS = 15.0
"""More than a process needs that lost its lease meanwhile: to get it again and to load."""
REST_SECONDS = 12.0
OUTAGE_SECONDS = 30.0
"""Much longer than a leader acts without its lease, which is 10 s."""


async def test_what_falls_into_a_second_without_an_api_server_is_done_when_it_answers_again(
    disruption, world, operator, namespace
):
    plane = world.stack.control_plane
    expiring, deleted, unlucky = await world.apply(
        namespace, session("expiring"), session("deleted"), session("unlucky")
    )
    await asyncio.gather(*(one.until_running() for one in (expiring, deleted, unlucky)))
    [creation] = await world.cloud.add_faults(f"{CREATE} slow seconds=2")
    [creating] = await world.apply(namespace, session("creating"))
    await world.cloud.wait_for_fault(creation["id"])
    busy = CpuWait()
    await asyncio.gather(expiring.annotate(expires_at=in_seconds(1)), deleted.delete())
    await expiring.until("knows its end", lambda one: expiry(one) < time.time() + 3, 5)
    await plane.stop_api_server()
    await asyncio.sleep(1)
    await plane.start_api_server()
    answers = time.time()
    accepted = await until_deletion_accepted(world, expiring, 20)
    assert accepted - max(answers, expiry(expiring)) < LATE_SECONDS + busy.seconds()
    await asyncio.gather(
        creating.until_running(), expiring.until_destroyed(), until_deleted(world, deleted)
    )
    for one in (expiring, deleted):
        await one.assert_nothing_is_left()
    assert unlucky.phase == "Running"
    await asyncio.gather(*(assert_made_once(world, one) for one in (creating, unlucky)))


async def test_an_expiry_while_the_api_server_is_away_for_long_waits_for_no_more_than_its_return(
    disruption, world, operator, namespace
):
    """The lease is lost meanwhile: the process ends, and the next one waits for the API server."""
    plane = world.stack.control_plane
    expiring, creating, steady = await world.apply(
        namespace, session("expiring-too"), session("creating-too"), session("steady")
    )
    await asyncio.gather(*(one.until_running() for one in (expiring, creating, steady)))
    starts = operator.process.starts
    await expiring.annotate(expires_at=in_seconds(12))
    await expiring.until("knows its end", lambda one: expiry(one) < time.time() + 15, 5)
    await plane.stop_api_server()
    await asyncio.sleep(OUTAGE_SECONDS)
    assert operator.process.starts > starts
    assert len(await calls_of(world, expiring, "DELETE /v2/droplets/{droplet_id}")) == 0
    busy = CpuWait()
    await plane.start_api_server()
    answers = time.time()
    accepted = await until_deletion_accepted(world, expiring, 20)
    assert accepted - answers < TAKEOVER_SECONDS + busy.seconds()
    await expiring.until_destroyed()
    await expiring.assert_nothing_is_left()
    for one in (creating, steady):
        assert one.phase == "Running"
        await assert_made_once(world, one)


async def test_when_all_is_over_nothing_is_written_but_the_lease(
    disruption, world, operator, namespace
):
    await asyncio.sleep(3)
    since = time.time()
    calls = len(await world.cloud.call_log())
    await asyncio.sleep(REST_SECONDS)
    written = [one for one in audit.read_writes(disruption.audit_log) if one.at > since]
    assert {one.what for one in written} == {"patch leases"}
    made = (await world.cloud.call_log())[calls:]
    assert [call["endpoint"] for call in made if not call["endpoint"].startswith("GET ")] == []
