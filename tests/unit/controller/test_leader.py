"""Leadership: at most one process acts, and soon another does when it stops."""

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.controller.leader import (
    KubernetesLeases,
    Leadership,
    LeadershipLost,
    Lease,
    LeaseConflict,
)


class ServerDown(Exception):
    pass


@dataclass
class Server:
    """One Lease with versions, as the API server keeps it; `faults` are used up call by call."""

    lease: Lease | None = None
    version: int = 0
    writes: list[tuple[float, str]] = field(default_factory=list)
    reads: int = 0
    faults: list[str | None] = field(default_factory=list)

    async def read(self) -> Lease | None:
        self.reads += 1
        async with self._fault():
            return self.lease

    async def create(self, holder: str, seconds: float, now: datetime) -> Lease:
        async with self._fault():
            if self.lease is not None:
                raise LeaseConflict("it exists")
            return self._put(holder, seconds, 0, now)

    async def replace(self, known: Lease, holder: str, seconds: float, now: datetime) -> Lease:
        async with self._fault():
            if self.lease is None or self.lease.version != known.version:
                raise LeaseConflict("other version")
            return self._put(holder, seconds, known.transitions + (holder != known.holder), now)

    def _put(self, holder: str, seconds: float, transitions: int, now: datetime) -> Lease:
        assert now.tzinfo is not None
        self.version += 1
        self.lease = Lease(holder, seconds, transitions, str(self.version))
        self.writes.append((VirtualClock().now(), holder))
        return self.lease

    @contextlib.asynccontextmanager
    async def _fault(self):
        fault = self.faults.pop(0) if self.faults else None
        if fault == "before":
            raise ServerDown("refused")
        if fault == "hang before":
            await asyncio.sleep(3600)
        if fault == "stopped":
            VirtualClock().jump(12)
        if fault == "slow":
            await asyncio.sleep(1.9)
        yield
        if fault == "after":
            raise ServerDown("cut after the effect")
        if fault == "hang after":
            await asyncio.sleep(3600)


async def lead(server: Server, identity: str = "a", clock=None) -> Leadership:
    leadership = Leadership(server, identity, clock or VirtualClock())
    await leadership.acquire()
    return leadership


def holding(leadership: Leadership) -> asyncio.Task[None]:
    return asyncio.create_task(leadership.hold())


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, LeadershipLost):
        await task


@virtual_time
async def test_the_first_process_leads_at_once():
    clock, server = VirtualClock(), Server()
    start = clock.now()
    leadership = await lead(server)
    assert clock.now() == start
    assert leadership.is_held()
    assert leadership.leader == "a"
    leadership.check()


@virtual_time
async def test_before_it_holds_the_lease_a_process_may_not_act():
    leadership = Leadership(Server(), "a", VirtualClock())
    assert not leadership.is_held()
    with pytest.raises(LeadershipLost, match="a does not hold the lease"):
        leadership.check()
    with pytest.raises(LeadershipLost, match="a does not hold the lease"):
        await leadership.hold()


@virtual_time
async def test_a_leader_renews_every_two_seconds_with_one_call_each():
    clock, server = VirtualClock(), Server()
    start = clock.now()
    leadership = await lead(server)
    task = holding(leadership)
    await clock.sleep(60.5)
    assert leadership.is_held()
    assert [moment - start for moment, _ in server.writes] == [2.0 * n for n in range(31)]
    assert server.reads == 1
    await stop(task)


@virtual_time
async def test_a_second_process_waits_while_the_first_renews_and_only_looks():
    clock, server = VirtualClock(), Server()
    task = holding(await lead(server, "a"))
    second = Leadership(server, "b", clock)
    waiting = asyncio.create_task(second.acquire())
    await clock.sleep(600)
    assert not waiting.done()
    assert not second.is_held()
    assert second.leader == "a"
    assert {holder for _, holder in server.writes} == {"a"}
    await stop(waiting)
    await stop(task)


