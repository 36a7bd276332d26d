"""What a droplet costs for the time it exists, powered on or not.

DigitalOcean's rules since 2026-01-01 (its pricing documentation, "Droplet Pricing"): billed per
second, at least 60 seconds or $0.01, whichever is more, and for at most 672 hours in a calendar
month. Prices an hour come from `/v2/sizes`.
"""

from datetime import UTC, datetime
from decimal import Decimal

MINIMUM_SECONDS = Decimal(60)
MINIMUM_COST = Decimal("0.01")
MONTHLY_CAP_SECONDS = Decimal(672 * 3600)
_SECONDS_PER_HOUR = Decimal(3600)
# A month as DigitalOcean's price list reckons it: 365 × 24 / 12 hours.
_MONTH_SECONDS = Decimal(730 * 3600)


def droplet_cost(price_hourly: Decimal, seconds: float) -> Decimal:
    """Dollars, not rounded, for a droplet that exists for that long.

    Exact up to 28 days within one month; beyond, months are taken as 730 hours each, because the
    cap needs the dates: see droplet_cost_between.

    Raises:
        ValueError: the price or the time is negative.
    """
    lived = Decimal(str(seconds))
    if lived < 0:
        raise ValueError(f"A droplet cannot exist for {seconds} s; were start and end exchanged?")
    months, rest = divmod(lived, _MONTH_SECONDS)
    return _cost(price_hourly, months * MONTHLY_CAP_SECONDS + min(rest, MONTHLY_CAP_SECONDS))


def droplet_cost_between(price_hourly: Decimal, start: datetime, end: datetime) -> Decimal:
    """Dollars, not rounded, for a droplet that exists from start to end, each month capped.

    Args:
        price_hourly: dollars an hour.
        start: when it was created, aware.
        end: when its deletion was accepted, aware. The same as start, or later.

    Raises:
        ValueError: the price is negative, or the end lies before the start.
    """
    return _cost(price_hourly, billed_seconds(start, end))


def billed_seconds(start: datetime, end: datetime) -> Decimal:
    """The seconds from start to end, at most 672 hours of each month.

    Raises:
        ValueError: the end lies before the start.
    """
    if end < start:
        raise ValueError(f"What was created at {start} cannot have ended before that, at {end}")
    billed = Decimal(0)
    at, end = start.astimezone(UTC), end.astimezone(UTC)
    while at < end:
        next_month = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        until = min(end, next_month)
        billed += min(Decimal(str((until - at).total_seconds())), MONTHLY_CAP_SECONDS)
        at = until
    return billed


def _cost(price_hourly: Decimal, billed_seconds: Decimal) -> Decimal:
    if price_hourly < 0:
        raise ValueError(f"A droplet's price cannot be negative: {price_hourly}")
    seconds = max(billed_seconds, MINIMUM_SECONDS)
    return max(price_hourly * seconds / _SECONDS_PER_HOUR, MINIMUM_COST)
