"""What a budget counts, for how long, and for whom it has room."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from spawnai.admission.budgets import Book, Charge, Payer, grant, no_room, period_around
from spawnai.admission.places import ClassLimits, Tally, Waiting, places
from spawnai.api.budget import BudgetSpec, Period

NOW = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)
DANA = Payer("dana", "shop", "standard")


def book(limit: str = "5", name: str = "team", **spec) -> Book:
    start, end = period_around(Period.DAY, "UTC", NOW)
    return Book(name, BudgetSpec(limit=limit, period="Day", **spec), start, end)


def charge(uid: str, reserved: str = "1", spent: str = "0", **more) -> Charge:
    values = {"payer": DANA, "begun_at": NOW, "closed_at": None} | more
    return Charge(uid=uid, reserved=Decimal(reserved), spent=Decimal(spent), **values)


def waiting(uid: str, amount: str | None = "1", user: str = "dana") -> Waiting:
    cost = Decimal(amount) if amount is not None else None
    return Waiting(uid, user, "shop", NOW, "standard", cost, "" if cost else "size x has no price")


def begins(waits, *books: Book) -> set[str]:
    found = places(waits, Tally(), ClassLimits(), NOW, books)
    return {uid for uid, place in found.items() if place.may_begin}


@pytest.mark.parametrize(
    ("period", "zone", "start", "end"),
    [
        (Period.DAY, "UTC", "2026-11-29T00:00Z", "2026-11-30T00:00Z"),
        (Period.WEEK, "UTC", "2026-11-23T00:00Z", "2026-11-30T00:00Z"),
        (Period.MONTH, "UTC", "2026-11-01T00:00Z", "2026-12-01T00:00Z"),
        (Period.DAY, "Europe/Paris", "2026-11-28T23:00Z", "2026-11-29T23:00Z"),
        # October has an hour more in Paris than in UTC: summer time ends in it.
        (Period.MONTH, "Asia/Tokyo", "2026-10-31T15:00Z", "2026-11-30T15:00Z"),
    ],
)
def test_a_period_begins_at_midnight_of_its_time_zone(period, zone, start, end):
    wanted = datetime.fromisoformat(start), datetime.fromisoformat(end)
    assert period_around(period, zone, NOW) == wanted


def test_a_day_is_as_long_as_the_clocks_there_say():
    start, end = period_around(Period.DAY, "Europe/Paris", datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert end - start == timedelta(hours=25)


def test_a_time_zone_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="no time zone 'Europe/Pariss'"):
        period_around(Period.DAY, "Europe/Pariss", NOW)


def test_one_that_lives_counts_with_its_reservation_and_one_that_ended_with_its_cost():
    team = book()
    team.put(charge("lives", "2", "0.3"))
    team.put(charge("ended", "2", "0.3", closed_at=NOW))
    assert (team.reserved, team.spent, team.left) == (2, Decimal("0.3"), Decimal("2.7"))


def test_the_unused_part_comes_back_at_the_end():
    team = book()
    team.put(charge("a", "4"))
    team.put(charge("a", "4", "0.25", closed_at=NOW))
    assert team.left == Decimal("4.75")


def test_one_that_costs_more_than_it_reserved_counts_with_what_it_cost():
    team = book()
    team.put(charge("a", "1", "1.5"))
    assert team.left == Decimal("3.5")


def test_what_ended_before_the_period_does_not_count_and_what_seems_to_end_after_it_does():
    team = book()
    team.put(charge("yesterday", spent="1", closed_at=team.start - timedelta(seconds=1)))
    assert team.left == 5
    # The clock was set back over the period's edge.
    team.put(charge("tomorrow", spent="1", closed_at=team.end + timedelta(hours=1)))
    assert team.left == 4


def test_a_selector_chooses_by_all_of_its_lists():
    team = book(selector={"users": ["dana"], "namespaces": ["shop"]})
    assert team.selects(DANA)
    assert not team.selects(Payer("kim", "shop", "standard"))
    assert not team.selects(Payer("dana", "lab", "standard"))
    assert book().selects(Payer("anybody", "anywhere", "any"))


def test_as_many_begin_as_there_is_money_for_and_no_cent_more():
    orders = [waiting(f"{n:02}", "0.83") for n in range(60)]
    assert begins(orders, book("5")) == {f"{n:02}" for n in range(6)}
    assert len(begins(orders, book("4.98"))) == 6
    assert len(begins(orders, book("4.979999"))) == 5


def test_a_session_needs_room_in_every_budget_that_selects_it():
    rich, poor = book("50", "company"), book("1", "team")
    assert begins([waiting("a"), waiting("b")], rich, poor) == {"a"}
    others = book("0", "others", selector={"users": ["kim"]})
    assert begins([waiting("a")], rich, others) == {"a"}


def test_who_waits_for_money_is_told_for_which_and_until_when():
    team = book("0.5")
    place = places([waiting("a", "0.4"), waiting("b", "0.4")], Tally(), ClassLimits(), NOW, [team])[
        "b"
    ]
    assert place.for_money
    assert place.look_again_at == team.end
    assert place.message == (
        "1st of 1: budget team (0.5 USD a day) has no room for the 0.4 USD that it may cost"
    )


def test_one_that_can_never_be_paid_is_told_what_to_ask_for():
    assert "ask for a shorter life or a smaller tier" in no_room(book("0.5"), Decimal("0.6"))


def test_without_a_price_nothing_begins_in_a_budget_and_the_size_is_named():
    found = places([waiting("a", None)], Tally(), ClassLimits(), NOW, [book()])
    assert found["a"].message == "1st of 1: budget team: size x has no price"
    assert begins([waiting("a", None)]) == {"a"}  # no budget selects it


def test_a_budget_that_cannot_be_counted_lets_nothing_begin():
    team = book()
    team.problem = "there is no time zone 'Mars'"
    assert begins([waiting("a")], team) == set()


def test_a_lowered_budget_ends_nothing_and_begins_nothing():
    team = book("1")
    team.put(charge("a", "2"))
    assert team.left == -1
    assert begins([waiting("b", "0.000001")], team) == set()


def test_more_is_granted_as_far_as_there_is_room_and_never_less_than_there_was():
    team = book("5")
    team.put(charge("a", "4"))
    assert grant([team], DANA, Decimal(4), Decimal("4.5")) == Decimal("4.5")
    assert grant([team], DANA, Decimal(4), Decimal(9)) == 5
    company = book("4.2", "company")
    company.put(charge("a", "4"))
    assert grant([team, company], DANA, Decimal(4), Decimal(9)) == Decimal("4.2")
    team.put(charge("b", "3"))
    assert grant([team], DANA, Decimal(4), Decimal(9)) == 4


def test_of_two_leaders_that_let_in_too_much_the_later_ledger_waits_while_it_has_nothing():
    team = book("1")
    first = charge("a", made_anything=False)
    later = charge("b", made_anything=False, begun_at=NOW + timedelta(seconds=1))
    team.put(first)
    team.put(later)
    assert (team.is_over_before("a"), team.is_over_before("b")) == (False, True)
    team.put(charge("b", begun_at=later.begun_at))  # it has a droplet
    assert team.is_over_before("a")
