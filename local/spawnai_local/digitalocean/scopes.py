"""Which scope a token needs for which call, and what an answer withholds from one that lacks it.

By DigitalOcean's OpenAPI description (`security`) and its pages on scopes. A token of which nothing
is said may do everything.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spawnai_local.digitalocean.exchange import Answer
from spawnai_local.digitalocean.router import Route

_KINDS = {
    "account": "account",
    "actions": "actions",
    "certificates": "certificate",
    "customers": "billing",
    "domains": "domain",
    "droplets": "droplet",
    "firewalls": "firewall",
    "images": "image",
    "load_balancers": "load_balancer",
    "regions": "regions",
    "reserved_ips": "reserved_ip",
    "sizes": "sizes",
    "snapshots": "snapshot",
    "tags": "tag",
}
_VERBS = {"GET": "read", "POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
# What each scope brings along.
_IMPLIED = {
    "droplet:read": {"actions:read", "regions:read", "sizes:read", "image:read", "snapshot:read"},
    "image:delete": {"snapshot:delete"},
}
# A tag and what wears it: `tag:create` is asked of who makes one.
_PARTS = ("actions", "droplets", "rules", "tags", "resources", "forwarding_rules")


def scope_of(route: Route) -> str:
    """The scope that a call needs, such as `droplet:create`."""
    words = route.template.split("/")[2:]
    if words[:2] == ["account", "keys"]:
        return f"ssh_key:{_VERBS[route.method]}"
    kind, verb = _KINDS[words[0]], _VERBS[route.method]
    if route.method in ("POST", "DELETE") and words[-1] in _PARTS and len(words) > 1:
        verb = "update" if kind != "tag" else verb
    return f"{kind}:{verb}"


def scopes_of(route: Route) -> tuple[str, ...]:
    """All scopes that a call needs: who tags a droplet changes it, too."""
    also = ("droplet:update",) if route.template.endswith("/resources") else ()
    return (scope_of(route), *also)


def has_scope(scopes: frozenset[str] | None, scope: str) -> bool:
    """Whether a token of these scopes may do that; None is full access."""
    return (
        scopes is None
        or scope in scopes
        or any(scope in implied for one, implied in _IMPLIED.items() if one in scopes)
    )


def withheld(answer: Answer, scopes: frozenset[str] | None) -> Answer:
    """The answer as a token of these scopes sees it: no tags without `tag:read`, and no ids of
    droplets without `droplet:read`.
    """
    if scopes is None or answer.body is None:
        return answer
    hidden = [
        name
        for name, scope in (("tags", "tag:read"), ("droplet_ids", "droplet:read"))
        if scope not in scopes
    ]
    document = answer.document()
    if not hidden or not isinstance(document, dict):
        return answer
    for value in document.values():
        for one in value if isinstance(value, list) else [value]:
            _hide(one, hidden)
    return replace(answer, body=json.dumps(document).encode())


def _hide(shown: Any, hidden: list[str]) -> None:
    if isinstance(shown, dict) and "id" in shown:
        for name in hidden:
            if name in shown:
                shown[name] = []


def read_scopes(document: Any) -> frozenset[str] | None:
    """Read a list of scopes; null is full access.

    Raises:
        ValueError: it is none.
    """
    if document is None:
        return None
    if not isinstance(document, list) or not all(isinstance(one, str) for one in document):
        raise ValueError('scopes are a list such as ["droplet:read"], or null for all')
    return frozenset(document)


Scopes = Mapping[str, frozenset[str] | None]
