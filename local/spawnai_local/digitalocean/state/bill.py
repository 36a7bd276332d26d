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
LOAD_BALANCER_HOURLY = Decimal(12) / 672
"""Dollars for a node and hour: $12 a month of at most 672 hours."""
IMAGE_GIGABYTE_HOURLY = Decimal("0.06") / 672
"""Dollars for a gigabyte and hour of a snapshot: $0.06 a month."""
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


@dataclass(slots=True)
class OtherLine:
    """The line of a load balancer or an image. Times are seconds since the epoch."""

    kind: str
    id: str
    name: str
    price_hourly: Decimal
    created_at: float
    canary: bool = False
    ended_at: float | None = None

    def amount(self, now: float) -> Decimal:
        """Return the dollars owed by `now`, or in all once it is gone."""
        end = now if self.ended_at is None else self.ended_at
        return _owed(self.price_hourly, self.created_at, end).quantize(SMALLEST, ROUND_HALF_UP)

    def document(self, now: float) -> dict[str, Any]:
        """Return the line as the control API shows it; dollars are decimal strings."""
        return {
            "kind": self.kind,
            "id": self.id,
            "name": self.name,
            "price_hourly": str(self.price_hourly.quantize(SMALLEST)),
            "created_at": self.created_at,
            "deleted_at": self.ended_at,
            "dollars": str(self.amount(now)),
            "canary": self.canary,
        }


def charge(price_hourly: Decimal, start: float, end: float) -> Decimal:
    """Return what a droplet costs from `start` to `end` (seconds since the epoch), in dollars."""
    dollars = max(
        _owed(price_hourly, start, end), price_hourly * MINIMUM_SECONDS / SECONDS_PER_HOUR
    )
    return max(dollars, MINIMUM_DOLLARS).quantize(SMALLEST, ROUND_HALF_UP)


def _owed(price_hourly: Decimal, start: float, end: float) -> Decimal:
    """Return the dollars from `start` to `end` by the second, at most 672 hours of each month."""
    billed = Decimal(0)
    at = Decimal(str(start))
    last = Decimal(str(max(start, end)))
    while at < last:
        month_end = min(last, _month_end(at))
        billed += min(month_end - at, MONTHLY_CAP_SECONDS)
        at = month_end
    return price_hourly * billed / SECONDS_PER_HOUR


def _month_end(at: Decimal) -> Decimal:
    moment = datetime.fromtimestamp(int(at), tz=UTC)
    year, month = (
        (moment.year, moment.month + 1) if moment.month < 12 else (moment.year + 1, 1)  # noqa: PLR2004
    )
    return Decimal(int(datetime(year, month, 1, tzinfo=UTC).timestamp()))


class Bill:
    """The account's bill, a line for each droplet, load balancer and image there ever was."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: dict[int, BillLine] = {}
        self._others: dict[tuple[str, str], list[OtherLine]] = {}

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

    def begin_other(self, line: OtherLine) -> None:
        """Begin to bill a load balancer or an image, or the same one at another price."""
        self._others.setdefault((line.kind, line.id), []).append(line)

    def end_other(self, kind: str, identifier: str) -> None:
        """Stop billing a load balancer or an image, now."""
        self._others[kind, identifier][-1].ended_at = self._world.now()

    def others(self) -> list[OtherLine]:
        """Return the lines of load balancers and images in the order they were begun."""
        return [line for lines in self._others.values() for line in lines]

    def total(self) -> Decimal:
        """Return the dollars owed by now for everything."""
        now = self._world.now()
        droplets = sum((line.amount(now) for line in self._lines.values()), Decimal(0))
        return droplets + sum((line.amount(now) for line in self.others()), Decimal(0))
