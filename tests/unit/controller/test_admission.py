"""The leader's desk: who is let in, who is woken, and how often a place is told."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from spawnai.admission.budgets import Payer
from spawnai.controller import admission
from spawnai.controller.admission import TOLD_EVERY, Admission
from spawnai.controller.store import Store

ORDERED = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)
LIMITED = {"limits": {"perUser": {"active": 1}}}


class Desk:
    """An `Admission` over a real store, with the wakes it asked for."""

    def __init__(self, spec=LIMITED) -> None:
        self.now = ORDERED
        self.amount = Decimal(1)
        self.classes: dict[str, str] = {}
        self.woken: list[str] = []
        self.woken_after: dict[str, float] = {}
        self.store = Store()
        self.version = 0
        self.put_class(spec)
        self.moved: list[str] = []
        self.admission = Admission(
            self.store,
            lambda: self.now,
            self.woken.append,
            self.woken_after.__setitem__,
            self.moved.append,
        )
        self.store.listener = self.admission

    def _metadata(self, name: str, **more):
        self.version += 1
        created = ORDERED + timedelta(seconds=self.version)
        return {
            "name": name,
            "uid": name,
            "resourceVersion": str(self.version),
            "creationTimestamp": created.isoformat(),
            **more,
        }

    def put_class(self, spec, name: str = "standard") -> None:
        self.store.put_class({"metadata": self._metadata(name), "spec": spec})

    def order(self, name: str, user: str = "dana", class_name: str = "standard"):
        self.classes[name] = class_name
        spec = {"prompt": "A page", "appType": "webapp", "user": user}
        body = {"metadata": self._metadata(name, namespace="n"), "spec": spec}
        self.store.put_session(body)
        return self.place(name)

    def place(self, name: str):
        class_name = self.classes[name]
        spec = self.store.spawn_class(class_name).spec
        return self.admission.place(self.store.session(name), class_name, spec, self.amount)

    def put_budget(self, limit: str, **spec) -> None:
        body = {"limit": limit, "period": "Day", **spec}
        self.store.put_budget({"metadata": self._metadata("team"), "spec": body})

    @property
    def left(self) -> Decimal:
        return self.admission.book("team").left

    def put_ledger(
        self, name: str, user: str = "dana", reserved: str | None = None, **status
    ) -> None:
        owner = {"kind": "SpawnSession", "namespace": "n", "name": name, "uid": name, "user": user}
        spec = {"owner": owner, "clusterUid": "c", "className": "standard", "reserved": reserved}
        self.store.put_record({"metadata": self._metadata(name), "spec": spec, "status": status})

    def close_ledger(self, name: str) -> None:
        self.put_ledger(name, completedAt=self.now.isoformat())


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_class_without_limits_has_no_places():
    assert Desk(spec={}).order("one") is None


def test_two_orders_never_take_one_place(desk):
    assert desk.order("one").may_begin
    assert desk.order("two").message == "1st of 1: dana has 1 of 1 running"
    assert desk.place("one").may_begin


def test_a_ledger_that_closes_wakes_who_is_next(desk):
    desk.order("one")
    desk.put_ledger("one")
    desk.order("two")
    desk.close_ledger("one")
    assert desk.woken == ["two"]
    assert desk.place("two").may_begin


def test_who_was_let_in_and_went_without_a_ledger_leaves_the_place(desk):
    desk.order("one")
    desk.order("two")
    desk.store.remove_session("one")
    assert desk.woken == ["two"]


def test_other_users_do_not_wait(desk):
    desk.order("one")
    assert desk.order("two", user="kim").may_begin


def test_a_restart_counts_the_ledgers_that_are_there(desk):
    desk.put_ledger("one")
    assert not desk.order("two").may_begin


def test_a_place_that_moves_is_told_after_ten_seconds_and_then_ever_more_seldom(desk):
    desk.order("one")
    names = [f"{number:03}" for number in range(300)]
    for name in names:
        desk.order(name)
    last = names.pop()
    told = [(0, desk.place(last).position)]
    for second in range(1, 300):
        desk.now += timedelta(seconds=1)
        desk.store.remove_session(names.pop(0))
        position = desk.place(last).position
        if position != told[-1][1]:
            told.append((second, position))
    assert [when for when, _ in told] == [0, 10, 30, 90, 270]
    assert all(300 - when == position for when, position in told)


def test_who_is_told_later_is_woken_then(desk):
    desk.order("one")
    for name in ("two", "three", "four"):
        desk.order(name)
    assert desk.place("four").position == 3
    desk.store.remove_session("two")
    assert desk.woken_after["four"] == TOLD_EVERY.total_seconds()
    desk.now += TOLD_EVERY
    assert desk.place("four").position == 2


def test_a_person_is_not_told_that_others_came_behind(desk):
    desk.order("one")
    desk.order("two")
    desk.order("three")
    desk.now += 2 * TOLD_EVERY
    assert desk.place("two").message == "1st of 1: dana has 1 of 1 running"


def test_in_a_long_queue_one_that_comes_stands_at_the_end_until_all_are_counted(desk):
    desk.order("one")
    for number in range(120):
        desk.order(f"{number:03}")
    newest = desk.order("new", user="kim")
    assert newest.may_begin
    assert desk.order("kims-second", user="kim").position == 121
    desk.now += TOLD_EVERY
    # The turns of both users are one: only the oldest of dana's waits longer.
    assert desk.place("kims-second").position == 2


def test_a_queue_is_bounded_and_who_fits_begins_although_it_is_full(desk, monkeypatch):
    monkeypatch.setattr(admission, "MOST_WAITING", 3)
    desk.order("begins")
    for number in range(5):
        desk.order(f"waits-{number}")
    places = [desk.place(f"waits-{number}") for number in range(5)]
    assert [place.position for place in places] == [1, 2, 3, 4, 4]
    assert desk.order("other", user="kim").may_begin
    desk.put_class({"limits": {"perUser": {"active": 2}}})
    desk.admission.class_changed("standard")
    assert not desk.place("waits-4").may_begin
    assert desk.place("waits-0").may_begin
    desk.now += TOLD_EVERY
    assert desk.place("waits-3").position == 3, "a place has become free"
    assert desk.place("waits-4").position == 4


def test_money_that_was_promised_in_one_class_and_is_taken_in_another_is_not_given_twice(paid):
    paid.put_class({}, name="other")
    paid.order("one")
    paid.order("two")
    for name in ("one", "two"):
        paid.put_ledger(name, reserved="1")
    assert not paid.order("three").may_begin
    assert not paid.order("four", class_name="other").may_begin
    paid.put_ledger("one", reserved="1", totalCost="0", completedAt=ORDERED.isoformat())
    assert paid.woken == ["three", "four"]
    assert paid.place("three").may_begin
    assert not paid.place("four").may_begin
    assert paid.left == 0


def test_raised_limits_let_in_who_waits(desk):
    desk.order("one")
    desk.order("two")
    desk.put_class({"limits": {"perUser": {"active": 2}}})
    desk.admission.class_changed("standard")
    assert desk.place("two").may_begin


def test_limits_that_are_taken_away_hold_nobody(desk):
    desk.order("one")
    desk.order("two")
    desk.put_class({})
    assert desk.place("two") is None


@pytest.fixture
def paid() -> Desk:
    """A class without limits, and two dollars a day."""
    desk = Desk(spec={})
    desk.put_budget("2")
    return desk


def test_two_orders_never_take_one_dollar(paid):
    assert paid.order("one").amount == 1
    assert paid.order("two").may_begin
    assert paid.order("three").for_money
    assert paid.left == 0
    assert paid.place("one").may_begin


def test_the_ledger_takes_the_place_of_what_was_let_in(paid):
    paid.order("one")
    paid.put_ledger("one", reserved="1")
    assert paid.left == 1


def test_a_restart_counts_what_the_ledgers_reserve_and_what_they_cost(paid):
    paid.put_ledger("lives", reserved="0.7")
    paid.put_ledger("ended", reserved="0.9", totalCost="0.25", completedAt=ORDERED.isoformat())
    assert paid.left == Decimal("1.05")


def test_what_a_session_did_not_use_wakes_who_waits_for_it(paid):
    for name in ("one", "two"):
        paid.order(name)
        paid.put_ledger(name, reserved="1")
    paid.order("three")
    ended = {"totalCost": "0", "completedAt": ORDERED.isoformat()}
    paid.put_ledger("one", reserved="1", **ended)
    assert paid.woken == ["three"]
    assert paid.place("three").may_begin


def test_what_one_was_let_in_with_is_there_for_all_classes_when_it_cannot_begin(paid):
    paid.put_class({}, name="other")
    paid.order("one")
    paid.order("two")
    assert not paid.order("three", class_name="other").may_begin
    paid.admission.session_gone("one")
    assert paid.left == 1
    assert paid.woken == ["three"]
    assert paid.place("three").may_begin


def test_a_raised_and_a_deleted_budget_wake_who_waits(paid):
    for name in ("one", "two", "three", "four"):
        paid.order(name)
    paid.put_budget("3")
    assert paid.woken == ["three"]
    paid.store.remove_budget("team")
    assert paid.woken == ["three", "four"]
    assert paid.place("four") is None


def test_a_budget_that_changes_or_goes_wakes_whom_it_pays_for(paid):
    """A life that was capped may be longer now."""
    paid.put_ledger("one", reserved="1")
    paid.put_budget("3")
    paid.store.remove_budget("team")
    assert paid.woken == ["one", "one"]


@pytest.mark.parametrize(
    "spec",
    [
        {"limit": "fifty"},
        {"limit": "-1"},
        {"limit": "1.1234567"},
        {"limit": "5", "currency": "EUR"},
        {"limit": "5", "selector": {"users": "dana"}},
    ],
)
def test_nothing_begins_in_a_budget_that_cannot_be_read_until_it_is_mended(paid, spec):
    """An API server whose definition is older than the operator takes what the operator refuses."""
    paid.put_budget(**spec)
    place = paid.order("one")
    assert place.for_money
    assert place.reason.startswith(f"budget team cannot be counted: spec.{[*spec][-1]}")
    paid.put_budget("5")
    assert paid.woken == ["one"]
    assert paid.place("one").may_begin


def test_a_budget_that_cannot_be_read_holds_nobody_whom_it_does_not_select(paid):
    paid.put_budget("fifty", selector={"users": ["kim"]})
    assert paid.order("one") is None
    assert paid.order("kims", user="kim").for_money


def test_a_new_period_has_all_its_money(paid):
    for name in ("one", "two"):
        paid.put_ledger(name, reserved="1", totalCost="1", completedAt=ORDERED.isoformat())
    assert not paid.order("three").may_begin
    paid.now += timedelta(days=1)
    assert paid.place("three").may_begin


def test_a_clock_set_back_over_the_edge_frees_nothing(paid):
    paid.now += timedelta(days=1)
    for name in ("one", "two"):
        paid.put_ledger(name, reserved="1", totalCost="1", completedAt=paid.now.isoformat())
    paid.now -= timedelta(days=1)
    assert not paid.order("three").may_begin


def test_more_is_reserved_at_once_and_again_only_what_is_left(paid):
    paid.put_ledger("one", reserved="1")
    assert paid.admission.reserve("one", Decimal("1.5")) == Decimal("1.5")
    assert paid.left == Decimal("0.5")
    assert not paid.order("two").may_begin
    assert paid.admission.reserve("one", Decimal(9)) == 2
    # The API server shows it later.
    paid.put_ledger("one", reserved="2")
    assert paid.left == 0


def test_a_closed_ledger_is_kept_for_as_long_as_it_counts(paid):
    paid.put_ledger("one", reserved="1", totalCost="1", completedAt=ORDERED.isoformat())
    assert paid.admission.counts_until("one") == datetime(2026, 11, 30, tzinfo=UTC)
    paid.store.remove_budget("team")
    assert paid.admission.counts_until("one") is None


def test_a_limit_comes_before_money():
    desk = Desk()
    desk.put_budget("0")
    desk.put_ledger("one", reserved="0")
    place = desk.order("two")
    assert (place.for_money, place.reason) == (False, "dana has 1 of 1 running")


class NotLookedThrough(dict[str, Any]):
    """A dictionary whose entries are asked for one by one."""

    def _refuse(self, *_: object) -> Any:
        raise AssertionError("every ledger was looked at")

    __iter__ = values = items = keys = _refuse


def test_a_place_is_found_without_a_look_at_each_ledger(desk):
    """A thousand orders beside ten thousand ledgers must not take the event loop."""
    for number in range(20):
        desk.put_ledger(f"began-{number}", user=f"user-{number}")
    desk.admission._charges = NotLookedThrough(desk.admission._charges)
    assert desk.order("one").may_begin
    assert desk.order("two", user="user-7").message == "1st of 1: user-7 has 1 of 1 running"
    desk.close_ledger("began-7")
    assert desk.woken == ["two"]
    assert desk.place("two").may_begin


def test_a_ledger_that_was_dropped_takes_no_place(desk):
    desk.put_ledger("one")
    desk.order("two")
    desk.store.remove_record("one")
    assert desk.place("two").may_begin


def test_who_was_let_in_is_counted_once_when_the_ledger_comes(desk):
    desk.put_class({"limits": {"perUser": {"active": 2}}})
    assert desk.order("one").may_begin
    desk.put_ledger("one")
    assert desk.order("two").may_begin
    assert desk.order("three").message == "1st of 1: dana has 2 of 2 running"


def outlook(desk: Desk, user: str = "dana", amount: Decimal | None = Decimal(1)):
    spec = desk.store.spawn_class("standard").spec
    return desk.admission.outlook(Payer(user, "n", "standard"), spec, {"light": amount})


def test_before_an_order_it_is_known_what_it_would_wait_for():
    desk = Desk()
    assert outlook(desk).waits == {}
    desk.order("a")
    seen = outlook(desk)
    assert (seen.active, seen.most_active) == (1, 1)
    assert seen.waits["light"].reason == "dana has 1 of 1 running"
    assert outlook(desk, "eve").waits == {}


def test_looking_reserves_nothing_and_takes_no_place():
    desk = Desk()
    desk.put_budget("1")
    assert outlook(desk).waits == {}
    assert outlook(desk, amount=Decimal(2)).waits["light"].for_money
    assert outlook(desk, amount=None).waits["light"].for_money
    assert [book.left for book in outlook(desk).budgets] == [Decimal(1)]
    assert desk.order("a").may_begin
