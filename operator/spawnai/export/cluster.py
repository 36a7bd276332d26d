"""Sessions and ledgers as the API server holds them, page by page. Read only."""

from collections.abc import AsyncIterator
from typing import Any

from kubernetes.aio import client

from spawnai.cluster_access import cluster_access

GROUP, VERSION = "spawn-ai.com", "v1alpha1"

_PAGE = 500
_ANSWER_SECONDS = 30.0


class ClusterReader:
    """One connection to the API server, with the rights of the process's own account."""

    def __init__(self, api: client.CustomObjectsApi) -> None:
        self._api = api

    async def objects(self, plural: str) -> AsyncIterator[dict[str, Any]]:
        """All objects of a kind.

        Raises:
            kubernetes.aio.client.ApiException: the API server refused.
        """
        token: str | None = None
        while True:
            page: Any = await self._api.list_cluster_custom_object(
                GROUP, VERSION, plural,
                limit=_PAGE, _continue=token, _request_timeout=_ANSWER_SECONDS,
            )  # fmt: skip
            for item in page["items"]:
                yield item
            token = page["metadata"].get("continue")
            if not token:
                return


async def connect() -> tuple[client.ApiClient, ClusterReader]:
    """A reader for the cluster this process runs in, or for the kubeconfig.

    Raises:
        NoClusterAccess: there is neither.
    """
    api = client.ApiClient(await cluster_access())
    return api, ClusterReader(client.CustomObjectsApi(api))
