"""An event loop on virtual time that holds several processes, each of which can be killed or held.

Nothing waits and no thread runs: when no callback is ready, time leaps to the next timer. Every
callback belongs to the process in whose context it was made, or to none (the world outside). A
killed process is dropped as SIGKILL drops one: none of its code runs again, not even a `finally`.
A held one (SIGSTOP) runs nothing until it is let go, and then finds that time has passed.
"""

import asyncio
import contextlib
import contextvars
import heapq
import itertools
import warnings
from collections import deque
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BEGIN = 1_000.0


class Runaway(Exception):
    """A story took more steps than any story needs: something loops."""


class Process:
    """One operator process: its tasks, its clock, and whether it runs."""

    def __init__(self, loop: "SimulatedLoop", number: int, skew_seconds: float) -> None:
        self.loop = loop
        self.number = number
        self.name = f"operator {number}"
        self.skew_seconds = skew_seconds
        self.alive = True
        self.held: deque[asyncio.Handle] | None = None
        self.leads = True
        self.asleep_seconds = 0.0
        self.started_at = loop.time()
        self.calls = 0
        self.shown_until = 0.0
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def start(self, coroutine, name: str) -> asyncio.Task:
        return self.loop.create_task(coroutine, name=name, context=self.context)

    def kill(self) -> None:
        self.alive = False
        self.held = None

    def hold(self) -> None:
        self.held = deque()

    def let_go(self) -> None:
        if self.held is not None:
            held, self.held = self.held, None
            self.loop.ready.extend(held)

    def sleep_through(self, seconds: float) -> None:
        """Stop with the machine, whose monotonic clock stands still: no timer comes nearer."""
        began = self.loop.time()
        waiting = self.loop.take_timers_of(self)
        self.shown_until += seconds  # What a watch showed before is heard before what it shows now.
        self.hold()
        self.loop.outside(seconds, self._wake_up, began, waiting)

    def _wake_up(self, began: float, waiting: "list[asyncio.TimerHandle]") -> None:
        if self.alive:
            slept = self.loop.time() - began
            self.asleep_seconds += slept
            self.loop.put_timers_back(waiting, slept)
            self.let_go()

    # --- its clock ---------------------------------------------------------------------------

    def now(self) -> float:
        return self.loop.time() - self.asleep_seconds

    def utc_now(self) -> datetime:
        return utc(self.loop.time() + self.skew_seconds)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def utc(moment: float) -> datetime:
    """The true time at a moment of the loop; the cloud and the API server live by it."""
    return EPOCH + timedelta(seconds=moment - BEGIN)


class SimulatedLoop(asyncio.BaseEventLoop):
    """asyncio on leaping time, without sockets, selectors or threads."""

    def __init__(self, most_steps: int) -> None:
        super().__init__()
        self.set_exception_handler(lambda _loop, _context: None)
        self.ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self._time = BEGIN
        self._most_steps = most_steps
        self.steps = 0
        self.tasks: list[asyncio.Task] = []
        self._over = False
        self.halt: Exception | None = None

    def time(self) -> float:
        # Time passes while code runs, if little: who waits for a moment that rounding has put the
        # smallest number ahead would otherwise try for ever.
        self._time += 1e-6
        return self._time

    def call_soon(self, callback, *args, context=None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._over:
            self.ready.append(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None) -> asyncio.TimerHandle:
        return self.call_at(self._time + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._over:
            heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def take_timers_of(self, process: Process) -> list[asyncio.TimerHandle]:
        """Stop the timers of a process."""
        taken = [entry for entry in self._timers if entry[2]._context.get(PROCESS) is process]
        self._timers = [entry for entry in self._timers if entry not in taken]
        heapq.heapify(self._timers)
        return [handle for _, _, handle in sorted(taken)]

    def put_timers_back(self, handles: list[asyncio.TimerHandle], later: float) -> None:
        """Start timers again that have stood still for so long."""
        for handle in handles:
            heapq.heappush(self._timers, (handle.when() + later, next(self._order), handle))

    def outside(self, delay: float, callback, *args) -> None:
        """Have the world do something: no process, so nobody's death stops it."""
        self.call_at(self._time + delay, callback, *args, context=_OUTSIDE.copy())

    def create_task(self, coroutine, *, name=None, context=None) -> asyncio.Task:
        task = asyncio.Task(coroutine, loop=self, name=name, context=context)
        task._log_destroy_pending = False
        self.tasks.append(task)
        return task

    def _timer_handle_cancelled(self, handle) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen) -> None:
        """The dead have no say: what they were listing is dropped."""

    def _run_once(self) -> None:
        ready = self.ready
        if not ready:
            timers = self._timers
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if not timers:
                raise RuntimeError("everything waits for what no timer will bring: deadlock")
            self._time = max(self._time, timers[0][0])
            while timers and timers[0][0] <= self._time:
                ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None:
                if not process.alive:
                    continue
                if process.held is not None:
                    process.held.append(handle)
                    continue
            self.steps += 1
            handle._run()
            if self.halt is not None:
                raise self.halt
        if self.steps > self._most_steps:
            raise Runaway(f"{self.steps} steps")
        if len(self.tasks) > 2_000:
            self.tasks = [task for task in self.tasks if not task.done()]

    def bury(self) -> None:
        """Take down what is left without letting any of it have an effect."""
        self._over = True
        for task in self.tasks:
            if not task.done():
                # The dead have no say: what they still begin finds no running loop, and goes with
                # the error that says so, before warnings are heard again.
                with warnings.catch_warnings(), contextlib.suppress(BaseException):
                    warnings.simplefilter("ignore", RuntimeWarning)
                    task.get_coro().close()
        self.ready.clear()
        self._timers.clear()
        self.close()


_OUTSIDE = contextvars.copy_context()
