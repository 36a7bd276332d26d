"""SpawnAI put into a cluster by the repository's own crds/ and manifests/, all but the Deployment.

The operator then runs outside, as a process, but with exactly the rights it would have inside: it
logs in as the ServiceAccount that the Deployment names.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spawnai_local.helm import Helm
from spawnai_local.kubectl import Kubectl, KubectlError

# Longer than anyone leaves a local cloud running. Some clusters allow less, and give less.
_TOKEN_DURATION = "720h"  # noqa: S105 - a duration
_ESTABLISHED_SECONDS = 30
_ANSWER_SECONDS = 10.0
_AGAIN_SECONDS = 2.0
_LOOK_SECONDS = 0.1


class InstallationError(Exception):
    """The manifests do not say what is needed, or the cluster is in no state to take them."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """What the repository installs: CRDs, then everything else; the operator's Deployment apart."""

    definitions: tuple[dict[str, Any], ...]
    others: tuple[dict[str, Any], ...]
    deployment: dict[str, Any]

    @property
    def namespace(self) -> str:
        """The operator's namespace."""
        return str(self.deployment["metadata"]["namespace"])

    @property
    def service_account(self) -> str:
        """The ServiceAccount whose rights the operator has."""
        return str(self.deployment["spec"]["template"]["spec"]["serviceAccountName"])


def read_manifests(checkout: Path) -> Manifests:
    """Read crds/ and manifests/ (not its folders, which hold examples).

    Raises:
        InstallationError: there is not exactly one Deployment, or it has no namespace.
    """
    documents = [
        document
        for folder in (checkout / "crds", checkout / "manifests")
        for path in sorted(folder.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text())
        if document is not None
    ]
    deployments = [document for document in documents if document["kind"] == "Deployment"]
    if len(deployments) != 1 or "namespace" not in deployments[0]["metadata"]:
        raise InstallationError(
            f"expected {checkout / 'manifests'} to hold one Deployment with a namespace, "
            f"found {len(deployments)}"
        )
    definitions = [document for document in documents if _is_definition(document)]
    others = [
        document
        for document in documents
        if document not in deployments and not _is_definition(document)
    ]
    return Manifests(
        definitions=tuple(definitions),
        others=tuple(sorted(others, key=lambda document: document["kind"] != "Namespace")),
        deployment=deployments[0],
    )


async def install(
    kubectl: Kubectl,
    manifests: Manifests,
    helm: Helm | None,
    *,
    digitalocean_token: str,
    anthropic_api_key: str,
) -> None:
    """Install everything, wait until the new kinds are served, and put the keys into their Secret.

    With Helm the chart is installed; without, crds/ and manifests/ are applied.

    Raises:
        KubectlError, HelmError: the cluster refused.
        InstallationError: it does not serve the new kinds.
    """
    if helm is None:
        await kubectl.apply(*manifests.definitions)
    else:
        await helm.install(manifests.namespace)
    await until_established(kubectl, *(_name_of(one) for one in manifests.definitions))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "spawnai-credentials", "namespace": manifests.namespace},
        "stringData": {
            "digitalocean-token": digitalocean_token,
            "anthropic-api-key": anthropic_api_key,
        },
    }
    await kubectl.apply(*(manifests.others if helm is None else ()), secret)


async def until_established(kubectl: Kubectl, *names: str) -> None:
    """Wait until these CustomResourceDefinitions are served; without names, all of the cluster.

    Not with `kubectl wait`: it fails on a definition so young that its conditions are null.

    Raises:
        KubectlError: the cluster refused to say.
        InstallationError: some were not served in time.
    """
    deadline = time.monotonic() + _ESTABLISHED_SECONDS
    while missing := [
        _name_of(definition)
        for definition in await kubectl.items("customresourcedefinitions")
        if (not names or _name_of(definition) in names) and not _is_established(definition)
    ]:
        if time.monotonic() > deadline:
            raise InstallationError(
                f"expected the API server to serve {', '.join(missing)} within "
                f"{_ESTABLISHED_SECONDS} s; `kubectl describe crd` says what holds it up"
            )
        await asyncio.sleep(_LOOK_SECONDS)


def _name_of(document: dict[str, Any]) -> str:
    return str(document["metadata"]["name"])


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


