"""What each droplet costs, kept after it is gone.

DigitalOcean bills droplets by the second since 2026-01-01, at least 60 seconds or $0.01, whichever
is more, and at most 672 hours in a calendar month. A powered-off droplet costs the same.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.world import World

MINIMUM_SECONDS = Decimal(60)
MINIMUM_DOLLARS = Decimal("0.01")
MONTHLY_CAP_SECONDS = Decimal(672 * 3600)
SECONDS_PER_HOUR = Decimal(3600)
SMALLEST = Decimal("0.000001")
"""Amounts are given to the millionth of a dollar."""


@dataclass(slots=True)
class BillLine:
    """One droplet's line. Times are seconds since the epoch."""

    droplet_id: int
    name: str
    tags: tuple[str, ...]
    region: str
    size: str
    price_hourly: Decimal
    created_at: float
    canary: bool
    ended_at: float | None = None

    def amount(self, now: float) -> Decimal:
        """Return the dollars owed by `now`, or in all once the droplet is deleted."""
        return charge(
            self.price_hourly, self.created_at, now if self.ended_at is None else self.ended_at
        )

    def document(self, now: float) -> dict[str, Any]:
        """Return the line as the control API shows it; dollars are decimal strings."""
        end = now if self.ended_at is None else self.ended_at
        return {
            "droplet_id": self.droplet_id,
            "name": self.name,
            "tags": list(self.tags),
            "region": self.region,
            "size": self.size,
            "price_hourly": str(self.price_hourly),
            "created_at": self.created_at,
            "created": timestamp(self.created_at),
            "deleted_at": self.ended_at,
            "seconds": round(end - self.created_at, 6),
            "dollars": str(self.amount(now)),
            "canary": self.canary,
        }


def charge(price_hourly: Decimal, start: float, end: float) -> Decimal:
    """Return what a droplet costs from `start` to `end` (seconds since the epoch), in dollars."""
    billed = Decimal(0)
    at = Decimal(str(start))
    last = Decimal(str(max(start, end)))
    while at < last:
        month_end = min(last, _month_end(at))
        billed += min(month_end - at, MONTHLY_CAP_SECONDS)
        at = month_end
    dollars = price_hourly * max(billed, MINIMUM_SECONDS) / SECONDS_PER_HOUR
    return max(dollars, MINIMUM_DOLLARS).quantize(SMALLEST, ROUND_HALF_UP)


def _month_end(at: Decimal) -> Decimal:
    moment = datetime.fromtimestamp(int(at), tz=UTC)
    year, month = (
        (moment.year, moment.month + 1) if moment.month < 12 else (moment.year + 1, 1)  # noqa: PLR2004
    )
    return Decimal(int(datetime(year, month, 1, tzinfo=UTC).timestamp()))


class Bill:
    """The account's bill, a line for each droplet there ever was."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: dict[int, BillLine] = {}

    def begin(self, line: BillLine) -> None:
        """Begin to bill a droplet."""
        self._lines[line.droplet_id] = line

    def end(self, droplet_id: int) -> None:
        """Stop billing a droplet, now."""
        self._lines[droplet_id].ended_at = self._world.now()

    def cancel(self, droplet_id: int) -> None:
        """Forget a droplet that never came to be."""
        del self._lines[droplet_id]

    def lines(self) -> list[BillLine]:
        """Return all lines in the order the droplets were created."""
        return list(self._lines.values())

    def total(self) -> Decimal:
        """Return the dollars owed by now for all droplets."""
        now = self._world.now()
        return sum((line.amount(now) for line in self._lines.values()), Decimal(0))
