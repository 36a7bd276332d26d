"""Whether a caller may watch a scope: asked of the API server with the caller's own token."""

from http import HTTPStatus
from typing import Any

from spawnai.api.names import GROUP

from .api_server import ApiServer, Refused, sessions_path
from .caller import Caller
from .feed import Scope

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def may(
    api: ApiServer,
    caller: Caller,
    verb: str,
    namespace: str | None,
    *,
    name: str | None = None,
    subresource: str | None = None,
) -> bool:
    """Whether RBAC allows the caller that verb on spawnsessions, of all namespaces where none is
    named.

    Raises:
        Refused: the token is not valid.
        Unreachable: the API server did not answer.
    """
    attributes = {
        "group": GROUP,
        "resource": "spawnsessions",
        "verb": verb,
        "namespace": namespace,
        "name": name,
        "subresource": subresource,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {
            "resourceAttributes": {
                key: value for key, value in attributes.items() if value is not None
            }
        },
    }
    answer: dict[str, Any] = await api.call(caller.token, "POST", _REVIEWS, body=review)
    return bool((answer.get("status") or {}).get("allowed"))


async def require_list(api: ApiServer, caller: Caller, namespace: str | None) -> None:
    """Make sure that the caller may list the sessions of a namespace, or of all.

    Raises:
        Refused: the caller may not; with Kubernetes' own sentence.
        Unreachable: the API server did not answer.
    """
    if await may(api, caller, "list", namespace):
        return
    # Refused by the very request that it is about, so that the sentence is Kubernetes' own.
    await api.call(caller.token, "GET", sessions_path(namespace), query={"limit": "1"})
    raise _refused("list", namespace)


async def require_watch(api: ApiServer, caller: Caller, scope: Scope) -> Scope:
    """The widest scope that the caller may watch and that holds the one asked for.

    A page that shows one session shares the namespace's feed where its reader may see all of it.

    Raises:
        Refused: the caller may not; with Kubernetes' own sentence.
        Unreachable: the API server did not answer.
    """
    whole = Scope(scope.namespace)
    if await may(api, caller, "watch", scope.namespace):
        return whole
    if scope.name is not None and await may(api, caller, "watch", scope.namespace, name=scope.name):
        return scope
    # Refused by the very request that it is about, so that the sentence is Kubernetes' own.
    query = {**scope.query, "watch": "true", "timeoutSeconds": "1"}
    await api.call(caller.token, "GET", scope.path, query=query)
    raise _refused("watch", scope.namespace)


def _refused(verb: str, namespace: str | None) -> Refused:
    where = "in all namespaces" if namespace is None else f"in the namespace {namespace}"
    return Refused(
        HTTPStatus.FORBIDDEN,
        {"reason": "Forbidden", "message": f"you may not {verb} spawnsessions {where}"},
    )
