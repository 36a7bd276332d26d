"""Live updates: a WebSocket, and server-sent events for those who cannot open one.

Both tell the same messages. The first is `reset` or, after a resumption, whatever changed since;
`synced` says that the reader is up to date.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

from fastapi import WebSocket, WebSocketDisconnect

from spawnai import background
from spawnai.clock import Clock

from .api_server import ApiServer, Refused, Unreachable
from .caller import SUBPROTOCOL, Caller, is_foreign, websocket_caller
from .errors import problem_of
from .feed import Feed, Message, Scope, Subscription
from .rights import require_watch

_LOGGER = logging.getLogger(__name__)

RECHECK_SECONDS = 300.0
"""How long a right that was found is believed."""

_HEARTBEAT_SECONDS = 20.0
_LONGEST_REASON = 120
"""A close frame holds 125 bytes (RFC 6455, section 5.5), two of them for the code."""


@dataclass(slots=True)
class _Grant:
    """A caller's right to a scope, and how many streams live by it."""

    checked_at: float
    streams: int = 0
    allowed: Scope | None = None


@dataclass(slots=True)
class _Running:
    feed: Feed
    task: asyncio.Task[None] = field(repr=False)


class Live:
    """All feeds of this process, and the rights of those who read them."""

    def __init__(self, api: ApiServer, clock: Clock, random: Random) -> None:
        self._api = api
        self._clock = clock
        self._random = random
        self._feeds: dict[Scope, _Running] = {}
        self._grants: dict[tuple[Caller, Scope], _Grant] = {}

    @property
    def readers(self) -> int:
        """How many streams are open."""
        return sum(running.feed.subscriptions for running in self._feeds.values())

    @property
    def watches(self) -> int:
        """How many watches there are at the API server."""
        return len(self._feeds)

    @contextlib.asynccontextmanager
    async def reading(
        self, caller: Caller, scope: Scope, since: int | None
    ) -> AsyncIterator[Subscription]:
        """Read the messages about a scope.

        Raises:
            Refused: the caller may not watch it.
            Unreachable: the API server did not answer.
        """
        allowed = await self._allowed(caller, scope)
        grant = self._grants[caller, scope]
        feed = self._feed(allowed)
        subscription = feed.subscribe(caller, since)
        grant.streams += 1
        try:
            yield subscription
        finally:
            grant.streams -= 1
            if grant.streams == 0 and self._grants.get((caller, scope)) is grant:
                del self._grants[caller, scope]
            feed.unsubscribe(subscription)

    async def run(self) -> None:
        """Ask again for every right that was found some minutes ago, until cancelled."""
        try:
            while True:
                await self._clock.sleep(1.0)
                await self._recheck_what_is_due()
        finally:
            for running in self._feeds.values():
                running.task.cancel()

    async def _allowed(self, caller: Caller, scope: Scope) -> Scope:
        now = self._clock.now()
        grant = self._grants.get((caller, scope))
        fresh = grant is not None and now - grant.checked_at < RECHECK_SECONDS
        if grant is not None and grant.allowed is not None and fresh:
            return grant.allowed
        allowed = await require_watch(self._api, caller, scope)
        grant = self._grants.setdefault((caller, scope), _Grant(now))
        grant.checked_at, grant.allowed = now, allowed
        return allowed

    async def _recheck_what_is_due(self) -> None:
        now = self._clock.now()
        due = [
            key for key, grant in self._grants.items() if now - grant.checked_at >= RECHECK_SECONDS
        ]
        for caller, scope in due:
            grant = self._grants.get((caller, scope))
            if grant is None or grant.allowed is None:
                continue
            # Also where it cannot be asked: it is asked again then, not each second.
            grant.checked_at = now
            try:
                allowed = await require_watch(self._api, caller, scope)
            except Refused as error:
                self._end(caller, grant.allowed, error)
            except Unreachable:
                continue
            else:
                if allowed != grant.allowed:
                    self._end(caller, grant.allowed, _NARROWED)
                    grant.allowed = allowed

    def _end(self, caller: Caller, allowed: Scope, refusal: Refused) -> None:
        running = self._feeds.get(allowed)
        if running is not None:
            running.feed.end_of(caller, refusal)

    def _feed(self, scope: Scope) -> Feed:
        running = self._feeds.get(scope)
        if running is None or running.task.done():
            feed = Feed(scope, self._api, self._clock, self._random)
            task = background.once(feed.run(), name=f"watch {scope.namespace}")
            running = self._feeds[scope] = _Running(feed, task)
            task.add_done_callback(lambda _: self._ended(scope, running))
        return running.feed

    def _ended(self, scope: Scope, running: _Running) -> None:
        if self._feeds.get(scope) is running:
            del self._feeds[scope]
        running.feed.close()


