"""What a campaign does to its stack and sees of it: sessions, classes, keys, foreign things."""

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp

from spawnai.api.names import API_VERSION, EXPIRES_AT_ANNOTATION, TTL_ANNOTATION
from spawnai.api.spawnclass import (
    ClassSpec,
    CredentialsSpec,
    ExposureSpec,
    FirewallMode,
    FirewallSpec,
    Https,
)
from spawnai.controller.operator import LEASE_NAME
from spawnai_local.bench.cluster import (
    ClusterClient,
    ClusterError,
    records_path,
    sessions_path,
)
from spawnai_local.chaos.plans import Flavour
from spawnai_local.chaos.stack import LIFETIME, ChaosStack
from spawnai_local.classes import LOCAL_DOMAIN

NAMESPACE = "chaos"
TTL_AT_FIRST = "30m"
_CLASSES = f"/apis/{API_VERSION}/spawnclasses"
_AGAIN_SECONDS = 0.2

Document = dict[str, Any]


class Unmet(Exception):
    """Something that had to happen did not, in its time."""


class World:
    """The stack as its users see it, over the API server itself and not through a gate."""

    def __init__(self, stack: ChaosStack) -> None:
        self.stack = stack
        self.gate = stack.gate
        self.cluster = ClusterClient(stack.kubeconfig)
        self.newest: dict[str, Document] = {}
        self.gone: dict[str, float] = {}
        self.phases: dict[str, list[tuple[float, str]]] = {}
        """What each session was in, and since when (epoch seconds)."""
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.cluster.__aenter__()
        await self.cluster.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for lane in self.stack.lanes:
            await self._write_keys(lane)
        for name in self.stack.classes:
            await self.cluster.delete(f"{_CLASSES}/{name}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.cluster.__aexit__(kind, error, trace)

    async def _write_keys(self, name: str) -> None:
        """A Secret with a token and a key that are both of its name."""
        key = base64.b64encode(name.encode()).decode()
        await self.cluster.create(
            f"/api/v1/namespaces/{self.stack.manifests.namespace}/secrets",
            {
                "metadata": {"name": name},
                "data": {"digitalocean-token": key, "anthropic-api-key": key},
            },
        )

    async def unused_keys(self) -> str:
        """Keys with which no operator has opened an account yet."""
        name = self.stack.unused_tokens.pop()
        await self._write_keys(name)
        return name

    async def watch(self) -> None:
        """Keep up with the sessions for as long as the campaign lasts."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ClusterError):
                async for event in self.cluster.watch(sessions_path(NAMESPACE)):
                    if event.type == "ERROR":
                        break
                    self._saw(event.type, event.object)
            await asyncio.sleep(_AGAIN_SECONDS)

    def _saw(self, type_: str, document: Document) -> None:
        name = document["metadata"]["name"]
        self.newest[name] = document
        phase = document.get("status", {}).get("phase")
        seen = self.phases.setdefault(name, [])
        if phase is not None and (not seen or seen[-1][1] != phase):
            seen.append((time.time(), phase))
        if type_ == "DELETED":
            self.gone[name] = time.time()
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(
        self, name: str, what: str, holds: Callable[[Document], object], seconds: float
    ) -> Document:
        """Wait until a session is as it should be.

        Raises:
            Unmet: it is not, that time after the last kill (`seconds_left`).
        """
        began = time.time()
        while name not in self.newest or not holds(self.newest[name]):
            left = seconds_left(began, seconds, self.stack.kills)
            if left <= 0:
                status = self.newest.get(name, {}).get("status", {})
                raise Unmet(
                    f"it was not {what} within {seconds:.0f} s; it is "
                    f"{status.get('phase')}: {status.get('message')}"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        return self.newest[name]

    async def until_gone(self, name: str, seconds: float) -> None:
        """Wait until the API server has a session no more."""
        await self.until(name, "gone", lambda _: name in self.gone, seconds)

    # What users do.

    async def apply(self, name: str, lane: str, flavour: Flavour) -> None:
        """A class of its own and a session of it, both of that name."""
        gate, own = self.gate, flavour is Flavour.OWN_FIREWALL
        gate.owners[name] = name
        gate.owners[lane] = name
        spec = ClassSpec(
            lifetime=LIFETIME,
            credentials=CredentialsSpec(secret_name=lane),
            exposure=self._exposure(flavour),
            firewall=FirewallSpec(mode=FirewallMode.PER_SESSION if own else FirewallMode.SHARED),
        )
        made = await self.cluster.create(
            _CLASSES,
            {
                "apiVersion": API_VERSION,
                "kind": "SpawnClass",
                "metadata": {"name": name},
                "spec": spec.model_dump(
                    mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
                ),
            },
        )
        gate.owners[made["metadata"]["uid"]] = name
        gate.classes[name] = made["metadata"]["uid"]
        order = ("Print the first prime numbers", "script") if own else ("A page", "webapp")
        session = await self.cluster.create(
            sessions_path(NAMESPACE),
            {
                "apiVersion": API_VERSION,
                "kind": "SpawnSession",
                "metadata": {"name": name, "annotations": {TTL_ANNOTATION: TTL_AT_FIRST}},
                "spec": {"prompt": order[0], "appType": order[1], "className": name},
            },
        )
        gate.owners[session["metadata"]["uid"]] = name
        gate.uids[name] = session["metadata"]["uid"]

    def _exposure(self, flavour: Flavour) -> ExposureSpec:
        http_port = self.stack.cloud.http_port
        if flavour is Flavour.CERTIFIED:
            return ExposureSpec(http_port=http_port)
        return ExposureSpec(http_port=http_port, domain=LOCAL_DOMAIN, https=Https.OFF)

    async def annotate(self, name: str, **annotations: str) -> None:
        """`kubectl annotate`."""
        names = {"ttl": TTL_ANNOTATION, "expires_at": EXPIRES_AT_ANNOTATION}
        values = {names[key]: text for key, text in annotations.items()}
        await self.cluster.patch(
            sessions_path(NAMESPACE, name), {"metadata": {"annotations": values}}
        )

    async def expire_at(self, name: str, moment: float) -> None:
        """`kubectl annotate` with an absolute time; returns once it is promised."""
        text = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await self.annotate(name, expires_at=text)

    async def change_class(self, name: str, spec: Mapping[str, Any]) -> Document:
        """`kubectl patch` of a class; returns it as it is then."""
        await self.cluster.patch(f"{_CLASSES}/{name}", {"spec": spec})
        return await self.cluster.get(f"{_CLASSES}/{name}")

    async def until_class_observed(self, changed: Document, seconds: float) -> None:
        """Wait until the operator has said what it makes of a changed class."""
        wanted, path = changed["metadata"], f"{_CLASSES}/{changed['metadata']['name']}"
        deadline = time.monotonic() + seconds
        while True:
            status = (await self.cluster.get(path)).get("status", {})
            if status.get("observedGeneration") == wanted["generation"]:
                return
            if time.monotonic() > deadline:
                raise Unmet(f"its class was not looked at within {seconds:.0f} s")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def delete(self, name: str) -> None:
        """`kubectl delete` of the session and its class, without waiting."""
        for path in (sessions_path(NAMESPACE, name), f"{_CLASSES}/{name}"):
            with contextlib.suppress(ClusterError):
                await self.cluster.delete(path)

    async def until_class_gone(self, name: str, seconds: float) -> None:
        """Wait until a class has been let go."""
        began = time.time()
        while await self._found(f"{_CLASSES}/{name}") is not None:
            if seconds_left(began, seconds, self.stack.kills) <= 0:
                raise Unmet(f"its class was not gone within {seconds:.0f} s")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _found(self, path: str) -> Document | None:
        try:
            return await self.cluster.get(path)
        except ClusterError as error:
            if "NotFound" in str(error):
                return None
            raise

    async def delete_lease(self) -> None:
        """`kubectl delete` of the operator's Lease: whoever leads has to make it again."""
        namespace = self.stack.manifests.namespace
        with contextlib.suppress(ClusterError):  # another life was quicker
            await self.cluster.delete(
                f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE_NAME}"
            )

    # What can be seen.

    async def ledger(self, uid: str) -> Document:
        """A session's SpawnRecord."""
        return await self.cluster.get(records_path(uid))

    async def ledger_if_any(self, uid: str) -> Document | None:
        """A session's SpawnRecord, None when it was dropped."""
        return await self._found(records_path(uid))

    async def ledgers(self) -> Mapping[str, Document]:
        """Every SpawnRecord by its name."""
        found = await self.cluster.get(records_path())
        return {one["metadata"]["name"]: one for one in found["items"]}


def seconds_left(began: float, seconds: float, kills: Sequence[tuple[float, float]]) -> float:
    """What is left of the time for something that is waited for since `began` (epoch seconds).

    It begins anew with each operator: a session ends in bounded time after the last fault, and each
    new operator has to find out for itself that what answers 404 does not only show up late
    (docs/decisions/0004). `kills`: as `ChaosStack.kills`.
    """
    led = kills[-1][1] if kills else began
    return max(began, led) + seconds - time.time()


def moment_of(text: str | None) -> float | None:
    """An RFC 3339 time as epoch seconds."""
    return None if text is None else datetime.fromisoformat(text).timestamp()
