"""The installation in Git, and what is left of it when Flux no longer finds it there.

It comes last: the operator's own process goes on, but the policies and the Service are pruned.
"""

from pathlib import Path

import pytest_asyncio
from tests.e2e.sessions.world import session
from tests.gitops.conftest import Fleet

from spawnai_local.paths import checkout

INSTALLATION = "clusters/production/spawnai"
KUSTOMIZATION = {
    "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
    "kind": "Kustomization",
    "metadata": {"name": "spawnai", "namespace": "flux-system"},
    "spec": {
        "interval": "10m",
        "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        "path": f"./{INSTALLATION}/manifests",
        "prune": True,
    },
}
DEPLOYMENT = ("get", "deployment", "spawnai-operator", "--namespace", "spawnai-system")


def files_of_the_installation() -> dict[str, str]:
    """crds/ and manifests/ as they stand, below their folder in Git."""
    files = [
        *(checkout() / "crds").glob("*.yaml"),
        *(checkout() / "manifests").glob("*.yaml"),
    ]
    return {f"{INSTALLATION}/{place(file)}": file.read_text() for file in files}


def place(file: Path) -> str:
    return str(file.relative_to(checkout()))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def installed(fleet: Fleet) -> Fleet:
    revision = await fleet.push_files("The operator", files_of_the_installation())
    await fleet.world.kubectl.apply(KUSTOMIZATION)
    await fleet.flux.until_applied("flux-system", "spawnai", revision, 60)
    return fleet


async def test_flux_applies_the_installation(installed):
    labels = (await installed.world.kubectl.json(*DEPLOYMENT))["metadata"]["labels"]
    assert labels["kustomize.toolkit.fluxcd.io/name"] == "spawnai"


async def test_pruning_it_leaves_what_sessions_need_to_end(installed):
    world = installed.world
    await world.kubectl.run("create", "namespace", "living")
    [one] = await world.apply("living", session("page", class_name="standard", ttl="8m"))
    await one.until_running()
    await world.kubectl.run(
        *("delete", "kustomization", "spawnai", "--namespace", "flux-system", "--timeout=60s"),
        limit_seconds=70,
    )
    assert await world.kubectl.run(*DEPLOYMENT, "--ignore-not-found") == ""
    left = await world.kubectl.run(
        *("get", "clusterrole,clusterrolebinding,namespace,serviceaccount,role,rolebinding"),
        *("--all-namespaces", "--selector", "app.kubernetes.io/name=spawnai", "--output", "name"),
    )
    kinds = {line.partition("/")[0].partition(".")[0] for line in left.split()}
    assert kinds == {
        "clusterrole",
        "clusterrolebinding",
        "namespace",
        "role",
        "rolebinding",
        "serviceaccount",
    }
    definitions = await world.kubectl.items("customresourcedefinitions")
    names = {one["metadata"]["name"] for one in definitions}
    ours = {one["metadata"]["name"] for one in world.stack.manifests.definitions}
    assert ours <= names
    assert one.is_there
    await one.delete()
    await one.until_gone()
    await one.assert_nothing_is_left()
