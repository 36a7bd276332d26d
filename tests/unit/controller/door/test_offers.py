"""What a caller reads before an order: prices, limits and budgets."""

from datetime import UTC, datetime
from decimal import Decimal

from spawnai.admission.budgets import Book
from spawnai.admission.places import Place
from spawnai.api.budget import BudgetSpec
from spawnai.api.spawnclass import ClassSpec
from spawnai.controller.admission import Outlook
from spawnai.controller.door.offers import amounts_of, offer_document

PRICES = {"s-1vcpu-1gb": Decimal("0.00893"), "s-2vcpu-2gb": Decimal("0.02679")}
FREE = Outlook(0, None, (), {})


def offer(outlook: Outlook = FREE, **spec):
    document = offer_document(
        class_name="standard",
        spec=ClassSpec.model_validate(spec),
        prices=PRICES,
        records=[],
        ready_seconds={},
        outlook=outlook,
    )
    return document, {one["tier"]: one for one in document["tiers"]}


def test_a_class_without_limits_and_prices_says_none():
    document, tiers = offer()
    assert (document["appsInUse"], document["appsLimit"], document["budgets"]) == (0, None, [])
    assert tiers["light"]["waitsFor"] is None
    assert tiers["light"]["price"] is None
    assert tiers["complex"]["hourly"] is None


def test_what_an_order_would_wait_for_is_said_by_tier():
    full = Place(1, 1, "dana has 3 of 3 running")
    dear = Place(1, 1, "budget team has no room", for_money=True)
    day = datetime(2026, 11, 29, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    book = Book("team", BudgetSpec(limit="5"), *day)
    document, tiers = offer(Outlook(3, 3, (book,), {"light": full, "complex": dear}))
    assert (document["appsInUse"], document["appsLimit"]) == (3, 3)
    assert document["budgets"] == [
        {"name": "team", "limit": "5", "left": "5", "resetsAt": "2026-11-30T00:00:00Z"}
    ]
    assert tiers["light"]["waitsFor"] == {"reason": "Limit", "message": "dana has 3 of 3 running"}
    assert tiers["standard"]["waitsFor"] is None
    assert tiers["complex"]["waitsFor"] == {
        "reason": "Budget",
        "message": "budget team has no room",
    }


def test_the_terms_of_a_price_are_those_of_the_tier():
    _, tiers = offer(pricing={"model": "Flat"})
    assert tiers["light"]["price"] == {"model": "Flat", "flat": "0.15"}


def test_what_has_no_price_has_no_amount():
    amounts = amounts_of("standard", "uid", ClassSpec(), PRICES)
    assert amounts["complex"] is None
    assert amounts["light"] is not None
    assert amounts["standard"] is not None
    assert Decimal(0) < amounts["light"] < amounts["standard"]
