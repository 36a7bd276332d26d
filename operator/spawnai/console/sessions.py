"""Sessions as REST resources: each request is one of Kubernetes', made with the caller's token."""

from collections.abc import Mapping
from http import HTTPStatus
from secrets import token_hex
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from spawnai.api.names import (
    API_VERSION,
    EXPIRES_AT_ANNOTATION,
    FEEDBACK_ANNOTATION,
    TTL_ANNOTATION,
)

from .api_server import FIELD_MANAGER, MERGE_PATCH, PAGE_SIZE, ApiServer, Refused, sessions_path
from .caller import Caller, caller_of, namespace_in
from .errors import ErrorAnswer, Problem
from .estimates import Estimate, estimate_of
from .models import (
    ID_PATTERN,
    Change,
    Listing,
    Namespace,
    Order,
    Placed,
    SessionAnswer,
    name_stem,
    session_answer,
)
from .operator_door import OperatorDoor, json_of

CallerOfRequest = Annotated[Caller, Depends(caller_of)]
SessionId = Annotated[
    str,
    Path(
        alias="id",
        pattern=ID_PATTERN,
        description="namespace.name of the session.",
        examples=["team-a.retro-board"],
    ),
]

_WORDS = {
    400: "A field of the request cannot be used; `fields` names it.",
    401: "There is no token, or the API server does not accept it.",
    403: "The caller has no right to it; the sentence is Kubernetes' own.",
    404: "There is no such session.",
    409: "There is a session with that name already, or it has changed meanwhile.",
    422: "Kubernetes refuses a value; `fields` names it.",
    429: "Too many requests; Retry-After says when to come again.",
    502: "The API server or the operator answered with an error of its own.",
    503: "The API server or the operator does not answer; Retry-After says when to come again.",
}


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an operation, for the OpenAPI document."""
    always = (400, 401, 403, 429, 502, 503)
    return {
        code: {"model": ErrorAnswer, "description": _WORDS[code]}
        for code in sorted({*always, *codes})
    }


def taken_apart(id_: str) -> tuple[str, str]:
    """Namespace and name of an id that fits ID_PATTERN."""
    namespace, _, name = id_.partition(".")
    return namespace, name


class Sessions:
    """The routes of /api/sessions.

    Args:
        api: the API server.
        door: the operator's; it knows the prices.
        default_namespace: where a caller orders who names no namespace and whose token names none.
    """

    def __init__(self, api: ApiServer, door: OperatorDoor, default_namespace: str) -> None:
        self._api = api
        self._door = door
        self._default_namespace = default_namespace
        self.router = router = APIRouter(prefix="/api/sessions", tags=["sessions"])
        router.add_api_route(
            "",
            self.order,
            methods=["POST"],
            status_code=HTTPStatus.CREATED,
            summary="Order an app",
            responses=errors(404, 409, 422),
        )
        router.add_api_route(
            "", self.list, methods=["GET"], summary="List sessions", responses=errors(404)
        )
        router.add_api_route(
            "/{id}", self.get, methods=["GET"], summary="Show a session", responses=errors(404)
        )
        router.add_api_route(
            "/{id}",
            self.change,
            methods=["PATCH"],
            summary="Extend, end, change or judge a session",
            responses=errors(404, 409, 422),
        )
        router.add_api_route(
            "/{id}",
            self.delete,
            methods=["DELETE"],
            status_code=HTTPStatus.ACCEPTED,
            summary="Delete a session, and destroy all that it uses",
            responses=errors(404, 409),
        )

    def namespace_of(self, caller: Caller, asked: str | None) -> str:
        """The namespace that a request is about."""
        return asked or namespace_in(caller.token) or self._default_namespace

    async def order(self, caller: CallerOfRequest, order: Order, response: Response) -> Placed:
        """Make a session. It is requested then; watch it to see it run."""
        namespace = self.namespace_of(caller, order.namespace)
        name = order.name or f"{name_stem(order.prompt)}-{token_hex(2)}"
        made = await self._api.call(
            caller.token,
            "POST",
            sessions_path(namespace),
            query={"fieldManager": FIELD_MANAGER},
            body=manifest(order, namespace, name),
        )
        session = session_answer(made)
        response.headers["Location"] = f"/api/sessions/{session.id}"
        estimate = await self._estimate(caller, order, namespace)
        return Placed(
            session_id=session.id,
            estimated_cost=estimate.cost,
            estimated_time=estimate.seconds,
            session=session,
        )

    async def _estimate(self, caller: Caller, order: Order, namespace: str) -> Estimate:
        """The order is made already: that nobody can say what it costs does not change that."""
        query = {} if order.class_name is None else {"class": order.class_name}
        path = f"/v1/namespaces/{namespace}/offer"
        try:
            offer = json_of(await self._door.read(caller, path, query))
        except (Problem, Refused):
            return Estimate()
        return estimate_of(order, offer)

    async def list(
        self,
        caller: CallerOfRequest,
        namespace: Annotated[Namespace | None, Query()] = None,
    ) -> Listing:
        """The sessions of a namespace, the newest first; also those that have ended."""
        path = sessions_path(self.namespace_of(caller, namespace))
        items: list[SessionAnswer] = []
        query = {"limit": str(PAGE_SIZE)}
        while True:
            page = await self._api.call(caller.token, "GET", path, query=query)
            items += [session_answer(document) for document in page["items"]]
            position = page["metadata"].get("continue")
            if not position:
                break
            query["continue"] = position
        items.sort(key=lambda session: (session.created_at, session.uid), reverse=True)
        return Listing(items=items, sequence=page["metadata"]["resourceVersion"])

    async def get(self, caller: CallerOfRequest, id_: SessionId) -> SessionAnswer:
        """One session."""
        return session_answer(
            await self._api.call(caller.token, "GET", sessions_path(*taken_apart(id_)))
        )

    async def change(
        self, caller: CallerOfRequest, id_: SessionId, change: Change
    ) -> SessionAnswer:
        """Change a session. What the operator makes of it comes with the watch."""
        body = patch(change)
        if not body:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "Invalid",
                "nothing to change: send prompt, ttl, expiresAt or feedback",
            )
        return session_answer(
            await self._api.call(
                caller.token,
                "PATCH",
                sessions_path(*taken_apart(id_)),
                query={"fieldManager": FIELD_MANAGER},
                body=body,
                content_type=MERGE_PATCH,
            )
        )

    async def delete(self, caller: CallerOfRequest, id_: SessionId) -> SessionAnswer:
        """Delete a session. It is gone from the list once all it used has been seen gone; its
        receipt stays in the history. To keep the session itself as a receipt, change expiresAt to
        `now` instead.
        """
        path = sessions_path(*taken_apart(id_))
        session = session_answer(await self._api.call(caller.token, "GET", path))
        # The answer is the session that is being taken down, or a mere Status where it is gone.
        await self._api.call(caller.token, "DELETE", path)
        return session.model_copy(update={"deleted": True})


def manifest(order: Order, namespace: str, name: str) -> dict[str, Any]:
    """The SpawnSession for an order."""
    spec = {
        "prompt": order.prompt,
        "appType": order.app_type.value,
        "user": order.user_id,
        "tier": None if order.tier is None else order.tier.value,
        "className": order.class_name,
        "region": order.region,
        "location": order.location,
        "env": None if order.env is None else [one.model_dump(by_alias=True) for one in order.env],
    }
    annotations = {} if order.ttl is None else {TTL_ANNOTATION: order.ttl}
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def patch(change: Change) -> dict[str, Any]:
    """The merge patch (RFC 7386) for a change; empty when nothing is to change."""
    given = change.model_fields_set
    names: Mapping[str, str] = {
        "ttl": TTL_ANNOTATION,
        "expires_at": EXPIRES_AT_ANNOTATION,
        "feedback": FEEDBACK_ANNOTATION,
    }
    annotations = {names[field]: getattr(change, field) for field in names if field in given}
    body: dict[str, Any] = {}
    if annotations:
        body["metadata"] = {"annotations": annotations}
    if change.prompt is not None:
        body["spec"] = {"prompt": change.prompt}
    return body
