"""The console's API against a real API server: the caller's own rights decide."""

import asyncio
import base64
import contextlib
import json
from random import Random

import pytest
from tests.e2e.console.conftest import TEAM, World
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from spawnai.console.api_server import ApiServer, Refused
from spawnai.console.caller import Caller
from spawnai.console.feed import Scope
from spawnai.console.live import RECHECK_SECONDS, Live
from spawnai_local.control_plane import ControlPlane

ORDER = {"prompt": "A retro board, with cards", "appType": "webapp", "namespace": TEAM}


async def test_without_a_token_nothing_is_done(world: World):
    async with world.client(None) as client:
        answer = await client.get("api/sessions")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["reason"] == "Unauthorized"


async def test_an_invalid_token_is_refused_by_kubernetes(world: World):
    async with world.client("invalid") as client:
        answer = await client.get("api/sessions", params={"namespace": TEAM})
    assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")


async def test_who_may_only_look_is_told_so_in_kubernetes_own_words(world: World):
    async with world.client(world.viewer) as client:
        listed = await client.get("api/sessions", params={"namespace": TEAM})
        refused = await client.post("api/sessions", json=ORDER)
    assert listed.status_code == 200
    assert refused.status_code == 403
    assert refused.json()["reason"] == "Forbidden"
    assert (
        f'User "system:serviceaccount:{TEAM}:viewer" cannot create resource "spawnsessions"'
        in refused.json()["error"]
    )


async def test_an_order_is_answered_as_the_first_description_says(clean: World):
    async with clean.client(clean.editor) as client:
        answer = await client.post("api/sessions", json=ORDER | {"userId": TEAM})
        placed = answer.json()
        shown = (await client.get(f"api/sessions/{placed['sessionId']}")).json()
    assert answer.status_code == 201
    assert {"sessionId", "estimatedCost", "estimatedTime"} <= placed.keys()
    assert placed["sessionId"].startswith(f"{TEAM}.retro-board-")
    assert answer.headers["location"] == f"/api/sessions/{placed['sessionId']}"
    first_six = ("id", "state", "appUrl", "expiresAt", "estimatedCost", "actualCost")
    assert [shown[field] for field in first_six] == [
        placed["sessionId"],
        "requested",
        None,
        None,
        None,
        None,
    ]


async def test_a_key_is_ordered_by_its_name_and_its_value_is_never_asked_for(clean: World):
    env = [{"name": "WEATHER_KEY", "secretRef": {"name": "weather", "key": "openweather"}}]
    await clean.order("umbrella", appType="fullstack", env=env)
    made = await clean.kubectl.json("get", "spawnsession", "umbrella", "--namespace", TEAM)
    assert made["spec"]["env"] == env


async def test_the_documentation_is_a_page_without_a_script(world: World):
    async with world.client(None) as client:
        page = await client.get("api/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "POST /api/sessions" in page.text
    assert "<script" not in page.text


async def test_the_status_is_shown_in_small_letters_and_plain_fields(clean: World, ready):
    await clean.order("clock")
    await clean.set_status(
        "clock", **ready, readyAt="2026-11-29T12:01:00Z", expirationTime="2026-11-29T14:01:00Z"
    )
    async with clean.client(clean.viewer) as client:
        shown = (await client.get(f"api/sessions/{TEAM}.clock")).json()
    assert shown["state"] == "running"
    assert shown["appUrl"] == ready["url"]
    assert shown["expiresAt"] == "2026-11-29T14:01:00Z"
    assert (shown["estimatedCost"], shown["costHourly"]) == ("0.11", "0.00893")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"appType": "spreadsheet"}, "appType"),
        ({"ttl": "2 hours"}, "ttl"),
        ({"namespace": "../kube-system"}, "namespace"),
        ({"name": "Not A Name"}, "name"),
        ({"unknown": 1}, "unknown"),
        ({"region": "New York"}, "region"),  # Kubernetes' own rule, under the request's name
    ],
)
async def test_a_value_that_cannot_be_used_names_its_field(world: World, wrong, field):
    async with world.client(world.editor) as client:
        answer = await client.post("api/sessions", json=ORDER | wrong)
    assert answer.status_code in (400, 422), answer.text
    assert field in [one["field"] for one in answer.json()["fields"]]


