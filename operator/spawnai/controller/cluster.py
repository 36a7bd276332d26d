"""The API server, as far as the operator needs it: few calls, each with a time limit.

Everything is written with `kubernetes.aio`, and always with an explicit content type: a dict body
with the default becomes a strategic merge patch, which custom resources refuse.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
from kubernetes.aio import client

from spawnai.api.names import FIELD_MANAGER, GROUP, VERSION
from spawnai.clock import Clock, seconds_ahead

MERGE_PATCH = "application/merge-patch+json"
TIMEOUT_SECONDS = 10.0

LONGEST_PAUSE_SECONDS = 30.0
"""How long a 429 may keep a key waiting: the end of a session may be what waits."""

_USUAL_PAUSE_SECONDS = 1.0
"""What the API server's priority and fairness asks for, and what a 429 without a time gets."""

PAGE_SIZE = 500
"""Objects in one page of a listing, as kubectl asks for them."""

MOST_PAGES = 1_000
"""A listing that goes on for longer has lost its way."""

SESSIONS = "spawnsessions"
CLASSES = "spawnclasses"
RECORDS = "spawnrecords"
BUDGETS = "spawnbudgets"
POOLS = "spawnpools"
_SINGULAR = {
    SESSIONS: "session",
    CLASSES: "class",
    RECORDS: "record",
    BUDGETS: "budget",
    POOLS: "pool",
}
KINDS = frozenset(_SINGULAR)

_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Result = TypeVar("Result")


