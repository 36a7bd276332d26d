"""The door itself: a small HTTPS server that answers for the leader alone."""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from aiohttp import web

from spawnai.admission.budgets import Payer
from spawnai.api.history import Search
from spawnai.api.session import SessionStatus
from spawnai.clock import Clock
from spawnai.controller.actions.bundles import Bundles
from spawnai.controller.admission import Admission
from spawnai.controller.classes.controller import ClassController
from spawnai.controller.cluster import Cluster, ClusterError, ObjectNotFound
from spawnai.controller.failures import SessionFailed
from spawnai.controller.memory import Memories, Memory
from spawnai.controller.store import Store
from spawnai.generation.claude import GenerationProgress
from spawnai.lifecycle.observation import Session
from spawnai.telemetry.redaction import Redactor

from .certificate import HOST_NAME, make_certificate
from .history import history_document
from .log import AppLogs
from .offers import amounts_of, offer_document
from .reviews import Access, Denied, Reviews
from .source import listing_of, version_of, zip_of

_LOGGER = logging.getLogger(__name__)

CONFIG_MAP = "spawnai-operator"
"""Where everyone who is signed in finds the door: its address and its certificate."""

_MOST_STREAMS = 200
_MOST_STREAMS_OF_ONE = 10
_WRITE_SECONDS = 30.0
"""A reader that takes nothing for so long is let go."""
_ANNOUNCE_AGAIN_SECONDS = 15.0
_GENERATION_LOOK_SECONDS = 0.3

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Answers callers whom the API server knows. Started by the leader, ended with it.

    Args:
        cluster: for the reviews, and for the ConfigMap that tells where the door is.
        namespace: the operator's own.
        address: where it is reached, as host:port.
        host: where it listens.
        port: its port.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        memories: Memories,
        classes: ClassController,
        admission: Admission,
        bundles: Bundles,
        logs: AppLogs,
        redactor: Redactor,
        clock: Clock,
        namespace: str,
        address: str,
        host: str,
        port: int,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._memories = memories
        self._classes = classes
        self._admission = admission
        self._bundles = bundles
        self._logs = logs
        self._redactor = redactor
        self._clock = clock
        self._namespace = namespace
        self._address = address
        self._host = host
        self._port = port
        self._reviews = Reviews(cluster, clock)
        self._streams: Counter[str] = Counter()

    async def run(self) -> None:
        """Listen, tell where, and answer until cancelled. A door that fails ends nothing else."""
        certificate = make_certificate(self._clock.utc_now())
        application = web.Application(middlewares=[self._guarded], client_max_size=1024)
        session = "/v1/namespaces/{namespace}/sessions/{name}"
        application.add_routes(
            [
                web.get(f"{session}/log", self._log),
                web.get(f"{session}/source", self._source),
                web.get(f"{session}/versions", self._versions),
                web.get(f"{session}/files", self._files),
                web.get(f"{session}/screenshot", self._screenshot),
                web.get(f"{session}/generation", self._generation),
                web.get(f"{session}/receipt", self._receipt),
                web.get("/v1/namespaces/{namespace}/offer", self._offer),
                web.get("/v1/namespaces/{namespace}/history", self._history),
                web.get("/v1/history", self._history),
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port, ssl_context=certificate.context)
            try:
                await site.start()
            except OSError as error:
                _LOGGER.error(  # noqa: TRY400 - the sentence says all
                    "The inner door cannot listen at %s:%d (%s): logs and source stay closed; "
                    "free the port, or set SPAWNAI_DOOR_ADDRESS",
                    self._host,
                    self._port,
                    error.strerror,
                )
                await asyncio.Event().wait()
            await self._announce(certificate.pem)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _announce(self, certificate: str) -> None:
        data = {"address": self._address, "serverName": HOST_NAME, "ca.crt": certificate}
        while True:
            try:
                await self._cluster.put_config_map(self._namespace, CONFIG_MAP, data)
            except ClusterError as error:
                _LOGGER.warning("The inner door is not announced yet: %s", error)
                await self._clock.sleep(_ANNOUNCE_AGAIN_SECONDS)
            else:
                return

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Denied as error:
            return _problem(error.status, str(error))
        except ClusterError as error:
            _LOGGER.warning("The inner door could not answer: %s", error)
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "the API server does not answer")

    # What a caller asks for. Each handler asks for the right first.

    async def _log(self, request: web.Request) -> web.StreamResponse:
        user, session = await self._session(request, subresource="log")
        follow = request.query.get("follow") == "true"
        with _Stream(self._streams, user):
            response = await self._begin(request, "text/plain; charset=utf-8")
            async with aclosing(self._logs.lines(session, follow=follow)) as log:
                async for lines in log:
                    if is_gone(request):
                        return response
                    if lines:
                        text = self._redactor.redact("\n".join(lines))
                        await self._write(response, f"{text}\n".encode())
            await response.write_eof()
        return response

    async def _generation(self, request: web.Request) -> web.StreamResponse:
        """The files of the app as Claude writes them: a JSON object a line, when it changes."""
        user, session = await self._session(request)
        memory = self._memories.get(session.uid) or Memory()
        with _Stream(self._streams, user):
            response = await self._begin(request, "application/x-ndjson")
            told = b""
            while not is_gone(request):
                current = self._store.session(session.uid)
                line = json.dumps(self._progress(memory.generation)).encode() + b"\n"
                if line != told:
                    told = line
                    await self._write(response, line)
                if current is None or _is_made(current.status):
                    break
                await self._clock.sleep(_GENERATION_LOOK_SECONDS)
            await response.write_eof()
        return response

    def _progress(self, generation: GenerationProgress | None) -> dict[str, object]:
        if generation is None:
            return {"fraction": 0.0, "files": [], "repairs": 0, "problem": ""}
        return {
            "fraction": round(generation.fraction, 3),
            "files": [{"path": path, "bytes": size} for path, size in generation.files],
            "repairs": generation.repairs,
            "problem": self._redactor.redact(generation.problem),
        }

    async def _source(self, request: web.Request) -> web.StreamResponse:
        _, session = await self._session(request, subresource="source")
        document = await self._document(session, request.query.get("version"))
        packed = await asyncio.to_thread(zip_of, session.name, document)
        return web.Response(body=packed, content_type="application/zip")

    async def _files(self, request: web.Request) -> web.StreamResponse:
        _, session = await self._session(request, subresource="source")
        return web.json_response(listing_of(await self._document(session)))

    async def _screenshot(self, request: web.Request) -> web.StreamResponse:
        _, session = await self._session(request)
        try:
            picture = await self._bundles.screenshot(session)
        except ObjectNotFound as error:
            raise Denied(HTTPStatus.NOT_FOUND, "there is no picture of the app") from error
        return web.Response(body=picture, content_type="image/png")

    async def _versions(self, request: web.Request) -> web.StreamResponse:
        """Every version of the app, the oldest first, with the prompt that asked for it."""
        _, session = await self._session(request, subresource="source")
        try:
            found = await self._bundles.versions(session)
        except SessionFailed as error:
            raise Denied(HTTPStatus.NOT_FOUND, str(error)) from error
        return web.json_response({"items": [version_of(one) for one in found]})

    async def _document(self, session: Session, version: str | None = None) -> Any:
        if version is not None and not _VERSION.fullmatch(version):
            raise Denied(HTTPStatus.NOT_FOUND, f"the app has no version {version[:10]!r}")
        try:
            if version is not None:
                return (await self._bundles.read(session, int(version))).document()
            return (await self._bundles.latest(session)).document()
        except ObjectNotFound as error:
            raise Denied(HTTPStatus.NOT_FOUND, "the app is not written yet") from error
        except SessionFailed as error:
            raise Denied(HTTPStatus.NOT_FOUND, str(error)) from error

    async def _receipt(self, request: web.Request) -> web.StreamResponse:
        """What was made for a session, when it was seen gone, and what it cost."""
        _, session = await self._session(request)
        record = self._store.record(session.uid)
        if record is None:
            raise Denied(HTTPStatus.NOT_FOUND, "there is no ledger for this session")
        memory = self._memories.get(session.uid)
        book = record.status if memory is None or memory.ledger is None else memory.ledger
        document = book.document()
        document.pop("log", None)
        return web.json_response(document)

    async def _offer(self, request: web.Request) -> web.StreamResponse:
        namespace = request.match_info["namespace"]
        await self._reviews.require(
            _token(request), Access("list", namespace), Access("create", namespace)
        )
        wanted = request.query.get("class")
        known = self._store.spawn_class(wanted) if wanted else self._store.default_class()
        if known is None or known.spec is None:
            raise Denied(HTTPStatus.NOT_FOUND, "no class serves this namespace")
        state = self._classes.state(known.name)
        account = state.account if state is not None else None
        prices = account.prices if account is not None else {}
        # Whom the cost of an order belongs to that names no user.
        payer = Payer(request.query.get("user") or namespace, namespace, known.name)
        amounts = amounts_of(known.name, known.uid, known.spec, prices)
        return web.json_response(
            offer_document(
                class_name=known.name,
                spec=known.spec,
                prices=prices,
                records=self._store.records(),
                sessions=self._store.sessions(),
                outlook=self._admission.outlook(payer, known.spec, amounts),
            )
        )

    async def _history(self, request: web.Request) -> web.StreamResponse:
        """Ended sessions of a namespace, or of all, from their ledgers: also of deleted ones."""
        namespace = request.match_info.get("namespace")
        await self._reviews.require(_token(request), Access("list", namespace))
        try:
            search = Search.of(request.query)
        except ValueError as error:
            raise Denied(HTTPStatus.BAD_REQUEST, str(error)) from error
        return web.json_response(history_document(self._store.records(), namespace, search))

    # What all of them share.

    async def _session(
        self, request: web.Request, *, subresource: str | None = None
    ) -> tuple[str, Session]:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        user = await self._reviews.require(
            _token(request), Access("get", namespace, name, subresource)
        )
        found = [
            one for one in self._store.sessions() if one.name == name and one.namespace == namespace
        ]
        if not found:
            raise Denied(HTTPStatus.NOT_FOUND, f'spawnsessions.spawn-ai.com "{name}" not found')
        return user, max(found, key=lambda one: one.created_at)

    async def _begin(self, request: web.Request, content_type: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        return response

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await response.write(data)
        except TimeoutError as error:
            raise ConnectionResetError("the reader takes nothing") from error


_VERSION = re.compile(r"[1-9][0-9]{0,3}")


class _Stream:
    """Counts a caller's open streams, and refuses one too many."""

    def __init__(self, streams: Counter[str], user: str) -> None:
        self._streams = streams
        self._user = user

    def __enter__(self) -> None:
        if (
            self._streams.total() >= _MOST_STREAMS
            or self._streams[self._user] >= _MOST_STREAMS_OF_ONE
        ):
            raise Denied(
                HTTPStatus.TOO_MANY_REQUESTS, "too many streams are open: close one of them"
            )
        self._streams[self._user] += 1

    def __exit__(self, *_: object) -> None:
        self._streams[self._user] -= 1
        if not self._streams[self._user]:
            del self._streams[self._user]


def is_gone(request: web.Request) -> bool:
    """Whether nobody reads the answer any more. A stream that is quiet has no other way to know."""
    return request.transport is None or request.transport.is_closing()


def _is_made(status: SessionStatus) -> bool:
    """Whether Claude has nothing more to write before the app is Ready."""
    return status.ready_at is not None or status.termination_reason is not None


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Denied(HTTPStatus.UNAUTHORIZED, "Unauthorized")
    return token


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
