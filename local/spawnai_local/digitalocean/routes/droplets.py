"""`/v2/droplets` and the actions of droplets."""

import json

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Page,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.actions import Action, Actions
from spawnai_local.digitalocean.state.droplets import Created, Droplet, Droplets
from spawnai_local.digitalocean.state.firewalls import Firewall
from spawnai_local.digitalocean.state.images import droplet_snapshot_document


class DropletRoutes:
    """Answers for droplets."""

    def __init__(self, droplets: Droplets, actions: Actions) -> None:
        self._droplets = droplets
        self._actions = actions

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        droplet = "/v2/droplets/{droplet_id}"
        return {
            "GET /v2/droplets": self.page,
            "POST /v2/droplets": self.create,
            "DELETE /v2/droplets": self.delete_by_tag,
            f"GET {droplet}": self.get,
            f"DELETE {droplet}": self.delete,
            f"GET {droplet}/actions": self.actions,
            f"POST {droplet}/actions": self.act,
            f"GET {droplet}/actions/{{action_id}}": self.action,
            f"GET {droplet}/firewalls": self.firewalls,
            f"GET {droplet}/kernels": self.empty("kernels"),
            f"GET {droplet}/snapshots": self.snapshots,
            f"GET {droplet}/backups": self.empty("backups"),
            f"GET {droplet}/neighbors": self.neighbors,
            "POST /v2/droplets/actions": self.act_on_tag,
            "GET /v2/actions": self.all_actions,
            "GET /v2/actions/{action_id}": self.any_action,
        }

    def page(self, request: Request) -> Answer:
        """List droplets: all, by tag, or by name."""
        query, page = request.query, Page.of(request)
        tag, name = query.get("tag_name"), query.get("name")
        if tag and (name or query.get("type")):
            raise errors.unprocessable("tag_name can not be combined with name or type")
        droplets: list[Droplet] = []
        total = 0
        if tag:
            droplets, total = self._droplets.page_of_tag(tag, page.start, page.size)
        elif name:
            droplets, total = self._droplets.page_of_name(name, page.start, page.size)
        elif query.get("type") != "gpus":
            droplets, total = self._droplets.page(page.start, page.size)
        text = self._droplets.text
        return Answer(
            200,
            b"".join(
                (
                    b'{"droplets":[',
                    b",".join([text(droplet) for droplet in droplets]),
                    f"],{page.tail(request, total)}}}".encode(),
                )
            ),
        )

    def create(self, request: Request) -> Answer:
        """Begin to create droplets; neither is active yet, nor has it an address."""
        order = request.document()
        created = self._droplets.create(order, request.anomalies)
        links = json.dumps({"actions": [_link(request, one) for one in created]})
        texts = b",".join([self._droplets.text(one.droplet) for one in created])
        several = "names" in order
        shown = b'"droplets":[' + texts + b"]" if several else b'"droplet":' + texts
        return Answer(202, b"{" + shown + b',"links":' + links.encode() + b"}")

    def get(self, request: Request) -> Answer:
        """Show one droplet."""
        droplet = self._droplets.get(request.number("droplet_id"))
        return Answer(200, b'{"droplet":' + self._droplets.text(droplet) + b"}")

    def delete(self, request: Request) -> Answer:
        """Delete one droplet."""
        self._droplets.delete(request.number("droplet_id"), request.anomalies)
        return nothing()

    def delete_by_tag(self, request: Request) -> Answer:
        """Delete every droplet of the account that carries a tag."""
        tag = request.query.get("tag_name")
        if not tag:
            raise errors.unprocessable("tag_name can't be blank")
        droplets, _ = self._droplets.page_of_tag(tag, 0, len(self._droplets.all()))
        for droplet in droplets:
            if not droplet.locked:
                self._droplets.delete(droplet.id)
        return nothing()

    def actions(self, request: Request) -> Answer:
        """List a droplet's actions, the newest first."""
        droplet = self._droplets.get(request.number("droplet_id"))
        return self._list(request, self._actions.of_droplet(droplet.id))

    def act(self, request: Request) -> Answer:
        """Begin an action of a droplet."""
        order = request.document()
        action = self._droplets.act(
            request.number("droplet_id"), order.get("type"), order, request.anomalies
        )
        return answer(201, {"action": self._actions.document(action)})

    def action(self, request: Request) -> Answer:
        """Show one action of a droplet."""
        action = self._actions.get(request.number("action_id"))
        owner = (action.resource_type, action.droplet_id)
        if owner != ("droplet", request.number("droplet_id")):
            raise errors.not_found()
        return answer(200, {"action": self._actions.document(action)})

    def act_on_tag(self, request: Request) -> Answer:
        """Begin an action of every droplet that carries a tag."""
        tag, order = request.query.get("tag_name"), request.document()
        if not tag:
            raise errors.unprocessable("tag_name can't be blank")
        droplets, _ = self._droplets.page_of_tag(tag, 0, len(self._droplets.all()))
        actions = [self._droplets.act(one.id, order.get("type"), order) for one in droplets]
        return answer(201, {"actions": [self._actions.document(one) for one in actions]})

    def all_actions(self, request: Request) -> Answer:
        """List all actions, the newest first."""
        return self._list(request, self._actions.all())

    def any_action(self, request: Request) -> Answer:
        """Show one action."""
        action = self._actions.get(request.number("action_id"))
        return answer(200, {"action": self._actions.document(action)})

    def firewalls(self, request: Request) -> Answer:
        """List the firewalls that cover a droplet."""
        droplet = self._droplets.get(request.number("droplet_id"))
        covering = self._droplets.firewalls.covering(droplet.id)
        return listing(request, "firewalls", covering, Firewall.document)

    def snapshots(self, request: Request) -> Answer:
        """List the snapshots of a droplet."""
        droplet = self._droplets.get(request.number("droplet_id"))
        found = self._droplets.images.of_droplet(droplet.id)
        return listing(request, "snapshots", found, droplet_snapshot_document)

    def neighbors(self, request: Request) -> Answer:
        """Show the account's droplets on the same hardware: none."""
        self._droplets.get(request.number("droplet_id"))
        return answer(200, {"droplets": []})

    def empty(self, key: str) -> Handler:
        """Return a handler for something that a droplet can have and here never has."""

        def list_nothing(request: Request) -> Answer:
            self._droplets.get(request.number("droplet_id"))
            return listing(request, key, [], str)

        return list_nothing

    def _list(self, request: Request, actions: list[Action]) -> Answer:
        return listing(request, "actions", actions, self._actions.document)


def _link(request: Request, created: Created) -> dict[str, object]:
    return {
        "id": created.action.id,
        "rel": "create",
        "href": f"{request.base_url}/v2/actions/{created.action.id}",
    }
