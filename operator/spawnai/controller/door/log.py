"""The log of an app, line by line: from its droplet while it lives, from the ledger afterwards."""

from collections.abc import AsyncIterator, Sequence

from spawnai.api.record import LedgerEntry, Presence, ResourceKind
from spawnai.api.session import Phase
from spawnai.clock import Clock
from spawnai.controller.actions.agents import Agents
from spawnai.controller.store import Store
from spawnai.droplet.client import AgentError
from spawnai.lifecycle.observation import Session

_LOOK_SECONDS = 1.0
_OVER = frozenset({Phase.DESTROYING, Phase.DESTROYED})


class AppLogs:
    """Reads logs. What an agent says is bounded by its client."""

    def __init__(self, store: Store, agents: Agents, clock: Clock) -> None:
        self._store = store
        self._agents = agents
        self._clock = clock

    async def lines(self, session: Session, *, follow: bool) -> AsyncIterator[Sequence[str]]:
        """Lines as they come, oldest first; without `follow` those that there are.

        While nothing is new an empty sequence comes now and then: has the reader gone meanwhile?
        """
        told: list[str] = []
        while True:
            current = self._store.session(session.uid)
            over = current is None or current.status.phase in _OVER
            lines = await self._now(session)
            fresh = new_lines(told, lines)
            told = lines or told
            yield fresh
            if over or not follow:
                return
            await self._clock.sleep(_LOOK_SECONDS)

    async def _now(self, session: Session) -> list[str]:
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
