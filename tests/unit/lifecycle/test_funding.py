"""A session that budgets pay for: more is reserved before more is promised or ordered."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.unit.lifecycle.life import START, Life, a_session, an_offer

from spawnai.admission.places import Place
from spawnai.api.conditions import find_condition
from spawnai.api.spawnclass import OnAppFailure
from spawnai.billing import ledger as books
from spawnai.controller.actions.reserve import AGAIN
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.expiry import Wish
from spawnai.lifecycle.observation import AppView
from spawnai.lifecycle.plan import plan
from spawnai.lifecycle.reservations import Unpriced, order_cost, worst_case

TWO_HOURS = START + timedelta(hours=2)


class PaidLife(Life):
    """A life with a budget that has so many dollars left."""

    left = Decimal(0)
    budgets: tuple[str, ...] = ("team",)

    def observe(self):
        return replace(super().observe(), budgets=self.budgets)

    def _act(self, action: do.Action) -> bool:
        changed = super()._act(action)
        if isinstance(action, do.Reserve) and not self.efforts[action.key].running:
            again = self.now + AGAIN
            self.efforts[action.key] = replace(self.efforts[action.key], retry_at=again)
        return changed

    def _effect(self, action: do.Action) -> None:
        if isinstance(action, do.Reserve):
            record = self.record
            known = record.reserved or Decimal(0)
            granted = known + max(min(action.amount - known, self.left), Decimal(0))
            if granted > known:
                self.left -= granted - known
                self.book(lambda book: books.with_reserved(book, granted))
        else:
            super()._effect(action)


def running(left: str = "0", **session) -> PaidLife:
    life = PaidLife(session=a_session(**session), offer=an_offer(lifetime={"max": "365d"}))
    life.left = Decimal(left)
    return life.settle()


def test_the_intent_reserves_the_longest_life_and_all_repairs():
    life = running()
    # 10 minutes to be ready, two hours, 10 minutes to go; a cent for a droplet too many, one for
    # a droplet that replaces it, and one for a droplet too many then.
    droplet = Decimal("0.00893") * Decimal(140) / 60 + Decimal("0.03")
    expected = droplet + order_cost(life.offer)
    assert abs(Decimal(life.record.spec.reserved) - expected) <= Decimal("0.000001")


def test_the_dearest_size_of_the_tier_counts():
    both = {"tiers": {"light": {"sizes": ["s-1vcpu-1gb", "s-2vcpu-2gb"], "ttl": "2h"}}}
    cheap, dear = an_offer(), an_offer(**both)
    session = a_session()
    less = worst_case(cheap, session, Wish(), START)
    assert worst_case(dear, session, Wish(), START) > less


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"model": {"name": "claude-nobody-1"}}, "claude-nobody-1"),
        ({"model": {"fallback": "claude-nobody-1"}}, "claude-nobody-1"),
        ({"tiers": {"light": {"sizes": ["s-9vcpu-9gb"], "ttl": "2h"}}}, "s-9vcpu-9gb"),
    ],
)
def test_a_model_or_size_without_a_price_is_named(spec, named):
    with pytest.raises(Unpriced, match=named):
        worst_case(an_offer(**spec), a_session(), Wish(), START)


def test_a_class_that_replaces_no_droplet_reserves_none():
    session = a_session()
    replaces, keeps = an_offer(), an_offer(health={"onDropletFailure": "Keep"})
    less = worst_case(keeps, session, Wish(), START)
    assert worst_case(replaces, session, Wish(), START) == less + Decimal("0.02")


def test_what_was_let_in_with_an_amount_reserves_that_amount():
    life = Life()
    let_in = Place(0, 0, amount=Decimal("0.5"))
    planned = plan(replace(life.observe(), place=let_in), life.now)
    created = next(one for one in planned.actions if isinstance(one, do.CreateRecord))
    assert created.spec.reserved == "0.5"


def test_a_session_without_money_waits_and_costs_nothing():
    place = Place(1, 1, "budget team has no room", START + timedelta(hours=10), for_money=True)
    planned = plan(replace(Life().observe(), place=place), START)
    assert planned.actions == ()
    admitted = find_condition(planned.status.conditions, "Admitted")
    assert (admitted.status, admitted.reason) == ("False", "WaitingForBudget")
    assert [notice.reason for notice in planned.notices] == ["WaitingForBudget"]


def test_a_late_ledger_over_the_budget_makes_nothing_and_one_that_is_deleted_ends_quietly():
    life = PaidLife().settle()
    fresh = Life(record=replace(life.record, status=type(life.record.status)()))
    place = Place(1, 1, "budget team is used up by what began before", for_money=True)
    planned = plan(replace(fresh.observe(), place=place), START)
    assert planned.actions == ()


def test_an_extension_reserves_before_it_is_promised():
    life = running(left="5")
    life.held.add(do.Reserve)
    life.change(ttl="300h")
    assert life.status.expiration_time < START + timedelta(hours=299)
    life.held.clear()
    life.efforts.clear()
    life.settle()
    assert life.status.expiration_time == START + timedelta(hours=300)
    assert "ExpiryCapped" not in life.reasons()


def test_what_a_running_app_does_not_need_is_given_back():
    life = running()
    # Two hours and 10 minutes to go, three cents for other droplets, and what Claude took.
    needed = Decimal("0.00893") * Decimal(130) / 60 + Decimal("0.07")
    assert abs(life.record.reserved - needed) <= Decimal("0.000001")
    assert life.status.expiration_time == TWO_HOURS


def test_an_extension_without_room_is_capped_with_a_sentence_and_goes_on_when_there_is_room():
    life = running(left="0.3")
    life.change(ttl="300h").pass_time(minutes=3)
    assert TWO_HOURS < life.status.expiration_time < START + timedelta(hours=299)
    ready = find_condition(life.status.conditions, "Ready")
    assert "budget team has no room for all of the life that was asked for" in ready.message
    assert life.reasons().count("ExpiryCapped") == 1
    life.left = Decimal(5)
    life.pass_time(minutes=3)
    assert life.status.expiration_time == START + timedelta(hours=300)


def test_a_capped_life_goes_on_when_its_budget_is_deleted():
    life = running(left="0.3")
    life.change(ttl="300h").pass_time(minutes=3)
    assert life.status.expiration_time < START + timedelta(hours=299)
    life.budgets = ()
    life.settle()
    assert life.status.expiration_time == START + timedelta(hours=300)
    assert "has no room" not in find_condition(life.status.conditions, "Ready").message


def test_a_life_that_is_not_paid_for_ends_when_its_money_does():
    life = running()
    life.change(ttl="365d").pass_time(minutes=3)
    end = life.status.expiration_time
    life.now = end
    life.settle().pass_time(minutes=5)
    assert life.status.phase == "Destroyed"
    assert Decimal(life.record.status.total_cost) <= life.record.reserved


def test_a_promise_from_before_the_budget_is_kept():
    life = Life(offer=an_offer(lifetime={"max": "365d"})).settle().change(ttl="300h")
    paid = PaidLife(**{name: getattr(life, name) for name in ("session", "offer", "record")})
    paid.bundle, paid.droplet, paid.switch = life.bundle, life.droplet, life.switch
    paid.settle()
    assert paid.status.expiration_time == START + timedelta(hours=300)


def test_a_new_prompt_reserves_before_it_is_ordered():
    life = running(left="5")
    life.held.add(do.ReviseApp)
    prompt = life.session.spec.model_copy(update={"prompt": "Another board"})
    life.change(spec=prompt)
    kinds = life.kinds_done()
    assert kinds.index("Reserve") < kinds.index("ReviseApp")
    revise = next(one for one in life.done if isinstance(one, do.ReviseApp))
    assert revise.allowance >= order_cost(life.offer, is_first=False)


def test_a_new_prompt_without_money_waits_with_a_sentence():
    life = running()
    prompt = life.session.spec.model_copy(update={"prompt": "Another board"})
    life.change(spec=prompt).pass_time(minutes=3)
    assert "ReviseApp" not in life.kinds_done()
    assert life.condition("UpdateFailed") == ("True", "WaitingForBudget")
    assert life.status.phase == "Running"
    life.left = Decimal(5)
    life.held.add(do.ReviseApp)
    life.pass_time(minutes=3)
    assert "ReviseApp" in life.kinds_done()


def test_an_app_whose_repair_no_budget_bears_is_called_stopped_until_one_does():
    life = running()
    health = life.offer.spec.health.model_copy(update={"on_app_failure": OnAppFailure.REPAIR})
    spec = life.offer.spec.model_copy(update={"health": health})
    life.offer = replace(life.offer, spec=spec)
    life.now += timedelta(minutes=1)
    life.app = life.app_says = AppView("failed", "AppCrashed", life.now, "it died")
    life.settle().pass_time(minutes=3)
    assert "ReviseApp" not in life.kinds_done()
    assert life.condition("Stalled") == ("True", "AppCrashed")
    assert life.condition("UpdateFailed") == ("True", "WaitingForBudget")
    life.left = Decimal(5)
    life.held.add(do.ReviseApp)
    life.pass_time(minutes=3)
    assert "ReviseApp" in life.kinds_done()
    assert life.condition("Stalled") is None
    assert life.condition("UpdateFailed") is None


def test_claude_may_be_paid_what_is_reserved_beside_the_droplet():
    life = running()
    order = next(one for one in life.done if isinstance(one, do.GenerateApp))
    assert abs(order.allowance - order_cost(life.offer)) <= Decimal("0.000001")


def test_without_a_budget_nothing_is_reserved_again():
    life = Life().settle()
    life.change(ttl="72h")
    assert life.status.expiration_time == START + timedelta(hours=72)
    assert "Reserve" not in life.kinds_done()
