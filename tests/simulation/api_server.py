"""A model of the API server: objects, versions, finalizers, and watches that show them late."""

import itertools
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from spawnai.api.names import API_VERSION, FINALIZER
from spawnai.controller.cluster import (
    BUDGETS,
    CLASSES,
    POOLS,
    RECORDS,
    SESSIONS,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    ObjectNotFound,
)

from .edges import Wire
from .loop import BEGIN, Process, utc
from .story import FIRST_PROMPT, SecretsRefused

Body = dict[str, Any]
Show = Callable[[str, str | None, Body], None]
Watcher = tuple[Process, Show]


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class ApiServer:
    """Holds the objects. Bodies are never changed in place, so they may be handed out as they are.

    `on_change` is told of every change with the object before and after, and who made it; `on_idle`
    of an operator's write that changed nothing.
    """

    def __init__(
        self,
        wire: Wire,
        on_change: Callable[[str, str, Body | None, Body | None], None],
        on_idle: Callable[[str], None],
    ) -> None:
        self._wire = wire
        self._random = Random(f"{wire.story.seed}/watches")
        self._on_change = on_change
        self._on_idle = on_idle
        self.objects: dict[tuple[str, str], Body] = {}
        self.secrets: dict[tuple[str, str], tuple[dict[str, bytes], str | None]] = {}
        self.secrets_made_at: dict[tuple[str, str], float] = {}
        self._version = itertools.count(100)
        self._log: list[tuple[float, str, str, str, Body]] = []
        self._watchers: list[Watcher] = []
        self._deaf = False
        self.writes = 0

    # --- reading and changing ----------------------------------------------------------------

    def get(self, kind: str, key: str) -> Body | None:
        return self.objects.get((kind, key))

    def all(self, kind: str) -> list[Body]:
        return [body for (known, _), body in self.objects.items() if known == kind]

    def create(self, who: str, kind: str, key: str, body: Body) -> Body:
        if (kind, key) in self.objects:
            raise Conflict(f"create {kind} {key}", "it exists already", 409)
        metadata = {
            **body["metadata"],
            "generation": 1,
            "creationTimestamp": _stamp(self._wire.loop.time()),
        }
        return self._put(who, kind, key, {**body, "metadata": metadata}, "ADDED")

    def patch(self, who: str, kind: str, key: str, patch: Body, *, status: bool) -> Body:
        body = self.objects.get((kind, key))
        if body is None:
            raise ObjectNotFound(f"patch {kind} {key}", "not found", 404)
        metadata, wanted = body["metadata"], patch.get("metadata") or {}
        for name in ("uid", "resourceVersion"):
            if name in wanted and wanted[name] != metadata[name]:
                raise Conflict(f"patch {kind} {key}", f"{name} is another one", 409)
        if status:
            new = {**body, "status": merged(body.get("status") or {}, patch.get("status") or {})}
        else:
            new = merged(body, {key: value for key, value in patch.items() if key != "status"})
            added = set(new["metadata"].get("finalizers") or []) - set(
                metadata.get("finalizers") or []
            )
            if added and metadata.get("deletionTimestamp"):
                raise ClusterError(f"patch {kind} {key}", "no new finalizers: it is deleted", 422)
            if new.get("spec") != body.get("spec"):
                new["metadata"]["generation"] = metadata["generation"] + 1
        if new == body:
            if who.startswith("operator"):
                self._on_idle(f"{kind} {key}: {shortened(patch)}")
            return body
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            return self._drop(who, kind, key, new)
        return self._put(who, kind, key, new, "MODIFIED")

    def delete(self, who: str, kind: str, key: str) -> None:
        body = self.objects.get((kind, key))
        if body is None:
            raise ObjectNotFound(f"delete {kind} {key}", "not found", 404)
        if not body["metadata"].get("finalizers"):
            self._drop(who, kind, key, body)
        elif not body["metadata"].get("deletionTimestamp"):
            stamp = {"metadata": {"deletionTimestamp": _stamp(self._wire.loop.time())}}
            self._put(who, kind, key, merged(body, stamp), "MODIFIED")

    def _put(self, who: str, kind: str, key: str, body: Body, event: str) -> Body:
        before = self.objects.get((kind, key))
        version = {"metadata": {"resourceVersion": str(next(self._version))}}
        body = merged(body, version)
        self.objects[kind, key] = body
        self._changed(who, kind, before, body, event)
        return body

    def _drop(self, who: str, kind: str, key: str, body: Body) -> Body:
        before = self.objects.pop((kind, key))
        body = merged(body, {"metadata": {"resourceVersion": str(next(self._version))}})
        uid = body["metadata"]["uid"]
        self.secrets = {at: known for at, known in self.secrets.items() if known[1] != uid}
        self._changed(who, kind, before, body, "DELETED")
        return body

    def _changed(self, who: str, kind: str, before: Body | None, body: Body, event: str) -> None:
        self.writes += who.startswith("operator")
        self._log.append((self._wire.loop.time(), kind, _key(body), event, body))
        self._on_change(who, kind, before, None if event == "DELETED" else body)
        if not self._deaf:
            for watcher in self._watchers:
                self._show(watcher, kind, event, body)

    def writes_of(self, kind: str, event: str, within: float) -> int:
        """How many such changes there were in the last seconds."""
        since = self._wire.loop.time() - within
        return sum(
            1
            for moment, known, _, what, _ in reversed(self._log)
            if moment >= since and known == kind and what == event
        )

    # --- watches -----------------------------------------------------------------------------

    def watch(self, process: Process, show: Show) -> None:
        """List everything, perhaps as it was a moment ago, and show every change from then on."""
        since = self._wire.loop.time() - self._wire.story.settings.stale_list_seconds
        listed: dict[tuple[str, str], Body] = {}
        later = []
        for moment, kind, key, event, body in self._log:
            if moment > since and self._wire.story.settings.stale_list_seconds:
                later.append((kind, event, body))
            elif event == "DELETED":
                listed.pop((kind, key), None)
            else:
                listed[kind, key] = body
        watcher = (process, show)
        for (kind, _), body in listed.items():
            self._show(watcher, kind, None, body)
        for kind, event, body in later:
            self._show(watcher, kind, event, body)
        self._watchers = [known for known in self._watchers if known[0].alive]
        self._watchers.append(watcher)

    def cut(self, seconds: float) -> None:
        """Break all watches for a while. They begin again with a list, as after 410 Gone."""
        self._deaf = True
        self._wire.loop.outside(seconds, self._relist, self._wire.loop.time())

    def _relist(self, since: float) -> None:
        """The gap is over. What session and ledger have gone is found out by looking for them; for
        the rest there is a comparison of its own, with tests of its own (controller/resync.py).
        """
        self._deaf = False
        missed = [
            (kind, body)
            for moment, kind, _, event, body in self._log
            if moment >= since and event == "DELETED" and kind in ("budget", "pool")
        ]
        for watcher in self._watchers:
            for kind, body in missed:
                self._show(watcher, kind, "DELETED", body)
            for (kind, _), body in self.objects.items():
                self._show(watcher, kind, None, body)

    def _show(self, watcher: Watcher, kind: str, event: str | None, body: Body) -> None:
        process, show = watcher
        if not process.alive:
            return
        loop, settings = self._wire.loop, self._wire.story.settings
        delay = self._random.uniform(0.01, settings.watch_seconds)
        times = 1 + (self._random.random() < settings.watch_repeats)
        for time in range(times):
            wait = delay + time * self._random.uniform(0, settings.watch_seconds)
            if self._random.random() >= settings.watch_disorder or event == "DELETED":
                # In order: not before what was shown last.
                wait = max(wait, process.shown_until - loop.time())
                process.shown_until = loop.time() + wait
            context = process.context.copy()
            loop.call_at(loop.time() + wait, show, kind, event, body, context=context)