@virtual_time
async def test_a_second_process_leads_fifteen_seconds_after_it_saw_the_last_renewal():
    """The first renews last at 10 s; the second looks at 10 s too; 10 + 15 = 25 s."""
    clock, server = VirtualClock(), Server()
    start = clock.now()
    task = holding(await lead(server, "a"))
    second = Leadership(server, "b", clock)
    waiting = asyncio.create_task(second.acquire())
    await clock.sleep(11)
    await stop(task)
    await waiting
    assert 25 <= clock.now() - start <= 27
    assert server.lease is not None
    assert (server.lease.holder, server.lease.transitions) == ("b", 1)


@virtual_time
async def test_a_lease_left_behind_is_waited_for_however_old_its_dates_are():
    """A process that just started has seen nothing yet, and trusts no other clock's dates."""
    clock = VirtualClock()
    server = Server(lease=Lease("gone", 15, 0, "abc"))
    start = clock.now()
    await lead(server)
    assert clock.now() - start == 15


@virtual_time
async def test_the_time_that_the_holder_asked_for_counts_not_ours():
    clock = VirtualClock()
    server = Server(lease=Lease("gone", 40, 0, "abc"))
    start = clock.now()
    await lead(server)
    assert clock.now() - start == 40


@virtual_time
async def test_a_holder_that_does_not_say_for_how_long_gets_our_own_time():
    clock = VirtualClock()
    server = Server(lease=Lease("gone", 0, 0, "abc"))
    start = clock.now()
    await lead(server)
    assert clock.now() - start == 15


@virtual_time
async def test_a_lease_given_back_is_taken_within_a_look():
    clock, server = VirtualClock(), Server()
    first = await lead(server, "a")
    task = holding(first)
    second = Leadership(server, "b", clock)
    waiting = asyncio.create_task(second.acquire())
    await clock.sleep(31)
    released_at = clock.now()
    await first.release()
    assert not first.is_held()
    with pytest.raises(LeadershipLost, match="gave the lease back"):
        first.check()
    await task
    await waiting
    assert clock.now() - released_at <= 2


@virtual_time
async def test_hold_returns_as_soon_as_the_lease_is_given_back():
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    task = holding(leadership)
    await clock.sleep(3)
    before = clock.now()
    await leadership.release()
    await task
    assert clock.now() == before


@virtual_time
async def test_giving_back_never_raises_and_never_takes_from_another():
    server = Server()
    leadership = await lead(server)
    server.faults = ["before"]
    await leadership.release()
    assert server.lease is not None
    assert server.lease.holder == "a"
    server.lease = Lease("b", 15, 1, "999")
    await leadership.release()
    assert server.lease.holder == "b"


@virtual_time
async def test_a_process_leads_only_once():
    leadership = await lead(Server())
    with pytest.raises(LeadershipLost, match="leads only once"):
        await leadership.acquire()
    await leadership.release()
    with pytest.raises(LeadershipLost, match="gave the lease back"):
        await leadership.acquire()


@virtual_time
async def test_a_process_told_to_stop_while_it_waits_does_not_lead_after_all():
    clock, server = VirtualClock(), Server(lease=Lease("gone", 15, 0, "abc"))
    leadership = Leadership(server, "b", clock)
    waiting = asyncio.create_task(leadership.acquire())
    await clock.sleep(5)
    await leadership.release()
    with pytest.raises(LeadershipLost):
        await waiting
    assert server.writes == []


@virtual_time
async def test_a_leader_that_cannot_renew_stops_ten_seconds_after_it_last_asked():
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    task = holding(leadership)
    await clock.sleep(4.5)
    renewed_at = server.writes[-1][0]
    server.faults = ["before"] * 100
    await clock.sleep(renewed_at + 9.99 - clock.now())
    leadership.check()
    await clock.sleep(0.02)
    with pytest.raises(LeadershipLost, match=r"last renewed the lease 10\.0 s ago"):
        leadership.check()
    with pytest.raises(LeadershipLost):
        await task
    assert clock.now() == pytest.approx(renewed_at + 10, abs=0.05)


