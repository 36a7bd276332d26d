"""How an operator's calls to DigitalOcean wait for their turn, and leave or do not.

The client and the rate budget are the product's own; the model of the cloud stands in place of the
network. Most stories have calls in plenty: theirs never wait.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from spawnai.digitalocean.budget import Priority, RateBudget, Slot
from spawnai.digitalocean.client import ApiClient, Call, Departure
from spawnai.digitalocean.errors import DigitalOceanError

from .loop import BEGIN, Process
from .story import Crowd, Story

METHODS = {
    "create": "POST",
    "ensure_tag": "POST",
    "update": "PUT",
    "delete": "DELETE",
    "act": "POST",
    "rename": "POST",
    "tag": "POST",
    "untag": "DELETE",
}
"""The method of each call of the model that changes something."""


class NoTime:
    """A clock that nobody looks at."""

    def now(self) -> float:
        return 0.0


class Plenty:
    """A rate budget that never runs low; the budget has tests of its own."""

    clock = NoTime()
    remaining = 5_000
    remaining_in_minute = 250
    hour_share = 1.0
    minute_share = 1.0
    is_crowded = False
    is_crowd_ahead = False

    def proof_pause(self, _calls: int) -> float:
        return 0.0

    @asynccontextmanager
    async def slot(self, priority: Priority) -> AsyncIterator[Slot]:
        yield Slot(priority, 0.0)

    def observe(self, _headers: Mapping[str, str], _status: int, _slot: Slot) -> None:
        pass


def budget_of(process: Process, story: Story) -> RateBudget | Plenty:
    """The budget of an operator: now and then a crowd of deletions comes before all else."""
    crowds = [(BEGIN + crowd.at, BEGIN + crowd.at + crowd.seconds) for crowd in story.of(Crowd)]
    if not crowds:
        return Plenty()

    def deletions_due() -> int:
        now = process.now()
        return 10_000 if any(begin <= now < end for begin, end in crowds) else 0

    return RateBudget(process, deletions_due=deletions_due)


@dataclass(frozen=True, slots=True)
class ModelCall(Call):
    """A call of the model, which brings along what carries it out."""

    carry_out: Callable[[], Awaitable[Any]] | None = None


class SimulatedClient(ApiClient):
    """The product's client, with the cloud's model behind it."""

    def __init__(self, budget: RateBudget | Plenty, before_change: Callable[[], None]) -> None:
        super().__init__("test-token", "http://127.0.0.1", budget, before_change=before_change)

    async def _exchange(self, call: ModelCall, _read: object, slot: Slot, departure: Departure):
        assert call.carry_out is not None
        departure.leave()
        try:
            answer = await call.carry_out()
        except DigitalOceanError as error:
            answer = error
        self.budget.observe({}, 200, slot)
        return answer


class InTurn:
    """A part of the cloud's model as one operator reaches it: each call waits for its turn."""

    def __init__(self, part: object, client: SimulatedClient) -> None:
        self._part = part
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._part, name)

        async def called(*arguments: Any, priority: Priority | Slot) -> Any:
            call = ModelCall(
                METHODS.get(name, "GET"),
                name,
                carry_out=lambda: method(*arguments, priority=priority),
            )
            return await self._client.call(call, lambda *_: None, priority=priority)

        return called
