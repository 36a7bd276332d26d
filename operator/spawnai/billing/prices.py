"""What users are charged for a session. Pure: the same terms and cost give the same price."""

from decimal import Decimal

from spawnai.api.record import PriceTerms
from spawnai.api.session import Tier
from spawnai.api.spawnclass import FlatPrices, PricingModel, PricingSpec, TierMultipliers

from .usage import ALL_BUSY, ALL_IDLE, AS_USUAL, Factors


def terms_of(pricing: PricingSpec, tier: Tier) -> PriceTerms | None:
    """The terms for a session that begins now; None where nobody is charged."""
    if pricing.model == PricingModel.FLAT:
        return PriceTerms(model=pricing.model, flat=_of_tier(pricing.flat, tier))
    if pricing.model == PricingModel.COST_PLUS:
        plus = pricing.cost_plus
        return PriceTerms(
            model=pricing.model,
            overhead=plus.overhead,
            multiplier=plus.multiplier,
            minimum=plus.minimum,
        )
    if pricing.model == PricingModel.DYNAMIC:
        dynamic = pricing.dynamic
        return PriceTerms(
            model=pricing.model,
            overhead=dynamic.overhead,
            multiplier=_of_tier(dynamic.multipliers, tier),
            minimum=dynamic.minimum,
        )
    return None


def _of_tier(each: FlatPrices | TierMultipliers, tier: Tier) -> str:
    of_tiers = {
        Tier.LIGHT: each.light,
        Tier.STANDARD: each.standard,
        Tier.COMPLEX: each.complex,
    }
    return of_tiers[tier]


def is_measured(terms: PriceTerms | None) -> bool:
    """Whether the price depends on how much of the droplet is used."""
    return terms is not None and terms.model == PricingModel.DYNAMIC


def price_of(terms: PriceTerms, cost: Decimal, factors: Factors = AS_USUAL) -> Decimal:
    """Dollars that are charged for a session that ran and cost that much, not rounded.

    Never less than cost and overhead.
    """
    if terms.flat is not None:
        return Decimal(terms.flat)
    total = cost * (1 + Decimal(terms.overhead or 0))
    price = total * max(Decimal(terms.multiplier or 1), Decimal(1)) * factors.cpu * factors.memory
    return max(price, total, Decimal(terms.minimum or 0))


def price_range(terms: PriceTerms, cost: Decimal) -> tuple[Decimal, Decimal]:
    """The lowest and the highest price of a session that costs that much."""
    return price_of(terms, cost, ALL_IDLE), price_of(terms, cost, ALL_BUSY)
