"""Classes on leaping time: whatever a class lacks, and whatever its calls wait for, what is over is
destroyed, no worker of the queue is kept, and nobody is asked in a storm.
"""

import asyncio

import anthropic
import httpx2
import pytest
from tests.simulation.pressure import DELETED, LIMITED, OTHER_TOKEN, Crowd
from tests.simulation.world import prepared
from tests.support.virtual_time import virtual_time

from spawnai.api.names import class_firewall_name
from spawnai.controller.clock_difference import DIGITALOCEAN
from spawnai.controller.operator import STUCK_SECONDS
from spawnai.generation.errors import GenerationNoCredit, GenerationUnauthorized
from spawnai_local.bench.pressure import ideal_seconds

MINUTE = 60.0
ACCOUNT = "/v2/account"
UNREADABLE = {"lifetime": {"max": "for ever"}}


def refusal_of_key() -> anthropic.AuthenticationError:
    """What the client raises when Claude answers 401."""
    request = httpx2.Request("GET", "https://claude.example/v1/models/one")
    answer = httpx2.Response(401, request=request)
    body = {"error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    return anthropic.AuthenticationError("invalid x-api-key", response=answer, body=body)


async def operated(sessions: int = 1) -> Crowd:
    crowd = Crowd(sessions)
    await crowd.operate()
    assert crowd.class_says()[0] == "Usable"
    return crowd


async def watch_queue(crowd: Crowd) -> None:
    """Fails once the liveness probe would."""
    while True:
        await asyncio.sleep(1)
        assert crowd.controller.queue.stuck(STUCK_SECONDS) is None


async def ends(crowd: Crowd, within: float = 10) -> None:
    """All sessions are deleted and end, with their droplets."""
    for uid in crowd.uids:
        crowd.server.delete("user", "session", crowd.key(uid))
    await crowd.until(lambda: not crowd.droplets(crowd.uids), within)


def limited_for(crowd: Crowd, seconds: float, named: float | None = None) -> list[float]:
    """From now on DigitalOcean answers 429, and names a time. Returns when it did so."""
    until = crowd.clock.now() + seconds
    refused: list[float] = []

    def meddle(*_call):
        if crowd.clock.now() >= until:
            return None
        refused.append(crowd.clock.now())
        return LIMITED, {"retry-after": str(int(named or seconds)), "ratelimit-remaining": "1000"}

    crowd.meddle = meddle
    return refused


# --- time ------------------------------------------------------------------------------------


@virtual_time
async def test_a_clock_that_is_off_is_told_on_the_class_whatever_else_is_wrong_with_it():
    with prepared():
        crowd = await operated()
        sentence = (
            "the operator's clock is 4 min ahead of DigitalOcean's: set it (NTP), or sessions end "
            "at the wrong time"
        )
        crowd.clock_difference.note(DIGITALOCEAN, 250.0)
        await crowd.until(lambda: sentence in crowd.class_says()[1], 2 * MINUTE)
        assert crowd.class_says()[0] == "Usable"
        crowd.claude.refuses_key = refusal_of_key()
        crowd.set_keys(key="another-key")
        await crowd.until(lambda: crowd.class_says()[0] == "ClaudeUnauthorized", 2 * MINUTE)
        assert sentence in crowd.class_says()[1]
        crowd.clock_difference.note(DIGITALOCEAN, 0.0)
        await crowd.until(lambda: "clock" not in crowd.class_says()[1], 2 * MINUTE)
        await crowd.close()


@virtual_time
async def test_a_look_at_a_class_beside_a_crowd_of_deletions_keeps_no_worker_and_comes_through():
    with prepared():
        crowd = await operated(500)
        watching = asyncio.create_task(watch_queue(crowd))
        await crowd.expire(first=60, within=MINUTE)
        await asyncio.sleep(30)
        crowd.set_class(image="debian-12-x64")
        generation = crowd.server.get("class", "standard")["metadata"]["generation"]

        def is_looked_at() -> bool:
            status = crowd.server.get("class", "standard")["status"]
            return status["observedGeneration"] == generation

        await crowd.until(lambda: not crowd.droplets(crowd.uids), 3600)
        await crowd.until(is_looked_at, 60)
        assert crowd.class_says()[0] == "Usable"
        assert not watching.done()
        await crowd.close()


@virtual_time
async def test_a_look_at_a_class_in_a_long_429_keeps_no_worker_and_the_class_goes_on():
    with prepared():
        crowd = await operated()
        watching = asyncio.create_task(watch_queue(crowd))
        limited_for(crowd, 300)
        crowd.set_class(image="debian-12-x64")
        await asyncio.sleep(290)
        assert crowd.class_says()[0] == "Usable"
        assert not watching.done()
        await asyncio.sleep(120)
        status = crowd.server.get("class", "standard")["status"]
        assert status["observedGeneration"] == 2
        await crowd.close()


@virtual_time
async def test_an_operator_that_starts_in_a_long_429_deletes_as_soon_as_calls_are_taken_again():
    """The 429 names 300 s and is over after 100 s: only deletions ask before the time it named."""
    with prepared():
        crowd = await operated(20)
        await crowd.stop()
        refused = limited_for(crowd, 100, named=300)
        began = crowd.clock.now()
        crowd.start()
        watching = asyncio.create_task(watch_queue(crowd))
        for uid in crowd.uids:
            crowd.server.delete("user", "session", crowd.key(uid))
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 3600)
        assert crowd.clock.now() - began < 100 + 40, "asked again every 30 s at the latest"
        assert len(refused) <= 12, "and ever more rarely: one budget remembers the 429"
        assert not watching.done()
        await crowd.close()


