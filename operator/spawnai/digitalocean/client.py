"""The one way out to DigitalOcean: pydo's async client, with its surprises taken away.

What is known of pydo (0.44) and azure-core below it, and what is done about it here:

* Its retry policy sends a POST again after 500, 503, 504 and 429: duplicates. There is no retry
  here; the callers' queue repeats what is safe to repeat. (aiohttp repeats a GET, PUT or DELETE,
  never a POST, once when its connection closes without an answer; the budget counts both.)
* Its operation groups return a 404 as a normal result and a 204 as None, and cost 60 MB of
  memory. Only `Client.send_request` is used, which hands out the status as it is.
* Its bearer policy refuses http:// addresses, which a local cloud has. The token is set by a
  policy of our own, and redirects are not followed, so it never goes anywhere else.
* Its `timeout` is the budget for retries, no time limit. Connecting, reading and the whole call
  have limits of their own.
* It unpacks compressed answers of any size. Answers are asked for uncompressed and read up to a
  limit.
* azure-core calls a connection that broke in mid-request a "request error", like one that was
  never made. aiohttp's own tracing tells whether a request had begun to leave.

A call may wait for its turn for hours, and this process lose its right to act meanwhile. So a call
that changes something asks for that right when its connection stands and before its first byte.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from ipaddress import IPv4Network
from typing import Any, TypeVar
from urllib.parse import quote
from urllib.request import getproxies

import aiohttp
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import HeadersPolicy, SansIOHTTPPolicy, UserAgentPolicy
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest

from spawnai.clock import seconds_ahead
from spawnai.digitalocean import failures, lean_pydo
from spawnai.digitalocean.answers import LARGEST_ANSWER_BYTES, Malformed, parsed
from spawnai.digitalocean.budget import Priority, RateBudget, Slot
from spawnai.digitalocean.errors import DigitalOceanError

Result = TypeVar("Result")

# DigitalOcean answers a droplet creation within 3 s and everything else within 1 s; a call without
# an answer after this long gets none.
_TIMEOUT_SECONDS = 20.0
_CONNECT_TIMEOUT_SECONDS = 5.0
# Shorter than the 60 s for which DigitalOcean's edge keeps an idle connection: the side that
# closes first never sends into a connection that the other has just closed.
_KEEP_ALIVE_SECONDS = 15.0
_CONNECTIONS = 100
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """One call as metrics count it.

    Attributes:
        endpoint: method and path template, such as "GET /v2/droplets/{id}".
        result: "ok", an error's class in snake case ("not_found"), or "cancelled".
        seconds: from the moment it had its turn until its answer was read.
        clock_ahead: by how many seconds our clock is ahead of DigitalOcean's; None: it did not say.
    """

    endpoint: str
    result: str
    seconds: float
    clock_ahead: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        method: "GET", "POST", "PUT" or "DELETE".
        path: the path template, such as "/v2/droplets/{id}".
        values: what stands for the template's names.
        query: query parameters.
        body: the JSON body, if any. May hold secrets; never shown.
        repeatable: whether a POST comes to the same end however often it is sent.
    """

    method: str
    path: str
    values: Mapping[str, str | int] = field(default_factory=dict)
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    repeatable: bool = False

    @property
    def endpoint(self) -> str:
        """The name of the call in errors and metrics."""
        return f"{self.method} {self.path}"

    @property
    def url_path(self) -> str:
        """The path with its values in place, each safely quoted."""
        quoted = {name: _quoted(value) for name, value in self.values.items()}
        return self.path.format_map(quoted)


@dataclass(slots=True)
class Departure:
    """A request's way out.

    Attributes:
        may_leave: raises when the request may not be sent.
        count: how often its first byte may have left.
        refusal: what `may_leave` raised.
        clock_ahead: what the answer's date shows; None: none came, or it had no date.
    """

    may_leave: Callable[[], None]
    count: int = 0
    refusal: Exception | None = None
    clock_ahead: float | None = None

    def leave(self) -> None:
        """Called right before the first byte, each time the HTTP client sends the request."""
        try:
            self.may_leave()
        except Exception as error:
            self.refusal = error
            raise
        self.count += 1


def _no_objection() -> None:
    """Nobody forbids the call."""


