"""The operator's inner door, as the console reaches it: with the caller's token, which the
operator has reviewed.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from spawnai.clock import Clock

from .api_server import ApiServer, Refused, Unreachable
from .caller import Caller
from .errors import RETRY_SECONDS, Problem

_CONFIG_MAP = "spawnai-operator"
_BELIEVED_SECONDS = 30.0
_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 10.0
AWAY = "OperatorAway"


class OperatorAway(Problem):
    """The operator does not answer: it is starting, or it is not installed."""

    def __init__(self, why: str) -> None:
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            AWAY,
            f"the operator does not answer ({why})",
            retry_after=RETRY_SECONDS,
        )


@dataclass(frozen=True, slots=True)
class _Place:
    url: str
    server_name: str
    context: ssl.SSLContext
    found_at: float


class OperatorDoor:
    """Calls to the leader's inner door.

    Args:
        api: where the door's place is read.
        clock: how long that is believed.
        namespace: the operator's own.
    """

    def __init__(self, api: ApiServer, clock: Clock, namespace: str) -> None:
        self._api = api
        self._clock = clock
        self._namespace = namespace
        self._place: _Place | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
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

    @asynccontextmanager
    async def open(
        self, caller: Caller, path: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The content of an answer, as it comes.

        Raises:
            Problem: the operator refused, with its sentence, or does not answer.
        """
        place = await self._find(caller)
        if self._session is None:
            raise RuntimeError("the operator's door is used before it was opened")
        try:
            async with self._session.get(
                place.url + path,
                params=query,
                ssl=place.context,
                server_hostname=place.server_name,
                headers={"Authorization": f"Bearer {caller.token}"},
                allow_redirects=False,
                # A log may be quiet for hours.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise _refusal(answer.status, await answer.read())
                yield answer.content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Another process may lead by now, elsewhere and with another certificate.
            self._place = None
            raise OperatorAway(type(error).__name__) from error

    async def read(
        self, caller: Caller, path: str, query: Mapping[str, str] | None = None
    ) -> bytes:
        """The whole of an answer.

        Raises:
            Problem: the operator refused, or does not answer in time.
        """
        try:
            async with asyncio.timeout(_ANSWER_SECONDS), self.open(caller, path, query) as content:
                return await content.read()
        except TimeoutError as error:
            raise OperatorAway("no answer in time") from error

    async def _find(self, caller: Caller) -> _Place:
        """Where the leader says that its door is. Everyone who is signed in may read that."""
        now = self._clock.now()
        if self._place is not None and now - self._place.found_at < _BELIEVED_SECONDS:
            return self._place
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/{_CONFIG_MAP}"
        try:
            found = await self._api.call(caller.token, "GET", path)
            data = found["data"]
            place = _Place(
                url=f"https://{data['address']}",
                server_name=data["serverName"],
                context=_trusting(data["ca.crt"]),
                found_at=now,
            )
        except Refused as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise
            raise OperatorAway("it has not told where it is") from error
        except (KeyError, TypeError, ssl.SSLError) as error:
            raise OperatorAway("it has not told where it is") from error
        except Unreachable as error:
            raise OperatorAway(str(error)) from error
        self._place = place
        return place


def _trusting(certificate: str) -> ssl.SSLContext:
    """A context that believes that certificate and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    return context


def _refusal(status: int, content: bytes) -> Problem:
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the operator answered with {status}"
    if status not in _PASSED_ON:
        status = HTTPStatus.BAD_GATEWAY
    retry = RETRY_SECONDS if status in _TRY_AGAIN else None
    phrase = HTTPStatus(status).phrase.title().replace(" ", "")
    return Problem(status, phrase, message, retry_after=retry)


_PASSED_ON = frozenset({400, 401, 403, 404, 429, 503})
_TRY_AGAIN = frozenset({429, 503})


def json_of(content: bytes) -> Any:
    """A JSON answer of the operator.

    Raises:
        Problem: it is none.
    """
    try:
        return json.loads(content)
    except ValueError as error:
        raise Problem(
            HTTPStatus.BAD_GATEWAY, "BadGateway", "the operator's answer is not JSON"
        ) from error
