"""The rate budget against a rate limit like DigitalOcean's, on leaping time."""

import asyncio
import math
import random
from collections import deque
from datetime import UTC, datetime

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai import background
from spawnai.digitalocean.budget import Priority, RateBudget, Slot, retry_after_seconds

DESTROY, RUNNING, NEW, HOUSEKEEPING, PROOF = Priority


class Limiter:
    """DigitalOcean's own count: each call counts for an hour and a minute from its arrival."""

    def __init__(self, clock: VirtualClock, *, per_hour: int = 5000, per_minute: int = 250) -> None:
        self.clock = clock
        self.per_hour = per_hour
        self.per_minute = per_minute
        self.hour: deque[float] = deque()
        self.minute: deque[float] = deque()
        self.accepted: list[float] = []
        self.refused: list[float] = []

    def take(self, *, foreign: bool = False) -> tuple[int, dict[str, str]]:
        now = self.clock.now()
        while self.hour and self.hour[0] <= now - 3600:
            self.hour.popleft()
        while self.minute and self.minute[0] <= now - 60:
            self.minute.popleft()
        headers = {"ratelimit-limit": str(self.per_hour)}
        status = 200
        if len(self.minute) >= self.per_minute:
            status = 429
            headers["retry-after"] = str(math.ceil(self.minute[0] + 60 - now))
        elif len(self.hour) >= self.per_hour:
            status = 429
        else:
            self.hour.append(now)
            self.minute.append(now)
        if self.hour:
            gone = self.hour[0] + 3600 - now
            headers["ratelimit-reset"] = str(math.ceil(self.clock.utc_now().timestamp() + gone))
        headers["ratelimit-remaining"] = str(self.per_hour - len(self.hour))
        if not foreign:
            (self.accepted if status == 200 else self.refused).append(now)
        return status, headers


class Caller:
    """Makes calls through the budget, each with a network's and a server's time."""

    def __init__(self, budget: RateBudget, limiter: Limiter, *, seed: int = 1) -> None:
        self.budget = budget
        self.limiter = limiter
        self.random = random.Random(seed)
        self.order: list[tuple[Priority, object]] = []

    async def once(self, priority: Priority, name: object = None) -> int:
        clock = self.limiter.clock
        async with self.budget.slot(priority) as slot:
            self.order.append((priority, name))
            await clock.sleep(self.random.uniform(0.01, 0.4))
            status, headers = self.limiter.take()
            await clock.sleep(self.random.uniform(0.01, 0.4))
            self.budget.observe(headers, status, slot)
        return status

    async def until_accepted(self, priority: Priority, name: object = None) -> float:
        while await self.once(priority, name) == 429:
            await asyncio.sleep(0)
        return self.limiter.clock.now()


def world(*, deletions_due=lambda: 0, **limits) -> tuple[VirtualClock, Limiter, RateBudget, Caller]:
    clock = VirtualClock()
    limiter = Limiter(clock, **limits)
    budget = RateBudget(clock, deletions_due=deletions_due)
    return clock, limiter, budget, Caller(budget, limiter)


async def use_up(budget: RateBudget, count: int) -> None:
    for _ in range(count):
        async with budget.slot(DESTROY):
            pass


@virtual_time
async def test_a_thousand_deletions_use_the_minute_to_95_per_cent_and_none_is_refused_or_lost():
    clock, limiter, _, caller = world()
    began = clock.now()
    finished = await asyncio.gather(*(caller.until_accepted(DESTROY, n) for n in range(1000)))
    # 250 at once and 250 in each of the three minutes after it: 180 s is the least there is.
    assert max(finished) - began <= 180 / 0.95
    assert limiter.refused == []
    assert len(limiter.accepted) == 1000
    assert sorted(name for _, name in caller.order) == list(range(1000))


@virtual_time
async def test_over_hours_the_rate_stays_at_95_per_cent_of_what_is_allowed_without_a_429():
    clock, limiter, _, caller = world()
    began = clock.now()
    async with asyncio.TaskGroup() as group:
        for n in range(15_000):
            group.create_task(caller.until_accepted(DESTROY, n))
    # 5,000 in the first hour's window, 5,000 more in each after it, the last at 250 a minute.
    assert clock.now() - began <= (2 * 3600 + 20 * 60) / 0.95
    assert limiter.refused == []


