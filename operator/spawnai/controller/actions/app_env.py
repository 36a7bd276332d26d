"""The keys of an app: read from the Secrets that their owner offers, and handed to its droplet.

The operator has no right to any Secret outside its own namespace. Who owns one gives it the right
to read this one, by a Role of their own (docs/app-keys.md). What is read is kept nowhere.
"""

from collections.abc import Callable
from http import HTTPStatus

from spawnai.api.session import APP_ENV_SECRET
from spawnai.controller.cluster import Cluster, ClusterError, ObjectNotFound
from spawnai.controller.failures import NeedsPerson
from spawnai.lifecycle.observation import Session


class AppEnvironments:
    """Reads the environment of apps, each time anew.

    Args:
        cluster: where the Secrets are.
        hide: has a value taken out of logs, statuses and events from now on.
    """

    def __init__(self, cluster: Cluster, hide: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._hide = hide

    async def of(self, session: Session) -> dict[str, str]:
        """The variables of a session's app; empty where it asks for none.

        Raises:
            NeedsPerson: a Secret or key is not there, is not offered, or is no text.
            ClusterError: the API server did not answer.
        """
        variables: dict[str, str] = {}
        secrets: dict[str, dict[str, bytes]] = {}
        for variable in session.order.env or ():
            secret, key = variable.secret_ref.name, variable.secret_ref.key
            if secret not in secrets:
                secrets[secret] = await self._read(session.namespace, secret)
            value = secrets[secret].get(key)
            if value is None:
                raise NeedsPerson(
                    "SecretKeyMissing",
                    f"Secret {session.namespace}/{secret} has no key {key!r} for spec.env: add it",
                )
            try:
                variables[variable.name] = value.decode("utf-8")
            except UnicodeDecodeError:
                raise NeedsPerson(
                    "SecretUnusable",
                    f"key {key!r} of Secret {session.namespace}/{secret} is not text in UTF-8: "
                    "write one that is",
                ) from None
            self._hide(variables[variable.name])
        return variables

    async def _read(self, namespace: str, name: str) -> dict[str, bytes]:
        where = f"Secret {namespace}/{name}"
        try:
            data = await self._cluster.get_secret_of_type(namespace, name, APP_ENV_SECRET)
        except ObjectNotFound:
            raise NeedsPerson(
                "SecretMissing", f"{where}, which spec.env names, does not exist: create it"
            ) from None
        except ClusterError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            raise NeedsPerson(
                "SecretNotOffered",
                f"{where}, which spec.env names, is not offered to the operator: give it the right "
                "to get this one Secret, as docs/examples/app-keys.yaml does",
            ) from error
        if data is None:
            raise NeedsPerson(
                "SecretNotOffered",
                f"{where}, which spec.env names, is not of type {APP_ENV_SECRET}, so it is given "
                "to no app: make one of that type with the keys that the app may have",
            )
        return data