def _stamp(moment: float) -> str:
    return utc(moment).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _key(body: Body) -> str:
    metadata = body["metadata"]
    if "namespace" in metadata:
        return f"{metadata['namespace']}/{metadata['name']}"
    return metadata["name"]


class SimulatedCluster:
    """What the controller knows as `Cluster`, for one operator process."""

    def __init__(self, server: ApiServer, wire: Wire, process: Process, before_write):
        self._server = server
        self._wire = wire
        self._who = process.name
        self._before_write = before_write

    async def _call(self, verb: str, what: str, effect: Callable[[], Any]) -> Any:
        doing = f"{verb} {what}"

        def unavailable(why: str) -> Exception:
            return ClusterUnavailable(doing, why, 503)

        return await self._wire.call(
            f"API {verb}", "the API server", effect, unavailable, words=what
        )

    async def _write(self, verb: str, what: str, effect: Callable[[], Any]) -> Any:
        self._before_write()
        return await self._call(verb, what, effect)

    async def _get(self, verb: str, kind: str, key: str) -> Body:
        def effect() -> Body:
            body = self._server.get(kind, key)
            if body is None:
                raise ObjectNotFound(f"{verb} {key}", "not found", 404)
            return body

        return await self._call(verb, key, effect)

    async def _patch(self, verb: str, kind: str, key: str, body: Body, *, status=False) -> Body:
        return await self._write(
            verb,
            f"{key} {shortened(body)}",
            lambda: self._server.patch(self._who, kind, key, body, status=status),
        )

    async def patch_session(self, namespace, name, body):
        return await self._patch("patch session", "session", f"{namespace}/{name}", body)

    async def patch_session_status(self, namespace, name, body):
        key = f"{namespace}/{name}"
        return await self._patch("patch session-status", "session", key, body, status=True)

    async def get_session(self, namespace, name):
        return await self._get("get session", "session", f"{namespace}/{name}")

    async def delete_session(self, namespace, name, uid):
        def effect() -> None:
            body = self._server.get("session", f"{namespace}/{name}")
            if body is not None and body["metadata"]["uid"] != uid:
                raise Conflict(f"delete session {name}", "uid is another one", 409)
            self._server.delete(self._who, "session", f"{namespace}/{name}")

        await self._write("delete session", f"{namespace}/{name}", effect)

    async def get_class(self, name):
        return await self._get("get class", "class", name)

    async def patch_class(self, name, body):
        return await self._patch("patch class", "class", name, body)

    async def patch_class_status(self, name, body):
        return await self._patch("patch class-status", "class", name, body, status=True)

    async def patch_budget_status(self, name, body):
        return await self._patch("patch budget-status", "budget", name, body, status=True)

    async def create_record(self, body):
        name = body["metadata"]["name"]
        body = merged(body, {"metadata": {"uid": f"record-{name}"}})
        return await self._write(
            "create record", name, lambda: self._server.create(self._who, "record", name, body)
        )

    async def get_record(self, name):
        return await self._get("get record", "record", name)

    async def patch_record(self, name, body):
        return await self._patch("patch record", "record", name, body)

    async def patch_record_status(self, name, body):
        return await self._patch("patch record-status", "record", name, body, status=True)

    async def delete_record(self, name):
        await self._write(
            "delete record", name, lambda: self._server.delete(self._who, "record", name)
        )

    async def patch_pool_status(self, name, body):
        return await self._patch("patch pool-status", "pool", name, body, status=True)

    async def list_all(self, plural):
        if plural == POOLS and not self._server.all("pool"):
            raise ObjectNotFound("list pools", "not found", 404)  # The kind is not installed.
        kind = {
            RECORDS: "record",
            SESSIONS: "session",
            CLASSES: "class",
            BUDGETS: "budget",
            POOLS: "pool",
        }[plural]
        verb = f"list {kind}s"
        is_empty = self._wire.fault_kind(f"API {verb}") == "empty"
        for body in await self._call(verb, "", lambda: [] if is_empty else self._server.all(kind)):
            yield body

    async def get_secret(self, namespace, name):
        def effect():
            if (namespace, name) not in self._server.secrets:
                raise ObjectNotFound(f"get secret {name}", "not found", 404)
            return self._server.secrets[namespace, name][0]

        return await self._call("get secret", name, effect)

    def _refuses_secrets(self) -> int | None:
        """What every new Secret is answered now; None while Secrets are taken."""
        now = self._wire.loop.time() - BEGIN
        return next(
            (
                refused.status
                for refused in self._wire.story.of(SecretsRefused)
                if refused.at <= now < refused.at + refused.seconds
            ),
            None,
        )

    async def create_secret(self, namespace, name, data, *, labels, owner=None):
        def effect():
            if (namespace, name) in self._server.secrets:
                raise Conflict(f"create secret {name}", "it exists already", 409)
            if (status := self._refuses_secrets()) is not None:
                kind = ClusterUnavailable if status >= 500 else ClusterError
                raise kind(f"create secret {name}", "exceeded quota", status)
            uid = owner["uid"] if owner else None
            living = {body["metadata"]["uid"] for body in self._server.all("record")}
            if uid is None or uid in living:  # else garbage-collected at once
                self._server.secrets[namespace, name] = (dict(data), uid)
                self._server.secrets_made_at[namespace, name] = self._wire.loop.time()
                self._server.writes += 1

        await self._write("create secret", name, effect)


