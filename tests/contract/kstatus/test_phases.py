"""What Flux and others make of a session in each phase, by the library that they use themselves.

The statuses are those that the plan writes; kstatus is the real one (local/programs).
"""

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.gitops import kstatus_of
from tests.unit.lifecycle.life import START, Life, Step, an_offer

from spawnai.api.crds import NOT_OBSERVED
from spawnai.api.names import API_VERSION
from spawnai.api.spawnclass import ClassStatus
from spawnai.controller.classes.state import ClassProblem, ClassState, status_of
from spawnai.controller.store import StoredClass
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import AppView, Failure, FailureKind


def kstatus(status: dict[str, Any]) -> str:
    document = {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {"name": "retro-board", "namespace": "team", "generation": 1},
        "status": status,
    }
    [verdict] = kstatus_of([document])
    return verdict


def held(*actions: Step) -> Life:
    return Life(held=set(actions)).settle()


def with_dead_app() -> Life:
    life = Life().settle()
    life.app = AppView("failed", "AppCrashed", life.now, "it died")
    return life.settle()


def waiting(reason: str) -> Life:
    life = Life(offer=None)
    life.problem = Failure(FailureKind.NEEDS_PERSON, reason, "it is not there", life.now)
    return life.settle()


def refused(action: type[do.Action], kind: FailureKind, reason: str, **fields: Any) -> Life:
    life = Life(**fields)
    life.failing[action] = lambda _: life.fail(kind, reason, "refused")
    return life.settle()


def ended(life: Life) -> Life:
    return life.settle().change(expires_at="now")


NO_CREDIT = (do.GenerateApp, FailureKind.NEEDS_PERSON, "ClaudeNoCredit")
REFUSAL = (do.GenerateApp, FailureKind.FINAL, "GenerationRefused")
CRASH = (do.DeployApp, FailureKind.FINAL, "AppCrashed")

PHASES: dict[str, tuple[Callable[[], Life], str]] = {
    "Provisioning": (lambda: held("CreateDroplet", do.GenerateApp), "InProgress"),
    "Generating": (lambda: held(do.GenerateApp), "InProgress"),
    "Deploying": (lambda: held(do.DeployApp), "InProgress"),
    "Running": (lambda: Life().settle(), "Current"),
    "Running, expiring soon": (lambda: Life().settle().pass_time(hours=1, minutes=57), "Current"),
    "Running, the app died": (with_dead_app, "Failed"),
    "Requested, its class is missing": (lambda: waiting("ClassNotFound"), "InProgress"),
    "Requested, a Secret is missing": (lambda: waiting("SecretMissing"), "InProgress"),
    "Requested, its tier is not offered": (lambda: waiting("TierNotAllowed"), "Failed"),
    "Generating, no credit": (lambda: refused(*NO_CREDIT), "Failed"),
    "Destroying, in good order": (lambda: ended(Life(held={do.Delete})), "InProgress"),
    "Destroying, failed": (lambda: refused(*CRASH, held={do.Delete}), "InProgress"),
    "Destroyed, in good order": (lambda: ended(Life()).pass_time(minutes=5), "Current"),
    "Destroyed, failed": (lambda: refused(*REFUSAL).pass_time(minutes=5), "Failed"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_kstatus_reads_each_phase_right(phase):
    life, expected = PHASES[phase]
    status = life().status
    assert status.phase == phase.partition(",")[0]
    assert kstatus(status.document()) == expected


def test_an_object_that_nobody_has_looked_at_is_not_done():
    assert kstatus(dict(NOT_OBSERVED)) == "InProgress"
    assert kstatus({**NOT_OBSERVED, "phase": "Requested"}) == "InProgress"


def test_a_failed_teardown_says_what_happens_now_and_not_what_happened_before():
    life = refused(*CRASH, held={do.Delete})
    assert life.status.phase == "Destroying"
    assert life.condition("Reconciling") == ("True", "Destroying")
    told = next(one for one in life.status.conditions if one.type == "Reconciling")
    assert told.message == life.status.message


@pytest.mark.parametrize(
    ("reason", "expected"), [("SecretMissing", "InProgress"), ("DomainMissing", "Failed")]
)
def test_a_class_that_waits_for_its_secret_is_in_progress(reason, expected):
    known = StoredClass(
        resource_version=1,
        name="standard",
        uid="uid",
        generation=1,
        deleting=False,
        has_finalizer=True,
        is_default=False,
        created_at=START,
        spec=an_offer().spec,
        spec_problem=None,
        credentials=None,
        status=ClassStatus(),
    )
    status = status_of(known, ClassState(), ClassProblem(reason, "it is not there"), START)
    assert kstatus(status.document()) == expected
