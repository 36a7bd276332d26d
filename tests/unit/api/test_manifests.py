"""What is installed: the manifests agree with the code, the image, and with each other."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from spawnai.api.durations import parse_duration
from spawnai.api.names import API_VERSION, DEFAULT_CLASS_ANNOTATION, TTL_ANNOTATION
from spawnai.api.session import AppType, SessionSpec
from spawnai.api.spawnclass import ClassSpec, LimitsSpec
from spawnai.controller.operator import LEASE_NAME
from spawnai.settings import settings_from

REPOSITORY = Path(__file__).resolve().parents[3]
MANIFESTS = REPOSITORY / "manifests"
EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))


def documents(*names: str) -> list[dict[str, Any]]:
    paths = [MANIFESTS / name for name in names] or sorted(MANIFESTS.glob("*.yaml"))
    return [
        document
        for path in paths
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text())
    ]


def the(kind: str, name: str = "spawnai-operator") -> dict[str, Any]:
    return next(
        document
        for document in documents()
        if document["kind"] == kind and document["metadata"]["name"] == name
    )


def container() -> dict[str, Any]:
    (only,) = the("Deployment")["spec"]["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_session_with_a_lifetime(path):
    document = yaml.safe_load(path.read_text())
    assert document["apiVersion"] == API_VERSION
    assert document["kind"] == "SpawnSession"
    assert document["metadata"]["name"] == path.stem
    assert "namespace" not in document["metadata"]
    SessionSpec.model_validate(document["spec"])
    assert parse_duration(document["metadata"]["annotations"][TTL_ANNOTATION])


def test_the_examples_show_every_app_type_and_one_that_is_broken():
    orders = {
        path.stem: SessionSpec.model_validate(yaml.safe_load(path.read_text())["spec"])
        for path in EXAMPLES
    }
    broken = orders.pop("broken")
    assert {order.app_type for order in orders.values()} == set(AppType)
    assert "simulate:app-dies-at-once" in broken.prompt


def test_the_class_that_is_shipped_is_the_default_and_uses_the_secret_that_is_shipped():
    (offer,) = documents("settings/spawnclass.yaml")
    assert offer["metadata"]["annotations"] == {DEFAULT_CLASS_ANNOTATION: "true"}
    spec = ClassSpec.model_validate(offer["spec"])
    limits = spec.limits.per_user
    assert (limits.active, limits.new_in15_minutes) == (3, 5)
    assert spec.model_copy(update={"limits": LimitsSpec()}).document() == ClassSpec().document()
    (secret,) = documents("settings/credentials.yaml")
    assert secret["metadata"]["name"] == spec.credentials.secret_name
    assert secret["metadata"]["namespace"] == the("Deployment")["metadata"]["namespace"]
    assert secret["stringData"] == {
        spec.credentials.digital_ocean_token_key: "replace-me",
        spec.credentials.anthropic_api_key_key: "replace-me",
    }


def test_kustomize_installs_every_manifest_and_every_definition():
    for folder, apart in ((MANIFESTS, {"../crds"}), (REPOSITORY / "crds", set())):
        listed = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"])
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert listed == files | apart


def test_no_prune_takes_what_sessions_need_to_end():
    """The definitions with all objects, the namespace, the operator's account and its rights."""
    definitions = [
        yaml.safe_load(path.read_text())
        for path in sorted((REPOSITORY / "crds").glob("*.yaml"))
        if path.name != "kustomization.yaml"
    ]
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    needed = [*definitions, the("Namespace", "spawnai-system"), *map(the, kinds)]
    assert len(definitions) == 5
    for one in needed:
        annotations = one["metadata"].get("annotations", {})
        assert annotations.get("argocd.argoproj.io/sync-options") == "Prune=false", one["metadata"]
        assert annotations.get("kustomize.toolkit.fluxcd.io/prune") == "disabled", one["metadata"]


def test_all_is_in_the_operators_namespace_or_in_none():
    namespace = the("Namespace", "spawnai-system")["metadata"]["name"]
    assert {
        document["metadata"]["namespace"]
        for document in documents()
        if "namespace" in document["metadata"]
    } == {namespace}
    assert settings_from({}).namespace == namespace


def test_the_pod_can_do_nothing_that_it_need_not():
    pod = the("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert container()["resources"]["limits"]["memory"]
    labels = the("Namespace", "spawnai-system")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_probes_metrics_and_network_policy_mean_the_port_that_the_operator_opens():
    port = settings_from({}).http_port
    (address,) = (
        variable["value"]
        for variable in container()["env"]
        if variable["name"] == "SPAWNAI_DOOR_ADDRESS"
    )
    door = settings_from({"SPAWNAI_DOOR_ADDRESS": address}).door.port
    assert container()["ports"] == [
        {"name": "http", "containerPort": port},
        {"name": "door", "containerPort": door},
    ]
    assert container()["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container()["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert the("Service")["spec"]["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]
    metrics, console = the("NetworkPolicy")["spec"]["ingress"]
    assert metrics["ports"] == [{"protocol": "TCP", "port": port}]
    assert console["ports"] == [{"protocol": "TCP", "port": door}]
    assert console["from"][0]["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "spawnai",
        "app.kubernetes.io/component": "console",
    }


def test_selectors_find_the_pod():
    template = the("Deployment")["spec"]["template"]["metadata"]["labels"]
    for selector in (
        the("Deployment")["spec"]["selector"]["matchLabels"],
        the("Service")["spec"]["selector"],
        the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= template.items()


def test_the_lease_that_may_be_renewed_is_the_one_that_is_used():
    (named,) = (
        rule
        for rule in the("Role")["rules"]
        if "resourceNames" in rule and rule["resources"] == ["leases"]
    )
    assert named["resourceNames"] == [LEASE_NAME]


def test_no_right_is_a_wildcard():
    for kind in ("ClusterRole", "Role"):
        for document in documents("rbac.yaml"):
            if document["kind"] == kind:
                for rule in document["rules"]:
                    granted = rule["apiGroups"] + rule["resources"] + rule["verbs"]
                    assert "*" not in granted


def dockerfile() -> list[list[str]]:
    """The instructions, as words."""
    text = (REPOSITORY / "operator" / "Dockerfile").read_text().replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def test_the_image_is_made_of_files_that_exist_and_are_sent_to_the_builder():
    sources = [words[1] for words in dockerfile() if words[:1] == ["COPY"] and "--" not in words[1]]
    assert sources == ["requirements/runtime.txt", "operator/spawnai"]
    ignored = (REPOSITORY / "operator" / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in ignored


def test_the_image_runs_the_module_that_exists_as_the_user_of_the_deployment():
    instructions = {words[0]: words[1:] for words in dockerfile() if words}
    assert instructions["USER"] == ["65532:65532"]
    assert "spawnai.cli]" in instructions["ENTRYPOINT"][-1]
    assert (REPOSITORY / "operator" / "spawnai" / "cli.py").is_file()
    assert container()["args"] == ["run"]
