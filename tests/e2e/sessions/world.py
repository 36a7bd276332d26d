"""The world of a test: a stack, what people do to it with kubectl, and what can be seen of it."""

import asyncio
import base64
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.kstatus import condition
from tests.e2e.sessions.scrape import Scrape

from spawnai.api.conditions import WAITED_FOR
from spawnai.api.names import (
    API_VERSION,
    EXPIRES_AT_ANNOTATION,
    SESSION_UID_LABEL,
    TTL_ANNOTATION,
)
from spawnai.billing.token_prices import token_cost
from spawnai_local.browser import DnsServer, Page, fetch, lookup
from spawnai_local.chaos.canaries import FOREIGN_NAMES
from spawnai_local.chaos.names import astray
from spawnai_local.classes import LOCAL_CLASS, LOCAL_DOMAIN
from spawnai_local.digitalocean.client import ControlClient
from spawnai_local.kubectl import Kubectl, KubectlError
from spawnai_local.stack import LocalStack

SESSIONS_PATH = f"/apis/{API_VERSION}/spawnsessions"
READY_SECONDS = 75.0
"""Many sessions begin at once on a small machine, and some of them install packages."""
GONE_SECONDS = 30.0

TOKENS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_input_tokens": "cacheReadTokens",
    "cache_creation_input_tokens": "cacheWriteTokens",
}
"""What Claude counts, and how the ledger calls it."""

Manifest = dict[str, Any]


def session(
    name: str,
    prompt: str = "A page that says hello",
    app_type: str = "webapp",
    *,
    ttl: str | None = None,
    expires_at: str | None = None,
    class_name: str | None = LOCAL_CLASS,
    **spec: Any,
) -> Manifest:
    """A SpawnSession as a person writes it; without a namespace."""
    annotations = {TTL_ANNOTATION: ttl, EXPIRES_AT_ANNOTATION: expires_at}
    order = {"prompt": prompt, "appType": app_type, "className": class_name, **spec}
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {
            "name": name,
            "annotations": {key: text for key, text in annotations.items() if text is not None},
        },
        "spec": {key: value for key, value in order.items() if value is not None},
    }


