"""A process that outlives the one that started it by a moment, and ends what that one left.

A parent that is killed with SIGKILL can end nothing itself. Its children die with it (see
`processes`), but a droplet's app is a grandchild of a grandchild. So a guard waits for the pipe
from its parent to close, which the kernel does however the parent ends, and then ends every
process that was started for the same directory.

Run as `python -m spawnai_local.guard DIRECTORY`, with a pipe as standard input.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from spawnai_local.processes import MARK, end_leftovers

_MOST = 250
_DYING_SECONDS = 1.0
"""A signal was sent, and a loaded machine has not come to it yet: its target is not forgotten."""


class Guard:
    """The guard of one directory, seen from the parent. Start it before any other process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Start the guard; it acts when this process ends, or when `stop` is called."""
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        return cls(
            subprocess.Popen(
                [sys.executable, "-m", "spawnai_local.guard", str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        )

    async def stop(self, limit_seconds: float = 15.0) -> int:
        """End everything of the directory that still runs, then the guard itself.

        Returns how many processes there were to end (250 stands for more, too): 0 after a stop
        that forgot nothing.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            return await asyncio.to_thread(self._process.wait, limit_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return _MOST


def main() -> None:
    """Wait for the end of standard input, then end what the directory's processes left.

    The exit code is how many there were.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the parent's end ends it
    sys.stdin.buffer.read()
    ending = end_leftovers(Path(sys.argv[1]), dying_seconds=_DYING_SECONDS, limit_seconds=5.0)
    sys.exit(min(_MOST, asyncio.run(ending)))


if __name__ == "__main__":
    main()
