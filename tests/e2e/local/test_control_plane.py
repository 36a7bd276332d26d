import asyncio
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from spawnai_local.control_plane import ControlPlane
from spawnai_local.installation import until_established
from spawnai_local.kubectl import Kubectl, KubectlError
from spawnai_local.paths import checkout
from spawnai_local.processes import running_pid
from spawnai_local.toolchain import pinned_versions


async def apply(kubectl: Kubectl, *documents: dict[str, Any]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": documents}
    await kubectl.run("apply", "--filename=-", standard_input=json.dumps(items))


async def eventually_runs(kubectl: Kubectl, *arguments: str, limit_seconds: float = 20.0) -> str:
    """What the command prints once it no longer fails."""
    deadline = time.monotonic() + limit_seconds
    while True:
        try:
            return await kubectl.run(*arguments)
        except KubectlError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


def definition_of_jars() -> dict[str, Any]:
    """A custom resource whose `litres` CEL keeps below ten."""
    litres = {
        "type": "integer",
        "x-kubernetes-validations": [
            {"rule": "self < 10", "message": "a jar holds less than 10 litres; write 0 to 9"}
        ],
    }
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"litres": litres}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "jars.test.example.com"},
        "spec": {
            "group": "test.example.com",
            "scope": "Namespaced",
            "names": {"plural": "jars", "singular": "jar", "kind": "Jar"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def jar(name: str, litres: int, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "test.example.com/v1",
        "kind": "Jar",
        "metadata": {"name": name, **metadata},
        "spec": {"litres": litres},
    }


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return control_plane.kubectl


async def test_the_server_says_which_kubernetes_it_is(kubectl: Kubectl) -> None:
    is_given = "KUBEBUILDER_ASSETS" in os.environ  # as by `make compat`
    module = checkout() / "local" / "controlplane-oldest" if is_given else None
    versions = await kubectl.json("version")
    assert versions["serverVersion"]["gitVersion"] == pinned_versions(module).kubernetes


async def test_a_rule_in_a_custom_resource_definition_refuses_with_its_own_sentence(
    kubectl: Kubectl,
) -> None:
    await apply(kubectl, definition_of_jars())
    await until_established(kubectl)
    with pytest.raises(KubectlError, match="a jar holds less than 10 litres; write 0 to 9"):
        await apply(kubectl, jar("big", 10))
    await apply(kubectl, jar("small", 9))
    assert (await kubectl.json("get", "jar", "small"))["spec"]["litres"] == 9


async def test_what_an_object_owns_is_collected_with_it(kubectl: Kubectl) -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap"}
    await apply(kubectl, config_map | {"metadata": {"name": "owner"}})
    uid = (await kubectl.json("get", "configmap", "owner"))["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    await apply(kubectl, config_map | {"metadata": {"name": "owned", "ownerReferences": [owner]}})
    await kubectl.run("delete", "configmap", "owner")
    await kubectl.run("wait", "--for=delete", "configmap/owned", "--timeout=20s")


async def test_a_deleted_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl) -> None:
    await kubectl.run("create", "namespace", "short-lived")
    await kubectl.run("create", "configmap", "inside", "--namespace=short-lived")
    await kubectl.run("delete", "namespace", "short-lived", "--timeout=25s")
    with pytest.raises(KubectlError, match="NotFound"):
        await kubectl.run("get", "namespace", "short-lived")


async def test_a_service_account_may_do_what_its_role_says_and_no_more(
    control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    await kubectl.run("create", "namespace", "guests")
    await kubectl.run("create", "serviceaccount", "reader", "--namespace=guests")
    await kubectl.run(
        "create", "role", "reader", "--namespace=guests", "--verb=get,list", "--resource=configmaps"
    )
    await kubectl.run(
        *("create", "rolebinding", "reader", "--namespace=guests"),
        *("--role=reader", "--serviceaccount=guests:reader"),
    )
    kubeconfig = await control_plane.kubeconfig_for_service_account("guests", "reader")
    reader = control_plane.kubectl_with(kubeconfig)
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    await eventually_runs(reader, "get", "configmaps")  # RBAC learns of a new binding by a watch
    with pytest.raises(KubectlError, match="Forbidden"):
        await reader.run("get", "secrets")
    with pytest.raises(KubectlError, match="Forbidden"):
        await reader.run("get", "configmaps", "--namespace=default")


async def test_an_admission_policy_is_enforced(kubectl: Kubectl) -> None:
    await kubectl.run("create", "namespace", "strict")
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "no-bad-names"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["configmaps"],
                        "operations": ["CREATE"],
                    }
                ]
            },
            "validations": [
                {"expression": "!object.metadata.name.startsWith('bad')", "message": "not so"}
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-bad-names"},
        "spec": {
            "policyName": "no-bad-names",
            "validationActions": ["Deny"],
            "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "strict"}}
            },
        },
    }
    await apply(kubectl, policy, binding)
    deadline = time.monotonic() + 20
    refusal = ""
    while not refusal and time.monotonic() < deadline:  # a policy takes effect a moment later
        try:
            await kubectl.run("create", "configmap", "bad", "--namespace=strict")
            await kubectl.run("delete", "configmap", "bad", "--namespace=strict")
            await asyncio.sleep(0.2)
        except KubectlError as error:
            refusal = str(error)
    assert "not so" in refusal
    await kubectl.run("create", "configmap", "good", "--namespace=strict")


async def test_the_api_server_comes_back_at_the_same_address_with_all_objects(
    control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    await kubectl.run("create", "configmap", "survivor")
    server = control_plane.server
    await control_plane.stop_api_server()
    with pytest.raises(KubectlError):
        await kubectl.run("get", "configmap", "survivor")
    await control_plane.start_api_server()
    assert control_plane.server == server
    await kubectl.run("get", "configmap", "survivor")


def test_nothing_listens_on_another_address_than_this_machine_s_own(
    control_plane: ControlPlane,
) -> None:
    sockets_of_control_plane = set()
    for name in ("etcd", "kube-apiserver", "kube-controller-manager"):
        pid = running_pid(control_plane.directory / f"{name}.pid")
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                sockets_of_control_plane.add(target.removeprefix("socket:[").removesuffix("]"))
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets_of_control_plane:  # 0A is LISTEN
                listening.add(fields[1].split(":")[0])
    assert listening == {"0100007F"}


def test_keys_and_kubeconfigs_are_readable_by_their_owner_alone(
    control_plane: ControlPlane,
) -> None:
    secrets = [control_plane.kubeconfig, *control_plane.directory.glob("pki/*.key")]
    assert len(secrets) > 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
