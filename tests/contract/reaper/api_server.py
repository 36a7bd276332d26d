"""A small API server: ledgers and sessions in memory, listed in pages, patched by merge.

It knows the few calls that the reaper makes, and can be told to answer otherwise.
"""

import itertools
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

GROUP_PATH = "/apis/spawn-ai.com/v1alpha1"
CREATED = "2026-11-23T10:00:00Z"


class FakeApiServer:
    """What the cluster holds; `page_size` objects in a page, whatever is asked for."""

    def __init__(self, cluster_uid: str) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.classes: dict[str, dict[str, Any]] = {}
        self.page_size = 2
        self.lists: list[str] = []
        # Answers a listing instead: (plural, continue token) → status and document.
        self.instead: dict[tuple[str, str], tuple[int, Any]] = {}
        # Writes that are refused: verb → status.
        self.refuses: dict[str, int] = {}
        # What was written, in order: verb and name.
        self.writes: list[tuple[str, str]] = []
        self._cluster_uid = cluster_uid
        self._versions = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/kube-system", self._namespace)
        app.router.add_get(GROUP_PATH + "/{plural}", self._list)
        app.router.add_get(GROUP_PATH + "/spawnrecords/{name}", self._get)
        app.router.add_post(GROUP_PATH + "/spawnrecords", self._create)
        app.router.add_patch(GROUP_PATH + "/spawnrecords/{name}/status", self._patch)
        self.routes(app)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    def routes(self, app: web.Application) -> None:
        """What a test needs beside that."""

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def put_record(
        self, uid: str, status: Mapping[str, Any], *, planned: tuple[dict[str, str], ...] = ()
    ) -> dict[str, Any]:
        owner = {"kind": "SpawnSession", "namespace": "shop", "name": "retro-board", "uid": uid}
        self.records[uid] = {
            "apiVersion": "spawn-ai.com/v1alpha1",
            "kind": "SpawnRecord",
            "metadata": self._metadata(uid, f"record-{uid}"),
            "spec": {
                "owner": owner,
                "clusterUid": self._cluster_uid,
                "className": "default",
                "planned": list(planned),
            },
            "status": dict(status),
        }
        return self.records[uid]

    def put_session(self, uid: str, phase: str) -> None:
        self.sessions[uid] = {
            "apiVersion": "spawn-ai.com/v1alpha1",
            "kind": "SpawnSession",
            "metadata": {**self._metadata("retro-board", uid), "namespace": "shop"},
            "spec": {"prompt": "A retro board", "appType": "webapp"},
            "status": {"phase": phase},
        }

    def _metadata(self, name: str, uid: str) -> dict[str, str]:
        return {
            "name": name,
            "uid": uid,
            "resourceVersion": str(next(self._versions)),
            "creationTimestamp": CREATED,
        }

    async def _namespace(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": "kube-system", "uid": self._cluster_uid},
            }
        )

    async def _list(self, request: web.Request) -> web.Response:
        plural, position = request.match_info["plural"], request.query.get("continue", "")
        self.lists.append(plural)
        if (plural, position) in self.instead:
            status, document = self.instead[plural, position]
            return web.json_response(document, status=status)
        objects = list(
            {
                "spawnrecords": self.records,
                "spawnsessions": self.sessions,
                "spawnclasses": self.classes,
            }[plural].values()
        )
        start = int(position or 0)
        end = start + self.page_size
        metadata = {"resourceVersion": "1"}
        if end < len(objects):
            metadata["continue"] = str(end)
        return web.json_response({"metadata": metadata, "items": objects[start:end]})

    async def _get(self, request: web.Request) -> web.Response:
        found = self.records.get(request.match_info["name"])
        if found is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(found)

    async def _create(self, request: web.Request) -> web.Response:
        if "create" in self.refuses:
            return web.json_response({"message": "no"}, status=self.refuses["create"])
        body = json.loads(await request.text())
        name = body["metadata"]["name"]
        if name in self.records:
            return web.json_response({"message": "it exists already"}, status=409)
        body["metadata"] |= self._metadata(name, f"record-{name}")
        self.records[name] = {**body, "status": {}}
        self.writes.append(("create", name))
        return web.json_response(self.records[name], status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        if "patch" in self.refuses:
            return web.json_response({"message": "no"}, status=self.refuses["patch"])
        found = self.records[request.match_info["name"]]
        self.writes.append(("patch", request.match_info["name"]))
        assert request.content_type == "application/merge-patch+json"
        patch = json.loads(await request.text())
        for key, value in patch["status"].items():
            if value is None:
                found["status"].pop(key, None)
            else:
                found["status"][key] = value
        found["metadata"]["resourceVersion"] = str(next(self._versions))
        return web.json_response(found)
