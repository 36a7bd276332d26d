"""Generated apps as they are kept: one Secret for each session, in the operator's own namespace.

Nobody who orders an app can write there, and the operator needs no right to any Secret elsewhere:
who may create and read Secrets in every namespace owns the cluster.
"""

import contextlib
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

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
from spawnai.lifecycle.revisions import prompt_digest

BUNDLE_KEY = "bundle.json.gz"
"""Compressed, so that the largest app there may be fits in a Secret, which holds 1 MiB."""

GENERATION_KEY = "generation.json"
SCREENSHOT_KEY = "screenshot.png"
PROMPT_KEY = "prompt"
"""What a version was made for: an earlier prompt finds its app by it."""


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version of an app."""

    number: int
    bundle: Bundle
    generation: GenerationEntry
    prompt: str = field(repr=False)
    """What it was made for; empty where an operator of before stored it."""

    @property
    def stored(self) -> StoredBundle:
        """What a plan knows of it."""
        made_for = prompt_digest(self.prompt) if self.prompt else None
        return StoredBundle(
            self.bundle.digest,
            self.generation,
            self.number,
            self.bundle.note,
            prompt_digest=made_for,
        )


class Bundles:
    """Stores and finds the apps that were paid for."""

    def __init__(
        self, cluster: Cluster, namespace: str, ledger_uid: Callable[[str], str | None]
    ) -> None:
        """Take what it uses.

        `namespace` is the operator's own. `ledger_uid` gives the UID of the SpawnRecord of a
        session: it owns the Secret, so the app goes when its ledger goes.
        """
        self._cluster = cluster
        self._namespace = namespace
        self._ledger_uid = ledger_uid

    async def find(self, session: Session) -> StoredBundle | None:
        """The latest stored app, or None.

        Raises:
            SessionFailed: somebody has put something else in its place.
        """
        found: StoredBundle | None = None
        earlier: tuple[GenerationEntry, ...] = ()
        number = 1
        while True:
            try:
                version = await self.version(session, number)
            except ObjectNotFound:
                return found
            found = replace(version.stored, earlier=earlier)
            earlier = (*earlier, version.generation)
            number += 1

    async def stored(self, session: Session, number: int) -> StoredBundle:
        """One stored version of the app, or the latest where that one is not stored.

        Raises:
            SessionFailed: none is stored, or somebody has put something else in its place.
        """
        try:
            return (await self.version(session, number)).stored
        except ObjectNotFound:
            latest = await self.find(session)
            if latest is None:
                raise SessionFailed(
                    "StoredAppMissing",
                    f"Secret {self._namespace}/{bundle_name(session.uid)} is gone, so there is no "
                    "app to bring to another droplet; apply the session again",
                ) from None
            return latest

    async def latest(self, session: Session) -> Bundle:
        """The latest version of the app.

        Raises:
            ObjectNotFound: none is stored.
            SessionFailed: somebody has put something else in its place.
        """
        stored = await self.find(session)
        return await self.read(session, stored.number if stored is not None else 1)

    async def store(self, session: Session, app: WrittenApp, number: int = 1) -> StoredBundle:
        """Store what was paid for, and return what is stored: another process may have been first.

        `number` counts the versions of the app, from 1 on. What is stored is never changed: where
        that version is of another prompt, this one is stored after it.

        Raises:
            NeedsPerson: the API server refuses it, until a person changes something.
            ClusterError: it did not work now; trying again is free, ordering again is not.
            SessionFailed: somebody has put something else in its place.
        """
        name = bundle_name(session.uid, number)
        try:
            await self._cluster.create_secret(
                self._namespace,
                name,
                secret_data(app.bundle, app.generation, app.prompt),
                labels={SESSION_UID_LABEL: session.uid},
                owner=self._owner(session.uid),
            )
        except Conflict:
            version = await self.version(session, number)
            if version.prompt != app.prompt:
                return await self.store(session, app, number + 1)
            return await self.find(session) or version.stored
        except (ClusterUnavailable, ObjectNotFound):
            raise
        except ClusterError as error:
            raise NeedsPerson(
                "SecretRefused",
                f"The app is written, but Secret {self._namespace}/{name} cannot be stored "
                f"({error}). Lift the quota or the admission rule that refuses it, or let the "
                "operator create Secrets in its namespace; it is tried again by itself, and no "
                "other app is ordered meanwhile",
            ) from error
        return Version(number, app.bundle, app.generation, app.prompt).stored

    async def read(self, session: Session, number: int = 1) -> Bundle:
        """One version of the app.

        Raises:
            ObjectNotFound: it is not stored.
            SessionFailed: somebody has put something else in its place.
        """
        return (await self.version(session, number)).bundle

    async def version(self, session: Session, number: int) -> Version:
        """One version of the app, with what it was made for.

        Raises:
            ObjectNotFound: it is not stored.
            SessionFailed: somebody has put something else in its place.
        """
        name = bundle_name(session.uid, number)
        data = await self._cluster.get_secret(self._namespace, name)
        bundle, generation = self._app_of(name, data)
        prompt = data.get(PROMPT_KEY, b"").decode("utf-8", errors="surrogatepass")
        return Version(number, bundle, generation, prompt)

    async def versions(self, session: Session) -> list[Version]:
        """All versions of the app, oldest first.

        Raises:
            SessionFailed: somebody has put something else in the place of one.
        """
        found: list[Version] = []
        while True:
            try:
                found.append(await self.version(session, len(found) + 1))
            except ObjectNotFound:
                return found

    async def store_screenshot(self, session: Session, number: int, picture: bytes) -> None:
        """Keep the picture of a version (PNG). The first one stays.

        Raises:
            ClusterError: the API server does not take it.
        """
        with contextlib.suppress(Conflict):
            await self._cluster.create_secret(
                self._namespace,
                screenshot_name(session.uid, number),
                {SCREENSHOT_KEY: picture},
                labels={SESSION_UID_LABEL: session.uid},
                owner=self._owner(session.uid),
            )

    async def screenshot(self, session: Session) -> bytes:
        """The picture of the version that runs, or of the last one before it that has one.

        Raises:
            ObjectNotFound: there is none.
        """
        for number in range(session.status.revision or 1, 0, -1):
            try:
                name = screenshot_name(session.uid, number)
                return (await self._cluster.get_secret(self._namespace, name))[SCREENSHOT_KEY]
            except (ObjectNotFound, KeyError):
                continue
        raise ObjectNotFound("read the picture of the app", "there is none")

    def _owner(self, session_uid: str) -> dict[str, str] | None:
        ledger_uid = self._ledger_uid(session_uid)
        if ledger_uid is None:
            return None
        return ledger_owner(session_uid, ledger_uid)

    def _app_of(self, name: str, data: Mapping[str, bytes]) -> tuple[Bundle, GenerationEntry]:
        try:
            return app_of(data)
        except ValueError as error:
            raise SessionFailed(
                "StoredAppUnreadable",
                f"Secret {self._namespace}/{name} holds something else than the app that belongs "
                "there. It is left as it is; apply the session again",
            ) from error


def secret_data(bundle: Bundle, generation: GenerationEntry, prompt: str = "") -> dict[str, bytes]:
    """The content of the Secret for an app."""
    text = json.dumps(bundle.document(), ensure_ascii=False).encode()
    return {
        BUNDLE_KEY: gzip.compress(text, compresslevel=6, mtime=0),
        GENERATION_KEY: generation.model_dump_json(by_alias=True).encode(),
        PROMPT_KEY: prompt.encode("utf-8", errors="surrogatepass"),
    }


def app_of(data: Mapping[str, bytes]) -> tuple[Bundle, GenerationEntry]:
    """Read what `secret_data` made.

    Raises:
        ValueError: it is something else, or its content is not what its digest says.
    """
    try:
        document = json.loads(gzip.decompress(data[BUNDLE_KEY]))
        generation = GenerationEntry.model_validate_json(data[GENERATION_KEY])
    except (KeyError, OSError, EOFError, zlib.error, RecursionError) as error:
        raise ValueError(f"not an app that was stored: {error!r}") from error
    return Bundle.from_document(document), generation


def ledger_owner(session_uid: str, ledger_uid: str) -> dict[str, str]:
    """The owner reference that lets the app go together with the ledger of its session."""
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnRecord",
        "name": session_uid,
        "uid": ledger_uid,
    }


def bundle_name(session_uid: str, number: int = 1) -> str:
    """The Secret that holds a version of a session's app.

    Its name is known before its content: that is how a restarted operator, which may not list
    Secrets, finds out that the app was paid for already. The digest stands inside.
    """
    return f"spawn-{session_uid}-app" if number == 1 else f"spawn-{session_uid}-app-{number}"


def screenshot_name(session_uid: str, number: int) -> str:
    """The Secret that holds the picture of a version."""
    return f"spawn-{session_uid}-screenshot-{number}"
