"""A proxy in front of an API server, through which its calls go wrong on command.

Whoever uses `ApiProxy.kubeconfig` speaks to the proxy, with the rights that the original kubeconfig
has. Calls are named as Kubernetes names them: a verb (get, list, watch, create, update, patch,
delete, deletecollection) and a resource with its subresource, such as `spawnsessions/status`.

A fault is one line, `VERB RESOURCE KIND` and then `name=value` pairs:

    patch spawnsessions/status error_after status=500 nth=2
    create spawnrecords timeout_after seconds=30 name=2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11
    watch spawn* gone times=0

VERB and RESOURCE may hold `*`. Of the calls that match, counted from when the fault was added,
those from the `nth` on (1) suffer it, `times` in all (1; 0 is without end); `name` and `namespace`
choose the object. Apart from faults of single calls, the whole API server can be away for a while
(`go_away`), watches that are open can fall silent (`silence`), and the events of all watches can
come late, twice and out of order (`scramble`).
"""

import asyncio
import base64
import contextlib
import itertools
import json
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from spawnai_local.certificates import CertificateAuthority
from spawnai_local.processes import free_port

_ADDRESS = "127.0.0.1"
_OK = 200
# RFC 9110, 7.6.1, and what each side of the proxy decides for itself.
_NOT_PASSED_ON = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length"}
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Kind(StrEnum):
    """What a fault does."""

    ERROR_BEFORE = "error_before"
    """Answers `status`; nothing has happened."""
    ERROR_AFTER = "error_after"
    """Answers `status`, although it has happened."""
    TIMEOUT_BEFORE = "timeout_before"
    """Holds the connection for `seconds`, then closes it; nothing has happened."""
    TIMEOUT_AFTER = "timeout_after"
    """It happens at once; the answer never comes, the connection closes after `seconds`."""
    CUT_BEFORE = "cut_before"
    """Closes the connection at once; nothing has happened."""
    CUT_AFTER = "cut_after"
    """It happens, then the connection closes without an answer."""
    SLOW = "slow"
    """It happens at once, and the right answer comes after `seconds`."""
    LATE = "late"
    """It happens only after `seconds`, even if the caller has gone, and is answered then."""
    RATE_LIMITED = "rate_limited"
    """Answers 429 with `retry-after: seconds`; nothing has happened."""
    GONE = "gone"
    """A watch is answered with an event that says 410: too old, list again."""
    BROKEN = "broken"
    """A watch is answered with an event of an error of the given `status`."""
    SEEN = "seen"
    """Nothing goes wrong; the calls are only counted."""


_USUAL_SECONDS = {
    Kind.TIMEOUT_BEFORE: 3600.0,
    Kind.TIMEOUT_AFTER: 3600.0,
    Kind.SLOW: 1.0,
    Kind.LATE: 10.0,
    Kind.RATE_LIMITED: 1.0,
}


@dataclass(slots=True)
class Call:
    """One call. `at` is when it came (epoch seconds); `status` None until it was answered."""

    number: int
    verb: str
    resource: str
    namespace: str
    name: str
    at: float
    status: int | None = None

    @property
    def is_write(self) -> bool:
        """Whether it may change anything."""
        return self.verb not in {"get", "list", "watch"}

    @property
    def what(self) -> str:
        """Verb and resource, such as `patch spawnsessions/status`."""
        return f"{self.verb} {self.resource}"


