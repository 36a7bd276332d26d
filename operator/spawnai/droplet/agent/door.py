"""The operator's door: HTTPS at :8443, for nobody else.

What stands between a stranger and the agent, in this order:
- a caller from this droplet itself is hung up on: an app has no business here;
- TLS 1.3 where both sides show a certificate of this session, before a byte of HTTP is read; who
  cannot, has taken one of a few places for a few seconds, and gives it up to who comes after;
- at most 8 KiB of a request, then the bearer token, before anything else of it is looked at;
- one deadline for the whole of a request, however its bytes drip.
"""

import contextlib
import ipaddress
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .bundle import Refused
from .settings import MIB
from .state import complain

HEAD_MAX_BYTES = 8 * 1024
BODY_MAX_BYTES = 4 * MIB  # a bundle has at most 1 MiB of files; JSON escapes them up to 4 times
STRANGERS_MAX = 32  # who has not shown a certificate yet
STRANGERS_MAX_PER_CALLER = 4
GUESTS_MAX = 16  # who has; one operator needs two or three
HANDSHAKE_SECONDS = 5.0
REQUEST_SECONDS = 15.0
IDLE_SECONDS = 75.0
REASONS = {200: "OK", 202: "Accepted", 401: "Unauthorized", 404: "Not Found"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request of which everything but its body was read."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Callable[[], Any]
    """Reads the body as JSON; raises Refused."""


Answer = tuple[int, Mapping[str, Any]]
Route = Callable[[Request], Answer]
Admit = Callable[[str], Route | None]
"""From the Authorization header to who answers its caller; None: the caller is a stranger."""


class Door:
    """Lets callers in. Each has a thread, so a slow one holds up nobody."""

    def __init__(
        self,
        address: tuple[str, int],
        tls: ssl.SSLContext,
        admit: Admit,
    ) -> None:
        self._tls = tls
        self._admit = admit
        self._lock = threading.Lock()
        self._strangers: dict[socket.socket, str] = {}  # in the order in which they came
        self._guests: dict[socket.socket, str] = {}
        self._listener = socket.create_server(address, backlog=128)

    def serve_forever(self) -> None:
        """Accept; never returns."""
        while True:
            try:
                raw, (caller, *_) = self._listener.accept()
            except OSError as error:  # no descriptor is left, for example
                complain(f"the operator's door cannot accept: {error}")
                time.sleep(0.1)
                continue
            if is_local(caller, raw.getsockname()[0]):
                raw.close()
                continue
            with self._lock:
                self._make_room(caller)
                self._strangers[raw] = caller
            try:
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()
            except RuntimeError:  # no thread can be had
                self._forget(raw)
                raw.close()

    def change_locks(self, tls: ssl.SSLContext) -> None:
        """From now on only these certificates open it. Who is in gets his answer, and no other."""
        with self._lock:
            self._tls = tls
            for raw in (*self._strangers, *self._guests):
                hang_up(raw, socket.SHUT_RD)

    def _make_room(self, caller: str) -> None:
        """The one who came first and has not shown a certificate yet has had time enough."""
        same = [one for one, its in self._strangers.items() if its == caller]
        if len(same) >= STRANGERS_MAX_PER_CALLER:
            hang_up(same[0])
            del self._strangers[same[0]]
        elif len(self._strangers) >= STRANGERS_MAX:
            first = next(iter(self._strangers))
            hang_up(first)
            del self._strangers[first]

    def _let_in(self, raw: socket.socket) -> None:
        with self._lock:
            caller = self._strangers.pop(raw, None)
            if caller is None:
                raise ConnectionAbortedError
            if len(self._guests) >= GUESTS_MAX:
                first = next(iter(self._guests))
                hang_up(first)
                del self._guests[first]
            self._guests[raw] = caller

    def _forget(self, raw: socket.socket) -> None:
        with self._lock:
            self._strangers.pop(raw, None)
            self._guests.pop(raw, None)

    def _serve(self, raw: socket.socket) -> None:
        try:
            # `raw` keeps its descriptor, so that whoever has to make room can hang up.
            with raw, raw.dup() as copy:
                copy.settimeout(HANDSHAKE_SECONDS)
                with self._tls.wrap_socket(copy, server_side=True) as secure:
                    self._let_in(raw)
                    connection = Connection(secure, self._admit)
                    while connection.serve_one():
                        pass
        except OSError:  # callers that hang up, scan or speak no TLS are not worth a line
            pass
        except Exception:  # noqa: BLE001 - one request must not end the door
            complain(traceback.format_exc())
        finally:
            self._forget(raw)


class Connection:
    """Requests that come one after the other from someone who has shown his certificate."""

    def __init__(self, secure: ssl.SSLSocket, admit: Admit) -> None:
        self._secure = secure
        self._admit = admit
        self._received = b""
        self._deadline = 0.0
        self._unread = 0

    def serve_one(self) -> bool:
        """Answer one request; False when it was the last."""
        self._deadline = time.monotonic() + IDLE_SECONDS
        if not self._received and not self._receive():
            return False
        self._deadline = time.monotonic() + REQUEST_SECONDS
        try:
            status, document = self._answer()
        except Refused as refusal:
            status, document = refusal.status, {"error": str(refusal)}
        except OSError as error:
            if isinstance(error, TimeoutError | ConnectionError | ssl.SSLError):
                raise
            status, document = 507, {"error": f"the agent could not write to its disk: {error}"}
        goes_on = status < 400 and not self._unread  # noqa: PLR2004
        self._reply(status, document, goes_on=goes_on)
        return goes_on

    def _answer(self) -> Answer:
        head = self._read_head()
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or words[2] != "HTTP/1.1":  # noqa: PLR2004
            raise Refused(400, "this is no HTTP/1.1 request")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        # Before anything else is looked at: not the path, not the body.
        route = self._admit(headers.get("authorization", ""))
        if route is None:
            raise Refused(401, "the bearer token is missing or wrong")
        length = headers.get("content-length", "0")
        self._unread = int(length) if length.isdecimal() and len(length) < 12 else 1  # noqa: PLR2004
        if "transfer-encoding" in headers:
            self._unread = 1
        request = Request(words[0], words[1], headers, lambda: self._read_body(headers))
        return route(request)

    def _read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._received:
            if len(self._received) >= HEAD_MAX_BYTES:
                raise Refused(431, f"the head of a request has at most {HEAD_MAX_BYTES} bytes")
            if not self._receive():
                raise ConnectionAbortedError
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        if len(head) > HEAD_MAX_BYTES:
            raise Refused(431, f"the head of a request has at most {HEAD_MAX_BYTES} bytes")
        return head

    def _read_body(self, headers: Mapping[str, str]) -> Any:
        length = headers.get("content-length", "")
        if not length.isdecimal() or len(length) > 12 or "transfer-encoding" in headers:  # noqa: PLR2004
            raise Refused(411, "a body with a Content-Length is needed")
        if int(length) > BODY_MAX_BYTES:
            raise Refused(413, f"the body has {length} bytes; {BODY_MAX_BYTES} is the limit")
        body = bytearray(self._received[: int(length)])
        self._received = self._received[int(length) :]
        while len(body) < int(length):
            body += self._receive_bytes(min(64 * 1024, int(length) - len(body)))
        self._unread = 0
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(422, f"the body is no JSON: {error}") from None

    def _receive(self) -> bool:
        chunk = self._read(4096)
        self._received += chunk
        return bool(chunk)

    def _receive_bytes(self, most: int) -> bytes:
        chunk = self._read(most)
        if not chunk:
            raise ConnectionAbortedError
        return chunk

    def _read(self, most: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._secure.settimeout(left)
        return self._secure.recv(most)

    def _reply(self, status: int, document: Mapping[str, Any], *, goes_on: bool) -> None:
        body = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, 'No')}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if goes_on else 'close'}\r\n\r\n"
        )
        self._secure.settimeout(REQUEST_SECONDS)
        self._secure.sendall(head.encode("ascii") + body)
        if not goes_on:
            self._let_the_answer_arrive()

    def _let_the_answer_arrive(self) -> None:
        """Read on a little: closing with a body unread would reset the connection (RFC 1122)."""
        self._deadline = time.monotonic() + 2
        left = min(self._unread, 16 * MIB) - len(self._received)
        with contextlib.suppress(OSError):
            while left > 0 and (chunk := self._read(min(left, 64 * 1024))):
                left -= len(chunk)


def is_local(caller: str, own: str) -> bool:
    """Whether a caller is this droplet itself. `own` is the address that he called.

    A machine of the local cloud has an address in 127.0.0.0/8, and the operator's is there, too.
    """
    if caller == own:
        return True
    return ipaddress.ip_address(caller).is_loopback and not ipaddress.ip_address(own).is_loopback


def hang_up(raw: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Whoever waits for it, in whatever thread, hears of it at once."""
    with contextlib.suppress(OSError):
        raw.shutdown(how)
