"""A session that waits for room says so once as an event, however long it waits."""

import pytest
from tests.unit.lifecycle.life import IP, Life

from spawnai.api.record import ResourceKind
from spawnai.api.session import Phase
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Effort, Failure, FailureKind


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FailureKind.OVER_QUOTA, "WaitingForDropletLimit"),
        (FailureKind.NO_CAPACITY, "NoCapacity"),
    ],
)
def test_waiting_is_told_once_with_its_reason(kind, reason):
    life = Life()

    def refuse(action: do.Action) -> Failure:
        failure = life.fail(kind, reason, "no more of it")
        if kind is FailureKind.NO_CAPACITY and isinstance(action, do.CreateDroplet):
            life.rejected[(action.placement.region, action.placement.size)] = failure
        return failure

    life.failing[do.CreateDroplet] = refuse
    life.settle()
    for _ in range(12):
        life.pass_time(seconds=2)
    assert life.condition("DropletReady") == ("False", reason)
    assert life.reasons().count(reason) == 1


def test_an_order_that_waits_for_a_call_says_so_once_and_no_deadline_runs():
    life = Life(held={do.CreateDroplet}, creations_wait=True).settle()
    assert life.condition("DropletReady") == ("False", "Creating")
    life.pass_time(minutes=30)
    assert life.condition("DropletReady") == ("False", "WaitingForCalls")
    assert life.reasons().count("WaitingForCalls") == 1
    assert life.status.termination_reason is None
    life.creations_wait = False
    life.settle()
    assert life.condition("DropletReady") == ("False", "Creating")
    life.held.clear()
    life.note(ResourceKind.DROPLET, "77", region="nyc3", size="s-1vcpu-1gb", ip=IP)
    life.efforts["CreateDroplet"] = Effort(started_at=life.now, done_at=life.now)
    life.settle()
    assert life.status.phase is Phase.RUNNING


def test_an_order_that_merely_takes_its_time_is_not_said_to_wait():
    life = Life(held={do.CreateDroplet}).settle().pass_time(minutes=1)
    assert life.condition("DropletReady") == ("False", "Creating")
    assert "WaitingForCalls" not in life.reasons()
