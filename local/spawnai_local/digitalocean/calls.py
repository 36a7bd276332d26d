"""Every call that was made: how often, for which session, how it ended and how long it took."""

import math
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from spawnai_local.digitalocean.clock import timestamp

LOG_LENGTH = 200_000
"""Calls remembered one by one."""
SAMPLE_LENGTH = 20_000
"""Answer times remembered for each endpoint."""
MINUTES_SHOWN = 240
NO_ROUTE = "(no such path)"


@dataclass(slots=True)
class Call:
    """One call. Moments are seconds since the epoch on the emulator's clock."""

    number: int
    request_id: str
    path: str
    received_at: float
    endpoint: str = NO_ROUTE
    session: str | None = None
    fault: str | None = None
    status: int | None = None
    """None: not answered yet, or the connection was closed without an answer."""
    ended_at: float | None = None
    """When the answer left or the connection was closed; None: it is still held."""
    server_seconds: float = 0.0
    """The emulator's own work; what a fault or a delay made it wait is not in it."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the time spent within as the server's own work."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.server_seconds += time.perf_counter() - started

    def document(self) -> dict[str, Any]:
        """Return the call as the control API shows it."""
        return {
            "number": self.number,
            "request_id": self.request_id,
            "endpoint": self.endpoint,
            "path": self.path,
            "session": self.session,
            "status": self.status,
            "received_at": self.received_at,
            "ended_at": self.ended_at,
            "server_seconds": round(self.server_seconds, 6),
            "fault": self.fault,
        }


@dataclass(slots=True)
class EndpointCalls:
    """The calls of one endpoint."""

    count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    server_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLE_LENGTH))

    def document(self) -> dict[str, Any]:
        """Return count, statuses and answer times."""
        return {
            "count": self.count,
            "statuses": dict(sorted(self.statuses.items())),
            "server_seconds": spread(list(self.server_seconds)),
        }


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the most of some times, in seconds."""
    if not seconds:
        return {}
    ordered = sorted(seconds)

    def quantile(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 6)

    return {
        "n": len(ordered),
        "median": quantile(0.5),
        "p99": quantile(0.99),
        "most": quantile(1.0),
    }


class Calls:
    """The counters. They begin anew with `reset`."""

    def __init__(self) -> None:
        self._last_number = 0
        self.reset()

    def reset(self) -> None:
        """Forget all calls; their numbers go on."""
        self._total = 0
        self._held = 0
        self._refused = 0
        self._by_endpoint: dict[str, EndpointCalls] = {}
        self._by_session: dict[str, Counter[str]] = {}
        self._by_minute: Counter[int] = Counter()
        self._log: deque[Call] = deque(maxlen=LOG_LENGTH)

    def arrive(self, path: str, now: float) -> Call:
        """Return a new call, not counted yet: nothing is known of it but its path."""
        self._last_number += 1
        number = self._last_number
        return Call(number, str(uuid.UUID(int=number)), path, now)

    def count(self, call: Call) -> None:
        """Count a call of which endpoint, session and fault are known; `end` counts how it went."""
        self._total += 1
        self._held += 1
        self._by_endpoint.setdefault(call.endpoint, EndpointCalls()).count += 1
        if call.session is not None:
            self._by_session.setdefault(call.session, Counter())[call.endpoint] += 1
        self._by_minute[int(call.received_at // 60)] += 1
        self._log.append(call)

    def end(self, call: Call, status: int | None, now: float) -> None:
        """Count how a call ended; status None: without an answer."""
        call.status, call.ended_at = status, now
        # The counters may have been set to zero while the call was held.
        self._held = max(0, self._held - 1)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._refused += 1
        endpoint = self._by_endpoint.setdefault(call.endpoint, EndpointCalls())
        endpoint.statuses["no answer" if status is None else str(status)] += 1
        endpoint.server_seconds.append(call.server_seconds)

    def document(self, *, sessions: bool = True) -> dict[str, Any]:
        """Return all counters, those of each session only if wanted."""
        seconds = [one for each in self._by_endpoint.values() for one in each.server_seconds]
        return {
            "total": self._total,
            "last_number": self._last_number,
            "held": self._held,
            "rate_limited": self._refused,
            "by_endpoint": {
                name: self._by_endpoint[name].document() for name in sorted(self._by_endpoint)
            },
            "by_session": {
                session: {"total": counts.total(), "by_endpoint": dict(sorted(counts.items()))}
                for session, counts in self._by_session.items()
                if sessions
            },
            "per_minute": {
                timestamp(minute * 60): self._by_minute[minute]
                for minute in sorted(self._by_minute)[-MINUTES_SHOWN:]
            },
            "server_seconds": spread(seconds),
        }

    def log(self, after: int = 0) -> list[Call]:
        """Return the calls with a number greater than `after` in the order they arrived."""
        return [call for call in self._log if call.number > after]
