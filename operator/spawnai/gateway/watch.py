"""Keeps the routes as the API server's SpawnSessions are: a listing, then a watch, for ever."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from kubernetes.aio import client
from kubernetes.aio.watch import Watch

from spawnai.api.names import GROUP, VERSION
from spawnai.clock import Clock

from .routes import Routes

_LOGGER = logging.getLogger(__name__)

PAGE_SIZE = 500
WATCH_SECONDS = 300
"""After which the API server ends a watch in good order; a dead connection is noticed by then."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
_PLURAL = "spawnsessions"
_GONE = 410


class SessionWatch:
    """Feeds the routes. While the API server is away the routes stay as they were."""

    def __init__(
        self,
        api: client.ApiClient,
        routes: Routes,
        clock: Clock,
        *,
        serves: Callable[[dict[str, Any]], bool] = lambda _session: True,
    ) -> None:
        self._objects = client.CustomObjectsApi(api)
        self._routes = routes
        self._clock = clock
        self._serves = serves
        self.synced = asyncio.Event()
        """Set once a whole listing was seen: before it nobody knows what is not there."""

    async def run(self) -> None:
        """Until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        version: str | None = None
        while True:
            try:
                if version is None:
                    version = await self._list()
                    self.synced.set()
                    pause = FIRST_PAUSE_SECONDS
                version = await self._follow(version)
                pause = FIRST_PAUSE_SECONDS
            except client.ApiException as error:
                if error.status == _GONE:
                    version = None
                    continue
                _LOGGER.warning("The API server answers %s: %s", error.status, error.reason)
            except Exception as error:  # noqa: BLE001 - a watch that ends by itself tells nobody
                _LOGGER.warning("The API server gave no answer (%s)", type(error).__name__)
            else:
                continue
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _list(self) -> str:
        seen: set[str] = set()
        position: str | None = None
        while True:
            page: Any = await self._objects.list_cluster_custom_object(
                GROUP, VERSION, _PLURAL, limit=PAGE_SIZE, _continue=position
            )
            for session in page["items"]:
                seen.add(str(session["metadata"]["uid"]))
                self._put(session)
            position = page["metadata"].get("continue") or None
            if position is None:
                self._routes.keep_only(seen)
                return str(page["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> str:
        """The version up to which all was seen when the watch ended."""
        watch: Any = Watch()  # type: ignore[no-untyped-call]
        async with watch.stream(
            self._objects.list_cluster_custom_object,
            GROUP,
            VERSION,
            _PLURAL,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=WATCH_SECONDS,
            _request_timeout=WATCH_SECONDS + 30,
        ) as events:
            async for event in events:
                document = event["raw_object"]
                version = str(document["metadata"]["resourceVersion"])
                if event["type"] == "DELETED":
                    self._routes.remove(str(document["metadata"]["uid"]))
                elif event["type"] in ("ADDED", "MODIFIED"):
                    self._put(document)
        return version

    def _put(self, session: dict[str, Any]) -> None:
        if self._serves(session):
            self._routes.put(session)
        else:
            self._routes.remove(str(session["metadata"]["uid"]))
