"""`/v2/firewalls`."""

from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.firewalls import Firewall, Firewalls


class FirewallRoutes:
    """Answers for firewalls."""

    def __init__(self, firewalls: Firewalls) -> None:
        self._firewalls = firewalls

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        firewall = "/v2/firewalls/{firewall_id}"
        return {
            "GET /v2/firewalls": self.all,
            "POST /v2/firewalls": self.create,
            f"GET {firewall}": self.get,
            f"PUT {firewall}": self.update,
            f"DELETE {firewall}": self.delete,
            f"POST {firewall}/droplets": self.add_droplets,
            f"DELETE {firewall}/droplets": self.remove_droplets,
            f"POST {firewall}/tags": self.add_tags,
            f"DELETE {firewall}/tags": self.remove_tags,
            f"POST {firewall}/rules": self.add_rules,
            f"DELETE {firewall}/rules": self.remove_rules,
        }

    def all(self, request: Request) -> Answer:
        """List all firewalls; the API has no filter for them."""
        return listing(request, "firewalls", self._firewalls.all(), Firewall.document)

    def create(self, request: Request) -> Answer:
        """Make a firewall."""
        firewall = self._firewalls.create(request.document())
        return answer(202, {"firewall": firewall.document()})

    def get(self, request: Request) -> Answer:
        """Show one firewall."""
        firewall = self._firewalls.get(_id(request))
        return answer(200, {"firewall": firewall.document()})

    def update(self, request: Request) -> Answer:
        """Replace a firewall."""
        firewall = self._firewalls.update(_id(request), request.document())
        return answer(200, {"firewall": firewall.document()})

    def delete(self, request: Request) -> Answer:
        """Delete a firewall."""
        self._firewalls.delete(_id(request))
        return nothing()

    def add_droplets(self, request: Request) -> Answer:
        """Cover more droplets."""
        self._firewalls.add_droplets(_id(request), request.document().get("droplet_ids"))
        return nothing()

    def remove_droplets(self, request: Request) -> Answer:
        """Cover fewer droplets."""
        self._firewalls.remove_droplets(_id(request), request.document().get("droplet_ids"))
        return nothing()

    def add_tags(self, request: Request) -> Answer:
        """Cover more tags."""
        self._firewalls.add_tags(_id(request), request.document().get("tags"))
        return nothing()

    def remove_tags(self, request: Request) -> Answer:
        """Cover fewer tags."""
        self._firewalls.remove_tags(_id(request), request.document().get("tags"))
        return nothing()

    def add_rules(self, request: Request) -> Answer:
        """Add rules."""
        self._firewalls.add_rules(_id(request), request.document())
        return nothing()

    def remove_rules(self, request: Request) -> Answer:
        """Remove rules."""
        self._firewalls.remove_rules(_id(request), request.document())
        return nothing()


def _id(request: Request) -> str:
    return request.parameters["firewall_id"]
