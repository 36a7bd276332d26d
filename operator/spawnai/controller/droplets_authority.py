"""The certificate by which a gateway knows the droplets of this installation, for it to mount."""

import logging
from contextlib import suppress

from spawnai.droplet.credentials import derive_droplets_authority

from .cluster import Cluster, Conflict
from .installation_key import InstallationKeys

SECRET_NAME = "spawnai-droplets-authority"  # noqa: S105 - the Secret's name
CERTIFICATES = "ca.crt"

_LOGGER = logging.getLogger(__name__)


async def publish_droplets_authority(
    cluster: Cluster, namespace: str, keys: InstallationKeys
) -> None:
    """Write it, one certificate for each key, where it is not there yet. It holds no secret.

    Raises:
        ClusterError: it could not be written.
    """
    pem = "".join(derive_droplets_authority(key) for _, key in keys.dated)
    data = {CERTIFICATES: pem.encode()}
    with suppress(Conflict):  # an earlier start wrote it
        await cluster.create_secret(
            namespace, SECRET_NAME, data, labels={"app.kubernetes.io/name": "spawnai"}
        )
        return
    if await cluster.get_secret(namespace, SECRET_NAME) != data:
        _LOGGER.warning(
            "Secret %s/%s does not hold the certificates of all installation keys: a gateway "
            "refuses the droplets of the missing ones. Delete it and start the operator again",
            namespace,
            SECRET_NAME,
        )
