"""Generated apps as they are kept in the cluster: one Secret for each session."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

from spawnai.api.names import API_VERSION, SESSION_UID_LABEL
from spawnai.api.record import GenerationEntry
from spawnai.controller.cluster import (
    Cluster,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    ObjectNotFound,
)
from spawnai.controller.failures import NeedsPerson, SessionFailed
from spawnai.controller.memory import WrittenApp
from spawnai.generation.bundle import Bundle
from spawnai.lifecycle.observation import Session, StoredBundle

from .seal import Seal

BUNDLE_KEY = "bundle.json.gz"
"""Compressed, so that the largest app there may be fits in a Secret, which holds 1 MiB."""

GENERATION_KEY = "generation.json"
SEAL_KEY = "seal"


class Bundles:
    """Stores and finds the apps that were paid for."""

    def __init__(self, cluster: Cluster, seal: Seal) -> None:
        self._cluster = cluster
        self._seal = seal

    async def find(self, session: Session) -> StoredBundle | None:
        """The stored app, or None.

        Raises:
            SessionFailed: somebody has put another Secret in its place.
        """
        try:
            data = await self._read(session)
        except ObjectNotFound:
            return None
        bundle = Bundle.from_document(_unpacked(data))
        return StoredBundle(
            bundle.digest, GenerationEntry.model_validate_json(data[GENERATION_KEY])
        )

    async def store(self, session: Session, app: WrittenApp) -> StoredBundle:
        """Store what was paid for, and return what is stored: another process may have been first.

        Raises:
            NeedsPerson: the API server refuses it, until a person changes something.
            ClusterError: it did not work now; trying again is free, ordering again is not.
            SessionFailed: somebody has put another Secret in its place.
        """
        name = bundle_name(session.uid)
        data = {
            BUNDLE_KEY: _packed(app.bundle.document()),
            GENERATION_KEY: app.generation.model_dump_json(by_alias=True).encode(),
        }
        data[SEAL_KEY] = self._seal.of(session.uid, data.values())
        owner = {
            "apiVersion": API_VERSION,
            "kind": "SpawnSession",
            "name": session.name,
            "uid": session.uid,
        }
        try:
            await self._cluster.create_secret(
                session.namespace,
                name,
                data,
                labels={SESSION_UID_LABEL: session.uid},
                owner=owner,
            )
        except Conflict:
            stored = await self.find(session)
            if stored is None:
                raise
            return stored
        except (ClusterUnavailable, ObjectNotFound):
            raise
        except ClusterError as error:
            raise NeedsPerson(
                "SecretRefused",
                f"The app is written, but Secret {session.namespace}/{name} cannot be stored "
                f"({error}). Lift the quota or the admission rule that refuses it, or let the "
                "operator create Secrets there; it is tried again by itself, and no other app is "
                "ordered meanwhile",
            ) from error
        return StoredBundle(app.bundle.digest, app.generation)

    async def document(self, session: Session) -> Mapping[str, Any]:
        """The app as the agent takes it.

        Raises:
            ObjectNotFound: it is not stored.
            SessionFailed: somebody has put another Secret in its place.
        """
        return _unpacked(await self._read(session))

    async def _read(self, session: Session) -> Mapping[str, bytes]:
        """The Secret, if it is as this installation wrote it: others may write it, too."""
        name = bundle_name(session.uid)
        data = await self._cluster.get_secret(session.namespace, name)
        parts = [data.get(key, b"") for key in (BUNDLE_KEY, GENERATION_KEY)]
        if not self._seal.fits(data.get(SEAL_KEY, b""), session.uid, parts):
            raise SessionFailed(
                "SecretNotOurs",
                f"Secret {session.namespace}/{name} holds something else than the app that belongs "
                "there. It is left as it is; apply the session again",
            )
        return data


def _packed(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False).encode()
    return gzip.compress(text, compresslevel=6, mtime=0)


def _unpacked(data: Mapping[str, bytes]) -> dict[str, Any]:
    """Only of what the seal fits: nobody else's bytes are inflated."""
    document: dict[str, Any] = json.loads(gzip.decompress(data[BUNDLE_KEY]))
    return document


def bundle_name(session_uid: str) -> str:
    """The Secret that holds a session's app.

    Its name is known before its content: that is how a restarted operator, which may not list
    Secrets, finds out that the app was paid for already. The digest stands inside.
    """
    return f"spawn-{session_uid}-app"
