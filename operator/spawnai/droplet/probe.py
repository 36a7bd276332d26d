"""One look at an app from outside: GET /health by plain HTTP, as cheap as a look can be.

Caddy on the droplet answers it, from what the droplet's agent last said of the app; so it proves
the way there, the droplet and its web server. It is asked of every running app twice a minute:
no HTTP client, no TLS, no stream: a bare socket for each look, and one selector for those that are
under way, of which the event loop sees one file (0.17 ms a look, half of what asyncio's own socket
calls take). What comes back is untrusted and bounded.
"""

import asyncio
import errno
import os
import selectors
import socket
import ssl
from dataclasses import dataclass, field
from enum import StrEnum

ANSWER_MAX_BYTES = 4096


class ProbeAnswer(StrEnum):
    """What a look showed."""

    UP = "Up"  # the app serves
    DOWN = "Down"  # somebody answers, and the app does not serve: it starts, or is started again
    FAILED = "Failed"  # somebody answers that the app has stopped for good
    NONE = "None"  # nobody answers


@dataclass(slots=True)
class _Look:
    """A look under way: first it waits for the connection, then for what comes back."""

    connection: socket.socket
    request: bytes
    answer: asyncio.Future[ProbeAnswer]
    received: bytes = b""

    def connected(self) -> None:
        """Ask, if there is something to ask."""
        if error := self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        if self.request:
            self.connection.sendall(self.request)
        else:
            self.answer.set_result(ProbeAnswer.UP)

    def receive(self) -> None:
        """Read on, until the answer is good, at its end, or too long."""
        more = self.connection.recv(ANSWER_MAX_BYTES)
        self.received += more
        answer = read_answer(self.received)
        if not more or answer is ProbeAnswer.UP or len(self.received) >= ANSWER_MAX_BYTES:
            self.answer.set_result(answer)


@dataclass(slots=True)
class Probes:
    """The looks: at the app's web server, through a load balancer, and at the agent's door.

    Addresses are IPv4 in digits: a name would be resolved while the event loop waits.
    """

    _selector: selectors.BaseSelector | None = field(default=None, init=False)

    async def health(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        """Ask for /health. Never raises but for cancellation."""
        request = f"GET /health HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        return await self._look(address, port, seconds, request.encode())

    async def health_of(self, host: str, address: str, port: int, seconds: float) -> ProbeAnswer:
        """Ask for a host's /health by HTTPS at an address, such as a load balancer's. Never raises
        but for cancellation.

        It proves the way there. The certificate is not looked at: whom clients trust is not known
        here, and nothing is said that only the app may hear.
        """
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = f"GET /health HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        writer = None
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(
                    address, port, ssl=context, server_hostname=host
                )
                writer.write(request.encode())
                received = await reader.read(ANSWER_MAX_BYTES)
        except (OSError, TimeoutError):
            return ProbeAnswer.NONE
        finally:
            if writer is not None:
                writer.transport.abort()
        return read_answer(received)

    async def knock(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        """Find out whether anybody listens there. Never raises but for cancellation."""
        return await self._look(address, port, seconds, b"")

    async def _look(self, address: str, port: int, seconds: float, request: bytes) -> ProbeAnswer:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
                connection.settimeout(0.0)
                error = connection.connect_ex((address, port))
                if error not in {0, errno.EINPROGRESS}:
                    return ProbeAnswer.NONE
                look = _Look(connection, request, asyncio.get_running_loop().create_future())
                selector = self._begin(look)
                try:
                    async with asyncio.timeout(seconds):
                        return await look.answer
                finally:
                    self._end(look, selector)
        except (OSError, TimeoutError):
            return ProbeAnswer.NONE

    def _begin(self, look: _Look) -> selectors.BaseSelector:
        """The first of those under way opens the selector, and the last closes it."""
        selector = self._selector
        if selector is None:
            selector = self._selector = selectors.DefaultSelector()
            asyncio.get_running_loop().add_reader(_file_of(selector), self._go_on, selector)
        selector.register(look.connection, selectors.EVENT_WRITE, look)
        return selector

    def _end(self, look: _Look, selector: selectors.BaseSelector) -> None:
        selector.unregister(look.connection)
        if not selector.get_map():
            asyncio.get_running_loop().remove_reader(_file_of(selector))
            selector.close()
            self._selector = None

    def _go_on(self, selector: selectors.BaseSelector) -> None:
        """Some of the looks under way can go on."""
        for key, events in selector.select(0):
            look: _Look = key.data
            if look.answer.done():
                continue
            try:
                if events & selectors.EVENT_WRITE:
                    look.connected()
                    selector.modify(key.fileobj, selectors.EVENT_READ, look)
                else:
                    look.receive()
            except BlockingIOError:
                continue
            except OSError:
                look.answer.set_result(ProbeAnswer.NONE)


def _file_of(selector: selectors.BaseSelector) -> int:
    """The file that is readable when one of its sockets is ready: of epoll, or of kqueue."""
    file: int = selector.fileno()  # type: ignore[attr-defined] # DefaultSelector has one on both
    return file


def read_answer(received: bytes) -> ProbeAnswer:
    """What an HTTP answer says; anything else is none."""
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not head.startswith(b"HTTP/1.") or len(words) < 2:  # noqa: PLR2004 - version and status
        return ProbeAnswer.NONE
    if words[1][:1] == b"2":
        return ProbeAnswer.UP
    return ProbeAnswer.FAILED if b'"state": "failed"' in body else ProbeAnswer.DOWN
