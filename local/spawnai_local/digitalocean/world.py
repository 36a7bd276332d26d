"""What every kind of resource shares: time, chance, delays, limits, and the history of it all."""

import random
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from spawnai_local.digitalocean.clock import Clock
from spawnai_local.digitalocean.settings import Delay, Delays, Limits
from spawnai_local.digitalocean.timeline import Timeline

HISTORY_LENGTH = 500_000
"""Changes remembered: those of 10,000 sessions several times over, in less than 200 MB."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that became different at a moment, in the order it happened."""

    number: int
    at: float
    what: str
    """The kind of resource and what happened to it, such as `droplet created`."""
    id: str
    details: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the change as the control API shows it."""
        return {
            "number": self.number,
            "at": self.at,
            "what": self.what,
            "id": self.id,
            **self.details,
        }


@dataclass(slots=True)
class World:
    """The circumstances that all kinds of resources live in. The same seed gives the same ids."""

    clock: Clock
    timeline: Timeline
    randomness: random.Random
    delays: Delays
    limits: Limits
    history: deque[Change] = field(default_factory=lambda: deque(maxlen=HISTORY_LENGTH))
    _changes: int = 0
    _last_number: dict[str, int] = field(default_factory=dict)

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.clock.now()

    def draw(self, delay: Delay) -> float:
        """Return the seconds that a delay takes this time."""
        return delay.draw(self.randomness)

    def number(self, kind: str, first: int) -> int:
        """Return a new id of a kind, greater than all before it and not the next one."""
        number = self._last_number.get(kind, first) + self.randomness.randint(1, 9)
        self._last_number[kind] = number
        return number

    def uuid(self) -> str:
        """Return a new random UUID."""
        return str(uuid.UUID(int=self.randomness.getrandbits(128), version=4))

    def record(self, what: str, identifier: int | str, **details: Any) -> None:
        """Remember that something changed."""
        self._changes += 1
        self.history.append(Change(self._changes, self.now(), what, str(identifier), details))
