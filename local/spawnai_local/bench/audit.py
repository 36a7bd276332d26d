"""What the operator writes to the API server, from the API server's own audit log.

Every create, update, patch and delete that the operator's service account asks for is one line of
the log, also one that was refused. Four kinds are told apart:

- Events, by their resource;
- Lease renewals, by their resource;
- progress: a patch of a session's status that moves `progress` and takes no step: phase, URL,
  times, reasons and the conditions that sum up stay as they were. What became known meanwhile
  (the droplet's id, that a part is ready) rides along. Merge patches replace lists whole, so the
  status is rebuilt, patch by patch, to see what really changed;
- all else, which is what is held against the goal.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from spawnai.api.names import GROUP

_ROTATED_AT_MEGABYTES = 10_000
_STEP_FIELDS = (
    "phase",
    "url",
    "readyAt",
    "expirationTime",
    "expiryWarnedFor",
    "terminationReason",
    "destroyedAt",
)
_STEP_CONDITIONS = ("Ready", "Stalled", "ExpiringSoon", "Expired", "CleanupComplete")


class WriteKind(StrEnum):
    """What a write is counted as."""

    EVENT = "Event"
    LEASE = "Lease"
    PROGRESS = "progress"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Write:
    """One write. `at` is when the API server received it, in epoch seconds."""

    at: float
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    kind: WriteKind

    @property
    def what(self) -> str:
        """Verb and resource, such as `patch spawnsessions/status`."""
        return f"{self.verb} {self.resource}"


def write_policy(path: Path, service_account: str) -> None:
    """Write an audit policy that logs the writes of one service account (namespace:name)."""
    users = [f"system:serviceaccount:{service_account}"]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {
                "level": "Request",
                "users": users,
                "resources": [{"group": GROUP, "resources": ["spawnsessions/status"]}],
            },
            {"level": "Metadata", "users": users},
            {"level": "None"},
        ],
    }
    path.write_text(json.dumps(policy, indent=2))


def api_server_flags(policy: Path, log: Path) -> tuple[str, ...]:
    """Flags of kube-apiserver: each write is in the log before its answer is sent."""
    return (
        f"--audit-policy-file={policy}",
        f"--audit-log-path={log}",
        "--audit-log-mode=blocking",
        f"--audit-log-maxsize={_ROTATED_AT_MEGABYTES}",
    )


def read_writes(log: Path) -> list[Write]:
    """All writes so far, in order."""
    if not log.exists():
        return []
    with log.open(encoding="utf-8") as lines:
        return list(_writes(json.loads(line) for line in lines))


def _writes(entries: Iterable[dict[str, Any]]) -> Iterator[Write]:
    statuses: dict[str, dict[str, Any]] = {}
    for entry in entries:
        reference = entry["objectRef"]
        resource = reference["resource"]
        if "subresource" in reference:
            resource += f"/{reference['subresource']}"
        name = reference.get("name") or entry.get("requestObject", {}).get("metadata", {}).get(
            "name", ""
        )
        kind = WriteKind.STATE
        if resource == "events":
            kind = WriteKind.EVENT
        elif resource == "leases":
            kind = WriteKind.LEASE
        elif resource == "spawnsessions/status":
            key = f"{reference.get('namespace')}/{name}"
            before = statuses.get(key, {})
            after = merged(before, entry.get("requestObject", {}).get("status") or {})
            statuses[key] = after
            moved = before.get("progress") != after.get("progress")
            if moved and steps(before) == steps(after):
                kind = WriteKind.PROGRESS
        yield Write(
            at=datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp(),
            verb=entry["verb"],
            resource=resource,
            namespace=reference.get("namespace", ""),
            name=name,
            status=entry.get("responseStatus", {}).get("code", 0),
            kind=kind,
        )


def merged(old: Any, patch: Any) -> Any:
    """What a JSON merge patch (RFC 7386) makes of a document."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def steps(status: dict[str, Any]) -> dict[str, Any]:
    """What a status says of the steps of a life, without how far the current one has come."""
    said = {name: status.get(name) for name in _STEP_FIELDS}
    said["conditions"] = {
        one["type"]: (one["status"], one["reason"])
        for one in status.get("conditions", [])
        if one["type"] in _STEP_CONDITIONS
    }
    return said
