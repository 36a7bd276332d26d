"""Makes many live sessions out of a few that really came to life.

DigitalOcean's limit of 250 calls a minute makes a thousand creations take more than a quarter of
an hour. So the operator brings some sessions to Running, and is stopped; each of them is then
copied: a SpawnSession with finalizer and status, its SpawnRecord with the ledger, its droplet with
exactly the user_data that the operator would have sent, its DNS record, and the app in its agent.
The copies differ in what identifies them, and their names are two hours older, so an operator
that starts finds what it would find after a restart. Only the Secrets with the bundles are left
out: a session that is Running has no more use for its own.
"""

import asyncio
import base64
import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from spawnai.api.durations import format_time, parse_duration
from spawnai.api.names import (
    FINALIZER,
    SESSION_UID_LABEL,
    session_droplet_name,
    session_host_label,
    session_tag,
)
from spawnai.droplet.client import AgentClient
from spawnai.droplet.cloud_config import DropletBootstrap, render_user_data
from spawnai.droplet.credentials import SessionCredentials, derive_credentials
from spawnai.droplet.packing import read_agent_source
from spawnai_local.bench.cluster import ClusterClient, records_path, sessions_path
from spawnai_local.bench.emulator import EmulatorControl
from spawnai_local.classes import LOCAL_DOMAIN

AGENT_PORT = 8443
_AT_ONCE = 12
_PAGE = 200
_OLDER = timedelta(hours=2)
"""How much older the ledgers call the names: an operator looks for a twin of each that was made
within two minutes of its start, and so many sessions cannot have been made in that time."""
_KEY_SECRET = "spawnai-installation-key"  # noqa: S105 - the Secret's name

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class SeedingError(Exception):
    """The copies could not be made; the message says what was missing."""


@dataclass(frozen=True, slots=True)
class Template:
    """A session that the operator brought to Running, with its ledger."""

    session: dict[str, Any]
    record: dict[str, Any]

    @property
    def uid(self) -> str:
        """Its UID."""
        return str(self.session["metadata"]["uid"])

    def entry(self, kind: str) -> dict[str, Any]:
        """The ledger's entry of that kind."""
        found: dict[str, Any] = next(
            one for one in self.record["status"]["resources"] if one["kind"] == kind
        )
        return found


@dataclass(slots=True)
class _Copy:
    template: Template
    name: str
    uid: str = ""
    credentials: SessionCredentials | None = None
    droplet_id: int = 0
    address: str = ""
    record_id: int = 0

    @property
    def label(self) -> str:
        return session_host_label(self.name, self.uid)


