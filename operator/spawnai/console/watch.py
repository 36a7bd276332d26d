"""The routes of live updates: /api/watch for a namespace, /api/sessions/{id}/watch for one."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, WebSocket
from fastapi.responses import StreamingResponse

from .caller import Caller, websocket_caller
from .feed import Scope
from .live import Live, serve_websocket, server_sent_events
from .models import ID_PATTERN, NAMESPACE_PATTERN, Namespace
from .openapi import REFERENCE
from .sessions import CallerOfRequest, SessionId, Sessions, errors, taken_apart

Since = Annotated[
    int | None,
    Query(
        ge=0,
        lt=2**63,
        description="The sequence of the last message seen: only what changed later is told.",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern="^[0-9]{1,18}$",
        description="The same as `since`, as browsers send it when they connect again.",
    ),
]

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": (
            "A stream of messages: `reset` (forget all), `session`, `deleted`, `synced` (up to "
            "date), `trouble` (the API server is away) and `error` (the stream ends). The same "
            "path takes a WebSocket, with the subprotocols spawnai.v1 and "
            "base64url.bearer.authorization.k8s.io.<token>."
        ),
        "content": {"text/event-stream": {"schema": {"$ref": REFERENCE.format(model="Update")}}},
    }
}
_NO_SUCH_SCOPE = 1008
"""Policy violation (RFC 6455, section 7.4.1): what a server closes with before it accepts."""


class Watch:
    """The routes.

    Args:
        live: the feeds.
        sessions: knows the namespace of a caller who names none.
    """

    def __init__(self, live: Live, sessions: Sessions) -> None:
        self._live = live
        self._sessions = sessions
        self.router = router = APIRouter(tags=["live updates"])
        options: dict[str, Any] = {
            "methods": ["GET"],
            "response_class": StreamingResponse,
            "responses": {**errors(), **_STREAM},
        }
        router.add_api_route(
            "/api/watch", self.namespace_events, summary="Watch a namespace", **options
        )
        router.add_api_route(
            "/api/sessions/{id}/watch", self.session_events, summary="Watch a session", **options
        )
        router.add_websocket_route("/api/watch", self.namespace_socket)
        router.add_websocket_route("/api/sessions/{id}/watch", self.session_socket)

    async def namespace_events(
        self,
        caller: CallerOfRequest,
        namespace: Annotated[Namespace | None, Query()] = None,
        since: Since = None,
        last_event_id: LastEventId = None,
    ) -> StreamingResponse:
        """The sessions of a namespace as server-sent events."""
        scope = Scope(self._sessions.namespace_of(caller, namespace))
        return await self._events(caller, scope, since, last_event_id)

    async def session_events(
        self,
        caller: CallerOfRequest,
        id_: SessionId,
        since: Since = None,
        last_event_id: LastEventId = None,
    ) -> StreamingResponse:
        """One session as server-sent events. It need not exist yet."""
        return await self._events(caller, Scope(*taken_apart(id_)), since, last_event_id)

    async def namespace_socket(self, socket: WebSocket) -> None:
        """The sessions of a namespace over a WebSocket."""
        namespace = socket.query_params.get("namespace")
        if namespace is None:
            caller = websocket_caller(socket) or Caller("")
            namespace = self._sessions.namespace_of(caller, None)
        if not re.fullmatch(NAMESPACE_PATTERN, namespace):
            await socket.close(_NO_SUCH_SCOPE)
            return
        await serve_websocket(self._live, socket, Scope(namespace), _since(socket))

    async def session_socket(self, socket: WebSocket) -> None:
        """One session over a WebSocket. It need not exist yet."""
        id_ = socket.path_params["id"]
        if not re.fullmatch(ID_PATTERN, id_):
            await socket.close(_NO_SUCH_SCOPE)
            return
        await serve_websocket(self._live, socket, Scope(*taken_apart(id_)), _since(socket))

    async def _events(
        self, caller: Caller, scope: Scope, since: int | None, last_event_id: str | None
    ) -> StreamingResponse:
        seen = int(last_event_id) if last_event_id is not None else since
        events = server_sent_events(self._live, caller, scope, seen)
        # The first item comes once the right was found: a refusal is still an HTTP status then.
        await anext(events)
        return StreamingResponse(_rest(events), media_type="text/event-stream")


async def _rest(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for event in events:
        yield event


def _since(socket: WebSocket) -> int | None:
    text = socket.query_params.get("since", "")
    return int(text) if text.isdigit() and len(text) < 19 else None  # noqa: PLR2004 - below 2**63
