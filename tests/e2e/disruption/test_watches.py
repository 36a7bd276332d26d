"""Watches that fall silent, that are too old, or that tell things twice and out of order."""

import asyncio
import time

from tests.e2e.busy import CpuWait
from tests.e2e.disruption.calls import (
    assert_made_once,
    until_deleted,
    until_deletion_accepted,
)
from tests.e2e.sessions.world import session

from spawnai.api.names import GROUP, VERSION
from spawnai.controller.watches import WATCH_SECONDS

NOTICED_SECONDS = WATCH_SECONDS + 5 + 3
"""The end of the watch that fell silent, and the way from the next one to the cloud."""


async def test_what_happens_while_all_watches_are_silent_is_seen_when_they_are_taken_up_anew(
    disruption, world, operator, namespace
):
    proxy = disruption.proxy
    deleted, changed, untouched = await world.apply(
        namespace, session("deleted"), session("changed"), session("untouched")
    )
    await asyncio.gather(*(one.until_running() for one in (deleted, changed, untouched)))
    assert proxy.silence() >= 4
    silent_since, busy = time.time(), CpuWait()
    await deleted.delete()
    await changed.annotate(expires_at="now")
    [late] = await world.apply(namespace, session("late"))
    for one in (deleted, changed):
        accepted = await until_deletion_accepted(world, one, NOTICED_SECONDS + 10)
        assert accepted - silent_since < NOTICED_SECONDS + busy.seconds()
    await asyncio.gather(
        until_deleted(world, deleted), changed.until_destroyed(), late.until_running()
    )
    assert untouched.phase == "Running"
    for one in (deleted, changed):
        await one.assert_nothing_is_left()


async def test_a_session_that_went_while_its_watch_was_too_old_leaves_nothing_behind(
    disruption, world, operator, namespace
):
    """A watch that begins again with a listing never says what has gone meanwhile."""
    proxy = disruption.proxy
    stripped, steady = await world.apply(namespace, session("stripped"), session("steady"))
    await asyncio.gather(stripped.until_running(), steady.until_running())
    too_old = proxy.add_fault("watch spawn* gone times=0")
    proxy.cut_watches()
    await too_old.until_suffered(times=6)
    await world.kubectl.run(
        *("patch", "spawnsession", stripped.name, "--namespace", namespace),
        *("--type", "merge", "--patch", '{"metadata": {"finalizers": null}}'),
    )
    await stripped.delete()
    await stripped.until_gone(10)
    proxy.clear()
    await until_deletion_accepted(world, stripped, 15)
    await stripped.assert_nothing_is_left()
    assert steady.phase == "Running"
    await assert_made_once(world, steady)


async def test_an_error_that_a_watch_tells_of_ends_no_operator(
    disruption, world, operator, namespace
):
    broken = disruption.proxy.add_fault("watch spawnsessions broken status=500")
    disruption.proxy.cut_watches("spawnsessions")
    await broken.until_suffered()
    starts = operator.process.starts
    [one] = await world.apply(namespace, session("after-an-error"))
    await one.until_running()
    assert operator.process.starts == starts
    await assert_made_once(world, one)


async def test_a_kind_that_an_outdated_answer_left_out_is_watched_all_the_same(
    disruption, world, operator, namespace
):
    """The API server's discovery lags behind a change of a CRD, and kopf asks for it only once."""
    outdated = disruption.proxy.add_fault(
        f"get /apis/{GROUP}/{VERSION} error_before status=404 times=1"
    )
    starts = operator.process.starts
    await world.kubectl.run(
        *("annotate", "crd", f"spawnsessions.{GROUP}", "changed=by-somebody", "--overwrite")
    )
    await outdated.until_suffered()
    [one] = await world.apply(namespace, session("left-out"))
    await one.until_running()
    assert operator.process.starts == starts
    await assert_made_once(world, one)


async def test_events_twice_and_out_of_order_and_conflicts_change_nothing(
    disruption, world, operator, namespace
):
    proxy = disruption.proxy
    proxy.scramble(seed=11)
    proxy.cut_watches()
    for line in (
        "create spawnrecords error_before status=409 nth=2",
        "patch spawnsessions error_before status=409 nth=2 times=3",
        "patch spawnsessions/status error_after status=500 nth=3 times=3",
        "patch spawnrecords/status error_before status=409 nth=4 times=3",
        "patch spawnrecords/status cut_after nth=9 times=2",
    ):
        proxy.add_fault(line)
    sessions = await world.apply(namespace, *(session(f"scrambled-{n}") for n in range(6)))
    await asyncio.gather(*(one.until_running() for one in sessions))
    await asyncio.gather(
        *(one.delete() for one in sessions[:3]),
        *(one.annotate(expires_at="now") for one in sessions[3:]),
    )
    await asyncio.gather(
        *(until_deleted(world, one) for one in sessions[:3]),
        *(one.until_destroyed() for one in sessions[3:]),
    )
    for one in sessions:
        await assert_made_once(world, one)
        await one.assert_nothing_is_left()
