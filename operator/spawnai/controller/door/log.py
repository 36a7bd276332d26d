"""The log of an app, line by line: from its droplet while it lives, from the ledger afterwards.

An agent has one follower, however many people read: each reader has a place in what the follower
keeps. A reader that is slow holds up nobody, and misses lines once more than those were written.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence

from spawnai import background
from spawnai.api.record import LedgerEntry, Presence, ResourceKind
from spawnai.api.session import Phase
from spawnai.clock import Clock
from spawnai.controller.actions.agents import Agents
from spawnai.controller.store import Store
from spawnai.droplet.client import AgentClient, AgentError
from spawnai.lifecycle.observation import Session

KEPT_LINES = 1_000
"""As many as an agent keeps."""
_AGAIN_SECONDS = 1.0
_QUIET_SECONDS = 5.0
_OVER = frozenset({Phase.DESTROYING, Phase.DESTROYED})


class AppLogs:
    """Reads logs. What an agent says is bounded by its client."""

    def __init__(self, store: Store, agents: Agents, clock: Clock) -> None:
        self._store = store
        self._agents = agents
        self._clock = clock
        self._followers: dict[str, _Follower] = {}

    async def lines(self, session: Session, *, follow: bool) -> AsyncGenerator[Sequence[str], None]:
        """Lines as they come, oldest first; without `follow` those that there are.

        While nothing is new an empty sequence comes now and then: has the reader gone meanwhile?
        """
        if not follow:
            yield await self._last(session)
            return
        follower = self._followers.get(session.uid)
        if follower is None:
            follower = _Follower(session, self._store, self._agents, self._clock)
            self._followers[session.uid] = follower
        follower.readers += 1
        try:
            number = 0
            while not follower.is_over or number < follower.count:
                lines, number = await follower.since(number)
                yield lines
        finally:
            follower.readers -= 1
            if not follower.readers:
                follower.stop()
                del self._followers[session.uid]

    async def _last(self, session: Session) -> list[str]:
        record = self._store.record(session.uid)
        if record is None:
            return []
        address = droplet_address(record.status.resources)
        if address is None:
            return list(record.status.log)
        client = self._agents.client(session, address)
        try:
            return list((await client.status()).log)
        except AgentError:
            return []
        finally:
            await client.close()


class _Follower:
    """Follows the log of one session for everyone who reads it."""

    def __init__(self, session: Session, store: Store, agents: Agents, clock: Clock) -> None:
        self._session = session
        self._store = store
        self._agents = agents
        self._clock = clock
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._news = asyncio.Condition()
        self._task = background.once(self._follow(), name=f"log of {session.uid}")
        self.readers = 0
        self.count = 0
        """How many lines came in all."""
        self.is_over = False
        """Whether no line comes any more."""

    def stop(self) -> None:
        """Nobody reads any more."""
        self._task.cancel()

    async def since(self, number: int) -> tuple[list[str], int]:
        """The lines from this number on, and the next one's; waits a while when there is none."""
        async with self._news:
            try:
                async with asyncio.timeout(_QUIET_SECONDS):
                    await self._news.wait_for(lambda: self.count > number or self.is_over)
            except TimeoutError:
                return [], number
            missing = min(self.count - number, len(self._lines))
            return list(self._lines)[len(self._lines) - missing :], self.count

    async def _follow(self) -> None:
        address: str | None = None
        client: AgentClient | None = None
        number = 0
        try:
            while True:
                current = self._store.session(self._session.uid)
                record = self._store.record(self._session.uid)
                if current is None or current.status.phase in _OVER:
                    await self._tell(list(record.status.log) if record is not None else [])
                    return
                place = droplet_address(record.status.resources) if record is not None else None
                if place != address:
                    client, number = await self._at(client, place), 0
                    address = place
                if client is None:
                    await self._clock.sleep(_AGAIN_SECONDS)
                    continue
                try:
                    news = await client.read_log(number)
                except AgentError:
                    await self._clock.sleep(_AGAIN_SECONDS)
                    continue
                # An agent that was started again counts anew, and tells what it kept once more.
                is_anew = news.next - len(news.lines) < number
                number = news.next
                await self._tell(news.lines, may_be_known=is_anew)
        finally:
            if client is not None:
                await client.close()
            self.is_over = True
            async with self._news:
                self._news.notify_all()

    async def _at(self, client: AgentClient | None, address: str | None) -> AgentClient | None:
        if client is not None:
            await client.close()
        return None if address is None else self._agents.client(self._session, address)

    async def _tell(self, lines: Sequence[str], *, may_be_known: bool = True) -> None:
        fresh = new_lines(list(self._lines), lines) if may_be_known else lines
        if not fresh:
            return
        async with self._news:
            self._lines.extend(fresh)
            self.count += len(fresh)
            self._news.notify_all()


def droplet_address(resources: Sequence[LedgerEntry]) -> str | None:
    """Where the session's droplet is, by the ledger: a status may have been written by anyone."""
    living = [
        entry.ip
        for entry in resources
        if entry.kind is ResourceKind.DROPLET and entry.presence is Presence.PRESENT
        if entry.deletion_accepted_at is None
    ]
    return living[-1] if living else None


def new_lines(told: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Those of `lines` that come after what was told, where both are windows of one log."""
    for start in range(len(told)):
        tail = told[start:]
        if list(lines[: len(tail)]) == list(tail):
            return list(lines[len(tail) :])
    return list(lines)
