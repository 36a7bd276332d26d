"""`make local-down`: end what `make local` started, also when that was killed, and check it."""

import asyncio
import os
import signal
import sys
import time

from spawnai_local.narration import Narrator
from spawnai_local.paths import PROBLEM_FILE, local_directory
from spawnai_local.processes import end_leftovers, running_pid

# As long as ending all sessions of a cluster that goes on may take, and the parts after that.
_ORDERLY_END_SECONDS = 240.0


def main() -> None:
    """Run the command; exit code 1 when something would not end."""
    narrator = Narrator()
    directory = local_directory()
    pid = running_pid(directory / "stack.pid")
    if pid is not None:
        narrator.say(f"Ending the stack of {directory} (pid {pid}).")
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _ORDERLY_END_SECONDS
        while running_pid(directory / "stack.pid") == pid:
            if time.monotonic() > deadline:
                narrator.warn(
                    f"It did not end within {_ORDERLY_END_SECONDS:.0f} s and is killed now. What "
                    "it was doing stands in its terminal."
                )
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.1)
    left = asyncio.run(end_leftovers(directory))
    if left:
        narrator.say(f"{left} processes that an earlier stack left there were ended.")
    if asyncio.run(end_leftovers(directory, limit_seconds=1.0)):
        narrator.warn(f"Processes of {directory} still run; look with `ps -ef`.")
        sys.exit(1)
    problem = directory / PROBLEM_FILE
    if pid is not None and problem.exists():
        narrator.warn(problem.read_text())
        sys.exit(1)
    if pid is None and not left:
        narrator.say(f"Nothing was running in {directory}.")
    else:
        narrator.say("Nothing is left running.")


if __name__ == "__main__":
    main()
