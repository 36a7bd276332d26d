"""Whether the API server keeps all fields that this operator writes.

The API server drops what the schema of a kind does not name. Under the CRDs of an older version
`status.readyAt` would be gone with each write: the time of a session would begin anew every second,
and its life would have no end. So an operator does not act while a field is missing.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from spawnai.api.crds import RESOURCES, object_schema
from spawnai.api.names import GROUP, VERSION
from spawnai.clock import Clock
from spawnai.telemetry.metrics import Metrics

from .cluster import Cluster, ClusterError

_LOGGER = logging.getLogger(__name__)

INTERVAL_SECONDS = 300.0
"""How often it is looked whether somebody has put older CRDs in place."""


class SchemasOutdated(ClusterError):
    """The API server would drop fields that the operator writes."""


class Schemas:
    """Compares the CRDs in the cluster with the models."""

    def __init__(self, cluster: Cluster, metrics: Metrics, clock: Clock) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._clock = clock

    async def check(self) -> None:
        """Return when every field is kept; a kind that is not there at all is not looked at.

        Raises:
            SchemasOutdated: fields are missing; it names them.
            ClusterError: the API server could not be asked.
        """
        missing: list[str] = []
        for resource in RESOURCES:
            served = await self._cluster.served_schema(f"{resource.plural}.{GROUP}", VERSION)
            if served is not None:
                ours = object_schema(resource)
                missing += [f"{resource.kind} {path}" for path in missing_fields(ours, served)]
        self._metrics.missing_fields(len(missing))
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""  # noqa: PLR2004
            raise SchemasOutdated(
                "check the CRDs",
                f"they are older than this operator and lack {', '.join(missing[:5])}{more}: apply "
                "crds/ of this version; until then nothing is made or ended",
            )

    async def watch(self) -> None:
        """Look now and then, until cancelled.

        Raises:
            SchemasOutdated: older CRDs were put in place.
        """
        while True:
            await self._clock.sleep(INTERVAL_SECONDS)
            try:
                await self.check()
            except SchemasOutdated:
                raise
            except ClusterError as error:
                _LOGGER.info("The CRDs could not be looked at: %s", error)


def missing_fields(ours: Mapping[str, Any], served: Mapping[str, Any]) -> Iterator[str]:
    """The paths of all fields that one schema names and the other does not, such as
    `status.readyAt`; what is below a missing field is not named, too.
    """
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    there = served.get("properties") or {}
    for name, schema in (ours.get("properties") or {}).items():
        if name not in there:
            yield name
        else:
            for path in missing_fields(schema, there[name]):
                yield f"{name}.{path}"
    for keyword, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in ours and isinstance(served.get(keyword), Mapping):
            for path in missing_fields(ours[keyword], served[keyword]):
                yield f"{sign}.{path}"
