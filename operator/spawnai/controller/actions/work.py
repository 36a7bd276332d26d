"""One action's surroundings: the session, its memory, and what serves it.

Identities of what exists go into the session's ledger the moment they are known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import NotYet
from spawnai.controller.memory import Memory
from spawnai.generation.claude import Generator
from spawnai.lifecycle.observation import Session


@dataclass(frozen=True, slots=True)
class Backing:
    """What serves a session: its class, and the account and Claude behind it."""

    class_name: str
    class_uid: str
    spec: ClassSpec
    account: CloudAccount
    generator: Generator


@dataclass(frozen=True, slots=True)
class Work:
    """One action to carry out, with all it may look at."""

    uid: str
    known_session: Session | None
    memory: Memory
    known_backing: Backing | None
    utc_now: Callable[[], datetime]

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

    def note(self, entry: LedgerEntry) -> None:
        """Enter a thing that exists, and remember that it has shown itself as ours."""
        self.memory.ledger = books.with_resource(self.memory.book, entry)
        self.memory.proven.add((entry.kind, entry.id))

    def saw_gone(self, kind: ResourceKind, id_: str) -> None:
        """Enter that a thing was seen gone."""
        self.memory.ledger = books.with_gone(self.memory.book, kind, id_, self.utc_now())
