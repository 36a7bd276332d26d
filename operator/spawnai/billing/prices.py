"""What users are charged for a session. Pure: the same terms and cost give the same price."""

from decimal import Decimal

from spawnai.api.record import PriceTerms
from spawnai.api.session import Tier
from spawnai.api.spawnclass import PricingModel, PricingSpec


def terms_of(pricing: PricingSpec, tier: Tier) -> PriceTerms | None:
    """The terms for a session that begins now; None where nobody is charged."""
    if pricing.model == PricingModel.FLAT:
        amounts = {
            Tier.LIGHT: pricing.flat.light,
            Tier.STANDARD: pricing.flat.standard,
            Tier.COMPLEX: pricing.flat.complex,
        }
        return PriceTerms(model=pricing.model, flat=amounts[tier])
    if pricing.model == PricingModel.COST_PLUS:
        plus = pricing.cost_plus
        return PriceTerms(
            model=pricing.model,
            overhead=plus.overhead,
            multiplier=plus.multiplier,
            minimum=plus.minimum,
        )
    return None


def price_of(terms: PriceTerms, cost: Decimal) -> Decimal:
    """Dollars that are charged for a session that ran and cost that much, not rounded."""
    if terms.flat is not None:
        return Decimal(terms.flat)
    total = cost * (1 + Decimal(terms.overhead or 0))
    return max(total * max(Decimal(terms.multiplier or 1), Decimal(1)), Decimal(terms.minimum or 0))
