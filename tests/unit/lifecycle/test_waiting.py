"""A session that waits for room says so once as an event, however long it waits."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.lifecycle.life import IP, Life, an_offer, is_a

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
        if kind is FailureKind.NO_CAPACITY and is_a(action, "CreateDroplet"):
            life.rejected[(action.wanted.placement.region, action.wanted.placement.size)] = failure
        return failure

    life.failing["CreateDroplet"] = refuse
    life.settle()
    for _ in range(12):
        life.pass_time(seconds=2)
    assert life.condition("DropletReady") == ("False", reason)
    assert life.reasons().count(reason) == 1


def test_an_order_that_waits_for_a_call_says_so_once_and_no_deadline_runs():
    life = Life(waiting={"CreateDroplet"}).settle()
    assert life.condition("DropletReady") == ("False", "Creating")
    life.pass_time(minutes=30)
    assert life.condition("DropletReady") == ("False", "WaitingForCalls")
    assert life.reasons().count("WaitingForCalls") == 1
    assert life.status.termination_reason is None
    life.has_turn("CreateDroplet")
    assert life.condition("DropletReady") == ("False", "Creating")
    life.waiting.clear()
    life.note(ResourceKind.DROPLET, "77", region="nyc3", size="s-1vcpu-1gb", ip=IP)
    life.efforts[life.key("CreateDroplet")] = Effort(started_at=life.now, done_at=life.now)
    life.settle()
    assert life.status.phase is Phase.RUNNING


def test_an_order_that_merely_takes_its_time_is_not_said_to_wait():
    life = Life(held={"CreateDroplet"}).settle().pass_time(minutes=1)
    assert life.condition("DropletReady") == ("False", "Creating")
    assert "WaitingForCalls" not in life.reasons()


WITH_ALL = {"exposure": {"domain": "apps.example"}, "firewall": {"mode": "PerSession"}}


@pytest.mark.parametrize("creation", ["CreateDroplet", "CreateFirewall", "CreateDomainRecord"])
def test_a_creation_that_waits_for_a_call_is_given_up_when_its_session_ends(creation):
    life = Life(offer=an_offer(**WITH_ALL), waiting={creation}).settle()
    assert life.efforts[life.key(creation)].waits_for_turn
    life.change(deleting=True)
    assert not life.efforts[life.key(creation)].running
    assert life.session is None
    assert life.record is not None
    assert life.record.status.completed_at == life.now


@pytest.mark.parametrize("creation", ["CreateDroplet", "CreateFirewall", "CreateDomainRecord"])
def test_a_creation_that_had_its_turn_is_waited_for_when_its_session_ends(creation):
    life = Life(offer=an_offer(**WITH_ALL), waiting={creation}).settle()
    life.has_turn(creation).change(deleting=True)
    life.pass_time(minutes=1)
    assert life.session is not None
    assert life.efforts[life.key(creation)].running


def test_who_only_waited_for_a_call_ends_quietly_and_as_if_it_had_never_begun():
    life = Life(waiting={"CreateDroplet"}, held={do.GenerateApp}).settle()
    life.efforts.pop(life.key("GenerateApp"))
    life.change(expires_at="now")
    assert [status.phase for status in life.statuses[-1:]] == [Phase.DESTROYED]
    assert life.condition("CleanupComplete") is None
    assert life.efforts[life.key("CreateDroplet")].running is False


def test_a_droplet_that_turns_up_is_not_ordered_once_more():
    life = Life(waiting={"CreateDroplet"}).settle()
    life.note(ResourceKind.DROPLET, "77", region="nyc3", size="s-1vcpu-1gb", ip=IP)
    life.settle()
    assert life.efforts[life.key("CreateDroplet")].running is False


def test_waiting_for_a_call_takes_nothing_of_the_provisioning_deadline():
    # Ordered at 0:00, had its turn at 0:30; ten minutes for the app to be ready end at 0:40.
    life = Life(waiting={"CreateDroplet"}).settle().pass_time(minutes=30)
    life.has_turn("CreateDroplet")
    no_room = life.fail(FailureKind.TRANSIENT, "DigitalOceanRateLimited", "too many requests")
    life.failing["CreateDroplet"] = lambda _: no_room
    life.waiting.clear()
    life.answered("CreateDroplet", no_room).pass_time(minutes=10, seconds=-1)
    assert life.status.termination_reason is None
    life.pass_time(seconds=1)
    assert life.status.termination_reason == "ProvisioningDeadlineExceeded"


def test_who_waited_for_a_call_before_a_restart_does_not_fail_for_it():
    life = Life(waiting={"CreateDroplet"}).settle().pass_time(minutes=30)
    life.restart().settle().pass_time(minutes=5)
    assert life.status.termination_reason is None
    life.waiting.clear()
    life.efforts.pop(life.key("CreateDroplet"))
    life.settle()
    assert life.status.phase is Phase.RUNNING


def test_a_clock_that_is_ahead_of_digitaloceans_fails_no_session():
    """The droplet's date is an hour old when it is made; the deadline is ten minutes."""
    life = Life(held={do.DeployApp}, cloud_behind=timedelta(hours=1)).settle()
    life.pass_time(minutes=9, seconds=59)
    assert life.status.termination_reason is None
    life.pass_time(seconds=2)
    assert life.status.termination_reason == "ProvisioningDeadlineExceeded"


def test_a_restarted_operator_with_such_a_clock_fails_none_either():
    life = Life(held={do.DeployApp}, cloud_behind=timedelta(minutes=40)).settle()
    life.pass_time(minutes=5)
    life.restart().pass_time(minutes=9, seconds=59)
    assert life.status.termination_reason is None
    life.pass_time(seconds=2)
    assert life.status.termination_reason == "ProvisioningDeadlineExceeded"


def test_an_operator_that_restarts_again_and_again_does_not_put_the_deadline_off_for_ever():
    life = Life(held={do.DeployApp}).settle()
    for _ in range(9):
        life.pass_time(minutes=9)
        life.restart().settle()
    assert life.status.termination_reason == "ProvisioningDeadlineExceeded"


def test_a_droplet_that_is_off_is_not_said_to_boot():
    life = Life(new_droplet_status="off", held={"AwaitDroplet", do.DeployApp}).settle()
    assert life.condition("DropletReady") == ("False", "PoweredOff")


def test_an_app_whose_droplet_is_off_is_not_said_to_answer():
    life = Life().settle()
    assert life.status.phase is Phase.RUNNING
    life.droplet = replace(life.droplet, status="off")
    life.settle()
    assert life.condition("Ready") == ("False", "PoweredOff")
    life.droplet = replace(life.droplet, status="active")
    life.pass_time(minutes=5)
    assert life.condition("Ready") == ("True", "Running")
