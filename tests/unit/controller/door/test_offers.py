"""What a caller reads before an order: prices, limits and budgets."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from spawnai.admission.budgets import Book
from spawnai.admission.places import Place
from spawnai.api.budget import BudgetSpec
from spawnai.api.session import AppType, SessionStatus
from spawnai.api.spawnclass import ClassSpec
from spawnai.controller.admission import Outlook
from spawnai.controller.door.offers import amounts_of, offer_document, step_seconds

PRICES = {"s-1vcpu-1gb": Decimal("0.00893"), "s-2vcpu-2gb": Decimal("0.02679")}
FREE = Outlook(0, None, (), {})


def offer(outlook: Outlook = FREE, sessions=(), **spec):
    document = offer_document(
        class_name="standard",
        spec=ClassSpec.model_validate(spec),
        prices=PRICES,
        records=[],
        sessions=sessions,
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


BEGUN = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def a_session(server: int, code: int, start: int, check: int, class_name="standard", **changes):
    """One that took so many seconds for each step; the ordering of it took two more."""
    written = max(server, code)
    moments = {
        "DropletReady": server - 1,
        "FirewallReady": server,
        "Generated": code,
        "AppHealthy": written + start,
    }
    status = {
        "className": class_name,
        "startedAt": BEGUN,
        "readyAt": BEGUN + timedelta(seconds=written + start + check),
        "conditions": [
            {
                "type": type_,
                "status": "True",
                "reason": "Done",
                "message": "",
                "lastTransitionTime": BEGUN + timedelta(seconds=seconds),
            }
            for type_, seconds in moments.items()
        ],
    }
    return SimpleNamespace(
        created_at=BEGUN - timedelta(seconds=2),
        spec=SimpleNamespace(app_type=AppType.WEBAPP),
        status=SessionStatus.model_validate(status | changes),
    )


def usual_of(*sessions):
    document, _ = offer(sessions=sessions)
    (webapp,) = [one for one in document["appTypes"] if one["appType"] == "webapp"]
    return webapp["readySeconds"], webapp["stepSeconds"]


def test_past_sessions_of_the_class_and_type_tell_how_long_each_step_takes():
    past = [a_session(30 + n, 40 + n, 5 + n, 4) for n in range(11)]
    others = [a_session(300, 400, 50, 40, "other") for _ in range(9)]
    ranges = [[31, 39], [41, 49], [6, 14], [4, 5]]
    assert usual_of(*past, *others) == ([53, 69], ranges)
    assert usual_of(*past[:2]) == ([60, 80], None)


def test_a_session_whose_steps_are_not_known_any_more_tells_none():
    assert step_seconds(a_session(30, 40, 5, 4).status) == (30, 40, 5, 4)
    ended = a_session(30, 40, 5, 4, conditions=[])
    assert step_seconds(ended.status) is None
    # Its code is of a later version.
    changed = a_session(30, 40, 5, 4, readyAt=BEGUN + timedelta(seconds=39))
    assert step_seconds(changed.status) is None


def test_how_long_an_ended_session_is_kept_is_told():
    assert offer()[0]["keptSeconds"] is None
    assert offer(lifetime={"ttlAfterFinished": "7d"})[0]["keptSeconds"] == 7 * 86_400
