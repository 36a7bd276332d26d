"""How a command line program of the local stack runs and ends: by itself, or by a signal.

Ctrl-C, SIGTERM (`make local-down`, a CI system) and SIGHUP (a closed terminal) all cancel the
program's one task, which then ends what it started, in order. A second one cuts that short; the
guard ends the rest.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_interrupted(work: Coroutine[Any, Any, int]) -> int | None:
    """Run the program; returns its exit code, or None when a signal ended it."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(work)
        for number in SIGNALS:
            loop.add_signal_handler(number, task.cancel)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            return None
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
