"""argocd/health.lua in a Lua interpreter, on the statuses that the plan writes in each phase."""

from typing import Any

import pytest
from tests.contract.kstatus.test_phases import PHASES
from tests.support.gitops import ARGO_CD_OF_KSTATUS, argo_cd_health

from spawnai.api.crds import NOT_OBSERVED, RESOURCES
from spawnai_local.paths import checkout


def session(status: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "SpawnSession",
        "metadata": {"name": "board", "generation": 1, **metadata},
        **({} if status is None else {"status": status}),
    }


@pytest.mark.parametrize("phase", PHASES)
def test_argo_cd_sees_each_phase_as_kstatus_does(phase):
    life, expected = PHASES[phase]
    found, message = argo_cd_health(session(life().status.document()))
    assert found == ARGO_CD_OF_KSTATUS[expected]
    assert message


@pytest.mark.parametrize(
    "status", [None, {}, dict(NOT_OBSERVED), {**NOT_OBSERVED, "phase": "Requested"}]
)
def test_an_object_that_nobody_has_looked_at_is_progressing(status):
    assert argo_cd_health(session(status)) == ("Progressing", "Waiting for the operator")


def test_a_change_that_was_not_looked_at_yet_is_progressing():
    status = PHASES["Running"][0]().status.document() | {"observedGeneration": 1}
    assert argo_cd_health(session(status))[0] == "Healthy"
    assert argo_cd_health(session(status, generation=2))[0] == "Progressing"


def test_a_deleted_session_is_progressing_until_it_is_gone():
    status = PHASES["Running"][0]().status.document()
    assert (
        argo_cd_health(session(status, deletionTimestamp="2026-11-29T12:00:00Z"))[0]
        == "Progressing"
    )
    assert (
        argo_cd_health(session(None, deletionTimestamp="2026-11-29T12:00:00Z"))[0] == "Progressing"
    )


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([{"type": "Ready", "status": "True", "reason": "Ready", "message": "ok"}], "Healthy"),
        (
            [
                {"type": "Ready", "status": "False", "reason": "DomainMissing", "message": "no"},
                {"type": "Stalled", "status": "True", "reason": "DomainMissing", "message": "no"},
            ],
            "Degraded",
        ),
        (
            [
                {"type": "Ready", "status": "False", "reason": "SecretMissing", "message": "no"},
                {"type": "Reconciling", "status": "True", "reason": "SecretMissing"},
            ],
            "Progressing",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["SpawnClass", "SpawnPool"])
def test_a_class_or_pool_is_as_its_conditions_say(kind, conditions, expected):
    document = {
        "kind": kind,
        "metadata": {"name": "standard", "generation": 1},
        "status": {"observedGeneration": 1, "conditions": conditions},
    }
    assert argo_cd_health(document)[0] == expected


def test_the_guide_installs_it_for_every_kind():
    guide = (checkout() / "docs" / "gitops.md").read_text()
    for resource in RESOURCES:
        assert f"resource.customizations.health.spawn-ai.com_{resource.kind}" in guide
