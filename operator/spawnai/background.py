"""Background tasks. Each is supervised: one that dies makes its process unhealthy.

An asyncio task that nobody waits for dies in silence, and the process goes on without its work. So
the product starts tasks here and nowhere else, except the children of a `TaskGroup`, whose errors
reach the one who waits for the group. `failure` says what died; every process's liveness probe asks
for it.
"""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

_LOGGER = logging.getLogger(__name__)

Result = TypeVar("Result")
Work = Coroutine[Any, Any, Result]


class EndedByItself(RuntimeError):
    """A task ended that was to run until it was cancelled."""


@dataclass(slots=True)
class _Supervised:
    """The background tasks of one event loop. Without a reference a task may be collected."""

    running: set[asyncio.Task[Any]] = field(default_factory=set)
    failure: str | None = None


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Supervised] = WeakKeyDictionary()


def forever(work: Work[None], *, name: str) -> asyncio.Task[None]:
    """Start what runs until it is cancelled. Any other end is its death."""
    return _start(work, name, may_return=False)


def once(work: Work[None], *, name: str) -> asyncio.Task[None]:
    """Start what ends by itself and handles its errors. An error that it lets through is its death,
    and so is a cancellation that nobody asked it for.
    """
    return _start(work, name, may_return=True)


def awaited(work: Work[Result], *, name: str) -> asyncio.Task[Result]:
    """Start what somebody waits for: its result and its errors are for whoever takes them."""
    return asyncio.get_running_loop().create_task(work, name=name)


async def until_one_ends(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait until one of them has ended; never returns.

    Raises:
        EndedByItself: it raised nothing. Else what it raised.
    """
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    raise EndedByItself(", ".join(sorted(task.get_name() for task in done)))


async def first_of(*works: Work[Any]) -> None:
    """Run them side by side until the first ends. The others are cancelled and not waited for.

    Raises what the first raised.
    """
    tasks = [awaited(work, name=getattr(work, "__qualname__", "work")) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()


def failure() -> str | None:
    """Which task of this event loop died first, in a sentence; None: none did."""
    return _supervised().failure


def running() -> frozenset[asyncio.Task[Any]]:
    """The supervised tasks of this event loop that have not ended."""
    return frozenset(_supervised().running)


def _supervised() -> _Supervised:
    return _of_loop.setdefault(asyncio.get_running_loop(), _Supervised())


def _start(work: Work[None], name: str, *, may_return: bool) -> asyncio.Task[None]:
    supervised = _supervised()
    task = asyncio.get_running_loop().create_task(work, name=name)
    supervised.running.add(task)

    def ended(task: asyncio.Task[None]) -> None:
        supervised.running.discard(task)
        if task.cancelled():
            is_dead, error = not task.cancelling(), None
        else:
            error = task.exception()
            is_dead = error is not None or not (may_return or task.cancelling())
        if not is_dead:
            return
        _LOGGER.critical("The background task %s died", name, exc_info=error)
        if supervised.failure is None:
            supervised.failure = f"the background task {name} died; see the log"

    task.add_done_callback(ended)
    return task
