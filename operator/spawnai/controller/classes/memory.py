"""What is remembered of each class from one look to the next, and forgotten in one place."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from spawnai.controller.accounts import CloudAccount
from spawnai.controller.images.class_images import ImageNews
from spawnai.generation.claude import Generator
from spawnai.lifecycle.observation import Failure, FailureKind

from .gateways import Gateway
from .state import CheckedFor, ClassProblem, ClassState


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account that was seen to be the class's own.

    Attributes:
        uuid: None where the token may not tell.
        locked: DigitalOcean's words when the account is locked, else "".
    """

    account: CloudAccount
    uuid: str | None
    locked: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """A look that is under way, or has ended and was not taken note of yet."""

    wanted: CheckedFor
    task: asyncio.Task[ClassState]


@dataclass(slots=True)
class ClassMemory:
    """One class, in one of its lives: a class that is made again has another UID."""

    uid: str
    state: ClassState | None = None
    opened: OpenAccount | None = None
    tried: CloudAccount | None = None
    """The account of a token that has not shown yet whose it is."""
    generator: Generator | None = None
    look: Look | None = None
    looked: tuple[CheckedFor, datetime] | None = None
    """What was looked at last, and when that began."""
    gateway: Gateway | None = None
    """What is known of its gateway; None: it has none, or it was not looked at yet."""
    image: ImageNews | None = None
    """What is known of its baked image; None: it has none, or it was not looked at yet."""
    refused: ClassProblem | None = None
    """Why Claude refuses the orders of the class."""
    unauthorized: int = 0
    """How many looks in a row DigitalOcean refused the token."""
    answered_at: float = float("-inf")
    """When Claude last began to answer an order of the class."""

    def offered(self) -> ClassState | None:
        """What it can do now, with what its gateway lacks."""
        if self.state is None or self.state.problem is not None or self.gateway is None:
            return self.state
        problem, checked_at = self.gateway.problem, self.state.checked_at
        if problem is None or checked_at is None:
            return self.state
        failure = Failure(FailureKind.NEEDS_PERSON, problem.reason, str(problem), checked_at)
        return replace(self.state, problem=failure)

    def accounts(self) -> Iterator[CloudAccount]:
        """Those in use: not that of a token which was replaced, or never worked."""
        if self.opened is not None:
            yield self.opened.account
        if self.tried is not None:
            yield self.tried


class ClassMemories:
    """The memory of every class, by name."""

    def __init__(self) -> None:
        self._known: dict[str, ClassMemory] = {}

    def get(self, name: str) -> ClassMemory | None:
        """What is remembered of a class; None when it was never looked at."""
        return self._known.get(name)

    def of(self, name: str, uid: str) -> ClassMemory:
        """The memory of a class, a new one where another had its name."""
        known = self._known.get(name)
        if known is None or known.uid != uid:
            self.forget(name)
            known = self._known[name] = ClassMemory(uid)
        return known

    def forget(self, name: str) -> None:
        """Drop all that is remembered of a class, and end a look that is under way."""
        known = self._known.pop(name, None)
        if known is not None and known.look is not None:
            drop(known.look)

    def accounts(self) -> list[CloudAccount]:
        """All accounts in use."""
        return [account for known in self._known.values() for account in known.accounts()]

    async def close(self) -> None:
        """End all looks that are under way."""
        tasks = [known.look.task for known in self._known.values() if known.look is not None]
        for name in list(self._known):
            self.forget(name)
        if tasks:
            await asyncio.wait(tasks)


def drop(look: Look) -> None:
    """End a look whose outcome nobody wants any more."""
    look.task.cancel()
    look.task.add_done_callback(_unheard)


def _unheard(task: asyncio.Task[ClassState]) -> None:
    """An error that nobody asks for would be complained of."""
    if not task.cancelled():
        task.exception()
