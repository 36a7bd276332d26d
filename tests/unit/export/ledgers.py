"""A ledger as the API server holds it, for the tests of the exports."""

from typing import Any

UID = "7f3a0000-0000-4000-8000-000000000001"


def session_document(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "retro-board",
            "namespace": "team-a",
            "uid": UID,
            "creationTimestamp": "2026-11-29T12:00:00Z",
        },
        "spec": {"prompt": "A retro board", "appType": "webapp", "user": "dana"},
        "status": {
            "phase": "Destroyed",
            "className": "standard",
            "tier": "light",
            "region": "nyc3",
            "size": "s-1vcpu-1gb",
            "droplet": {"id": 41, "name": "spawn-7f3a", "ip": "203.0.113.24"},
            "expirationTime": "2026-11-29T14:00:00Z",
            "terminationReason": "Expired",
            "cost": {"estimated": "0.0300", "actual": "0.10386"},
            **status,
        },
    }


SPARE = "5a4e0000-0000-4000-8000-000000000002"
IMAGE = "1a6e0000-0000-4000-8000-000000000003"


def spare_document(uid: str = SPARE, **status: Any) -> dict[str, Any]:
    """The ledger of a spare that a session has taken after an hour."""
    return {
        "metadata": {"name": uid, "creationTimestamp": "2026-11-29T11:00:00Z"},
        "spec": {
            "owner": {"kind": "SpawnPool", "name": "quick", "uid": uid},
            "clusterUid": "c",
            "className": "standard",
            "tier": "light",
        },
        "status": {
            "resources": [
                {
                    "kind": "Droplet",
                    "id": "41",
                    "name": "spawn-5a4e",
                    "region": "nyc3",
                    "size": "s-1vcpu-1gb",
                    "ip": "203.0.113.24",
                    "priceHourly": "0.00893",
                    "createdAt": "2026-11-29T11:00:00Z",
                    "deletionAcceptedAt": "2026-11-29T12:00:00Z",
                    "goneAt": "2026-11-29T12:00:03Z",
                    "presence": "Gone",
                    "cost": "0.01",
                }
            ],
            "terminationReason": "TakenOver",
            "takenOverBy": UID,
            "takenOverAt": "2026-11-29T12:00:00Z",
            "totalCost": "0.01",
            "completedAt": "2026-11-29T12:00:03Z",
            **status,
        },
    }


def image_document() -> dict[str, Any]:
    """The ledger of a baked image that lived for a day."""
    line = {
        "region": "nyc3",
        "createdAt": "2026-11-28T12:00:00Z",
        "deletionAcceptedAt": "2026-11-29T12:00:00Z",
        "goneAt": "2026-11-29T12:00:03Z",
        "presence": "Gone",
    }
    builder = {"kind": "Droplet", "id": "40", "name": "spawn-1a6e", "size": "s-1vcpu-1gb"}
    snapshot = {"kind": "Image", "id": "900", "name": "spawn-image-c-1a6e"}
    return {
        "metadata": {"name": IMAGE, "creationTimestamp": "2026-11-28T12:00:00Z"},
        "spec": {
            "owner": {"kind": "SpawnImage", "name": "standard", "uid": IMAGE},
            "clusterUid": "c",
            "className": "standard",
        },
        "status": {
            "resources": [
                {**builder, **line, "priceHourly": "0.00893", "cost": "0.01"},
                {**snapshot, **line, "priceHourly": "0.000267857", "cost": "0.006429"},
            ],
            "totalCost": "0.016429",
            "completedAt": "2026-11-29T12:00:03Z",
        },
    }


def record_document(uid: str = UID, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": uid, "creationTimestamp": "2026-11-29T12:00:00Z"},
        "spec": {
            "owner": {
                "kind": "SpawnSession",
                "namespace": "team-a",
                "name": "retro-board",
                "uid": uid,
                "user": "dana",
            },
            "clusterUid": "c",
            "className": "standard",
            "appType": "webapp",
            "tier": "light",
        },
        "status": {
            "resources": [
                {
                    "kind": "Droplet",
                    "id": "41",
                    "name": "spawn-7f3a",
                    "region": "nyc3",
                    "size": "s-1vcpu-1gb",
                    "ip": "203.0.113.24",
                    "priceHourly": "0.00893",
                    "createdAt": "2026-11-29T12:00:00Z",
                    "deletionAcceptedAt": "2026-11-29T14:00:00Z",
                    "goneAt": "2026-11-29T14:00:03Z",
                    "presence": "Gone",
                    "cost": "0.01786",
                },
                {
                    "kind": "Firewall",
                    "id": "f",
                    "name": "fw-spawn-7f3a",
                    "createdAt": "2026-11-29T12:00:00Z",
                },
            ],
            "generations": [
                {
                    "model": "claude-sonnet-5-5",
                    "startedAt": "2026-11-29T12:00:01Z",
                    "finishedAt": "2026-11-29T12:00:50Z",
                    "outcome": "Stored",
                    "inputTokens": 3000,
                    "outputTokens": 8000,
                    "cost": "0.086",
                }
            ],
            "log": ["listening", "bye"],
            "totalCost": "0.10386",
            "terminationReason": "Expired",
            "completedAt": "2026-11-29T14:00:03Z",
            **status,
        },
    }
