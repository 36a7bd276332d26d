"""`/v2/tags`."""

from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.droplets import Droplets
from spawnai_local.digitalocean.state.tags import Tags


class TagRoutes:
    """Answers for tags; only droplets can be tagged here."""

    def __init__(self, tags: Tags, droplets: Droplets) -> None:
        self._tags = tags
        self._droplets = droplets

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        return {
            "GET /v2/tags": self.all,
            "POST /v2/tags": self.create,
            "GET /v2/tags/{tag_id}": self.get,
            "DELETE /v2/tags/{tag_id}": self.delete,
            "POST /v2/tags/{tag_id}/resources": self.tag,
            "DELETE /v2/tags/{tag_id}/resources": self.untag,
        }

    def all(self, request: Request) -> Answer:
        """List all tags."""
        return listing(
            request, "tags", self._tags.all(), lambda tag: tag.document(request.base_url)
        )

    def create(self, request: Request) -> Answer:
        """Make a tag, or find that it is there."""
        tag = self._tags.ensure(request.document().get("name"))
        return answer(201, {"tag": tag.document(request.base_url)})

    def get(self, request: Request) -> Answer:
        """Show one tag."""
        tag = self._tags.get(request.parameters["tag_id"])
        return answer(200, {"tag": tag.document(request.base_url)})

    def delete(self, request: Request) -> Answer:
        """Delete a tag; what carried it carries it no longer."""
        tag = self._tags.get(request.parameters["tag_id"])
        self._droplets.unset_tag(tag.name, tag.droplets)
        self._tags.delete(tag.name)
        self._droplets.firewalls.tag_gone(tag.name)
        return nothing()

    def tag(self, request: Request) -> Answer:
        """Put a tag on droplets."""
        tag = self._tags.get(request.parameters["tag_id"])
        self._droplets.set_tag(tag.name, _droplet_ids(request.document()))
        return nothing()

    def untag(self, request: Request) -> Answer:
        """Take a tag off droplets."""
        tag = self._tags.get(request.parameters["tag_id"])
        self._droplets.begin_untag(tag.name, _droplet_ids(request.document()))
        return nothing()


def _droplet_ids(order: dict[str, Any]) -> list[int]:
    resources = order.get("resources")
    if not isinstance(resources, list):
        raise errors.unprocessable("resources must be a list of resource_id and resource_type")
    ids = []
    for resource in resources:
        if not isinstance(resource, dict) or resource.get("resource_type") != "droplet":
            raise errors.unprocessable("resource_type must be droplet; nothing else exists here")
        text = str(resource.get("resource_id"))
        if not text.isascii() or not text.isdigit():
            raise errors.not_found()
        ids.append(int(text))
    return ids
