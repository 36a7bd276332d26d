"""The keys of a class: a DigitalOcean token and a Claude key, from its Secret."""

import hashlib
from dataclasses import dataclass, field

from spawnai.api.spawnclass import ClassSpec
from spawnai.controller.cluster import Cluster, ObjectNotFound
from spawnai.telemetry.redaction import Redactor

from .state import ClassProblem


@dataclass(frozen=True, slots=True)
class ClassKeys:
    """Both keys; `fingerprint` tells whether they are still the same ones."""

    digitalocean_token: str = field(repr=False)
    anthropic_api_key: str = field(repr=False)
    fingerprint: bytes


async def read_keys(
    cluster: Cluster, redactor: Redactor, namespace: str, name: str, spec: ClassSpec
) -> ClassKeys:
    """Read the keys, and have them kept out of every log.

    Raises:
        ClassProblem: the Secret or a key in it is missing; it says which.
        ClusterError: the API server could not be asked.
    """
    wanted = spec.credentials
    where = f"{namespace}/{wanted.secret_name}"
    try:
        data = await cluster.get_secret(namespace, wanted.secret_name)
    except ObjectNotFound as error:
        raise ClassProblem(
            "SecretMissing",
            f"SpawnClass {name!r} wants Secret {where}, which does not exist: create it with "
            f"the keys {wanted.digital_ocean_token_key!r} and {wanted.anthropic_api_key_key!r}",
        ) from error
    values = []
    for key in (wanted.digital_ocean_token_key, wanted.anthropic_api_key_key):
        value = data.get(key, b"").decode(errors="replace").strip()
        if not value:
            raise ClassProblem(
                "SecretKeyMissing",
                f"SpawnClass {name!r} wants key {key!r} in Secret {where}, which has "
                f"{', '.join(sorted(data)) or 'no keys'}: add it",
            )
        redactor.register(value)
        values.append(value)
    token, api_key = values
    return ClassKeys(token, api_key, hashlib.sha256(f"{token}\n{api_key}".encode()).digest())
