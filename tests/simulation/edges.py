"""How a call leaves an operator and reaches the world: delays, faults, deaths, all from the story.

The effect of a call happens in the world, not in the process that sent it. So it happens as well
when that process was killed meanwhile, and the answer is then heard by nobody.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from .loop import PROCESS, Process, SimulatedLoop
from .story import Crash, Fault, Handover, Outage, Story

CLIENT_LIMIT_SECONDS = 20.0
"""After how long a client gives up a call that has no answer."""


class Wire:
    """Carries every call of every operator."""

    def __init__(self, loop: SimulatedLoop, story: Story) -> None:
        self.loop = loop
        self.story = story
        self.random = Random(f"{story.seed}/wire")
        self.trace: list[tuple[float, str, str]] = []
        self.disturbances: list[tuple[float, float, str]] = []
        self._counts: dict[str, int] = {}
        self._faults = {(fault.call, fault.nth): fault.kind for fault in story.of(Fault)}
        self._falls: dict[tuple[int, int], Crash | Handover] = {
            (fall.operator, fall.call): fall for fall in (*story.of(Crash), *story.of(Handover))
        }
        self._outages = [
            (outage.what, self.loop.time() + outage.at, outage.seconds)
            for outage in story.of(Outage)
        ]
        for what, at, seconds in self._outages:
            self.disturb(at, at + seconds, what)
        self.on_fall: Callable[[Process, Crash | Handover], None] = lambda _process, _fall: None

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        self.trace.append((self.loop.time(), who, what))

    def disturb(self, begin: float, end: float, why: str) -> None:
        """For so long, something did not answer or somebody interfered."""
        self.disturbances.append((begin, end, why))

    def disturbed(self, begin: float, end: float) -> float | None:
        """The end of the last disturbance that touches that time, or None."""
        return max(
            (until for since, until, _ in self.disturbances if since <= end and until >= begin),
            default=None,
        )

    def out(self, what: str) -> bool:
        """Whether that part of the world does not answer now."""
        now = self.loop.time()
        return any(name == what and at <= now < at + length for name, at, length in self._outages)

    async def call(  # noqa: PLR0917 - each call of a model names its parts in this order
        self,
        name: str,
        to: str,
        effect: Callable[[], Any],
        lost: Callable[[str], Exception],
        refused: Callable[[str], Exception] | None = None,
        words: str = "",
    ) -> Any:
        """Send a call.

        Args:
            name: which call it is, as stories name it.
            to: "the cloud", "the API server", "Claude" or "every agent".
            effect: what it does in the world; returns the answer or raises it.
            lost: the error a client makes of an answer that never came, told why.
            refused: the error of a call that cannot have happened; `lost` when not told apart.
            words: the call's object, for the trace.
        """
        refused = refused or lost
        process = PROCESS.get()
        assert process is not None
        process.calls += 1
        count = self._counts[name] = self._counts.get(name, 0) + 1
        fall = self._falls.get((process.number, process.calls))
        future = self.loop.create_future()
        if fall is not None and fall.moment == "before":
            self.on_fall(process, fall)
            if not process.alive:
                await future
        there, back = self.random.uniform(0.01, 0.08), self.random.uniform(0.01, 0.08)
        fault = self._faults.get((name, count))
        if self.out(to):
            fault = "hangs" if self.random.random() < 0.3 else "fails before"
            if fault == "hangs" and self.random.random() < 0.5:
                fault = "never arrives"
        answers = self.loop.time() + there + back
        self.note(process.name, f"{name} {words}" + (f"  ← {fault}" if fault else ""))

        def settle(value: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)
            if fall is not None and fall.moment == "right after":
                self.on_fall(process, fall)

        def happen() -> None:
            value, error = None, None
            try:
                value = effect()
            except Exception as raised:  # noqa: BLE001 - the answer is an error
                error = raised
            if fault == "answer lost":
                value, error = None, lost("the answer was lost")
            wait = back
            if fault == "hangs":
                value, error, wait = None, lost("no answer in time"), CLIENT_LIMIT_SECONDS
            self.loop.outside(wait, settle, value, error)
            if fall is not None and fall.moment == "in the middle of":
                self.on_fall(process, fall)

        if fault == "slow":
            there += 6.0
            answers += 6.0
        elif fault == "hangs":
            answers += CLIENT_LIMIT_SECONDS
        if fault == "fails before":
            self.loop.outside(there + back, settle, None, refused("it could not be reached"))
        elif fault == "never arrives":
            answers += CLIENT_LIMIT_SECONDS
            self.loop.outside(CLIENT_LIMIT_SECONDS, settle, None, lost("no answer in time"))
        else:
            self.loop.outside(there, happen)
        if fault is not None:
            self.disturb(self.loop.time(), answers, f"{name}: {fault}")
        elif fall is not None and fall.moment != "before" and fault is None:
            pass
        return await future

    def fault_kind(self, name: str) -> str | None:
        """The fault that the story has for the call that is about to be sent."""
        return self._faults.get((name, self._counts.get(name, 0) + 1))