async def test_the_same_name_twice_is_a_conflict(clean: World):
    await clean.order("clock")
    async with clean.client(clean.editor) as client:
        answer = await client.post("api/sessions", json=ORDER | {"name": "clock"})
    assert (answer.status_code, answer.json()["reason"]) == (409, "AlreadyExists")


async def test_an_extension_an_end_and_an_opinion_are_annotations(clean: World):
    await clean.order("clock", ttl="2h")
    async with clean.client(clean.editor) as client:
        path = f"api/sessions/{TEAM}.clock"
        extended = await client.patch(path, json={"expiresAt": "2026-12-24T18:00:00Z"})
        await client.patch(path, json={"feedback": "yes"})
        ended = await client.patch(path, json={"expiresAt": "now", "ttl": None})
    assert extended.json()["expiresAtAsked"] == "2026-12-24T18:00:00Z"
    shown = await clean.kubectl.json("get", "spawnsession", "clock", "--namespace", TEAM)
    assert shown["metadata"]["annotations"] == {
        "spawn-ai.com/expires-at": "now",
        "spawn-ai.com/feedback": "yes",
        **{
            name: text
            for name, text in shown["metadata"]["annotations"].items()
            if "created-by" in name
        },
    }
    assert ended.json()["ttl"] is None
    # Flux takes over what managers named kubectl-… wrote, and would undo it.
    managers = [one["manager"] for one in shown["metadata"].get("managedFields", [])]
    assert not [name for name in managers if name.startswith("kubectl") and name != "kubectl"]


async def test_a_deleted_session_is_shown_a_last_time_and_then_gone(clean: World):
    await clean.order("clock")
    async with clean.client(clean.editor) as client:
        path = f"api/sessions/{TEAM}.clock"
        deleted = await client.delete(path)
        assert (deleted.status_code, deleted.json()["deleted"]) == (202, True)
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404


async def test_a_change_of_nothing_is_refused(world: World):
    async with world.client(world.editor) as client:
        answer = await client.patch(f"api/sessions/{TEAM}.clock", json={})
    assert answer.status_code == 400


async def test_a_request_of_another_sites_page_is_refused(world: World):
    async with world.client(world.editor) as client:
        answer = await client.post(
            "api/sessions", json=ORDER, headers={"Origin": "https://evil.example.com"}
        )
    assert (answer.status_code, answer.json()["reason"]) == (403, "ForeignPage")


async def test_every_answer_forbids_foreign_scripts_and_frames(world: World):
    async with world.client(None) as client:
        for path in ("", "app.js", "api/sessions"):
            headers = (await client.get(path)).headers
            policy = headers["content-security-policy"]
            assert "script-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"


async def test_too_many_requests_are_told_when_to_come_again(world: World):
    """On a busy machine they come slowly, and what was used comes back meanwhile."""
    async with world.client("flood") as client:
        for _ in range(20):
            answers = await asyncio.gather(*(client.get("api/nothing") for _ in range(100)))
            refused = [one for one in answers if one.status_code == 429]
            if refused:
                break
    assert int(refused[0].headers["retry-after"]) >= 1


async def test_me_tells_who_asks_and_what_may_be_done(world: World):
    async with world.client(world.viewer) as client:
        me = (await client.get("api/me")).json()
    assert me["user"] == f"system:serviceaccount:{TEAM}:viewer"
    assert me["namespace"] == TEAM
    assert me["may"] == {
        "see": True,
        "order": False,
        "change": False,
        "delete": False,
        "logs": True,
        "source": True,
        "searchAll": False,
    }
    assert 'cannot create resource "spawnsessions"' in me["refusal"]
    async with world.client(world.editor) as client:
        assert (await client.get("api/me")).json()["refusal"] is None
    async with world.client(world.auditor) as client:
        assert (await client.get("api/me")).json()["may"]["searchAll"] is True


