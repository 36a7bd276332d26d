"""Follows the SpawnSessions of a namespace, so that a program can show and await what happens.

It is a plain watch through kubectl, as anyone could run it, and it remembers when each session came
to each phase.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from spawnai.api.names import API_VERSION
from spawnai.api.session import Phase, SessionStatus
from spawnai_local.kubectl import Kubectl, KubectlError

_WATCH_AGAIN_SECONDS = 0.5


class WaitError(Exception):
    """What was waited for did not come; the message says what, and how things stood."""


@dataclass(slots=True)
class WatchedSession:
    """One session as last seen. Times are monotonic seconds."""

    namespace: str
    name: str
    uid: str
    app_type: str
    status: SessionStatus
    deleted: bool = False
    reached: dict[Phase, float] = field(default_factory=dict)
    """When each phase was first seen."""

    @property
    def phase(self) -> Phase | None:
        """The phase, None before the operator has seen the session."""
        return self.status.phase

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self.deleted or self.phase is Phase.DESTROYED


@dataclass(frozen=True, slots=True)
class Change:
    """A session that is no longer as it was."""

    session: WatchedSession
    new_phase: bool


class SessionWatch:
    """The sessions of a namespace, by name. Use it as an async context manager."""

    def __init__(self, kubectl: Kubectl, namespace: str = "default") -> None:
        self.sessions: dict[str, WatchedSession] = {}
        self._kubectl = kubectl
        self._path = f"/apis/{API_VERSION}/namespaces/{namespace}/spawnsessions"
        self._changed = asyncio.Condition()
        self._changes: list[Change] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="watch sessions")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def changes_until(
        self,
        holds: Callable[[], bool],
        *,
        what: str,
        limit_seconds: float,
        tick_seconds: float = 0.5,
    ) -> AsyncIterator[Change | None]:
        """Yield each change, and None now and then, until `holds` says so.

        Raises:
            WaitError: the time was over before.
        """
        deadline = time.monotonic() + limit_seconds
        seen = len(self._changes)
        while True:
            for change in self._changes[seen:]:
                yield change
            seen = len(self._changes)
            if holds():
                return
            if time.monotonic() > deadline:
                raise WaitError(f"waited {limit_seconds:.0f} s for {what}; {self.summary()}")
            async with self._changed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(tick_seconds):
                        await self._changed.wait()
            if len(self._changes) == seen:
                yield None

    async def until(self, holds: Callable[[], bool], *, what: str, limit_seconds: float) -> None:
        """Wait until `holds` says so.

        Raises:
            WaitError: the time was over before.
        """
        async for _ in self.changes_until(holds, what=what, limit_seconds=limit_seconds):
            pass

    def summary(self) -> str:
        """How things stand, in a sentence."""
        if not self.sessions:
            return "there is no session"
        return ", ".join(
            f"{session.name} is {session.phase or 'not yet seen by the operator'}"
            + (f" ({session.status.message})" if session.status.message else "")
            for session in self.sessions.values()
        )

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(KubectlError):
                async for event in self._kubectl.watch(self._path):
                    await self._take(event["type"], event["object"])
            await asyncio.sleep(_WATCH_AGAIN_SECONDS)

    async def _take(self, kind: str, document: dict[str, Any]) -> None:
        if kind == "ERROR":
            return  # the watch ends, and the next one begins with everything there is
        metadata = document["metadata"]
        status = SessionStatus.model_validate(document.get("status") or {})
        session = self.sessions.get(metadata["name"])
        if session is None or session.uid != metadata["uid"]:
            session = WatchedSession(
                namespace=metadata["namespace"],
                name=metadata["name"],
                uid=metadata["uid"],
                app_type=document["spec"]["appType"],
                status=SessionStatus(),
            )
            self.sessions[session.name] = session
        new_phase = status.phase is not None and status.phase not in session.reached
        if status.phase is not None:
            session.reached.setdefault(status.phase, time.monotonic())
        session.status = status
        session.deleted = kind == "DELETED"
        self._changes.append(Change(session, new_phase))
        async with self._changed:
            self._changed.notify_all()
