"""Our finalizer on an object, among those of others."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from spawnai.api.names import FINALIZER

from .cluster import ObjectNotFound


async def set_finalizer(
    uid: str,
    *,
    present: bool,
    get: Callable[[], Awaitable[Any]],
    patch: Callable[[Mapping[str, Any]], Awaitable[Any]],
) -> Any:
    """Put our finalizer on an object or take it off; returns the object as it is then.

    The list is replaced against the version it was read at: someone else may change it too.

    Raises:
        ObjectNotFound: it is gone, also when another one has its name now.
        ClusterError: it could not be read or written.
    """
    body = await get()
    metadata = body["metadata"]
    if metadata["uid"] != uid:
        raise ObjectNotFound(f"set finalizer of {metadata['name']}", "another one has its name now")
    before = metadata.get("finalizers") or []
    finalizers = [name for name in before if name != FINALIZER]
    if present:
        finalizers.append(FINALIZER)
    if finalizers == before:
        return body
    version = metadata["resourceVersion"]
    return await patch({"metadata": {"finalizers": finalizers, "resourceVersion": version}})
