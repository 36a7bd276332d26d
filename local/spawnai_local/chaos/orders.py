"""The ACME server's side of the gate: whose a call to it is, and what came of each order.

A call names a URL and no session: an order is told by the address that it is for, and all else by
the order whose answer named it first.
"""

import base64
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from spawnai_local.acme.front import NEW_ORDER, AcmeCall, problem
from spawnai_local.chaos.calls import Call, Edge

_FINALIZE, _CERTIFICATE, _REVOKE = "/finalize-order/", "/certZ/", "/revoke-cert"

_CALLS = {
    NEW_ORDER: ("POST newOrder", True),
    "/my-order/": ("POST order", False),
    "/authZ/": ("POST authorization", False),
    "/chalZ/": ("POST challenge", True),
    _FINALIZE: ("POST finalize", True),
    _CERTIFICATE: ("POST certificate", False),
    _REVOKE: ("POST revokeCert", True),
}
"""Pebble's paths: RFC 8555's name of each call, and whether it changes anything."""


class Orders:
    """What is known of the orders. `session_at`: the session whose droplet has an address."""

    def __init__(self, session_at: Callable[[str], str | None]) -> None:
        self.issued: Counter[str] = Counter()
        """How many certificates were issued for each session, by its UID."""
        self.revoked: Counter[str] = Counter()
        """How many of them were revoked."""
        self._session_at = session_at
        self._sessions: dict[str, str] = {}
        """Whose a path or a certificate is."""
        self._done: set[str] = set()

    def call(self, asked: AcmeCall) -> Call:
        """Name a call. What serves no session alone, such as a nonce, is nobody's."""
        for beginning, (name, writes) in _CALLS.items():
            if asked.path.startswith(beginning):
                return Call(Edge.ACME, name, (self._session(asked),), writes=writes)
        return Call(Edge.ACME, f"{asked.method} {asked.path}")

    def learn(self, asked: AcmeCall, answer: web.Response) -> None:
        """Note what an answer names, and what has been done."""
        session = self._session(asked)
        if not session or answer.status >= HTTPStatus.BAD_REQUEST:
            return
        body = answer.body if isinstance(answer.body, bytes) else b""
        if asked.path.startswith(_CERTIFICATE):
            leaf = x509.load_pem_x509_certificates(body)[0]
            self._sessions[_digest(leaf.public_bytes(Encoding.DER))] = session
        elif asked.path.startswith(_REVOKE):
            self._count(self.revoked, session, _certificate_in(asked.payload))
        else:
            if asked.path.startswith(_FINALIZE):
                self._count(self.issued, session, asked.path)
            self._sessions |= dict.fromkeys(_paths_in(answer, body), session)

    def _count(self, counter: Counter[str], session: str, what: str) -> None:
        if what not in self._done:
            self._done.add(what)
            counter[session] += 1

    def _session(self, asked: AcmeCall) -> str:
        if asked.path == NEW_ORDER:
            names = asked.payload.get("identifiers", ())
            return next((self._session_at(str(one["value"])) or "" for one in names), "")
        if asked.path.startswith(_REVOKE):
            return self._sessions.get(_certificate_in(asked.payload), "")
        return self._sessions.get(asked.path, "")


def refusal(status: int, retry_after: int | None) -> web.Response:
    """The error of a plan, in Let's Encrypt's words."""
    if retry_after is None:
        return problem("serverInternal", "asked for by a plan of make chaos", status)
    until = datetime.fromtimestamp(time.time() + retry_after, UTC)
    words = f"too many requests of make chaos, retry after {until:%Y-%m-%d %H:%M:%S} UTC"
    answer = problem("rateLimited", words, status)
    answer.headers["Retry-After"] = str(retry_after)
    return answer


def _certificate_in(payload: dict[str, Any]) -> str:
    text = str(payload.get("certificate", ""))
    return _digest(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _digest(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


def _paths_in(answer: web.Response, body: bytes) -> list[str]:
    """The paths of all URLs that an order or an authorization consists of."""
    document: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        document = json.loads(body)
    urls = [answer.headers.get("Location"), document.get("finalize"), document.get("certificate")]
    urls += document.get("authorizations", ())
    urls += [one.get("url") for one in document.get("challenges", ())]
    return [urlsplit(url).path for url in urls if url]
