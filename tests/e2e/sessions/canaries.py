"""Foreign things in the same DigitalOcean account, some of them much like ours."""

from typing import Any

from spawnai_local.classes import LOCAL_DOMAIN
from spawnai_local.digitalocean.client import ControlClient

OTHER_CLUSTER = "cluster:0b7c1f6e-51f4-4d0c-9a55-3f0f0f9f7c10"
OTHER_SESSION = "5c8dbb7e-2f7e-4a57-8f0d-07a4e6a1a001"
OTHER_CLASS = "5c8dbb7e-2f7e-4a57-8f0d-07a4e6a1a002"
SSH_FROM_INSIDE = [{"protocol": "tcp", "ports": "22", "sources": {"addresses": ["10.0.0.0/8"]}}]

CANARIES: dict[str, list[Any]] = {
    "tags": ["production", OTHER_CLUSTER, f"class:{OTHER_CLASS}"],
    "droplets": [
        {"name": "database", "tags": ["production"]},
        {"name": "spawn-me-a-beer", "tags": ["spawn-ai", "ephemeral", "ttl:1"]},
        {
            "name": f"spawn-{OTHER_SESSION}",
            "tags": [
                *("spawn-ai", "ephemeral", "ttl:1", OTHER_CLUSTER),
                *(f"session:{OTHER_SESSION}", f"class:{OTHER_CLASS}"),
            ],
        },
    ],
    "firewalls": [
        {"name": "fw-production", "tags": ["production"], "inbound_rules": SSH_FROM_INSIDE},
        {
            "name": f"fw-spawn-class-{OTHER_CLASS}",
            "tags": [f"class:{OTHER_CLASS}"],
            "inbound_rules": SSH_FROM_INSIDE,
        },
        {"name": f"fw-spawn-{OTHER_SESSION}", "tags": [], "inbound_rules": SSH_FROM_INSIDE},
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


async def place_canaries(cloud: ControlClient) -> None:
    """Put them into the account."""
    await cloud.seed(**CANARIES)


async def touched_canaries(cloud: ControlClient) -> list[dict[str, str]]:
    """Those that were changed or are gone."""
    report = await cloud.canaries()
    assert report["placed"] == sum(map(len, CANARIES.values()))
    return list(report["touched"])
