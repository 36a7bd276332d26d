"""`/v2/account/keys`."""

from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.ssh_keys import SshKey, SshKeys


class SshKeyRoutes:
    """Answers for SSH keys, which are named by id or fingerprint."""

    def __init__(self, keys: SshKeys) -> None:
        self._keys = keys

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        key = "/v2/account/keys/{ssh_key_identifier}"
        return {
            "GET /v2/account/keys": self.all,
            "POST /v2/account/keys": self.create,
            f"GET {key}": self.get,
            f"PUT {key}": self.rename,
            f"DELETE {key}": self.delete,
        }

    def all(self, request: Request) -> Answer:
        """List all keys."""
        return listing(request, "ssh_keys", self._keys.all(), SshKey.document)

    def create(self, request: Request) -> Answer:
        """Add a key."""
        return answer(201, {"ssh_key": self._keys.create(request.document()).document()})

    def get(self, request: Request) -> Answer:
        """Show one key."""
        return answer(200, {"ssh_key": self._keys.get(_identifier(request)).document()})

    def rename(self, request: Request) -> Answer:
        """Give a key another name."""
        key = self._keys.rename(_identifier(request), request.document())
        return answer(200, {"ssh_key": key.document()})

    def delete(self, request: Request) -> Answer:
        """Forget a key."""
        self._keys.delete(_identifier(request))
        return nothing()


def _identifier(request: Request) -> str:
    return request.parameters["ssh_key_identifier"]
