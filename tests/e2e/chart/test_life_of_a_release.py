"""A release of the chart on a real API server, with a session that runs through all of it.

The tests build on each other, in their order: dry run, installation, upgrade, rollback, uninstall.
"""

import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml
from tests.e2e.chart.hooks import Hooks
from tests.e2e.sessions.conftest import CLOUD, LIFETIME
from tests.e2e.sessions.scrape import Scrape
from tests.e2e.sessions.world import World, session

from spawnai_local.helm import CHART, RELEASE, HelmError
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import Installer, StackSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMESPACE = "spawnai-system"
PATIENT = ("--timeout=240s",)
KINDS = (
    "customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,"
    "validatingadmissionpolicybindings,deployments,services,serviceaccounts,roles,rolebindings,"
    "networkpolicies"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory) -> AsyncIterator[LocalStack]:
    """The whole product, its objects installed by `helm upgrade --install`."""
    settings = StackSettings(
        tmp_path_factory.mktemp("chart") / "stack",
        installer=Installer.HELM,
        local_cloud=CLOUD,
        lifetime=LIFETIME,
    )
    async with LocalStack(settings) as running:
        yield running
    assert running.forgotten_processes == 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(stack) -> AsyncIterator[World]:
    async with World.of(stack) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hooks(stack) -> AsyncIterator[Hooks]:
    async with Hooks(stack).running() as running:
        yield running


@pytest.fixture(scope="module")
def older_chart(tmp_path_factory) -> Path:
    """The chart as an earlier release may have been: another version, a column and a port fewer."""
    folder = tmp_path_factory.mktemp("older") / "spawnai"
    shutil.copytree(CHART, folder)
    chart = folder / "Chart.yaml"
    chart.write_text(re.sub(r"(?m)^(version|appVersion): .*$", r"\1: 0.0.1", chart.read_text()))
    crd = folder / "files" / "crds" / "spawnsessions.yaml"
    definition = yaml.safe_load(crd.read_text())
    del definition["spec"]["versions"][0]["additionalPrinterColumns"][-1]
    crd.write_text(yaml.safe_dump(definition))
    return folder


async def versions(stack: LocalStack) -> dict[str, str]:
    """The resourceVersion of everything that the release owns."""
    items = await stack.kubectl.items(
        *(KINDS, "--all-namespaces"), "--selector", f"app.kubernetes.io/instance={RELEASE}"
    )
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in items
    }


async def scrape(stack: LocalStack) -> Scrape:
    async with httpx.AsyncClient(trust_env=False) as client:
        return Scrape((await client.get(stack.metrics_url)).text)


async def columns(stack: LocalStack) -> int:
    definition = await stack.kubectl.json("get", "crd", "spawnsessions.spawn-ai.com")
    return len(definition["spec"]["versions"][0]["additionalPrinterColumns"])


async def running_uid(world: World) -> str:
    """The one session runs, and its page answers; returns its UID."""
    one = world.session("default", "board")
    assert one.phase == "Running", one.status
    assert (await one.fetch()).status == 200
    return one.uid


async def test_the_api_server_takes_every_object_that_the_chart_renders(stack):
    text = await stack.helm.run(
        "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--no-hooks"
    )
    applied = await stack.kubectl.run(
        *("apply", "--server-side", "--dry-run=server", "--force-conflicts", "--filename", "-"),
        standard_input=text,
    )
    assert "deployment.apps/spawnai-operator" in applied


async def test_the_installed_chart_brings_a_session_up(stack, world):
    await world.apply("default", session("board", "A retro board with three columns", ttl="9m"))
    await world.session("default", "board").until_running()
    listed = json.loads(await stack.helm.run("list", "-n", NAMESPACE, "--output", "json"))
    assert [(one["name"], one["status"]) for one in listed] == [(RELEASE, "deployed")]


async def test_the_charts_own_test_passes_under_rights_of_its_own(stack, hooks):
    await stack.helm.run("test", RELEASE, "--namespace", NAMESPACE, *PATIENT)
    assert "takes a SpawnSession" in hooks.logs["spawnai-test"]


async def test_an_upgrade_that_changes_nothing_writes_nothing(stack, world):
    before, wrote = await versions(stack), await scrape(stack)
    await stack.helm.install(NAMESPACE)
    assert await versions(stack) == before
    assert (await scrape(stack)).grown(wrote, "spawnai_api_writes_total") == 0
    await running_uid(world)


async def test_sessions_live_through_a_downgrade_an_upgrade_and_a_rollback(
    stack, world, older_chart
):
    uid = await running_uid(world)
    now = await columns(stack)
    await stack.helm.install(NAMESPACE, chart=older_chart)
    assert await columns(stack) == now - 1
    assert await running_uid(world) == uid
    await stack.helm.install(NAMESPACE)
    assert await columns(stack) == now, "definitions are upgraded with the release"
    assert await running_uid(world) == uid
    await stack.helm.run("rollback", RELEASE, "--namespace", NAMESPACE)
    assert await columns(stack) == now - 1
    assert await running_uid(world) == uid
    await stack.helm.install(NAMESPACE)
    assert await running_uid(world) == uid


async def test_a_second_release_is_refused(stack):
    with pytest.raises(HelmError, match="spawnai"):
        await stack.helm.run("install", "other", str(CHART), "--namespace", "default")


async def test_uninstalling_is_refused_while_a_session_has_a_droplet(stack, world, hooks):
    with pytest.raises(HelmError):
        await stack.helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, *PATIENT)
    assert "SpawnSession default/board" in hooks.logs["spawnai-uninstall-guard"]
    assert "deployment" in await stack.kubectl.run("get", "deploy", "-n", NAMESPACE, "-o", "name")
    await running_uid(world)


async def test_after_the_sessions_it_uninstalls_and_keeps_definitions_and_ledgers(
    stack, world, hooks
):
    uid = await running_uid(world)
    await world.delete_sessions("default")
    await world.session("default", "board").until_gone()
    await stack.kubectl.run("delete", "spawnclasses", "--all", limit_seconds=60)
    await stack.helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, *PATIENT)
    assert "nothing is left" in hooks.logs["spawnai-uninstall-guard"]
    record = await stack.kubectl.json("get", "spawnrecord", uid)
    assert record["status"]["completedAt"]
    left = await versions(stack)
    assert {name.split("/")[0] for name in left} == {"CustomResourceDefinition"}
    assert await world.left_of(uid) == []


async def test_it_installs_again_with_a_default_class_that_no_release_deletes(stack):
    """At an installation the class is a hook's, and later an object of the release."""

    async def default_class() -> tuple[str, str]:
        document = await stack.kubectl.json("get", "spawnclass", "shop")
        annotations = document["metadata"]["annotations"]
        assert annotations["spawn-ai.com/is-default-class"] == "true"
        assert annotations["helm.sh/resource-policy"] == "keep"
        return document["metadata"]["uid"], document["spec"]["lifetime"]["max"]

    def with_class(longest: str) -> str:
        values = {"enabled": "true", "name": "shop", "spec.lifetime.max": longest}
        return "--set=" + ",".join(f"defaultClass.{name}={value}" for name, value in values.items())

    await stack.helm.install(NAMESPACE, with_class("6h"))
    assert any(name.startswith("Deployment/") for name in await versions(stack))
    uid, longest = await default_class()
    assert longest == "6h"
    await stack.helm.install(NAMESPACE, with_class("8h"))
    assert await default_class() == (uid, "8h")
    await stack.helm.install(NAMESPACE)
    assert await default_class() == (uid, "8h")