async def test_without_an_operator_the_offer_says_so(world: World):
    async with world.client(world.viewer) as client:
        answer = await client.get("api/offer")
        logs = await client.get(f"api/sessions/{TEAM}.clock/logs")
    assert (answer.status_code, answer.json()["operator"]) == (200, "away")
    assert (logs.status_code, logs.json()["reason"]) == (503, "OperatorAway")
    assert logs.headers["retry-after"]


# The history. No operator runs: it comes from the database that the export fills.


async def test_the_history_is_read_from_the_database_for_whoever_may_list_its_namespace(
    clean: World,
):
    await clean.export("board", "dana", completedAt="2026-11-29T14:00:03Z")
    await clean.export("quiz", "ada", completedAt="2026-11-29T15:00:00Z")
    await clean.export("foreign", "ada", namespace="default")
    async with clean.client(clean.viewer) as client:
        told = (await client.get("api/history")).json()
        searched = [
            (await client.get("api/history", params=search)).json()["items"]
            for search in ({"user": "dana"}, {"search": "DAN"}, {"until": "2026-11-29T14:30:00Z"})
        ]
        elsewhere = await client.get("api/history", params={"namespace": "default"})
        wrong = await client.get("api/history", params={"since": "yesterday"})
        everywhere = await client.get("api/history", params={"allNamespaces": True})
    async with clean.client(clean.stranger) as client:
        refused = await client.get("api/history")
    async with clean.client(clean.auditor) as client:
        whole = (await client.get("api/history", params={"allNamespaces": True})).json()["items"]
    assert [one["name"] for one in told["items"]] == ["quiz", "board"]
    assert {one["name"] for one in whole} == {"quiz", "board", "foreign"}
    assert (told["missing"], told["more"]) == ("newest", False)
    assert "the operator does not answer" in told["notice"]
    assert [[one["name"] for one in items] for items in searched] == [["board"]] * 3
    receipt = searched[0][0]
    assert (receipt["serverCost"], receipt["claudeCost"], receipt["totalCost"]) == (
        "0.01786",
        "0.086",
        "0.10386",
    )
    for answer in (elsewhere, refused, everywhere):
        assert answer.status_code == 403
        assert 'cannot list resource "spawnsessions"' in answer.json()["error"]
    assert (wrong.status_code, wrong.json()["fields"][0]["field"]) == (400, "since")


# Live updates.


def subprotocols(token: str) -> list[str]:
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    return ["spawnai.v1", f"base64url.bearer.authorization.k8s.io.{encoded}"]


@contextlib.asynccontextmanager
async def watching(world: World, token: str, query: str = "", path: str = "api/watch"):
    url = world.console.url.replace("http://", "ws://") + f"{path}?namespace={TEAM}{query}"
    async with connect(url, subprotocols=subprotocols(token), proxy=None) as socket:
        assert socket.subprotocol == "spawnai.v1"

        async def receive() -> dict:
            return json.loads(await asyncio.wait_for(socket.recv(), 20))

        yield receive


async def until_told_of(receive, *names: str, kind: str = "session") -> list[dict]:
    """Messages up to the last of these names: an open feed may be a moment behind."""
    messages: list[dict] = []
    missing = set(names)
    while missing:
        messages.append(await receive())
        if messages[-1]["type"] == kind:
            missing.discard(messages[-1]["session"]["name"])
    return messages


async def test_a_watch_tells_what_there_is_and_then_what_happens(clean: World):
    await clean.order("clock")
    async with watching(clean, clean.viewer) as receive:
        messages = await until_told_of(receive, "clock")
        assert messages[0]["type"] == "reset"
        await clean.set_status("clock", phase="Provisioning", progress=20, message="Starting")
        update = (await until_told_of(receive, "clock"))[-1]
        assert (update["state"], update["progress"], update["message"]) == (
            "provisioning",
            20,
            "Starting",
        )
        assert update["metadata"].keys() == {
            "appUrl",
            "expiresAt",
            "estimatedCost",
            "actualCost",
        }
        await clean.delete("clock")
        await until_told_of(receive, "clock", kind="deleted")


