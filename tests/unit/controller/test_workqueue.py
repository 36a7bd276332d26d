"""The promises of the work queue, each under its name."""

import asyncio
import itertools
import logging
import random
import time

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.clock import Clock, SystemClock
from spawnai.controller.workqueue import WorkQueue, log_failure


def make_queue(clock: Clock | None = None, **options) -> WorkQueue:
    seeded = random.Random(1)
    return WorkQueue(clock or VirtualClock(), seeded, **options)


def ignore(key: str, error: BaseException, failures: int) -> None:
    """For tests in which failures are part of the story."""


async def ended(running: asyncio.Task[None]) -> None:
    """The workers are sent home, and no error had ended them before."""
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class Handler:
    """Writes down which key it was given and when, and does for it what the test scripted."""

    def __init__(self, clock, seconds: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds
        self.calls: list[tuple[float, str]] = []
        self.at_once: dict[str, int] = {}
        self.most_at_once_for_one_key = 0

    async def __call__(self, key: str) -> None:
        self.calls.append((self.clock.now(), key))
        self.at_once[key] = self.at_once.get(key, 0) + 1
        self.most_at_once_for_one_key = max(self.most_at_once_for_one_key, self.at_once[key])
        try:
            if self.seconds:
                await self.clock.sleep(self.seconds)
        finally:
            self.at_once[key] -= 1

    @property
    def keys(self) -> list[str]:
        return [key for _, key in self.calls]


async def taken(queue: WorkQueue) -> str | None:
    """The key that is ready now, if any."""
    try:
        async with asyncio.timeout(0):
            return await queue.get()
    except TimeoutError:
        return None


@virtual_time
async def test_fair():
    queue = make_queue()
    queue.add_after("c", 2)
    queue.add("a")
    queue.add("b")
    assert [await queue.get() for _ in "abc"] == ["a", "b", "c"]


@virtual_time
async def test_fair_also_among_those_who_take():
    queue = make_queue()
    takers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in ("a", "b", "c"):
        queue.add(key)
    assert await asyncio.gather(*takers) == ["a", "b", "c"]


@virtual_time
async def test_stingy():
    queue = make_queue()
    for _ in range(5):
        queue.add("a")
    assert queue.depth == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert await taken(queue) is None


@virtual_time
async def test_one_worker_per_key():
    clock = VirtualClock()
    queue = make_queue()
    handler = Handler(clock, seconds=3)
    running = asyncio.create_task(queue.run(4, handler))
    for step in range(20):
        queue.add("a")
        queue.add_after("a", 0.1)
        queue.add(f"other-{step % 2}")
        await clock.sleep(1)
    await ended(running)
    assert handler.most_at_once_for_one_key == 1
    assert handler.keys.count("a") >= 6


@virtual_time
async def test_nothing_is_lost():
    queue = make_queue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert await taken(queue) is None, "in hand: nobody else may have it"
    assert queue.depth == 1
    queue.done("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


@virtual_time
async def test_nothing_is_lost_when_a_taker_is_cancelled_as_it_is_woken():
    queue = make_queue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"
    with pytest.raises(asyncio.CancelledError):
        await first


@virtual_time
async def test_nothing_is_lost_when_a_delayed_key_falls_due_while_it_is_handled():
    clock = VirtualClock()
    queue = make_queue()
    handler = Handler(clock, seconds=10)
    running = asyncio.create_task(queue.run(2, handler))
    start = clock.now()
    queue.add("a")
    queue.add_after("a", 5)
    await clock.sleep(30)
    assert [moment - start for moment, _ in handler.calls] == [0, 10]
    await ended(running)


@virtual_time
async def test_on_time():
    clock = VirtualClock()
    queue = make_queue()
    handler = Handler(clock)
    running = asyncio.create_task(queue.run(2, handler))
    start = clock.now()
    delays = {"three days": 259_200, "two minutes": 120, "at once": 0, "in the past": -5, "soon": 1}
    for key, delay in delays.items():
        queue.add_after(key, delay)
    await clock.sleep(300_000)
    assert {key: moment - start for moment, key in handler.calls} == {
        "three days": 259_200,
        "two minutes": 120,
        "at once": 0,
        "in the past": 0,
        "soon": 1,
    }
    await ended(running)


async def test_on_time_by_the_machines_clock():
    """Real time is the subject; the median, since other programs share the machine."""
    clock = SystemClock()
    queue = make_queue(clock)
    lateness: list[float] = []
    due = {f"key-{number}": clock.now() + 0.05 + number * 0.002 for number in range(100)}

    async def handle(key: str) -> None:
        lateness.append(clock.now() - due[key])

    running = asyncio.create_task(queue.run(4, handle))
    for key, moment in due.items():
        queue.add_at(key, moment)
    deadline = clock.now() + 10
    while len(lateness) < 100 and clock.now() < deadline:
        await asyncio.sleep(0.02)
    await ended(running)
    lateness.sort()
    assert len(lateness) == 100
    assert lateness[0] >= 0, "never before its time"
    assert lateness[50] < 0.005


@virtual_time
async def test_the_earliest_time_wins():
    clock = VirtualClock()
    queue = make_queue()
    start = clock.now()
    queue.add_after("a", 100)
    queue.add_after("a", 10)
    queue.add_after("a", 50)
    assert await queue.get() == "a"
    assert clock.now() - start == 10
    queue.done("a")
    assert queue.delayed == 0
    queue.add_after("a", 5)
    assert await queue.get() == "a"
    assert clock.now() - start == 15


@virtual_time
async def test_the_earliest_time_wins_over_the_backoff():
    """A deadline is met although the key has failed until its wait is a minute."""
    clock = VirtualClock()
    queue = make_queue()
    start = clock.now()
    for _ in range(20):
        queue.add_rate_limited("a")
        await queue.get()
        queue.done("a")
    start = clock.now()
    queue.add_rate_limited("a")
    queue.add_after("a", 2)
    assert await queue.get() == "a"
    assert clock.now() - start == 2


@virtual_time
async def test_failures_back_off():
    clock = VirtualClock()
    failures: list[tuple[float, str, str]] = []
    queue = make_queue(
        on_failure=lambda key, error, _times: failures.append((clock.now(), key, str(error)))
    )

    async def fail(key: str) -> None:
        raise LookupError(f"no {key}")

    running = asyncio.create_task(queue.run(1, fail))
    queue.add("a")
    while len(failures) < 14:
        await clock.sleep(1)
    running.cancel()
    assert {(key, text) for _, key, text in failures} == {("a", "no a")}
    times = [moment for moment, _, _ in failures]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    ceilings = [min(0.2 * 2**number, 5) for number in range(13)]
    for wait, ceiling in zip(waits, ceilings, strict=True):
        assert ceiling / 2 - 1e-6 <= wait <= ceiling + 1e-6
    assert 0.1 <= waits[0] <= 0.2
    assert waits[-1] <= 5


@virtual_time
async def test_failures_back_off_at_least_as_long_as_the_error_asks():
    clock = VirtualClock()
    moments: list[float] = []
    queue = make_queue(on_failure=ignore, pause_of=lambda _: 7.0)

    async def fail(key: str) -> None:
        moments.append(clock.now())
        raise LookupError(key)

    running = asyncio.create_task(queue.run(1, fail))
    queue.add("a")
    await clock.sleep(20)
    running.cancel()
    assert [later - earlier for earlier, later in itertools.pairwise(moments)] == [7.0, 7.0]


def test_a_failure_is_told_with_its_traceback_once_and_then_ever_more_rarely(caplog):
    caplog.set_level("INFO")
    for number in range(1, 101):
        log_failure("a", LookupError("no a"), number)
    told = [record for record in caplog.records if record.levelname != "DEBUG"]
    assert len(told) == 7, "1, 2, 4, 8, 16, 32, 64"
    assert [record.exc_info is not None for record in told] == [True] + [False] * 6
    caplog.clear()
    log_failure("a", LookupError("no a"), 1, is_expected=lambda _: True)
    assert [record.exc_info for record in caplog.records] == [None]
    assert "no a" in caplog.text


@virtual_time
async def test_failures_back_off_each_at_a_time_of_its_own():
    clock = VirtualClock()
    queue = make_queue()
    handler = Handler(clock)
    for number in range(100):
        queue.add_rate_limited(f"key-{number}")
    running = asyncio.create_task(queue.run(1, handler))
    await clock.sleep(1)
    assert len({moment for moment, _ in handler.calls}) > 90
    await ended(running)


@virtual_time
async def test_failures_back_off_never_overflows():
    queue = make_queue()
    for _ in range(5_000):
        queue.add_rate_limited("a")
    assert queue.delayed == 1


@virtual_time
async def test_success_starts_the_backoff_afresh():
    clock = VirtualClock()
    queue = make_queue(on_failure=ignore)
    start = clock.now()
    moments: list[float] = []

    async def fail_but_for_the_eighth(key: str) -> None:
        moments.append(clock.now() - start)
        if len(moments) != 8:
            raise LookupError(key)
        queue.add_after(key, 1000)

    running = asyncio.create_task(queue.run(1, fail_but_for_the_eighth))
    queue.add("a")
    await clock.sleep(1_100)
    running.cancel()
    assert moments[8] - moments[7] == pytest.approx(1000)
    assert moments[9] - moments[8] <= 0.2 + 1e-6


@virtual_time
async def test_a_handler_that_asks_for_the_backoff_itself_keeps_it():
    clock = VirtualClock()
    queue = make_queue()
    moments: list[float] = []

    async def not_yet(key: str) -> None:
        moments.append(clock.now())
        queue.add_rate_limited(key)

    running = asyncio.create_task(queue.run(1, not_yet))
    queue.add("a")
    await clock.sleep(100)
    running.cancel()
    assert 23 <= len(moments) <= 48, "0.2 s, 0.4 s, … 5 s: at least every 5 s, at most every 2.5 s"


@virtual_time
async def test_a_handlers_own_cancelled_task_does_not_cost_a_worker():
    clock = VirtualClock()
    failed: list[str] = []
    queue = make_queue(on_failure=lambda key, *_: failed.append(key))
    handled: list[str] = []

    async def handle(key: str) -> None:
        if key == "bad" and not failed:
            inner = asyncio.create_task(clock.sleep(10))
            inner.cancel()
            await inner
        handled.append(key)

    running = asyncio.create_task(queue.run(1, handle))
    queue.add("bad")
    queue.add("good")
    await clock.sleep(5)
    assert failed == ["bad"]
    assert handled == ["good", "bad"]
    await ended(running)


@virtual_time
async def test_a_report_that_fails_does_not_cost_a_worker(caplog):
    def broken(key: str, error: BaseException, failures: int) -> None:
        raise RuntimeError("no room for reports")

    clock = VirtualClock()
    queue = make_queue(on_failure=broken)
    calls: list[str] = []

    async def handle(key: str) -> None:
        calls.append(key)
        if len(calls) == 1:
            raise LookupError

    running = asyncio.create_task(queue.run(1, handle))
    queue.add("a")
    await clock.sleep(1)
    assert calls == ["a", "a"]
    assert "Reporting the failure of a failed" in caplog.text
    running.cancel()


@virtual_time
async def test_a_failure_is_logged_with_its_key_unless_told_otherwise(caplog):
    clock = VirtualClock()
    queue = make_queue()

    async def handle(key: str) -> None:
        raise LookupError("where is it")

    running = asyncio.create_task(queue.run(1, handle))
    with caplog.at_level(logging.ERROR):
        queue.add("default/retro-board")
        await clock.sleep(0.05)
    assert "default/retro-board" in caplog.text
    assert "where is it" in caplog.text
    running.cancel()


async def test_rest_is_free():
    """Real time is the subject: processor time of 10,000 delayed keys over half a second."""
    queue = make_queue(SystemClock())
    loop = asyncio.get_running_loop()

    async def handle(key: str) -> None:
        pytest.fail(f"{key} is not due for an hour")

    running = asyncio.create_task(queue.run(8, handle))
    for number in range(10_000):
        queue.add_after(f"key-{number}", 3_600 + number)
    await asyncio.sleep(0.05)
    assert queue.delayed == 10_000
    assert len(asyncio.all_tasks(loop)) <= 8 + 3, "workers, run, the alarm and this test"
    before = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - before < 0.05
    await ended(running)


@virtual_time
async def test_rest_is_free_of_stale_entries():
    queue = make_queue()
    for number in range(100):
        for earlier in range(100):
            queue.add_after(f"key-{number}", 10_000 - earlier)
    assert queue.delayed == 100
    assert len(queue._heap) <= 2 * 100 + 65


@virtual_time
async def test_cancelling_run_leaves_waiting_keys_where_they_are():
    clock = VirtualClock()
    queue = make_queue()
    handler = Handler(clock, seconds=60)
    running = asyncio.create_task(queue.run(1, handler))
    queue.add("a")
    queue.add("b")
    await clock.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert queue.depth == 1
    assert await taken(queue) == "b"


@virtual_time
async def test_depth_and_oldest_wait_tell_what_is_ready():
    clock = VirtualClock()
    queue = make_queue()
    assert (queue.depth, queue.oldest_wait_seconds) == (0, 0.0)
    queue.add("a")
    await clock.sleep(4)
    queue.add("b")
    queue.add_after("c", 100)
    await clock.sleep(1)
    assert (queue.depth, queue.oldest_wait_seconds, queue.delayed) == (2, 5.0, 1)
    await queue.get()
    assert (queue.depth, queue.oldest_wait_seconds) == (1, 1.0)


@virtual_time
async def test_stuck_is_a_key_that_no_worker_takes():
    clock = VirtualClock()
    queue = make_queue()
    assert await taken(queue) is None
    queue.add("default/a")
    await clock.sleep(60)
    assert queue.stuck(60) is None
    await clock.sleep(1)
    assert queue.stuck(60) == "default/a has waited 61 s for a worker (limit 60 s)"


@virtual_time
async def test_stuck_is_a_worker_that_does_not_come_back():
    clock = VirtualClock()
    queue = make_queue()
    queue.add("default/a")
    await queue.get()
    await clock.sleep(61)
    assert queue.stuck(60) == "a worker has been busy with default/a for 61 s (limit 60 s)"
    queue.done("default/a")
    assert queue.stuck(60) is None


@virtual_time
async def test_stuck_is_an_alarm_that_did_not_go_off():
    clock = VirtualClock()
    queue = make_queue()
    assert await taken(queue) is None
    queue.add_after("default/a", 10)
    queue._alarm.cancel()
    await clock.sleep(71)
    assert queue.stuck(60) == "default/a was due 61 s ago and has not become ready (limit 60 s)"


@virtual_time
async def test_a_queue_that_nobody_has_taken_from_is_not_stuck():
    """An operator that waits to become the leader holds keys for days, and is healthy."""
    clock = VirtualClock()
    queue = make_queue()
    queue.add("a")
    await clock.sleep(100_000)
    assert queue.stuck(60) is None
    queue.add("b")
    await queue.get()
    assert queue.stuck(60) is None, "b has waited since before anyone could take it"


@virtual_time
async def test_done_of_a_key_that_was_not_taken_is_an_error():
    queue = make_queue()
    queue.add("a")
    with pytest.raises(ValueError, match="'a' was not taken"):
        queue.done("a")
    assert queue.depth == 1
