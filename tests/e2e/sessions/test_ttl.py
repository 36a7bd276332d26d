"""When a session ends: its annotations, its class's limits, and what outlives a re-apply."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from tests.e2e.busy import CpuWait
from tests.e2e.sessions.eventually import eventually, stays
from tests.e2e.sessions.kstatus import is_true, kstatus
from tests.e2e.sessions.world import (
    Manifest,
    Session,
    World,
    assert_nothing_was_made,
    in_seconds,
    moment,
    session,
)

from spawnai.api.names import EXPIRES_AT_ANNOTATION, TTL_ANNOTATION
from spawnai.api.policy import POLICY_NAME, policy_documents
from spawnai_local.kubectl import KubectlError

CLASS = "ttl"
MAXIMUM = timedelta(minutes=10)
NOTICE = timedelta(seconds=6)
WARNING = timedelta(seconds=20)
GONE_WITHIN = timedelta(seconds=5)
ROUNDING = timedelta(seconds=1)
"""Times in a status are whole seconds."""

MANIFESTS: Mapping[str, Manifest] = {
    one["metadata"]["name"]: one
    for one in (
        session("default", class_name=CLASS),
        session("moved", class_name=CLASS, ttl="4m"),
        session("client-side", class_name=CLASS, ttl="2m"),
        session("server-side", class_name=CLASS, ttl="2m"),
        session("earlier", class_name=CLASS, ttl="5m"),
        session("past", class_name=CLASS, ttl="5m"),
        session("zero", class_name=CLASS, ttl="5m"),
        session("now", class_name=CLASS, ttl="5m"),
        session("talks", "A JSON API that keeps notes", "api", class_name=CLASS, ttl="5m"),
        session("capped", class_name=CLASS, ttl="3d"),
        session("garbled", class_name=CLASS, ttl="5m"),
        session("warned", class_name=CLASS, ttl="5m"),
    )
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(world: World, namespace: str) -> Mapping[str, Session]:
    await world.apply_class(
        CLASS,
        tiers={"light": {"sizes": ["s-1vcpu-1gb"], "ttl": "3m"}},
        lifetime={"max": "10m", "notice": "6s", "warning": "20s"},
    )
    by_server = "server-side"
    sessions = await world.apply(
        namespace, *(one for name, one in MANIFESTS.items() if name != by_server)
    )
    sessions += await world.apply(namespace, MANIFESTS[by_server], arguments=["--server-side"])
    await asyncio.gather(*(one.until_running() for one in sessions))
    return {one.name: one for one in sessions}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def without_policy(world: World, running: Mapping[str, Session]) -> AsyncIterator[None]:
    """A cluster where the admission policy is not installed."""
    kinds = ("validatingadmissionpolicybinding", "validatingadmissionpolicy")
    for kind in kinds:
        await world.kubectl.run("delete", kind, POLICY_NAME)
    await eventually(
        "the API server takes what the policy refused",
        lambda: takes_garbage(world),
        bool,
        30,
        pause=0.3,
    )
    yield
    await world.kubectl.apply(*policy_documents())
    await eventually(
        "the API server refuses it again", lambda: takes_garbage(world), lambda taken: not taken, 30
    )


async def takes_garbage(world: World) -> bool:
    try:
        await world.apply(
            "default", session("probe", ttl="garbage"), arguments=["--dry-run=server"]
        )
    except KubectlError as error:
        if POLICY_NAME not in error.answer:
            raise
        return False
    return True


def life(one: Session) -> timedelta:
    """From Ready to the promised end."""
    return moment(one.status["expirationTime"]) - moment(one.status["readyAt"])


async def until_end_is(one: Session, expected: datetime) -> None:
    await one.until(
        f"is to end at {expected:%H:%M:%S}",
        lambda seen: moment(seen.status["expirationTime"]) == expected,
        5,
    )


async def until_life_is(one: Session, expected: timedelta) -> None:
    await until_end_is(one, moment(one.status["readyAt"]) + expected)


async def test_without_an_annotation_the_tiers_default_counts_from_ready(running):
    assert life(running["default"]) == timedelta(minutes=3)


async def test_a_changed_ttl_extends_and_shortens_with_an_event(running):
    one = running["moved"]
    assert life(one) == timedelta(minutes=4)
    await one.annotate(ttl="1h30m")
    await until_life_is(one, MAXIMUM)
    await one.annotate(ttl="8m")
    await until_life_is(one, timedelta(minutes=8))
    await one.until_event("ExpiryChanged")
    await one.annotate(ttl="150s")
    await until_life_is(one, timedelta(seconds=150))
    assert one.phase == "Running"


@pytest.mark.parametrize("way", [(), ("--server-side",)], ids=["client-side", "server-side"])
async def test_expires_at_wins_and_outlives_a_reapply_of_the_manifest(
    world, namespace, running, way
):
    name = "server-side" if way else "client-side"
    one = running[name]
    wanted = in_seconds(400)
    await one.annotate(expires_at=wanted)
    await until_end_is(one, moment(wanted))
    await world.apply(namespace, MANIFESTS[name], arguments=way)
    document = await one.get()
    annotations = document["metadata"]["annotations"]
    assert annotations[EXPIRES_AT_ANNOTATION] == wanted
    assert annotations[TTL_ANNOTATION] == "2m"
    await stays(
        "the promised end", lambda: one.status["expirationTime"], lambda at: at == wanted, 1.5
    )


async def test_without_expires_at_the_ttl_counts_again(running):
    one = running["client-side"]
    await one.until("has an absolute end", lambda seen: life(seen) != timedelta(minutes=2), 10)
    await one.annotate(ttl="7m")
    await one.annotate(expires_at=None)
    await until_life_is(one, timedelta(minutes=7))


async def test_a_ttl_that_git_puts_back_counts_as_git_says(world, namespace, running):
    one = running["server-side"]
    await one.annotate(expires_at=None, ttl="9m")
    await until_life_is(one, timedelta(minutes=9))
    await world.apply(
        namespace, MANIFESTS["server-side"], arguments=["--server-side", "--force-conflicts"]
    )
    await one.until("is as in Git", lambda seen: life(seen) < timedelta(minutes=9), 5)


async def test_an_earlier_expires_at_wins_too_and_the_end_is_punctual(world, running):
    one = running["earlier"]
    busy = CpuWait()
    wanted = in_seconds(5)
    await one.annotate(expires_at=wanted)
    await one.until_destroyed(60)
    lines = (await world.cloud.bill())["droplets"]
    [line] = [line for line in lines if f"session:{one.uid}" in line["tags"]]
    late = datetime.fromtimestamp(line["deleted_at"], UTC) - moment(wanted)
    assert timedelta(0) <= late <= GONE_WITHIN + timedelta(seconds=busy.seconds())
    assert one.status["expirationTime"] == wanted
    await one.assert_nothing_is_left()


async def test_a_change_that_lands_in_the_past_ends_after_the_notice(running):
    one = running["past"]
    asked = datetime.now(UTC)
    await one.annotate(ttl="1s")
    await one.until("is on notice", lambda seen: life(seen) < timedelta(minutes=4), 30)
    end = moment(one.status["expirationTime"])
    assert asked - ROUNDING <= end - NOTICE <= datetime.now(UTC) + ROUNDING
    told = await one.until_event("ExpiryOnNotice")
    assert told["type"] == "Warning"
    await one.until_destroyed(30)
    assert moment(one.status["expirationTime"]) == end
    assert one.status["terminationReason"] == "Expired"


@pytest.mark.parametrize(
    ("name", "annotation"), [("zero", {"ttl": "0s"}), ("now", {"expires_at": "now"})]
)
async def test_zero_and_now_end_a_session_at_once(running, name, annotation):
    one = running[name]
    asked = datetime.now(UTC)
    await one.annotate(**annotation)
    await one.until_destroyed(20)
    assert one.status["terminationReason"] == "Expired"
    ended = moment(one.status["destroyedAt"])
    assert asked - ROUNDING <= moment(one.status["expirationTime"]) <= ended
    assert is_true(one.document, "Expired")
    await one.assert_nothing_is_left()


async def test_a_session_that_is_ended_now_keeps_what_its_app_said_last(running):
    one = running["talks"]
    made = await one.fetch("/notes", method="POST", document={"title": "water it"})
    assert made.status == 201, made
    await one.annotate(expires_at="now")
    await one.until_destroyed(20)
    log = (await one.record())["status"]["log"]
    assert any(line.endswith(f"note {json.loads(made.text)['id']} was added") for line in log), log


async def test_a_tombstone_cannot_be_brought_back_to_life(running):
    one = running["zero"]
    await one.until_destroyed(20)
    await one.annotate(ttl="5m")
    await stays("the tombstone", lambda: one.phase, lambda phase: phase == "Destroyed", 2)
    assert await one.droplets() == []


async def test_a_life_beyond_the_maximum_is_capped_and_says_so(running):
    one = running["capped"]
    assert life(one) == MAXIMUM
    assert "caps the lifetime at 10m" in one.condition("Ready")["message"]
    told = await one.until_event("ExpiryCapped")
    assert "10m" in told["note"]
    await one.annotate(expires_at=in_seconds(7200))
    await stays("the capped end", lambda: life(one), lambda seen: seen == MAXIMUM, 1.5)
    await one.annotate(expires_at=None, ttl="4m")
    await until_life_is(one, timedelta(minutes=4))
    assert "caps" not in one.condition("Ready")["message"]


async def test_the_warning_comes_once_for_each_end_and_an_extension_arms_it_again(running):
    one = running["warned"]
    for seconds in (4, 8):
        end = in_seconds(WARNING.total_seconds() - seconds)
        await one.annotate(expires_at=end)
        await one.until(
            "warns", lambda seen: seen.condition("ExpiringSoon").get("status") == "True", 10
        )
        assert end in one.condition("ExpiringSoon")["message"]
        await one.annotate(expires_at=in_seconds(300))
        await one.until(
            "takes the warning back", lambda seen: not seen.condition("ExpiringSoon"), 10
        )

    def warnings(events):
        return [event for event in events if event["reason"] == "ExpiringSoon"]

    events = await eventually(
        "both warnings are told", one.events, lambda seen: len(warnings(seen)) >= 2, 15, pause=0.5
    )
    assert len(warnings(events)) == 2
    assert {event["type"] for event in warnings(events)} == {"Warning"}
    assert all("series" not in event or event["series"] is None for event in warnings(events))


async def test_the_policy_refuses_an_unreadable_change(running):
    one = running["garbled"]
    for annotation in ({"ttl": "soon"}, {"expires_at": "tomorrow"}):
        with pytest.raises(KubectlError) as refused:
            await one.annotate(**annotation)
        assert "write a" in refused.value.answer


async def test_an_unreadable_change_to_a_running_session_keeps_the_promised_end(
    running, without_policy
):
    one = running["garbled"]
    promised = one.status["expirationTime"]
    await one.annotate(ttl="soon")
    told = await one.until_event("InvalidExpiry")
    assert told["type"] == "Warning"
    assert "soon" in told["note"]
    assert "write a duration" in told["note"]
    await one.until(
        "says so", lambda seen: "stays as it is" in seen.condition("Ready")["message"], 10
    )
    assert one.status["expirationTime"] == promised
    assert one.phase == "Running"
    assert kstatus(one.document) == "Current"
    await one.annotate(ttl="6m")
    await until_life_is(one, timedelta(minutes=6))


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({"ttl": "a while"}, "write a duration"),
        ({"expires_at": "24.12.2026"}, "write an RFC 3339 time"),
    ],
    ids=["ttl", "expires-at"],
)
async def test_an_unreadable_life_of_a_new_session_stalls_it_and_nothing_is_made(
    world, namespace, without_policy, annotations, words
):
    name = f"unreadable-{next(iter(annotations)).replace('_', '-')}"
    [one] = await world.apply(namespace, session(name, class_name=CLASS, **annotations))
    message = await one.until_stalled("InvalidExpiry")
    assert words in message
    assert kstatus(one.document) == "Failed"
    await one.until_event("InvalidExpiry")
    await assert_nothing_was_made(world, one)
    await one.annotate(**(dict.fromkeys(annotations) | {"ttl": "5m"}))
    await one.until_running()
    assert life(one) == timedelta(minutes=5)
    assert not one.condition("Stalled")


@pytest.mark.parametrize(
    ("name", "annotations"),
    [
        ("stillborn-now", {"expires_at": "now"}),
        ("stillborn-zero", {"ttl": "0s"}),
        ("stillborn-past", {"expires_at": "2020-01-01T00:00:00Z"}),
    ],
)
async def test_a_new_session_whose_time_is_over_ends_quietly_and_makes_nothing(
    world, namespace, running, name, annotations
):
    [one] = await world.apply(namespace, session(name, class_name=CLASS, **annotations))
    await one.until_destroyed(20)
    assert one.status["terminationReason"] == "Expired"
    assert kstatus(one.document) == "Current"
    await assert_nothing_was_made(world, one)
    version = one.document["metadata"]["resourceVersion"]

    async def now() -> str:
        return str((await one.get())["metadata"]["resourceVersion"])

    await stays("the quiet tombstone", now, lambda seen: seen == version, 1.5)