async def test_after_a_cut_a_watch_goes_on_without_gap_or_repetition(clean: World):
    await clean.order("clock")
    await clean.order("quiz")
    async with watching(clean, clean.viewer) as receive:
        messages = await until_told_of(receive, "clock", "quiz")
        seen = max(int(one.get("sequence", 0)) for one in messages)
    # While nobody reads, one changes twice, one goes, one comes.
    await clean.set_status("clock", phase="Provisioning", progress=10)
    await clean.set_status("clock", phase="Generating", progress=30)
    await clean.delete("quiz")
    await clean.order("menu")
    async with watching(clean, clean.viewer, f"&since={seen}") as receive:
        messages = await until_told_of(receive, "menu")
    about = [one for one in messages if "session" in one]
    assert "reset" not in [one["type"] for one in messages]
    assert [one["session"]["name"] for one in about if one["type"] == "deleted"] == ["quiz"]
    assert [one["progress"] for one in about if one["id"] == f"{TEAM}.clock"][-1] == 30
    sequences = [int(one["sequence"]) for one in about]
    assert sequences == sorted(set(sequences))
    assert min(sequences) > seen


async def test_a_watch_of_one_session_tells_of_no_other(clean: World):
    await clean.order("quiz")
    await clean.order("clock")
    path = f"api/sessions/{TEAM}.clock/watch"
    async with watching(clean, clean.viewer, path=path) as receive:
        messages = await until_told_of(receive, "clock")
    assert {one["id"] for one in messages if one["type"] == "session"} == {f"{TEAM}.clock"}


@pytest.mark.parametrize(("who", "status"), [("stranger", 403), ("invalid", 401)])
async def test_who_may_not_watch_is_told_why(world: World, who, status):
    token = getattr(world, who, who)
    async with watching(world, token) as receive:
        message = await receive()
        assert (message["type"], message["status"]) == ("error", status)
        with pytest.raises(ConnectionClosed) as closed:
            await receive()
    assert closed.value.rcvd.code == 4000 + status


async def test_server_sent_events_tell_the_same(clean: World):
    await clean.order("clock")
    async with (
        clean.client(clean.viewer) as client,
        client.stream("GET", "api/watch", params={"namespace": TEAM}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        types = []
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                types.append(json.loads(line.removeprefix("data: "))["type"])
            if "session" in types and "synced" in types:
                break
    assert types[0] == "reset"


async def test_server_sent_events_refuse_with_a_status(world: World):
    async with world.client(world.stranger) as client:
        answer = await client.get("api/watch", params={"namespace": TEAM})
    assert answer.status_code == 403
    assert 'cannot watch resource "spawnsessions"' in answer.json()["error"]


class HandSetClock:
    """Time for what is asked again after minutes; waiting between tries is real."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))


async def test_pages_share_a_watch_and_a_revoked_right_ends_only_its_owners_streams(
    clean: World, control_plane: ControlPlane
):
    clock = HandSetClock()
    await clean.kubectl.run(
        *("create", "rolebinding", "for-a-while", "--namespace", TEAM),
        *("--clusterrole=spawnai-session-viewer", f"--serviceaccount={TEAM}:stranger"),
    )
    async with ApiServer(control_plane.server, control_plane.ca_path) as api:
        live = Live(api, clock, Random(1))
        rechecking = asyncio.create_task(live.run())
        scope = Scope(TEAM)
        async with (
            live.reading(Caller(clean.stranger), scope, None) as lost,
            live.reading(Caller(clean.viewer), scope, None) as kept,
            live.reading(Caller(clean.viewer), scope, None) as kept_too,
        ):
            assert (live.readers, live.watches) == (3, 1)
            await clean.kubectl.run(*("delete", "rolebinding", "for-a-while", "--namespace", TEAM))
            clock.seconds = RECHECK_SECONDS
            async with asyncio.timeout(20):
                _ = [message async for message in lost.messages()]
            assert isinstance(lost.refusal, Refused)
            assert lost.refusal.status == 403
            assert 'cannot watch resource "spawnsessions"' in str(lost.refusal)
            await clean.order("after")
            for reader in (kept, kept_too):
                async with asyncio.timeout(20):
                    async for message in reader.messages():
                        if '"name":"after"' in message.text:
                            break
        rechecking.cancel()
        await asyncio.wait([rechecking])
