import json
import stat

import pytest
import yaml

from spawnai_local import installation
from spawnai_local.installation import (
    InstallationError,
    delete_sessions,
    read_manifests,
    refuse_second_operator,
    write_current_context,
    write_operator_kubeconfig,
)
from spawnai_local.kubectl import Kubectl, KubectlError
from spawnai_local.paths import checkout


def kubectl_that_prints(directory, *answers: tuple[str, str]) -> Kubectl:
    """A program that answers each call whose arguments hold some words with a text."""
    cases = "\n".join(f"*{words!r}*) cat <<'END'\n{text}\nEND\n;;" for words, text in answers)
    program = directory / "kubectl"
    program.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\nesac\n')
    program.chmod(0o755)
    return Kubectl(program, directory / "kubeconfig", directory / "cache")


def test_the_repository_s_own_manifests_are_applied_without_the_deployment():
    manifests = read_manifests(checkout())
    kinds = [document["kind"] for document in manifests.others]
    assert kinds[0] == "Namespace"
    assert {"ServiceAccount", "ClusterRole", "ValidatingAdmissionPolicy"} <= set(kinds)
    assert not {"Deployment", "Kustomization", "Secret", "SpawnClass"} & set(kinds)
    assert manifests.namespace == "spawnai-system"
    names = {document["spec"]["names"]["kind"] for document in manifests.definitions}
    assert names == {"SpawnSession", "SpawnClass", "SpawnRecord", "SpawnBudget", "SpawnPool"}


def test_the_operator_runs_as_the_account_that_the_deployment_names():
    manifests = read_manifests(checkout())
    accounts = [
        document["metadata"]["name"]
        for document in manifests.others
        if document["kind"] == "ServiceAccount"
    ]
    assert manifests.service_account in accounts


def test_manifests_without_a_deployment_are_refused(tmp_path):
    (tmp_path / "crds").mkdir()
    (tmp_path / "manifests").mkdir()
    with pytest.raises(InstallationError, match="one Deployment with a namespace, found 0"):
        read_manifests(tmp_path)


async def test_the_operator_s_kubeconfig_holds_its_token_and_no_other_credential(tmp_path):
    administrator = {
        "clusters": [{"name": "local", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "admin", "user": {"client-key-data": "secret-of-the-administrator"}}],
        "contexts": [{"name": "admin", "context": {"cluster": "local", "user": "admin"}}],
        "current-context": "admin",
    }
    kubectl = kubectl_that_prints(
        tmp_path,
        ("create token spawnai-operator", "test-token"),
        ("config view", json.dumps(administrator)),
    )
    path = tmp_path / "operator.kubeconfig"
    await write_operator_kubeconfig(kubectl, read_manifests(checkout()), path)
    written = yaml.safe_load(path.read_text())
    assert written["users"] == [{"name": "spawnai-operator", "user": {"token": "test-token"}}]
    assert written["clusters"] == administrator["clusters"]
    assert "secret-of-the-administrator" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_only_the_current_context_of_a_person_s_kubeconfig_is_taken(tmp_path):
    kubectl = kubectl_that_prints(tmp_path, ("config view --raw --minify --flatten", "{}"))
    await write_current_context(kubectl, "/somewhere/config")
    assert kubectl.kubeconfig.read_text().strip() == "{}"
    assert stat.S_IMODE(kubectl.kubeconfig.stat().st_mode) == 0o600


async def test_a_cluster_that_runs_an_operator_already_is_refused_with_what_to_do(tmp_path):
    manifests = read_manifests(checkout())
    await refuse_second_operator(kubectl_that_prints(tmp_path), manifests)
    await refuse_second_operator(kubectl_that_prints(tmp_path, ("get deployment", "0")), manifests)
    with pytest.raises(InstallationError, match=r"kubectl scale deployment .* --replicas 0"):
        await refuse_second_operator(
            kubectl_that_prints(tmp_path, ("get deployment", "1")), manifests
        )


async def test_a_deletion_that_fails_is_tried_again_while_there_is_time(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "_AGAIN_SECONDS", 0.05)
    program = tmp_path / "kubectl"
    program.write_text(
        f"""#!/bin/sh
echo "$*" >>{tmp_path}/calls
[ "$(wc -l <{tmp_path}/calls)" -gt 2 ] || {{ echo "connection refused" >&2; exit 1; }}
"""
    )
    program.chmod(0o755)
    kubectl = Kubectl(program, tmp_path / "kubeconfig", tmp_path / "cache")
    await delete_sessions(kubectl, ["local"], limit_seconds=20)
    calls = [line.rpartition(" ")[0] for line in (tmp_path / "calls").read_text().splitlines()]
    sessions = "delete spawnsessions --all --all-namespaces"
    assert calls == [sessions] * 3 + ["delete spawnclasses local --ignore-not-found"]


async def test_a_deletion_that_never_succeeds_says_what_kubectl_said(tmp_path):
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\necho "still terminating" >&2; exit 1\n')
    program.chmod(0o755)
    kubectl = Kubectl(program, tmp_path / "kubeconfig", tmp_path / "cache")
    with pytest.raises(KubectlError, match="still terminating"):
        await delete_sessions(kubectl, [], limit_seconds=0.5)
