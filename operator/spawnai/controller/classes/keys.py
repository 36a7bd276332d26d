"""The keys of a class: a DigitalOcean token and a Claude key, from its Secret."""

import hashlib
from dataclasses import dataclass, field

from spawnai.api.spawnclass import CredentialsSpec
from spawnai.controller.cluster import Cluster, ObjectNotFound
from spawnai.telemetry.redaction import Redactor

from .state import ClassProblem


@dataclass(frozen=True, slots=True)
class ClassKeys:
    """Both keys; `fingerprint` tells whether they are still the same ones.

    The Claude key may be missing, and then says so: what exists can be destroyed without it.
    """

    digitalocean_token: str = field(repr=False)
    anthropic_api_key: str | ClassProblem = field(repr=False)
    fingerprint: bytes


async def read_keys(
    cluster: Cluster, redactor: Redactor, namespace: str, name: str, wanted: CredentialsSpec
) -> ClassKeys:
    """Read the keys, and have them kept out of every log.

    Raises:
        ClassProblem: the Secret or the DigitalOcean token in it is missing; it says which.
        ClusterError: the API server could not be asked.
    """
    where = f"{namespace}/{wanted.secret_name}"
    try:
        data = await cluster.get_secret(namespace, wanted.secret_name)
    except ObjectNotFound as error:
        raise ClassProblem(
            "SecretMissing",
            f"SpawnClass {name!r} wants Secret {where}, which does not exist: create it with "
            f"the keys {wanted.digital_ocean_token_key!r} and {wanted.anthropic_api_key_key!r}",
        ) from error

    def value_of(key: str) -> str | None:
        value = data.get(key, b"").decode(errors="replace").strip()
        redactor.register(value)
        return value or None

    def missing(key: str) -> ClassProblem:
        return ClassProblem(
            "SecretKeyMissing",
            f"SpawnClass {name!r} wants key {key!r} in Secret {where}, which has "
            f"{', '.join(sorted(data)) or 'no keys'}: add it",
        )

    token = value_of(wanted.digital_ocean_token_key)
    if token is None:
        raise missing(wanted.digital_ocean_token_key)
    api_key = value_of(wanted.anthropic_api_key_key)
    fingerprint = hashlib.sha256(f"{token}\n{api_key or ''}".encode()).digest()
    return ClassKeys(token, api_key or missing(wanted.anthropic_api_key_key), fingerprint)
