"""A session that waits for room says so once as an event, however long it waits."""

import pytest
from tests.unit.lifecycle.life import Life

from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Failure, FailureKind


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