class Seeder:
    """Copies sessions; no operator may run meanwhile."""

    def __init__(
        self,
        cluster: ClusterClient,
        emulator: EmulatorControl,
        *,
        namespace: str,
        operator_namespace: str,
        class_name: str,
    ) -> None:
        self._cluster = cluster
        self._emulator = emulator
        self._namespace = namespace
        self._operator_namespace = operator_namespace
        self._class_name = class_name
        self._originals: dict[str, dict[str, Any]] = {}

    async def seed(self, templates: Sequence[Template], count: int) -> list[str]:
        """Make `count` copies, of each template in turn; returns their names."""
        secret = await self._cluster.get(
            f"/api/v1/namespaces/{self._operator_namespace}/secrets/{_KEY_SECRET}"
        )
        master_key = base64.b64decode(next(iter(secret["data"].values())))
        spawn_class = await self._cluster.get(
            f"/apis/spawn-ai.com/v1alpha1/spawnclasses/{self._class_name}"
        )
        grace = parse_duration(spawn_class["spec"]["lifetime"]["deadManGrace"])
        copies = [
            _Copy(templates[number % len(templates)], f"copy-{number:04d}")
            for number in range(count)
        ]
        # No call of the product's is among these, so the limits of its token do not apply.
        await self._emulator.set_limits(rate_limited=False)
        try:
            await at_once(copies, lambda one: self._make_session(one, master_key))
            await at_once(copies, lambda one: self._make_droplet(one, int(grace.total_seconds())))
            await self._learn_addresses(copies)
            await at_once(copies, self._make_name)
            await at_once(copies, self._give_app)
            await at_once(copies, self._write_down)
        finally:
            await self._emulator.set_limits(rate_limited=True)
        return [one.name for one in copies]

    async def _make_session(self, one: _Copy, master_key: bytes) -> None:
        original = one.template.session
        metadata = {
            "name": one.name,
            "namespace": self._namespace,
            "finalizers": [FINALIZER],
            "annotations": original["metadata"].get("annotations", {}),
        }
        made = await self._cluster.create(
            sessions_path(self._namespace),
            {
                "apiVersion": original["apiVersion"],
                "kind": original["kind"],
                "metadata": metadata,
                "spec": original["spec"],
            },
        )
        one.uid = made["metadata"]["uid"]
        created_at = datetime.fromisoformat(made["metadata"]["creationTimestamp"])
        one.credentials = derive_credentials(master_key, one.uid, created_at)

    async def _make_droplet(self, one: _Copy, grace_seconds: int) -> None:
        original = one.template
        spec, status = original.session["spec"], original.session["status"]
        if one.credentials is None:
            raise SeedingError(f"session {one.name} was not made")
        droplet = await self._droplet_of(original)
        tags = [
            session_tag(one.uid) if tag.startswith("session:") else tag for tag in droplet["tags"]
        ]
        made = await self._emulator.call(
            "POST",
            "/v2/droplets",
            {
                "name": session_droplet_name(one.uid),
                "region": status["region"],
                "size": status["size"],
                "image": droplet["image"]["slug"],
                "tags": tags,
                "monitoring": True,
                "user_data": render_user_data(
                    DropletBootstrap(
                        session_uid=one.uid,
                        app_type=spec["appType"],
                        credentials=one.credentials,
                        agent_source=read_agent_source(),
                        expires_at=datetime.fromisoformat(status["expirationTime"]),
                        grace_seconds=grace_seconds,
                        agent_port=AGENT_PORT,
                    )
                ),
            },
        )
        one.droplet_id = made["droplet"]["id"]

    async def _droplet_of(self, template: Template) -> dict[str, Any]:
        """The template's own droplet, as DigitalOcean shows it."""
        if template.uid not in self._originals:
            number = template.entry("Droplet")["id"]
            found = await self._emulator.call("GET", f"/v2/droplets/{number}")
            self._originals[template.uid] = found["droplet"]
        return self._originals[template.uid]

    async def _learn_addresses(self, copies: Sequence[_Copy]) -> None:
        wanted = {one.droplet_id: one for one in copies}
        async with asyncio.timeout(60):
            while wanted:
                for droplet in await self._emulator.droplets():
                    if droplet["status"] == "active" and droplet["id"] in wanted:
                        wanted.pop(droplet["id"]).address = droplet["public_address"]
                await asyncio.sleep(0.5)

    async def _make_name(self, one: _Copy) -> None:
        made = await self._emulator.call(
            "POST",
            f"/v2/domains/{LOCAL_DOMAIN}/records",
            {"type": "A", "name": one.label, "data": one.address, "ttl": 30},
        )
        one.record_id = made["domain_record"]["id"]

    async def _give_app(self, one: _Copy) -> None:
        if one.credentials is None:
            raise SeedingError(f"session {one.name} was not made")
        digest = one.template.session["status"]["generation"]["bundleDigest"]
        bundle = {
            "digest": digest,
            "appType": one.template.session["spec"]["appType"],
            "entrypoint": "index.html",
            "files": [],
            "dependencies": {},
        }
        async with AgentClient(one.address, AGENT_PORT, one.credentials) as agent:
            await agent.push(bundle)

    async def _write_down(self, one: _Copy) -> None:
        original = one.template
        record = self._copied(one, original.record)
        for line in record["status"]["resources"]:
            if line["kind"] == "DomainRecord":
                made_at = datetime.fromisoformat(line["createdAt"]) - _OLDER
                line["createdAt"] = format_time(made_at)
        await self._cluster.create(
            records_path(),
            {
                "apiVersion": record["apiVersion"],
                "kind": record["kind"],
                "metadata": {
                    "name": one.uid,
                    "labels": {SESSION_UID_LABEL: one.uid},
                    "finalizers": [FINALIZER],
                },
                "spec": record["spec"],
            },
        )
        await self._cluster.patch(records_path(one.uid, status=True), {"status": record["status"]})
        await self._cluster.patch(
            sessions_path(self._namespace, one.name, status=True),
            {"status": self._copied(one, original.session)["status"]},
        )

    def _copied(self, one: _Copy, document: dict[str, Any]) -> dict[str, Any]:
        """The document with everything that identifies the original replaced."""
        original = one.template
        name = original.session["metadata"]["name"]
        droplet, record = original.entry("Droplet"), original.entry("DomainRecord")
        status = original.session["status"]
        copied: dict[str, Any] = copy.deepcopy(document)
        for entry in copied["status"].get("resources", ()):
            if entry["kind"] == "Droplet":
                entry["id"] = str(one.droplet_id)
            elif entry["kind"] == "DomainRecord":
                entry["id"] = str(one.record_id)
        if "droplet" in copied["status"]:
            copied["status"]["droplet"]["id"] = one.droplet_id
        if "owner" in copied["spec"]:
            copied["spec"]["owner"]["name"] = one.name
        text = json.dumps(copied)
        for old, new in (
            (session_host_label(name, original.uid), one.label),
            (original.uid, one.uid),
            (f'"{status["droplet"]["ip"]}"', f'"{one.address}"'),
            (f"at {status['droplet']['ip']}", f"at {one.address}"),
            (f"Droplet {droplet['id']}", f"Droplet {one.droplet_id}"),
            (f"DomainRecord {record['id']}", f"DomainRecord {one.record_id}"),
        ):
            text = text.replace(old, new)
        found: dict[str, Any] = json.loads(text)
        return found


async def at_once(
    items: Iterable[_Item], work: Callable[[_Item], Awaitable[_Result]]
) -> list[_Result]:
    """Do the same for all, some at a time; the first failure ends it."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def limited(item: _Item) -> _Result:
        async with room:
            return await work(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(limited(item)) for item in items]
    return [task.result() for task in tasks]