def in_seconds(seconds: float) -> str:
    """An RFC 3339 time so many seconds from now, as `expires-at` takes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """An RFC 3339 time."""
    return datetime.fromisoformat(text)


class Session:
    """One name in one namespace, and every state of it that the API server showed."""

    def __init__(self, world: "World", namespace: str, name: str) -> None:
        self.namespace = namespace
        self.name = name
        self.history: list[Manifest] = []
        self.is_there = False
        self.lost_orders = False
        """Whether its operator ended before it could write what Claude was paid: nobody else knows
        of such an order."""
        self._world = world

    def __repr__(self) -> str:
        return f"session {self.namespace}/{self.name}"

    @property
    def document(self) -> Manifest:
        """The last state; also after the session is gone."""
        return self.history[-1] if self.history else {"metadata": {}}

    @property
    def uid(self) -> str:
        """The UID of the session that has the name, or had it last."""
        return str(self.document["metadata"]["uid"])

    @property
    def status(self) -> dict[str, Any]:
        """The last status."""
        return dict(self.document.get("status", {}))

    @property
    def phase(self) -> str | None:
        """The last phase."""
        return self.status.get("phase")

    @property
    def phases(self) -> list[str]:
        """The phases of the session that has the name, in the order they were seen."""
        seen: list[str] = []
        for document in self.history:
            phase = document.get("status", {}).get("phase")
            same = document["metadata"]["uid"] == self.uid
            if same and phase is not None and seen[-1:] != [phase]:
                seen.append(phase)
        return seen

    def condition(self, type_: str) -> dict[str, Any]:
        """The condition of that type; an empty one when there is none."""
        return condition(self.document, type_)

    async def until(
        self, description: str, holds: Callable[["Session"], object], seconds: float
    ) -> "Session":
        """Wait until it is so."""
        await eventually(
            f"{self} {description}",
            lambda: self.document,
            lambda _: self.history and holds(self),
            seconds,
            pause=0.05,
        )
        return self

    async def until_known(self) -> "Session":
        """Wait until the API server shows it."""
        return await self.until("is there", lambda one: one.is_there, 10)

    async def until_phase(self, phase: str, seconds: float = READY_SECONDS) -> "Session":
        """Wait until it is, or has been, in the phase."""
        return await self.until(f"comes to {phase}", lambda one: phase in one.phases, seconds)

    async def until_running(self, seconds: float = READY_SECONDS) -> "Session":
        """Wait until its app answers; a session that ends instead fails at once."""
        await self.until(
            "comes to Running", lambda one: one.phase in ("Running", "Destroyed"), seconds
        )
        assert self.phase == "Running", self.status
        return self

    async def until_destroyed(self, seconds: float = READY_SECONDS) -> "Session":
        """Wait until it is a tombstone that nothing holds any more."""
        return await self.until(
            "comes to Destroyed",
            lambda one: one.phase == "Destroyed" and not one.document["metadata"].get("finalizers"),
            seconds,
        )

    async def until_stalled(self, reason: str, seconds: float = 20.0) -> str:
        """Wait until it is held up for that reason, and return what it says: Stalled, or
        Reconciling where it waits for something that may appear by itself.
        """
        kind = "Reconciling" if reason in WAITED_FOR else "Stalled"
        await self.until(
            f"is {kind} with {reason}",
            lambda one: (
                one.condition(kind).get("status") == "True"
                and one.condition(kind)["reason"] == reason
            ),
            seconds,
        )
        return str(self.condition(kind)["message"])

    async def until_gone(self, seconds: float = GONE_SECONDS) -> "Session":
        """Wait until the API server has it no more."""
        return await self.until("is gone", lambda one: not one.is_there, seconds)

    async def annotate(self, **annotations: str | None) -> None:
        """`kubectl annotate`: ttl and expires_at; None takes one away."""
        names = {"ttl": TTL_ANNOTATION, "expires_at": EXPIRES_AT_ANNOTATION}
        changes = [
            f"{names[key]}-" if text is None else f"{names[key]}={text}"
            for key, text in annotations.items()
        ]
        await self._kubectl("annotate", "--overwrite", "spawnsession", self.name, *changes)

    async def set_prompt(self, prompt: str) -> None:
        """Change what the app should be, as `kubectl patch` does."""
        patch = json.dumps({"spec": {"prompt": prompt}})
        await self._kubectl("patch", "spawnsession", self.name, "--type=merge", f"--patch={patch}")

    async def delete(self) -> None:
        """`kubectl delete`, without waiting for the end."""
        await self._kubectl("delete", "spawnsession", self.name, "--wait=false")

    async def _kubectl(self, *arguments: str) -> str:
        return await self._world.kubectl.run(*arguments, "--namespace", self.namespace)

    async def get(self) -> Manifest:
        """`kubectl get`: the session as it is now."""
        return await self._world.kubectl.json(
            "get", "spawnsession", self.name, "--namespace", self.namespace
        )

    async def columns(self, output: str = "wide") -> dict[str, str]:
        """What `kubectl get` prints, by column."""
        text = await self._kubectl("get", "spawnsessions", "--output", output)
        header, *rows = text.splitlines()
        line = next(row for row in rows if row.split()[0] == self.name)
        starts = [
            header.index(f" {title}") + 1 if number else 0
            for number, title in enumerate(header.split())
        ]
        ends = [*starts[1:], None]
        return {
            title: line[start:end].strip()
            for title, start, end in zip(header.split(), starts, ends, strict=True)
        }

    async def events(self) -> list[dict[str, Any]]:
        """The Events of the session that has the name, oldest first (events.k8s.io)."""
        items = await self._world.kubectl.items(
            "events.events.k8s.io", "--namespace", self.namespace
        )
        ours = [item for item in items if item["regarding"].get("uid") == self.uid]
        return sorted(ours, key=lambda item: item["eventTime"] or "")

    async def until_event(self, reason: str, seconds: float = 15.0) -> dict[str, Any]:
        """Wait for an event of that reason."""
        events = await eventually(
            f"{self} has the event {reason}",
            self.events,
            lambda known: any(one["reason"] == reason for one in known),
            seconds,
            pause=0.3,
        )
        return next(one for one in events if one["reason"] == reason)

    async def fetch(self, path: str = "/", **how: Any) -> Page:
        """What a browser gets below the URL that the session shows."""
        return await fetch(f"{self.status['url']}{path}", server=self._world.dns, **how)

    async def until_page(self, holds: Callable[[Page], object], path: str = "/") -> Page:
        """Wait for a page that is as it should be."""
        return await eventually(
            f"{self} answers at {path}", lambda: self.fetch(path), holds, 20, pause=0.3
        )

    async def record(self) -> Manifest:
        """Its SpawnRecord."""
        return await self._world.kubectl.json("get", "spawnrecord", self.uid)

    async def droplets(self) -> list[dict[str, Any]]:
        """Its droplets that the account holds now, told by their tag."""
        state = await self._world.cloud.state()
        tag = f"session:{self.uid}"
        return [one for one in state["droplets"] if tag in one["tags"]]

    async def calls(self) -> dict[str, int]:
        """DigitalOcean calls that were made for it, by endpoint."""
        counters = (await self._world.cloud.calls())["by_session"]
        return dict(counters.get(self.uid, {}).get("by_endpoint", {}))

    async def claude_bill(self) -> dict[str, int]:
        """What Claude counted for it."""
        return (await self._world.claude("bill"))["sessions"].get(self.uid, {"calls": 0})

    async def assert_nothing_is_left(self) -> None:
        """Its ledger is closed with every receipt, and the account holds nothing of it."""
        record = await eventually(
            f"the ledger of {self} is closed",
            self.record,
            lambda document: document.get("status", {}).get("completedAt"),
            GONE_SECONDS,
        )
        for entry in record["status"].get("resources", []):
            assert entry["presence"] == "Gone", entry
            assert entry["deletionAcceptedAt"] <= entry["goneAt"], entry
        assert not record["status"].get("residuals")
        assert await self._world.left_of(self.uid) == []

    async def assert_cost_is_what_was_billed(self) -> None:
        """The ledger's lines come to what the cloud and Claude billed, and the session says so."""
        status = await self.assert_ledger_is_what_was_billed()
        if status.get("resources") or status.get("generations"):
            assert Decimal(self.status["cost"]["actual"]) == Decimal(status["totalCost"])

    async def assert_ledger_is_what_was_billed(self) -> dict[str, Any]:
        """The ledger's lines come to what the cloud and Claude billed; returns its status."""
        status: dict[str, Any] = (await self.record())["status"]
        resources, generations = status.get("resources", []), status.get("generations", [])
        recorded = {
            entry["id"]: Decimal(entry["cost"]) for entry in resources if entry["kind"] == "Droplet"
        }
        billed = {
            str(line["droplet_id"]): Decimal(line["dollars"])
            for line in (await self._world.cloud.bill())["droplets"]
            # One that was a spare was ordered under another mark.
            if f"session:{self.uid}" in line["tags"] or str(line["droplet_id"]) in recorded
        }
        assert recorded == billed
        bill = await self.claude_bill()
        counted = {theirs: bill.get(theirs, 0) for theirs in TOKENS}
        noted = {theirs: sum(one[ours] for one in generations) for theirs, ours in TOKENS.items()}
        if self.lost_orders:
            assert all(noted[one] <= counted[one] for one in TOKENS), (noted, counted)
        else:
            assert noted == counted
        tokens = sum((Decimal(one["cost"]) for one in generations), Decimal(0))
        if generations:
            exact = token_cost(
                generations[0]["model"],
                input_tokens=noted["input_tokens"],
                output_tokens=noted["output_tokens"],
                cache_read_tokens=noted["cache_read_input_tokens"],
                cache_write_tokens=noted["cache_creation_input_tokens"],
            )
            # Each order is given to the millionth of a dollar.
            assert abs(tokens - exact) <= Decimal("0.0000005") * len(generations)
        total = Decimal(status["totalCost"])
        assert total == tokens + sum(billed.values(), Decimal(0))
        return status

    async def assert_its_names_led_to_it_alone(self) -> None:
        """At no moment did a name of its lead to another's address."""
        assert list(astray(await self._world.cloud.history(), self.uid)) == []


