"""Which droplet answers for which host, as the SpawnSessions say."""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from spawnai.api.names import session_host_label


class Routes:
    """Hosts of one domain and the addresses of their droplets.

    A session has a route from the moment its droplet's address is known until its teardown begins.
    A wrong address leads nowhere: TLS to the droplet is pinned to the session's name.
    """

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self._addresses: dict[str, str] = {}
        self._hosts: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def find(self, host: str) -> str | None:
        """The address of the droplet that answers for a host name; None: there is no such app."""
        return self._addresses.get(host.rstrip(".").lower())

    def put(self, session: Mapping[str, Any]) -> None:
        """A session was seen, in its newest state."""
        metadata, status = session["metadata"], session.get("status") or {}
        uid = str(metadata["uid"])
        address: str | None = (status.get("droplet") or {}).get("ip")
        if address is None or not _is_reachable(metadata, status) or not _is_address(address):
            self.remove(uid)
            return
        host = f"{session_host_label(metadata['name'], uid)}.{self.domain}"
        self._hosts[uid] = host
        self._addresses[host] = address

    def remove(self, uid: str) -> None:
        """A session is gone, or is not to be reached any more."""
        host = self._hosts.pop(uid, None)
        if host is not None:
            self._addresses.pop(host, None)

    def keep_only(self, uids: set[str]) -> None:
        """A whole listing was seen: what it lacks is gone."""
        for uid in [uid for uid in self._hosts if uid not in uids]:
            self.remove(uid)


def _is_reachable(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Not once the session ends: the droplet's address may soon be a stranger's."""
    if metadata.get("deletionTimestamp") or status.get("terminationReason"):
        return False
    return status.get("phase") not in ("Destroying", "Destroyed")


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