@dataclass(slots=True, eq=False)
class Fault:
    """What goes wrong with which calls, and how often it was matched and suffered so far."""

    verb: str
    resource: str
    kind: Kind
    nth: int = 1
    times: int = 1
    status: int = 500
    seconds: float | None = None
    name: str = "*"
    namespace: str = "*"
    matched: int = 0
    suffered: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a fault from its line.

        Raises:
            ValueError: the line is not of the form that the module describes.
        """
        words = line.split()
        if len(words) < 3:  # noqa: PLR2004 - verb, resource and kind
            raise ValueError(f"a fault is VERB RESOURCE KIND name=value …, not {line!r}")
        values: dict[str, Any] = {}
        for word in words[3:]:
            name, equals, text = word.partition("=")
            if not equals or name not in _VALUES:
                raise ValueError(f"{word!r} in a fault is none of {', '.join(_VALUES)} with =value")
            values[name] = _VALUES[name](text)
        fault = cls(words[0], words[1], Kind(words[2]), **values)
        if fault.seconds is None:
            fault.seconds = _USUAL_SECONDS.get(fault.kind, 0.0)
        return fault

    def matches(self, call: Call) -> bool:
        """Whether a call is of those that this fault is about."""
        return (
            fnmatchcase(call.verb, self.verb)
            and fnmatchcase(call.resource, self.resource)
            and fnmatchcase(call.name, self.name)
            and fnmatchcase(call.namespace, self.namespace)
        )

    def meet(self, call: Call) -> bool:
        """Count a call that may be meant; returns whether it suffers."""
        spent = self.times > 0 and self.suffered >= self.times
        if spent or not self.matches(call):
            return False
        self.matched += 1
        if self.matched < self.nth:
            return False
        self.suffered += 1
        self._changed.set()
        return True

    async def until_suffered(self, seconds: float = 100.0, times: int = 1) -> None:
        """Return once it was suffered so many times: with `timeout_after`, after the effect.

        Raises:
            TimeoutError: it was not.
        """
        async with asyncio.timeout(seconds):
            while self.suffered < times:
                self._changed.clear()
                await self._changed.wait()


_VALUES: dict[str, Callable[[str], Any]] = {
    one.name: {"nth": int, "times": int, "status": int, "seconds": float}.get(one.name, str)
    for one in fields(Fault)
    if one.name in {"nth", "times", "status", "seconds", "name", "namespace"}
}


@dataclass(slots=True, eq=False)
class _Stream:
    """One watch that is open; a silent one passes nothing on, and stays open."""

    call: Call
    connection: asyncio.BaseTransport | None
    silent: bool = False


class ApiProxy:
    """One proxy, as an async context manager or with `start` and `stop`.

    Args:
        kubeconfig: JSON, of the API server and of the user whose rights the proxy's clients have.
        directory: for its certificates and its own `kubeconfig`.
    """

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.calls: list[Call] = []
        self._original = kubeconfig
        self._directory = directory
        self._port = 0
        self._upstream: aiohttp.ClientSession | None = None
        self._server: web.Server | None = None
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None
        self._tls: ssl.SSLContext | None = None
        self._url = ""
        self._faults: list[Fault] = []
        self._streams: set[_Stream] = set()
        self._numbers = itertools.count(1)
        self._scramble: tuple[random.Random, float] | None = None
        self._late: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, and write the kubeconfig."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        document = json.loads(self._original.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        self._url = cluster["server"]
        authority = CertificateAuthority(self._directory / "pki", "api-proxy")
        pair = authority.issue_server("api-proxy", [_ADDRESS])
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pair.certificate, pair.key)
        self._upstream = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_client_tls(cluster, user), limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
        )
        self._server = web.Server(self._answer, handler_cancellation=True)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await self._runner.setup()
        self._port = free_port(_ADDRESS)
        await self.come_back()
        cluster = {
            "server": f"https://{_ADDRESS}:{self._port}",
            "certificate-authority": str(authority.certificate_path),
        }
        document["clusters"][0]["cluster"] = cluster
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(document, indent=2))

    async def stop(self) -> None:
        """Close everything. Safe to call twice."""
        await self.go_away()
        for task in self._late:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._upstream is not None:
            await self._upstream.close()
            self._upstream = None

    # What can go wrong.

    def add_fault(self, line: str) -> Fault:
        """Let something go wrong from now on.

        Raises:
            ValueError: the line cannot be read.
        """
        fault = Fault.parse(line)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Take back all faults and the scrambling; silent watches stay silent."""
        self._faults.clear()
        self._scramble = None

    async def go_away(self) -> None:
        """Refuse connections and cut those that are open, as a dead API server does."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()
        for connection in self._server.connections if self._server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()

    async def come_back(self) -> None:
        """Listen again at the same address."""
        if self._site is None and self._runner is not None:
            self._site = web.TCPSite(
                self._runner, _ADDRESS, self._port, ssl_context=self._tls, reuse_address=True
            )
            await self._site.start()

    def silence(self, resource: str = "*") -> int:
        """Let the watches that are open fall silent: connected, and nothing ever comes again.

        Watches that are opened later are as they should be. Returns how many were open.
        """
        found = [one for one in self._streams if fnmatchcase(one.call.resource, resource)]
        for stream in found:
            stream.silent = True
        return len(found)

    def cut_watches(self, resource: str = "*") -> None:
        """Cut the watches that are open; whoever watches opens them again."""
        for stream in self._streams:
            if fnmatchcase(stream.call.resource, resource) and stream.connection is not None:
                stream.connection.close()

    def scramble(self, seed: int, longest_seconds: float = 0.5) -> None:
        """Let every event of every watch come twice, each time after a delay of its own."""
        self._scramble = random.Random(seed), longest_seconds  # noqa: S311 - no secret

    def watching(self, resource: str) -> int:
        """How many watches of a resource are open and not silent."""
        return sum(
            fnmatchcase(one.call.resource, resource) and not one.silent for one in self._streams
        )

    # How a call goes.

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        call = _call_of(next(self._numbers), request)
        self.calls.append(call)
        fault = next((fault for fault in self._faults if fault.meet(call)), None)
        answer = await self._answer_with(request, call, fault)
        call.status = answer.status
        return answer

    async def _answer_with(
        self, request: web.BaseRequest, call: Call, fault: Fault | None
    ) -> web.StreamResponse:
        kind = fault.kind if fault is not None else Kind.SEEN
        seconds = (fault.seconds or 0.0) if fault is not None else 0.0
        status = fault.status if fault is not None else 0
        match kind:
            case Kind.ERROR_BEFORE:
                return _failure(status)
            case Kind.RATE_LIMITED:
                return _failure(429, {"retry-after": f"{seconds:g}"})
            case Kind.CUT_BEFORE:
                return _cut(request)
            case Kind.TIMEOUT_BEFORE:
                await asyncio.sleep(seconds)
                return _cut(request)
            case Kind.GONE | Kind.BROKEN:
                return _error_event(410 if kind is Kind.GONE else status)
            case _:
                pass
        # It happens even when the caller goes away meanwhile.
        body = await request.read()
        if call.verb == "watch":
            return await self._pass_on_watch(request, call)
        passing = asyncio.create_task(
            self._pass_on(request, body, seconds if kind is Kind.LATE else 0.0)
        )
        self._late.add(passing)
        passing.add_done_callback(self._late.discard)
        try:
            answer = await asyncio.shield(passing)
        except aiohttp.ClientError:
            return _cut(request)
        match kind:
            case Kind.ERROR_AFTER:
                return _failure(status)
            case Kind.CUT_AFTER:
                return _cut(request)
            case Kind.TIMEOUT_AFTER:
                await asyncio.sleep(seconds)
                return _cut(request)
            case Kind.SLOW:
                await asyncio.sleep(seconds)
            case _:
                pass
        return answer

    async def _pass_on(
        self, request: web.BaseRequest, body: bytes, delay_seconds: float
    ) -> web.Response:
        if delay_seconds:
            await asyncio.sleep(delay_seconds)
        async with self._open(request, body) as answer:
            return web.Response(
                status=answer.status, body=await answer.read(), headers=_passed_on(answer.headers)
            )

    async def _pass_on_watch(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        try:
            async with self._open(request, b"") as answer:
                if answer.status != _OK:
                    return web.Response(
                        status=answer.status,
                        body=await answer.read(),
                        headers=_passed_on(answer.headers),
                    )
                stream = _Stream(call, request.transport)
                response = web.StreamResponse(headers=_passed_on(answer.headers))
                response.enable_chunked_encoding()
                await response.prepare(request)
                self._streams.add(stream)
                try:
                    await self._pass_events_on(stream, answer, response)
                finally:
                    self._streams.discard(stream)
                return response
        except aiohttp.ClientError:
            return _cut(request)

    async def _pass_events_on(
        self, stream: _Stream, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        unfinished = b""
        async for data in answer.content.iter_any():
            *lines, unfinished = (unfinished + data).split(b"\n")
            for line in lines:
                if stream.silent:
                    continue
                if self._scramble is None or b'"type":"BOOKMARK"' in line:
                    await response.write(line + b"\n")
                    continue
                chance, longest = self._scramble
                for _ in range(2):
                    writing = asyncio.create_task(
                        _write_late(stream, response, line + b"\n", chance.uniform(0, longest))
                    )
                    self._late.add(writing)
                    writing.add_done_callback(self._late.discard)
        if stream.silent:
            await asyncio.Event().wait()  # until the client closes: then this is cancelled

    def _open(self, request: web.BaseRequest, body: bytes) -> Any:
        if self._upstream is None:
            raise RuntimeError("the proxy was not started")
        return self._upstream.request(
            request.method,
            self._url + request.raw_path,
            data=body or None,
            headers=_passed_on(request.headers),
        )


async def _write_late(
    stream: _Stream, response: web.StreamResponse, line: bytes, seconds: float
) -> None:
    await asyncio.sleep(seconds)
    if not stream.silent:
        with contextlib.suppress(ConnectionError, RuntimeError):  # the watch has ended meanwhile
            await response.write(line)


def _call_of(number: int, request: web.BaseRequest) -> Call:
    parts = request.path.strip("/").split("/")
    # /api/v1/… or /apis/GROUP/VERSION/…; all else (/readyz, /openapi) has no resource.
    parts = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in {"status", "finalize"}:  # noqa: PLR2004
        namespace, parts = parts[1], parts[2:]
    resource = "/".join([*parts[:1], *parts[2:3]]) or request.path
    name = parts[1] if len(parts) > 1 else ""
    match request.method:
        case "GET":
            watches = request.query.get("watch") in {"1", "true"}
            verb = "watch" if watches else "get" if name or not parts else "list"
        case "DELETE":
            verb = "delete" if name else "deletecollection"
        case other:
            verb = _VERBS.get(other, other.lower())
    return Call(number, verb, resource, namespace, name, time.time())


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: text for name, text in headers.items() if name.lower() not in _NOT_PASSED_ON}


def _status_document(status: int) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the proxy was told to answer so",
        "reason": _REASONS.get(status, "Unknown"),
        "code": status,
    }


def _failure(status: int, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(_status_document(status), status=status, headers=headers)


def _error_event(status: int) -> web.Response:
    event = {"type": "ERROR", "object": _status_document(status)}
    return web.Response(text=json.dumps(event) + "\n", content_type="application/json")


def _cut(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)


def _client_tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    """As the original kubeconfig says; a user's token travels with each call instead."""
    authority = cluster.get("certificate-authority")
    if authority is not None:
        tls = ssl.create_default_context(cafile=authority)
    else:
        data = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=data)
    if "client-certificate" in user:
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
    return tls
