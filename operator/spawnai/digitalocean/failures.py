"""Turns what came instead of a good answer into one of our errors. The only place that does.

DigitalOcean answers with few statuses; much of what a caller must know stands in the message of a
422 alone. The texts below are those that DigitalOcean sends, as seen in issues of the clients
that ran into them (Packer, doctl, godo, the Terraform provider).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from spawnai.digitalocean.answers import Malformed, parsed
from spawnai.digitalocean.budget import retry_after_seconds
from spawnai.digitalocean.errors import (
    AlreadyExists,
    Ambiguous,
    Busy,
    DigitalOceanError,
    Forbidden,
    ImageNotInRegion,
    NoCapacity,
    NotFound,
    OverQuota,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownOption,
)
from spawnai.digitalocean.scope_names import scope_of

_LONGEST_MESSAGE = 300
# When a 429 does not say how long to wait: a minute's window is over by then.
_RETRY_AFTER_SECONDS = 60.0

_LIMIT = re.compile(r"droplet limit|load balancer.{0,40}limit", re.IGNORECASE)
_PENDING = re.compile(
    r"pending event|blocking events?|is locked|currently locked|in progress"
    r"|processes previous actions|not in use before deleting",
    re.IGNORECASE,
)
_EXISTS = re.compile(
    r"already exists|duplicate name|name is not unique|name .{0,80}already.{0,80}(taken|use)",
    re.IGNORECASE,
)
_IMAGE_ELSEWHERE = re.compile(r"image\b.{0,80}not available in the selected region", re.IGNORECASE)
_UNKNOWN_OPTION = re.compile(
    r"invalid (size|region|image)"
    r"|(size|region|image)( slug)?( .{0,80})? (is invalid|does not exist|not found|not recognized)",
    re.IGNORECASE,
)
_NO_CAPACITY = re.compile(
    r"(un|not (currently )?)available|capacity|sold out|out of stock|temporarily disabled"
    r"|currently restricted|region is disabled",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(r".*not[ _]?found", re.IGNORECASE)
# "You are not authorized to perform this operation" (a custom scope is missing) and "You do not
# have access for the attempted action" (a read-only token, and some services).
_NO_RIGHT = re.compile(
    r"not authorized|not have access|permission|scope|unable to authenticate|account.{0,40}locked",
    re.IGNORECASE,
)
_ACCOUNT_LOCKED = re.compile(r"account.{0,40}locked", re.IGNORECASE)


def shown(text: str, secret: str) -> str:
    """What of a foreign text may be shown: one short line, without the secret."""
    if secret:
        text = text.replace(secret, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 1]}…"


def error_of_answer(
    endpoint: str,
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    repeatable: bool = False,
    utc_now: datetime,
    secret: str,
) -> DigitalOceanError:
    """The error that an unsuccessful status means.

    Args:
        endpoint: the call, such as "POST /v2/droplets".
        status: anything but 2xx.
        headers: the answer's headers.
        content: the answer's body, of whatever kind.
        repeatable: whether a POST comes to the same end however often it is sent.
        utc_now: the time of the answer, to read a rate limit's end.
        secret: what may not be shown, even when the answer repeats it.
    """
    identifier, message, request_id = _own_words(content)
    request_id = request_id or headers.get("x-request-id", "")
    message = shown(message, secret)
    known: dict[str, Any] = {
        "endpoint": endpoint,
        "status": status,
        "request_id": shown(request_id, secret) if request_id else None,
    }
    if not message:
        kind = headers.get("content-type", "no content type")
        message = shown(
            f"no words of DigitalOcean's own ({kind}, {len(content)} bytes); is something between"
            " the operator and the API?",
            secret,
        )

    def unsaid() -> DigitalOceanError:
        return error_of_sent(
            endpoint,
            message,
            status=status,
            request_id=known["request_id"],
            repeatable=repeatable,
        )

    if status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = retry_after_seconds(headers, utc_now)
        return RateLimited(
            message,
            retry_after_seconds=_RETRY_AFTER_SECONDS if seconds is None else seconds,
            **known,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return unsaid()
    if status < HTTPStatus.BAD_REQUEST:
        return Refused(f"{message} (redirects are not followed: check the API address)", **known)
    if not identifier:
        # A proxy's page says nothing about the object: above all, its 404 does not mean "gone".
        return unsaid()
    if status == HTTPStatus.UNAUTHORIZED:
        return Unauthorized(message, **known)
    if status == HTTPStatus.FORBIDDEN:
        # Load balancers and certificates that are in use say so with a 403, too.
        if _PENDING.search(message):
            return Busy(message, **known)
        if _LIMIT.search(message):
            return OverQuota(message, **known)
        if not _NO_RIGHT.search(message):
            return Refused(message, **known)
        if not _ACCOUNT_LOCKED.search(message) and (scope := scope_of(endpoint)) is not None:
            message = f"{message} (the token may lack the scope {scope})"
        return Forbidden(message, **known)
    if status == HTTPStatus.NOT_FOUND:
        if _NOT_FOUND.fullmatch(identifier):
            return NotFound(message, **known)
        return unsaid()
    if status == HTTPStatus.LOCKED:
        return Busy(message, **known)
    return _refusal(endpoint, message)(message, **known)


def _refusal(endpoint: str, message: str) -> type[DigitalOceanError]:
    """What a 400, 409, 422 or the like means, by its message."""
    if _LIMIT.search(message):
        return OverQuota
    if _PENDING.search(message):
        return Busy
    if _EXISTS.search(message):
        return AlreadyExists
    if endpoint == "POST /v2/droplets":
        if _IMAGE_ELSEWHERE.search(message):
            return ImageNotInRegion
        if _UNKNOWN_OPTION.search(message):
            return UnknownOption
        if _NO_CAPACITY.search(message):
            return NoCapacity
    return Refused


def error_without_answer(
    endpoint: str,
    error: Exception,
    *,
    status: int | None = None,
    repeatable: bool = False,
    has_left: bool,
    timeout_seconds: float,
    secret: str,
) -> DigitalOceanError:
    """The error that a foreign exception means.

    Args:
        endpoint: the call, such as "POST /v2/droplets".
        error: what came instead of an answer, or of reading it, of whatever class.
        status: the answer's status, when there was one.
        repeatable: whether a POST comes to the same end however often it is sent.
        has_left: whether the request had begun to leave this machine.
        timeout_seconds: the call's limit, for the message.
        secret: what may not be shown, even when the exception repeats it.
    """
    if isinstance(error, TimeoutError):
        reason = f"no answer within {timeout_seconds:g} s"
    elif isinstance(error, Malformed):
        reason = shown(str(error), secret)
    elif type(error) is ValueError:
        reason = "its answer is no JSON, breaks off, or is nested too deeply"
    else:
        reason = shown(f"{type(error).__name__}: {_text_of(error)}", secret)
    if not has_left:
        return Unavailable(f"{reason}; the request was never sent", endpoint=endpoint)
    return error_of_sent(endpoint, reason, status=status, repeatable=repeatable)


def _text_of(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - some exceptions of aiohttp read what they were not given
        return "no description"


def error_of_sent(
    endpoint: str,
    reason: str,
    *,
    status: int | None = None,
    request_id: str | None = None,
    repeatable: bool = False,
) -> DigitalOceanError:
    """The error that follows from a request that was sent and an answer that says nothing."""
    if endpoint.startswith("POST ") and not repeatable:
        return Ambiguous(
            f"{reason}; it may have been carried out all the same, so the operator looks "
            "before it tries again",
            endpoint=endpoint,
            status=status,
            request_id=request_id,
        )
    return Unavailable(reason, endpoint=endpoint, status=status, request_id=request_id)


def _own_words(content: bytes) -> tuple[str, str, str]:
    """DigitalOcean's error id, message and request id; empty where the answer has none.

    Firewalls and tags answer in another form: {"error": "...", "root_causes": [...]}.
    """
    try:
        document = parsed(content)
    except ValueError:
        return "", "", ""
    if not isinstance(document, dict):
        return "", "", ""
    words = [document.get(name) for name in ("id", "message", "request_id", "error")]
    identifier, message, request_id, error = (w if isinstance(w, str) else "" for w in words)
    if not identifier and error and "root_causes" in document:
        identifier = "not_found" if _NOT_FOUND.search(error) else "error"
    return identifier, message or error, request_id
