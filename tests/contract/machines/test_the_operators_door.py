import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
from dataclasses import replace
from ipaddress import IPv4Address

import httpx
import pytest
from tests.contract.machines.support import (
    PATIENCE_SECONDS,
    STATIC_PAGE,
    bundle,
    eventually,
    new_credentials,
)

from spawnai.droplet.client import (
    AgentClient,
    AgentRejected,
    AgentUnreachable,
    AgentUntrusted,
    _mutual,
)
from spawnai.droplet.cloud_config import AGENT_PORT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def booted(machine, app_type="webapp"):
    made = machine(app_type)
    await made.boot()
    await made.until_it_answers()
    return made


def shows(credentials) -> ssl.SSLContext:
    """Trusts any certificate and shows the operator's of these credentials."""
    context = _mutual(credentials)
    context.verify_mode = ssl.CERT_NONE
    return context


def knock(machine, **headers):
    """A client with the operator's certificate, and the headers that it is told to send."""
    return httpx.AsyncClient(
        base_url=f"https://{machine.address}:{AGENT_PORT}",
        verify=shows(machine.credentials),
        headers=headers,
        trust_env=False,
    )


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic dXNlcjp3b3Jk", "bearer x"]
)
@pytest.mark.parametrize("path", ["/v1/status", "/v1/bundle", "/", "/../../etc/passwd"])
async def test_without_the_token_every_path_says_401_and_nothing_else(
    idle_webapp, path, authorization
):
    async with knock(idle_webapp, Authorization=authorization) as stranger:
        for method in ("GET", "PUT", "POST", "DELETE"):
            answer = await stranger.request(method, path)
            assert answer.status_code == 401
            assert answer.json() == {"error": "the bearer token is missing or wrong"}
            assert "python" not in str(answer.headers).lower()


async def test_the_token_of_another_session_is_refused(idle_webapp):
    other = new_credentials()
    mixed = replace(idle_webapp.credentials, token=other.token)
    async with AgentClient(idle_webapp.address, AGENT_PORT, mixed) as client:
        with pytest.raises(AgentRejected, match="token") as refusal:
            await client.status()
    assert refusal.value.status == 401


async def test_another_certificate_is_not_trusted_and_sees_no_token(idle_webapp):
    async with AgentClient(idle_webapp.address, AGENT_PORT, new_credentials()) as client:
        with pytest.raises(AgentUntrusted, match="another certificate"):
            await client.status()


async def test_where_nothing_listens_the_agent_is_unreachable(host):
    async with AgentClient(host.allocate_address(), AGENT_PORT, new_credentials()) as client:
        with pytest.raises(AgentUnreachable, match="may still be booting"):
            await client.status()


@pytest.mark.parametrize(
    "content",
    [None, "", "{", '{"tokenSha256": ""}', '{"tokenSha256": null, "appType": "webapp"}'],
    ids=["missing", "empty", "cut", "no hash", "null hash"],
)
async def test_an_agent_that_cannot_read_the_tokens_hash_opens_no_door(machine, content):
    webapp = await booted(machine)
    (agent,) = webapp.agents()
    session = webapp.folder / "session.json"
    whole = session.read_text()
    if content is None:
        session.unlink()
    else:
        session.write_text(content)
    os.kill(agent, signal.SIGKILL)

    log = webapp.host.root_of(webapp.id) / "var" / "log" / "spawnai-agent.service.log"

    async def it_has_tried_and_failed():
        return "Error" in log.read_text()

    await eventually(it_has_tried_and_failed)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((webapp.address, AGENT_PORT), timeout=5)
    session.write_text(whole)
    await webapp.until_it_answers()


@pytest.mark.parametrize(
    "path",
    [
        "../escape.txt", "a/../../escape.txt", "/etc/escape.txt", "a//b", "./a", "a/.", "",
        "a\\..\\b", "a\0b", "a\nb", "-rf", "node_modules/express/index.js", "x" * 201,
    ],
)  # fmt: skip
async def test_a_path_that_leaves_the_apps_folder_is_refused_unwritten(idle_webapp, path):
    before = {file.name for file in idle_webapp.folder.iterdir()}
    document = bundle("webapp", {"index.html": "fine", path: "escaped"})
    with pytest.raises(AgentRejected, match="path") as refusal:
        await idle_webapp.agent.push(document)
    assert refusal.value.status == 422
    assert (await idle_webapp.agent.status()).state == "idle"
    assert {file.name for file in idle_webapp.folder.iterdir()} <= before | {"web"}
    assert not list(idle_webapp.host.root_of(idle_webapp.id).rglob("escape.txt"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": []}, "1 to 100 files"),
        ({"files": [{"path": "a", "content": "x"}] * 2, "entrypoint": "a"}, "twice"),
        (
            {
                "files": [{"path": "a", "content": "x"}, {"path": "a/b", "content": "y"}],
                "entrypoint": "a",
            },
            "below another file",
        ),
        ({"files": [{"path": "a", "content": 7}]}, "both text"),
        ({"files": [{"path": str(n), "content": ""} for n in range(101)]}, "1 to 100 files"),
        ({"entrypoint": "other.html"}, "not among the files"),
        ({"dependencies": {"express": "git+https://example.org/x"}}, "not a range of versions"),
        ({"dependencies": {"express": "file:../x"}}, "not a range of versions"),
        ({"dependencies": {"--registry": "1.0.0"}}, "not a valid npm package name"),
        ({"dependencies": []}, "an object of names"),
        ({"digest": "../x y"}, "digest must be"),
        ({"appType": "api"}, "is for a webapp app"),
    ],
)
async def test_a_bundle_that_breaks_a_rule_is_refused_with_the_rule(idle_webapp, changes, message):
    with pytest.raises(AgentRejected, match=message) as refusal:
        await idle_webapp.agent.push(bundle("webapp", STATIC_PAGE) | changes)
    assert refusal.value.status == 422
    assert (await idle_webapp.agent.status()).state == "idle"