@virtual_time
async def test_the_worthiest_go_first_whenever_they_came_and_equals_in_the_order_they_came():
    clock, _, budget, caller = world()
    await use_up(budget, 250)
    tasks = []
    for name, priority in enumerate([HOUSEKEEPING, NEW, RUNNING, DESTROY] * 2):
        tasks.append(asyncio.create_task(caller.once(priority, name)))
        await clock.sleep(0.001)
    await asyncio.gather(*tasks)
    assert caller.order == [
        (DESTROY, 3),
        (DESTROY, 7),
        (RUNNING, 2),
        (RUNNING, 6),
        (NEW, 1),
        (NEW, 5),
        (HOUSEKEEPING, 0),
        (HOUSEKEEPING, 4),
    ]


@virtual_time
async def test_a_deletion_finds_room_at_once_however_many_creations_wait():
    clock, limiter, _, caller = world()
    creations = [asyncio.create_task(caller.until_accepted(NEW)) for _ in range(1000)]
    await clock.sleep(30)
    asked = clock.now()
    await asyncio.gather(*(caller.until_accepted(DESTROY) for _ in range(10)))
    # One call takes 0.8 s at most here; nothing was waited for.
    assert clock.now() - asked <= 1.7
    for creation in creations:
        creation.cancel()
    assert limiter.refused == []


@pytest.mark.parametrize(
    ("priority", "share"),
    [(DESTROY, 1.0), (RUNNING, 0.95), (NEW, 0.9), (HOUSEKEEPING, 0.85), (PROOF, 0.85)],
)
def test_each_priority_leaves_its_share_of_a_minute_to_its_betters(priority, share):
    @virtual_time
    async def story():
        _, limiter, _, caller = world()
        tasks = [asyncio.create_task(caller.once(priority)) for _ in range(400)]
        await asyncio.sleep(50)
        assert len(limiter.accepted) == pytest.approx(250 * share, abs=1)
        for task in tasks:
            task.cancel()

    story()


@virtual_time
async def test_a_hundred_that_end_within_a_minute_are_deleted_on_time_and_seen_gone_beside_it():
    to_come = [n * 0.6 for n in range(100)]
    clock, _, _, caller = world(
        deletions_due=lambda: 2 * sum(at > clock.now() - 1000 for at in to_come)
    )
    late: list[float] = []
    proven: list[float] = []

    async def end(at: float) -> None:
        await clock.sleep(at)
        due = clock.now()
        await caller.until_accepted(DESTROY)
        late.append(clock.now() - due)
        await caller.until_accepted(DESTROY)
        await caller.until_accepted(PROOF)
        proven.append(clock.now())

    async with asyncio.TaskGroup() as group:
        for n in range(100):
            group.create_task(end(n * 0.6))
    # A call takes 0.8 s at most here: none of the deletions waited for its turn.
    assert max(late) <= 0.8
    assert sum(at < 1060 for at in proven) >= 10
    assert max(proven) <= 1000 + 130


@virtual_time
async def test_a_crowd_is_more_deletions_than_the_minute_bears_proofs_for():
    due = [0]
    clock, _, budget, _ = world(deletions_due=lambda: due[0])
    seen = []
    for due[0] in (0, 60, 106, 107, 200):
        await clock.sleep(2)
        seen.append((budget.is_crowded, budget.is_crowd_ahead))
    assert seen == [(False, False)] * 3 + [(True, True)] * 2
    await use_up(budget, 200)
    due[0] = 0
    await clock.sleep(2)
    assert (budget.is_crowded, budget.is_crowd_ahead) == (True, False), "it has ended just now"
    await clock.sleep(60)
    assert not budget.is_crowded


@virtual_time
async def test_the_pause_between_proofs_lets_them_fit_beside_the_deletions_of_a_crowd():
    _, _, budget, _ = world(deletions_due=lambda: 200)
    # 245 calls, 200 deletions: 45 are left for proofs of six calls.
    assert budget.proof_pause(6) == pytest.approx(6 * 60 / 45)
    for _ in range(12):
        async with budget.slot(PROOF):
            pass
    assert budget.proof_pause(6) == pytest.approx(6 * 60 / 45), "proofs do not slow proofs down"
    await use_up(budget, 100)
    assert budget.proof_pause(6) == pytest.approx(6 * 60 / 45), "what is done is not to come"


