"""The API server as the benchmarks use it: as the administrator, over kept connections."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from spawnai.api.names import API_VERSION

SESSIONS = "spawnsessions"
RECORDS = "spawnrecords"

_CONNECTIONS = 16
_SECONDS = 30.0
_LONGEST_LINE = 4 * 1024 * 1024
_MERGE_PATCH = "application/merge-patch+json"


class ClusterError(Exception):
    """The API server refused; the message is its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One event of a watch, and when it came (monotonic seconds)."""

    at: float
    type: str
    object: dict[str, Any]


class ClusterClient:
    """Calls with an administrator's kubeconfig, as the embedded control plane writes it."""

    def __init__(self, kubeconfig: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
        self._server: str = cluster["server"]
        self._tls = tls
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            self._server,
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
            read_bufsize=_LONGEST_LINE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(self, path: str) -> dict[str, Any]:
        """Read an object or a list."""
        return await self._call("GET", path)

    async def create(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in a collection."""
        return await self._call("POST", path, document)

    async def patch(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Merge-patch an object."""
        return await self._call("PATCH", path, document)

    async def delete(self, path: str) -> dict[str, Any]:
        """Delete an object."""
        return await self._call("DELETE", path)

    async def watch(self, path: str) -> AsyncIterator[Seen]:
        """The events of a watch, from everything there is on, until the caller has had enough."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._open.get(path, params={"watch": "1"}, timeout=timeout) as answer:
            if not answer.ok:
                raise ClusterError(f"watch {path}: {(await answer.text())[:1000]}")
            async for line in answer.content:
                event = json.loads(line)
                yield Seen(time.monotonic(), event["type"], event["object"])

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the client is used within `async with`")
        return self._http

    async def _call(
        self, method: str, path: str, document: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = None if document is None else json.dumps(document)
        headers = {"content-type": _MERGE_PATCH if method == "PATCH" else "application/json"}
        async with self._open.request(method, path, data=body, headers=headers) as answer:
            text = await answer.text()
            if not answer.ok:
                raise ClusterError(f"{method} {path}: {text[:1000]}")
            found: dict[str, Any] = json.loads(text)
            return found


def sessions_path(namespace: str, name: str = "", *, status: bool = False) -> str:
    """The path of a namespace's sessions, of one, or of its status."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/{SESSIONS}"
    return path + (f"/{name}" if name else "") + ("/status" if status else "")


def records_path(name: str = "", *, status: bool = False) -> str:
    """The path of all ledgers, of one, or of its status."""
    path = f"/apis/{API_VERSION}/{RECORDS}"
    return path + (f"/{name}" if name else "") + ("/status" if status else "")


class SessionFollower:
    """Follows a namespace's sessions: their newest state, and when each first came to a phase."""

    def __init__(self, cluster: ClusterClient, namespace: str) -> None:
        self.newest: dict[str, dict[str, Any]] = {}
        self.reached: dict[str, dict[str, float]] = {}
        self._cluster = cluster
        self._path = sessions_path(namespace)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(), name="follow sessions")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def until_all(self, phase: str, names: set[str], *, limit_seconds: float) -> None:
        """Wait until each of these sessions has come to a phase.

        Raises:
            TimeoutError: some have not; the message says how far they came.
        """
        deadline = time.monotonic() + limit_seconds
        while missing := [name for name in names if phase not in self.reached.get(name, {})]:
            if self._task is not None and self._task.done():
                self._task.result()
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._changed.wait()
            except TimeoutError:
                states = {
                    (status.get("phase"), status.get("message"))
                    for name in missing
                    if (status := self.newest.get(name, {}).get("status", {})) is not None
                }
                raise TimeoutError(
                    f"{len(missing)} of {len(names)} sessions were not {phase} within "
                    f"{limit_seconds:.0f} s; they are: {sorted(map(str, states))[:5]}"
                ) from None

    async def _follow(self) -> None:
        """The API server ends a watch that cannot keep up, or is old; it is then opened again."""
        while True:
            async for seen in self._cluster.watch(self._path):
                self.take(seen)
                self._changed.set()

    def take(self, seen: Seen) -> None:
        """A session was seen in its newest state."""
        name = seen.object["metadata"]["name"]
        phase = seen.object.get("status", {}).get("phase")
        self.newest[name] = seen.object
        if phase is not None:
            self.reached.setdefault(name, {}).setdefault(phase, seen.at)