class _Authentication(SansIOHTTPPolicy[HttpRequest, Any]):
    """Sets the bearer token, whatever the address's scheme."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._header = f"Bearer {token}"

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        request.http_request.headers["Authorization"] = self._header


class ApiClient:
    """Sends calls one by one in their turn, and turns every answer into a value or our own error.

    Made anywhere, used within one event loop.

    Args:
        token: the account's API token. In no error, log or repr.
        base_url: "https://api.digitalocean.com", or another that speaks the same API.
        budget: the broker of the token's calls.
        on_call: told of every call once it has ended.
        before_change: asked right before each call but a GET leaves. May raise when this process
            must not change anything any more: the call is not sent then, and ends with that.
        timeout_seconds: limit of a whole call, from its turn to the last byte of its answer.
        droplet_networks: networks whose addresses count as public, such as a local cloud's.
    """

    def __init__(
        self,
        token: str,
        base_url: str,
        budget: RateBudget,
        *,
        on_call: Callable[[CallOutcome], None] = lambda _outcome: None,
        before_change: Callable[[], None] = _no_objection,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        droplet_networks: tuple[IPv4Network, ...] = (),
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"The DigitalOcean API address must begin with https:// (or http://), not"
                f" {base_url!r}"
            )
        self._token = token.strip()
        if not self._token.isascii() or not self._token.isprintable():
            raise ValueError(
                "The DigitalOcean token must be printable ASCII on one line, as it was shown when"
                " it was made; this one has other characters in it"
            )
        self._base_url = base_url.rstrip("/")
        self._on_call = on_call
        self._before_change = before_change
        self._timeout_seconds = timeout_seconds
        self._pydo_client = lean_pydo.import_client()
        self._pydo: Any = None
        self._session: aiohttp.ClientSession | None = None
        self.droplet_networks = droplet_networks
        self.budget = budget

    def __repr__(self) -> str:
        return f"ApiClient({self._base_url!r})"

    async def close(self) -> None:
        """Close all connections. The next call opens new ones."""
        pydo, self._pydo = self._pydo, None
        session, self._session = self._session, None
        if pydo is not None:
            await pydo.close()
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def turn(self, priority: Priority) -> AsyncIterator[Slot]:
        """Wait for the turn of one call of that priority, and hold it while the call is made.

        Whoever is cancelled while waiting has sent nothing. A turn in which no call is made costs
        nothing.
        """
        async with self.budget.slot(priority) as slot:
            slot.sent = 0
            yield slot

    async def call(
        self, call: Call, read: Callable[[Any, datetime], Result], *, priority: Priority | Slot
    ) -> Result:
        """Send one call in its turn and read its answer.

        Args:
            call: what to send. A POST is sent once at most.
            read: makes the result from the answer's JSON (None for an empty body) and the time
                at which the call was sent. Raises Malformed for an answer it cannot use.
            priority: what the call is for, or the turn that was waited for.

        Raises:
            DigitalOceanError: see `errors.py`. Ambiguous only for a POST that is not repeatable.
            Exception: whatever `before_change` raised; a POST was not sent then.
        """
        if isinstance(priority, Slot):
            return await self._call_in(priority, call, read)
        async with self.turn(priority) as slot:
            return await self._call_in(slot, call, read)

    async def _call_in(
        self, slot: Slot, call: Call, read: Callable[[Any, datetime], Result]
    ) -> Result:
        began = self.budget.clock.now()
        result = "cancelled"
        departure = Departure(_no_objection if call.method == "GET" else self._before_change)
        try:
            answer = await self._exchange(call, read, slot, departure)
            result = answer.result_name() if isinstance(answer, DigitalOceanError) else "ok"
        finally:
            slot.sent = departure.count
            seconds = self.budget.clock.now() - began
            self._on_call(CallOutcome(call.endpoint, result, seconds, departure.clock_ahead))
        if isinstance(answer, DigitalOceanError):
            # Raised here and not where it was made: so no foreign exception hangs on it as its
            # context, whose request would show the token to whoever prints it.
            raise departure.refusal or answer
        return answer

    async def _exchange(
        self,
        call: Call,
        read: Callable[[Any, datetime], Result],
        slot: Slot,
        departure: Departure,
    ) -> Result | DigitalOceanError:
        clock = self.budget.clock
        sent_at = clock.utc_now()
        request = HttpRequest(
            call.method, call.url_path, params=dict(call.query) or None, json=call.body
        )
        pydo = self._connect()
        status: int | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await pydo.send_request(
                    request, stream=True, trace_request_ctx=departure
                )
                try:
                    status = int(response.status_code)
                    headers: Mapping[str, str] = response.headers
                    content = await _body(response)
                finally:
                    await response.close()
            departure.clock_ahead = seconds_ahead(headers.get("Date"), sent_at, clock.utc_now())
            self.budget.observe(headers, status, slot)
            if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                return read(parsed(content), sent_at)
            return failures.error_of_answer(
                call.endpoint,
                status,
                headers,
                content,
                repeatable=call.repeatable,
                utc_now=clock.utc_now(),
                secret=self._token,
            )
        except Exception as error:  # noqa: BLE001 - a POST that left may have been carried out
            return failures.error_without_answer(
                call.endpoint,
                error,
                status=status,
                repeatable=call.repeatable,
                has_left=departure.count > 0,
                timeout_seconds=self._timeout_seconds,
                secret=self._token,
            )

    def _connect(self) -> Any:
        if self._pydo is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_departures_tracing()],
                # A small compressed answer may be a large one: see `_body`.
                auto_decompress=False,
                # To look for a proxy costs each call two changes of thread.
                trust_env=bool(getproxies()),
            )
            transport = AioHttpTransport(
                session=self._session,
                session_owner=False,
                connection_timeout=min(_CONNECT_TIMEOUT_SECONDS, self._timeout_seconds),
                read_timeout=self._timeout_seconds,
                connection_data_block_size=_BLOCK_BYTES,
            )
            self._pydo = self._pydo_client(
                self._token,
                endpoint=self._base_url,
                transport=transport,
                policies=[
                    HeadersPolicy({"Accept": "application/json", "Accept-Encoding": "identity"}),
                    UserAgentPolicy(base_user_agent="spawnai"),
                    _Authentication(self._token),
                ],
            )
        return self._pydo


def _departures_tracing() -> aiohttp.TraceConfig:
    """Tells a request's context, its `Departure`, that its first byte is about to leave."""

    async def begun(
        _session: aiohttp.ClientSession,
        context: Any,
        _parameters: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        context.trace_request_ctx.leave()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(begun)
    return tracing


async def _body(response: Any) -> bytes:
    """The body of an answer as it came.

    Raises:
        Malformed: it is compressed, which was not asked for, or longer than any answer is.
    """
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise Malformed("the answer is compressed although the request did not allow it")
    content = bytearray()
    async for block in response.iter_raw():
        content += block
        if len(content) > LARGEST_ANSWER_BYTES:
            raise Malformed(f"the answer is longer than {LARGEST_ANSWER_BYTES} bytes")
    return bytes(content)


def _quoted(value: str | int) -> str:
    return quote(str(value), safe="")
