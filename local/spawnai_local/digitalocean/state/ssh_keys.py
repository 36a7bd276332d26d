"""SSH keys of the account: kept and shown, so that clients which upload one first can go on."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.world import World

FIRST_KEY_ID = 51_000_000


@dataclass(slots=True)
class SshKey:
    """A public key."""

    id: int
    name: str
    public_key: str
    fingerprint: str

    def document(self) -> dict[str, Any]:
        """Return the key as the API shows it."""
        return {
            "id": self.id,
            "fingerprint": self.fingerprint,
            "public_key": self.public_key,
            "name": self.name,
        }


class SshKeys:
    """All keys of the account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys: dict[int, SshKey] = {}

    def all(self) -> list[SshKey]:
        """Return all keys in the order they were added."""
        return list(self._keys.values())

    def find(self, identifier: object) -> SshKey | None:
        """Find a key by id or fingerprint."""
        return next(
            (
                one
                for one in self._keys.values()
                if str(identifier) in (str(one.id), one.fingerprint)
            ),
            None,
        )

    def get(self, identifier: str) -> SshKey:
        """Return a key by id or fingerprint.

        Raises:
            ApiError: 404, there is none.
        """
        key = self.find(identifier)
        if key is None:
            raise errors.not_found()
        return key

    def create(self, order: dict[str, Any]) -> SshKey:
        """Add a key.

        Raises:
            ApiError: 422, it is no public key, is there already, or has no name.
        """
        name, text = _checked_name(order.get("name")), order.get("public_key")
        fingerprint = _fingerprint(text)
        if self.find(fingerprint) is not None:
            raise errors.unprocessable("SSH Key is already in use on your account")
        key = SshKey(self._world.number("key", FIRST_KEY_ID), name, str(text), fingerprint)
        self._keys[key.id] = key
        return key

    def rename(self, identifier: str, order: dict[str, Any]) -> SshKey:
        """Give a key another name.

        Raises:
            ApiError: 404 there is no such key; 422 that is no name.
        """
        key = self.get(identifier)
        key.name = _checked_name(order.get("name"))
        return key

    def delete(self, identifier: str) -> None:
        """Forget a key.

        Raises:
            ApiError: 404, there is no such key.
        """
        del self._keys[self.get(identifier).id]

    def check(self, wanted: object) -> None:
        """Check the keys named by a droplet's order.

        Raises:
            ApiError: 422, one of them is not in the account.
        """
        if not isinstance(wanted, list):
            raise errors.unprocessable("ssh_keys must be a list of ids and fingerprints")
        unknown = [str(one) for one in wanted if self.find(one) is None]
        if unknown:
            raise errors.unprocessable(
                f"{', '.join(unknown)} are invalid key identifiers for Droplet creation."
            )


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise errors.unprocessable("Name can't be blank")
    return name


def _fingerprint(public_key: object) -> str:
    _, encoded, *_ = [*(public_key.split() if isinstance(public_key, str) else []), "", "-"]
    try:
        blob = base64.b64decode(encoded or "-", validate=True)
    except binascii.Error:
        raise errors.unprocessable(
            "Key invalid: write a public key as in an authorized_keys file"
        ) from None
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[start : start + 2] for start in range(0, len(digest), 2))
