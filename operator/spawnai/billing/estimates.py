"""What a session is expected to cost, and what it can cost at most. Pure.

An estimate is what a usual session costs: it is shown before the order and held against the bill. A
worst case is what a budget reserves: a session that stays within its promises never costs more.
"""

from datetime import timedelta
from decimal import Decimal

from spawnai.api.session import AppType

from .droplet_prices import droplet_cost
from .token_prices import UnknownModelPrice, token_cost

USUAL_START = timedelta(seconds=75)
"""How long a session usually takes to be ready (docs/benchmarks.md); its droplet is paid for by
then."""

_USUAL_TOKENS = {
    AppType.WEBAPP: (3500, 6000),
    AppType.API: (3500, 3500),
    AppType.FULLSTACK: (3500, 6500),
    AppType.SCRIPT: (3500, 2500),
}
"""Tokens that Claude usually reads and writes for an app of each type. Written: as in
docs/benchmarks.md; read: the system prompt and the order."""


def usual_token_cost(model: str, app_type: AppType) -> Decimal | None:
    """Dollars that Claude usually takes for an app; None when the model has no known price."""
    read, written = _USUAL_TOKENS[app_type]
    try:
        return token_cost(model, input_tokens=read, output_tokens=written)
    except UnknownModelPrice:
        return None


def estimated_cost(price_hourly: Decimal, life: timedelta, tokens: Decimal) -> Decimal:
    """Dollars, not rounded, for a droplet that exists for `life`, and Claude's tokens."""
    return droplet_cost(price_hourly, max(life.total_seconds(), 0.0)) + tokens