@virtual_time
async def test_an_operator_that_starts_beside_a_crowd_of_deletions_goes_on_with_them():
    with prepared():
        crowd = await operated(500)
        await crowd.expire(first=60, within=MINUTE)
        await asyncio.sleep(90)
        await crowd.stop()
        crowd.start()
        watching = asyncio.create_task(watch_queue(crowd))
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 3600)
        accepted = [
            at for tries in crowd.deletions().values() for at, status in tries if status == DELETED
        ]
        due = [at for at in crowd.expiries() for _ in ("name", "droplet")]
        # The new operator has to find out how many calls are left, which may cost two minutes; it
        # does not ask of each thing whose it is, which would cost seven.
        assert max(accepted) <= ideal_seconds(due) / 0.95 + 2 * MINUTE
        assert not watching.done()
        await crowd.close()


# --- what only new sessions need -------------------------------------------------------------


@virtual_time
async def test_without_a_claude_key_a_new_operator_destroys_and_takes_no_orders():
    with prepared():
        crowd = await operated()
        await crowd.stop()
        crowd.set_keys(key=None)
        crowd.start()
        await asyncio.sleep(5)
        reason, message = crowd.class_says()
        assert reason == "SecretKeyMissing"
        assert "'anthropic-api-key' in Secret spawnai/spawnai-credentials" in message
        new = crowd.order("new")
        await ends(crowd)
        assert crowd.droplets([new]) == []
        assert crowd.events.reasons["SecretKeyMissing"] == 1
        crowd.set_keys(key="test-key")
        await crowd.until(lambda: crowd.droplets([new]) == [new], 30)
        await crowd.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_class_that_cannot_be_read_still_lets_its_sessions_be_destroyed(restarted):
    @virtual_time
    async def story():
        with prepared():
            crowd = await operated()
            if restarted:
                await crowd.stop()
            crowd.set_class(**UNREADABLE)
            if restarted:
                crowd.start()
            await asyncio.sleep(5)
            reason, message = crowd.class_says()
            assert reason == "InvalidSpec"
            assert "SpawnClass 'standard'" in message
            assert "spec.lifetime.max" in message
            await ends(crowd)
            await crowd.close()

    story()


@virtual_time
async def test_a_model_without_a_price_is_a_problem_of_the_class_and_no_receipt_says_nothing():
    with prepared():
        crowd = await operated()
        crowd.set_class(model={"name": "claude-sonnet-9"})
        await asyncio.sleep(2)
        reason, message = crowd.class_says()
        assert reason == "ModelWithoutPrice"
        for words in ("SpawnClass 'standard'", "'claude-sonnet-9'", "claude-sonnet-5-5"):
            assert words in message
        new = crowd.order("new")
        await asyncio.sleep(60)
        assert crowd.claude.asked_for_order == []
        assert crowd.droplets([new]) == []
        await ends(crowd)
        await crowd.close()


# --- whose account it is ---------------------------------------------------------------------


def refuses(token: str, path: str):
    """DigitalOcean refuses a path to a token, as to one without the scope for it."""
    return lambda _method, asked, by: (403, {}) if (by, asked) == (token, path) else None


