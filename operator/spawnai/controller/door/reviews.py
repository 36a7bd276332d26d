"""Who a token belongs to, and what its owner may do: TokenReview and SubjectAccessReview."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from spawnai.api.names import GROUP
from spawnai.clock import Clock
from spawnai.controller.cluster import Cluster

BELIEVED_SECONDS = 10.0
"""How long an answer of the API server is believed: as long as its own authorizer caches one."""

_MOST_ANSWERS = 2_000


class Denied(Exception):
    """The caller is not known (401), or may not do that (403)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Access:
    """A verb on spawnsessions, or on a made-up subresource of them that only RBAC knows; without a
    namespace: in all of them.
    """

    verb: str
    namespace: str | None
    name: str | None = None
    subresource: str | None = None


class Reviews:
    """Asks the API server, and remembers its answers for a moment."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._answers: OrderedDict[object, tuple[float, Any]] = OrderedDict()

    async def require(self, token: str, *accesses: Access) -> str:
        """Make sure that the token's owner may do one of these; returns the owner's name.

        Raises:
            Denied: the token is not valid, or its owner may do none of them.
            ClusterError: the API server could not be asked.
        """
        owner = await self._owner(token)
        for access in accesses:
            if await self._allowed(owner, access):
                return str(owner["username"])
        raise Denied(HTTPStatus.FORBIDDEN, _sentence(str(owner["username"]), accesses[0]))

    async def _owner(self, token: str) -> Mapping[str, Any]:
        key = hashlib.sha256(token.encode()).digest()
        known = self._known(key)
        if known is not None:
            return dict(known)
        status = await self._cluster.review_token(token)
        if not status.get("authenticated"):
            raise Denied(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        owner = dict(status["user"])
        self._remember(key, owner)
        return owner

    async def _allowed(self, owner: Mapping[str, Any], access: Access) -> bool:
        attributes = {
            "group": GROUP,
            "resource": "spawnsessions",
            "verb": access.verb,
            "namespace": access.namespace,
            "name": access.name,
            "subresource": access.subresource,
        }
        key = (owner.get("uid"), owner["username"], tuple(owner.get("groups") or ()), access)
        known = self._known(key)
        if known is not None:
            return bool(known)
        spec = {
            "user": owner["username"],
            "uid": owner.get("uid"),
            "groups": owner.get("groups"),
            "extra": owner.get("extra"),
            "resourceAttributes": {k: v for k, v in attributes.items() if v is not None},
        }
        status = await self._cluster.review_access({k: v for k, v in spec.items() if v is not None})
        allowed = bool(status.get("allowed"))
        self._remember(key, allowed)
        return allowed

    def _known(self, key: object) -> Any:
        at, answer = self._answers.get(key, (float("-inf"), None))
        return answer if self._clock.now() - at < BELIEVED_SECONDS else None

    def _remember(self, key: object, answer: Any) -> None:
        self._answers[key] = (self._clock.now(), answer)
        self._answers.move_to_end(key)
        if len(self._answers) > _MOST_ANSWERS:
            self._answers.popitem(last=False)


def _sentence(user: str, access: Access) -> str:
    """A refusal in Kubernetes' own words."""
    resource = "spawnsessions" + (f"/{access.subresource}" if access.subresource else "")
    subject = f' "{access.name}"' if access.name else ""
    where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    return (
        f'spawnsessions.{GROUP}{subject} is forbidden: User "{user}" cannot {access.verb} resource '
        f'"{resource}" in API group "{GROUP}" {where}'
    )
