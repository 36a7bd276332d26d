"""The emulator's control API as the benchmarks use it: its log of calls, its limits and delays."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

_SECONDS = 60.0
READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the emulator saw it; moments are epoch seconds of this machine's clock."""

    number: int
    endpoint: str
    path: str
    session: str | None
    status: int | None
    received_at: float
    answered_at: float
    server_seconds: float

    @property
    def is_write(self) -> bool:
        """Whether it may change anything."""
        return self.endpoint.partition(" ")[0] not in READS


class EmulatorControl:
    """Speaks to one emulator: below /_local/ for all, and as a client of the API with a token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {token}"}
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(limit=8),
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
            headers=self._headers,
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

    async def last_number(self) -> int:
        """The number of the newest call; those that follow are found with `calls`."""
        document = await self.call("GET", "/_local/calls?sessions=false")
        return int(document["last_number"])

    async def calls(self, after: int = 0) -> list[Call]:
        """All calls with a higher number."""
        document = await self.call("GET", f"/_local/calls/log?after={after}")
        return [
            Call(
                number=one["number"],
                endpoint=one["endpoint"],
                path=one["path"],
                session=one["session"],
                status=one["status"],
                received_at=one["received_at"],
                answered_at=one["ended_at"] or one["received_at"],
                server_seconds=one["server_seconds"],
            )
            for one in document["calls"]
        ]

    async def set_limits(self, **limits: int | bool) -> None:
        """Change the account's limits, and forget what was counted so far."""
        await self.call("PUT", "/_local/limits", limits)
        await self.call("POST", "/_local/limits/reset", {})

    async def set_delays(self, **delays: float) -> None:
        """Change how long things take, in seconds."""
        await self.call("PUT", "/_local/delays", delays)

    async def droplets(self) -> list[dict[str, Any]]:
        """Every droplet as the control API shows it."""
        found: list[dict[str, Any]] = (await self.call("GET", "/_local/state"))["droplets"]
        return found

    async def call(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        """One call to the API or the control API; raises what is no success."""
        if self._http is None:
            raise RuntimeError("the client is used within `async with`")
        async with self._http.request(method, path, json=document) as answer:
            answer.raise_for_status()
            if answer.status == 204:  # noqa: PLR2004 - no content
                return {}
            found: dict[str, Any] = await answer.json()
            return found


def count_by_endpoint(calls: Iterable[Call]) -> Counter[str]:
    """How many calls each endpoint had."""
    return Counter(call.endpoint for call in calls)
