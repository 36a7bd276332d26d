"""ShellHost: droplets with an agent and nothing behind it, for many sessions on one machine.

A machine of `MachineHost` is a group of processes; a thousand of them are too many for a laptop.
A shell reads the same user_data and answers as the real agent does (operator/spawnai/droplet/
agent/): HTTPS on the droplet's own address with the certificate that user_data carries, the
operator's certificate and bearer token checked, the same documents. It installs and runs nothing:
an app is `running` when the time that was set for it is over. All shells live in the process and
event loop of the host.
"""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import yaml

log = logging.getLogger(__name__)

VERSION = "shell"
_FOLDER = "/opt/spawnai"
_CHALLENGES = "/.well-known/acme-challenge/"
_NPM_CACHE = f"{_FOLDER}/npm-cache"  # only the builder of an image names it
_HEAD_MAX_BYTES = 16 * 1024
_BODY_MAX_BYTES = 4 * 1024 * 1024
_IDLE_SECONDS = 75.0
_AFTER_SECONDS = 5.0
_BACKLOG = 8

ShellAnswer = tuple[int, dict[str, Any]]
"""A status and a JSON document."""

Door = Callable[[int, str, Callable[[], Awaitable[ShellAnswer]]], Awaitable[ShellAnswer | None]]
"""What every call to an agent goes through: the droplet's id, `METHOD /path`, and what lets the
call take effect. It returns the answer, or None to break the connection."""


async def open_door(
    _droplet_id: int, _call: str, perform: Callable[[], Awaitable[ShellAnswer]]
) -> ShellAnswer | None:
    """Let every call in."""
    return await perform()


