"""What Claude's tokens cost: a dated table, and the one function that multiplies by it.

Source: the price list of the Claude platform, read in November 2026. Prices are US dollars per
million tokens (MTok). Cache writes are those that live five minutes. A change of price is a new
table with a new date, so that an old bill can be explained.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

PRICES_AS_OF = "2026-11-01"

_PER_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """Dollars per million tokens of each kind."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal


class UnknownModelPrice(LookupError):
    """There is no price for this model, so what it costs cannot be said."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"no token price is known for model {model!r} (prices of {PRICES_AS_OF}); "
            f"use one of {', '.join(sorted(TOKEN_PRICES))}, or add its price to the table"
        )
        self.model = model


def _price(input_: str, output: str, cache_read: str, cache_write: str) -> TokenPrice:
    return TokenPrice(Decimal(input_), Decimal(output), Decimal(cache_read), Decimal(cache_write))


TOKEN_PRICES = {
    "claude-haiku-5-5": _price("0.10", "0.50", "0.01", "0.125"),
    "claude-sonnet-5-5": _price("2", "10", "0.20", "2.50"),
    "claude-opus-5-5": _price("4", "20", "0.40", "5"),
    "claude-fable-5-2": _price("8", "40", "0.80", "10"),
}

# A dated snapshot ("claude-sonnet-5-5-20260901") costs what its model costs.
_SNAPSHOT_DATE = re.compile(r"-\d{8}$")


def has_price(model: str) -> bool:
    """Whether `token_cost` can tell what this model costs."""
    return _SNAPSHOT_DATE.sub("", model) in TOKEN_PRICES


def token_cost(
    model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
) -> Decimal:
    """What these tokens cost, in dollars, unrounded.

    The token counts may be the sum over several calls. Prices that rise with the length of a
    prompt are left out: no prompt that this operator sends is that long.

    Raises:
        UnknownModelPrice: the table has no price for this model.
        ValueError: a count is negative.
    """
    counts = (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
    if min(counts) < 0:
        raise ValueError(f"token counts cannot be negative, got {counts}")
    name = _SNAPSHOT_DATE.sub("", model)
    if name not in TOKEN_PRICES:
        raise UnknownModelPrice(model)
    price = TOKEN_PRICES[name]
    return (
        input_tokens * price.input
        + output_tokens * price.output
        + cache_read_tokens * price.cache_read
        + cache_write_tokens * price.cache_write
    ) / _PER_MILLION
