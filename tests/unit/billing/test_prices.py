"""What users are charged: the figures of the product's first description, and the bad cases."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from spawnai.api.session import Tier
from spawnai.api.spawnclass import PricingSpec
from spawnai.billing.prices import price_of, price_range, terms_of
from spawnai.billing.usage import Factors

FLAT = PricingSpec(model="Flat")
DYNAMIC = PricingSpec(model="Dynamic", dynamic={"overhead": "0", "multipliers": {"light": "2"}})


def plus(**values: str) -> PricingSpec:
    return PricingSpec(model="CostPlus", cost_plus=values)


def test_nobody_is_charged_unless_the_class_says_so():
    assert terms_of(PricingSpec(), Tier.LIGHT) is None


@pytest.mark.parametrize(
    ("tier", "price"), [(Tier.LIGHT, "0.15"), (Tier.STANDARD, "0.50"), (Tier.COMPLEX, "2.50")]
)
def test_the_flat_prices_are_those_of_the_first_description(tier, price):
    assert price_of(terms_of(FLAT, tier), Decimal(9)) == Decimal(price)


@pytest.mark.parametrize(
    ("droplet", "claude", "overhead", "total", "rounded"),
    [
        ("0.01786", "0.02", "0.05", "0.039753", "0.040"),  # light, two hours
        ("0.10716", "0.05", "0.05", "0.165018", "0.165"),  # standard, four hours
        ("0.85704", "0.10", "0.10", "1.052744", "1.053"),  # complex, a day
    ],
)
def test_cost_and_overhead_are_those_of_the_first_description(
    droplet, claude, overhead, total, rounded
):
    cost = Decimal(droplet) + Decimal(claude)
    price = price_of(terms_of(plus(overhead=overhead), Tier.LIGHT), cost)
    assert price == Decimal(total)
    assert round(price, 3) == Decimal(rounded)


def test_a_multiplier_and_a_minimum():
    assert price_of(terms_of(plus(overhead="0", multiplier="3"), Tier.LIGHT), Decimal(2)) == 6
    assert price_of(terms_of(plus(minimum="0.10"), Tier.LIGHT), Decimal("0.01")) == Decimal("0.10")


@pytest.mark.parametrize(
    ("tier", "cost", "overhead", "price"),
    [
        (Tier.LIGHT, "0.03786", "0.05", "0.15"),
        (Tier.STANDARD, "0.15716", "0.05", "0.50"),
        (Tier.COMPLEX, "0.95704", "0.10", "2.50"),
    ],
)
def test_a_droplet_that_is_used_as_usual_costs_what_the_first_description_charges(
    tier, cost, overhead, price
):
    terms = terms_of(PricingSpec(model="Dynamic", dynamic={"overhead": overhead}), tier)
    assert round(price_of(terms, Decimal(cost)), 2) == Decimal(price)


@pytest.mark.parametrize(
    ("cpu", "memory", "price"),
    [
        ("1.2", "1.2", "2.88"),
        ("1.2", "0.8", "1.92"),
        ("1", "0.8", "1.6"),
        ("0.8", "0.8", "1.28"),
    ],
)
def test_a_dynamic_price_follows_processor_and_memory(cpu, memory, price):
    terms = terms_of(DYNAMIC, Tier.LIGHT)
    factors = Factors(Decimal(cpu), Decimal(memory))
    assert price_of(terms, Decimal(1), factors) == Decimal(price)


def test_a_dynamic_price_is_a_range_before():
    lowest, highest = price_range(terms_of(DYNAMIC, Tier.LIGHT), Decimal(1))
    assert (lowest, highest) == (Decimal("1.28"), Decimal("2.88"))
    # Cost and overhead are the least.
    at_cost = PricingSpec(
        model="Dynamic", dynamic={"overhead": "0.05", "multipliers": {"light": "1"}}
    )
    assert price_range(terms_of(at_cost, Tier.LIGHT), Decimal(1))[0] == Decimal("1.05")


def test_nothing_is_sold_below_cost():
    assert price_of(terms_of(plus(overhead="0", multiplier="0.5"), Tier.LIGHT), Decimal(2)) == 2


@pytest.mark.parametrize("amount", ["-1", "1e3", "0.1234567", "free"])
def test_what_is_no_amount_is_refused(amount):
    with pytest.raises(ValidationError):
        plus(minimum=amount)
