"""`make local` as a program of its own, used as a person in another terminal would."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from spawnai_local.paths import checkout
from spawnai_local.processes import bound_to_this_process

UP_SECONDS = 120.0
DOWN_SECONDS = 60.0


class Local:
    """One `make local`, in a directory of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "SPAWNAI_LOCAL_DIRECTORY": str(directory),
            "CLAUDE": "simulator",
            **environment,
        }
        self.output = directory.with_name(f"{directory.name}.output")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                of_this_run("spawnai_local.up"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def until_up(self) -> None:
        until(
            lambda: "Ready. In another terminal" in self.said or self.process.poll() is not None,
            what=lambda: f"the stack to be up; it said:\n{self.said}",
            limit_seconds=UP_SECONDS,
        )
        assert self.process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self.output.read_text()

    def shell(self, script: str, *, limit_seconds: float = 60.0) -> str:
        """What a person's other terminal prints. A command that fails fails the test."""
        answer = subprocess.run(
            ["sh", "-euc", f". {self.directory}/env\n{script}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            cwd=checkout(),
        )
        assert answer.returncode == 0, f"{script}\n{answer.stdout}{answer.stderr}"
        return answer.stdout

    def pid(self, part: str) -> int:
        return int((self.directory / f"{part}.pid").read_text())

    def down(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "spawnai_local.down"],
            check=False,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DOWN_SECONDS,
        )


def of_this_run(module: str) -> tuple[str, ...]:
    """How to start a program of ours that ends with the tests, however they end.

    Killed, it leaves the rest to its guard.
    """
    return bound_to_this_process(sys.executable, [sys.executable, "-m", module])


@contextlib.contextmanager
def local(directory: Path, **environment: str) -> Iterator[Local]:
    """Start it; at the end it is ended, and so is whatever it left."""
    running = Local(directory, **environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            running.process.wait(DOWN_SECONDS)
        running.down()


def until(holds: Callable[[], bool], *, what: Callable[[], str], limit_seconds: float) -> None:
    """Look again and again until it is so, or fail with what was waited for."""
    deadline = time.monotonic() + limit_seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {limit_seconds:.0f} s for {what()}"
        time.sleep(0.1)


def processes_of(directory: Path) -> list[str]:
    """Every process that was started for the directory, or works in it, or names it."""
    found = []
    wanted = str(directory).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            command = (entry / "cmdline").read_bytes()
            traces = (command, (entry / "environ").read_bytes(), bytes((entry / "cwd").readlink()))
        except (OSError, ProcessLookupError):
            continue
        # The program that is tested with this directory in its own environment is no part of it.
        if any(wanted in trace for trace in traces) and b"spawnai_local.up" not in command:
            found.append(f"{entry.name} {command.replace(bytes(1), b' ').decode()}")
    return found
