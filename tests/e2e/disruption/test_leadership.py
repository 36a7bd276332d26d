"""Two and three operators on one cluster: one acts at a time, and the change from one to the next
is short."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest_asyncio
from tests.e2e.busy import CpuWait
from tests.e2e.disruption.calls import (
    CREATE,
    assert_made_once,
    calls_of,
    expiry,
    until_deletion_accepted,
)
from tests.e2e.disruption.conftest import LEASE_SECONDS, Disruption, clean_namespace
from tests.e2e.disruption.operators import Operator
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import World, in_seconds, session

GIVEN_BACK_SECONDS = 6.0
END_SECONDS = 10.0
"""All has ended when the lease is given back, which takes a tenth of a second. How long Python
itself takes to end, and a test to look, depends on what else the machine does."""
LATE_SECONDS = 24.0
"""When a POST takes effect that was on the wire: after the next leader took over, and before it may
be sent again (30 s)."""
START_SECONDS = 6.0
"""From the lease to the first call: a generous limit for a machine that does other things too."""


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(disruption: Disruption, replicas) -> AsyncIterator[str]:
    async with clean_namespace(disruption, "leadership", replicas("cleaner")) as name:
        yield name


async def holder(world: World) -> str:
    lease = await world.kubectl.json(
        "get", "lease", "spawnai-operator", "--namespace", world.operator_namespace
    )
    return str(lease["spec"].get("holderIdentity", ""))


async def test_an_operator_at_work_ends_at_once_and_without_a_complaint(
    disruption, world, replicas, namespace
):
    first = await replicas("first").start()
    await first.until_leads()
    await disruption.until_classes_are_ready()
    [steady] = await world.apply(namespace, session("steady"))
    await steady.until_running()
    held = disruption.proxy.add_fault("patch spawnrecords/status slow seconds=30 times=0")
    [begun] = await world.apply(namespace, session("begun"))
    begun.lost_orders = True
    await held.until_suffered()
    busy = CpuWait()
    ending = asyncio.create_task(first.end())
    await eventually(
        "the lease is given back",
        lambda: holder(world),
        lambda who: who == "",
        GIVEN_BACK_SECONDS,
    )
    assert await ending < END_SECONDS + busy.seconds()
    assert first.process.returncode == 0
    assert first.complaints() == []


async def leading(operators: tuple[Operator, ...]) -> list[str]:
    return [one.name for one in operators if await one.leads()]


async def test_a_rolling_upgrade_leaves_no_gap_longer_than_the_lease(
    disruption, world, replicas, namespace
):
    old = await (await replicas("old").start()).until_leads()
    await disruption.until_classes_are_ready()
    sessions = await world.apply(namespace, session("expiring"), session("expiring-later"))
    await asyncio.gather(*(one.until_running() for one in sessions))
    new = await (await replicas("new").start()).until_waits()
    busy = CpuWait()
    await sessions[0].annotate(expires_at=in_seconds(3))
    await sessions[1].annotate(expires_at=in_seconds(4))
    await sessions[1].until(
        "knows its end", lambda one: expiry(one) < time.time() + 5 and one.status, 10
    )
    await asyncio.sleep(max(0.0, expiry(sessions[0]) - time.time() - 0.2))
    ended = asyncio.create_task(old.end())
    await new.until_leads(LEASE_SECONDS)
    for one in sessions:
        accepted = await until_deletion_accepted(world, one, 20)
        assert accepted - expiry(one) < LEASE_SECONDS + busy.seconds()
    assert await ended < END_SECONDS + busy.seconds()
    assert old.complaints() == []
    await asyncio.gather(*(one.until_destroyed() for one in sessions))
    for one in sessions:
        await one.assert_nothing_is_left()


async def test_a_leader_that_slept_past_its_lease_before_a_post_does_not_send_it(
    disruption, world, replicas, namespace
):
    """It is stopped while the answer that a POST waits for is on its way to it."""
    first = await (await replicas("first").start()).until_leads()
    await disruption.until_classes_are_ready()
    others = [await replicas(name).start() for name in ("second", "third")]
    await asyncio.gather(*(other.until_waits() for other in others))
    [expiring] = await world.apply(namespace, session("expires-meanwhile"))
    await expiring.until_running()
    intent = disruption.proxy.add_fault("create spawnrecords slow seconds=1")
    await expiring.annotate(expires_at=in_seconds(2))
    await expiring.until("knows its end", lambda seen: expiry(seen) < time.time() + 5, 10)
    [one] = await world.apply(namespace, session("made-once"))
    one.lost_orders = True
    await intent.until_suffered()
    busy = CpuWait()
    first.signal(signal.SIGSTOP)
    paused = time.time()
    try:
        await eventually(
            "another leads",
            lambda: holder(world),
            lambda seen: seen.startswith(("second", "third")),
            LEASE_SECONDS * 3,
        )
        accepted = await until_deletion_accepted(world, expiring, 20)
        late = accepted - max(paused, expiry(expiring))
        assert late < LEASE_SECONDS + START_SECONDS + busy.seconds()
        await one.until_running(60)
    finally:
        first.signal(signal.SIGCONT)
    await eventually(
        "the first has ended and was started again",
        lambda: first.process.starts,
        lambda starts: starts > 1,
        15,
    )
    assert len(await calls_of(world, one, CREATE)) == 1
    await assert_made_once(world, one)
    await asyncio.sleep(LEASE_SECONDS)
    # A busy machine may make the lease change hands once more; nobody leads beside another.
    replicas_now = (first, *others)
    leaders = await eventually(
        "one leads",
        lambda: leading(replicas_now),
        len,
    )
    assert len(leaders) == 1
    lines = first.log()
    assert any("ending without another write" in line.get("message", "") for line in lines)
    assert [line for line in lines if "LeadershipLost" in line.get("exception", "")] == []


async def test_a_post_on_the_wire_when_its_leader_falls_asleep_is_found_and_not_sent_again(
    disruption, world, replicas, namespace
):
    """It takes effect after the next leader has looked for the first time, and seen nothing."""
    first = await (await replicas("first").start()).until_leads()
    await disruption.until_classes_are_ready()
    second = await (await replicas("second").start()).until_waits()
    [late] = await world.cloud.add_faults(f"{CREATE} late seconds={LATE_SECONDS}")
    [one] = await world.apply(namespace, session("on-the-wire"))
    one.lost_orders = True
    suffered = await world.cloud.wait_for_fault(late["id"])
    assert suffered["suffered"] == 1
    first.signal(signal.SIGSTOP)
    try:
        await second.until_leads(LATE_SECONDS - LEASE_SECONDS)
        assert await one.droplets() == []
        await one.until(
            "says that its droplet is looked for",
            lambda seen: seen.condition("DropletReady").get("reason") == "Settling",
            LEASE_SECONDS + START_SECONDS,
        )
        await one.until_running(60)
    finally:
        first.signal(signal.SIGCONT)
    assert len(await calls_of(world, one, CREATE)) == 1
    await assert_made_once(world, one)
