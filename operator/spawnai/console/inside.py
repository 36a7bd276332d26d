"""What only the operator knows, for the page and the plugin: each answer comes from its door."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Annotated, Any

import aiohttp
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from .caller import Caller
from .errors import Problem
from .models import Namespace
from .operator_door import AWAY, OperatorDoor, json_of
from .sessions import CallerOfRequest, SessionId, Sessions, errors, taken_apart

_TEXT = "text/plain; charset=utf-8"


def _stream(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}
    }


class Inside:
    """The routes.

    Args:
        door: the operator's.
        sessions: knows the namespace of a caller who names none.
    """

    def __init__(self, door: OperatorDoor, sessions: Sessions) -> None:
        self._door = door
        self._sessions = sessions
        self.router = router = APIRouter(prefix="/api", tags=["from the operator"])
        router.add_api_route(
            "/sessions/{id}/logs",
            self.logs,
            methods=["GET"],
            summary="Read an app's log",
            response_class=StreamingResponse,
            responses={**errors(404), **_stream("text/plain", "Lines, oldest first.")},
        )
        router.add_api_route(
            "/sessions/{id}/generation",
            self.generation,
            methods=["GET"],
            summary="See the app as Claude writes it",
            response_class=StreamingResponse,
            responses={
                **errors(404),
                **_stream(
                    "application/x-ndjson",
                    "A JSON object a line when it changes: fraction, path and bytes of files, the "
                    "number of the repair (0: none), and the problem that is repaired.",
                ),
            },
        )
        router.add_api_route(
            "/sessions/{id}/source",
            self.source,
            methods=["GET"],
            summary="Take an app's source",
            response_class=Response,
            responses={**errors(404), **_stream("application/zip", "A zip archive.")},
        )
        router.add_api_route(
            "/sessions/{id}/screenshot",
            self.screenshot,
            methods=["GET"],
            summary="See a picture of the app",
            response_class=Response,
            responses={**errors(404), **_stream("image/png", "A PNG picture.")},
        )
        for path, method, summary in (
            ("/sessions/{id}/versions", self.versions, "List an app's versions"),
            ("/sessions/{id}/files", self.files, "List an app's files"),
            ("/sessions/{id}/receipt", self.receipt, "See what was made, gone and paid"),
            ("/offer", self.offer, "See what can be ordered, and what it costs"),
        ):
            router.add_api_route(
                path, method, methods=["GET"], summary=summary, responses=errors(404)
            )

    async def logs(
        self,
        caller: CallerOfRequest,
        id_: SessionId,
        follow: Annotated[  # noqa: FBT002 - a query parameter
            bool, Query(description="Go on with new lines as they come.")
        ] = False,
    ) -> StreamingResponse:
        """The last lines of an app's log, and with `follow` those that come after."""
        query = {"follow": "true"} if follow else {}
        return await self._passed_on(caller, f"{_session(id_)}/log", query, _TEXT)

    async def generation(self, caller: CallerOfRequest, id_: SessionId) -> StreamingResponse:
        """The files that Claude has begun, and how long they are by now."""
        path = f"{_session(id_)}/generation"
        return await self._passed_on(caller, path, {}, "application/x-ndjson")

    async def source(
        self,
        caller: CallerOfRequest,
        id_: SessionId,
        version: Annotated[
            int | None, Query(ge=1, le=9999, description="The newest when it is left out.")
        ] = None,
    ) -> Response:
        """The app as a zip archive."""
        _, name = taken_apart(id_)
        query = {} if version is None else {"version": str(version)}
        return Response(
            await self._door.read(caller, f"{_session(id_)}/source", query),
            media_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{name}.zip"'},
        )

    async def screenshot(self, caller: CallerOfRequest, id_: SessionId) -> Response:
        """A picture of the running app, taken when it became ready."""
        content = await self._door.read(caller, f"{_session(id_)}/screenshot")
        if not content.startswith(_PNG):
            raise Problem(HTTPStatus.BAD_GATEWAY, "BadGateway", "the picture is not a PNG")
        return Response(content, media_type="image/png")

    async def versions(self, caller: CallerOfRequest, id_: SessionId) -> JSONResponse:
        """Every version of the app with the prompt that asked for it, the oldest first."""
        return await self._json(caller, f"{_session(id_)}/versions")

    async def files(self, caller: CallerOfRequest, id_: SessionId) -> JSONResponse:
        """Paths and lengths of the app's files."""
        return await self._json(caller, f"{_session(id_)}/files")

    async def receipt(self, caller: CallerOfRequest, id_: SessionId) -> JSONResponse:
        """The ledger of a session."""
        return await self._json(caller, f"{_session(id_)}/receipt")

    async def offer(
        self,
        caller: CallerOfRequest,
        namespace: Annotated[Namespace | None, Query()] = None,
        class_name: Annotated[
            str | None, Query(alias="class", pattern="^[a-z0-9][-a-z0-9.]{0,252}$")
        ] = None,
        user: Annotated[
            str | None,
            Query(
                min_length=1,
                max_length=253,
                description="The `userId` of the order, whose limits and budgets are looked at. "
                "When it is left out: the namespace.",
            ),
        ] = None,
    ) -> JSONResponse:
        """Sizes, prices, limits and usual times. `operator` is `away` while it does not answer."""
        place = self._sessions.namespace_of(caller, namespace)
        asked = {"class": class_name, "user": user}
        query = {name: text for name, text in asked.items() if text is not None}
        try:
            return await self._json(caller, f"/v1/namespaces/{place}/offer", query)
        except Problem as error:
            if error.answer.reason != AWAY:
                raise
            return JSONResponse({"operator": "away", "tiers": [], "appTypes": []})

    async def _json(
        self, caller: Caller, path: str, query: dict[str, str] | None = None
    ) -> JSONResponse:
        return JSONResponse(json_of(await self._door.read(caller, path, query)))

    async def _passed_on(
        self, caller: Caller, path: str, query: dict[str, str], media_type: str
    ) -> StreamingResponse:
        stack = AsyncExitStack()
        # Opened before the answer begins: a refusal is still an HTTP status then.
        content = await stack.enter_async_context(self._door.open(caller, path, query))
        return StreamingResponse(_chunks(stack, content), media_type=media_type)


async def _chunks(stack: AsyncExitStack, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    try:
        async for chunk in content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError):
        return  # cut: the reader sees the stream end, and asks again
    finally:
        await stack.aclose()


def _session(id_: str) -> str:
    namespace, name = taken_apart(id_)
    return f"/v1/namespaces/{namespace}/sessions/{name}"


_PNG = b"\x89PNG\r\n\x1a\n"
