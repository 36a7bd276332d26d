"""What is made of a running app from three sides: its agent, a look from outside, DigitalOcean."""

from datetime import timedelta

import pytest
from tests.unit.lifecycle.life import IP, Life, a_session, an_offer

from spawnai.api.session import AppType, SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.health import Entry, ProbeTarget, is_blind, probe_target
from spawnai.lifecycle.observation import (
    AppView,
    DropletView,
    FailureKind,
    OutsideView,
    Reachability,
    Sight,
)


def running(**health) -> Life:
    order = SessionSpec(prompt="An app about ferns", app_type=AppType.API)
    life = Life(session=a_session(spec=order, ttl="2h"), offer=an_offer(health=health))
    return life.settle().pass_time(minutes=10)


def seen(life: Life, state: Reachability) -> Life:
    """Several looks in a row have ended so, and the session is woken."""
    life.outside = OutsideView(state, life.now)
    return life


def silent_agent(life: Life) -> Life:
    life.failing[do.CheckApp] = lambda _: life.fail(
        FailureKind.TRANSIENT, "AgentUnreachable", "no answer"
    )
    return life


def healthy(life: Life) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
    return life.condition("AppHealthy"), life.condition("Ready")


def test_a_look_that_finds_the_app_down_has_the_agent_asked_at_once_and_once():
    life = running()
    asked = life.kinds_done().count("CheckApp")
    life.app_says = life.app = AppView("failed", "AppCrashed", life.now, "it died")
    life.now += timedelta(seconds=1)
    seen(life, Reachability.DOWN).settle()
    assert life.kinds_done().count("CheckApp") == asked + 1
    assert healthy(life) == (("False", "AppCrashed"), ("False", "AppCrashed"))
    life.settle()
    assert life.kinds_done().count("CheckApp") == asked + 1


def test_an_app_that_its_agent_calls_well_and_nobody_reaches_has_a_cut_path():
    life = seen(running(), Reachability.SILENT)
    life.now += timedelta(seconds=1)
    life.settle()
    assert healthy(life) == (("False", "NetworkPath"), ("False", "NetworkPath"))
    assert life.reasons().count("NetworkPath") == 1
    assert life.condition("Stalled") is None
    life.now += timedelta(seconds=30)
    seen(life, Reachability.ANSWERS).settle()
    assert healthy(life) == (("True", "Answers"), ("True", "Running"))


def test_a_restarted_operator_does_not_take_a_cut_path_for_a_failed_app():
    life = seen(running(), Reachability.SILENT)
    life.now += timedelta(seconds=1)
    life.settle()
    life.restart()
    life.app, life.outside = None, None
    life.settle()
    assert life.condition("Stalled") is None


def test_where_neither_answers_one_question_is_enough():
    life = silent_agent(seen(running(), Reachability.SILENT)).settle()
    assert healthy(life) == (("Unknown", "AgentUnreachable"), ("Unknown", "AgentUnreachable"))


def test_when_many_are_silent_the_operator_says_that_it_is_blind_and_asks_no_agent():
    life = silent_agent(seen(running(), Reachability.SILENT)).settle()
    life.sight = Sight(is_blind=True)
    asked = life.kinds_done().count("CheckApp")
    life.pass_time(minutes=5)
    assert healthy(life) == (("Unknown", "OperatorBlind"), ("Unknown", "OperatorBlind"))
    assert life.kinds_done().count("CheckApp") == asked
    assert life.status.termination_reason is None
    life.sight, life.failing = Sight(), {}
    seen(life, Reachability.ANSWERS).settle()
    assert healthy(life) == (("True", "Answers"), ("True", "Running"))


def test_looks_that_come_and_go_write_nothing():
    life = running()
    written = len(life.statuses)
    for _ in range(20):  # an app that starts again: its agent says so
        life.now += timedelta(seconds=30)
        life.app_says = life.app = AppView("starting", None, life.now)
        seen(life, Reachability.DOWN).settle()
        life.now += timedelta(seconds=30)
        life.app_says = life.app = AppView("running", None, life.now)
        seen(life, Reachability.ANSWERS).settle()
    assert len(life.statuses) == written


@pytest.mark.parametrize(
    ("on_app_failure", "reason"), [("Keep", None), ("End", "AppCrashed")], ids=["keep", "end"]
)
def test_the_class_says_what_becomes_of_a_session_whose_app_failed(on_app_failure, reason):
    life = running(onAppFailure=on_app_failure)
    life.app = AppView("failed", "AppCrashed", life.now, "it died")
    life.settle()
    assert life.status.termination_reason == reason
    assert life.condition("Stalled") == ("True", "AppCrashed")


def test_a_failure_that_only_the_status_tells_of_ends_nothing():
    life = running(onAppFailure="Keep")
    life.app = AppView("failed", "AppCrashed", life.now, "it died")
    life.settle().restart()
    life.app, life.app_says = None, AppView("running", None, life.now)
    life.offer = an_offer(health={"onAppFailure": "End"})
    life.settle()
    assert life.status.termination_reason is None


def target(life: Life) -> ProbeTarget | None:
    return probe_target(life.observe(), life.status)


def test_a_running_app_is_looked_at_as_its_class_says():
    life = running(interval="10s", timeout="2s", failures=4)
    assert target(life) == ProbeTarget(IP, 80, 10.0, 2.0, 4)


def test_behind_a_gateway_only_the_agents_door_is_looked_at():
    exposure = {"mode": "Wildcard", "domain": "apps.example"}
    life = Life(offer=an_offer(exposure=exposure)).settle()
    assert target(life) == ProbeTarget(IP, None, 30.0, 5.0, 3)


def behind_a_load_balancer() -> Life:
    exposure = {"mode": "LoadBalancer", "domain": "apps.example"}
    return Life(offer=an_offer(exposure=exposure)).settle()


def test_through_its_load_balancer_an_app_is_looked_at_as_its_users_do():
    life = behind_a_load_balancer()
    host = life.status.url.removeprefix("https://")
    entry = Entry(host, life.balancer_ip, 443)
    assert target(life) == ProbeTarget(IP, None, 30.0, 5.0, 3, entry)


def test_a_load_balancer_that_nobody_answers_at_is_looked_at_once():
    life = behind_a_load_balancer().pass_time(minutes=10)
    asked = life.kinds_done().count("AwaitLoadBalancer")
    seen(life, Reachability.SILENT)
    life.now += timedelta(seconds=1)
    life.settle().settle()
    assert healthy(life)[1] == ("False", "NetworkPath")
    assert f"its load balancer {life.balancer_ip}" in life.status.message
    assert life.kinds_done().count("AwaitLoadBalancer") == asked + 1


def test_an_app_that_does_not_run_or_whose_droplet_goes_is_not_looked_at():
    life = Life()
    life.held.add(do.DeployApp)
    assert target(life.settle()) is None
    life = running()
    life.held.add("DeleteDroplet")
    life.change(deleting=True)
    assert target(life) is None


def test_a_droplet_that_is_off_says_so_before_all_else():
    life = silent_agent(seen(running(onDropletFailure="Keep"), Reachability.SILENT))
    life.droplet = DropletView(77, "off", IP)
    life.settle()
    assert healthy(life)[0] == ("False", "PoweredOff")


@pytest.mark.parametrize(
    ("silent", "followed", "blind"),
    [(2, 2, False), (3, 3, True), (3, 15, True), (3, 16, False), (200, 1000, True), (0, 0, False)],
)
def test_three_and_a_fifth_of_all_make_the_operator_doubt_itself(silent, followed, blind):
    assert is_blind(silent, followed) is blind
