"""The console's HTTP application, put together from its parts."""

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import ceil

from fastapi import FastAPI, Request, Response

from .api_server import ApiServer
from .assets import SECURITY_HEADERS, Assets, read_assets
from .caller import is_foreign
from .docs import Docs
from .errors import Problem, add_error_handlers, answer_with
from .history import History, HistoryDatabase
from .inside import Inside
from .live import Live
from .me import Me
from .openapi import openapi_of
from .operator_door import OperatorDoor
from .rate_limit import RateLimit
from .sessions import Sessions
from .watch import Watch

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_DESCRIPTION = """\
Order apps, watch them come to life, extend and end them.

Each request is made with the caller's own Kubernetes token (`Authorization: Bearer …`): the
cluster's RBAC decides, and a refusal is Kubernetes' own sentence. The API itself has no rights.
"""


def build_app(
    *,
    api: ApiServer,
    door: OperatorDoor,
    live: Live,
    rate_limit: RateLimit,
    default_namespace: str,
    history_database: HistoryDatabase | None = None,
) -> FastAPI:
    """The application, from parts that are open already.

    Without `history_database` the history holds what the ledgers do.
    """
    app = FastAPI(
        title="SpawnAI",
        version="v1alpha1",
        description=_DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.openapi = lambda: openapi_of(app)  # type: ignore[method-assign]
    add_error_handlers(app)
    sessions = Sessions(api, door, default_namespace)
    # Before the sessions: an id has a dot, `watch` has none.
    for part in (
        Watch(live, sessions),
        sessions,
        Inside(door, sessions),
        History(api, door, sessions, history_database),
        Me(api, sessions),
        Docs(app.openapi),
        Assets(read_assets()),
    ):
        app.include_router(part.router)
    _add_guard(app, rate_limit)
    return app


def _add_guard(app: FastAPI, rate_limit: RateLimit) -> None:
    """Before every request: whose page sends it, and is it one too many? After: headers."""

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = _refusal(request, rate_limit) or await answer(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers[name] = value
        if request.url.path.startswith("/api/"):
            response.headers["Cache-Control"] = "no-store"
        return response


def _refusal(request: Request, rate_limit: RateLimit) -> Response | None:
    if not request.url.path.startswith("/api/"):
        return None
    if request.method not in _SAFE and is_foreign(request.headers):
        return answer_with(
            Problem(
                HTTPStatus.FORBIDDEN,
                "ForeignPage",
                "this request comes from another site's page; only the console's own may send it",
            )
        )
    wait = rate_limit.take(_who(request))
    if wait is None:
        return None
    seconds = max(1, ceil(wait))
    return answer_with(
        Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "TooManyRequests",
            f"too many requests: come again in {seconds} s",
            retry_after=seconds,
        )
    )


def _who(request: Request) -> str:
    """Whom a request counts for: the token, or the address where there is none."""
    token = request.headers.get("authorization")
    if token is not None:
        return hashlib.sha256(token.encode()).hexdigest()
    return request.client.host if request.client is not None else "unknown"
