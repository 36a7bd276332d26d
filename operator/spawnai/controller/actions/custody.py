"""The session's hold in the API server: its finalizer and its ledger."""

import asyncio
from collections.abc import Mapping
from typing import Any

from spawnai.controller.cluster import Cluster, Conflict, ObjectNotFound
from spawnai.controller.finalizers import set_finalizer
from spawnai.controller.report import record_document, set_ledger_finalizer
from spawnai.controller.store import Store
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Session

from .work import Work

_LEDGERS_AT_ONCE = 4
"""How many ledgers get or lose their finalizer at once. After an update a thousand may need one,
and what is urgent goes to the same API server."""


class Custody:
    """Takes a session into our care, and lets it go."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster = cluster
        self._store = store
        self._ledger_turns = asyncio.Semaphore(_LEDGERS_AT_ONCE)

    async def add_finalizer(self, work: Work, _action: do.AddFinalizer) -> None:
        """Hold the session; one that is gone already is forgotten."""
        try:
            await self._set_finalizer(work.session, present=True)
        except ObjectNotFound:
            self._store.remove_session(work.uid)

    async def remove_finalizer(self, work: Work, _action: do.RemoveFinalizer) -> None:
        """Let the session go."""
        session = work.session
        try:
            await self._set_finalizer(session, present=False)
        except ObjectNotFound:
            self._store.remove_session(work.uid)

    async def _set_finalizer(self, session: Session, *, present: bool) -> None:
        where = (session.namespace, session.name)
        body = await set_finalizer(
            session.uid,
            present=present,
            get=lambda: self._cluster.get_session(*where),
            patch=lambda patch: self._cluster.patch_session(*where, patch),
            known=self._store.finalizers_of(session.uid),
        )
        self._store.put_session(body)

    async def create_record(self, work: Work, action: do.CreateRecord) -> None:
        """Write the intent."""
        try:
            created = await self._cluster.create_record(record_document(action.spec))
            work.memory.record_made_here = True
        except Conflict:
            created = await self._cluster.get_record(action.spec.owner.uid)
        self._take_in(work, created)

    def _take_in(self, work: Work, body: Mapping[str, Any]) -> None:
        """A ledger as the API server has it. A watch may have shown an older one before: what that
        did not list must not be missing from the next write.
        """
        self._store.put_record(body)
        if (stored := self._store.record(work.uid)) is not None:
            work.memory.take_in_ledger(stored.status)

    async def hold_record(self, work: Work, _action: do.HoldRecord) -> None:
        """Keep the ledger from being deleted while it is open."""
        await self._set_ledger_finalizer(work.uid, present=True)

    async def release_record(self, work: Work, _action: do.ReleaseRecord) -> None:
        """Let the closed ledger be deleted by whoever may."""
        await self._set_ledger_finalizer(work.uid, present=False)

    async def _set_ledger_finalizer(self, uid: str, *, present: bool) -> None:
        async with self._ledger_turns:
            await set_ledger_finalizer(self._cluster, self._store, uid, present=present)

    async def delete_session(self, work: Work, _action: do.DeleteSession) -> None:
        """Delete the tombstone, and no other session that has its name now."""
        session = work.session
        try:
            await self._cluster.delete_session(session.namespace, session.name, session.uid)
        except (ObjectNotFound, Conflict):
            self._store.remove_session(work.uid)

    async def delete_record(self, work: Work, _action: do.DeleteRecord) -> None:
        """Drop the ledger."""
        try:
            await self._cluster.delete_record(work.uid)
        except ObjectNotFound:
            self._store.remove_record(work.uid)

    async def confirm_session_gone(self, work: Work, action: do.ConfirmSessionGone) -> None:
        """Ask the API server itself."""
        try:
            body = await self._cluster.get_session(action.namespace, action.name)
        except ObjectNotFound:
            work.memory.session_confirmed_gone = True
            return
        if body["metadata"]["uid"] == work.uid:
            self._store.put_session(body)
        else:
            work.memory.session_confirmed_gone = True

    async def confirm_no_record(self, work: Work, _action: do.ConfirmNoRecord) -> None:
        """Ask the API server itself."""
        try:
            self._take_in(work, await self._cluster.get_record(work.uid))
        except ObjectNotFound:
            work.memory.record_confirmed_absent = True
