"""How a command line program of the local stack runs and ends: by itself, or by a signal.

Ctrl-C, SIGTERM (`make local-down`, a CI system) and SIGHUP (a closed terminal) all cancel the
program's one task, which then ends what it started, in order. Several of them often come at once
(a closed terminal sends one, and `make` another), and mean the same. Only another Ctrl-C, a while
later, comes from an impatient person: it cuts the end short, and the guard ends the rest.
"""

import asyncio
import signal
import time
from collections.abc import Coroutine
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_IMPATIENT_AFTER_SECONDS = 1.0


def run_until_interrupted(work: Coroutine[Any, Any, int]) -> int | None:
    """Run the program; returns its exit code, or None when a signal ended it."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(work)
        interrupted_at: float | None = None

        def interrupt(number: signal.Signals) -> None:
            nonlocal interrupted_at
            now = time.monotonic()
            if interrupted_at is None:
                interrupted_at = now
                task.cancel()
            elif number == signal.SIGINT and now - interrupted_at > _IMPATIENT_AFTER_SECONDS:
                task.cancel()

        for number in SIGNALS:
            loop.add_signal_handler(number, interrupt, number)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            return None
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
