"""The gate lets every call pass but the one that a trap lies in wait for."""

import asyncio

import pytest

from spawnai_local.chaos.calls import EVENTS, Call, Edge
from spawnai_local.chaos.faults import Fault
from spawnai_local.chaos.gate import Gate, Trap

CALL = Call(Edge.DIGITALOCEAN, "POST /v2/droplets", ("lane-00",), writes=True)


@pytest.fixture
def gate():
    gate = Gate()
    gate.owners["lane-00"] = "plan-1"
    gate.situations["plan-1"] = "creating"
    return gate


class Behind:
    """What is behind the gate; counts effects."""

    def __init__(self):
        self.effects = 0

    async def perform(self):
        self.effects += 1
        return 200


def refuse(status, retry_after):
    return (status, retry_after)


def trap(fault, call=CALL.name, situation="creating"):
    return Trap("plan-1", situation, call, fault)


async def send(gate, behind, call=CALL):
    return await gate.through(gate.enter(call), behind.perform, refuse)


async def test_without_a_trap_a_call_passes_and_is_noted(gate):
    behind = Behind()
    assert await send(gate, behind) == 200
    assert [(one.owner, one.situation, one.call) for one in gate.log] == [
        ("plan-1", "creating", CALL)
    ]


@pytest.mark.parametrize(
    ("fault", "answer", "effects"),
    [
        (Fault.TOO_MANY, (429, 2), 0),
        (Fault.ERROR_BEFORE, (500, None), 0),
        (Fault.ERROR_AFTER, (500, None), 1),
        (Fault.CUT, None, 1),
    ],
)
async def test_a_fault_strikes_once_before_or_after_the_effect(gate, fault, answer, effects):
    behind, laid = Behind(), trap(fault)
    gate.set_trap(laid)
    assert await send(gate, behind) == answer
    assert behind.effects == effects
    assert laid.struck_at is not None
    assert laid.over_at is not None
    assert await send(gate, behind) == 200


@pytest.mark.parametrize(("fault", "effects"), [(Fault.KILLED_BEFORE, 0), (Fault.KILLED_AFTER, 1)])
async def test_a_call_is_held_until_the_operator_has_been_killed(gate, fault, effects):
    behind, laid, held = Behind(), trap(fault), []
    gate.set_trap(laid)
    gate.on_hold = held.append
    sending = asyncio.create_task(send(gate, behind))
    while not held:
        await asyncio.sleep(0)
    assert held == [laid]
    assert not sending.done()
    assert behind.effects == effects
    laid.let_go.set()
    assert await sending is None
    assert behind.effects == effects


@pytest.mark.parametrize(
    "other",
    [
        trap(Fault.TOO_MANY, call="DELETE /v2/droplets/{droplet_id}"),
        trap(Fault.TOO_MANY, situation="expiring"),
        Trap("plan-2", "creating", CALL.name, Fault.TOO_MANY),
    ],
)
async def test_another_call_situation_or_owner_is_let_through(gate, other):
    gate.set_trap(other)
    assert await send(gate, Behind()) == 200
    assert other.struck_at is None


async def test_a_trap_that_was_taken_away_strikes_nobody(gate):
    laid = trap(Fault.TOO_MANY)
    gate.set_trap(laid)
    gate.remove_trap(laid)
    assert await send(gate, Behind()) == 200


async def test_a_trap_strikes_a_call_by_any_of_its_names(gate):
    laid = trap(Fault.TOO_MANY, call="PATCH of a name")
    gate.set_trap(laid)
    both = Call(Edge.API_SERVER, "PATCH of an order", ("lane-00",), also=("PATCH of a name",))
    assert await send(gate, Behind(), both) == (429, 2)


async def test_an_event_counts_for_a_situation_from_its_begin_on_also_when_it_is_over(gate):
    event = Call(Edge.API_SERVER, EVENTS, ("lane-00",), writes=True)
    gate.set_trap(trap(Fault.TOO_MANY, call=EVENTS, situation="expiring"))
    assert await send(gate, Behind(), event) == 200
    gate.situations["plan-1"] = "expiring"
    assert await send(gate, Behind()) == 200
    del gate.situations["plan-1"]
    assert await send(gate, Behind(), event) == (429, 2)
