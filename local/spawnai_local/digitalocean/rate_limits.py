"""How many requests a token may still make: 5,000 in an hour, 250 of them in a minute.

Both windows slide. DigitalOcean tells the hour's state in `ratelimit-*` headers with every answer
(`ratelimit-reset` is when the oldest counted request leaves the hour), and `retry-after` only when
the minute's burst limit refused. A refused request is not counted.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.world import World

HOUR = 3600.0
MINUTE = 60.0


@dataclass(slots=True)
class Usage:
    """The moments of one token's requests within the last hour and the last minute."""

    hour: deque[float] = field(default_factory=deque)
    minute: deque[float] = field(default_factory=deque)

    def forget_before(self, now: float) -> None:
        """Drop what has left the windows."""
        while self.hour and self.hour[0] <= now - HOUR:
            self.hour.popleft()
        while self.minute and self.minute[0] <= now - MINUTE:
            self.minute.popleft()


class RateLimits:
    """The usage of each token."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._usage: dict[str, Usage] = {}

    def take(self, token: str) -> dict[str, str]:
        """Count a request and return the headers that tell the token's state.

        Raises:
            ApiError: 429, a limit is reached.
        """
        now, limits = self._world.now(), self._world.limits
        usage = self._usage.setdefault(token, Usage())
        usage.forget_before(now)
        if limits.rate_limited:
            if len(usage.minute) >= limits.requests_per_minute:
                oldest = usage.minute[0] if usage.minute else now
                wait = max(1, math.ceil(oldest + MINUTE - now))
                raise self._refusal(usage, {"retry-after": str(wait)})
            if len(usage.hour) >= limits.requests_per_hour:
                raise self._refusal(usage, {})
        usage.hour.append(now)
        usage.minute.append(now)
        return self._headers(usage)

    def spend(self, token: str, count: int) -> None:
        """Count requests that another program made with the same token."""
        now = self._world.now()
        usage = self._usage.setdefault(token, Usage())
        usage.forget_before(now)
        usage.hour.extend([now] * count)
        usage.minute.extend([now] * count)

    def reset(self) -> None:
        """Forget all requests."""
        self._usage.clear()

    def document(self) -> dict[str, int]:
        """Return how many requests count at present, over all tokens."""
        now = self._world.now()
        for usage in self._usage.values():
            usage.forget_before(now)
        return {
            "last_hour": sum(len(usage.hour) for usage in self._usage.values()),
            "last_minute": sum(len(usage.minute) for usage in self._usage.values()),
        }

    def refusal(self, token: str, retry_after: float | None) -> errors.ApiError:
        """Return the 429 of a limit that is not really reached."""
        usage = self._usage.setdefault(token, Usage())
        headers = {} if retry_after is None else {"retry-after": str(math.ceil(retry_after))}
        return self._refusal(usage, headers)

    def _refusal(self, usage: Usage, headers: dict[str, str]) -> errors.ApiError:
        error = errors.of_status(429)
        error.headers = {**self._headers(usage), **headers}
        return error

    def _headers(self, usage: Usage) -> dict[str, str]:
        limit = self._world.limits.requests_per_hour
        oldest = usage.hour[0] if usage.hour else self._world.now()
        return {
            "ratelimit-limit": str(limit),
            "ratelimit-remaining": str(max(0, limit - len(usage.hour))),
            "ratelimit-reset": str(math.ceil(oldest + HOUR)),
        }
