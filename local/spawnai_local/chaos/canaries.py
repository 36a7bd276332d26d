"""Foreign things in the account, some of them much like ours: nobody may touch them."""

from typing import Any

from spawnai_local.classes import LOCAL_DOMAIN
from spawnai_local.digitalocean import Emulator
from spawnai_local.digitalocean.canaries import Canaries

_CLUSTER = "cluster:0b7c1f6e-51f4-4d0c-9a55-3f0f0f9f7c10"
_SESSION = "5c8dbb7e-2f7e-4a57-8f0d-07a4e6a1a001"
_CLASS = "5c8dbb7e-2f7e-4a57-8f0d-07a4e6a1a002"
_SSH_FROM_INSIDE = [{"protocol": "tcp", "ports": "22", "sources": {"addresses": ["10.0.0.0/8"]}}]


FOREIGN_THINGS: dict[str, list[Any]] = {
    "tags": ["production", _CLUSTER, f"class:{_CLASS}"],
    "droplets": [
        {"name": "database", "tags": ["production"]},
        {"name": "spawn-me-a-beer", "tags": ["spawn-ai", "ephemeral", "ttl:1"]},
        {
            "name": f"spawn-{_SESSION}",
            "tags": [
                *("spawn-ai", "ephemeral", "ttl:1", _CLUSTER),
                *(f"session:{_SESSION}", f"class:{_CLASS}"),
            ],
        },
    ],
    "firewalls": [
        {"name": "fw-production", "tags": ["production"], "inbound_rules": _SSH_FROM_INSIDE},
        {
            "name": f"fw-spawn-class-{_CLASS}",
            "tags": [f"class:{_CLASS}"],
            "inbound_rules": _SSH_FROM_INSIDE,
        },
        {"name": f"fw-spawn-{_SESSION}", "tags": [], "inbound_rules": _SSH_FROM_INSIDE},
    ],
    "domains": [{"name": "canary.example"}],
    "records": [
        {"domain": "canary.example", "type": "A", "name": "www", "data": "127.9.9.9"},
        {"domain": LOCAL_DOMAIN, "type": "A", "name": "www", "data": "127.9.9.9"},
        {"domain": LOCAL_DOMAIN, "type": "A", "name": "board-5c8dbb7e", "data": "127.9.9.8"},
    ],
}
FOREIGN_NAMES = ("www", "board-5c8dbb7e")
"""The records of the apps' own domain that are not ours."""


class Foreign:
    """The foreign things of one account."""

    def __init__(self, emulator: Emulator) -> None:
        self._canaries = Canaries(emulator.cloud)
        self._canaries.place(FOREIGN_THINGS)

    def touched(self) -> list[dict[str, str]]:
        """Those that were changed or are gone, and how."""
        return self._canaries.touched()
