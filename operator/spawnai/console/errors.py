"""How an error is told: one shape for all, with Kubernetes' own sentence where it has one."""

import re
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

from .api_server import Refused, Unreachable

RETRY_SECONDS = 2


class FieldError(BaseModel):
    """One field of the request that cannot be used."""

    field: str = Field(description="The field's name in the request, such as prompt.")
    message: str = Field(description="What is wrong with it, or what to write instead.")


class ErrorAnswer(BaseModel):
    """The body of every answer that is an error."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    error: str = Field(description="A sentence for people. From Kubernetes, where it refused.")
    reason: str = Field(description="One word for machines, such as Forbidden or Invalid.")
    fields: list[FieldError] = Field(
        default_factory=list, description="The fields that are wrong, where it is about fields."
    )


class Problem(Exception):
    """An error that the console itself answers with."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.answer = ErrorAnswer(
            error=message,
            reason=reason,
            fields=[] if field is None else [FieldError(field=field, message=message)],
        )
        self.retry_after = retry_after


def problem_of(error: Refused | Unreachable) -> Problem:
    """What the caller is told when the API server refused, or did not answer."""
    if isinstance(error, Unreachable):
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "Unreachable", str(error), retry_after=RETRY_SECONDS
        )
    status = error.status if error.status in _PASSED_ON else HTTPStatus.BAD_GATEWAY
    problem = Problem(status, error.reason, str(error))
    problem.answer.fields = [
        FieldError(field=field_name(path), message=message) for path, message in error.causes
    ]
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        problem.retry_after = RETRY_SECONDS
    return problem


_PASSED_ON = frozenset({400, 401, 403, 404, 409, 422, 429, 503})

_ANNOTATION = re.compile(r"annotations?\W+spawn-ai\.com/([a-z-]+)")
_FIELDS = {"user": "userId", "expires-at": "expiresAt"}


def field_name(path: str) -> str:
    """The request's field for a path in the Kubernetes object: spec.prompt is prompt."""
    annotation = _ANNOTATION.search(path)
    name = annotation[1] if annotation else path.removeprefix("spec.").removeprefix("metadata.")
    return _FIELDS.get(name, name)


def answer_with(problem: Problem) -> JSONResponse:
    """The answer for a problem."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        problem.answer.model_dump(by_alias=True), status_code=problem.status, headers=headers
    )


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in the one shape."""

    async def on_problem(_request: Request, error: Exception) -> JSONResponse:
        return answer_with(error if isinstance(error, Problem) else _unexpected(error))

    async def on_cluster(_request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, Refused | Unreachable):
            return answer_with(problem_of(error))
        return answer_with(_unexpected(error))

    async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            return answer_with(_unexpected(error))
        return answer_with(_invalid(error))

    async def on_http(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            return answer_with(_unexpected(error))
        phrase = HTTPStatus(error.status_code).phrase
        answer = answer_with(
            Problem(error.status_code, phrase.title().replace(" ", ""), str(error.detail))
        )
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(Refused, on_cluster)
    app.add_exception_handler(Unreachable, on_cluster)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _unexpected(error: Exception) -> Problem:
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "InternalError",
        f"the console failed ({type(error).__name__}); its log says more",
    )


def _invalid(error: RequestValidationError) -> Problem:
    fields = []
    for one in error.errors():
        where = [str(part) for part in one["loc"] if part not in ("body", "query", "path")]
        message = str(one["msg"]).removeprefix("Value error, ")
        fields.append(FieldError(field=".".join(where) or "body", message=message))
    sentence = "; ".join(f"{one.field}: {one.message}" for one in fields)
    problem = Problem(HTTPStatus.BAD_REQUEST, "Invalid", sentence)
    problem.answer.fields = fields
    return problem