_NARROWED = Refused(
    HTTPStatus.FORBIDDEN,
    {"reason": "Forbidden", "message": "your rights have changed: open the watch again"},
)


async def serve_websocket(live: Live, socket: WebSocket, scope: Scope, since: int | None) -> None:
    """Answer a WebSocket until one of both sides ends it."""
    if is_foreign(socket.headers):
        await socket.close(code=1008)
        return
    offered = socket.scope.get("subprotocols") or []
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    caller = websocket_caller(socket)
    if caller is None:
        sentence = (
            "no token: offer the subprotocols spawnai.v1 and "
            "base64url.bearer.authorization.k8s.io.<token in base64url>"
        )
        await _refuse(socket, HTTPStatus.UNAUTHORIZED, sentence)
        return
    try:
        async with live.reading(caller, scope, since) as subscription:
            await _pump(socket, subscription, scope)
            if subscription.refusal is not None:
                await _refuse_by(socket, subscription.refusal)
    except (Refused, Unreachable) as error:
        await _refuse_by(socket, error)


async def _pump(socket: WebSocket, subscription: Subscription, scope: Scope) -> None:
    """Send until the stream is closed or the reader is gone."""

    async def send() -> None:
        async for message in subscription.messages():
            if concerns(message, scope):
                await socket.send_text(message.text)

    async def wait_for_the_end() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    sending = background.awaited(send(), name="send")
    listening = background.awaited(wait_for_the_end(), name="listen")
    try:
        await asyncio.wait([sending, listening], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, listening):
            task.cancel()
        for outcome in await asyncio.gather(sending, listening, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(
                outcome, WebSocketDisconnect | RuntimeError
            ):
                raise outcome


def concerns(message: Message, scope: Scope) -> bool:
    """Whether a message of a namespace's feed is about what the reader asked for."""
    if scope.name is None or not message.text.startswith(
        ('{"type":"session"', '{"type":"deleted"')
    ):
        return True
    return f'"id":"{scope.namespace}.{scope.name}"' in message.text


async def _refuse_by(socket: WebSocket, error: Refused | Unreachable) -> None:
    problem = problem_of(error)
    await _refuse(socket, HTTPStatus(problem.status), problem.answer.error)


async def _refuse(socket: WebSocket, status: HTTPStatus, sentence: str) -> None:
    """Tell why in a message, as a close frame holds few words, then close with 4000 + status."""
    text = json.dumps({"type": "error", "status": int(status), "error": sentence})
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_text(text)
        await socket.close(code=4000 + status, reason=sentence[:_LONGEST_REASON])


async def _next(messages: AsyncIterator[Message]) -> Message | None:
    """The next one; None: the stream is closed."""
    return await anext(messages, None)


async def server_sent_events(
    live: Live, caller: Caller, scope: Scope, since: int | None
) -> AsyncIterator[bytes]:
    """The same as text/event-stream; the id of each event is its sequence.

    The first item is empty: it comes once the right has been found.

    Raises:
        Refused: the caller may not watch it.
        Unreachable: the API server did not answer.
    """
    async with live.reading(caller, scope, since) as subscription:
        yield b""
        messages = subscription.messages()
        nothing_yet: asyncio.Task[Message | None] | None = None
        try:
            while True:
                waiting = nothing_yet or background.awaited(_next(messages), name="next message")
                done, _ = await asyncio.wait([waiting], timeout=_HEARTBEAT_SECONDS)
                if not done:
                    nothing_yet = waiting
                    yield b": alive\n\n"
                    continue
                nothing_yet = None
                message = waiting.result()
                if message is None:
                    break
                if concerns(message, scope):
                    yield f"id: {message.sequence}\ndata: {message.text}\n\n".encode()
        finally:
            if nothing_yet is not None:
                nothing_yet.cancel()
        if subscription.refusal is not None:
            problem = problem_of(subscription.refusal)
            body = {"type": "error", "status": problem.status, "error": problem.answer.error}
            yield f"data: {json.dumps(body)}\n\n".encode()
