"""What this process remembers of each session, and a restart may forget.

Everything here can be learnt again: from the API server, from the cloud, or by asking the droplet.
Only an app that could not be stored yet would have to be ordered, and paid for, again.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from spawnai.api.record import GenerationEntry, RecordStatus
from spawnai.billing.ledger import merged
from spawnai.generation.bundle import Bundle
from spawnai.generation.claude import GenerationProgress
from spawnai.lifecycle.actions import ActionKey
from spawnai.lifecycle.limits import CLOCK_DOUBT
from spawnai.lifecycle.observation import (
    AppView,
    DropletView,
    Effort,
    Failure,
    PageView,
    Revised,
    StoredBundle,
)


@dataclass(frozen=True, slots=True)
class WrittenApp:
    """An app that was written, and what was paid for it."""

    bundle: Bundle
    generation: GenerationEntry
    prompt: str = field(default="", repr=False)
    """What it was made for."""


_ON_A_DROPLET = frozenset(
    {
        "Await",
        "CheckApp",
        "DeployApp",
        "FindApp",
        "RecoverDroplet",
        "RestartApp",
        "ReviseApp",
        "SetExpiry",
        "StopApp",
        "TakeLog",
    }
)


@dataclass(slots=True)
class Memory:
    """One session's efforts, running actions, and what they have shown."""

    efforts: dict[ActionKey, Effort] = field(default_factory=dict)
    tasks: dict[ActionKey, asyncio.Task[None]] = field(default_factory=dict)
    rejected: dict[tuple[str, str], Failure] = field(default_factory=dict)
    droplet: DropletView | None = None
    droplet_news: asyncio.Event | None = None
    droplet_unseen: bool = False
    droplet_confirmed_at: datetime | None = None
    firewall_in_force: bool = False
    bundle: StoredBundle | None = None
    unstored: WrittenApp | None = None
    revised: Revised | None = None
    page: PageView | None = None
    app: AppView | None = None
    silent_since: datetime | None = None
    log: tuple[str, ...] = ()
    switch: datetime | None = None
    generation: GenerationProgress | None = None
    """How far Claude is; None before it has answered, and after it has given up."""
    ledger: RecordStatus | None = None
    ledger_waits_since: float | None = None
    record_made_here: bool = False
    proven: set[tuple[str, str]] = field(default_factory=set)
    known_since: dict[tuple[str, str], datetime] = field(default_factory=dict)
    missing_since: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Since when what is to be deleted answers 404, though it is too young to be believed gone."""
    session_confirmed_gone: bool = False
    record_confirmed_absent: bool = False
    minor_status_written_at: float = float("-inf")
    expired_at: datetime | None = None
    overrun_counted: bool = False
    end_counted: bool = False

    def take_in_ledger(self, written: RecordStatus) -> None:
        """The ledger as the API server has it, perhaps written by another than this process: a
        reaper by hand, or a leader whose write came late. What it notes is kept in the next write.
        """
        if written.completed_at is not None:
            # Whatever comes after a ledger is closed, a reaper writes: perhaps `spawnai reap`. What
            # it lists as present is there, although we saw it gone before.
            self.ledger = written
        elif self.ledger is not None:
            self.ledger = merged(self.ledger, written)

    def saw_droplet(self, view: DropletView) -> None:
        """The droplet was shown; tells the action that waits for it."""
        self.droplet = view
        if self.droplet_news is not None:
            self.droplet_news.set()

    def leave_droplet(self) -> None:
        """The droplet was given up: what was learnt of it, and done there, says nothing any more.

        What was made, looked for and deleted stays counted.
        """
        self.droplet = self.app = self.bundle = self.switch = None
        self.silent_since = self.droplet_confirmed_at = None
        self.droplet_unseen = self.firewall_in_force = False
        if self.ledger is not None and self.ledger.usage is not None:
            usage = self.ledger.usage.model_copy(update={"next": 0})
            self.ledger = self.ledger.model_copy(update={"usage": usage})
        for key in [key for key in self.efforts if key.action in _ON_A_DROPLET]:
            if (task := self.tasks.get(key)) is not None:
                task.cancel()
            else:
                del self.efforts[key]

    def note_failure(self, key: ActionKey, failure: Failure | None) -> None:
        """What troubles a running action, before it has failed; None: nothing does any more."""
        self.efforts[key] = replace(self.efforts[key], failure=failure)

    def note_turn(self, key: ActionKey, at: datetime) -> None:
        """A running creation has its turn among DigitalOcean's calls: it is about to be sent."""
        effort = self.efforts[key]
        began = effort.started_at or at
        waited = effort.waited + max(at - began, timedelta())
        self.efforts[key] = replace(effort, turn_at=at, waited=waited)

    def take_over(self, ledger: RecordStatus, now: datetime) -> None:
        """The ledger is an earlier process's: its dates tell the age of what was made long ago."""
        self.ledger = ledger
        for entry in ledger.resources:
            if entry.created_at < now - CLOCK_DOUBT:
                self.known_since[entry.kind, entry.id] = entry.created_at + CLOCK_DOUBT

    def note_new(self, now: datetime) -> None:
        """Since when this process knows of what the ledger lists by now."""
        for entry in self.book.resources:
            self.known_since.setdefault((entry.kind, entry.id), now)

    def move_dates(self, step: timedelta) -> None:
        """The clock was set by `step`: what is remembered here keeps its age. What was promised or
        stands in the books keeps its date.
        """
        self.efforts = {key: effort.moved(step) for key, effort in self.efforts.items()}
        self.rejected = {at: failure.moved(step) for at, failure in self.rejected.items()}
        self.app = self.app.moved(step) if self.app is not None else None
        self.silent_since = self.silent_since + step if self.silent_since is not None else None
        if self.droplet_confirmed_at is not None:
            self.droplet_confirmed_at += step
        self.known_since = {key: date + step for key, date in self.known_since.items()}
        self.missing_since = {key: date + step for key, date in self.missing_since.items()}

    @property
    def book(self) -> RecordStatus:
        """The ledger with all that was learnt since it was last written."""
        return self.ledger if self.ledger is not None else RecordStatus()


class Memories:
    """The memories of all sessions."""

    def __init__(self) -> None:
        self._memories: dict[str, Memory] = {}

    def of(self, uid: str) -> Memory:
        """The memory of a session, new where there was none."""
        return self._memories.setdefault(uid, Memory())

    def get(self, uid: str) -> Memory | None:
        """The memory of a session, if there is one."""
        return self._memories.get(uid)

    def forget(self, uid: str) -> None:
        """Nothing of this session matters any more."""
        memory = self._memories.pop(uid, None)
        if memory is not None:
            for task in memory.tasks.values():
                task.cancel()

    async def close(self) -> None:
        """End every running action."""
        tasks = [task for memory in self for task in memory.tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def __iter__(self) -> Iterator[Memory]:
        return iter(list(self._memories.values()))
