"""Every call that came, and what it was billed: the truth that a client's own count is held to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Bill:
    """Calls and tokens, by price."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0

    def __add__(self, other: "Bill") -> "Bill":
        return Bill(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
            self.cache_creation_input_tokens + other.cache_creation_input_tokens,
        )

    def document(self) -> dict[str, int]:
        """The bill as JSON, with the Messages API's own names."""
        return {
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_input_tokens": self.cache_read_input_tokens,
            "cache_creation_input_tokens": self.cache_creation_input_tokens,
        }


@dataclass(slots=True)
class Call:
    """One POST /v1/messages.

    `session` is the request's metadata.user_id, "" without one. `outcome` is "running" until the
    call ends, then "complete", "cut by the client", "cut" or the type of the error it got.
    """

    number: int
    session: str
    model: str
    app_type: str
    repair: bool
    streamed: bool
    at: datetime
    faults: list[str] = field(default_factory=list)
    status: int = 200
    outcome: str = "running"
    stop_reason: str | None = None
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0

    def bill(self) -> Bill:
        """What this call costs."""
        return Bill(
            1,
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        )

    def document(self) -> dict[str, Any]:
        """The call as JSON."""
        return {
            "number": self.number,
            "at": self.at.isoformat(),
            "session": self.session,
            "model": self.model,
            "app_type": self.app_type,
            "repair": self.repair,
            "streamed": self.streamed,
            "faults": self.faults,
            "status": self.status,
            "outcome": self.outcome,
            "stop_reason": self.stop_reason,
            "seconds": round(self.seconds, 3),
            **self.bill().document(),
        }


class Ledger:
    """All calls since the start or the last reset."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Note a call; it is changed until it ends."""
        self._calls.append(call)

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()

    def calls(self, session: str | None = None) -> list[Call]:
        """The calls of one session, or all."""
        return [call for call in self._calls if session is None or call.session == session]

    def bill(self, session: str | None = None) -> Bill:
        """What one session has to pay, or all."""
        return sum((call.bill() for call in self.calls(session)), Bill())

    def document(self) -> dict[str, Any]:
        """The bill in all, by session and by model."""
        return {
            **self.bill().document(),
            "sessions": self._grouped(lambda call: call.session),
            "models": self._grouped(lambda call: call.model),
        }

    def _grouped(self, key: Callable[[Call], str]) -> dict[str, dict[str, int]]:
        bills: dict[str, Bill] = {}
        for call in self._calls:
            bills[key(call)] = bills.get(key(call), Bill()) + call.bill()
        return {name: bill.document() for name, bill in sorted(bills.items())}
