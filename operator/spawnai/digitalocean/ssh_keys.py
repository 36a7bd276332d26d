"""SSH keys of an account: public halves only, found by name or fingerprint."""

from pydantic import TypeAdapter

from spawnai.digitalocean.answers import member, read
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.listing import PER_PAGE, list_all, read_page
from spawnai.digitalocean.models import Page, SshKey

_KEY = TypeAdapter(SshKey)


class SshKeys:
    """The calls below /v2/account/keys. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def create(self, name: str, public_key: str, *, priority: Priority | Slot) -> SshKey:
        """Add a public key, as a line of an authorized_keys file.

        Raises:
            Ambiguous: it may have been added: list() tells.
            Refused: it is no public key, or is in the account already.
        """
        return await self._api.call(
            Call("POST", "/v2/account/keys", body={"name": name, "public_key": public_key}),
            lambda document, _sent_at: read(_KEY, member(document, "ssh_key"), "ssh_key"),
            priority=priority,
        )

    async def list(self, *, priority: Priority) -> tuple[SshKey, ...]:
        """All keys of the account that can be read."""

        async def fetch(page: int) -> Page[SshKey]:
            return await self._api.call(
                Call("GET", "/v2/account/keys", query={"page": page, "per_page": PER_PAGE}),
                lambda document, _sent_at: read_page(
                    document, "ssh_keys", _KEY, is_foreign=lambda _key: True
                ),
                priority=priority,
            )

        return await list_all(fetch, identity=lambda key: key.id)

    async def delete(self, key_id: int, *, priority: Priority) -> bool:
        """Delete the key. True: done. False: it was gone already."""
        try:
            await self._api.call(
                Call("DELETE", "/v2/account/keys/{id}", {"id": key_id}),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True
