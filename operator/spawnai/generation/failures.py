"""What a failed call to Claude means: an error to end with, or a reason to try again.

Foreign exceptions (anthropic, httpx2) become ours here and nowhere else.
"""

from http import HTTPStatus

import anthropic
import httpx2

from .errors import (
    GenerationError,
    GenerationNoCredit,
    GenerationRejected,
    GenerationUnauthorized,
)
from .problems import printable

# Codes of the Messages API for "this account cannot pay now"; a retry is refused all the same.
_SPEND_CODES = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
        "user_profile_billing_not_authorized",
        "user_profile_not_billable",
    }
)
# An empty balance and a spend limit that the customer set come as a 400 without a code; only the
# sentence tells them from a bad request.
_SPEND_WORDS = ("credit balance", "api usage limits", "purchase credits")
_DISABLED_WORDS = ("organization has been disabled", "organization is disabled")

_KEY_STATUSES = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_RETRIED_STATUSES = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)
# An error inside a stream has HTTP status 200; its type says what the status would have been.
_RETRIED_TYPES = frozenset({"overloaded_error", "api_error", "timeout_error", "rate_limit_error"})


class TryAgain(Exception):
    """The call may succeed when repeated; `retry_after_seconds` is Claude's wish, if it has one."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id


FOREIGN_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError)


def understand(error: Exception) -> GenerationError | TryAgain:
    """Our own error for one of `FOREIGN_ERRORS`."""
    if isinstance(error, anthropic.APIStatusError):
        return _understand_status(error)
    if isinstance(error, anthropic.APITimeoutError | httpx2.TimeoutException):
        return TryAgain("Claude did not answer in time")
    if isinstance(error, anthropic.APIResponseValidationError):
        return TryAgain("Claude's answer could not be read as the Messages API")
    if isinstance(error, anthropic.APIConnectionError | httpx2.HTTPError | httpx2.StreamError):
        cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) else error
        return TryAgain(f"the connection to Claude failed ({type(cause or error).__name__})")
    return GenerationRejected(f"the request to Claude could not be made: {type(error).__name__}")


def _understand_status(error: anthropic.APIStatusError) -> GenerationError | TryAgain:
    said = printable(str(error.api_message or f"HTTP {error.status_code}"), 300)
    parts = [] if error.status_code == HTTPStatus.OK else [str(error.status_code)]
    where = " ".join([*parts, *([str(error.type)] if error.type else [])])
    request_id = error.request_id
    lower = said.lower()
    if (
        error.status_code == HTTPStatus.PAYMENT_REQUIRED
        or error.type == "billing_error"
        or error.error_code in _SPEND_CODES
        or any(words in lower for words in _SPEND_WORDS)
    ):
        return GenerationNoCredit(
            f"Claude's account cannot pay for this now ({where}: {said}); add credit or raise the "
            "spend limit in the Claude Console",
            request_id=request_id,
        )
    if (
        error.status_code in _KEY_STATUSES
        or error.type in {"authentication_error", "permission_error"}
        or error.error_code == "organization_on_hold"
        or any(words in lower for words in _DISABLED_WORDS)
    ):
        return GenerationUnauthorized(
            f"Claude did not accept the API key ({where}: {said})",
            request_id=request_id,
        )
    retried = (
        error.status_code in _RETRIED_STATUSES
        or error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        or error.type in _RETRIED_TYPES
    )
    if retried and error.response.headers.get("x-should-retry") != "false":
        return TryAgain(
            f"Claude answered {where}: {said}",
            retry_after_seconds=_retry_after(error.response),
            request_id=request_id,
        )
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return GenerationRejected(
            f"the request to Claude is too large ({where}: {said}); order a smaller app",
            request_id=request_id,
        )
    return GenerationRejected(
        f"Claude rejected the request ({where}: {said}); check the model and its settings in the "
        "class",
        request_id=request_id,
    )


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds from the header `retry-after`; None when there is none or it is no number."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
