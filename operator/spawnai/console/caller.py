"""Who asks: the bearer token of a request, and where it may come from."""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request, Security, WebSocket
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from .errors import Problem

SUBPROTOCOL = "spawnai.v1"

TOKEN_SUBPROTOCOL = "base64url.bearer.authorization.k8s.io."  # noqa: S105 - a name
"""Kubernetes' own way to bring a token into a browser's WebSocket, which cannot set headers."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")
"""RFC 6750, section 2.1: b64token. Anything else must not reach a header that we send."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A bearer token. It goes to the API server and is shown to nobody."""

    token: str = field(repr=False)

    @property
    def key(self) -> str:
        """Stands for the token where the token itself is not needed."""
        return hashlib.sha256(self.token.encode()).hexdigest()


_SCHEME = HTTPBearer(auto_error=False, description="A Kubernetes token.")


def caller_of(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_SCHEME)],
) -> Caller:
    """The caller of a request.

    Raises:
        Problem: there is no bearer token.
    """
    found = _from_header(request.headers)
    if found is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "Unauthorized",
            "no token: send the header Authorization: Bearer <a Kubernetes token>",
        )
    return found


def websocket_caller(socket: WebSocket) -> Caller | None:
    """The caller of a WebSocket: from its subprotocols, or from a proxy's Authorization header."""
    for protocol in socket.scope.get("subprotocols") or []:
        if protocol.startswith(TOKEN_SUBPROTOCOL):
            return _from_base64url(protocol.removeprefix(TOKEN_SUBPROTOCOL))
    return _from_header(socket.headers)


def is_foreign(headers: Headers) -> bool:
    """Whether a browser sends the request for another site's page.

    A proxy that signs people in with a cookie adds the token to whatever their browsers send, so
    a foreign page could order apps in their name.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    host = urlsplit(origin).netloc
    return host not in (headers.get("host"), headers.get("x-forwarded-host"))


def namespace_in(token: str) -> str | None:
    """The namespace that a ServiceAccount's token names. Not verified: only a default."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - RFC 7519
        return None
    try:
        claims = json.loads(_decoded(parts[1]))
        return str(claims["kubernetes.io"]["namespace"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


def _from_header(headers: Headers) -> Caller | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not _TOKEN.fullmatch(token):
        return None
    return Caller(token)


def _from_base64url(text: str) -> Caller | None:
    try:
        token = _decoded(text).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return Caller(token) if _TOKEN.fullmatch(token) else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
