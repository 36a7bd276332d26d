"""The gate that every call of the operator passes: it knows whose a call is, and notes it.

A trap lies in wait for one call of one owner in one situation, and does one fault to it, once.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from spawnai_local.chaos.calls import EVENTS, Call
from spawnai_local.chaos.faults import (
    KILLS,
    RETRY_AFTER_SECONDS,
    SILENCE_SECONDS,
    SLOW_SECONDS,
    Fault,
)

Answer = TypeVar("Answer")

TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500


@dataclass(slots=True, eq=False)
class Trap:
    """One fault for one call; `struck_at` and `over_at` are epoch seconds."""

    owner: str
    situation: str
    call: str
    fault: Fault
    struck_at: float | None = None
    over_at: float | None = None
    is_armed: bool = False
    """Whether its situation has begun. An Event comes later than what it tells of, so it counts as
    one of every situation since."""
    is_holding: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class Passage:
    """One call that passed: epoch seconds, and what was done to it."""

    at: float
    call: Call
    owner: str | None
    situation: str | None
    trap: Trap | None = None
    status: int | None = None
    ended_at: float | None = None

    def __str__(self) -> str:
        outcome = "no answer" if self.status is None else str(self.status)
        fault = "" if self.trap is None else f"   ← {self.trap.fault}"
        return f"{self.call.edge}: {self.call.name} → {outcome}{fault}"


class Gate:
    """Notes every call, and does to it what a trap says."""

    def __init__(self) -> None:
        self.log: list[Passage] = []
        self.owners: dict[str, str] = {}
        """Whose a token, name or UID is."""
        self.uids: dict[str, str] = {}
        """The UID of each owner's session."""
        self.classes: dict[str, str] = {}
        """The UID of each owner's class."""
        self.situations: dict[str, str] = {}
        """In which situation each owner is now."""
        self.on_hold: Callable[[Trap], None] = lambda _trap: None
        self.closed = asyncio.Event()
        """Set when the stack ends: nobody is kept waiting then."""
        self._traps: dict[str, list[Trap]] = {}

    def set_trap(self, trap: Trap) -> None:
        """Lay a trap."""
        self._traps.setdefault(trap.owner, []).append(trap)

    def remove_trap(self, trap: Trap) -> None:
        """Take a trap away."""
        self._traps.get(trap.owner, []).remove(trap)

    def enter(self, call: Call) -> Passage:
        """Note a call that has come; its trap, if there is one, has struck with that."""
        owner = next((self.owners[hint] for hint in call.hints if hint in self.owners), None)
        situation = self.situations.get(owner) if owner is not None else None
        passage = Passage(time.time(), call, owner, situation)
        for trap in self._traps.get(owner or "", ()):
            trap.is_armed = trap.is_armed or situation == trap.situation
            in_time = situation == trap.situation or (trap.call == EVENTS and trap.is_armed)
            if trap.struck_at is None and trap.call in call.names and in_time:
                trap.struck_at = passage.at
                passage.trap = trap
                break
        self.log.append(passage)
        return passage

    async def through(
        self,
        passage: Passage,
        perform: Callable[[], Awaitable[Answer]],
        refuse: Callable[[int, int | None], Answer],
    ) -> Answer | None:
        """Let a call take effect, and its answer back, or not. None: the connection breaks.

        `perform` sends it on; `refuse` makes the answer of a status, with a retry-after.
        """
        trap = passage.trap
        if trap is None:
            return await perform()
        try:
            match trap.fault:
                case Fault.KILLED_BEFORE:
                    await self.hold(trap)
                    return None
                case Fault.TOO_MANY:
                    return refuse(TOO_MANY_REQUESTS, RETRY_AFTER_SECONDS)
                case Fault.ERROR_BEFORE:
                    return refuse(SERVER_ERROR, None)
            answer = await perform()
            match trap.fault:
                case Fault.ERROR_AFTER:
                    return refuse(SERVER_ERROR, None)
                case Fault.SLOW:
                    await asyncio.sleep(SLOW_SECONDS)
                    return answer
                case Fault.KILLED_AFTER:
                    await self.hold(trap)
                case Fault.TIMEOUT_AFTER:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(SILENCE_SECONDS):
                            await self.closed.wait()
            return None
        finally:
            trap.over_at = time.time()

    async def hold(self, trap: Trap) -> None:
        """Keep a call until the operator has been killed."""
        if trap.fault not in KILLS:
            raise ValueError(f"a call is held to kill the operator, not for {trap.fault}")
        trap.is_holding = True
        self.on_hold(trap)
        await trap.let_go.wait()
        trap.is_holding = False