async def write_current_context(kubectl: Kubectl, kubeconfig: str | None) -> None:
    """Write the current context of a person's kubeconfig, and nothing else of it, to kubectl's own.

    `kubeconfig` is the value of KUBECONFIG, which may name several files; None: ~/.kube/config.

    Raises:
        KubectlError: it has no current context, or cannot be read.
    """
    text = await kubectl.run(
        *("config", "view", "--raw", "--minify", "--flatten", "--output", "json"),
        kubeconfig=kubeconfig or str(Path.home() / ".kube" / "config"),
    )
    kubectl.kubeconfig.touch(mode=0o600)
    kubectl.kubeconfig.write_text(text)


async def write_operator_kubeconfig(kubectl: Kubectl, manifests: Manifests, path: Path) -> None:
    """Write a kubeconfig that logs in as the operator's ServiceAccount; only its owner can read it.

    Raises:
        KubectlError: the cluster refused.
    """
    token = await kubectl.run(
        *("create", "token", manifests.service_account),
        *("--namespace", manifests.namespace, "--duration", _TOKEN_DURATION),
    )
    view = await kubectl.json("config", "view", "--raw", "--minify", "--flatten")
    view["users"] = [{"name": manifests.service_account, "user": {"token": token.strip()}}]
    view["contexts"] = [
        {
            "name": "operator",
            "context": {
                "cluster": view["clusters"][0]["name"],
                "user": manifests.service_account,
                "namespace": manifests.namespace,
            },
        }
    ]
    view["current-context"] = "operator"
    path.touch(mode=0o600)
    path.write_text(json.dumps(view, indent=2))


async def delete_sessions(
    kubectl: Kubectl, classes: Sequence[str], *, limit_seconds: float
) -> None:
    """Delete every session, then these classes, and wait until all they used is gone.

    What fails for another reason than time is tried again: droplets are at stake.

    Raises:
        KubectlError: not all were gone in time; the message is kubectl's own.
    """
    deadline = time.monotonic() + limit_seconds
    commands: list[tuple[str, ...]] = [("delete", "spawnsessions", "--all", "--all-namespaces")]
    if classes:
        commands.append(("delete", "spawnclasses", *classes, "--ignore-not-found"))
    for command in commands:
        while True:
            left = max(1.0, deadline - time.monotonic())
            try:
                await kubectl.run(
                    *command, f"--timeout={left:.0f}s", limit_seconds=left + _ANSWER_SECONDS
                )
            except KubectlError:
                if time.monotonic() + _AGAIN_SECONDS > deadline:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                break


async def refuse_second_operator(kubectl: Kubectl, manifests: Manifests) -> None:
    """Make sure that no operator runs in the cluster.

    Raises:
        InstallationError: one does.
        KubectlError: the cluster refused to say.
    """
    name = str(manifests.deployment["metadata"]["name"])
    answer = await kubectl.run(
        *("get", "deployment", name, "--namespace", manifests.namespace, "--ignore-not-found"),
        *("--output", "jsonpath={.spec.replicas}"),
    )
    if answer.strip() not in ("", "0"):
        raise InstallationError(
            f"the cluster runs an operator already (Deployment {name} in namespace "
            f"{manifests.namespace}); two would share its sessions. Stop that one first: "
            f"kubectl scale deployment {name} --namespace {manifests.namespace} --replicas 0"
        )


async def refuse_sessions_of_another_cloud(kubectl: Kubectl, classes: Sequence[str]) -> None:
    """Make sure that every session in the cluster belongs to one of our classes.

    An operator that asks a cloud of its own for another one's droplets hears that they are gone,
    and would write so into their records.

    Raises:
        InstallationError: there are others.
        KubectlError: the cluster refused to say.
    """
    known = await kubectl.run("api-resources", "--api-group", "spawn-ai.com", "--output", "name")
    if "spawnsessions" not in known:
        return
    others = [
        f"{session['metadata']['namespace']}/{session['metadata']['name']}"
        for session in await kubectl.items("spawnsessions", "--all-namespaces")
        if _class_of(session) not in (None, *classes)
    ]
    if others:
        raise InstallationError(
            f"the cluster has sessions whose droplets are in another cloud: {', '.join(others)}. "
            "Use another cluster, or delete them while their own operator runs."
        )


def _class_of(session: dict[str, Any]) -> str | None:
    """The class that a session has, or will have; None: not known yet."""
    chosen = session.get("status", {}).get("className") or session["spec"].get("className")
    return None if chosen is None else str(chosen)


def _is_definition(document: dict[str, Any]) -> bool:
    return bool(document["kind"] == "CustomResourceDefinition")
