"""Events as a real API server takes them and kubectl shows them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest_asyncio
from kubernetes.aio import client, config

from spawnai.clock import SystemClock
from spawnai.controller.cluster import Cluster
from spawnai.telemetry.events import EventRecorder, Regarding
from spawnai_local.control_plane import ControlPlane

NAMESPACE = "events"
SESSION = Regarding("SpawnSession", NAMESPACE, "board", "uid-1", "spawn-ai.com/v1alpha1")
LONG = Regarding("SpawnSession", NAMESPACE, "b" * 253, "uid-2", "spawn-ai.com/v1alpha1")
CLUSTER_SCOPED = Regarding("SpawnClass", None, "default-offer", "uid-3", "spawn-ai.com/v1alpha1")


class QuickClock(SystemClock):
    """Sixty times as fast: the minute between two counts is a second."""

    def now(self) -> float:
        return super().now() * 60

    def utc_now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 60)


@pytest_asyncio.fixture(loop_scope="session")
async def recorder(control_plane: ControlPlane) -> AsyncIterator[EventRecorder]:
    kubectl = control_plane.kubectl
    await kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    configuration = client.Configuration()
    await config.load_kube_config(
        config_file=str(control_plane.kubeconfig), client_configuration=configuration
    )
    async with client.ApiClient(configuration) as api:
        cluster = Cluster(api, before_write=lambda: None)
        recorder = EventRecorder(cluster.write_event, QuickClock(), instance="operator-0")
        running = asyncio.create_task(recorder.run())
        yield recorder
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    await kubectl.run("delete", "namespace", NAMESPACE, "--wait=false")


async def test_events_are_taken_counted_and_shown(control_plane, recorder):
    kubectl = control_plane.kubectl
    for regarding in (SESSION, LONG, CLUSTER_SCOPED):
        recorder.emit(regarding, "Warning", "NoCapacity", "CreateDroplet", "é" * 2_000)
    recorder.emit(SESSION, "Normal", "Ready", "PushApp", "Live at http://203.0.113.9 🚀")
    for _ in range(4):
        await asyncio.sleep(0.1)
        recorder.emit(SESSION, "Normal", "Ready", "PushApp", "Live at http://203.0.113.9 🚀")

    async def told(namespace: str) -> list[dict]:
        return await kubectl.items("events.events.k8s.io", f"--namespace={namespace}")

    async with asyncio.timeout(20):
        while True:
            events = {(e["regarding"]["name"], e["reason"]): e for e in await told(NAMESPACE)}
            ready = events.get(("board", "Ready"), {})
            # A slow machine may spread the five over two counts.
            if len(events) == 3 and ready.get("series", {}).get("count") == 5:
                break
            await asyncio.sleep(0.2)
    assert ready["note"] == "Live at http://203.0.113.9 🚀"
    assert (LONG.name, "NoCapacity") in events
    in_default = [e for e in await told("default") if e["regarding"]["name"] == "default-offer"]
    assert len(in_default) == 1
    shown = await kubectl.run("events", f"--namespace={NAMESPACE}")
    assert "(x5 over" in shown
