"""Local stacks as the benchmarks need them: an audit log, shells, and no operator of their own."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from spawnai.api.names import API_VERSION
from spawnai.api.spawnclass import LifetimeSpec
from spawnai_local.bench import audit
from spawnai_local.bench.cluster import ClusterClient
from spawnai_local.classes import LOCAL_DNS_CLASS
from spawnai_local.cloud_settings import CloudSettings
from spawnai_local.narration import Narrator
from spawnai_local.processes import running_pid
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import StackSettings

_SERVICE_ACCOUNT = "spawnai-system:spawnai-operator"
_CLASS_SECONDS = 60.0
_Result = TypeVar("_Result")
_PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "cloud", "operator")


class BenchStack(LocalStack):
    """A local stack, and where its audit log and processes are."""

    @property
    def audit_log(self) -> Path:
        """The API server's log of what the operator wrote."""
        return self.directory / "audit.log"

    def pids(self) -> dict[str, int]:
        """The processes that run, by name."""
        found = {name: running_pid(self.directory / f"{name}.pid") for name in _PARTS}
        return {name: pid for name, pid in found.items() if pid is not None}

    async def until_classes_are_ready(self, cluster: ClusterClient) -> None:
        """Wait until the operator says that every class can be used.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(_CLASS_SECONDS):
            while True:
                found = await cluster.get(f"/apis/{API_VERSION}/spawnclasses")
                ready = [
                    any(
                        one["type"] == "Ready" and one["status"] == "True"
                        for one in item.get("status", {}).get("conditions", [])
                    )
                    for item in found["items"]
                ]
                if ready and all(ready):
                    return
                await asyncio.sleep(0.2)

    async def while_up(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do it, and stop at once when a part of the stack has ended by itself.

        Raises:
            StackError: one has.
        """

        async def watch() -> None:
            async for _ in self.happenings():
                pass

        doing, watching = asyncio.create_task(work), asyncio.create_task(watch())
        try:
            await asyncio.wait([doing, watching], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            return doing.result()
        finally:
            doing.cancel()
            watching.cancel()
            await asyncio.wait([doing, watching])


@asynccontextmanager
async def bench_stack(
    directory: Path, cloud: CloudSettings, lifetime: LifetimeSpec, narrator: Narrator
) -> AsyncIterator[BenchStack]:
    """A stack in `directory`, with its droplets' names in DNS; ended when the context is."""
    directory.mkdir(parents=True, exist_ok=True)
    policy = directory / "audit-policy.json"
    audit.write_policy(policy, _SERVICE_ACCOUNT)
    settings = StackSettings(
        directory=directory / "stack",
        local_cloud=cloud,
        lifetime=lifetime,
        default_class=LOCAL_DNS_CLASS,
        operator=False,
        api_server_flags=audit.api_server_flags(policy, directory / "stack" / "audit.log"),
    )
    async with BenchStack(settings, progress=narrator.say) as stack:
        yield stack