@virtual_time
async def test_what_was_lost_stays_lost_whatever_the_server_says_later():
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    clock.jump(10.5)
    assert not leadership.is_held()
    with pytest.raises(LeadershipLost):
        await holding(leadership)
    assert not leadership.is_held()


@virtual_time
async def test_three_attempts_fit_before_the_deadline_when_the_server_hangs():
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    server.faults = ["hang before", "hang before"]
    task = holding(leadership)
    await clock.sleep(30)
    assert leadership.is_held()
    await stop(task)


@pytest.mark.parametrize("fault", ["after", "hang after"])
@virtual_time
async def test_a_renewal_that_arrived_without_an_answer_is_found_out(fault):
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    server.faults = [fault]
    task = holding(leadership)
    await clock.sleep(30)
    leadership.check()
    assert server.lease is not None
    assert server.lease.transitions == 0
    await stop(task)


@virtual_time
async def test_a_grant_that_arrived_without_an_answer_is_found_out():
    server = Server(faults=[None, "after"])
    leadership = await lead(server)
    leadership.check()


@virtual_time
async def test_the_lease_counts_from_the_question_not_from_the_answer():
    """The answer takes 1.9 s; so 8.2 s after it, 10.1 s after the question, it is over."""
    clock, server = VirtualClock(), Server(faults=[None, "slow"])
    leadership = await lead(server)
    await clock.sleep(8.0)
    leadership.check()
    await clock.sleep(0.2)
    assert not leadership.is_held()


@virtual_time
async def test_a_process_stopped_while_it_was_granted_the_lease_asks_again():
    clock, server = VirtualClock(), Server(faults=[None, "stopped"])
    leadership = await lead(server)
    leadership.check()
    assert len(server.writes) == 2
    assert clock.now() - server.writes[-1][0] == 0


@virtual_time
async def test_a_leader_finds_out_that_another_took_the_lease_at_its_next_renewal():
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    task = holding(leadership)
    await clock.sleep(5)
    server.lease = Lease("b", 15, 1, "999")
    await clock.sleep(1.1)
    with pytest.raises(LeadershipLost, match="a lost the lease: b holds it"):
        leadership.check()
    with pytest.raises(LeadershipLost, match="b holds it"):
        await task
    assert server.lease.holder == "b"


@virtual_time
async def test_a_leader_makes_a_deleted_lease_again():
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    task = holding(leadership)
    await clock.sleep(5)
    server.lease = None
    await clock.sleep(2)
    assert server.lease is not None
    assert server.lease.holder == "a"
    leadership.check()
    await stop(task)


@virtual_time
async def test_who_knew_the_holder_of_a_deleted_lease_waits_for_its_end():
    clock, server = VirtualClock(), Server(lease=Lease("a", 15, 0, "abc"))
    start = clock.now()
    second = Leadership(server, "b", clock)
    waiting = asyncio.create_task(second.acquire())
    await clock.sleep(1)
    server.lease = None
    await waiting
    assert 15 <= clock.now() - start <= 17


@virtual_time
async def test_an_edit_by_somebody_else_does_not_end_a_lead():
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    task = holding(leadership)
    for number in range(20):
        await clock.sleep(1.3)
        server.lease = Lease("a", 15, 0, f"edited-{number}")
    await clock.sleep(3)
    leadership.check()
    await stop(task)


@virtual_time
async def test_a_paused_leader_knows_when_it_goes_on():
    """Stopped for 20 s: not one task of it has run, and `check` already says no."""
    clock, server = VirtualClock(), Server()
    leadership = await lead(server)
    task = holding(leadership)
    await clock.sleep(4)
    clock.jump(20)
    with pytest.raises(LeadershipLost, match="s ago"):
        leadership.check()
    with pytest.raises(LeadershipLost):
        await task


