"""`/v2/images` and `/v2/snapshots`: the public images, and those that the account made."""

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.actions import Actions
from spawnai_local.digitalocean.state.catalogue import Catalogue, Image
from spawnai_local.digitalocean.state.images import Images, snapshot_document


class ImageRoutes:
    """Answers for images and snapshots."""

    def __init__(self, catalogue: Catalogue, images: Images, actions: Actions) -> None:
        self._catalogue = catalogue
        self._images = images
        self._actions = actions

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        image, snapshot = "/v2/images/{image_id}", "/v2/snapshots/{snapshot_id}"
        return {
            "GET /v2/images": self.all,
            "POST /v2/images": self.upload,
            f"GET {image}": self.get,
            f"PUT {image}": self.rename,
            f"DELETE {image}": self.delete,
            f"GET {image}/actions": self.actions,
            f"POST {image}/actions": self.act,
            f"GET {image}/actions/{{action_id}}": self.action,
            "GET /v2/snapshots": self.snapshots,
            f"GET {snapshot}": self.snapshot,
            f"DELETE {snapshot}": self.delete_snapshot,
        }

    def all(self, request: Request) -> Answer:
        """List images: all, the account's own (`private=true`), or the public ones by `type`."""
        query = request.query
        own, public = self._images.all(), list(self._catalogue.images.values())
        kind = query.get("type")
        if query.get("tag_name") or kind == "application":
            images: list[Image] = []
        elif query.get("private") == "true":
            images = own
        elif kind == "distribution":
            images = public
        else:
            images = public + own
        return listing(request, "images", images, Image.document)

    def upload(self, request: Request) -> Answer:
        """Import an image."""
        return answer(202, {"image": self._images.upload(request.document()).document()})

    def get(self, request: Request) -> Answer:
        """Show an image by id or slug."""
        image = self._catalogue.image(request.parameters["image_id"])
        if image is None:
            raise errors.not_found()
        return answer(200, {"image": image.document()})

    def rename(self, request: Request) -> Answer:
        """Give an image another name."""
        image = self._own(request)
        self._images.rename(image, request.document())
        return answer(200, {"image": image.document()})

    def delete(self, request: Request) -> Answer:
        """Delete an image of the account."""
        self._images.delete(self._own(request))
        return nothing()

    def actions(self, request: Request) -> Answer:
        """List the actions of an image, the newest first."""
        found = self._actions.of_image(self._own(request).id)
        return listing(request, "actions", found, self._actions.document)

    def act(self, request: Request) -> Answer:
        """Begin an action of an image. The answer is the action itself, in no envelope."""
        action = self._images.transfer(
            self._own(request), request.document(), errored=request.anomalies.errored
        )
        return answer(201, self._actions.document(action))

    def action(self, request: Request) -> Answer:
        """Show one action of an image. The answer is the action itself, in no envelope."""
        action = self._actions.get(request.number("action_id"))
        if action.resource_type != "image" or action.droplet_id != self._own(request).id:
            raise errors.not_found()
        return answer(200, self._actions.document(action))

    def snapshots(self, request: Request) -> Answer:
        """List the snapshots of droplets; there are none of volumes."""
        kind = request.query.get("resource_type", "droplet")
        found = [one for one in self._images.all() if one.type == "snapshot"]
        return listing(request, "snapshots", found if kind == "droplet" else [], snapshot_document)

    def snapshot(self, request: Request) -> Answer:
        """Show one snapshot."""
        image = self._images.get(request.parameters["snapshot_id"])
        return answer(200, {"snapshot": snapshot_document(image)})

    def delete_snapshot(self, request: Request) -> Answer:
        """Delete one snapshot."""
        self._images.delete(self._images.get(request.parameters["snapshot_id"]))
        return nothing()

    def _own(self, request: Request) -> Image:
        return self._images.get(request.parameters["image_id"])