@virtual_time
async def test_proofs_in_a_crowd_leave_little_more_than_its_deletions():
    clock, limiter, _, caller = world(deletions_due=lambda: 200)
    tasks = [asyncio.create_task(caller.once(PROOF)) for _ in range(100)]
    await clock.sleep(30)
    assert len(limiter.accepted) == pytest.approx(45, abs=1)
    for task in tasks:
        task.cancel()


@virtual_time
async def test_nothing_comes_between_the_deletions_of_a_crowd_that_was_seen_coming():
    """One call between them costs the last one up to a minute: 250 go at once, then the next."""
    crowd_at, crowd = 1100, 1000
    deleted = 0

    def due() -> int:
        return crowd - deleted if crowd_at - clock.now() <= 60 else 0

    clock, limiter, _, caller = world(deletions_due=due)

    async def every_second(priority: Priority) -> None:
        while True:
            await asyncio.gather(clock.sleep(1), caller.until_accepted(priority))
            sent.append(clock.now())

    async def delete(number: int) -> float:
        nonlocal deleted
        await clock.sleep(2 * number / crowd)  # a program needs a moment to begin so many
        at = await caller.until_accepted(DESTROY)
        deleted += 1
        return at

    sent: list[float] = []
    others = [asyncio.create_task(every_second(priority)) for priority in (HOUSEKEEPING, PROOF)]
    await clock.sleep(crowd_at - clock.now())
    assert any(at > crowd_at - 70 for at in sent)
    last = max(await asyncio.gather(*(delete(number) for number in range(crowd))))
    assert last - crowd_at <= 180 / 0.95
    assert not any(crowd_at - 50 < at < last for at in sent)
    await clock.sleep(2 * 60)
    assert sum(at > last for at in sent) >= 10
    assert limiter.refused == []
    for task in others:
        task.cancel()


@pytest.mark.parametrize(("due", "waits"), [(249, False), (250, True)])
def test_a_new_session_waits_for_deletions_to_come_only_where_they_take_the_whole_minute(
    due, waits
):
    @virtual_time
    async def story():
        clock, _, _, caller = world(deletions_due=lambda: due)
        asked = clock.now()
        await caller.until_accepted(RUNNING)
        assert clock.now() - asked < 1
        await caller.until_accepted(NEW)
        waited = clock.now() - asked
        # Not for ever, though these deletions never come.
        assert 60 < waited < 80 if waits else waited < 2

    story()


@virtual_time
async def test_the_deletions_to_come_are_counted_once_a_second_however_many_ask_beside_them():
    counted: list[float] = []

    def due() -> int:
        counted.append(clock.now())
        return 250

    clock, _, budget, caller = world(deletions_due=due)
    proofs = [asyncio.create_task(caller.once(PROOF)) for _ in range(100)]
    for _ in range(100):
        await caller.until_accepted(DESTROY)
    assert budget.waiting(PROOF) > 0
    assert len(counted) <= clock.now() - counted[0] + 1
    for task in proofs:
        task.cancel()


@virtual_time
async def test_a_proof_does_not_wait_for_deletions_that_do_not_come():
    clock, _, _, caller = world()
    await asyncio.gather(*(caller.until_accepted(NEW) for _ in range(180)))
    asked = clock.now()
    await caller.until_accepted(DESTROY)
    await caller.until_accepted(DESTROY)
    await caller.until_accepted(PROOF)
    # Three calls after another, 0.8 s each at most, in a minute that is used to three quarters.
    assert clock.now() - asked <= 2.4


@virtual_time
async def test_proofs_are_not_starved_by_deletions_that_never_end():
    clock, _, budget, caller = world(deletions_due=lambda: 130)
    proven: list[float] = []

    async def end(at: float) -> None:
        await clock.sleep(at)
        await caller.until_accepted(DESTROY)
        await caller.until_accepted(DESTROY)
        await caller.until_accepted(PROOF)
        proven.append(clock.now() - 1000 - at)

    # 65 sessions a minute need 130 calls for deletions, and with the proofs 195 of the 250.
    tasks = [asyncio.create_task(end(n * 60 / 65)) for n in range(65 * 20)]
    await clock.sleep(15 * 60)
    assert len(proven) >= 65 * 13
    assert max(proven) <= 105
    assert budget.waiting(DESTROY) == 0
    for task in tasks:
        task.cancel()


