"""The key of this installation, from which every session's credentials are derived.

It is made once, at the first start, and kept in a Secret beside the operator. Without it no
running droplet can be talked to; destroying them needs only the DigitalOcean token.
"""

import secrets
from contextlib import suppress

from .cluster import Cluster, ClusterError, Conflict, ObjectNotFound

SECRET_NAME = "spawnai-installation-key"  # noqa: S105 - the Secret's name
_KEY = "key"
_BYTES = 32


async def installation_key(cluster: Cluster, namespace: str) -> bytes:
    """Read the key, or make it where there is none."""
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
    key = data.get(_KEY, b"")
    if len(key) < _BYTES:
        raise ClusterError(
            f"secret {namespace}/{SECRET_NAME}",
            f"key {_KEY!r} must hold {_BYTES} bytes and holds {len(key)}: put the old Secret back; "
            "if it is lost, delete it and every running session gets out of reach",
        )
    return key
