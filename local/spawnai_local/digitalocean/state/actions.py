"""Actions: what was done to a droplet or an image, when, and whether it is over."""

from dataclasses import dataclass
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.state.catalogue import Catalogue
from spawnai_local.digitalocean.world import World

FIRST_ACTION_ID = 2_100_000_000


@dataclass(slots=True)
class Action:
    """One action. `status` is in-progress, completed or errored."""

    id: int
    type: str
    droplet_id: int
    """The droplet, or the image, that it is an action of."""
    region: str
    started_at: float
    resource_type: str = "droplet"
    completed_at: float | None = None
    status: str = "in-progress"


class Actions:
    """All actions ever begun, also those of droplets that are gone."""

    def __init__(self, world: World, catalogue: Catalogue) -> None:
        self._world = world
        self._catalogue = catalogue
        self._actions: dict[int, Action] = {}
        self._of_resource: dict[tuple[str, int], list[Action]] = {}

    def begin(
        self, kind: str, droplet_id: int, region: str, resource_type: str = "droplet"
    ) -> Action:
        """Begin an action."""
        action = Action(
            self._world.number("action", FIRST_ACTION_ID),
            kind,
            droplet_id,
            region,
            self._world.now(),
            resource_type,
        )
        self._actions[action.id] = action
        self._of_resource.setdefault((resource_type, droplet_id), []).append(action)
        return action

    def end(self, action: Action, status: str = "completed") -> None:
        """End an action, as completed or errored."""
        action.status = status
        action.completed_at = self._world.now()

    def get(self, action_id: int) -> Action:
        """Return an action.

        Raises:
            ApiError: 404, there is no such action.
        """
        action = self._actions.get(action_id)
        if action is None:
            raise errors.not_found()
        return action

    def all(self) -> list[Action]:
        """Return all actions, the newest first."""
        return list(reversed(self._actions.values()))

    def of_droplet(self, droplet_id: int) -> list[Action]:
        """Return the actions of one droplet, the newest first."""
        return list(reversed(self._of_resource.get(("droplet", droplet_id), [])))

    def of_image(self, image_id: int) -> list[Action]:
        """Return the actions of one image, the newest first."""
        return list(reversed(self._of_resource.get(("image", image_id), [])))

    def document(self, action: Action) -> dict[str, Any]:
        """Return an action as the API shows it."""
        return {
            "id": action.id,
            "status": action.status,
            "type": action.type,
            "started_at": timestamp(action.started_at),
            "completed_at": timestamp(action.completed_at) if action.completed_at else None,
            "resource_id": action.droplet_id,
            "resource_type": action.resource_type,
            "region": self._catalogue.region(action.region),
            "region_slug": action.region,
        }
