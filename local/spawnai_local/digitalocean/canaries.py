"""Canaries: foreign things in the account that nobody may change or delete, and the look at them.

Some can be made to look much like a session's own. They are placed past limits and delays (a
droplet is active at once), and a fingerprint of each is kept.
"""

import json
from dataclasses import dataclass
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.cloud import Cloud

DEFAULT_DROPLET = {"region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}
KINDS = (
    "tags",
    "droplets",
    "firewalls",
    "domains",
    "records",
    "certificates",
    "load_balancers",
)


@dataclass(frozen=True, slots=True)
class Canary:
    """What was placed: its kind, id (for records `domain/id`) and how it looked."""

    kind: str
    id: str
    fingerprint: str


class Canaries:
    """The canaries of one account."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._placed: list[Canary] = []

    @property
    def count(self) -> int:
        """How many were placed."""
        return len(self._placed)

    def place(self, order: dict[str, Any]) -> dict[str, Any]:
        """Place what `order` lists below `tags`, `droplets`, `firewalls`, `domains`, `records`,
        `certificates` and `load_balancers`.

        Each entry is what DigitalOcean's API takes to make such a thing; droplets have defaults for
        all but the name, a record names its `domain` too, and `"canary": false` beside the lists
        places without watching.

        Returns:
            The ids of what was placed, by kind.

        Raises:
            ValueError: the order has another part.
            ApiError: an entry is wrong.
        """
        watch = order.get("canary", True)
        if unknown := sorted(set(order) - {*KINDS, "canary"}):
            raise ValueError(f"nothing is called {', '.join(unknown)}; there are {KINDS}")
        placed: dict[str, list[str]] = {}
        for kind in KINDS:
            for entry in order.get(kind, ()):
                placed.setdefault(kind, []).append(self._place(kind, entry, watch=watch))
        self._cloud.timeline.settle()
        if watch:
            self._placed += [
                Canary(kind, one, self._fingerprint(kind, one))
                for kind, ids in placed.items()
                for one in ids
            ]
        return placed

    def touched(self) -> list[dict[str, str]]:
        """Return the canaries that were changed or are gone: kind, id and what happened."""
        touched = []
        for canary in self._placed:
            try:
                now = self._fingerprint(canary.kind, canary.id)
            except errors.ApiError:
                touched.append({"kind": canary.kind, "id": canary.id, "what": "gone"})
                continue
            if now != canary.fingerprint:
                what = f"changed from {canary.fingerprint} to {now}"
                touched.append({"kind": canary.kind, "id": canary.id, "what": what})
        return touched

    def _place(self, kind: str, entry: Any, *, watch: bool) -> str:
        cloud = self._cloud
        if kind == "tags":
            return cloud.tags.ensure(entry).name
        if not isinstance(entry, dict):
            raise errors.unprocessable(f"each of {kind} must be an object, not {entry!r}")
        if kind == "droplets":
            created = cloud.droplets.create({**DEFAULT_DROPLET, **entry}, canary=True)[0]
            created.droplet.canary = watch
            return str(created.droplet.id)
        if kind == "firewalls":
            return cloud.firewalls.create(entry, canary=watch).id
        if kind == "domains":
            return cloud.domains.create(entry, canary=watch).name
        if kind == "certificates":
            return cloud.certificates.create(entry, canary=watch).id
        if kind == "load_balancers":
            return cloud.load_balancers.create(entry, canary=watch).id
        record = cloud.domains.create_record(str(entry.get("domain", "")), entry)
        domain = next(one for one in cloud.domains.all() if record.id in one.records)
        return f"{domain.name}/{record.id}"

    def _fingerprint(self, kind: str, identifier: str) -> str:
        cloud = self._cloud
        if kind == "tags":
            return cloud.tags.get(identifier).name
        if kind == "droplets":
            droplet = cloud.droplets.get(int(identifier))
            if droplet.deleted_at is not None:
                raise errors.not_found()
            kept = (droplet.name, droplet.status, sorted(droplet.tags))
            return json.dumps(kept)
        if kind == "firewalls":
            document = cloud.firewalls.get(identifier).document()
            del document["status"], document["pending_changes"]
            return json.dumps(document)
        if kind == "domains":
            return cloud.domains.get(identifier).name
        if kind == "certificates":
            return cloud.certificates.get(identifier).name
        if kind == "load_balancers":
            shown = cloud.load_balancers.document(cloud.load_balancers.get(identifier))
            return json.dumps({**shown, "status": None, "ip": None})
        name, _, number = identifier.partition("/")
        return json.dumps(cloud.domains.record(name, int(number)).document())
