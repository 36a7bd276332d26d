"""The queue of keys to look at, with the semantics of client-go's work queue, for asyncio.

What it promises, each with a test of that name:

* **Fair**: keys are handed out in the order in which they became due.
* **Stingy**: a key added many times before it is handed out is handed out once.
* **One worker per key**: no key is handed out again before `done` was called for it.
* **Nothing is lost**: a key added while it is being handled is handed out again after `done`.
* **On time**: a delayed key is ready within 5 ms of its time, and never before it.
* **The earliest time wins**: of several times asked for one key, it is ready at the first; a later
  one never postpones an earlier one. It may therefore be handed out with nothing to do yet.
* **Failures back off**: a handler's error is reported and its key comes back after 0.1 to 0.2 s,
  then twice that for every further failure, up to 2.5 to 5 s; success starts afresh. An error that
  names a longer wait itself (`pause_of`) gets it.
* **Rest is free**: waiting keys cost one entry in a heap and one timer in all, no task each and no
  polling; entries made stale by an earlier time never outnumber the live ones.

Everything here must be called from the event loop's own thread.
"""

import asyncio
import heapq
import itertools
import logging
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from spawnai import background
from spawnai.clock import Clock

_LOGGER = logging.getLogger(__name__)

# The wait before the next try is drawn from half of its ceiling to all of it: never below 0.1 s,
# never above 5 s, and failures that began together drift apart. No longer, because the end of a
# session may wait here for an API server that is away: when it answers again, it is to go at once.
_FIRST_CEILING_SECONDS = 0.2
_LAST_CEILING_SECONDS = 5.0

# Below this many stale entries a rebuild of the heap costs more than it frees.
_STALE_ENTRIES_TOLERATED = 64


def log_failure(
    key: str,
    error: BaseException,
    failures: int,
    *,
    is_expected: Callable[[BaseException], bool] = lambda _: False,
) -> None:
    """Say in the log which key failed, and how.

    A key that goes on failing is told ever more rarely: the 1st time, the 2nd, the 4th, the 8th.
    The traceback comes with the first, unless the text of the error says all.
    """
    if failures & (failures - 1):
        _LOGGER.debug("Handling %s failed again (%d times): %s", key, failures, error)
    elif failures > 1:
        _LOGGER.warning("Handling %s failed again (%d times): %s", key, failures, error)
    elif is_expected(error):
        _LOGGER.warning("Handling %s failed, trying again: %s", key, error)
    else:
        _LOGGER.error("Handling %s failed, trying again", key, exc_info=error)


