"""Whoever may write a session's status may end it early, and can do no more than that."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.lifecycle.life import START, Life, a_session

from spawnai.api.record import Presence, ResourceKind
from spawnai.api.session import Phase, SessionStatus, Tier
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.limits import provisioning_deadline
from spawnai.lifecycle.observation import FailureKind


def forge(life: Life, **status) -> Life:
    return life.change(status=life.status.model_copy(update=status))


def is_gone(life: Life) -> bool:
    assert life.record is not None
    ledger = life.record.status
    return ledger.completed_at is not None and all(
        entry.presence is Presence.GONE for entry in ledger.resources
    )


@pytest.mark.parametrize("held_back", [None, do.DeployApp])
def test_a_session_that_is_called_destroyed_ends_and_leaves_nothing(held_back):
    life = Life(held={held_back} if held_back is not None else set()).settle()
    assert not is_gone(life)
    life.held.clear()
    forge(life, phase=Phase.DESTROYED).pass_time(minutes=1)
    assert is_gone(life)
    assert life.session is not None
    assert not life.session.has_finalizer
    assert (life.status.phase, life.status.termination_reason) == (Phase.DESTROYED, "Destroyed")
    assert life.status.destroyed_at is not None


def test_a_session_that_is_called_destroyed_before_it_began_makes_nothing():
    life = Life(session=a_session(status=SessionStatus(phase=Phase.DESTROYED))).settle()
    assert life.done == []
    life = Life(
        session=a_session(status=SessionStatus(phase=Phase.DESTROYED), has_finalizer=True),
        without_record=True,
    )
    life.settle()
    assert life.kinds_done() == ["RemoveFinalizer"]


def test_a_start_that_is_still_to_come_does_not_lengthen_the_deadline():
    life = Life()
    life.failing["CreateDroplet"] = lambda _: life.fail(FailureKind.TRANSIENT)
    life.settle()
    forge(life, started_at=START + timedelta(days=1))
    life.pass_time(minutes=11)
    assert life.status.termination_reason == "ProvisioningDeadlineExceeded"


@pytest.mark.parametrize("reason", ["Expired", "Deleted", "whatever"])
def test_a_reason_to_end_ends_it(reason):
    life = forge(Life().settle(), termination_reason=reason).pass_time(minutes=1)
    assert is_gone(life)
    assert (life.status.phase, life.status.termination_reason) == (Phase.DESTROYED, reason)


@pytest.mark.parametrize("field", ["ready_at", "expiration_time", "started_at"])
@pytest.mark.parametrize("days", [-1, 1, None])
def test_no_time_that_is_written_into_it_lengthens_its_life(field, days):
    """The longest life of a class is 72 h, and this session may live 2 h."""
    life = Life().settle()
    forge(life, **{field: START + timedelta(days=days) if days is not None else None})
    life.pass_time(hours=74)
    assert is_gone(life)


@pytest.mark.parametrize("field", ["readyAt", "expirationTime", "startedAt"])
@pytest.mark.parametrize(
    "time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "0000-01-01"]
)
def test_no_time_is_too_far_away_to_reckon_with(field, time):
    life = Life().settle()
    written = SessionStatus.model_validate(life.status.document() | {field: time})
    life.change(status=written).pass_time(hours=74)
    assert is_gone(life)


def test_a_spare_droplet_does_not_lengthen_the_life_of_a_forged_readiness():
    life = Life(session=a_session(ttl="72h")).settle()
    forge(life, ready_at=START + timedelta(days=9))
    life.pass_time(hours=24)
    life.note(ResourceKind.DROPLET, "78")
    life.pass_time(hours=48, minutes=9)
    assert life.status.termination_reason is None
    life.pass_time(minutes=2)
    assert life.status.termination_reason == "Expired"


def test_a_condition_of_any_time_does_not_hold_up_a_teardown():
    life = Life().settle()
    document = life.status.document()
    document["conditions"].append(
        {
            "type": "CleanupComplete",
            "status": "False",
            "reason": "Forged",
            "lastTransitionTime": "9999-12-31T23:59:59Z",
        }
    )
    life.change(status=SessionStatus.model_validate(document), expires_at="now")
    life.pass_time(minutes=1)
    assert is_gone(life)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "http://evil.example@{ip}",
        "javascript:alert(1)",
        "http://[",
        "",
        "http://{ip}/phish",
    ],
)
def test_a_forged_address_of_the_app_is_put_right(url):
    life = Life().settle()
    url_before, ip = life.status.url, life.status.droplet.ip
    forge(life, url=url.format(ip=ip)).pass_time(minutes=1)
    assert life.status.url == url_before


def test_a_forged_class_and_tier_are_put_right():
    life = Life().settle()
    before = life.status
    forge(life, class_name="another", tier=Tier.COMPLEX).pass_time(minutes=1)
    assert (life.status.class_name, life.status.tier) == (before.class_name, before.tier)


@pytest.mark.parametrize(
    ("started_at", "counts_from"),
    [
        (timedelta(days=1), timedelta(0)),
        (timedelta(minutes=2), timedelta(minutes=2)),
        (timedelta(minutes=2, seconds=1), timedelta(0)),
    ],
    ids=["tomorrow", "now", "a second from now"],
)
def test_for_a_start_that_is_still_to_come_the_begin_of_the_ledger_counts(started_at, counts_from):
    """The ledger was begun at 12:00 by an operator of 11:00, and it is 12:02."""
    life = Life(held={"CreateDroplet"}).settle()
    o = replace(life.observe(), operator_started_at=START - timedelta(hours=1), efforts={})
    now = START + timedelta(minutes=2)
    deadline = provisioning_deadline(o, START + started_at, life.offer, now)
    assert deadline == START + counts_from + timedelta(minutes=10)
