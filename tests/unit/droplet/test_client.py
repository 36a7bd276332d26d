"""What a droplet answers is not trusted: here something else than our agent speaks as one."""

import asyncio
import contextlib
import json
import ssl
from datetime import UTC, datetime

import pytest

from spawnai.droplet.client import AgentClient, AgentRejected, AgentUnreachable
from spawnai.droplet.credentials import derive_credentials

CREDENTIALS = derive_credentials(
    b"test-master-key-of-32-bytes-long", "uid", datetime(2026, 11, 23, tzinfo=UTC)
)
STATUS = {
    "bundleDigest": "d",
    "state": "running",
    "reason": None,
    "exitCode": None,
    "restarts": 2,
    "log": ["one", "two"],
    "expiresAt": 1_800_000_000,
    "agentVersion": "1",
}


@contextlib.asynccontextmanager
async def answering(tmp_path, answer: bytes):
    """A server with the right certificate that gives this answer to whatever it is asked."""
    (tmp_path / "crt").write_text(CREDENTIALS.certificate_pem)
    (tmp_path / "key").write_text(CREDENTIALS.private_key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    async def speak(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(speak, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with AgentClient("127.0.0.1", port, CREDENTIALS) as client:
            yield client


def http(body: bytes | dict, status: str = "200 OK", headers: str = "") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n{headers}\r\n"
    return head.encode() + raw


async def test_a_status_is_read_into_a_value(tmp_path):
    async with answering(tmp_path, http(STATUS)) as client:
        status = await client.status()
    assert (status.bundle_digest, status.state, status.restarts) == ("d", "running", 2)
    assert status.log == ("one", "two")
    assert status.expires_at == datetime.fromtimestamp(1_800_000_000, UTC)


async def test_a_log_is_bounded_whatever_the_droplet_says(tmp_path):
    flood = STATUS | {"log": ["x" * 5000] * 150}
    async with answering(tmp_path, http(flood)) as client:
        status = await client.status()
    assert (len(status.log), len(status.log[0])) == (100, 1000)


@pytest.mark.parametrize(
    "answer",
    [
        http(b"not json"),
        http(b"[]"),
        http(b"[" * 100_000),
        http({}),
        http(STATUS | {"state": "excellent"}),
        http(STATUS | {"log": "one"}),
        http(STATUS | {"restarts": "many"}),
        http(STATUS | {"restarts": None}),
        http(STATUS | {"expiresAt": 1e30}),
        http(STATUS | {"expiresAt": float("nan")}),
        http(b"x" * 9_000_000),
        http({"error": "teapot"}, "418 I'm a teapot"),
    ],
)
async def test_an_answer_that_cannot_be_right_is_rejected(tmp_path, answer):
    async with answering(tmp_path, answer) as client:
        with pytest.raises(AgentRejected):
            await client.status()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"\x00\x01\x02",
        http({"error": "no space left"}, "507 Insufficient Storage"),
        http(b"", "502 Bad Gateway"),
    ],
)
async def test_half_an_answer_or_a_server_error_means_to_ask_again(tmp_path, answer):
    async with answering(tmp_path, answer) as client:
        with pytest.raises(AgentUnreachable):
            await client.status()


async def test_the_reason_of_a_refusal_is_handed_on_and_the_token_is_not(tmp_path):
    async with answering(tmp_path, http({"error": "no"}, "409 Conflict")) as client:
        with pytest.raises(AgentRejected, match="409: no") as refusal:
            await client.push({"digest": "d"})
    assert refusal.value.status == 409
    assert CREDENTIALS.token not in repr(refusal.value)