@virtual_time
async def test_a_token_that_cannot_show_its_account_is_refused_while_sessions_live_in_a_known_one():
    with prepared():
        crowd = await operated()
        await crowd.stop()
        crowd.set_keys(token=OTHER_TOKEN)
        crowd.meddle = refuses(OTHER_TOKEN, ACCOUNT)
        crowd.start()
        await asyncio.sleep(5)
        reason, message = crowd.class_says()
        assert reason == "AccountUnknown"
        uuid = crowd.emulator.cloud.account.uuid
        for words in ("SpawnClass 'standard'", uuid, "team/copy-0000", "account:read"):
            assert words in message
        with pytest.raises(TimeoutError):
            await ends(crowd, 60)
        crowd.set_keys(token="test-token")
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 30)
        await crowd.close()


@virtual_time
async def test_a_new_token_takes_over_while_sessions_run_and_the_old_one_can_be_revoked():
    with prepared():
        crowd = await operated()
        called: set[str] = set()

        def note(_method, _path, token):
            called.add(token)
            return (401, {}) if revoked and token == "test-token" else None

        revoked = False
        crowd.meddle = note
        crowd.set_keys(token=OTHER_TOKEN)
        await crowd.until(lambda: OTHER_TOKEN in called and crowd.class_says()[0] == "Usable", 120)
        await asyncio.sleep(5)
        revoked = True
        called.clear()
        await ends(crowd)
        assert called == {OTHER_TOKEN}
        assert crowd.class_says()[0] == "Usable"
        await crowd.close()


@virtual_time
async def test_a_token_that_has_shown_its_account_once_goes_on_when_it_may_not_read_it_any_more():
    with prepared():
        crowd = await operated()
        crowd.meddle = refuses("test-token", ACCOUNT)
        crowd.set_class(image="debian-12-x64")
        await asyncio.sleep(5)
        assert crowd.class_says()[0] == "Usable"
        assert crowd.server.get("class", "standard")["status"]["accountUuid"]
        await ends(crowd)
        await crowd.close()


@virtual_time
async def test_a_token_of_custom_scopes_serves_a_class_whose_account_was_never_known():
    with prepared():
        crowd = Crowd(1)
        crowd.meddle = refuses("test-token", ACCOUNT)
        await crowd.operate()
        assert crowd.class_says()[0] == "Usable"
        assert "accountUuid" not in crowd.server.get("class", "standard")["status"]
        await crowd.stop()
        crowd.start()
        await asyncio.sleep(5)
        assert crowd.class_says()[0] == "Usable"
        await ends(crowd)
        await crowd.close()


@virtual_time
async def test_a_token_without_any_right_is_called_refused():
    with prepared():
        crowd = await operated()
        crowd.meddle = lambda *_call: (401, {})
        crowd.set_class(image="debian-12-x64")
        await asyncio.sleep(5)
        reason, message = crowd.class_says()
        assert reason == "DigitalOceanUnauthorized"
        assert "SpawnClass 'standard'" in message
        await crowd.close()


@virtual_time
async def test_a_token_with_other_characters_in_it_is_a_problem_of_the_class():
    with prepared():
        crowd = await operated()
        crowd.set_keys(token="dop_v1_\N{ZERO WIDTH SPACE}token")
        await asyncio.sleep(70)
        reason, message = crowd.class_says()
        assert reason == "DigitalOceanTokenInvalid"
        assert "SpawnClass 'standard': The DigitalOcean token must be printable" in message
        await ends(crowd)
        await crowd.close()


@virtual_time
async def test_a_class_that_is_deleted_and_lacks_its_claude_key_asks_the_cloud_rarely():
    with prepared():
        crowd = await operated()
        crowd.set_keys(key=None)
        await asyncio.sleep(70)
        crowd.server.delete("admin", "class", "standard")
        await asyncio.sleep(120)
        assert crowd.class_says()[0] == "InUse"
        before = len(crowd.calls())
        await asyncio.sleep(600)
        asked = [call.path for call in crowd.calls()[before:]]
        assert asked.count(ACCOUNT) <= 6
        await ends(crowd)
        await crowd.until(lambda: crowd.server.get("class", "standard") is None, 60)
        await crowd.close()


# --- what is told ----------------------------------------------------------------------------


@virtual_time
async def test_a_class_has_an_event_for_each_problem_and_one_when_it_can_be_used_again():
    with prepared():
        crowd = await operated()
        assert crowd.events.of_classes == []
        crowd.set_keys(key=None)
        await asyncio.sleep(180)
        assert crowd.events.of_classes == [("Warning", "SecretKeyMissing")]
        await crowd.stop()
        crowd.start()
        await asyncio.sleep(60)
        assert len(crowd.events.of_classes) == 1, "a restart is no news"
        crowd.set_class(exposure={"domain": "nobody.example"})
        await asyncio.sleep(5)
        crowd.set_keys(key="test-key")
        crowd.set_class(exposure={"domain": "apps.example"})
        await asyncio.sleep(10)
        assert crowd.events.of_classes[1:] == [("Warning", "DomainMissing"), ("Normal", "Usable")]
        await crowd.close()