class ShellError(Exception):
    """A shell cannot be what its user_data asks for; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class ShellPace:
    """How long a shell pretends to work, in seconds."""

    agent: float = 0.0
    """From `active` to the agent's first answer."""
    install: float = 2.0
    """From the bundle to the end of its installation."""
    start: float = 1.0
    """From then to the app's first answer."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What user_data tells an agent."""

    session_uid: str
    certificate_pem: str
    private_key_pem: str
    operator_certificate_pem: str
    app_type: str | None
    token_sha256: str
    expires_at: float
    grace_seconds: float
    agent_port: int
    http_port: int

    @classmethod
    def read(cls, user_data: str) -> "Bootstrap":
        """Read a #cloud-config as SpawnAI renders it.

        Raises:
            ShellError: it is none, or a file is missing.
        """
        if not user_data.startswith("#cloud-config"):
            raise ShellError("the user_data is no #cloud-config")
        # The C parser: a thousand documents of 40 KiB take seconds instead of minutes.
        document = yaml.load(user_data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        files = {str(one["path"]): one for one in document.get("write_files", ())}
        try:
            return cls.of(json.loads(files[f"{_FOLDER}/session.json"]["content"]))
        except KeyError as missing:
            raise ShellError(f"the user_data has no {missing}") from None

    @classmethod
    def of(cls, session: dict[str, Any]) -> "Bootstrap":
        """Read a session.json. Raises KeyError, TypeError or ValueError."""
        return cls(
            session_uid=session["sessionUid"],
            certificate_pem=session["agent"]["certificate"],
            private_key_pem=session["agent"]["key"],
            operator_certificate_pem=session["operatorCertificate"],
            app_type=session["appType"],
            token_sha256=session["tokenSha256"],
            expires_at=float(session["expiresAt"]),
            grace_seconds=float(session["graceSeconds"]),
            agent_port=int(session["agentPort"]),
            http_port=int(session["httpPort"]),
        )

    def tls(self) -> ssl.SSLContext:
        """The server's side of TLS with the agent's certificate. Its key touches no disk."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        memory = os.memfd_create("agent", os.MFD_CLOEXEC)
        try:
            os.write(memory, (self.certificate_pem + self.private_key_pem).encode("ascii"))
            context.load_cert_chain(f"/proc/self/fd/{memory}")
        finally:
            os.close(memory)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self.operator_certificate_pem)
        return context


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Shell:
    """One droplet's agent."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        pace: ShellPace,
        on_power_off: Callable[[], None],
        through: Callable[
            [str, Callable[[], Awaitable[ShellAnswer]]], Awaitable[ShellAnswer | None]
        ],
        seconds: Callable[[], float],
    ) -> None:
        self._bootstrap = bootstrap
        self._pace = pace
        self._through = through
        self._stopped = False
        self._proofs: dict[str, str] = {}
        self._seconds = seconds
        self._on_power_off = on_power_off
        self._expires_at = bootstrap.expires_at
        self._digest: str | None = None
        self._update: dict[str, Any] | None = None
        self._taken_at = 0.0
        self._address = ""
        self._server: asyncio.Server | None = None
        self._web: asyncio.Server | None = None
        self._switch: asyncio.TimerHandle | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def listen(self, address: str) -> None:
        """Open the agent's door.

        Raises:
            OSError: the address cannot be had.
        """
        self._address = address
        self._server = await self._open_door()
        port = self._bootstrap.http_port
        try:
            self._web = await asyncio.start_server(
                self._serve_web, address, port, limit=_HEAD_MAX_BYTES
            )
        except PermissionError:
            log.warning("port %d may not be opened here, so no shell answers /health", port)
        self._set_switch()

    async def _open_door(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._serve,
            self._address,
            self._bootstrap.agent_port,
            ssl=self._bootstrap.tls(),
            backlog=_BACKLOG,
            limit=_HEAD_MAX_BYTES,
        )

    async def _serve_web(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What Caddy answers to GET /health, and to an ACME server that looks for a proof; a shell
        serves nothing else.
        """
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _AFTER_SECONDS)
            _, path, _ = head.decode("latin-1").split(" ", 2)
            status, body = self._page(path)
            head_lines = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close"
            writer.write(f"{head_lines}\r\n\r\n{body}".encode())
        writer.close()

    def _page(self, path: str) -> tuple[str, str]:
        if path.startswith(_CHALLENGES):
            proof = self._proofs.get(path.removeprefix(_CHALLENGES))
            return ("404 Not Found", "") if proof is None else ("200 OK", proof)
        state = self._state()
        is_well = state in {"running", "finished"}
        return ("200 OK" if is_well else "503 Service Unavailable"), json.dumps({"state": state})

    async def close(self) -> None:
        """Cut the power."""
        if self._switch is not None:
            self._switch.cancel()
        if self._server is not None:
            self._server.close()
        if self._web is not None:
            self._web.close()
        for writer in list(self._connections):
            writer.transport.abort()

    def status(self) -> dict[str, Any]:
        """What the agent says of itself."""
        return {
            "bundleDigest": self._digest,
            "state": self._state(),
            "reason": None,
            "exitCode": None,
            "restarts": 0,
            "update": self._update,
            "log": ["an empty shell: nothing is installed or run"] if self._digest else [],
            "expiresAt": self._expires_at,
            "agentVersion": VERSION,
            "runtime": "ok",
        }

    def _state(self) -> str:
        if self._stopped:
            return "stopped"
        if self._digest is None:
            return "idle"
        worked = self._seconds() - self._taken_at
        if worked < self._pace.install:
            return "installing"
        if worked < self._pace.install + self._pace.start:
            return "starting"
        return "finished" if self._bootstrap.app_type == "script" else "running"

    async def _come_to_another(self, state: str | None) -> None:
        """Wait until the state is not this one any more, but not for long."""
        until = self._seconds() + _AFTER_SECONDS
        while self._state() == state and (left := until - self._seconds()) > 0:
            worked = self._seconds() - self._taken_at
            steps = (self._pace.install - worked, self._pace.install + self._pace.start - worked)
            await asyncio.sleep(min([left, *(step for step in steps if step > 0)]))

    async def _take_over(self, document: Any) -> None:
        """Become a session's, as the agent does."""
        try:
            session = Bootstrap.of(document)
            session.tls()
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise _Refused(422, f"this is no session: {error!r}") from None
        if self._bootstrap.app_type is not None:
            if session.session_uid != self._bootstrap.session_uid:
                raise _Refused(409, "this droplet is another session's")
            return
        self._bootstrap, self._expires_at = session, session.expires_at
        self._set_switch()
        if self._server is not None:
            self._server.close()
            self._server = await self._open_door()

    def _take(self, document: Any) -> int:
        if self._bootstrap.app_type is None:
            raise _Refused(409, "this droplet is a spare; first a session has to take it over")
        if not isinstance(document, dict) or not isinstance(document.get("digest"), str):
            raise _Refused(422, "a bundle is an object with a digest")
        if self._digest == document["digest"]:
            return 200
        if self._digest is None:
            self._taken_at = self._seconds()
        else:  # a revision of an app that runs nothing works at once
            self._update = {
                "bundleDigest": document["digest"],
                "state": self._state(),
                **dict.fromkeys(("reason", "message", "error", "exitCode")),
            }
        self._digest = document["digest"]
        return 202

    def _move_expiry(self, document: Any) -> None:
        if not isinstance(document, dict) or not isinstance(document.get("expiresAt"), int | float):
            raise _Refused(422, "expiresAt is a number of seconds since 1970")
        self._expires_at = float(document["expiresAt"])
        self._set_switch()

    def _set_switch(self) -> None:
        if self._switch is not None:
            self._switch.cancel()
        left = self._expires_at + self._bootstrap.grace_seconds - time.time()
        self._switch = asyncio.get_running_loop().call_later(max(0.0, left), self._on_power_off)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                async with asyncio.timeout(_IDLE_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    answer = await self._answer(head, reader)
                if answer is None:
                    writer.transport.abort()
                    break
                status, document = answer
                body = json.dumps(document).encode()
                end = "close" if status >= 400 else "keep-alive"  # noqa: PLR2004
                writer.write(
                    f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: {end}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
                if end == "close":
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the caller has gone
        finally:
            self._connections.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader) -> ShellAnswer | None:
        """The answer; None where the connection breaks instead."""
        try:
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            }
            method, path, _ = first.split(" ", 2)
            self._check_token(headers.get("authorization", ""))

            async def perform() -> ShellAnswer:
                return await self._perform(method, path, headers, reader)

            return await self._through(f"{method} {path}", perform)
        except ValueError:
            return 400, {"error": "this is no HTTP request"}
        except _Refused as refusal:
            return refusal.status, {"error": str(refusal)}

    async def _perform(
        self, method: str, path: str, headers: dict[str, str], reader: asyncio.StreamReader
    ) -> ShellAnswer:
        match method, path:
            case "GET", "/v1/status":
                await self._come_to_another(headers.get("x-spawnai-after"))
                return 200, self.status()
            case "PUT", "/v1/session":
                await self._take_over(await _document(headers, reader))
                return 200, {"accepted": True}
            case "PUT", "/v1/bundle":
                return self._take(await _document(headers, reader)), {"accepted": True}
            case "PUT", "/v1/expiry":
                self._move_expiry(await _document(headers, reader))
                return 200, {"accepted": True}
            case "PUT", (
                "/v1/certificate" | "/v1/hosts" | "/v1/env"
            ):  # read, and of no use to a shell
                await _document(headers, reader)
                return 200, {"accepted": True}
            case "PUT", path if path.startswith("/v1/challenges/"):
                document = await _document(headers, reader)
                self._proofs[path.rpartition("/")[2]] = str(document["keyAuthorization"])
                return 200, {"accepted": True}
            case "DELETE", path if path.startswith("/v1/challenges/"):
                self._proofs.pop(path.rpartition("/")[2], None)
                return 200, {"accepted": True}
            case "POST", "/v1/stop":
                await _document(headers, reader)
                self._stopped = True
                return 200, {"accepted": True}
            case "POST", "/v1/restart":
                self._stopped = False
                return 200, {"accepted": True}
            case "GET", path if path.startswith("/v1/log"):
                return 200, {"lines": [], "next": 0}
            case "GET", path if path.startswith("/v1/usage"):
                return 200, {"samples": [], "next": 0}
            case _:
                return 404, {"error": f"there is no {method} {path}"}

    def _check_token(self, authorization: str) -> None:
        token = authorization.removeprefix("Bearer ")
        found = hashlib.sha256(token.encode("latin-1")).hexdigest()
        if not hmac.compare_digest(found, self._bootstrap.token_sha256):
            raise _Refused(401, "the bearer token is missing or wrong")


async def _document(headers: dict[str, str], reader: asyncio.StreamReader) -> Any:
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > _BODY_MAX_BYTES:
        raise _Refused(411, f"a body with a Content-Length up to {_BODY_MAX_BYTES} is needed")
    try:
        return json.loads(await reader.readexactly(int(length)))
    except (ValueError, RecursionError):
        raise _Refused(422, "the body is no JSON") from None


class ShellHost:
    """All shells of one local cloud: a `MachineHost` of the emulator. Use it in one event loop.

    `network` are the addresses it may give out; its first is the cloud's own. Every call to an
    agent goes through `door`.
    """

    def __init__(
        self,
        network: IPv4Network,
        pace: ShellPace,
        *,
        door: Door = open_door,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_power_off: Callable[[int], None] | None = None
        self._pace = pace
        self._door = door
        self._seconds = seconds
        self._addresses = _addresses_for_ever(network)
        self._given: dict[int, str] = {}
        self._taken: set[str] = set()
        self._shells: dict[int, Shell] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def expiry_of(self, droplet_id: int) -> float | None:
        """When a droplet's dead man's switch counts its life as over (epoch seconds)."""
        shell = self._shells.get(droplet_id)
        return shell.status()["expiresAt"] if shell is not None else None

    def allocate_address(self) -> str:
        """An address that no shell has: the whole network goes round."""
        return next(address for address in self._addresses if address not in self._taken)

    async def boot(
        self,
        droplet_id: int,
        address: str,
        user_data: str,
        memory_bytes: int,
        image_id: int | None = None,
    ) -> None:
        """Read user_data and serve what its agent would; a shell that is on stays as it is.

        The builder of an image has nothing to serve: it powers itself off at once.

        Raises:
            ShellError: the user_data is not SpawnAI's.
            OSError: the address cannot be had.
        """
        del memory_bytes, image_id
        if droplet_id in self._shells:
            return
        self._given[droplet_id] = address
        self._taken.add(address)
        if _NPM_CACHE in user_data:
            if self.on_power_off is not None:
                self.on_power_off(droplet_id)
            return
        shell = Shell(
            Bootstrap.read(user_data),
            self._pace,
            lambda: self._powered_off(droplet_id),
            partial(self._door, droplet_id),
            self._seconds,
        )
        self._shells[droplet_id] = shell
        if self._pace.agent:
            await asyncio.sleep(self._pace.agent)
        if self._shells.get(droplet_id) is shell:
            await shell.listen(address)

    async def keep_disk(self, droplet_id: int, image_id: int) -> None:
        """A shell has no disk."""

    async def drop_disk(self, image_id: int) -> None:
        """A shell has no disk."""

    async def power_off(self, droplet_id: int) -> None:
        """Stop serving. Safe to repeat."""
        shell = self._shells.pop(droplet_id, None)
        if shell is not None:
            await shell.close()

    async def destroy(self, droplet_id: int) -> None:
        """Stop serving for good. Safe to repeat."""
        await self.power_off(droplet_id)
        self._taken.discard(self._given.pop(droplet_id, ""))

    async def close(self) -> None:
        """End every shell."""
        for droplet_id in list(self._shells):
            await self.destroy(droplet_id)

    def _powered_off(self, droplet_id: int) -> None:
        shell = self._shells.pop(droplet_id, None)
        if shell is None:
            return
        log.info("the shell of droplet %d powers itself off: its time is over", droplet_id)
        closing = asyncio.get_running_loop().create_task(shell.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        if self.on_power_off is not None:
            self.on_power_off(droplet_id)


def _addresses_for_ever(network: IPv4Network) -> Iterator[str]:
    first, last = int(network.network_address) + 2, int(network.broadcast_address)
    for number in itertools.cycle(range(first, last)):
        if number % 256 not in {0, 255}:  # they look like mistakes
            yield str(IPv4Address(number))
