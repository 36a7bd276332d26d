"""Looks from outside: what holds wakes a session, what comes and goes does not."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from spawnai.controller.health_watch import HealthWatch
from spawnai.droplet.probe import ProbeAnswer, Probes, read_answer
from spawnai.lifecycle.health import Entry, ProbeTarget
from spawnai.lifecycle.observation import Reachability
from spawnai.telemetry.metrics import Metrics

UP, DOWN, FAILED, NONE = ProbeAnswer.UP, ProbeAnswer.DOWN, ProbeAnswer.FAILED, ProbeAnswer.NONE


class Time:
    """A clock that a test moves; it sleeps by handing the loop on until it is there."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps = 0

    def now(self) -> float:
        return self.seconds

    def utc_now(self) -> datetime:
        return datetime(2026, 11, 29, tzinfo=UTC) + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        until = self.seconds + seconds
        while self.seconds < until:
            await asyncio.sleep(0)


class Apps(Probes):
    """What each address answers from now on."""

    def __init__(self) -> None:
        self.answers: dict[str, ProbeAnswer] = defaultdict(lambda: UP)
        self.looks: list[str] = []

    async def health(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        self.looks.append(address)
        return self.answers[address]

    async def health_of(self, host: str, address: str, port: int, seconds: float) -> ProbeAnswer:
        self.looks.append(f"https://{host} at {address}:{port}")
        return self.answers[address]

    async def knock(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        self.looks.append(f"{address}:{port}")
        return self.answers[address]


class Watching:
    def __init__(self) -> None:
        self.clock, self.apps, self.woken = Time(), Apps(), []
        self.registry = CollectorRegistry()
        self.watch = HealthWatch(
            self.apps, self.clock, Random(1), Metrics(self.registry), wake=self.woken.append
        )

    def follow(self, *names: str, port: int | None = 80) -> None:
        for name in names:
            self.watch.follow(name, ProbeTarget(name, port, 30.0, 5.0, 3))

    async def pass_intervals(self, count: int) -> None:
        for _ in range(count * 36):
            self.clock.seconds += 1.0
            for _ in range(6):
                await asyncio.sleep(0)

    def state(self, name: str) -> Reachability | None:
        view = self.watch.view(name)
        return view.state if view is not None else None


@pytest.fixture
async def watching():
    world = Watching()
    run = asyncio.create_task(world.watch.run())
    yield world
    run.cancel()
    await world.watch.close()


async def test_an_app_that_answers_is_looked_at_again_and_again_and_wakes_nobody(watching):
    watching.follow("a")
    await watching.pass_intervals(5)
    assert 4 <= len(watching.apps.looks) <= 8
    assert (watching.state("a"), watching.woken) == (Reachability.ANSWERS, [])


BALANCED = ProbeTarget(
    "203.0.113.7", None, 30.0, 5.0, 3, Entry("app.example.com", "203.0.113.9", 443)
)


async def test_an_app_behind_a_load_balancer_is_looked_at_through_it_by_https(watching):
    watching.watch.follow("a", BALANCED)
    await watching.pass_intervals(2)
    assert set(watching.apps.looks) == {"https://app.example.com at 203.0.113.9:443"}


@pytest.mark.parametrize(
    ("balancer", "droplet", "seen"),
    [
        (NONE, UP, Reachability.SILENT),
        (DOWN, UP, Reachability.DOWN),
        (DOWN, NONE, Reachability.SILENT),
    ],
)
async def test_a_load_balancer_that_answers_for_a_silent_droplet_hides_it_from_nobody(
    watching, balancer, droplet, seen
):
    watching.apps.answers |= {"203.0.113.9": balancer, "203.0.113.7": droplet}
    watching.watch.follow("a", BALANCED)
    await watching.pass_intervals(4)
    assert watching.state("a") is seen


async def test_the_looks_of_one_second_wake_the_operator_once(watching):
    names = [f"app-{number}" for number in range(200)]
    watching.follow(*names)
    for _ in range(30 * 50):
        watching.clock.seconds += 0.02
        await asyncio.sleep(0)
    assert set(watching.apps.looks) == set(names)
    assert watching.clock.sleeps <= 31


async def test_a_silent_one_is_told_after_three_and_is_back_after_two(watching):
    watching.follow("a")
    await watching.pass_intervals(2)
    began = watching.clock.utc_now()
    watching.apps.answers["a"] = NONE
    await watching.pass_intervals(1)
    assert watching.woken == []
    await watching.pass_intervals(4)
    assert (watching.state("a"), watching.woken) == (Reachability.SILENT, ["a"])
    view = watching.watch.view("a")
    assert view is not None
    assert view.since - began < timedelta(seconds=72)
    watching.apps.answers["a"] = UP
    await watching.pass_intervals(4)
    assert (watching.state("a"), watching.woken) == (Reachability.ANSWERS, ["a", "a"])


async def test_one_that_comes_and_goes_wakes_nobody(watching):
    watching.follow("a")
    await watching.pass_intervals(2)
    for answer in (NONE, UP, NONE, UP, DOWN, UP, NONE, UP) * 4:
        watching.apps.answers["a"] = answer
        seen = len(watching.apps.looks)
        while len(watching.apps.looks) == seen:
            await watching.pass_intervals(1)
    assert watching.woken == []


async def test_one_that_says_it_failed_is_told_at_once(watching):
    watching.follow("a")
    await watching.pass_intervals(2)
    watching.apps.answers["a"] = FAILED
    await watching.pass_intervals(1)
    assert (watching.state("a"), watching.woken) == (Reachability.DOWN, ["a"])


async def test_many_silent_ones_at_once_make_it_blind_until_they_answer_again(watching):
    names = [f"app-{number}" for number in range(10)]
    watching.follow(*names)
    await watching.pass_intervals(2)
    assert watching.watch.sight("app-0").others_answer
    for name in names:
        watching.apps.answers[name] = NONE
    await watching.pass_intervals(4)
    sight = watching.watch.sight("app-0")
    assert (sight.is_blind, sight.others_answer) == (True, False)
    assert watching.registry.get_sample_value("spawnai_blind") == 1
    watching.apps.answers.clear()
    await watching.pass_intervals(2)
    sight = watching.watch.sight("app-0")
    assert (sight.is_blind, sight.others_answer) == (False, True)
    assert sight.blind_until is not None
    assert watching.registry.get_sample_value("spawnai_blind") == 0


async def test_of_two_the_one_that_answers_proves_the_way_for_the_other(watching):
    watching.follow("a", "b")
    watching.apps.answers["a"] = NONE
    await watching.pass_intervals(5)
    assert watching.watch.sight("a").others_answer
    assert not watching.watch.sight("b").others_answer


async def test_when_the_first_answers_after_nobody_did_silence_counts_from_then(watching):
    watching.follow("a", "b")
    await watching.pass_intervals(2)
    watching.apps.answers.update(a=NONE, b=NONE)
    await watching.pass_intervals(6)
    healed = watching.clock.utc_now()
    watching.apps.answers["b"] = UP
    await watching.pass_intervals(3)
    sight = watching.watch.sight("a")
    assert sight.others_answer
    assert sight.blind_until is not None
    assert sight.blind_until >= healed


async def test_what_is_left_is_not_looked_at_any_more(watching):
    watching.follow("a", "b", "c")
    for name in "abc":
        watching.apps.answers[name] = NONE
    await watching.pass_intervals(5)
    assert watching.watch.sight("a").is_blind
    for name in "abc":
        watching.watch.leave(name)
    watching.apps.looks.clear()
    await watching.pass_intervals(3)
    assert watching.apps.looks == []
    assert not watching.watch.sight("a").is_blind
    assert watching.watch.view("a") is None


async def test_behind_a_gateway_the_agents_door_is_knocked_at(watching):
    watching.follow("a", port=None)
    await watching.pass_intervals(1)
    assert watching.apps.looks[0] == "a:8443"


@pytest.mark.parametrize(
    ("received", "answer"),
    [
        (b'HTTP/1.1 200 OK\r\n\r\n{"state": "running"}\n', UP),
        (b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"state": "starting"}\n', DOWN),
        (b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"state": "failed"}\n', FAILED),
        (b"HTTP/1.1 421 Misdirected Request\r\n\r\n", DOWN),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NONE),
        (b"HTTP/1.1\r\n", NONE),
        (b"", NONE),
    ],
)
def test_an_answer_is_read_for_what_it_says(received, answer):
    assert read_answer(received) is answer