@virtual_time
async def test_the_message_of_a_wrong_claude_key_names_the_class_and_where_the_key_is():
    with prepared():
        crowd = await operated()
        crowd.claude.refuses_key = refusal_of_key()
        crowd.set_keys(key="another-key")
        await asyncio.sleep(70)
        reason, message = crowd.class_says()
        assert reason == "ClaudeUnauthorized"
        where = "key 'anthropic-api-key' into Secret spawnai/spawnai-credentials"
        for words in ("SpawnClass 'standard'", where):
            assert words in message
        asked = len(crowd.claude.asked_for_key)
        await asyncio.sleep(600)
        assert 4 <= len(crowd.claude.asked_for_key) - asked <= 5, "every two minutes"
        await crowd.close()


# --- nobody is asked in a storm --------------------------------------------------------------


@virtual_time
async def test_orders_that_claude_refuses_for_want_of_credit_are_repeated_twice_a_minute_at_most():
    with prepared():
        crowd = await operated()
        crowd.claude.refuses_orders = GenerationNoCredit("the account has no credit")
        crowd.order("new")
        await asyncio.sleep(600)
        assert 10 <= len(crowd.claude.asked_for_order) <= 26, "every 30 s, give or take a fifth"
        reason, message = crowd.class_says()
        assert reason == "ClaudeNoCredit"
        assert "SpawnClass 'standard'" in message
        await crowd.close()


@virtual_time
async def test_an_order_that_claude_refuses_for_its_key_says_where_the_key_is():
    with prepared():
        crowd = await operated()
        crowd.claude.refuses_orders = GenerationUnauthorized("Claude did not accept the API key")
        uid = crowd.order("new")
        crowd.uids.append(uid)
        crowd._keys[uid] = "team/new"
        await asyncio.sleep(5)
        for message in (crowd.session(uid)["status"]["message"], crowd.class_says()[1]):
            for words in ("SpawnClass 'standard'", "'spawnai-credentials'", "'anthropic-api-key'"):
                assert words in message
        await crowd.close()


@virtual_time
async def test_a_problem_for_a_person_is_asked_after_every_two_minutes_and_at_once_when_mended():
    with prepared():
        crowd = await operated()
        crowd.set_keys(key=None)
        await asyncio.sleep(120)
        before = len(crowd.calls())
        await asyncio.sleep(600)
        asked = [call.path for call in crowd.calls()[before:]]
        assert 5 <= asked.count(ACCOUNT) <= 6
        crowd.set_keys(key="test-key")
        await asyncio.sleep(6)
        assert crowd.class_says()[0] == "Usable"
        await crowd.close()


# --- one firewall, one memory ----------------------------------------------------------------


@virtual_time
async def test_a_firewall_that_is_made_while_the_class_changes_is_found_and_is_the_only_one():
    with prepared():
        crowd = Crowd(1)
        crowd.delays["POST /v2/firewalls"] = 12.0
        crowd.start()
        await asyncio.sleep(5)
        crowd.set_class(image="debian-12-x64")
        await asyncio.sleep(60)
        assert crowd.class_says()[0] == "Usable"
        firewalls = crowd.emulator.cloud.firewalls.all()
        assert [one.name for one in firewalls] == [class_firewall_name("class-uid")]
        status = crowd.server.get("class", "standard")["status"]
        assert status["firewallId"] == firewalls[0].id
        await crowd.close()


@virtual_time
async def test_a_class_that_is_deleted_while_its_firewall_is_made_takes_it_along():
    with prepared():
        crowd = Crowd(0)
        crowd.delays["POST /v2/firewalls"] = 12.0
        crowd.start()
        await asyncio.sleep(5)
        crowd.server.delete("admin", "class", "standard")
        await asyncio.sleep(60)
        assert crowd.server.get("class", "standard") is None
        assert crowd.emulator.cloud.firewalls.all() == []
        await crowd.close()


@virtual_time
async def test_nothing_is_asked_for_a_class_whose_finalizer_was_stripped():
    with prepared():
        crowd = await operated(0)
        patch = {"metadata": {"finalizers": None}}
        crowd.server.patch("admin", "class", "standard", patch, status=False)
        crowd.server.delete("admin", "class", "standard")
        await asyncio.sleep(5)
        before = len(crowd.calls())
        await asyncio.sleep(600)
        assert len(crowd.calls()) == before
        assert crowd.controller.accounts.all() == []
        await crowd.close()


