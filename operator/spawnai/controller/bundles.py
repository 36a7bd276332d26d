"""Generated apps as they are kept in the cluster: one Secret for each session."""

import json
from collections.abc import Mapping
from typing import Any

from spawnai.api.names import API_VERSION, SESSION_UID_LABEL
from spawnai.api.record import GenerationEntry
from spawnai.clock import Clock
from spawnai.generation.bundle import Bundle
from spawnai.lifecycle.observation import Session, StoredBundle

from .cluster import Cluster, Conflict, ObjectNotFound
from .failures import SessionFailed

BUNDLE_KEY = "bundle.json"
GENERATION_KEY = "generation.json"
LONGEST_PAUSE_SECONDS = 20.0


class Bundles:
    """Stores and finds the apps that were paid for."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def find(self, session: Session) -> StoredBundle | None:
        """The stored app, or None.

        Raises:
            SessionFailed: somebody has put another Secret in its place.
        """
        try:
            data = await self._cluster.get_secret(session.namespace, bundle_name(session.uid))
        except ObjectNotFound:
            return None
        try:
            bundle = Bundle.from_document(json.loads(data[BUNDLE_KEY]))
            entry = GenerationEntry.model_validate_json(data[GENERATION_KEY])
        except (KeyError, ValueError) as error:
            raise SessionFailed(
                "SecretNotOurs",
                f"Secret {session.namespace}/{bundle_name(session.uid)} holds something else than "
                "the app that belongs there. It is left as it is; apply the session again",
            ) from error
        return StoredBundle(bundle.digest, entry)

    async def store(self, session: Session, bundle: Bundle, entry: GenerationEntry) -> StoredBundle:
        """Store what was paid for; trying again here is free, ordering again is not."""
        data = {
            BUNDLE_KEY: json.dumps(bundle.document(), ensure_ascii=False).encode(),
            GENERATION_KEY: entry.model_dump_json(by_alias=True).encode(),
        }
        owner = {
            "apiVersion": API_VERSION,
            "kind": "SpawnSession",
            "name": session.name,
            "uid": session.uid,
        }
        pause = 0.2
        while True:
            try:
                await self._cluster.create_secret(
                    session.namespace,
                    bundle_name(session.uid),
                    data,
                    labels={SESSION_UID_LABEL: session.uid},
                    owner=owner,
                )
            except Conflict:
                stored = await self.find(session)
                if stored is not None:
                    return stored
            except Exception:
                if pause > LONGEST_PAUSE_SECONDS:
                    raise
            else:
                return StoredBundle(bundle.digest, entry)
            await self._clock.sleep(pause)
            pause *= 2

    async def document(self, session: Session) -> Mapping[str, Any]:
        """The app as the agent takes it."""
        data = await self._cluster.get_secret(session.namespace, bundle_name(session.uid))
        document: dict[str, Any] = json.loads(data[BUNDLE_KEY])
        return document


def bundle_name(session_uid: str) -> str:
    """The Secret that holds a session's app.

    Its name is known before its content: that is how a restarted operator, which may not list
    Secrets, finds out that the app was paid for already. The digest stands inside.
    """
    return f"spawn-{session_uid}-app"
