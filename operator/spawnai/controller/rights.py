"""What the operator may do, as the API server itself says: missing rights are named at the start.

Without it each missing right shows where it hurts: a listing that fails for ever, an event that is
never seen. The list is that of manifests/rbac.yaml; a test holds the two together.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spawnai.api.names import GATEWAY_SERVICE, GATEWAY_TLS_SECRET, GROUP
from spawnai.clock import Clock
from spawnai.telemetry.metrics import Metrics

from .cluster import Cluster, ClusterError

_LOGGER = logging.getLogger(__name__)

SOON_SECONDS = 60.0
"""While a right is missing, a person may be about to give it."""

USUAL_SECONDS = 3600.0

CRDS = "apiextensions.k8s.io"
LEASES = "coordination.k8s.io"


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource, and what does not work without it."""

    verb: str
    group: str
    resource: str
    without: str
    in_own_namespace: bool = False
    name: str = ""

    def __str__(self) -> str:
        where = f"{self.resource}.{self.group}" if self.group else self.resource
        which = f" {self.name}" if self.name else ""
        return f"{self.verb} {where}{which}"


def _rights(
    verbs: str, group: str, resource: str, without: str, *, own: bool = False, name: str = ""
) -> Iterable[Right]:
    for verb in verbs.split():
        yield Right(verb, group, resource, without, own, name)


_DOOR = "the console shows no log and no source"
_GATEWAY = "the gateway's certificate is not renewed and its address not found"

RIGHTS: tuple[Right, ...] = (
    *_rights("get list watch patch", GROUP, "spawnsessions", "no session is served"),
    *_rights("delete", GROUP, "spawnsessions", "ended sessions stay (lifetime.ttlAfterFinished)"),
    *_rights("patch", GROUP, "spawnsessions/status", "no session shows how it is"),
    *_rights("get list watch patch", GROUP, "spawnclasses", "no class can be used"),
    *_rights("patch", GROUP, "spawnclasses/status", "no class shows whether it can be used"),
    *_rights("list watch", GROUP, "spawnbudgets", "no budget holds anything back"),
    *_rights("patch", GROUP, "spawnbudgets/status", "no budget shows how much is left"),
    *_rights("list watch", GROUP, "spawnpools", "no spare droplet is kept"),
    *_rights("patch", GROUP, "spawnpools/status", "no pool shows how many spares are ready"),
    *_rights(
        "get list watch create patch delete keep",
        GROUP,
        "spawnrecords",
        "nothing can be made or ended",
    ),
    *_rights("patch", GROUP, "spawnrecords/status", "no receipt or cost is kept"),
    *_rights("create patch", "", "events", "nobody sees what happens in `kubectl describe`"),
    *_rights("get", "", "namespaces", "classes that choose namespaces by label serve none"),
    *_rights("list watch", CRDS, "customresourcedefinitions", "changes of the kinds are missed"),
    *_rights("create", "authentication.k8s.io", "tokenreviews", _DOOR),
    *_rights("create", "authorization.k8s.io", "subjectaccessreviews", _DOOR),
    *_rights("create", "", "configmaps", _DOOR, own=True),
    *_rights("patch", "", "configmaps", _DOOR, own=True, name="spawnai-operator"),
    *_rights("get create", "", "secrets", "no key can be read and no app kept", own=True),
    *_rights("patch", "", "secrets", _GATEWAY, own=True, name=GATEWAY_TLS_SECRET),
    *_rights("get", "", "services", _GATEWAY, own=True, name=GATEWAY_SERVICE),
    *_rights("create", LEASES, "leases", "the operator cannot lead", own=True),
    *_rights(
        "get patch", LEASES, "leases", "the operator cannot lead", own=True, name="spawnai-operator"
    ),
)


class RightsReview:
    """Asks the API server what this process may do, tells what is missing, and counts it."""

    def __init__(self, cluster: Cluster, metrics: Metrics, clock: Clock, namespace: str) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._clock = clock
        self._namespace = namespace
        self._told: frozenset[Right] = frozenset()

    async def run(self) -> None:
        """Look now, and then ever again, until cancelled."""
        while True:
            wait = SOON_SECONDS
            try:
                if not await self.look():
                    wait = USUAL_SECONDS
            except ClusterError as error:
                _LOGGER.info("What the operator may do could not be found out: %s", error)
            await self._clock.sleep(wait)

    async def look(self) -> frozenset[Right]:
        """The rights that are missing; each is told in the log when it is found missing first.

        Raises:
            ClusterError: the API server could not be asked.
        """
        own, other = await asyncio.gather(
            self._cluster.own_rules(self._namespace), self._cluster.own_rules("default")
        )
        if own is None or other is None:
            return frozenset()  # An authorizer that cannot list its rules: nothing follows.
        missing = missing_rights(own, other)
        for right in sorted(missing - self._told, key=str):
            _LOGGER.warning(
                "The operator may not %s%s: without it %s. Apply manifests/rbac.yaml (or upgrade "
                "the chart) again",
                right,
                f" in namespace {self._namespace}" if right.in_own_namespace else "",
                right.without,
            )
        for right in sorted(self._told - missing, key=str):
            _LOGGER.info("The operator may %s now", right)
        self._told = missing
        self._metrics.missing_rights(len(missing))
        return missing


def missing_rights(
    own: Collection[Mapping[str, Any]], other: Collection[Mapping[str, Any]]
) -> frozenset[Right]:
    """Which rights no rule gives. `own` are the rules in the operator's namespace, `other` those in
    another one: what holds there holds in the whole cluster.
    """
    return frozenset(
        right
        for right in RIGHTS
        if not any(_gives(rule, right) for rule in (own if right.in_own_namespace else other))
    )


def _gives(rule: Mapping[str, Any], right: Right) -> bool:
    def covers(values: Collection[str], wanted: str) -> bool:
        return "*" in values or wanted in values

    names = rule.get("resourceNames") or []
    _, slash, subresource = right.resource.partition("/")
    resources = rule.get("resources") or []
    of_any = bool(slash) and f"*/{subresource}" in resources
    return (
        covers(rule.get("verbs") or [], right.verb)
        and covers(rule.get("apiGroups") or [], right.group)
        and (covers(resources, right.resource) or of_any)
        and (not names or right.name in names)
    )
