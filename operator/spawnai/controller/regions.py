"""What this process knows of regions: how many droplets of a class are in each, and which of them
had no capacity just now.

One session's refusal spares all others of its class the same try. A restart forgets it.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from spawnai.api.record import Presence, ResourceKind
from spawnai.clock import Clock
from spawnai.lifecycle.observation import Failure
from spawnai.lifecycle.placing import CAPACITY_PAUSE

from .store import Store

COUNTED_FOR_SECONDS = 1.0
"""How long a count of all ledgers is good for: hundreds of sessions may begin in a second."""

Place = tuple[str, str]
"""A region and a size; either may be `ANY`."""


class Regions:
    """Counts and refusals by class."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._refused: dict[str, dict[Place, Failure]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._counted_at = float("-inf")

    def refuse(self, class_name: str, place: Place, failure: Failure) -> None:
        """A region had no capacity for a size."""
        self._refused.setdefault(class_name, {})[place] = failure

    def refused(self, class_name: str) -> dict[Place, Failure]:
        """Where it need not be tried now, and why."""
        known = self._refused.get(class_name)
        if not known:
            return {}
        now = self._clock.utc_now()
        fresh = {at: one for at, one in known.items() if one.at + CAPACITY_PAUSE > now}
        self._refused[class_name] = fresh
        return dict(fresh)

    def load(self, class_name: str) -> Mapping[str, int]:
        """How many droplets of a class are in each region, as their ledgers say."""
        if self._clock.now() > self._counted_at + COUNTED_FOR_SECONDS:
            self._count()
        return self._counts.get(class_name, Counter())

    def move_dates(self, step: timedelta) -> None:
        """The clock was set by `step`: what is remembered here keeps its age."""
        self._refused = {
            name: {at: failure.moved(step) for at, failure in known.items()}
            for name, known in self._refused.items()
        }

    def _count(self) -> None:
        self._counts = {}
        self._counted_at = self._clock.now()
        for record in self._store.records():
            if record.status.completed_at is not None or record.spec.class_name is None:
                continue
            counts = self._counts.setdefault(record.spec.class_name, Counter())
            for line in record.status.resources:
                is_droplet = line.kind is ResourceKind.DROPLET
                if is_droplet and line.presence is not Presence.GONE and line.region is not None:
                    counts[line.region] += 1
