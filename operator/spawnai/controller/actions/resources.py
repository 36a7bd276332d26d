"""Makes, finds, awaits, deletes and proves external resources, the same way for every kind.

What a kind needs beside that stands in its `Steps`. Nothing here ever deletes by a name alone.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.billing import ledger as books
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import NotOurs, NotYet
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import DigitalOceanError
from spawnai.digitalocean.resource import Found, Resource
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import LISTED_WITHIN
from spawnai.lifecycle.resources import may_still_appear

from .work import Work


class Steps:
    """What one kind needs beside what is done for all. Most kinds need an adapter and an order."""

    def adapter(self, account: CloudAccount) -> Resource[Any]:
        """The kind's adapter in an account."""
        raise NotImplementedError

    def turn(self, work: Work, creation: do.Create) -> AbstractAsyncContextManager[Any]:
        """Waits for the creation's turn; by default among the account's calls."""
        return work.turn(creation)

    def order(self, work: Work, wanted: Any) -> Any:
        """What the adapter is to make. Asked for when the creation's turn has come."""
        raise NotImplementedError

    def before_creation(self, work: Work) -> None:
        """Last look before a turn is waited for; raises what holds the creation up."""

    def refused(self, work: Work, wanted: Any, error: DigitalOceanError) -> None:
        """The creation was refused."""

    def made(self, work: Work) -> None:
        """One was made."""

    def noted(self, work: Work, found: Found) -> None:
        """One was made or found, and its line was entered."""

    def deleted(self, work: Work) -> None:
        """A deletion was accepted, or there was nothing to delete."""

    async def wait(self, work: Work, action: do.Await) -> None:
        """Wait until it can be used.

        Raises:
            NotYet: it is asked again, a little later each time.
        """


class Resources:
    """Carries out the steps of every kind."""

    def __init__(self, steps: Mapping[ResourceKind, Steps]) -> None:
        self._steps = steps

    async def create(self, work: Work, action: do.Create) -> None:
        """Make it, in its turn among the account's calls."""
        wanted = action.wanted
        steps, adapter = self._of(work, wanted.kind)
        steps.before_creation(work)
        try:
            async with steps.turn(work, action) as turn:
                # Made now: it may have waited for hours.
                found = await adapter.create(steps.order(work, wanted), turn)
        except DigitalOceanError as error:
            steps.refused(work, wanted, error)
            raise
        work.note(found.line)
        steps.noted(work, found)
        steps.made(work)

    async def find(self, work: Work, action: do.Find) -> None:
        """Take in all of its name that bear our mark."""
        steps, adapter = self._of(work, action.kind)
        for found in await adapter.find(action.name, work.uid, action.address):
            work.note(found.line)
            steps.noted(work, found)

    async def wait(self, work: Work, action: do.Await) -> None:
        """Wait until it can be used."""
        await self._steps[action.kind].wait(work, action)

    async def delete(self, work: Work, action: do.Delete) -> None:
        """Delete one thing by its recorded identity, once it has shown that it is ours.

        What this process made itself has been proven by the answer to its POST.
        """
        line = action.line
        steps, adapter = self._of(work, line.kind)
        key = (line.kind, line.id)
        if key not in work.memory.proven or adapter.seems_changed(line, work.uid):
            ours = await adapter.is_ours(line, work.uid, Priority.DESTROY)
            if ours is None:
                await self._not_found(work, adapter, line)
                return
            work.memory.missing_since.pop(key, None)
            if not ours:
                work.memory.ledger = books.with_unknown(work.memory.book, *key)
                # The tags of a new droplet may come later than it does.
                is_new = may_still_appear(work.known_since(line), work.utc_now())
                raise (NotYet if is_new else NotOurs)(
                    f"{line.kind} {line.id} does not show that it belongs to this session: "
                    "it was left alone; look at it and delete it by hand"
                )
            work.memory.proven.add(key)
        if await adapter.delete(line):
            work.memory.missing_since.pop(key, None)
            work.memory.ledger = books.with_deletion_accepted(
                work.memory.book, *key, work.utc_now()
            )
        else:
            await self._not_found(work, adapter, line)
        steps.deleted(work)

    async def _not_found(self, work: Work, adapter: Resource[Any], line: LedgerEntry) -> None:
        """DigitalOcean answers 404: it is gone, since the first such answer.

        Raises:
            NotYet: it is so young that it may not show yet.
        """
        now, key = work.utc_now(), (line.kind, line.id)
        since = work.memory.missing_since.setdefault(key, now)
        known_since = work.known_since(line)
        if may_still_appear(known_since, now):
            settled = now >= known_since + LISTED_WITHIN
            if not settled or not await adapter.is_unlisted(line):
                raise NotYet(
                    f"{line.kind} {line.id} is new and answers 404: it may not show yet, so its "
                    "deletion is tried again until DigitalOcean accepts it or two minutes have "
                    "passed"
                )
        work.memory.missing_since.pop(key, None)
        if since < now:
            work.memory.ledger = books.with_deletion_accepted(work.memory.book, *key, since)
        work.memory.ledger = books.with_gone(work.memory.book, *key, now)

    async def verify(self, work: Work, action: do.Verify) -> None:
        """See that it is gone."""
        line = action.line
        _, adapter = self._of(work, line.kind)
        if not await adapter.is_gone(line):
            raise NotYet(f"{line.kind} {line.id} is still there")
        work.saw_gone(line.kind, line.id)

    def _of(self, work: Work, kind: ResourceKind) -> tuple[Steps, Resource[Any]]:
        steps = self._steps[kind]
        return steps, steps.adapter(work.backing.account)
