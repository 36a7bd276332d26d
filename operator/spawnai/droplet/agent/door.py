"""The operator's door: HTTPS with the session's certificate, and the bearer token."""

import contextlib
import http.server
import json
import socketserver
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .bundle import Refused
from .settings import MIB
from .state import complain

if TYPE_CHECKING:
    from .main import Agent

AFTER_HEADER = "X-SpawnAI-After"
BODY_MAX_BYTES = 4 * MIB  # a bundle has at most 1 MiB of files; JSON escapes them up to 4 times
CONNECTIONS_MAX = 64  # one operator needs two; the rest is for those who knock in vain
CONNECTIONS_MAX_PER_CALLER = 8  # so that no stranger alone can keep the operator out
HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 75.0


class Control(socketserver.ThreadingTCPServer):
    """HTTPS for the operator. Each connection has a thread, so a slow one holds up nobody."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, agent: "Agent") -> None:
        self.agent = agent
        self._tls = tls
        self._callers: list[str] = []
        self._lock = threading.Lock()
        super().__init__(address, ControlHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more thread, or none when there are enough."""
        caller = client_address[0]
        with self._lock:
            has_room = len(self._callers) < CONNECTIONS_MAX
            has_room &= self._callers.count(caller) < CONNECTIONS_MAX_PER_CALLER
            if has_room:
                self._callers.append(caller)
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._callers.remove(client_address[0])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Encrypt, within a limit, before the first byte is read."""
        request.settimeout(HANDSHAKE_SECONDS)
        with self._tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Callers that hang up, scan or speak no TLS are not worth a line."""
        if not isinstance(sys.exception(), OSError):
            complain(traceback.format_exc())


class ControlHandler(http.server.BaseHTTPRequestHandler):
    """One connection of someone who may or may not be the operator."""

    protocol_version = "HTTP/1.1"
    server: Control

    def answer(self) -> None:
        """Every method and path begins here."""
        try:
            status, document = self._route()
        except Refused as refusal:
            status, document = refusal.status, {"error": str(refusal)}
        except OSError as error:
            status, document = 507, {"error": f"the agent could not write to its disk: {error}"}
        self._reply(status, document)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - the server's names

    def _route(self) -> tuple[int, dict[str, Any]]:
        agent = self.server.agent
        # Before anything else is looked at: not the path, not the body.
        if not agent.knows(self.headers.get("Authorization", "")):
            raise Refused(401, "the bearer token is missing or wrong")
        self.connection.settimeout(IDLE_SECONDS)
        match self.command, self.path:
            case "GET", "/v1/status":
                return 200, agent.status(self.headers.get(AFTER_HEADER))
            case "PUT", "/v1/bundle":
                return agent.app.take(self._body()), {"accepted": True}
            case "PUT", "/v1/expiry":
                agent.move_expiry(self._body())
                return 200, {"accepted": True}
            case "PUT", "/v1/certificate":
                agent.web.put_certificate(self._body())
                return 200, {"accepted": True}
            case "PUT", "/v1/hosts":
                agent.web.put_hosts(self._body())
                return 200, {"accepted": True}
        if self.path.startswith("/v1/challenges/"):
            token = self.path.removeprefix("/v1/challenges/")
            match self.command:
                case "PUT":
                    agent.web.put_challenge(token, self._body())
                    return 200, {"accepted": True}
                case "DELETE":
                    agent.web.delete_challenge(token)
                    return 200, {"accepted": True}
        raise Refused(404, f"there is no {self.command} {self.path[:200]}")

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            raise Refused(411, "a body with a Content-Length is needed")
        if int(length) > BODY_MAX_BYTES:
            raise Refused(413, f"the body has {length} bytes; {BODY_MAX_BYTES} is the limit")
        body = self.rfile.read(int(length))
        self.headers.replace_header("Content-Length", "0")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(422, f"the body is no JSON: {error}") from None

    def _reply(self, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status >= 400:  # noqa: PLR2004
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
        if self.close_connection:
            self._let_the_answer_arrive()

    def _let_the_answer_arrive(self) -> None:
        """Read on a little: closing with a body unread would reset the connection (RFC 1122)."""
        length = self.headers.get("Content-Length", "")
        left = min(int(length), 16 * MIB) if length.isdecimal() else 0
        if "Transfer-Encoding" in self.headers:
            left = 16 * MIB
        deadline = time.monotonic() + 2
        self.connection.settimeout(1)
        with contextlib.suppress(OSError):
            while left > 0 and time.monotonic() < deadline:
                chunk = self.rfile.read1(min(left, 64 * 1024))
                if not chunk:
                    return
                left -= len(chunk)

    def version_string(self) -> str:
        """Not Python's."""
        return "spawnai-agent"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: a scanner must not fill the droplet's journal."""
