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


MOST_CALLS = 3
"""How often Claude is called at most for one order that has money reserved: the app, and two
repairs. A further call, after an answer that was cut or a stream that broke, takes the place of
a repair (`generation/claude.py`)."""

_CACHED = 4_000
_READ_AT_FIRST = 8_000
_READ_FOR_A_REPAIR = 76_000
"""Input tokens of one call at most: the system prompt, which is written to the prompt cache, and
beside it a prompt of 2,000 characters of any script; for a repair or a change also 192 KiB of files
with their problems (`generation/prompts.py`)."""


def most_call_cost(model: str, max_output_tokens: int, *, is_first: bool) -> Decimal:
    """Dollars that one call to Claude may cost at most.

    Raises:
        UnknownModelPrice: the table has no price for this model.
    """
    return token_cost(
        model,
        input_tokens=_READ_AT_FIRST if is_first else _READ_FOR_A_REPAIR,
        cache_write_tokens=_CACHED,
        output_tokens=max_output_tokens,
    )


def most_order_cost(model: str, max_output_tokens: int, *, is_first: bool = True) -> Decimal:
    """Dollars that one order may cost at most, with all its repairs; a change is no first one.

    Raises:
        UnknownModelPrice: the table has no price for this model.
    """
    first = most_call_cost(model, max_output_tokens, is_first=is_first)
    return first + (MOST_CALLS - 1) * most_call_cost(model, max_output_tokens, is_first=False)