def session_body(
    namespace: str,
    name: str,
    uid: str,
    app_type: str,
    annotations: Body,
    *,
    class_name: str | None = None,
) -> Body:
    spec = {"prompt": FIRST_PROMPT, "appType": app_type}
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": uid,
            "annotations": annotations,
        },
        "spec": spec if class_name is None else {**spec, "className": class_name},
    }


def is_held(body: Body | None) -> bool:
    """Whether our finalizer is on an object."""
    return body is not None and FINALIZER in (body["metadata"].get("finalizers") or [])


def shortened(patch: Body) -> str:
    """A patch in a few words: what it sets, without sentences."""
    status = patch.get("status")
    if status is None:
        return json.dumps(patch.get("metadata", {}).get("finalizers"))
    words = []
    for key in sorted(status):
        value = status[key]
        if key == "conditions":
            value = ",".join(f"{one['type']}={one['status']}/{one['reason']}" for one in value)
        elif key == "resources":
            value = ",".join(f"{one['kind']} {one['id']} {one['presence']}" for one in value)
        elif key == "generations":
            value = ",".join(f"{one['outcome']} {one['outputTokens']}" for one in value)
        elif isinstance(value, dict | list):
            value = json.dumps(value, sort_keys=True)
        words.append(f"{key}={value}")
    return "; ".join(words)
