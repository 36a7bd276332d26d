"""The only way out of a browser: a proxy on loopback that leads to one host and nowhere else."""

import asyncio
import contextlib
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

_CONNECT_SECONDS = 3.0
_HEAD_MAX_BYTES = 64 * 1024
_CHUNK = 64 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OneHostProxy:
    """An HTTP proxy for one browser and one page.

    Whatever host and port the page is at, bytes go to `address`; a request for another host is
    answered 403. So a page reaches neither the cluster nor this machine, whatever it tries.

    Attributes:
        answered: whether the address took a connection.
        problem: why it took none the last time.
        refused: hosts that the page asked for and did not get.
    """

    def __init__(self, url: str, address: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._address = address
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.answered = False
        self.problem = ""
        self.refused: set[str] = set()

    @property
    def url(self) -> str:
        """Where the browser finds the proxy; only once it is started."""
        if self._server is None:
            raise RuntimeError("the proxy is not started")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=_HEAD_MAX_BYTES
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
        is_tunnel = method == "CONNECT"
        wanted = _place(f"https://{target}" if is_tunnel else target)
        if wanted != (self._host, self._port):
            self.refused.add(wanted[0])
            await _refuse(writer, HTTPStatus.FORBIDDEN)
            return
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                onward = await asyncio.open_connection(self._address, self._port)
        except OSError as error:  # a TimeoutError too
            self.problem = error.strerror or type(error).__name__
            await _refuse(writer, HTTPStatus.BAD_GATEWAY)
            return
        self.answered = True
        if is_tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            # In absolute form, as it came: every HTTP/1.1 server takes that (RFC 9112, 3.2.2).
            onward[1].write(head)
        try:
            await asyncio.gather(_pipe(reader, onward[1]), _pipe(onward[0], writer))
        finally:
            onward[1].close()


def _place(target: str) -> tuple[str, int]:
    try:
        parts = urlsplit(target)
        return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return "", 0


async def _refuse(writer: asyncio.StreamWriter, status: HTTPStatus) -> None:
    line = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\n"
    writer.write(f"{line}Connection: close\r\n\r\n".encode())
    await writer.drain()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