async def test_a_refused_bundle_can_be_followed_by_a_good_one(machine):
    webapp = await booted(machine)
    with pytest.raises(AgentRejected):
        await webapp.agent.push(bundle("webapp", STATIC_PAGE, entrypoint="other.html"))
    await webapp.agent.push(bundle("webapp", STATIC_PAGE))
    assert (await webapp.until("running")).reason is None


async def test_a_body_of_10_megabytes_is_refused_unread(idle_webapp):
    huge = bundle("webapp", {"index.html": "x" * 10_000_000})
    with pytest.raises(AgentRejected, match="the limit") as refusal:
        await idle_webapp.agent.push(huge)
    assert refusal.value.status == 413
    assert (await idle_webapp.agent.status()).state == "idle"


async def test_a_body_that_is_no_json_is_refused(idle_webapp):
    authorization = f"Bearer {idle_webapp.credentials.token}"
    async with knock(idle_webapp, Authorization=authorization) as operator:
        for body in (b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"[]"):
            answer = await operator.put("/v1/bundle", content=body)
            assert answer.status_code == 422
        chunked = await operator.put("/v1/bundle", content=_in_chunks())
        assert chunked.status_code == 411
        unknown = await operator.get("/v1/secrets")
        assert unknown.status_code == 404


async def _in_chunks():
    yield b"{}"


@pytest.mark.parametrize("wanted", ["soon", None, True, -1, 1e300, float("nan")])
async def test_an_expiry_that_is_no_time_is_refused(idle_webapp, wanted):
    before = (await idle_webapp.agent.status()).expires_at
    authorization = f"Bearer {idle_webapp.credentials.token}"
    async with knock(idle_webapp, Authorization=authorization) as operator:
        body = json.dumps({"expiresAt": wanted})
        answer = await operator.put("/v1/expiry", content=body)
    assert answer.status_code == 422
    assert (await idle_webapp.agent.status()).expires_at == before


async def test_without_the_operators_certificate_no_byte_of_http_is_answered(idle_webapp):
    strangers = new_credentials()
    for shown in (strangers, replace(strangers, operator_key_pem="")):
        stranger = replace(
            shown,
            token=idle_webapp.credentials.token,
            certificate_pem=idle_webapp.credentials.certificate_pem,
        )
        async with AgentClient(idle_webapp.address, AGENT_PORT, stranger) as client:
            with pytest.raises(AgentUnreachable):
                await client.status()
    assert (await idle_webapp.agent.status()).state == "idle"


async def test_an_app_on_the_droplet_is_hung_up_on_whatever_it_shows(idle_webapp):
    reader, writer = await asyncio.open_connection(
        idle_webapp.address,
        AGENT_PORT,
        local_addr=(idle_webapp.address, 0),
    )
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_strangers_from_many_addresses_do_not_keep_the_operator_out(idle_webapp, network):
    # Silent ones, and ones that drip a byte of a handshake now and then; more than there is room
    # for, and each from an address of its own.
    first = int(network.network_address) + 2000
    held = []
    try:
        for number in range(80):
            address = str(IPv4Address(first + number))
            held.append(
                socket.create_connection(
                    (idle_webapp.address, AGENT_PORT), timeout=5, source_address=(address, 0)
                )
            )
            with contextlib.suppress(OSError):
                for each in held:
                    each.send(b"\x16")
        for _ in range(5):
            assert (await idle_webapp.agent.status()).state == "idle"
    finally:
        for each in held:
            each.close()


async def test_a_head_that_drips_is_cut_off_and_one_that_swells_is_refused(idle_webapp):
    tls = shows(idle_webapp.credentials)
    swelling = await asyncio.open_connection(idle_webapp.address, AGENT_PORT, ssl=tls)
    reader, writer = swelling
    writer.write(b"GET /v1/status HTTP/1.1\r\n" + b"X: " + b"y" * 9000)
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 431 ")
    writer.close()

    reader, writer = await asyncio.open_connection(idle_webapp.address, AGENT_PORT, ssl=tls)

    async def drip():
        with contextlib.suppress(OSError):
            while not reader.at_eof():
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.2)

    writer.write(b"GET /v1/status HTTP/1.1\r\n")
    dripping = asyncio.create_task(drip())
    with contextlib.suppress(OSError):
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
    dripping.cancel()
    writer.close()
    assert (await idle_webapp.agent.status()).state == "idle"


async def test_noise_instead_of_tls_harms_nobody(idle_webapp):
    reader, writer = await asyncio.open_connection(idle_webapp.address, AGENT_PORT)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await writer.drain()
    # An alert, or the end at once: never an answer in the clear.
    with contextlib.suppress(ConnectionResetError):
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert (await idle_webapp.agent.status()).state == "idle"
