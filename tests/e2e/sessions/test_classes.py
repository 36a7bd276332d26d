"""Classes that cannot serve yet: their sessions wait, say why, and go on by themselves."""

import asyncio
from collections.abc import Mapping

import pytest
import pytest_asyncio
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.kstatus import is_true, kstatus
from tests.e2e.sessions.world import Session, World, assert_nothing_was_made, session

from spawnai.api.conditions import WAITED_FOR
from spawnai.api.names import DEFAULT_CLASS_ANNOTATION
from spawnai_local.classes import LOCAL_CLASS
from spawnai_local.claude.settings import REPEATED_API_KEY
from spawnai_local.cloud_settings import LOCAL_ANTHROPIC_KEY, LOCAL_DIGITALOCEAN_TOKEN

GOOD = {
    "digitalocean_token": LOCAL_DIGITALOCEAN_TOKEN,
    "anthropic_api_key": LOCAL_ANTHROPIC_KEY,
}
WITHOUT_CREDIT = "local-key-without-credit"
WRONG_TOKEN = "not-a-token"
WRONG_KEY = REPEATED_API_KEY
"""Its refusal repeats it, so whatever shows Claude's words shows the key."""

WAITING = {
    "no-class": "ClassNotFound",
    "no-secret": "SecretMissing",
    "no-key": "SecretKeyMissing",
    "wrong-token": "DigitalOceanUnauthorized",
    "wrong-key": "ClaudeUnauthorized",
    "no-domain": "DomainMissing",
}
"""Sessions by the name of their class, and the reason for which they wait."""