@virtual_time
async def test_housekeeping_is_not_starved_by_an_endless_stream_of_better_calls():
    clock, limiter, _, caller = world()

    async def stream():
        while True:
            await caller.until_accepted(RUNNING)

    streams = [asyncio.create_task(stream()) for _ in range(40)]
    await clock.sleep(600)
    asked = clock.now()
    await caller.until_accepted(HOUSEKEEPING)
    assert clock.now() - asked <= 3 * 60
    for task in streams:
        task.cancel()
    # Fairness did not cost the stream its rate.
    in_last_minute = [at for at in limiter.accepted if at > clock.now() - 60]
    assert len(in_last_minute) >= 0.95 * 0.95 * 250


@virtual_time
async def test_who_gives_up_waiting_leaves_the_queue_and_takes_nothing_with_him():
    clock, _, budget, caller = world()
    await use_up(budget, 250)
    waiting = [asyncio.create_task(caller.once(DESTROY, n)) for n in range(300)]
    await clock.sleep(1)
    for task in waiting[:299]:
        task.cancel()
    await clock.sleep(0)
    assert budget.waiting(DESTROY) == 1
    assert await waiting[299] == 200
    assert caller.order == [(DESTROY, 299)]


@virtual_time
async def test_a_turn_that_comes_to_one_who_is_just_being_cancelled_goes_to_the_next():
    _, _, budget, caller = world()
    await asyncio.gather(*(caller.once(DESTROY) for _ in range(20)))
    held = [budget.slot(DESTROY) for _ in range(40)]
    for slot in held:
        await slot.__aenter__()
    granted: list[int] = []

    async def take(name: int) -> None:
        async with budget.slot(DESTROY):
            granted.append(name)

    first, second = (asyncio.create_task(take(name)) for name in (1, 2))
    await asyncio.sleep(0)
    await held[0].__aexit__(None, None, None)
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert granted == [2]
    for slot in held[1:]:
        await slot.__aexit__(None, None, None)


@virtual_time
async def test_a_429_stops_everyone_until_the_time_it_names():
    clock, limiter, budget, caller = world()
    async with budget.slot(NEW) as slot:
        budget.observe({"retry-after": "29", "ratelimit-remaining": "3000"}, 429, slot)
    paused_at = clock.now()
    assert budget.minute_share == 0
    assert budget.paused_seconds == 29
    await asyncio.gather(*(caller.once(RUNNING) for _ in range(30)))
    assert min(limiter.accepted) >= paused_at + 29
    # Never a herd: one, then two, then four at once.
    first_second = [at for at in limiter.accepted if at < paused_at + 29 + 0.4]
    assert len(first_second) == 1


@virtual_time
async def test_while_paused_one_deletion_at_a_time_asks_ever_more_rarely():
    clock, _, budget, _ = world()
    async with budget.slot(NEW) as slot:
        budget.observe({"retry-after": "120", "ratelimit-remaining": "3000"}, 429, slot)
    began = clock.now()
    asked: list[float] = []

    async def delete() -> None:
        while True:
            async with budget.slot(DESTROY) as slot:
                asked.append(round(clock.now() - began, 3))
                budget.observe({"retry-after": "100", "ratelimit-remaining": "3000"}, 429, slot)

    tasks = [asyncio.create_task(delete()) for _ in range(5)]
    await clock.sleep(100)
    for task in tasks:
        task.cancel()
    assert asked == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 62.0, 92.0]


@virtual_time
async def test_a_deletion_that_is_accepted_during_a_pause_ends_it_for_all():
    clock, limiter, budget, caller = world()
    async with budget.slot(NEW) as slot:
        budget.observe({"retry-after": "3000", "ratelimit-remaining": "3000"}, 429, slot)
    began = clock.now()
    await asyncio.gather(caller.once(NEW), caller.once(DESTROY))
    assert clock.now() - began < 5
    assert [priority for priority, _ in caller.order] == [DESTROY, NEW]
    assert limiter.refused == []


@virtual_time
async def test_an_answer_to_a_call_from_before_the_429_does_not_end_the_pause():
    clock, _, budget, _ = world()
    async with budget.slot(NEW) as early:
        await clock.sleep(1)
        async with budget.slot(NEW) as late:
            await clock.sleep(1)
            budget.observe({"retry-after": "20", "ratelimit-remaining": "9"}, 429, late)
        budget.observe({"ratelimit-remaining": "9"}, 200, early)
    assert budget.paused_seconds == 20


