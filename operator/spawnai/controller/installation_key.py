"""The keys of this installation, from which every session's credentials are derived.

The first is made at the first start, and kept in a Secret beside the operator. Without the key of a
session its droplet cannot be talked to; destroying it needs only the DigitalOcean token.

A key can be replaced while sessions run: a further one stands beside it in the Secret, under a name
that says from when on it counts (docs/security.md). A session keeps the key of the time at which it
was created, which the API server wrote and nobody can change; so nothing has to be remembered.
"""

import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .cluster import Cluster, ClusterError, Conflict, ObjectNotFound

SECRET_NAME = "spawnai-installation-key"  # noqa: S105 - the Secret's name
_KEY = "key"
_BYTES = 32
_DATED = re.compile(r"key-([0-9]{8}T[0-9]{6}Z)")
_DATE = "%Y%m%dT%H%M%SZ"
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InstallationKeys:
    """All keys, each with the moment from which on it counts; at least one, the oldest first."""

    dated: tuple[tuple[datetime, bytes], ...] = field(repr=False)

    @classmethod
    def only(cls, key: bytes) -> "InstallationKeys":
        """One key for all sessions."""
        return cls(((_BEGINNING, key),))

    def at(self, created_at: datetime) -> bytes:
        """The key of what was created then. What is older than all keys has the oldest."""
        _, key = next((one for one in reversed(self.dated) if one[0] <= created_at), self.dated[0])
        return key


async def installation_keys(cluster: Cluster, namespace: str) -> InstallationKeys:
    """Read the keys, or make the first where there is none.

    Raises:
        ClusterError: the Secret cannot be had, or holds something else than keys.
    """
    try:
        data = await cluster.get_secret(namespace, SECRET_NAME)
    except ObjectNotFound:
        with suppress(Conflict):  # another replica was faster
            await cluster.create_secret(
                namespace,
                SECRET_NAME,
                {_KEY: secrets.token_bytes(_BYTES)},
                labels={"app.kubernetes.io/name": "spawnai"},
            )
        data = await cluster.get_secret(namespace, SECRET_NAME)
    return read_keys(data, f"secret {namespace}/{SECRET_NAME}")


def read_keys(data: Mapping[str, bytes], where: str) -> InstallationKeys:
    """The keys in a Secret's data.

    Raises:
        ClusterError: there is none, one is too short, or a name says no date.
    """
    dated = []
    for name, key in data.items():
        if len(key) < _BYTES:
            raise ClusterError(
                where,
                f"key {name!r} must hold {_BYTES} bytes and holds {len(key)}: put the old Secret "
                "back; if it is lost, delete it and every running session gets out of reach",
            )
        dated.append((_since(name, where), key))
    if not dated:
        raise ClusterError(
            where,
            f"it holds no key: put the old Secret back (key {_KEY!r}, {_BYTES} bytes); if it is "
            "lost, delete it and every running session gets out of reach",
        )
    return InstallationKeys(tuple(sorted(dated)))


def _since(name: str, where: str) -> datetime:
    if name == _KEY:
        return _BEGINNING
    found = _DATED.fullmatch(name)
    try:
        return datetime.strptime(found[1], _DATE).replace(tzinfo=UTC) if found else _no_date()
    except ValueError:
        raise ClusterError(
            where,
            f"{name!r} is no name of a key: write {_KEY!r}, or key- and the time from which on it "
            "counts, such as key-20261224T180000Z",
        ) from None


def _no_date() -> datetime:
    raise ValueError