WORDS = {
    "no-class": ("There is no SpawnClass 'no-class'", "create it"),
    "no-secret": ("spawnai-system/no-secret", "digitalocean-token", "anthropic-api-key"),
    "no-key": ("'anthropic-api-key'", "spawnai-system/no-key", "digitalocean-token"),
    "wrong-token": ("token", "SpawnClass 'wrong-token'", "Unable to authenticate you"),
    "wrong-key": (
        "SpawnClass 'wrong-key'",
        "'anthropic-api-key'",
        "Secret spawnai-system/wrong-key",
        "put a valid one",
        "[redacted]",
    ),
    "no-domain": ("'nobody.example'", "add the domain"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def waiting(world: World, namespace: str) -> Mapping[str, Session]:
    await world.apply_secret("no-key", digitalocean_token=LOCAL_DIGITALOCEAN_TOKEN)
    await world.apply_secret("wrong-token", **GOOD | {"digitalocean_token": WRONG_TOKEN})
    await world.apply_secret("wrong-key", **GOOD | {"anthropic_api_key": WRONG_KEY})
    await world.apply_secret("no-credit", **GOOD | {"anthropic_api_key": WITHOUT_CREDIT})
    for name in ("no-secret", "no-key", "wrong-token", "wrong-key", "no-credit"):
        await world.apply_class(name, credentials={"secretName": name})
    await world.apply_class("no-domain", exposure={"domain": "nobody.example"})
    names = (*WAITING, "no-credit")
    sessions = await world.apply(namespace, *(session(name, class_name=name) for name in names))
    return {one.name: one for one in sessions}


@pytest.mark.parametrize("name", WAITING)
async def test_a_session_whose_class_cannot_serve_says_what_is_missing_and_makes_nothing(
    world, waiting, name
):
    one = waiting[name]
    message = await one.until_stalled(WAITING[name])
    for words in WORDS[name]:
        assert words in message
    waits = WAITING[name] in WAITED_FOR
    assert kstatus(one.document) == ("InProgress" if waits else "Failed")
    assert one.status["message"] == message
    await one.until_event(WAITING[name])
    await assert_nothing_was_made(world, one)


@pytest.mark.parametrize("name", [name for name in WAITING if name != "no-class"])
async def test_the_class_says_it_too(world, waiting, name):
    message = await world.until_class(name, WAITING[name])
    for words in WORDS[name]:
        assert words in message
    kind = "Reconciling" if WAITING[name] in WAITED_FOR else "Stalled"
    assert is_true(await world.get_class(name), kind)
    # A cluster-scoped object's events live in the namespace default.
    await eventually(
        f"SpawnClass {name} has the event {WAITING[name]}",
        lambda: world.kubectl.items("events.events.k8s.io", "--namespace", "default"),
        lambda known: any(
            (one["regarding"]["kind"], one["regarding"]["name"], one["type"], one["reason"])
            == ("SpawnClass", name, "Warning", WAITING[name])
            for one in known
        ),
        15,
    )


async def test_no_wrong_key_is_ever_shown(world, waiting):
    await asyncio.gather(*(waiting[name].until_stalled(WAITING[name]) for name in WAITING))
    log = (world.stack.directory / "operator.log").read_text()
    classes = await world.kubectl.run("get", "spawnclasses", "--output", "yaml")
    sessions = await world.kubectl.run("get", "spawnsessions", "-A", "--output", "yaml")
    events = await world.kubectl.run("get", "events", "-A", "--output", "yaml")
    for text in (log, classes, sessions, events):
        assert WRONG_TOKEN not in text
        assert WRONG_KEY not in text


async def test_an_account_without_credit_stalls_the_session_and_nothing_half_made_is_left(
    world, waiting
):
    one = waiting["no-credit"]
    message = await one.until_stalled("ClaudeNoCredit", 30)
    assert "credit" in message
    assert kstatus(one.document) == "Failed"
    assert (await one.until_event("ClaudeNoCredit"))["type"] == "Warning"
    assert await one.calls() == {}, "no droplet waits for an app that nobody pays"


async def test_an_account_without_credit_stalls_its_class(world, waiting):
    await waiting["no-credit"].until_stalled("ClaudeNoCredit", 30)
    message = await world.until_class("no-credit", "ClaudeNoCredit", 10)
    assert "SpawnClass 'no-credit'" in message


async def test_sessions_go_on_by_themselves_when_what_was_missing_appears(world, waiting):
    await asyncio.gather(*(waiting[name].until_stalled(WAITING[name]) for name in WAITING))
    await world.apply_class("no-class")
    for name in ("no-secret", "no-key", "wrong-token", "wrong-key"):
        await world.apply_secret(name, **GOOD)
    await world.apply_class("no-domain")
    names = [name for name in WAITING if name != "no-domain"]
    await asyncio.gather(*(waiting[name].until_running() for name in names))
    for name in names:
        assert not waiting[name].condition("Stalled")
        assert kstatus(waiting[name].document) == "Current"


async def test_a_token_of_another_account_is_refused_while_sessions_live_in_the_first(
    world, namespace
):
    await world.apply_class("moving")
    [one] = await world.apply(namespace, session("moving", class_name="moving"))
    await one.until_running()
    first = (await world.get_class("moving"))["status"]["accountUuid"]
    await world.cloud.change_account(uuid="another-account")
    try:
        await world.apply_class("moving", lifetime={"notice": "1m"})
        message = await world.until_class("moving", "AccountChanged")
        for words in ("another-account", first, f"{namespace}/moving"):
            assert words in message
        await one.until_running()
        await one.delete()
        await one.until_gone()
        await one.assert_nothing_is_left()
        await world.apply_class("moving", lifetime={"notice": "2m"})
        await world.until_class("moving", "Usable")
    finally:
        await world.cloud.change_account(uuid=first)
    assert (await world.get_class("moving"))["status"]["accountUuid"] == "another-account"


async def test_without_a_default_class_a_session_waits_for_one(world, namespace):
    def mark(value: str) -> tuple[str, ...]:
        return ("annotate", "spawnclass", LOCAL_CLASS, f"{DEFAULT_CLASS_ANNOTATION}{value}")

    await world.kubectl.run(*mark("-"))
    try:
        [one] = await world.apply(namespace, session("no-default", class_name=None))
        message = await one.until_stalled("NoDefaultClass")
        assert DEFAULT_CLASS_ANNOTATION in message
        await assert_nothing_was_made(world, one)
    finally:
        await world.kubectl.run(*mark("=true"))
    await one.until_running(60)
    assert one.status["className"] == LOCAL_CLASS


@pytest.mark.parametrize("firewall", ["Shared", "PerSession"])
async def test_a_class_that_is_deleted_while_in_use_waits_for_its_sessions(
    world, namespace, firewall
):
    name = f"in-use-{firewall.lower()}"
    await world.apply_class(name, firewall={"mode": firewall})
    [one] = await world.apply(namespace, session(name, class_name=name))
    await one.until_running()
    await world.kubectl.run("delete", "spawnclass", name, "--wait=false")
    message = await world.until_class(name, "InUse")
    assert f"{namespace}/{name}" in message
    assert one.phase == "Running"
    assert (await one.fetch()).status == 200
    await one.annotate(expires_at="now")
    await one.until_destroyed(20)
    await one.assert_nothing_is_left()

    async def names() -> list[str]:
        return [one["metadata"]["name"] for one in await world.kubectl.items("spawnclasses")]

    await eventually("the class is gone", names, lambda seen: name not in seen, 20)


async def test_a_session_of_a_class_that_is_being_deleted_makes_nothing(world, namespace):
    name = "ending"
    await world.apply_class(name)
    [first] = await world.apply(namespace, session("first", class_name=name))
    await first.until_running()
    await world.kubectl.run("delete", "spawnclass", name, "--wait=false")
    await world.until_class(name, "InUse")
    [second] = await world.apply(namespace, session("second", class_name=name))
    assert repr(name) in await second.until_stalled("ClassDeleting")
    await assert_nothing_was_made(world, second)
