"""Kinds of resources that this account never has: their lists are empty."""

from spawnai_local.digitalocean.exchange import Answer, Handler, Request, listing

KINDS = ("reserved_ips",)


class UnusedRoutes:
    """Answers for kinds that cannot be made here; making one is no path, so a 404."""

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        return {f"GET /v2/{kind}": self.empty(kind) for kind in KINDS}

    def empty(self, kind: str) -> Handler:
        """Return a handler that lists nothing."""

        def list_nothing(request: Request) -> Answer:
            return listing(request, kind, [], str)

        return list_nothing
