"""Every error of the SDK becomes one of ours, and says what to do next."""

import inspect

import anthropic
import httpx2
import pytest

from spawnai.generation.errors import (
    GenerationError,
    GenerationNoCredit,
    GenerationRejected,
    GenerationUnauthorized,
)
from spawnai.generation.failures import FOREIGN_ERRORS, TryAgain, understand

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/messages")


def status_error(
    status: int, kind: str, message: str = "no", code: str | None = None, **headers: str
) -> anthropic.APIStatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, request=REQUEST, headers=named)
    details = {"details": {"error_code": code}} if code else {}
    body = {"type": "error", "error": {"type": kind, "message": message, **details}}
    return anthropic.APIStatusError(message, response=response, body=body)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (status_error(401, "authentication_error"), GenerationUnauthorized),
        (status_error(403, "permission_error"), GenerationUnauthorized),
        (
            status_error(400, "invalid_request_error", "This organization has been disabled."),
            GenerationUnauthorized,
        ),
        (status_error(402, "billing_error"), GenerationNoCredit),
        (
            status_error(
                400, "invalid_request_error", "Your credit balance is too low to access the API."
            ),
            GenerationNoCredit,
        ),
        (
            status_error(
                400, "invalid_request_error", "You have reached your specified API usage limits."
            ),
            GenerationNoCredit,
        ),
        (
            status_error(429, "rate_limit_error", code="enforced_spend_limit_reached"),
            GenerationNoCredit,
        ),
        (
            status_error(403, "permission_error", code="user_profile_not_billable"),
            GenerationNoCredit,
        ),
        (status_error(400, "invalid_request_error", "max_tokens: too large"), GenerationRejected),
        (status_error(404, "not_found_error", "model: claude-nothing"), GenerationRejected),
        (status_error(413, "request_too_large"), GenerationRejected),
        (status_error(429, "rate_limit_error"), TryAgain),
        (status_error(429, "rate_limit_error", code="ramp_limit_exceeded"), TryAgain),
        (status_error(408, "timeout_error"), TryAgain),
        (status_error(409, "conflict_error"), TryAgain),
        (status_error(500, "api_error"), TryAgain),
        (status_error(503, "api_error"), TryAgain),
        (status_error(529, "overloaded_error"), TryAgain),
        (status_error(529, "overloaded_error", x_should_retry="false"), GenerationRejected),
        # Inside a stream the status is 200, and only the type tells.
        (status_error(200, "overloaded_error"), TryAgain),
        (status_error(200, "api_error"), TryAgain),
        (status_error(200, "invalid_request_error"), GenerationRejected),
        (anthropic.APIConnectionError(request=REQUEST), TryAgain),
        (anthropic.APITimeoutError(request=REQUEST), TryAgain),
        (httpx2.ReadError("cut"), TryAgain),
        (httpx2.RemoteProtocolError("cut"), TryAgain),
        (httpx2.ReadTimeout("silence"), TryAgain),
    ],
)
def test_an_error_is_understood_by_what_to_do_next(error, meaning):
    assert type(understand(error)) is meaning


def test_no_error_of_the_sdk_is_left_out():
    errors = [
        kind
        for module in (anthropic, httpx2)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception)
        and kind.__module__.split(".")[0] in {"anthropic", "httpx2"}
        # Never raised by a call to an address that was given whole.
        and kind.__name__ not in {"InvalidURL", "CookieConflict"}
    ]
    assert len(errors) > 20
    for kind in errors:
        assert issubclass(kind, FOREIGN_ERRORS), kind


def test_what_claude_said_and_the_request_id_are_kept():
    error = status_error(404, "not_found_error", "model: claude-nothing", request_id="req_1")
    meaning = understand(error)
    assert isinstance(meaning, GenerationError)
    assert "model: claude-nothing" in meaning.message
    assert meaning.request_id == "req_1"


def test_a_wish_to_wait_is_kept_when_it_is_a_number():
    def wish(value: str) -> float | None:
        meaning = understand(status_error(429, "rate_limit_error", retry_after=value))
        assert isinstance(meaning, TryAgain)
        return meaning.retry_after_seconds

    assert wish("7") == 7.0
    assert wish("0.5") == 0.5
    assert wish("Wed, 21 Oct 2026 07:28:00 GMT") is None
    assert wish("-1") is None
    assert wish("nan") is None


def test_a_long_message_with_control_characters_is_made_fit_to_be_shown():
    meaning = understand(status_error(400, "invalid_request_error", "\x1b[31m" + "x" * 5000))
    assert "\x1b" not in str(meaning)
    assert len(str(meaning)) < 600
