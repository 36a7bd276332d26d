"""One state for each session, as the page and the plugin show it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from kubectl_spawn.app import App, State, StepState, dollars, left_shown

NOW = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)


def app(phase: str = "", *, ready: str | None = None, **status) -> App:
    conditions = [
        {"type": kind, **({"status": value} if isinstance(value, str) else value)}
        for kind, value in status.pop("conditions", {}).items()
    ]
    if ready:
        status["readyAt"] = ready
    return App(
        {
            "metadata": {"name": "retro-board", "namespace": "team-a"},
            "spec": {"appType": "webapp"},
            "status": {"phase": phase, "conditions": conditions, **status},
        }
    )


RAN = "2026-11-29T13:00:00Z"
QUEUED = {"status": "False", "reason": "Queued", "message": "3rd of 7: user-a has 3 of 3 running"}


@pytest.mark.parametrize(
    ("session", "state"),
    [
        (app(), State.BUILDING),
        (app("Requested", conditions={"Admitted": QUEUED}), State.WAITING),
        (
            app("Requested", conditions={"Admitted": QUEUED | {"reason": "WaitingForBudget"}}),
            State.WAITING,
        ),
        (app("Provisioning"), State.BUILDING),
        (app("Deploying", conditions={"Stalled": "True"}), State.FAILED),
        (app("Running", ready=RAN, conditions={"Ready": "True"}), State.RUNNING),
        (
            app("Running", ready=RAN, conditions={"Ready": "True", "ExpiringSoon": "True"}),
            State.ENDS_SOON,
        ),
        (
            app("Running", ready=RAN, conditions={"Ready": "True", "Degraded": "True"}),
            State.IN_PART,
        ),
        (app("Running", ready=RAN, conditions={"Ready": "Unknown"}), State.NOT_ANSWERING),
        (app("Destroying", ready=RAN, terminationReason="Expired"), State.ENDING),
        (app("Destroying", terminationReason="AppCrashed"), State.FAILED),
        (app("Destroyed", ready=RAN, terminationReason="Expired"), State.ENDED),
        (app("Destroyed", terminationReason="AppCrashed"), State.FAILED),
    ],
)
def test_a_session_has_one_state(session, state):
    assert session.state is state


def test_an_object_without_a_status_is_being_built():
    assert App({"metadata": {"name": "a"}, "spec": {}}).state is State.BUILDING


def test_steps_tell_what_is_done_and_what_is_under_way():
    session = app(
        "Generating",
        startedAt=RAN,
        region="nyc3",
        size="s-1vcpu-1gb",
        conditions={
            "DropletReady": "True",
            "FirewallReady": "True",
            "Generated": {"status": "False", "message": "Claude is writing server.js"},
        },
    )
    server, code, start, check = session.steps
    assert (server.state, server.says) == (
        StepState.DONE,
        "nyc3 s-1vcpu-1gb, firewall closed",
    )
    assert (code.state, code.says) == (StepState.BUSY, "Claude is writing server.js")
    assert start.state is StepState.OPEN
    assert check.state is StepState.OPEN


def running_since(started: str, **cost: str) -> App:
    """One that lives for ten hours from then."""
    ends = "2026-11-29T23:00:00Z"
    droplet = {"id": 1, "name": "d"}
    return app("Running", startedAt=started, expirationTime=ends, droplet=droplet, cost=cost)


def test_cost_so_far_is_reckoned_to_the_second_while_it_runs():
    running = running_since(RAN, hourly="0.02", claude="0.07", running="0.08")
    assert running.cost_so_far(NOW) == Decimal("0.0900")
    assert running.cost_so_far(NOW + timedelta(minutes=30)) == Decimal("0.1000")
    # A droplet costs a cent at least.
    assert running_since(RAN, hourly="0.001").cost_so_far(NOW) == Decimal("0.0100")


def test_cost_so_far_is_never_less_than_what_is_booked():
    booked = running_since(RAN, hourly="0.02", estimated="0.27", running="0.3")
    assert booked.cost_so_far(NOW) == Decimal("0.3")
    assert running_since(RAN, running="0.0907").cost_so_far(NOW) == Decimal("0.0907")
    ended = app("Destroyed", cost={"actual": "0.0911", "running": "0.0907"})
    assert ended.cost_so_far(NOW) == Decimal("0.0911")
    assert app("Requested", cost={"hourly": "0.00893"}).cost_so_far(NOW) is None


def test_an_amount_that_cannot_be_read_is_not_known():
    assert app("Running", cost={"actual": "much"}).cost_so_far(NOW) is None
    assert dollars(None) == "-"
    assert dollars(Decimal("0.11"), about=True, digits=2) == "~$0.11"


def test_left_is_time_percent_or_place():
    soon = (NOW + timedelta(minutes=4, seconds=12)).isoformat()
    running = app("Running", ready=RAN, expirationTime=soon, conditions={"Ready": "True"})
    assert left_shown(running, NOW) == "4m12s"
    assert left_shown(app("Generating", progress=43), NOW) == "43%"
    assert left_shown(app("Requested", conditions={"Admitted": QUEUED}), NOW) == "3rd"


def test_texts_of_strangers_reach_no_terminal_raw():
    session = app("Running", message="\x1b[2Jgone\u202e")
    assert session.message == "[2Jgone"
