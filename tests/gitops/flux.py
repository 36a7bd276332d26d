"""Flux on this machine: its source-controller and its kustomize-controller, as processes.

They have the rights of an administrator, as Flux has in a cluster. What a person does with the
`flux` program, `Flux` does with kubectl.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.kstatus import condition

from spawnai_local import toolchain
from spawnai_local.installation import until_established
from spawnai_local.kubectl import Kubectl
from spawnai_local.processes import ChildProcess, free_port

NAMESPACE = "flux-system"
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
READY_SECONDS = 60.0
RECONCILE_SECONDS = 60.0

Document = dict[str, Any]


class Flux:
    """What can be asked of Flux, and seen of it."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    async def get(self, kind: str, namespace: str, name: str) -> Document:
        """One of Flux's objects as it is now."""
        document: Document = await self._kubectl.json("get", kind, name, "--namespace", namespace)
        return document

    async def request(self, kind: str, namespace: str, name: str) -> str:
        """`flux reconcile` without waiting; returns the token by which the end is known."""
        token = uuid.uuid4().hex
        await self._kubectl.run(
            *("annotate", "--overwrite", kind, name, "--namespace", namespace),
            f"{REQUESTED_AT}={token}",
        )
        return token

    async def reconcile(self, kind: str, namespace: str, name: str) -> Document:
        """`flux reconcile`: have it looked at now, and wait until that is done, well or not."""
        token = await self.request(kind, namespace, name)
        return await eventually(
            f"{kind} {namespace}/{name} is reconciled",
            lambda: self.get(kind, namespace, name),
            lambda seen: (
                seen.get("status", {}).get("lastHandledReconcileAt") == token
                and ready(seen)["status"] != "Unknown"
            ),
            RECONCILE_SECONDS,
            pause=0.3,
        )

    async def until_applied(
        self, namespace: str, name: str, revision: str, seconds: float
    ) -> Document:
        """Wait until a Kustomization is Ready at that revision."""
        return await eventually(
            f"Kustomization {namespace}/{name} is Ready at {revision}",
            lambda: self.get("kustomization", namespace, name),
            lambda seen: (
                ready(seen)["status"] == "True"
                and seen["status"].get("lastAppliedRevision") == revision
            ),
            seconds,
            pause=0.3,
        )

    async def until_unhealthy(
        self, namespace: str, name: str, revision: str, seconds: float
    ) -> str:
        """Wait until a Kustomization's health check failed at that revision; returns its words."""
        seen = await eventually(
            f"Kustomization {namespace}/{name} is unhealthy at {revision}",
            lambda: self.get("kustomization", namespace, name),
            lambda seen: (
                ready(seen).get("reason") == "HealthCheckFailed"
                and seen["status"].get("lastAttemptedRevision") == revision
            ),
            seconds,
            pause=0.3,
        )
        return str(ready(seen)["message"])

    async def events(self, namespace: str, name: str) -> list[str]:
        """What a Kustomization's events say, oldest first."""
        items = await self._kubectl.items(
            *("events", "--namespace", namespace),
            *("--field-selector", f"involvedObject.kind=Kustomization,involvedObject.name={name}"),
            "--sort-by=.lastTimestamp",
        )
        return [str(item["message"]) for item in items]


def ready(document: Document) -> dict[str, Any]:
    """The Ready condition, with status Unknown when there is none."""
    return {"status": "Unknown", **condition(document, "Ready")}


@asynccontextmanager
async def running(directory: Path, kubectl: Kubectl) -> AsyncIterator[Flux]:
    """Flux's kinds and both controllers, until the end."""
    temporary, storage = directory / "tmp", directory / "storage"
    temporary.mkdir(parents=True)
    storage.mkdir()
    artifacts = f"127.0.0.1:{free_port()}"
    controllers: Mapping[str, tuple[str, ...]] = {
        "source-controller": (
            f"--storage-path={storage}",
            f"--storage-addr={artifacts}",
            f"--storage-adv-addr={artifacts}",
        ),
        "kustomize-controller": ("--requeue-dependency=2s",),
    }
    built = {name: await asyncio.to_thread(toolchain.flux_controller, name) for name in controllers}
    for controller in built.values():
        files = (f"--filename={path}" for path in controller.definitions)
        await kubectl.run("apply", "--server-side", *files)
    await until_established(kubectl)
    await kubectl.run("create", "namespace", NAMESPACE)
    processes: list[ChildProcess] = []
    try:
        for name, flags in controllers.items():
            health = f"127.0.0.1:{free_port()}"
            process = ChildProcess(
                name,
                [
                    built[name].program,
                    f"--health-addr={health}",
                    "--metrics-addr=0",
                    *flags,
                ],
                directory,
                environment={
                    "KUBECONFIG": str(kubectl.kubeconfig),
                    "RUNTIME_NAMESPACE": NAMESPACE,
                    "TMPDIR": str(temporary),
                },
            )
            processes.append(process)
            await process.start()
            await process.wait_until_answers(f"http://{health}/readyz", limit_seconds=READY_SECONDS)
        yield Flux(kubectl)
    finally:
        await asyncio.gather(*(process.stop() for process in processes))
