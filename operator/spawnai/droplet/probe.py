"""One look at an app from outside: GET /health by plain HTTP, as cheap as a look can be.

Caddy on the droplet answers it, from what the droplet's agent last said of the app; so it proves
the way there, the droplet and its web server. It is asked of every running app twice a minute:
no HTTP client, no TLS, no stream: a bare socket for each look (0.5 ms, half of what asyncio's
streams take). What comes back is untrusted and bounded.
"""

import asyncio
import socket
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
        try:
            async with asyncio.timeout(seconds):
                with _connection() as connection:
                    return await _ask(connection, address, port)
        except (OSError, TimeoutError):
            return ProbeAnswer.NONE

    async def knock(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        """Find out whether anybody listens there. Never raises but for cancellation."""
        try:
            async with asyncio.timeout(seconds):
                with _connection() as connection:
                    await asyncio.get_running_loop().sock_connect(connection, (address, port))
        except (OSError, TimeoutError):
            return ProbeAnswer.NONE
        return ProbeAnswer.UP


def _connection() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


async def _ask(connection: socket.socket, address: str, port: int) -> ProbeAnswer:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (address, port))
    request = f"GET /health HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(connection, request.encode())
    received = b""
    while len(received) < ANSWER_MAX_BYTES:
        more = await loop.sock_recv(connection, ANSWER_MAX_BYTES)
        received += more
        if not more or read_answer(received) is ProbeAnswer.UP:
            break
    return read_answer(received)


def read_answer(received: bytes) -> ProbeAnswer:
    """What an HTTP answer says; anything else is none."""
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not head.startswith(b"HTTP/1.") or len(words) < 2:  # noqa: PLR2004 - version and status
        return ProbeAnswer.NONE
    if words[1][:1] == b"2":
        return ProbeAnswer.UP
    return ProbeAnswer.FAILED if b'"state": "failed"' in body else ProbeAnswer.DOWN
