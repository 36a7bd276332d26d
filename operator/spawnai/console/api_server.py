"""The API server, called with the caller's own token: the console has no rights of its own."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from spawnai.api.names import API_VERSION

TIMEOUT_SECONDS = 10.0
_CONNECT_SECONDS = 5.0

WATCH_SECONDS = 300
"""A watch ends after this time and is opened again, so that a revoked right ends the stream."""

_QUIET_SECONDS = 90.0
"""The API server sends a bookmark about once a minute; a watch that is silent longer is dead."""

_LONGEST_LINE = 4 * 1024 * 1024
"""An object has at most 1.5 MiB in etcd (its default limit), and JSON escapes lengthen it."""

MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "spawnai-console"
PAGE_SIZE = 500


class Refused(Exception):
    """The API server answered with an error of its own, which goes on to the caller.

    Args:
        status: the HTTP status code.
        document: Kubernetes' own Status object, or what came instead.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(str(document.get("message") or HTTPStatus(status).phrase))
        self.status = status
        self.document = document

    @property
    def reason(self) -> str:
        """Kubernetes' one word, such as Forbidden."""
        return str(self.document.get("reason") or HTTPStatus(self.status).phrase)

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Which fields are wrong, and why: (path, message)."""
        details = self.document.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        return [
            (str(cause.get("field") or ""), str(cause.get("message") or ""))
            for cause in causes or []
            if isinstance(cause, dict)
        ]


class Unreachable(Exception):
    """The API server did not answer. A write may or may not have happened."""


class Expired(Exception):
    """The API server no longer knows the resourceVersion: list again."""


class ApiServer:
    """HTTP calls to one API server; each is made with a token that is handed in.

    Args:
        url: its https:// address.
        authority: the file of its certificate authority; None for the system's.
    """

    def __init__(self, url: str, authority: Path | None) -> None:
        self._url = url
        self._authority = authority
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=self._authority)
        # Python asks since 3.13 for key identifiers, which a cluster's own authority need not have.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._session = aiohttp.ClientSession(
            # No limit: each watch holds a connection for minutes.
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=64 * 1024,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        token: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the JSON object that came back.

        Raises:
            Refused: the API server answered with an error.
            Unreachable: it did not answer within the time limit, or with something else than JSON.
        """
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            async with self._open.request(
                method,
                self._url + path,
                params=query,
                data=None if body is None else json.dumps(body).encode(),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as answer:
                content = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error
        return _document(status, content)

    async def watch(
        self, token: str, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch, until the API server ends it in good order.

        Raises:
            Refused: the watch is not allowed.
            Expired: the resourceVersion is too old.
            Unreachable: no connection, or it broke.
        """
        parameters = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        try:
            async with self._open.get(
                self._url + path,
                params=parameters,
                headers={"Accept": "application/json", "Authorization": f"Bearer {token}"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_QUIET_SECONDS
                ),
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    _document(answer.status, await answer.read())
                async for line in _lines(answer.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        _raise_watch_error(event["object"])
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            raise _unreachable(error) from error

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the API server's client is used before it was opened")
        return self._session


def sessions_path(namespace: str | None, name: str | None = None) -> str:
    """The path of a namespace's sessions, of one of them, or of all. Names were checked before."""
    if namespace is None:
        return f"/apis/{API_VERSION}/spawnsessions"
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/spawnsessions"
    return path if name is None else f"{path}/{name}"


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines, however long: `readline` of aiohttp refuses long ones."""
    held = bytearray()
    async for chunk in content.iter_any():
        held += chunk
        if len(held) > _LONGEST_LINE and b"\n" not in held:
            raise ValueError(f"the API server sent a line of more than {_LONGEST_LINE} bytes")
        *whole, rest = held.split(b"\n")
        for line in whole:
            if line:
                yield bytes(line)
        held = bytearray(rest)


def _document(status: int, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if status >= HTTPStatus.BAD_REQUEST:
        raise Refused(status, document if isinstance(document, dict) else {})
    if not isinstance(document, dict):
        raise Unreachable("the API server answered with something that is not a JSON object")
    return document


def _raise_watch_error(document: Any) -> None:
    status = document if isinstance(document, dict) else {}
    code = int(status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR)
    if code == HTTPStatus.GONE:
        raise Expired
    raise Refused(code, status)


def _unreachable(error: BaseException) -> Unreachable:
    if isinstance(error, asyncio.TimeoutError):
        return Unreachable("the API server gave no answer in time")
    return Unreachable(f"the API server cannot be reached ({type(error).__name__})")