class World:
    """A stack and everything that can be done to it and seen of it."""

    def __init__(self, stack: LocalStack, cloud: ControlClient) -> None:
        self.stack = stack
        self.cloud = cloud
        self._sessions: dict[tuple[str, str], Session] = {}
        self._http = httpx.AsyncClient(timeout=15, trust_env=False)

    @classmethod
    @asynccontextmanager
    async def of(cls, stack: LocalStack) -> AsyncIterator["World"]:
        """The world of a stack that is up."""
        async with ControlClient(stack.cloud.digitalocean_url or "") as cloud:
            world = cls(stack, cloud)
            watching = asyncio.create_task(world._watch(), name="watch sessions")
            try:
                yield world
            finally:
                watching.cancel()
                await asyncio.wait([watching])
                await world._http.aclose()

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the cluster's admin."""
        return self.stack.kubectl

    @property
    def dns(self) -> DnsServer | None:
        """The emulated account's DNS."""
        return self.stack.dns

    @property
    def operator_namespace(self) -> str:
        """Where the operator and the Secrets of the classes are."""
        return self.stack.manifests.namespace

    def session(self, namespace: str, name: str) -> Session:
        """The session of that name, whether it is there yet or not."""
        key = (namespace, name)
        return self._sessions.setdefault(key, Session(self, namespace, name))

    def sessions_in(self, namespace: str) -> list[Session]:
        """Every session that was seen in a namespace."""
        return [one for one in self.sessions if one.namespace == namespace]

    @property
    def sessions(self) -> list[Session]:
        """Every session that was seen."""
        return [one for one in self._sessions.values() if one.history]

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(KubectlError):
                async for event in self.kubectl.watch(SESSIONS_PATH):
                    if event["type"] == "ERROR":
                        break  # the next watch begins with everything there is
                    metadata = event["object"]["metadata"]
                    seen = self.session(metadata["namespace"], metadata["name"])
                    seen.history.append(event["object"])
                    seen.is_there = event["type"] != "DELETED"
            await asyncio.sleep(0.5)

    # What people do.

    async def apply(
        self, namespace: str | None, *manifests: Manifest, arguments: Sequence[str] = ()
    ) -> list[Session]:
        """`kubectl apply`, client-side if nothing else is said; returns the sessions."""
        where = () if namespace is None else ("--namespace", namespace)
        await self.kubectl.run(
            *("apply", "--filename", "-"),
            *where,
            *arguments,
            standard_input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}),
        )
        if namespace is None:
            return []
        return [self.session(namespace, one["metadata"]["name"]) for one in manifests]

    async def apply_class(self, name: str, **spec: Any) -> None:
        """Apply a SpawnClass for this stack: its port, and a life that suits a test."""
        lifetime = json.loads(
            self.stack.settings.lifetime.model_dump_json(by_alias=True, exclude_none=True)
        )
        document = {
            "apiVersion": API_VERSION,
            "kind": "SpawnClass",
            "metadata": {"name": name},
            "spec": {
                **spec,
                "lifetime": {**lifetime, **spec.get("lifetime", {})},
                "exposure": {
                    "httpPort": self.stack.cloud.http_port,
                    **spec.get("exposure", {}),
                },
            },
        }
        await self.apply(None, document)

    async def apply_secret(self, name: str, **data: str) -> None:
        """Apply a Secret in the operator's namespace; _ stands for - in its keys."""
        await self.apply(
            self.operator_namespace,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "data": {
                    key.replace("_", "-"): base64.b64encode(text.encode()).decode()
                    for key, text in data.items()
                },
            },
        )

    async def delete_sessions(self, namespace: str) -> None:
        """Delete every session of a namespace, and wait until they are gone."""
        await self.kubectl.run(
            *("delete", "spawnsessions", "--all", "--namespace", namespace, "--timeout=60s"),
            limit_seconds=70,
        )

    async def get_class(self, name: str) -> Manifest:
        """A SpawnClass as it is now."""
        return await self.kubectl.json("get", "spawnclass", name)

    async def until_class(self, name: str, reason: str, seconds: float = 20.0) -> str:
        """Wait until the class's Ready condition has that reason; returns its message."""
        document = await eventually(
            f"SpawnClass {name} is {reason}",
            lambda: self.get_class(name),
            lambda seen: condition(seen, "Ready").get("reason") == reason,
            seconds,
            pause=0.3,
        )
        return str(condition(document, "Ready")["message"])

    async def digitalocean(
        self, method: str, path: str, document: Mapping[str, Any] | None = None
    ) -> None:
        """What someone does to the account by hand."""
        url = f"{self.stack.cloud.digitalocean_url}{path}"
        token = self.stack.settings.digitalocean_token
        headers = {"Authorization": f"Bearer {token}"}
        answer = await self._http.request(method, url, headers=headers, json=document)
        answer.raise_for_status()

    async def scrape(self) -> Scrape:
        """The operator's metrics as Prometheus reads them now."""
        return Scrape((await self._http.get(self.stack.metrics_url)).text)

    async def operator_leads(self) -> bool:
        """Whether the operator's process is there and says that it leads."""
        try:
            metrics = (await self._http.get(self.stack.metrics_url, timeout=2)).text
        except httpx.TransportError:
            return False
        return "spawnai_leader 1.0" in metrics

    async def kill_operator(self) -> None:
        """SIGKILL; the stack starts another one, as a kubelet would; returns when that leads."""
        operator = self.stack.operator
        assert operator is not None
        starts = operator.starts
        os.kill(int((self.stack.directory / "operator.pid").read_text()), signal.SIGKILL)
        await eventually(
            "another operator is started", lambda: operator.starts, lambda now: now > starts, 15
        )
        await eventually("it leads", self.operator_leads, seconds=60, pause=0.3)

    # What can be seen.

    async def claude(self, path: str) -> dict[str, Any]:
        """A GET of the Claude simulator's control API."""
        answer = await self._http.get(f"{self.stack.cloud.claude_url}/_local/{path}")
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document

    async def addresses(self, host: str) -> tuple[str, ...]:
        """What the account's DNS says of a name."""
        return await lookup(host, self.dns)

    async def is_answering(self, url: str) -> bool:
        """Whether anything takes a connection there."""
        try:
            await self._http.get(url, timeout=2)
        except httpx.TransportError:
            return False
        return True

    async def left_of(self, uid: str) -> list[str]:
        """What the account holds of a session or class, in words."""
        label = uid.replace("-", "")[:8]
        return [one for one in await self.ours() if uid in one or label in one]

    async def ours(self) -> list[str]:
        """Everything in the account that is no canary: droplets, firewalls, addresses in DNS."""
        state = await self.cloud.state()
        return [
            *(
                f"droplet {one['id']} {one['name']} {' '.join(sorted(one['tags']))}"
                for one in state["droplets"]
                if not one["canary"] and one["deleted_at"] is None
            ),
            *(
                f"firewall {one['id']} {one['name']}"
                for one in state["firewalls"]
                if not one["canary"]
            ),
            *(
                f"record {one['name']}.{domain['name']} → {one['data']}"
                for domain in state["domains"]
                if domain["name"] == LOCAL_DOMAIN
                for one in domain["records"]
                if one["type"] == "A" and one["name"] not in FOREIGN_NAMES
            ),
        ]

    async def until_only_living_sessions_have_anything(self) -> None:
        """Wait until whatever the account holds belongs to a living session or class."""

        async def orphans() -> list[str]:
            sessions = await self.kubectl.items("spawnsessions", "--all-namespaces")
            classes = await self.kubectl.items("spawnclasses")
            living = [
                one["metadata"]["uid"]
                for one in (*sessions, *classes)
                if one.get("status", {}).get("phase") != "Destroyed"
            ]
            marks = [*living, *(uid.replace("-", "")[:8] for uid in living)]
            return [one for one in await self.ours() if not any(mark in one for mark in marks)]

        await eventually(
            "the account holds nothing of sessions that are over",
            orphans,
            lambda seen: seen == [],
            20,
            pause=1.0,
        )

    async def control_cloud_normal(self) -> None:
        """Take back what a test did to the cloud."""
        await self.cloud.clear_faults()
        await self.cloud.set_capacity()
        await self.cloud.set_limits(droplets=self.stack.settings.local_cloud.droplet_limit)

    async def secrets_of(self, one: Session) -> list[dict[str, Any]]:
        """The Secrets of the operator's namespace that are labelled as the session's."""
        return await self.kubectl.items(
            *("secrets", "--namespace", self.operator_namespace),
            *("--selector", f"{SESSION_UID_LABEL}={one.uid}"),
        )


async def assert_nothing_was_made(world: World, one: Session) -> None:
    """No call, no droplet, no order to Claude, no ledger with a line."""
    assert await one.calls() == {}
    assert (await one.claude_bill())["calls"] == 0
    assert await world.left_of(one.uid) == []