class DateJumps(VirtualClock):
    """Its date can move by itself, as when the machine slept or somebody set its clock."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def utc_now(self) -> datetime:
        return super().utc_now() + self.moved


@virtual_time
async def test_a_machine_that_slept_with_its_monotonic_clock_acts_only_after_a_renewal():
    clock, server = DateJumps(), Server()
    leadership = await lead(server, clock=clock)
    task = holding(leadership)
    await clock.sleep(1)
    clock.moved = timedelta(seconds=30)
    with pytest.raises(LeadershipLost, match=r"The date moved on by 31\.0 s"):
        leadership.check()
    await clock.sleep(2)
    leadership.check()
    await stop(task)


@virtual_time
async def test_a_machine_that_slept_while_another_took_over_acts_no_more():
    clock, server = DateJumps(), Server()
    leadership = await lead(server, clock=clock)
    task = holding(leadership)
    await clock.sleep(1)
    clock.moved = timedelta(seconds=30)
    server.lease = Lease("b", 15, 1, "999")
    assert not leadership.is_held()
    with pytest.raises(LeadershipLost, match="b holds it"):
        await task


@virtual_time
async def test_a_date_set_back_changes_nothing():
    clock, server = DateJumps(), Server()
    leadership = await lead(server, clock=clock)
    task = holding(leadership)
    clock.moved = timedelta(days=-400)
    await clock.sleep(20)
    leadership.check()
    await stop(task)


@virtual_time
async def test_a_silent_server_is_complained_about_once_a_minute(caplog):
    clock, server = VirtualClock(), Server(faults=["before"] * 1_000)
    waiting = asyncio.create_task(Leadership(server, "a", clock).acquire())
    with caplog.at_level(logging.WARNING):
        await clock.sleep(179)
    assert len(caplog.records) == 3
    assert "refused" in caplog.text
    await stop(waiting)


@pytest.mark.parametrize(
    ("lease_seconds", "renew_deadline", "retry"), [(10, 10, 2), (15, 2, 2), (15, 10, 0)]
)
def test_times_that_would_let_two_lead_are_refused(lease_seconds, renew_deadline, retry):
    with pytest.raises(ValueError, match="stops before another may start"):
        Leadership(
            Server(),
            "a",
            VirtualClock(),
            lease_seconds=lease_seconds,
            renew_deadline=renew_deadline,
            retry=retry,
        )


# --- many processes, faults, pauses and restarts -------------------------------------------------


class Process:
    """A process that can be stopped: nothing it waits for comes back before it goes on."""

    def __init__(self, server: Server, identity: str) -> None:
        self.server = server
        self.going = asyncio.Event()
        self.going.set()
        self.leadership = Leadership(self, identity, self)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.leadership.acquire()
        await self.leadership.hold()

    def now(self) -> float:
        return VirtualClock().now()

    def utc_now(self) -> datetime:
        return VirtualClock().utc_now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.going.wait()

    async def read(self) -> Lease | None:
        return await self._paused(self.server.read)

    async def create(self, holder: str, seconds: float, now: datetime) -> Lease:
        return await self._paused(self.server.create, holder, seconds, now)

    async def replace(self, known: Lease, holder: str, seconds: float, now: datetime) -> Lease:
        return await self._paused(self.server.replace, known, holder, seconds, now)

    async def _paused(self, call, *args):
        await self.going.wait()
        await asyncio.sleep(0.02)
        result = await call(*args)
        await self.going.wait()
        return result


async def contend(seed: int) -> tuple[int, int]:
    """Run three processes for five bad minutes and one good; return most at once, and leads."""
    chance = random.Random(seed)
    clock, server = VirtualClock(), Server()
    processes = [Process(server, f"process-{number}") for number in range(3)]
    started = 3
    most_at_once = 0
    leaders: set[str] = set()
    start = clock.now()
    clock_of_the_world = asyncio.get_running_loop()
    while clock.now() - start < 360:
        await clock.sleep(0.1)
        held = [p.leadership.identity for p in processes if p.leadership.is_held()]
        most_at_once = max(most_at_once, len(held))
        leaders.update(held)
        bad = clock.now() - start < 300
        if not bad:
            server.faults.clear()
            for process in processes:
                process.going.set()
        else:
            if chance.random() < 0.01:
                kinds = ["before", "after", "hang before", "hang after", "slow", None]
                server.faults += [chance.choice(kinds) for _ in range(chance.randrange(12))]
            if chance.random() < 0.01:
                # Mostly the leader is stopped, for times around those of the lease.
                led = [p for p in processes if p.leadership.is_held()]
                chosen = chance.choice(led * 3 + processes)
                chosen.going.clear()
                clock_of_the_world.call_later(chance.uniform(5, 20), chosen.going.set)
        for number, process in enumerate(processes):
            died = bad and chance.random() < 0.0005
            if died or process.task.done():
                await stop(process.task)
                processes[number] = Process(server, f"process-{started}")
                started += 1
    assert any(p.leadership.is_held() for p in processes), f"nobody leads at last, seed {seed}"
    for process in processes:
        await stop(process.task)
    return most_at_once, len(leaders)


def test_of_three_that_are_paused_killed_and_cut_off_at_most_one_leads_at_any_moment():
    leads = 0

    @virtual_time
    async def story(seed: int) -> None:
        nonlocal leads
        most_at_once, leaders = await contend(seed)
        assert most_at_once <= 1, f"two led at once, seed {seed}"
        leads += leaders

    for seed in range(25):
        story(seed)
    assert leads > 50, "the stories are not bad enough to prove anything"


# --- the Lease on the wire -----------------------------------------------------------------------


class Objects:
    """Keeps what KubernetesLeases sends, and answers as the API server would."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict]] = []

    async def create_namespaced_custom_object(self, *, body, **where):
        self.sent.append(("create", {**where, "body": body}))
        return {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}

    async def patch_namespaced_custom_object(self, *, body, **where):
        self.sent.append(("patch", {**where, "body": body}))
        return {"metadata": {"resourceVersion": "2"}, "spec": body["spec"]}