@virtual_time
async def test_the_herd_of_429s_of_one_burst_shrinks_our_share_once():
    clock, limiter, budget, caller = world()
    await clock.sleep(600)
    for _ in range(150):
        limiter.take(foreign=True)
    await asyncio.gather(*(caller.until_accepted(DESTROY) for _ in range(120)))
    assert 1 < len(limiter.refused) <= 45
    assert budget._minute_limit(clock.now()) > 60


@virtual_time
async def test_another_program_with_half_of_the_token_neither_starves_us_nor_makes_a_storm():
    clock, limiter, _, caller = world(per_hour=100_000)

    async def other_program() -> None:
        while True:
            await clock.sleep(60 / 125)
            limiter.take(foreign=True)

    other = asyncio.create_task(other_program())
    await clock.sleep(600)
    began = clock.now()
    await asyncio.gather(*(caller.until_accepted(DESTROY, n) for n in range(1500)))
    other.cancel()
    minutes = (clock.now() - began) / 60
    assert len(limiter.accepted) / minutes >= 0.9 * 125
    assert len(limiter.refused) <= 0.07 * len(limiter.accepted)


@virtual_time
async def test_an_hour_that_another_program_used_up_is_looked_at_again_and_used_as_it_frees():
    clock, limiter, _, caller = world()
    for n in range(5000):
        limiter.hour.append(clock.now() - 3600 + n * 0.72)
    limiter.take(foreign=True)
    began = clock.now()
    await asyncio.gather(*(caller.until_accepted(DESTROY, n) for n in range(500)))
    # 5,000 calls leave the hour evenly, one every 0.72 s: 500 take 6 minutes at least.
    assert clock.now() - began <= 6 * 60 / 0.8
    assert len(limiter.refused) <= 45


@virtual_time
async def test_a_limit_lower_than_ours_in_an_answer_is_kept():
    _, limiter, budget, caller = world(per_hour=40, per_minute=40)
    await caller.once(DESTROY)
    assert budget.remaining == 39
    await asyncio.gather(*(caller.once(DESTROY) for _ in range(39)))
    assert limiter.refused == []


@virtual_time
async def test_what_is_left_is_told_for_the_hour_and_the_minute():
    clock, _, budget, _ = world()
    await use_up(budget, 100)
    assert (budget.remaining, budget.remaining_in_minute) == (4900, 150)
    assert budget.minute_share == pytest.approx(0.4 + 0.2)
    assert budget.hour_share == pytest.approx(0.98)
    await clock.sleep(61)
    assert (budget.remaining, budget.remaining_in_minute) == (4900, 250)


@virtual_time
async def test_no_timer_is_left_running_when_nobody_waits():
    _, _, budget, caller = world()
    await use_up(budget, 250)
    task = asyncio.create_task(caller.once(DESTROY))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(61)
    assert [t for t in asyncio.all_tasks() if t.get_name() == "digitalocean-rate-budget"] == []


@virtual_time
async def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one call"):
        RateBudget(VirtualClock(), per_minute=0)


def test_the_pause_is_what_retry_after_says_else_until_the_reset_by_the_servers_own_clock():
    headers = {"retry-after": "29", "ratelimit-reset": "1444931833"}
    moment = datetime.fromtimestamp(1444931800, UTC)
    assert retry_after_seconds(headers, moment) == 29
    assert retry_after_seconds({"ratelimit-reset": "1444931833"}, moment) == 33
    by_server = {"ratelimit-reset": "1444931833", "date": "Thu, 15 Oct 2015 17:57:03 GMT"}
    assert retry_after_seconds(by_server, moment) == 10
    assert retry_after_seconds({"ratelimit-reset": "1"}, moment) == 1
    assert retry_after_seconds({"retry-after": "soon"}, moment) is None
    assert retry_after_seconds({}, moment) is None


def test_slots_are_told_apart_by_identity():
    assert Slot(NEW, 1.0) != Slot(NEW, 1.0)


@virtual_time
async def test_an_error_in_handing_out_turns_is_told_and_fails_liveness(monkeypatch, caplog):
    _, _, budget, caller = world()
    await use_up(budget, 250)
    waiting = asyncio.create_task(caller.once(DESTROY))
    await asyncio.sleep(0)
    assert background.failure() is None

    def broken() -> None:
        raise RuntimeError("a mistake of our own")

    monkeypatch.setattr(budget, "_serve", broken)
    await asyncio.sleep(61)
    assert "turns of calls to DigitalOcean died" in str(background.failure())
    assert "a mistake of our own" in caplog.text
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
