"""What a kubelet would do with the chart's hooks: run the command of a Job's or Pod's container.

There is no kubelet here. The command runs as a process, under the token of the pod's own account,
and its result is written into the object's status as a Job controller and a kubelet would.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spawnai_local.kubectl import Kubectl
from spawnai_local.stack import LocalStack

_COMMAND_SECONDS = 200.0


class Hooks:
    """Runs hooks for as long as it is entered. `logs` is what each printed, by its name."""

    def __init__(self, stack: LocalStack) -> None:
        self.logs: dict[str, str] = {}
        self._stack = stack
        self._done: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Hooks"]:
        task = asyncio.create_task(self._run(), name="hooks")
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            for kind in ("jobs", "pods"):
                for one in await self._kubectl.items(kind, "--namespace", self._namespace):
                    if one["metadata"]["uid"] not in self._done:
                        self._done.add(one["metadata"]["uid"])
                        await self._execute(kind, one)
            await asyncio.sleep(0.2)

    @property
    def _kubectl(self) -> Kubectl:
        return self._stack.kubectl

    @property
    def _namespace(self) -> str:
        return self._stack.manifests.namespace

    async def _execute(self, kind: str, document: Mapping[str, Any]) -> None:
        spec = document["spec"] if kind == "pods" else document["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        service = f"http://spawnai-operator.{self._namespace}:8080"
        operator = self._stack.metrics_url.removesuffix("/metrics")
        arguments = [text.replace(service, operator) for text in container["args"]]
        kubeconfig = await self._kubeconfig(spec["serviceAccountName"])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spawnai.cli", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        )
        async with asyncio.timeout(_COMMAND_SECONDS):
            output, _ = await process.communicate()
        self.logs[document["metadata"]["name"]] = output.decode()
        status = _job_status if kind == "jobs" else _pod_status
        await self._kubectl.run(
            *("patch", kind, document["metadata"]["name"], "--namespace", self._namespace),
            *("--subresource=status", "--type=merge", "--patch"),
            json.dumps({"status": status(succeeded=process.returncode == 0)}),
        )

    async def _kubeconfig(self, account: str) -> Path:
        control_plane = self._stack.control_plane
        return await control_plane.kubeconfig_for_service_account(self._namespace, account)


def _job_status(*, succeeded: bool) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def condition(type_: str) -> dict[str, str]:
        return {"type": type_, "status": "True", "lastTransitionTime": now, "reason": "Hook"}

    if succeeded:
        types = ("SuccessCriteriaMet", "Complete")
        return {
            "startTime": now,
            "completionTime": now,
            "succeeded": 1,
            "conditions": [condition(type_) for type_ in types],
        }
    types = ("FailureTarget", "Failed")
    return {"startTime": now, "failed": 1, "conditions": [condition(type_) for type_ in types]}


def _pod_status(*, succeeded: bool) -> dict[str, Any]:
    return {"phase": "Succeeded" if succeeded else "Failed"}
