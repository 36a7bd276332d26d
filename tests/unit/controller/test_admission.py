"""The leader's desk: who is let in, who is woken, and how often a place is told."""

from datetime import UTC, datetime, timedelta

import pytest

from spawnai.controller.admission import TOLD_EVERY, Admission
from spawnai.controller.store import Store

ORDERED = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)
LIMITED = {"limits": {"perUser": {"active": 1}}}


class Desk:
    """An `Admission` over a real store, with the wakes it asked for."""

    def __init__(self, spec=LIMITED) -> None:
        self.now = ORDERED
        self.woken: list[str] = []
        self.woken_after: dict[str, float] = {}
        self.store = Store()
        self.version = 0
        self.put_class(spec)
        self.admission = Admission(
            self.store, lambda: self.now, self.woken.append, self.woken_after.__setitem__
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

    def put_class(self, spec) -> None:
        self.store.put_class({"metadata": self._metadata("standard"), "spec": spec})

    def order(self, name: str, user: str = "dana"):
        spec = {"prompt": "A page", "appType": "webapp", "user": user}
        body = {"metadata": self._metadata(name, namespace="n"), "spec": spec}
        self.store.put_session(body)
        return self.place(name)

    def place(self, name: str):
        spec = self.store.spawn_class("standard").spec
        return self.admission.place(self.store.session(name), "standard", spec)

    def put_ledger(self, name: str, user: str = "dana", **status) -> None:
        owner = {"kind": "SpawnSession", "namespace": "n", "name": name, "uid": name, "user": user}
        spec = {"owner": owner, "clusterUid": "c", "className": "standard"}
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


def test_a_place_that_moves_is_told_every_ten_seconds_at_most(desk):
    desk.order("one")
    for name in ("two", "three", "four"):
        desk.order(name)
    assert desk.place("four").position == 3
    desk.store.remove_session("two")
    assert desk.woken_after["four"] == TOLD_EVERY.total_seconds()
    assert desk.place("four").position == 2


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
