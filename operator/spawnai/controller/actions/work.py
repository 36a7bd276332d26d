"""One action's surroundings: the session, its memory, and what serves it.

Identities of what exists go into the session's ledger the moment they are known.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import NeedsPerson, NotYet
from spawnai.controller.memory import Memory
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.generation.claude import Generator
from spawnai.lifecycle.actions import Action
from spawnai.lifecycle.observation import Failure, Session


@dataclass(frozen=True, slots=True)
class Backing:
    """What serves a session: its class, and the account and Claude behind it.

    The account is all that is needed to destroy. A class whose spec cannot be read, or that has no
    key for Claude, has the rest not; `problem` is what is wrong with it.
    """

    class_name: str
    class_uid: str
    account: CloudAccount
    known_spec: ClassSpec | None
    known_generator: Generator | None
    problem: Failure | None = None

    @property
    def spec(self) -> ClassSpec:
        """The class's offer; raises NeedsPerson when it cannot be read."""
        if self.known_spec is None:
            raise self._unusable()
        return self.known_spec

    @property
    def generator(self) -> Generator:
        """Claude behind the class's key; raises NeedsPerson when it has none."""
        if self.known_generator is None:
            raise self._unusable()
        return self.known_generator

    def _unusable(self) -> Exception:
        if self.problem is None:
            return NotYet(f"SpawnClass {self.class_name!r} is being looked at")
        return NeedsPerson(self.problem.reason, self.problem.message)


@dataclass(frozen=True, slots=True)
class Work:
    """One action to carry out, with all it may look at."""

    uid: str
    known_session: Session | None
    memory: Memory
    known_backing: Backing | None
    utc_now: Callable[[], datetime]
    measures_usage: bool = False
    """Whether the session's price depends on how busy its droplet is."""

    @property
    def session(self) -> Session:
        """The session; raises NotYet when it is not known any more."""
        if self.known_session is None:
            raise NotYet("the session is not known any more")
        return self.known_session

    @property
    def backing(self) -> Backing:
        """What serves the session; raises NotYet when its class cannot be used now."""
        if self.known_backing is None:
            raise NotYet("its class cannot be used now")
        return self.known_backing

    @asynccontextmanager
    async def turn(self, creation: Action) -> AsyncIterator[Slot]:
        """Wait for a creation's turn among the account's calls.

        Until then it can be given up at any moment. From then on it may have been sent.
        """
        async with self.backing.account.client.turn(Priority.NEW) as turn:
            self.memory.note_turn(creation.key, self.utc_now())
            yield turn

    def note(self, entry: LedgerEntry) -> None:
        """Enter a thing that exists, and remember that it has shown itself as ours."""
        self.memory.ledger = books.with_resource(self.memory.book, entry)
        self.memory.proven.add((entry.kind, entry.id))

    def line(self, kind: ResourceKind, id_: str) -> LedgerEntry:
        """The ledger's line of a thing; raises NotYet when there is none."""
        for entry in self.memory.book.resources:
            if entry.kind is kind and entry.id == id_:
                return entry
        raise NotYet(f"the ledger does not list {kind} {id_}")

    def known_since(self, entry: LedgerEntry) -> datetime:
        """Since when this process knows of a thing that its session's ledger lists."""
        return self.memory.known_since.get((entry.kind, entry.id), self.utc_now())

    def saw_gone(self, kind: ResourceKind, id_: str) -> None:
        """Enter that a thing was seen gone."""
        self.memory.ledger = books.with_gone(self.memory.book, kind, id_, self.utc_now())
