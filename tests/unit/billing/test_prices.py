"""What users are charged: the figures of the product's first description, and the bad cases."""

import re
from decimal import Decimal
from itertools import takewhile
from pathlib import Path

import pytest
from pydantic import ValidationError

from spawnai.api.durations import parse_duration
from spawnai.api.session import AppType, Tier
from spawnai.api.spawnclass import ClassSpec, PricingSpec
from spawnai.billing.droplet_prices import droplet_cost
from spawnai.billing.estimates import USUAL_START, estimated_cost, usual_token_cost
from spawnai.billing.prices import price_of, price_range, terms_of
from spawnai.billing.usage import Factors

REPOSITORY = Path(__file__).parents[3]
HOURLY = {
    "s-1vcpu-1gb": Decimal("0.00893"),
    "s-2vcpu-2gb": Decimal("0.02679"),
    "s-2vcpu-4gb": Decimal("0.03571"),
}
"""DigitalOcean's prices, as GET /v2/sizes names them."""

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


def table_of_page(first_cell: str) -> list[list[str]]:
    """The rows below a table's head in docs/prices.md."""
    lines = iter((REPOSITORY / "docs/prices.md").read_text().splitlines())
    next(line for line in lines if line.startswith(f"| {first_cell} |"))
    next(lines)
    rows = takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_three_examples_of_the_first_description_are_in_the_page_to_the_digit():
    shown = []
    for example, droplet, claude, overhead, cost, rounded in table_of_page("example"):
        hours, size = re.fullmatch(r"\w+, (\d+) h of (.+)", example).groups()
        assert Decimal(droplet) == droplet_cost(HOURLY[size], int(hours) * 3600)
        share = str(Decimal(overhead.removesuffix(" %")) / 100)
        terms = terms_of(plus(overhead=share), Tier.LIGHT)
        assert price_of(terms, Decimal(droplet) + Decimal(claude)) == Decimal(cost)
        assert rounded == f"${Decimal(cost):.3f}"
        shown.append(rounded)
    assert shown == ["$0.040", "$0.165", "$1.053"]


def test_what_todays_defaults_cost_is_in_the_page():
    spec = ClassSpec()
    tokens = usual_token_cost(spec.model.name, AppType.WEBAPP)
    rows = table_of_page("tier")
    assert [row[0] for row in rows] == [*Tier]
    for tier, lifetime, cost, flat in rows:
        offered = getattr(spec.tiers, tier)
        life = parse_duration(offered.ttl)
        assert life == parse_duration(lifetime.replace(" ", ""))
        estimated = estimated_cost(HOURLY[offered.sizes[0]], USUAL_START + life, tokens)
        assert cost == f"{estimated:.3f}"
        price = price_of(terms_of(FLAT, Tier(tier)), estimated)
        assert flat == f"{price:.2f}" + (": below cost" if price < estimated else "")


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
