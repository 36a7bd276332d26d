"""Which scope of a token a call needs, so that a 403 can name it.

Scopes: docs.digitalocean.com/reference/api/scopes, read 2026-11.
"""

_KINDS = {
    "account": "account",
    "certificates": "certificate",
    "domains": "domain",
    "droplets": "droplet",
    "firewalls": "firewall",
    "images": "image",
    "load_balancers": "load_balancer",
    "sizes": "sizes",
    "tags": "tag",
}
_VERBS = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}


def scope_of(endpoint: str) -> str | None:
    """The scope that a call such as "POST /v2/droplets" needs; None for one that is not known.

    Where it needs two, both as a person reads them.
    """
    method, _, path = endpoint.partition(" ")
    words = path.split("/")[2:]
    verb = _VERBS.get(method)
    if not words or verb is None:
        return None
    if words[:2] == ["account", "keys"]:
        return f"ssh_key:{verb}"
    if words[-1] == "actions" and method == "POST":
        verb = "update"
    if words[-1] == "resources":
        return f"tag:{verb} or droplet:update"  # the call needs both
    kind = _KINDS.get(words[0])
    return f"{kind}:{verb}" if kind is not None else None