class ClusterError(Exception):
    """The API server did not do what it was asked to do."""

    def __init__(self, doing: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{doing}: {message}")
        self.status = status


class ObjectNotFound(ClusterError):
    """The object is not there."""


class Conflict(ClusterError):
    """The object exists already, or has changed meanwhile."""


class ClusterUnavailable(ClusterError):
    """No answer, or one that says to come again: the call may or may not have happened."""

    def __init__(
        self,
        doing: str,
        message: str,
        status: int | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        """`retry_after`: the seconds that the API server asks to be left alone for."""
        super().__init__(doing, message, status)
        self.retry_after = retry_after


def pause_of(error: BaseException) -> float | None:
    """The seconds that the API server asked to be left alone for, if this error says so."""
    return error.retry_after if isinstance(error, ClusterUnavailable) else None


class Cluster:
    """Typed access to our own resources, Secrets and Events."""

    def __init__(
        self,
        api: client.ApiClient,
        *,
        before_write: Callable[[], None],
        on_write: Callable[[str], None] = lambda _what: None,
    ) -> None:
        """`before_write` may raise when this process must not write any more (lost leadership)."""
        self._custom = client.CustomObjectsApi(api)
        self._api = api
        self._before_write = before_write
        self._on_write = on_write

    async def _call(self, doing: str, call: Callable[[], Awaitable[Result]]) -> Result:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS) as limit:
                while True:
                    try:
                        return await call()
                    except client.ApiException as error:
                        pause = _retry_after(error)
                        if pause is None or _ends_within(limit, pause):
                            raise
                        await asyncio.sleep(pause)
        except client.ApiException as error:
            raise _mapped(doing, error) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ClusterUnavailable(
                doing, f"the API server gave no answer ({type(error).__name__})"
            ) from error

    async def _write(self, doing: str, call: Callable[[], Awaitable[Result]]) -> Result:
        verb, kind, _ = doing.split(" ", 2)

        async def send() -> Result:
            self._before_write()
            self._on_write(f"{verb} {kind}")
            return await call()

        return await self._call(doing, send)

    async def _patch(
        self,
        plural: str,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        status: bool = False,
    ) -> Any:
        """Merge-patch (RFC 7386) one of our objects, or its status."""
        kind = f"{_SINGULAR[plural]}-status" if status else _SINGULAR[plural]
        custom, content = self._custom, dict(body)
        options: dict[str, Any] = {"field_manager": FIELD_MANAGER, "_content_type": MERGE_PATCH}
        if namespace is None:
            patch = custom.patch_cluster_custom_object
            if status:
                patch = custom.patch_cluster_custom_object_status
            return await self._write(
                f"patch {kind} {name}",
                lambda: patch(GROUP, VERSION, plural, name, content, **options),
            )
        patch_in = custom.patch_namespaced_custom_object
        if status:
            patch_in = custom.patch_namespaced_custom_object_status
        return await self._write(
            f"patch {kind} {namespace}/{name}",
            lambda: patch_in(GROUP, VERSION, namespace, plural, name, content, **options),
        )

    async def patch_session(self, namespace: str, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a session's metadata; returns the new object."""
        return await self._patch(SESSIONS, namespace, name, body)

    async def patch_session_status(self, namespace: str, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a session's status; returns the new object."""
        return await self._patch(SESSIONS, namespace, name, body, status=True)

    async def get_session(self, namespace: str, name: str) -> Any:
        """The session from the API server itself, not from a cache."""
        return await self._call(
            f"get session {namespace}/{name}",
            lambda: self._custom.get_namespaced_custom_object(
                GROUP, VERSION, namespace, SESSIONS, name
            ),
        )

    async def delete_session(self, namespace: str, name: str, uid: str) -> None:
        """Delete the session with that UID; raises Conflict when another one has its name."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{SESSIONS}/{name}"
        await self._write(
            f"delete session {namespace}/{name}",
            lambda: self._request("DELETE", path, {"preconditions": {"uid": uid}}),
        )

    async def get_class(self, name: str) -> Any:
        """The class from the API server itself, not from a cache."""
        return await self._call(
            f"get class {name}",
            lambda: self._custom.get_cluster_custom_object(GROUP, VERSION, CLASSES, name),
        )

    async def patch_class(self, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a class's metadata; returns the new object."""
        return await self._patch(CLASSES, None, name, body)

    async def patch_class_status(self, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a class's status; returns the new object."""
        return await self._patch(CLASSES, None, name, body, status=True)

    async def patch_budget_status(self, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a budget's status; returns the new object."""
        return await self._patch(BUDGETS, None, name, body, status=True)

    async def patch_pool_status(self, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a pool's status; returns the new object."""
        return await self._patch(POOLS, None, name, body, status=True)

    async def create_record(self, body: Mapping[str, Any]) -> Any:
        """Write a new ledger; raises Conflict when it is there already."""
        return await self._write(
            f"create record {body['metadata']['name']}",
            lambda: self._custom.create_cluster_custom_object(
                GROUP, VERSION, RECORDS, dict(body), field_manager=FIELD_MANAGER
            ),
        )

    async def get_record(self, name: str) -> Any:
        """The ledger from the API server itself."""
        return await self._call(
            f"get record {name}",
            lambda: self._custom.get_cluster_custom_object(GROUP, VERSION, RECORDS, name),
        )

    async def patch_record_status(self, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a ledger's status; returns the new object."""
        return await self._patch(RECORDS, None, name, body, status=True)

    async def patch_record(self, name: str, body: Mapping[str, Any]) -> Any:
        """Merge-patch a ledger's metadata; returns the new object."""
        return await self._patch(RECORDS, None, name, body)

    async def delete_record(self, name: str) -> None:
        """Drop a ledger."""
        await self._write(
            f"delete record {name}",
            lambda: self._custom.delete_cluster_custom_object(GROUP, VERSION, RECORDS, name),
        )

    async def list_all(self, plural: str) -> AsyncIterator[dict[str, Any]]:
        """Every object of one of our kinds, in all namespaces, from the API server itself.

        All pages are of one moment (the API server's own promise for `continue`).

        Raises:
            ClusterError: a page could not be had or is no list; nothing follows then from what
                has been shown so far.
        """
        async for item in self._list(plural, "application/json"):
            yield item

    async def list_metadata(self, plural: str) -> AsyncIterator[dict[str, Any]]:
        """The metadata of every object of one of our kinds, from the API server itself.

        Raises:
            ClusterError: as `list_all`.
        """
        async for item in self._list(plural, _METADATA_ONLY):
            yield item["metadata"]

    async def _list(self, plural: str, accept: str) -> AsyncIterator[dict[str, Any]]:
        position: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._list_page(plural, accept, position)
            for item in page["items"]:
                yield item
            position = page["metadata"].get("continue") or None
            if position is None:
                return
        raise ClusterError(f"list {plural}", f"the listing has no end after {MOST_PAGES} pages")

    async def _list_page(self, plural: str, accept: str, position: str | None) -> dict[str, Any]:
        doing = f"list {plural}"
        page: Any = await self._call(
            doing,
            lambda: self._custom.list_cluster_custom_object(
                GROUP,
                VERSION,
                plural,
                limit=PAGE_SIZE,
                _continue=position,
                _headers={"Accept": accept},
            ),
        )
        whole = (
            isinstance(page, dict)
            and isinstance(page.get("items"), list)
            and isinstance(page.get("metadata"), dict)
        )
        if not whole:
            raise ClusterError(doing, "the API server's answer is not a list of objects")
        return dict(page)

    async def served_kinds(self) -> frozenset[str]:
        """Which of our kinds the API server serves at this moment: none before their CRDs are
        there.
        """
        try:
            found = await self._call(
                "discover our kinds", lambda: self._custom.get_api_resources(GROUP, VERSION)
            )
        except ObjectNotFound:
            return frozenset()
        return KINDS & {one.name for one in found.resources}

    async def namespace_uid(self, name: str) -> str:
        """The UID of a namespace; that of kube-system stands for the cluster."""
        return str((await self._namespace(name))["uid"])

    async def namespace_labels(self, name: str) -> dict[str, str]:
        """The labels of a namespace."""
        return dict((await self._namespace(name)).get("labels") or {})

    async def _namespace(self, name: str) -> dict[str, Any]:
        doing = f"get namespace {name}"
        found = await self._call(doing, lambda: self._core("GET", f"/namespaces/{name}"))
        metadata: dict[str, Any] = found["metadata"]
        return metadata

    async def own_rules(self, namespace: str) -> list[dict[str, Any]] | None:
        """The rules of what this process may do in a namespace and in the whole cluster; None where
        the API server cannot list them (an authorizer other than RBAC).
        """
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        found = await self._call(
            f"review rights {namespace}", lambda: self._request("POST", path, body)
        )
        status = found["status"]
        return None if status.get("incomplete") else list(status.get("resourceRules") or [])

    async def served_schema(self, definition: str, version: str) -> dict[str, Any] | None:
        """The schema by which the API server prunes a version of a kind; None: there is none."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        found = await self._call(
            f"list definition {definition}",
            lambda: self._request("GET", f"{path}?fieldSelector=metadata.name={definition}"),
        )
        for one in found["items"]:
            for served in one["spec"]["versions"]:
                if served["name"] == version:
                    return dict((served.get("schema") or {}).get("openAPIV3Schema") or {})
        return None

    async def clock_ahead(self, clock: Clock) -> float | None:
        """By how many seconds our clock is ahead of the API server's; None: it does not say."""

        async def ask() -> float | None:
            sent_at = clock.utc_now()
            _, date = await self._answer("GET", "/version")
            return seconds_ahead(date, sent_at, clock.utc_now())

        return await self._call("get version -", ask)

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The data of a Secret, decoded."""
        found = await self._call(
            f"get secret {namespace}/{name}",
            lambda: self._core("GET", f"/namespaces/{namespace}/secrets/{name}"),
        )
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    async def get_secret_of_type(
        self, namespace: str, name: str, type_: str
    ) -> dict[str, bytes] | None:
        """The data of a Secret, decoded; None when it is of another type, which is not looked at.

        Raises:
            ClusterError: 403 where nobody has given the right to read this one.
        """
        found = await self._call(
            f"get secret {namespace}/{name}",
            lambda: self._core("GET", f"/namespaces/{namespace}/secrets/{name}"),
        )
        if found.get("type") != type_:
            return None
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    async def create_secret(
        self,
        namespace: str,
        name: str,
        data: Mapping[str, bytes],
        *,
        labels: Mapping[str, str],
        owner: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an immutable Secret; raises Conflict when it is there already."""
        metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": dict(labels)}
        if owner is not None:
            metadata["ownerReferences"] = [dict(owner)]
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "immutable": True,
            "metadata": metadata,
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        await self._write(
            f"create secret {namespace}/{name}",
            lambda: self._core("POST", f"/namespaces/{namespace}/secrets", body),
        )

    async def put_tls_secret(
        self, namespace: str, name: str, *, chain: bytes, key: bytes, labels: Mapping[str, str]
    ) -> None:
        """Write a Secret of type kubernetes.io/tls, whether it is there or not."""
        data = {"tls.crt": chain, "tls.key": key}
        encoded = {field: base64.b64encode(value).decode() for field, value in data.items()}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
            "data": encoded,
        }
        await self._put(namespace, "secret", name, body)

    async def service_addresses(self, namespace: str, name: str) -> list[str]:
        """The addresses of a Service's load balancer; none while it has none."""
        found = await self._call(
            f"get service {namespace}/{name}",
            lambda: self._core("GET", f"/namespaces/{namespace}/services/{name}"),
        )
        balancer = (found.get("status") or {}).get("loadBalancer") or {}
        return [str(one["ip"]) for one in balancer.get("ingress") or [] if one.get("ip")]

    async def review_token(self, token: str) -> dict[str, Any]:
        """Whom a token belongs to: the status of a TokenReview."""
        return await self._review("authentication.k8s.io", "TokenReview", {"token": token})

    async def review_access(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Whether somebody may do something: the status of a SubjectAccessReview."""
        return await self._review("authorization.k8s.io", "SubjectAccessReview", spec)

    async def _review(self, group: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": dict(spec)}
        path = f"/apis/{group}/v1/{kind.lower()}s"
        answer = await self._call(f"make a {kind}", lambda: self._request("POST", path, body))
        return dict(answer.get("status") or {})

    async def put_config_map(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Write a ConfigMap, whether it is there or not."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": dict(data),
        }
        await self._put(namespace, "configmap", name, body)

    async def _put(self, namespace: str, kind: str, name: str, body: Mapping[str, Any]) -> None:
        """Make an object, or give the one that is there the same data."""
        path = f"/namespaces/{namespace}/{kind}s"
        try:
            await self._write(
                f"create {kind} {namespace}/{name}", lambda: self._core("POST", path, body)
            )
        except Conflict:
            await self._write(
                f"patch {kind} {namespace}/{name}",
                lambda: self._core("PATCH", f"{path}/{name}", {"data": body["data"]}),
            )

    async def _core(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Call the core API as the client library's own methods do, without their models.

        Importing CoreV1Api loads a model of every core kind: 25 MB, for a Secret's data.
        """
        return await self._request(method, f"/api/v1{path}", body)

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        document, _ = await self._answer(method, path, body)
        return document

    async def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], str | None]:
        """The document of an answer, and its date."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        request = await self._api.param_serialize(
            method=method,
            resource_path=path,
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(*request)
        content: bytes = await response.read()  # type: ignore[no-untyped-call]
        if response.status >= HTTPStatus.BAD_REQUEST:
            text = content.decode("utf-8", "replace")
            error = client.ApiException(response.status, response.reason, body=text)
            error.headers = response.headers
            raise error
        return json.loads(content), response.headers.get("Date")

    async def write_event(
        self,
        namespace: str,
        name: str,
        body: dict[str, Any],
        patch: bool,  # noqa: FBT001
    ) -> Any:
        """Create an Event, or count it up."""
        path = f"/namespaces/{namespace}/events"
        if patch:
            return await self._call(
                f"patch event {namespace}/{name}",
                lambda: self._core("PATCH", f"{path}/{name}", body),
            )
        return await self._call(
            f"create event {namespace}/{name}", lambda: self._core("POST", path, body)
        )


def _mapped(doing: str, error: client.ApiException) -> ClusterError:
    status = int(error.status or 0)
    message = _message(error)
    if status == 404:  # noqa: PLR2004
        return ObjectNotFound(doing, message, status)
    if status == 409:  # noqa: PLR2004
        return Conflict(doing, message, status)
    if status == 429 or status >= 500 or status == 0:  # noqa: PLR2004
        return ClusterUnavailable(doing, message, status, retry_after=_retry_after(error))
    return ClusterError(doing, message, status)


def _retry_after(error: client.ApiException) -> float | None:
    """The seconds that a 429 asks to wait: nothing was done then, whatever the call was.

    Within the call's own time limit they are waited for and the call is sent again, as client-go
    does it. More than `LONGEST_PAUSE_SECONDS` is not believed.
    """
    if int(error.status or 0) != HTTPStatus.TOO_MANY_REQUESTS:
        return None
    text = str((error.headers or {}).get("Retry-After") or "")
    seconds = float(text) if text.isascii() and text.isdigit() else _USUAL_PAUSE_SECONDS
    return min(max(seconds, _USUAL_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)


def _ends_within(limit: asyncio.Timeout, seconds: float) -> bool:
    ends_at = limit.when()
    return ends_at is not None and asyncio.get_running_loop().time() + seconds >= ends_at


def _message(error: client.ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
