"""Every call that was made: how often, for which session, how it ended and how long it took."""

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from spawnai_local.digitalocean.clock import timestamp

LOG_LENGTH = 200_000
"""Calls remembered one by one."""
SAMPLE_LENGTH = 20_000
"""Answer times remembered for each endpoint."""
MINUTES_SHOWN = 240
NO_ROUTE = "(no such path)"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Moments are seconds since the epoch on the emulator's clock."""

    number: int
    request_id: str
    endpoint: str
    path: str
    session: str | None
    status: int | None
    """None: the connection was closed without an answer."""
    received_at: float
    answered_at: float
    server_seconds: float
    """The emulator's own work; what a fault or a delay made it wait is not in it."""
    fault: str | None

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
            "answered_at": self.answered_at,
            "server_seconds": self.server_seconds,
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
        self._refused = 0
        self._by_endpoint: dict[str, EndpointCalls] = {}
        self._by_session: dict[str, Counter[str]] = {}
        self._by_minute: Counter[int] = Counter()
        self._log: deque[Call] = deque(maxlen=LOG_LENGTH)

    def next_number(self) -> int:
        """Return the number of a call that begins."""
        self._last_number += 1
        return self._last_number

    def add(self, call: Call) -> None:
        """Count a call that has ended."""
        self._total += 1
        status = str(call.status) if call.status is not None else "no answer"
        if call.status == 429:  # noqa: PLR2004 - Too Many Requests
            self._refused += 1
        endpoint = self._by_endpoint.setdefault(call.endpoint, EndpointCalls())
        endpoint.count += 1
        endpoint.statuses[status] += 1
        endpoint.server_seconds.append(call.server_seconds)
        if call.session is not None:
            self._by_session.setdefault(call.session, Counter())[call.endpoint] += 1
        self._by_minute[int(call.received_at // 60)] += 1
        self._log.append(call)

    def document(self) -> dict[str, Any]:
        """Return all counters."""
        seconds = [one for each in self._by_endpoint.values() for one in each.server_seconds]
        return {
            "total": self._total,
            "rate_limited": self._refused,
            "by_endpoint": {
                name: self._by_endpoint[name].document() for name in sorted(self._by_endpoint)
            },
            "by_session": {
                session: {"total": counts.total(), "by_endpoint": dict(sorted(counts.items()))}
                for session, counts in self._by_session.items()
            },
            "per_minute": {
                timestamp(minute * 60): self._by_minute[minute]
                for minute in sorted(self._by_minute)[-MINUTES_SHOWN:]
            },
            "server_seconds": spread(seconds),
        }

    def log(self, after: int = 0) -> list[Call]:
        """Return the calls with a number greater than `after` in the order they ended."""
        return [call for call in self._log if call.number > after]
