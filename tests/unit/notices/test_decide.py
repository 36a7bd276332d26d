"""Which status writes tell people something, and what."""

from datetime import UTC, datetime

import pytest

from spawnai.api.conditions import Condition
from spawnai.api.session import CostStatus, Phase, SessionStatus
from spawnai.notices.decide import news

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 1, 14, tzinfo=UTC)


def status(*conditions: tuple[str, str, str, str], **fields) -> SessionStatus:
    return SessionStatus(
        conditions=[
            Condition(
                type=type_, status=value, reason=reason, message=text, last_transition_time=NOW
            )
            for type_, value, reason, text in conditions
        ],
        **fields,
    )


def events(before: SessionStatus, after: SessionStatus) -> list[tuple[str, str]]:
    return [(one.event.value, one.marker) for one in news("board", before, after)]


def test_a_session_is_ready_once():
    ready = status(phase=Phase.RUNNING, ready_at=NOW, expiration_time=LATER)
    (told,) = news("board", status(phase=Phase.DEPLOYING), ready)
    assert told.event == "Ready"
    assert "2026-11-01T14:00:00Z" in told.message
    assert events(ready, ready) == []


def test_a_warning_is_told_once_for_each_end_it_warns_of():
    running = status(ready_at=NOW)
    warned = status(ready_at=NOW, expiry_warned_for=LATER)
    assert events(running, warned) == [("Expiring", "2026-11-01T14:00:00Z")]
    assert events(warned, warned) == []
    extended = status(ready_at=NOW, expiry_warned_for=LATER.replace(hour=16))
    assert events(warned, extended) == [("Expiring", "2026-11-01T16:00:00Z")]


def test_a_failure_is_told_with_its_reason_and_words():
    stalled = status(("Stalled", "True", "AppCrashed", "exit code 3"), ready_at=NOW)
    (told,) = news("board", status(ready_at=NOW), stalled)
    assert (told.event, told.marker, told.message) == ("Failed", "AppCrashed", "exit code 3")
    assert events(stalled, stalled) == []
    destroying = status(
        ("Stalled", "True", "AppCrashed", "exit code 3"), ready_at=NOW, phase=Phase.DESTROYING
    )
    assert events(stalled, destroying) == []


@pytest.mark.parametrize(
    ("estimated", "actual", "told"),
    [
        ("0.10", "0.15", ["Ended"]),
        ("0.10", "0.16", ["Ended", "Cost"]),
        ("0", "0.16", ["Ended"]),
        (None, "0.16", ["Ended"]),
    ],
)
def test_an_end_is_told_with_its_cost_and_a_dear_one_apart(estimated, actual, told):
    before = status(phase=Phase.DESTROYING, ready_at=NOW, cost=CostStatus(estimated=estimated))
    after = status(
        phase=Phase.DESTROYED,
        ready_at=NOW,
        termination_reason="Expired",
        cost=CostStatus(estimated=actual, actual=actual),
    )
    found = news("board", before, after)
    assert [one.event for one in found] == told
    assert "Expired" in found[0].message
    assert f"{actual} USD" in found[0].message
    assert events(after, after) == []


@pytest.mark.parametrize(("reason", "event"), [("Queued", "Queued"), ("BudgetExhausted", "Budget")])
def test_who_waits_hears_it_once_whatever_place_the_queue_gives(reason, event):
    third = status(("Admitted", "False", reason, "3rd of 7"))
    second = status(("Admitted", "False", reason, "2nd of 6"))
    assert events(status(), third) == [(event, reason)]
    assert events(third, second) == []
    assert events(third, status(("Admitted", "True", "Admitted", ""))) == []