@virtual_time
async def test_a_class_that_is_made_again_under_its_name_is_looked_at_anew():
    with prepared():
        crowd = await operated(0)
        patch = {"metadata": {"finalizers": None}}
        crowd.server.patch("admin", "class", "standard", patch, status=False)
        body = crowd.server.get("class", "standard")
        crowd.server.delete("admin", "class", "standard")
        metadata = {"name": "standard", "uid": "another-uid"}
        crowd.server.create(
            "admin", "class", "standard", {"metadata": metadata, "spec": body["spec"]}
        )
        await asyncio.sleep(10)
        assert crowd.class_says()[0] == "Usable"
        names = {one.name for one in crowd.emulator.cloud.firewalls.all()}
        assert class_firewall_name("another-uid") in names
        await crowd.close()


@virtual_time
async def test_a_class_whose_settings_change_has_its_sessions_look_again():
    with prepared():
        crowd = await operated(1)
        (uid,) = crowd.uids
        crowd.end_now(uid)
        await crowd.until(lambda: crowd.session(uid)["status"]["phase"] == "Destroyed", 300)
        await asyncio.sleep(60)
        assert crowd.server.get("record", uid) is not None
        crowd.set_class(records={"retention": "0s"})
        await crowd.until(lambda: crowd.server.get("record", uid) is None, 60)
        await crowd.close()


@virtual_time
async def test_a_token_that_lacks_scopes_is_named_by_them_and_what_ends_goes_all_the_same():
    """Without tag:read droplets show no tags, and none would be known as ours again."""
    with prepared():
        crowd = await operated()
        crowd.set_keys(token=OTHER_TOKEN)
        lacking = ("GET /v2/tags", "DELETE /v2/droplets/1")
        crowd.meddle = lambda method, path, by: (
            (403, {}) if by == OTHER_TOKEN and f"{method} {path}" in lacking else None
        )
        await asyncio.sleep(70)
        reason, message = crowd.class_says()
        assert reason == "ScopesMissing"
        for words in ("SpawnClass 'standard'", "tag:read", "droplet:delete"):
            assert words in message
        assert "droplet:read" not in message
        await ends(crowd)
        await crowd.close()


@virtual_time
async def test_what_a_token_may_do_is_asked_once():
    with prepared():
        crowd = await operated()
        probes: list[str] = []

        def note(method, path, _token):
            if (method, path) == ("GET", "/v2/tags"):
                probes.append(path)

        crowd.meddle = note
        crowd.set_class(image="debian-12-x64")
        await asyncio.sleep(5)
        assert crowd.class_says()[0] == "Usable"
        assert probes == []
        await crowd.close()


@virtual_time
async def test_a_locked_account_shows_on_the_class_and_what_ends_goes_all_the_same():
    with prepared():
        crowd = await operated()
        account = crowd.emulator.cloud.account
        account.status, account.status_message = "locked", "Please contact support."
        crowd.set_class(image="debian-12-x64")
        await asyncio.sleep(5)
        reason, message = crowd.class_says()
        assert reason == "AccountLocked"
        assert "Please contact support." in message
        await ends(crowd)
        await crowd.close()


@virtual_time
async def test_one_401_at_the_start_does_not_keep_what_ended_from_being_destroyed():
    with prepared():
        crowd = await operated()
        await crowd.stop()
        refusals = iter([(401, {})])
        crowd.meddle = lambda *_call: next(refusals, None)
        crowd.start()
        await ends(crowd, 30)
        await crowd.close()


@virtual_time
async def test_an_image_that_sessions_cannot_use_is_refused_with_a_sentence():
    with prepared():
        crowd = await operated()
        upload = {"name": "own", "url": "https://example.com/a.img", "region": "nyc3"}
        uploaded = crowd.emulator.cloud.images.upload(upload)
        crowd.set_class(image="7")
        await asyncio.sleep(10)
        assert crowd.class_says()[0] == "ImageMissing"
        crowd.set_class(image=str(uploaded.id))
        await asyncio.sleep(10)
        reason, message = crowd.class_says()
        assert reason == "ImageUnsupported"
        assert "take a snapshot" in message
        crowd.set_class(image="debian-12-x64")
        await asyncio.sleep(10)
        assert crowd.class_says()[0] == "Usable"
        await crowd.close()