class WorkQueue:
    """Keys that want to be looked at, now or at a time.

    Args:
        clock: what the delays are measured by.
        random: draws the jitter of the backoff.
        on_failure: told the key, the error and how many times in a row it is now, whenever a
            handler given to `run` fails; logs by default. It must not raise.
        pause_of: the seconds that an error itself asks to be waited for; None: none.
    """

    def __init__(
        self,
        clock: Clock,
        random: random.Random,
        *,
        on_failure: Callable[[str, BaseException, int], None] = log_failure,
        pause_of: Callable[[BaseException], float | None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._on_failure = on_failure
        self._pause_of = pause_of
        # Keys that a worker may take, oldest first, with the time they became ready.
        # No key is both here and in _handling.
        self._ready: OrderedDict[str, float] = OrderedDict()
        # Keys handed out and not done yet, with the time they were handed out.
        self._handling: dict[str, float] = {}
        # Keys of _handling that were added meanwhile, and go to _ready when they are done.
        self._again: dict[str, float] = {}
        # When each delayed key is due. An entry of the heap that says otherwise is stale.
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._failures: dict[str, int] = {}
        # The one timer, and the moment it will go off.
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = float("inf")
        self._takers: deque[asyncio.Future[None]] = deque()
        self._served_since: float | None = None

    # --- adding -------------------------------------------------------------------------------

    def add(self, key: str) -> None:
        """Have `key` handled as soon as a worker is free."""
        if key in self._ready or key in self._again:
            return
        if key in self._handling:
            self._again[key] = self._clock.now()
            return
        self._make_ready(key, self._clock.now())

    def add_after(self, key: str, delay_seconds: float) -> None:
        """Have `key` handled in `delay_seconds`; at once where that is zero or less."""
        self.add_at(key, self._clock.now() + delay_seconds)

    def add_at(self, key: str, monotonic: float) -> None:
        """Have `key` handled when the clock's monotonic seconds reach `monotonic`, or earlier if
        an earlier time was asked for before.
        """
        if monotonic <= self._clock.now():
            self.add(key)
            return
        if self._due.get(key, float("inf")) <= monotonic:
            return
        self._due[key] = monotonic
        heapq.heappush(self._heap, (monotonic, next(self._order), key))
        self._drop_stale_entries()
        if monotonic < self._alarm_at:
            self._set_alarm()

    def add_rate_limited(self, key: str, at_least_seconds: float = 0.0) -> None:
        """Have `key` handled after the wait that its failures so far have earned it."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The power is bounded, or a key that fails for a week would overflow a float.
        ceiling = min(_FIRST_CEILING_SECONDS * 2 ** min(failures, 32), _LAST_CEILING_SECONDS)
        self.add_after(key, max(self._random.uniform(ceiling / 2, ceiling), at_least_seconds))

    def forget(self, key: str) -> None:
        """Start the backoff of `key` afresh. Times already asked for it stand."""
        self._failures.pop(key, None)

    # --- taking -------------------------------------------------------------------------------

    async def get(self) -> str:
        """Wait for a key and take it; `done` must follow."""
        if self._served_since is None:
            self._served_since = self._clock.now()
        while not self._ready:
            await self._wait_for_news()
        key, _ = self._ready.popitem(last=False)
        self._handling[key] = self._clock.now()
        return key

    def done(self, key: str) -> None:
        """Give back a key taken with `get`. It is handed out again if it was added meanwhile."""
        if self._handling.pop(key, None) is None:
            raise ValueError(f"{key!r} was not taken from the queue, so it cannot be done")
        since = self._again.pop(key, None)
        if since is not None:
            self._make_ready(key, since)

    async def run(self, workers: int, handle: Callable[[str], Awaitable[None]]) -> None:
        """Handle keys with `workers` at a time until cancelled.

        A normal return of `handle` forgets the key's failures, unless `handle` itself asked for
        `add_rate_limited`. An error is told to `on_failure` and the key is added rate-limited.
        Cancelling `run` cancels the handlers under way and leaves the waiting keys where they are.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(handle), name=f"work-queue-worker-{number}")

    # --- being looked at ----------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """How many keys wait for a worker, without those that are being handled."""
        return len(self._ready) + len(self._again)

    @property
    def delayed(self) -> int:
        """How many keys have a time to come."""
        return len(self._due)

    @property
    def oldest_wait_seconds(self) -> float:
        """How long the key that has been ready longest has waited for a worker; 0 without one."""
        if not self._ready:
            return 0.0
        return max(0.0, self._clock.now() - next(iter(self._ready.values())))

    def stuck(self, limit_seconds: float) -> str | None:
        """Say in a sentence why the queue no longer moves, or None while it does.

        Stuck is: a key has been ready, or in one worker's hands, or past its time without becoming
        ready, for longer than `limit_seconds`. A queue that nobody has taken from yet (the operator
        does not lead) is not stuck, whatever waits in it.
        """
        if self._served_since is None:
            return None
        now = self._clock.now()
        suspects: list[tuple[float, str]] = []
        if self._ready:
            key, since = next(iter(self._ready.items()))
            suspects.append((since, f"{key} has waited {{age:.0f}} s for a worker"))
        if self._handling:
            key, since = next(iter(self._handling.items()))
            suspects.append((since, f"a worker has been busy with {key} for {{age:.0f}} s"))
        if self._heap:
            due, _, key = self._heap[0]
            suspects.append((due, f"{key} was due {{age:.0f}} s ago and has not become ready"))
        for since, sentence in suspects:
            age = now - max(since, self._served_since)
            if age > limit_seconds:
                return f"{sentence.format(age=age)} (limit {limit_seconds:.0f} s)"
        return None

    # --- inside -------------------------------------------------------------------------------

    async def _work(self, handle: Callable[[str], Awaitable[None]]) -> None:
        while True:
            key = await self.get()
            failures = self._failures.get(key, 0)
            try:
                await handle(key)
            except Exception as error:  # noqa: BLE001 - whatever one key does, the others go on
                self._fail(key, error)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Something the handler waited for was cancelled, not this worker: a worker that
                # ended here would be missing for good.
                self._fail(key, error)
            else:
                if self._failures.get(key, 0) == failures:
                    self.forget(key)
            finally:
                self.done(key)

    def _fail(self, key: str, error: BaseException) -> None:
        self.add_rate_limited(key, self._pause_of(error) or 0.0)
        try:
            self._on_failure(key, error, self._failures[key])
        except Exception:
            _LOGGER.exception("Reporting the failure of %s failed.", key)

    def _make_ready(self, key: str, since: float) -> None:
        self._ready[key] = since
        self._wake_one()

    def _wake_one(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    async def _wait_for_news(self) -> None:
        taker = asyncio.get_running_loop().create_future()
        self._takers.append(taker)
        try:
            await taker
        except asyncio.CancelledError:
            # Woken and cancelled at once: the key this taker was woken for is another's now.
            if taker.done() and not taker.cancelled():
                if self._ready:
                    self._wake_one()
            elif taker in self._takers:
                self._takers.remove(taker)
            raise

    def _drop_stale_entries(self) -> None:
        if len(self._heap) > 2 * len(self._due) + _STALE_ENTRIES_TOLERATED:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = self._heap[0][0]
        self._alarm = background.once(self._ring(), name="work-queue-alarm")

    async def _ring(self) -> None:
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
                continue
            wait = due - self._clock.now()
            if wait > 0:
                self._alarm_at = due
                await self._clock.sleep(wait)
                continue
            heapq.heappop(self._heap)
            del self._due[key]
            self.add(key)
        self._alarm = None
        self._alarm_at = float("inf")
