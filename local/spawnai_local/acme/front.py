"""What stands before Pebble: the same URLs, with Let's Encrypt's limits, and faults on request.

Pebble makes its URLs from the Host that it is asked by, so that a caller never sees Pebble's own.
"""

import asyncio
import base64
import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from spawnai_local.acme.rate_limits import LimitCounters, LimitReached

_FORWARDED_OUT = frozenset({"content-type", "accept", "user-agent", "accept-language"})
_FORWARDED_BACK = frozenset({"content-type", "location", "link", "replay-nonce", "retry-after"})
_ANSWER_SECONDS = 30.0
_ENDING_SECONDS = 0.25

NEW_ORDER, NEW_ACCOUNT, FINALIZE, AUTHORIZATION = (
    "/order-plz",
    "/sign-me-up",
    "/finalize-order/",
    "/authZ/",
)
"""Pebble's paths, as its directory names them."""


@dataclass(slots=True)
class AcmeFaults:
    """What goes wrong with the next calls, by the beginning of their path.

    `cut`: carried out, and a proxy on the way loses the answer (502). `away`: 503 and not carried
    out. Each counts down.
    """

    cut: Counter[str] = field(default_factory=Counter)
    away: Counter[str] = field(default_factory=Counter)
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AcmeCall:
    """A call as it came in. `payload` is what was signed; empty where nothing was."""

    method: str
    path: str
    account: str
    key: str
    payload: dict[str, Any]


Door = Callable[[AcmeCall, Callable[[], Awaitable[web.Response]]], Awaitable[web.Response | None]]
"""What every call goes through: the call, and what lets it take effect. It returns the answer, or
None to break the connection."""


async def open_door(
    _call: AcmeCall, perform: Callable[[], Awaitable[web.Response]]
) -> web.Response | None:
    """Let every call in."""
    return await perform()


class AcmeFront:
    """An HTTPS server at one address that passes calls on to Pebble."""

    def __init__(
        self,
        upstream: str,
        upstream_roots: str,
        counters: LimitCounters,
        *,
        door: Door = open_door,
    ) -> None:
        self.counters = counters
        self._door = door
        self.faults = AcmeFaults()
        self.calls: Counter[str] = Counter()
        """How often each path was asked for, by its beginning as it stands in the directory."""
        self.placed = 0
        """How many orders were placed; calls with a refused nonce place none."""
        self.issued = 0
        """How many certificates were issued."""
        self._upstream = upstream
        self._trust = ssl.create_default_context(cafile=upstream_roots)
        self._orders: dict[str, tuple[str, ...]] = {}
        self._seen_failures: set[str] = set()
        self._account_keys: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.port: int | None = None

    async def start(self, address: str, context: ssl.SSLContext, port: int = 0) -> None:
        """Listen with TLS.

        Raises:
            OSError: the address cannot be had.
        """
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            connector=aiohttp.TCPConnector(ssl=self._trust),
            trust_env=False,
        )
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            # An orderly end of TLS waits for callers that may have gone.
            for connection in self._runner.server.connections if self._runner.server else ():
                if connection.transport is not None:
                    connection.transport.abort()
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        # TLS connections of asyncio end some steps of the loop after they were closed (aiohttp,
        # "Graceful shutdown").
        await asyncio.sleep(_ENDING_SECONDS)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = _call(request, body)
        answer = await self._door(call, lambda: self._perform(call, request, body))
        if answer is not None:
            return answer
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError

    async def _perform(self, call: AcmeCall, request: web.Request, body: bytes) -> web.Response:
        path, payload = call.path, call.payload
        kind = next(
            (
                known
                for known in (NEW_ORDER, NEW_ACCOUNT, FINALIZE, AUTHORIZATION)
                if path.startswith(known)
            ),
            path,
        )
        self.calls[kind] += 1
        await asyncio.sleep(self.faults.delay_seconds)
        if self.faults.away[kind] > 0:
            self.faults.away[kind] -= 1
            return problem("serverInternal", "Service busy; retry later.", 503)
        reached: LimitReached | None = None
        if kind == NEW_ORDER:
            reached = self.counters.order(call.account, _identifiers(payload))
        elif (
            kind == NEW_ACCOUNT
            and not payload.get("onlyReturnExisting")
            # An account that is found again by its key counts for nothing.
            and call.key not in self._account_keys
        ):
            reached = self.counters.account(request.remote or "")
        if reached is not None:
            answer = problem("rateLimited", reached.detail, 429)
            answer.headers["Retry-After"] = str(reached.retry_after_seconds)
            return answer
        response = await self._pass_on(request, body)
        if kind == NEW_ACCOUNT and response.status < 300:  # noqa: PLR2004
            self._account_keys.add(call.key)
        self._take_note(kind, path, call.account, payload, response)
        if self.faults.cut[kind] > 0:
            self.faults.cut[kind] -= 1
            return web.Response(status=502, text="<h1>Bad gateway</h1>", content_type="text/html")
        return response

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None  # noqa: S101 - start() made it
        headers = {
            name: value for name, value in request.headers.items() if name.lower() in _FORWARDED_OUT
        }
        headers["Host"] = request.host
        try:
            async with self._session.request(
                request.method,
                f"{self._upstream}{request.path_qs}",
                data=body or None,
                headers=headers,
                allow_redirects=False,
            ) as upstream:
                answer = web.Response(status=upstream.status, body=await upstream.read())
                for name, value in upstream.headers.items():
                    if name.lower() in _FORWARDED_BACK:
                        answer.headers.add(name, value)
                return answer
        except (aiohttp.ClientError, TimeoutError):
            return problem("serverInternal", "The service is down for maintenance.", 503)

    def _take_note(
        self, kind: str, path: str, account: str, payload: Any, response: web.Response
    ) -> None:
        content = response.body if isinstance(response.body, bytes) else b""
        if kind == NEW_ORDER and response.status == 201:  # noqa: PLR2004
            self.placed += 1
            url = json.loads(content).get("finalize", "")
            self._orders[url.rpartition("/")[2]] = _identifiers(payload)
        elif kind == FINALIZE and response.status == 200:  # noqa: PLR2004
            names = self._orders.pop(path.rpartition("/")[2], None)
            if names is not None:
                self.issued += 1
                self.counters.issued(names)
        elif kind == AUTHORIZATION and response.status == 200:  # noqa: PLR2004
            document = json.loads(content)
            if document.get("status") == "invalid" and path not in self._seen_failures:
                self._seen_failures.add(path)
                self.counters.failed(account, document["identifier"]["value"])


def problem(kind: str, detail: str, status: int) -> web.Response:
    """An ACME server's "no" (RFC 8555, section 6.7)."""
    return web.json_response(
        {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status},
        status=status,
        content_type="application/problem+json",
    )


def _identifiers(payload: Any) -> tuple[str, ...]:
    return tuple(str(one.get("value", "")) for one in payload.get("identifiers", ()))


def _call(request: web.Request, body: bytes) -> AcmeCall:
    """Who signed a call, and what; Pebble checks the signature."""
    protected, payload = {}, {}
    with suppress(ValueError, KeyError, TypeError):
        document = json.loads(body)
        protected = json.loads(_decoded(document["protected"]))
        payload = json.loads(_decoded(document["payload"]) or b"{}")
    return AcmeCall(
        request.method,
        request.path,
        str(protected.get("kid", "")),
        str(protected.get("jwk")),
        payload,
    )


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
