"""Whether a session's DNS name ever led to something other than its own droplet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from spawnai.api.names import session_droplet_name, session_host_suffix

_POINTED = ("record created", "record changed")


def astray(changes: Iterable[Mapping[str, Any]], session_uid: str) -> Iterator[str]:
    """What is wrong with its names, in words, by every change that an account has seen."""
    seen: Sequence[Mapping[str, Any]] = list(changes)
    suffix, droplet = session_host_suffix(session_uid), session_droplet_name(session_uid)
    own = {
        change.get("address")
        for change in seen
        if change["what"] == "droplet created" and change.get("name") == droplet
    }
    for change in seen:
        if not str(change.get("name", "")).endswith(suffix):
            continue
        if change["what"] == "record dangling":
            yield "its droplet was deleted while its name pointed at it"
        if change["what"] in _POINTED and change.get("data") not in own:
            yield f"its name was pointed at {change.get('data')}, which is not its droplet's"
