"""The operator's calls, and what each is called: the same words in every run, without ids in them.

A name is the method, the path with its ids left out, and, where one path serves many purposes, what
the call is about, such as `PATCH spawnsessions/status phase=Running`. No name may depend on timing:
two purposes that are sometimes one write are two names, and that write bears both.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from spawnai.api.names import FINALIZER
from spawnai_local.digitalocean.router import Router

EVENTS = "POST events"
"""The operator tells Events from a queue, so they come in no particular situation."""

LEASE_MADE = "POST leases"
"""The Lease is made by the first operator of a cluster, and by a leader whose Lease was deleted."""

ORDER = "POST /v2/droplets"
"""The order for a droplet."""

READS = frozenset({"GET", "HEAD"})
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAJOR = ("phase", "readyAt", "terminationReason", "expirationTime", "expiryWarnedFor")


class Edge(StrEnum):
    """Whom the operator calls."""

    DIGITALOCEAN = "DigitalOcean"
    CLAUDE = "Claude"
    AGENT = "agent"
    API_SERVER = "API server"
    ACME = "ACME"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a proxy took it in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the operator.

    `hints` are whatever in it may tell whose it is: a token, a UID, the name of a session or class.
    `also` are further names of a write that serves several purposes at once.
    """

    edge: Edge
    name: str
    hints: tuple[str, ...] = ()
    writes: bool = False
    streams: bool = False
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All its names."""
        return (self.name, *self.also)

    @property
    def is_boundary(self) -> bool:
        """Whether plans are made for it: all but reads from the API server."""
        return self.writes or self.edge is not Edge.API_SERVER


def of_digitalocean(request: Request, router: Router) -> Call:
    """Name a call to DigitalOcean; its token tells whose it is."""
    route, _ = router.find(request.method, request.path)
    name = route.endpoint if route is not None else f"{request.method} (unknown path)"
    if "tag_name" in request.query:
        name += f" of a {request.query['tag_name'].partition(':')[0]}"
    elif "name" in request.query:
        name += " by name"
    elif request.document().get("name", "").startswith("fw-spawn-class-"):
        name += " of a class"
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return Call(Edge.DIGITALOCEAN, name, (token,), writes=request.method not in READS)


def of_claude(request: Request) -> Call:
    """Name a call to Claude; its key tells whose it is."""
    key = request.headers.get("x-api-key") or request.headers.get("Authorization", "")
    name = f"{request.method} {re.sub(r'^/v1/models/.+', '/v1/models/{model}', request.path)}"
    orders = request.method == "POST"
    return Call(Edge.CLAUDE, name, (key.removeprefix("Bearer "),), writes=orders, streams=orders)


def of_agent(method_and_path: str, session_uid: str) -> Call:
    """Name a call to a droplet's agent."""
    writes = method_and_path.partition(" ")[0] not in READS
    name = re.sub(r"/v1/challenges/.+", "/v1/challenges/{token}", method_and_path)
    return Call(Edge.AGENT, name, (session_uid,), writes=writes)


def of_api_server(request: Request) -> Call:
    """Name a call to the API server: by the object it is about, and by what it writes."""
    parts = request.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:  # noqa: PLR2004 - namespaces/NAME/KIND
        parts = parts[2:]
    kind, name, part = (*parts, "", "", "")[:3]
    what = f"{kind}/{part}" if part else kind
    body = request.document()
    writes = request.method not in READS
    title = f"{request.method} {what}"
    purposes = _purposes(what, body) if writes else ()
    first, *also = [f"{title} {purpose}" for purpose in purposes] or [title]
    return Call(
        Edge.API_SERVER,
        first,
        _named_in(name, body),
        writes=writes,
        streams=request.query.get("watch", "") in ("1", "true", "True"),
        also=tuple(also),
    )


def _named_in(name: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    """All names and UIDs that a path's last part and a body mention as their object."""
    hints = [name, *_UUID.findall(name)]
    hints += [str(body.get(key, {}).get("name", "")) for key in ("metadata", "involvedObject")]
    hints.append(str(body.get("spec", {}).get("owner", {}).get("name", "")))
    hints += _UUID.findall(str(body.get("metadata", {}).get("name", "")))
    return tuple(one for one in hints if one)


def _purposes(what: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    status = body.get("status") or {}
    match what:
        case "spawnsessions" | "spawnclasses":
            held = FINALIZER in (body["metadata"].get("finalizers") or ())
            return ("hold" if held else "let go",)
        case "spawnsessions/status":
            majors = [name for name in _MAJOR if name in status]
            if not majors:
                return ("progress",)
            return (f"phase={status['phase']}" if majors[0] == "phase" else majors[0],)
        case "spawnrecords":
            return (f"of a {body.get('spec', {}).get('owner', {}).get('kind', 'session')}",)
        case "spawnrecords/status":
            return _of_a_ledger(status)
        case "spawnclasses/status":
            conditions = status.get("conditions") or []
            ready = [one["reason"] for one in conditions if one["type"] == "Ready"]
            return tuple(ready[:1])
        case _:
            return ()


def _of_a_ledger(status: Mapping[str, Any]) -> tuple[str, ...]:
    """What a write to a ledger tells first: by the furthest thing that its lines show.

    How many lines there are depends on timing: a name's line is written alone or with the order to
    Claude, a firewall's with its droplet's or after it (spawnai/billing/ledger.py, `write_within`).
    That a line with the name comes, one with the address, and one with the droplet before it has an
    address, does not.
    """
    if "completedAt" in status:
        return ("closed",)
    orders = ("an order",) if "generations" in status else ()
    lines = status.get("resources") or ()
    droplets = [one for one in lines if one.get("kind") == "Droplet"]
    furthest = {
        "a deletion": any("deletionAcceptedAt" in one for one in lines),
        "a name": any(one.get("kind") == "DomainRecord" for one in lines),
        "an address": any("ip" in one for one in droplets),
        "a droplet": bool(droplets),
        "a firewall": bool(lines),
    }
    shown = next((words for words, is_there in furthest.items() if is_there), None)
    return (*orders, shown) if shown is not None else orders or ("progress",)
