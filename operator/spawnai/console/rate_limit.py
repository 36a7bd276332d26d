"""How many requests one caller may send: a token bucket for each, the oldest forgotten first."""

from collections import OrderedDict
from dataclasses import dataclass

from spawnai.clock import Clock

_MOST_CALLERS = 10_000
"""A flood of invented tokens must not fill the memory. A forgotten caller starts anew."""

_ROUNDING = 1e-9


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class RateLimit:
    """Allows `per_minute` requests a minute on average, and a quarter of that at once.

    Args:
        per_minute: the rate.
        clock: its monotonic time refills the buckets.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_second = per_minute / 60
        self._burst = max(1.0, per_minute / 4)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str) -> float | None:
        """Count a request. None: it may pass; else the seconds after which one would."""
        now = self._clock.now()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._burst, now)
            if len(self._buckets) > _MOST_CALLERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(caller)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_second)
        bucket.at = now
        if bucket.left >= 1 - _ROUNDING:
            bucket.left -= 1
            return None
        return (1 - bucket.left) / self._per_second
