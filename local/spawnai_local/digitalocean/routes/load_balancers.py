"""`/v2/load_balancers`."""

from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.load_balancers import LoadBalancers


class LoadBalancerRoutes:
    """Answers for load balancers."""

    def __init__(self, load_balancers: LoadBalancers) -> None:
        self._all = load_balancers

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        one = "/v2/load_balancers/{lb_id}"
        return {
            "GET /v2/load_balancers": self.all,
            "POST /v2/load_balancers": self.create,
            f"GET {one}": self.get,
            f"PUT {one}": self.update,
            f"DELETE {one}": self.delete,
            f"POST {one}/droplets": self.add_droplets,
            f"DELETE {one}/droplets": self.remove_droplets,
            f"POST {one}/forwarding_rules": self.add_rules,
            f"DELETE {one}/forwarding_rules": self.remove_rules,
        }

    def all(self, request: Request) -> Answer:
        """List all load balancers; the API has no filter for them."""
        return listing(request, "load_balancers", self._all.all(), self._all.document)

    def create(self, request: Request) -> Answer:
        """Order a load balancer."""
        made = self._all.create(request.document(), errored=request.anomalies.errored)
        return answer(202, {"load_balancer": self._all.document(made)})

    def get(self, request: Request) -> Answer:
        """Show one load balancer."""
        known = self._all.get(_id(request))
        return answer(200, {"load_balancer": self._all.document(known)})

    def update(self, request: Request) -> Answer:
        """Replace a load balancer."""
        known = self._all.update(_id(request), request.document())
        return answer(200, {"load_balancer": self._all.document(known)})

    def delete(self, request: Request) -> Answer:
        """Delete a load balancer."""
        self._all.delete(_id(request))
        return nothing()

    def add_droplets(self, request: Request) -> Answer:
        """Send traffic to more droplets."""
        self._all.add_droplets(_id(request), request.document().get("droplet_ids"))
        return nothing()

    def remove_droplets(self, request: Request) -> Answer:
        """Send traffic to fewer droplets."""
        self._all.remove_droplets(_id(request), request.document().get("droplet_ids"))
        return nothing()

    def add_rules(self, request: Request) -> Answer:
        """Forward more ports."""
        self._all.add_rules(_id(request), request.document().get("forwarding_rules"))
        return nothing()

    def remove_rules(self, request: Request) -> Answer:
        """Forward fewer ports."""
        self._all.remove_rules(_id(request), request.document().get("forwarding_rules"))
        return nothing()


def _id(request: Request) -> str:
    return request.parameters["lb_id"]
