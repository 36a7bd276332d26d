"""A reverse proxy with a gate in it: before DigitalOcean, before Claude, before the API server."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

from spawnai_local.chaos.calls import Call, Edge, Request
from spawnai_local.chaos.faults import KILLS
from spawnai_local.chaos.gate import Gate, Passage

_OF_A_CONNECTION = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "upgrade"}
)
_KEEP_ALIVE_SECONDS = 75.0
_UPSTREAM_KEEP_ALIVE_SECONDS = 10.0
_LARGEST_HEADER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Proxy:
    """Listens at an address of this machine and sends what comes on to `upstream`.

    `name_of` says what a request is; `before_sending` may still change things behind the proxy,
    and replaces request headers; `rewrite` may change the path and query.
    """

    def __init__(
        self,
        gate: Gate,
        edge: Edge,
        upstream: str,
        name_of: Callable[[Request], Call],
        *,
        tls: ssl.SSLContext | None = None,
        before_sending: Callable[[Passage], dict[str, str]] = lambda _passage: {},
        rewrite: Callable[[Passage, str], str] = lambda _passage, path: path,
    ) -> None:
        self._gate = gate
        self._edge = edge
        self._upstream = upstream.rstrip("/")
        self._name_of = name_of
        self._tls = tls
        self._before_sending = before_sending
        self._rewrite = rewrite
        self._runner: web.ServerRunner | None = None
        self._http: aiohttp.ClientSession | None = None
        self.url = ""

    async def start(self, host: str = "127.0.0.1") -> None:
        """Listen at a free port."""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ssl=self._tls if self._tls is not None else True,
                keepalive_timeout=_UPSTREAM_KEEP_ALIVE_SECONDS,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_field_size=_LARGEST_HEADER,
        )
        server = web.Server(self._serve, access_log=None, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, 0, backlog=1024).start()
        bound = self._runner.addresses[0]
        self.url = f"http://{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Break every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _serve(self, incoming: web.BaseRequest) -> web.StreamResponse:
        body = await incoming.read()
        request = Request(incoming.method, incoming.path, incoming.query, incoming.headers, body)
        passage = self._gate.enter(self._name_of(request))
        try:
            if passage.call.streams:
                return await self._stream(incoming, body, passage)
            answer = await self._gate.through(
                passage, lambda: self._send_on(incoming, body, passage), self._refusal
            )
        except (aiohttp.ClientError, OSError):
            answer = None  # whoever is behind the proxy has gone: so have we
        finally:
            passage.ended_at = time.time()
        if answer is None:
            _break(incoming)
        else:
            passage.status = answer.status
            return web.Response(
                status=answer.status, headers=list(answer.headers), body=answer.body
            )
        raise asyncio.CancelledError

    @contextlib.asynccontextmanager
    async def _asked(
        self, incoming: web.BaseRequest, body: bytes, passage: Passage
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._http is None:
            raise RuntimeError("the proxy is not started")
        headers = {
            name: value
            for name, value in incoming.headers.items()
            if name.lower() not in _OF_A_CONNECTION
        }
        for name, value in self._before_sending(passage).items():
            headers = {key: one for key, one in headers.items() if key.lower() != name.lower()}
            headers[name] = value
        async with self._http.request(
            incoming.method,
            URL(self._upstream + self._rewrite(passage, incoming.raw_path), encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
        ) as response:
            yield response

    async def _send_on(self, incoming: web.BaseRequest, body: bytes, passage: Passage) -> Answer:
        async with self._asked(incoming, body, passage) as response:
            return Answer(response.status, _kept(response), await response.read())

    async def _stream(
        self, incoming: web.BaseRequest, body: bytes, passage: Passage
    ) -> web.StreamResponse:
        """Send an answer on as it comes. Of the faults only kills are made here."""
        trap = passage.trap
        kill = trap if trap is not None and trap.fault in KILLS else None
        if kill is not None and kill.fault.value.endswith("before"):
            await self._gate.hold(kill)
            kill.over_at = time.time()
            return _break(incoming)
        async with self._asked(incoming, body, passage) as response:
            outgoing = web.StreamResponse(status=response.status, headers=list(_kept(response)))
            passage.status = response.status
            await outgoing.prepare(incoming)
            try:
                async for chunk in response.content.iter_any():
                    await outgoing.write(chunk)
                    if kill is not None and not kill.let_go.is_set():
                        await self._gate.hold(kill)
                        return _break(incoming)
            except (aiohttp.ClientError, ConnectionError):
                return _break(incoming)
            finally:
                if trap is not None:
                    trap.over_at = time.time()
            with contextlib.suppress(ConnectionError):
                await outgoing.write_eof()
            return outgoing

    def _refusal(self, status: int, retry_after: int | None) -> Answer:
        headers = [("content-type", "application/json")]
        if retry_after is not None:
            headers.append(("retry-after", str(retry_after)))
        return Answer(status, tuple(headers), json.dumps(_words(self._edge, status)).encode())


def _kept(response: aiohttp.ClientResponse) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in response.headers.items()
        if name.lower() not in _OF_A_CONNECTION
    )


def _break(incoming: web.BaseRequest) -> web.StreamResponse:
    if incoming.transport is not None:
        incoming.transport.abort()
    raise asyncio.CancelledError


def _words(edge: Edge, status: int) -> dict[str, object]:
    """An error in the words of whoever is behind the proxy."""
    kind = "too_many_requests" if status == 429 else "server_error"  # noqa: PLR2004
    words = "asked for by a plan of make chaos"
    match edge:
        case Edge.DIGITALOCEAN:
            return {"id": kind, "message": words, "request_id": "chaos"}
        case Edge.CLAUDE:
            kind = "rate_limit_error" if status == 429 else "api_error"  # noqa: PLR2004
            return {"type": "error", "error": {"type": kind, "message": words}}
        case _:
            reason = "TooManyRequests" if status == 429 else "InternalError"  # noqa: PLR2004
            return {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "message": words,
                "reason": reason,
                "code": status,
            }
