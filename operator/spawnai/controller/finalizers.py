"""Our finalizer on an object, among those of others."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from spawnai.api.names import FINALIZER

from .cluster import Conflict, ObjectNotFound


@dataclass(frozen=True, slots=True)
class Finalizers:
    """All finalizers of an object, and the resourceVersion at which it had them."""

    version: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Self:
        """Read them from an object's metadata."""
        return cls(str(metadata["resourceVersion"]), tuple(metadata.get("finalizers") or ()))

    def has_ours(self) -> bool:
        """Whether ours is among them."""
        return FINALIZER in self.names


async def set_finalizer(
    uid: str,
    *,
    present: bool,
    get: Callable[[], Awaitable[Any]],
    patch: Callable[[Mapping[str, Any]], Awaitable[Any]],
    known: Finalizers | None = None,
) -> Any:
    """Put our finalizer on an object or take it off; returns the object as it is then.

    The list is replaced against the version it was seen at: someone else may change it too. What is
    `known` of it is enough, unless it has changed since; only then the object is read.

    Raises:
        ObjectNotFound: it is gone, also when another one has its name now.
        ClusterError: it could not be read or written.
    """
    if known is not None and known.has_ours() != present:
        try:
            return await patch(_replacing(uid, known, present=present))
        except Conflict:
            pass
    body = await get()
    metadata = body["metadata"]
    if metadata["uid"] != uid:
        raise ObjectNotFound(f"set finalizer of {metadata['name']}", "another one has its name now")
    found = Finalizers.of(metadata)
    if found.has_ours() == present:
        return body
    return await patch(_replacing(uid, found, present=present))


def _replacing(uid: str, found: Finalizers, *, present: bool) -> dict[str, Any]:
    names = [name for name in found.names if name != FINALIZER]
    if present:
        names.append(FINALIZER)
    return {"metadata": {"uid": uid, "resourceVersion": found.version, "finalizers": names}}
