"""What a token may do: found out by calls that change nothing, and told as the scopes it lacks.

DigitalOcean has no endpoint that tells the scopes of a token. A missing one shows as a 403, and
some show in silence: without `tag:read` a droplet's tags come back empty. So each scope has a call
of its own: a listing of one object, the deletion of an object that cannot exist, or a creation
without the fields that it needs, which is refused for that.

Scopes: docs.digitalocean.com/reference/api/scopes, read 2026-11.
"""

from collections.abc import Collection
from dataclasses import dataclass

from spawnai.api.names import TAG_PRODUCT
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import (
    Busy,
    Forbidden,
    NoCapacity,
    NotFound,
    OverQuota,
    Refused,
    UnknownOption,
)

_NOTHING = "00000000-0000-4000-8000-000000000000"
# Droplets, records and images have large numbers.
_NO_NUMBER = 1
# Any of these is said only to a token that has the scope.
_HAS_SCOPE = (NotFound, Refused, Busy, OverQuota, NoCapacity, UnknownOption)


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope, and the call that shows whether a token has it. `without`: what fails without it."""

    name: str
    probe: Call
    without: str


def _list(path: str) -> Call:
    return Call("GET", path, query={"per_page": 1})


BASE = (
    Scope("droplet:read", _list("/v2/droplets"), "droplets cannot be seen"),
    Scope("droplet:create", Call("POST", "/v2/droplets", body={}), "no session can start"),
    Scope(
        "droplet:delete",
        Call("DELETE", "/v2/droplets/{id}", {"id": _NO_NUMBER}),
        "no droplet can be destroyed",
    ),
    Scope("tag:read", _list("/v2/tags"), "droplets show no tags, so none is known as ours"),
    Scope(
        "tag:create",
        Call("POST", "/v2/tags", body={"name": TAG_PRODUCT}),
        "droplets cannot be marked as ours",
    ),
    Scope("firewall:read", _list("/v2/firewalls"), "firewalls cannot be seen"),
    Scope("firewall:create", Call("POST", "/v2/firewalls", body={}), "no firewall can be made"),
    Scope(
        "firewall:update",
        Call("PUT", "/v2/firewalls/{id}", {"id": _NOTHING}, body={}),
        "firewalls cannot follow their class",
    ),
    Scope(
        "firewall:delete",
        Call("DELETE", "/v2/firewalls/{id}", {"id": _NOTHING}),
        "firewalls are left behind",
    ),
)
"""What every class needs."""

LOAD_BALANCERS = (
    Scope("load_balancer:read", _list("/v2/load_balancers"), "load balancers cannot be seen"),
    Scope(
        "load_balancer:create",
        Call("POST", "/v2/load_balancers", body={}),
        "no load balancer can be made",
    ),
    Scope(
        "load_balancer:delete",
        Call("DELETE", "/v2/load_balancers/{id}", {"id": _NOTHING}),
        "load balancers are left behind",
    ),
    Scope("certificate:read", _list("/v2/certificates"), "certificates cannot be seen"),
    Scope(
        "certificate:create",
        Call("POST", "/v2/certificates", body={}),
        "no certificate can be made",
    ),
    Scope(
        "certificate:delete",
        Call("DELETE", "/v2/certificates/{id}", {"id": _NOTHING}),
        "certificates are left behind",
    ),
)
"""What a class with exposure mode LoadBalancer needs besides."""

IMAGES = (
    Scope("image:read", _list("/v2/images"), "images cannot be seen"),
    Scope(
        "droplet:update",
        Call("POST", "/v2/droplets/{id}/actions", {"id": _NO_NUMBER}, body={}),
        "no image can be baked",
    ),
    Scope(
        "image:delete",
        Call("DELETE", "/v2/images/{id}", {"id": _NO_NUMBER}),
        "images are left behind",
    ),
)
"""What a class with a baked image needs besides."""


def of_domain(domain: str) -> tuple[Scope, ...]:
    """What a class with a domain needs besides."""
    records = "/v2/domains/{domain}/records"
    return (
        Scope("domain:read", _list("/v2/domains"), "names cannot be seen"),
        Scope(
            "domain:create",
            Call("POST", records, {"domain": domain}, body={}),
            "no name can be made",
        ),
        Scope(
            "domain:delete",
            Call("DELETE", records + "/{id}", {"domain": domain, "id": _NO_NUMBER}),
            "names are left behind",
        ),
    )


async def missing_scopes(
    api: ApiClient, wanted: Collection[Scope], *, priority: Priority
) -> tuple[Scope, ...]:
    """Which of the scopes the token lacks. One call for each.

    Raises:
        Unauthorized: the token is wrong.
        DigitalOceanError: a probe had no usable answer; nothing follows then.
    """
    return tuple([scope for scope in wanted if not await _has(api, scope, priority)])


async def _has(api: ApiClient, scope: Scope, priority: Priority) -> bool:
    try:
        await api.call(scope.probe, lambda _document, _sent_at: None, priority=priority)
    except Forbidden:
        return False
    except _HAS_SCOPE:
        return True
    return True
