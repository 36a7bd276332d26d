"""The account itself."""

from dataclasses import dataclass
from typing import Any

from spawnai_local.digitalocean.world import World


@dataclass(slots=True)
class Account:
    """One account; its status can be made `warning` or `locked` through the control API."""

    world: World
    uuid: str = "00000000-0000-4000-8000-00000000d0d0"
    email: str = "local@example.com"
    status: str = "active"
    status_message: str = ""

    def document(self) -> dict[str, Any]:
        """Return the account as the API shows it."""
        return {
            "droplet_limit": self.world.limits.droplets,
            "floating_ip_limit": 3,
            "email": self.email,
            "name": "Local Cloud",
            "uuid": self.uuid,
            "email_verified": True,
            "status": self.status,
            "status_message": self.status_message,
            "team": {"uuid": self.uuid, "name": "Local Cloud"},
        }
