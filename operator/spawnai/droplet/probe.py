"""One look at an app from outside: GET /health by plain HTTP, as cheap as a look can be.

Caddy on the droplet answers it, from what the droplet's agent last said of the app; so it proves
the way there, the droplet and its web server. It is asked of every running app twice a minute:
no HTTP client, no TLS, a connection for each look. What comes back is untrusted and bounded.
"""

import asyncio
from enum import StrEnum

ANSWER_MAX_BYTES = 4096


class ProbeAnswer(StrEnum):
    """What a look showed."""

    UP = "Up"  # the app serves
    DOWN = "Down"  # somebody answers, and the app does not serve: it starts, or is started again
    FAILED = "Failed"  # somebody answers that the app has stopped for good
    NONE = "None"  # nobody answers


class Probes:
    """The two looks: at the app's web server, and at the agent's door."""

    async def health(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        """Ask for /health. Never raises but for cancellation."""
        return await probe_health(address, port, seconds)

    async def knock(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        """Find out whether anybody listens there. Never raises but for cancellation."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                transport, _ = await loop.create_connection(asyncio.Protocol, address, port)
        except (OSError, TimeoutError):
            return ProbeAnswer.NONE
        transport.abort()
        return ProbeAnswer.UP


async def probe_health(address: str, port: int, seconds: float) -> ProbeAnswer:
    """Look at the app of the droplet at that address; never raises but for cancellation."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    transport: asyncio.Transport | None = None
    try:
        async with asyncio.timeout(seconds):
            transport, _ = await loop.create_connection(
                lambda: _Reader(answer, address), address, port
            )
            return read_answer(await answer)
    except (OSError, TimeoutError):
        return ProbeAnswer.NONE
    finally:
        if transport is not None:
            transport.abort()


def read_answer(received: bytes) -> ProbeAnswer:
    """What an HTTP answer says; anything else is none."""
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not head.startswith(b"HTTP/1.") or len(words) < 2:  # noqa: PLR2004 - version and status
        return ProbeAnswer.NONE
    if words[1][:1] == b"2":
        return ProbeAnswer.UP
    return ProbeAnswer.FAILED if b'"state": "failed"' in body else ProbeAnswer.DOWN


class _Reader(asyncio.Protocol):
    """Asks, and reads until the other side closes or has said enough."""

    def __init__(self, answer: asyncio.Future[bytes], host: str) -> None:
        self._answer = answer
        self._host = host
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - as asyncio promises
        transport.write(
            f"GET /health HTTP/1.0\r\nHost: {self._host}\r\nConnection: close\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.startswith(b"HTTP/1.1 2") or len(self._received) > ANSWER_MAX_BYTES:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._finish()

    def _finish(self) -> None:
        if not self._answer.done():
            self._answer.set_result(self._received[:ANSWER_MAX_BYTES])
