"""What a session says of its cost: before anything is made, at each step, and at the end."""

from dataclasses import replace
from decimal import Decimal

from spawnai.admission.places import Place
from spawnai.api.record import UsageTotals
from spawnai.api.session import CostStatus, Phase, PriceStatus
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.plan import plan

from .life import Life, a_session, an_offer

# Two hours and 75 seconds of s-1vcpu-1gb at 0.00893 an hour, and 3,500 + 6,000 tokens of Sonnet.
ESTIMATE = "0.085046"


def test_the_estimate_is_shown_before_anything_is_made() -> None:
    life = Life(held={do.GenerateApp, "CreateDroplet"}).settle()
    first = next(status for status in life.statuses if status.cost is not None)
    assert first.phase is Phase.PROVISIONING
    assert first.cost == CostStatus(estimated=ESTIMATE, hourly="0.00893", price={"model": "None"})
    assert first is life.statuses[0]


def test_one_that_waits_shows_what_it_will_cost() -> None:
    life = Life()
    place = Place(1, 1, "team has 3 of 3 running")
    status = plan(replace(life.observe(), place=place), life.now).status
    assert status is not None
    assert status.cost is not None
    assert status.cost.estimated == ESTIMATE


def test_the_estimate_follows_the_lifetime_that_was_asked_for() -> None:
    short = Life(session=a_session(ttl="2h")).settle()
    long = Life(session=a_session(ttl="4h")).settle()
    assert short.status.cost is not None
    assert long.status.cost is not None
    grown = Decimal(long.status.cost.estimated or 0) - Decimal(short.status.cost.estimated or 0)
    assert grown == Decimal("0.00893") * 2


def test_the_bill_does_not_overwrite_the_estimate() -> None:
    life = Life(session=a_session(ttl="4h")).settle().pass_time(hours=2)
    assert life.status.cost is not None
    estimated = life.status.cost.estimated
    life.change(expires_at="now").pass_time(minutes=5)
    assert life.status.phase is Phase.DESTROYED
    cost = life.status.cost
    assert (cost.estimated, cost.running) == (estimated, None)
    assert cost.actual is not None
    assert Decimal(cost.actual) == 2 * Decimal("0.00893") + Decimal("0.04")
    assert Decimal(estimated or 0) > Decimal(cost.actual)


def test_what_was_spent_is_said_at_steps_and_does_not_tick() -> None:
    life = Life().settle()
    writes = len(life.statuses)
    ready = life.status.cost
    life.pass_time(minutes=90)
    assert life.status.cost == ready
    assert len(life.statuses) == writes
    life.change(ttl="100m")
    cost = life.status.cost
    assert cost is not None
    assert Decimal(cost.running or 0) == Decimal("0.04") + round(Decimal("0.00893") * 3 / 2, 6)
    assert Decimal(cost.claude or 0) == Decimal("0.04")


def test_a_queued_one_that_is_ended_has_cost_nothing() -> None:
    life = Life()
    waiting = replace(life.observe(), place=Place(1, 1, "team has 3 of 3 running"))
    shown = plan(waiting, life.now).status
    assert shown is not None
    life.session = a_session(status=shown, expires_at="now")
    life.settle()
    assert life.status.phase is Phase.DESTROYED
    assert life.status.cost is not None
    assert (life.status.cost.estimated, life.status.cost.actual) == (ESTIMATE, "0")


def test_a_status_from_before_prices_is_read_on() -> None:
    old = {"currency": "USD", "estimated": "0.1", "price": "0.00893"}
    assert CostStatus.model_validate(old) == CostStatus(estimated="0.1", hourly="0.00893")


FLAT = {"pricing": {"model": "Flat"}}


def test_a_price_is_shown_before_the_start_and_is_final_at_the_end() -> None:
    life = Life(offer=an_offer(**FLAT)).settle()
    assert life.statuses[0].cost is not None
    assert life.statuses[0].cost.price == PriceStatus(model="Flat", estimated="0.15")
    # The prices that held when it began hold to its end.
    life.offer = an_offer(pricing={"model": "Flat", "flat": {"light": "9"}})
    life.change(expires_at="now").pass_time(minutes=5)
    assert life.status.cost is not None
    assert life.status.cost.price == PriceStatus(model="Flat", estimated="0.15", final="0.15")


DYNAMIC = {
    "pricing": {"model": "Dynamic", "dynamic": {"overhead": "0", "multipliers": {"light": "2"}}}
}


def test_a_dynamic_price_is_a_range_before_and_follows_what_was_measured() -> None:
    life = Life(offer=an_offer(**DYNAMIC)).settle()
    assert life.statuses[0].cost is not None
    before = life.statuses[0].cost.price
    assert before is not None
    estimated = Decimal(before.estimated or 0)
    lowest, highest = estimated * Decimal("0.64"), estimated * Decimal("1.44")
    assert round(Decimal(before.lowest or 0), 5) == round(lowest, 5)
    assert round(Decimal(before.highest or 0), 5) == round(highest, 5)
    life.pass_time(minutes=60)
    usage = UsageTotals(next=60, measured_seconds=3600, cpu_busy_seconds=3600)
    assert life.record is not None
    known = life.record.status.model_copy(update={"usage": usage})
    life.record = replace(life.record, status=known)
    life.change(expires_at="now").pass_time(minutes=5)
    cost = life.status.cost
    assert cost is not None
    assert cost.price is not None
    assert cost.price.memory == "1"
    assert Decimal("1.19") < Decimal(cost.price.cpu or 0) <= Decimal("1.2")
    paid = Decimal(cost.actual or 0) * 2
    assert paid * Decimal("1.19") < Decimal(cost.price.final or 0) <= paid * Decimal("1.2")


def test_a_page_whose_price_is_measured_is_asked_once_more_at_its_end() -> None:
    priced = Life(offer=an_offer(**DYNAMIC)).settle()
    priced.change(expires_at="now").pass_time(minutes=5)
    assert "TakeLog" in priced.kinds_done()
    free = Life().settle()
    free.change(expires_at="now").pass_time(minutes=5)
    assert "TakeLog" not in free.kinds_done()


def test_what_never_ran_is_charged_nothing() -> None:
    life = Life(offer=an_offer(**FLAT), held={do.DeployApp}).settle()
    life.change(expires_at="now").pass_time(minutes=5)
    assert life.status.cost is not None
    assert life.status.cost.price == PriceStatus(model="Flat", estimated="0.15", final="0")
    assert Decimal(life.status.cost.actual or 0) > 0
