"""The labels of namespaces, for classes that choose their namespaces by label."""

import logging
from collections.abc import Mapping

from spawnai.clock import Clock

from .cluster import Cluster, ClusterError, ClusterUnavailable, ObjectNotFound

_LOGGER = logging.getLogger(__name__)

FRESH_SECONDS = 20.0
"""For how long labels are believed: less than a stalled session waits for its next look."""


class NamespaceLabels:
    """Labels as they were read lately. A namespace is only read when a class wants to know."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: dict[str, tuple[float, Mapping[str, str] | None]] = {}

    def of(self, namespace: str) -> Mapping[str, str] | None:
        """The labels as they were read last; None: they were not, or could not be."""
        return self._known.get(namespace, (0.0, None))[1]

    async def refresh(self, namespace: str) -> None:
        """Read the labels of a namespace unless that was done lately.

        Raises:
            ClusterUnavailable: the API server did not answer; the queue tries again.
        """
        now = self._clock.now()
        self._known = {
            name: known for name, known in self._known.items() if now - known[0] < FRESH_SECONDS
        }
        if namespace in self._known:
            return
        labels: Mapping[str, str] | None = None
        try:
            labels = await self._cluster.namespace_labels(namespace)
        except ObjectNotFound:
            pass
        except ClusterUnavailable:
            raise
        except ClusterError as error:
            _LOGGER.warning("The labels of namespace %s are not known: %s", namespace, error)
        self._known[namespace] = (now, labels)