async def test_times_are_written_with_six_decimals_also_on_the_second():
    leases = KubernetesLeases(None, "spawnai", "operator")
    leases._objects = objects = Objects()
    on_the_second = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
    lease = await leases.create("a", 14.2, on_the_second)
    assert lease == Lease("a", 15, 0, "1")
    spec = objects.sent[0][1]["body"]["spec"]
    assert spec["renewTime"] == spec["acquireTime"] == "2026-11-01T12:00:00.000000Z"


async def test_a_renewal_is_conditional_and_a_change_of_hands_is_counted():
    leases = KubernetesLeases(None, "spawnai", "operator")
    leases._objects = objects = Objects()
    now = datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=UTC)
    known = Lease("a", 15, 3, "77")
    await leases.replace(known, "a", 15, now)
    await leases.replace(known, "b", 15, now)
    await leases.replace(known, "", 1, now)
    renewal, takeover, giving_back = (call["body"] for _, call in objects.sent)
    assert renewal == {
        "metadata": {"resourceVersion": "77"},
        "spec": {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "renewTime": "2026-11-01T12:00:00.000005Z",
        },
    }
    assert takeover["spec"]["leaseTransitions"] == 4
    assert takeover["spec"]["acquireTime"] == "2026-11-01T12:00:00.000005Z"
    assert giving_back["spec"]["holderIdentity"] == ""
    assert "leaseTransitions" not in giving_back["spec"]
    assert {call["_content_type"] for _, call in objects.sent} == {"application/merge-patch+json"}
