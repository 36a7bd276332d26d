"""A session over a limit of its class: it waits, costs nothing, and goes without a trace."""

from dataclasses import replace
from datetime import timedelta

from tests.unit.lifecycle.life import START, Life, a_session, an_offer

from spawnai.admission.places import Place
from spawnai.api.conditions import find_condition
from spawnai.api.session import Phase
from spawnai.lifecycle.actions import AddFinalizer, CreateRecord
from spawnai.lifecycle.observation import Observation
from spawnai.lifecycle.plan import plan

QUEUED = Place(3, 7, "dana has 3 of 3 running")


def waiting(place: Place = QUEUED, **session) -> Observation:
    life = Life(session=a_session(**session), offer=an_offer())
    return replace(life.observe(), place=place)


def test_nothing_is_made_for_a_session_that_waits():
    planned = plan(waiting(), START)
    assert planned.actions == ()
    assert planned.status.phase is Phase.REQUESTED
    assert planned.status.message == "Waiting: 3rd of 7: dana has 3 of 3 running"
    admitted = find_condition(planned.status.conditions, "Admitted")
    assert (admitted.status, admitted.reason) == ("False", "Queued")
    assert find_condition(planned.status.conditions, "Stalled") is None


def test_waiting_goes_on_without_a_write_while_the_place_is_the_same():
    first = plan(waiting(), START)
    again = plan(waiting(status=first.status), START + timedelta(seconds=5))
    assert again.status in (None, first.status)
    assert again.notices == ()


def test_it_is_looked_at_when_the_reason_passes_by_itself():
    soon = START + timedelta(seconds=20)
    assert plan(waiting(replace(QUEUED, look_again_at=soon)), START).wake_at == soon


def test_a_session_whose_turn_it_is_begins():
    planned = plan(waiting(Place(0, 0)), START)
    assert [type(action) for action in planned.actions] == [AddFinalizer, CreateRecord]


def test_a_session_that_ends_while_it_waits_makes_nothing():
    planned = plan(replace(waiting(expires_at="now"), record_confirmed_absent=True), START)
    assert not any(isinstance(action, CreateRecord) for action in planned.actions)
    assert planned.status.phase is Phase.DESTROYED
