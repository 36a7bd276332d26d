"""What an order is expected to cost, and how long it takes, from the operator's offer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from spawnai.api.durations import parse_duration
from spawnai.api.session import DEFAULT_TIER
from spawnai.billing.droplet_prices import droplet_cost
from spawnai.billing.ledger import money

from .models import Order

_STARTING = timedelta(seconds=75)
"""The droplet is paid for before the app is ready, too."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Dollars as a decimal string, and seconds; None where nothing is known."""

    cost: str | None = None
    seconds: int | None = None


def estimate_of(order: Order, offer: Mapping[str, Any]) -> Estimate:
    """The estimate for an order; an offer of an operator that is away has none."""
    tier = order.tier or DEFAULT_TIER[order.app_type]
    offered = _the(offer.get("tiers"), "tier", tier.value)
    kind = _the(offer.get("appTypes"), "appType", order.app_type.value)
    if offered is None or kind is None:
        return Estimate()
    ready = kind.get("readySeconds")
    seconds = round(sum(ready) / len(ready)) if ready else None
    if not offered.get("hourly") or not kind.get("claudeCost"):
        return Estimate(None, seconds)
    asked = (
        timedelta(seconds=offered["ttlSeconds"]) if order.ttl is None else parse_duration(order.ttl)
    )
    life = min(asked, timedelta(seconds=offer["maxTtlSeconds"])) + _STARTING
    server = droplet_cost(Decimal(offered["hourly"]), life.total_seconds())
    total = (server + Decimal(kind["claudeCost"])) * (1 + Decimal(offer.get("overhead") or 0))
    return Estimate(money(total), seconds)


def _the(items: Any, key: str, value: str) -> Mapping[str, Any] | None:
    return next((item for item in items or [] if item.get(key) == value), None)
