"""What a load balancer costs. No call of DigitalOcean's tells it, so its price stands here.

DigitalOcean's price list of 2026-11: $12 a month for a regional load balancer of one node, prorated
by the hour, 672 hours to a month. There is no charge for traffic.
"""

from datetime import datetime
from decimal import Decimal

from .droplet_prices import billed_seconds

NODE_HOURLY = Decimal("0.01786")
"""Dollars for a node and hour."""

_SECONDS_PER_HOUR = Decimal(3600)


def load_balancer_cost_between(price_hourly: Decimal, start: datetime, end: datetime) -> Decimal:
    """Dollars, not rounded, for a load balancer that exists from start to end; no minimum."""
    return price_hourly * billed_seconds(start, end) / _SECONDS_PER_HOUR
