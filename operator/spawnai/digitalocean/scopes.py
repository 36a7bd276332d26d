"""What a token may do: which scope a call needs, and which of them a token lacks.

DigitalOcean has no call that tells the scopes of a token. Most missing ones show as a 403 at the
first call that needs them, which names them (`scope_names.py`). The others would be noticed too
late: without `tag:read` a droplet's tags come back empty, so that it is not known as ours, and
without a right to delete nothing is missed before the first end, and without a right to rename
spares are paid that no session can ever claim. Those are probed by calls that change nothing: a
listing of one object, and the deletion or renaming of an object that cannot exist.

Scopes: docs.digitalocean.com/reference/api/scopes, read 2026-11.
"""

from collections.abc import Collection
from dataclasses import dataclass

from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import Busy, Forbidden, NotFound, Refused

_NOTHING = "00000000-0000-4000-8000-000000000000"
# Droplets, records and images have large numbers.
_NO_NUMBER = 1


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope whose lack would show too late.

    Attributes:
        name: as DigitalOcean names it, such as "droplet:delete".
        probe: the call that shows whether a token has it.
        without: what goes wrong without it, for people.
    """

    name: str
    probe: Call
    without: str


def _listing(path: str) -> Call:
    return Call("GET", path, query={"per_page": 1})


BASE = (
    Scope("droplet:read", _listing("/v2/droplets"), "droplets cannot be seen"),
    Scope(
        "droplet:delete",
        Call("DELETE", "/v2/droplets/{id}", {"id": _NO_NUMBER}),
        "no droplet can be destroyed",
    ),
    Scope("tag:read", _listing("/v2/tags"), "droplets show no tags, so none is known as ours"),
    Scope(
        "firewall:delete",
        Call("DELETE", "/v2/firewalls/{id}", {"id": _NOTHING}),
        "firewalls are left behind",
    ),
)
"""Of every class."""

LOAD_BALANCERS = (
    Scope(
        "load_balancer:delete",
        Call("DELETE", "/v2/load_balancers/{id}", {"id": _NOTHING}),
        "load balancers are left behind",
    ),
    Scope(
        "certificate:delete",
        Call("DELETE", "/v2/certificates/{id}", {"id": _NOTHING}),
        "certificates are left behind",
    ),
)
"""Of a class with load balancers, besides."""

IMAGES = (
    Scope(
        "image:delete",
        Call("DELETE", "/v2/images/{id}", {"id": _NO_NUMBER}),
        "images are left behind",
    ),
)
"""Of a class with a baked image, besides."""


POOLS = (
    Scope(
        "droplet:update",
        Call(
            "POST",
            "/v2/droplets/{id}/actions",
            {"id": _NO_NUMBER},
            body={"type": "rename", "name": "nothing"},
            repeatable=True,
        ),
        "no session can claim a spare droplet",
    ),
    Scope(
        "tag:delete",
        Call("DELETE", "/v2/tags/{name}", {"name": _NOTHING}),
        "claimed droplets keep the tags of spares",
    ),
)
"""Of a class with a pool, besides."""


def of_domain(domain: str) -> tuple[Scope, ...]:
    """Of a class with a domain, besides."""
    return (
        Scope(
            "domain:delete",
            Call(
                "DELETE",
                "/v2/domains/{domain}/records/{id}",
                {"domain": domain, "id": _NO_NUMBER},
            ),
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
    except (NotFound, Refused, Busy):
        return True  # This is said only to a token that has the scope.
    return True
