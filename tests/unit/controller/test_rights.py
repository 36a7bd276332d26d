"""Missing rights are named at the start, and the list is that of the manifests."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tests.support.virtual_time import VirtualClock

from spawnai.cluster_access import NoClusterAccess, cluster_access
from spawnai.controller.cluster import ClusterError
from spawnai.controller.operator import Process
from spawnai.controller.rights import RIGHTS, RightsReview, missing_rights
from spawnai.settings import settings_from

RBAC = Path(__file__).parents[3] / "manifests" / "rbac.yaml"
ROLES = {
    document["kind"]: document["rules"]
    for document in yaml.safe_load_all(RBAC.read_text())
    if document["metadata"]["name"] == "spawnai-operator" and "rules" in document
}
CLUSTER_WIDE, OWN = ROLES["ClusterRole"], ROLES["ClusterRole"] + ROLES["Role"]


def test_the_manifests_give_every_right_and_nothing_else():
    assert missing_rights(OWN, CLUSTER_WIDE) == frozenset()
    given = {
        (verb, group, resource, kind == "Role", name)
        for kind, rules in ROLES.items()
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }
    assert given == {
        (right.verb, right.group, right.resource, right.in_own_namespace, right.name)
        for right in RIGHTS
    }


@pytest.mark.parametrize("right", RIGHTS, ids=str)
def test_each_right_is_missed(right):
    """Without the one verb in the one rule that gives it."""

    def without(rules):
        return [
            {**rule, "verbs": [verb for verb in rule["verbs"] if verb != right.verb]}
            if right.resource in rule["resources"]
            and rule.get("resourceNames", [""]) == [right.name]
            else rule
            for rule in rules
        ]

    assert missing_rights(without(OWN), without(CLUSTER_WIDE)) >= {right}


def test_an_administrator_misses_nothing():
    everything = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    assert missing_rights(everything, everything) == frozenset()
    assert len(missing_rights(everything, [])) == sum(not one.in_own_namespace for one in RIGHTS)


async def test_what_is_missing_is_told_once_with_what_does_not_work_and_counted(caplog):
    rules = {
        "spawnai-system": OWN,
        "default": [one for one in CLUSTER_WIDE if "events" not in one["resources"]],
    }

    async def own_rules(namespace: str):
        return rules[namespace]

    counts: list[int] = []
    review = RightsReview(
        SimpleNamespace(own_rules=own_rules),
        SimpleNamespace(missing_rights=counts.append),
        VirtualClock(),
        "spawnai-system",
    )
    caplog.set_level("INFO")
    await review.look()
    await review.look()
    told = [one.getMessage() for one in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("The operator may not create events: without it nobody sees")
    rules["default"] = CLUSTER_WIDE
    await review.look()
    assert counts == [2, 2, 0]
    assert "The operator may create events now" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["", "no yaml: [", "just a text", "apiVersion: v1\nkind: Config\n", "current-context: gone\n"],
    ids=["empty", "broken", "a text", "nothing in it", "no such context"],
)
async def test_a_kubeconfig_that_is_none_ends_in_a_sentence(tmp_path, text):
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    with pytest.raises(NoClusterAccess) as caught:
        await cluster_access({"KUBECONFIG": str(file)})
    said = str(caught.value)
    assert str(file) in said
    assert "\n" not in said
    assert "set KUBECONFIG to a file that kubectl can use" in said


async def test_a_start_that_the_api_server_refuses_waits_and_says_so_once(caplog):
    process = Process(settings_from({}))
    process._clock = VirtualClock()
    answers = iter([ClusterError("list spawnclasses", "forbidden", 403)] * 5 + [None])

    async def load() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "loaded"

    process._clock.sleep = _no_wait  # type: ignore[method-assign]
    assert await process._patiently(load) == "loaded"
    assert [one.getMessage() for one in caplog.records] == [
        "Cannot begin yet, trying again: list spawnclasses: forbidden"
    ]


async def _no_wait(_seconds: float) -> None:
    """Real time is not the matter here."""
