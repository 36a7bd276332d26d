"""Child processes with a log, a pid file, an orderly end, and a restart when they die.

Promises:
- a child dies with the process that started it, however that one ends (parent-death signal);
- stopping is SIGTERM to the child, then, after a limit, SIGKILL to it and all it started;
- the pid file exists exactly while the child runs, and holds its pid and nothing else;
- a child with a restart policy comes back by itself, later each time, as under a kubelet;
- what a killed parent left behind can be found and ended (`end_leftovers`): every child carries the
  directory it was started for in its environment, and hands it to its own children.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

_ANSWER_SECONDS = 2.0
"""How long one look waits for a process that is on its way up."""

MARK = "SPAWNAI_PROCESS_DIRECTORY"
"""The environment variable that says which directory a process was started for."""

# Runs in place of the program for a moment, then becomes it: same pid. PR_SET_PDEATHSIG is 1. The
# parent may have died before the call took effect; then nobody would ever send the signal.
_BIND_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[3:])
"""

# Below Linux's ephemeral range (32768 and up): a port that is free stays free while its server
# restarts, because no outgoing connection is ever given it.
_PORTS = range(20_000, 32_000)

_LOOK_SECONDS = 0.1


def bound_to_this_process(program: str, command: Sequence[str]) -> tuple[str, ...]:
    """What to start so that `program`, with the arguments `command` (its name first), is killed
    when the thread that starts it ends, in whatever way.
    """
    return (
        *(sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, str(os.getpid()), program),
        *command,
    )


class ProcessError(Exception):
    """A child process could not be started, or ended before it was ready."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a child that died is started again.

    The first time at once, then after a delay that doubles from `first_delay_seconds` up to
    `longest_delay_seconds`; a child that ran for `reset_after_seconds` starts over. A kubelet does
    the same with 10 s, 300 s and 600 s; the defaults suit a person who watches.
    """

    first_delay_seconds: float = 1.0
    longest_delay_seconds: float = 30.0
    reset_after_seconds: float = 60.0

    def delay_seconds(self, deaths: int) -> float:
        """How long to wait before the start that follows this many deaths in a row (1 or more)."""
        if deaths <= 1:
            return 0.0
        doublings = min(deaths - 2, 30)
        return min(self.first_delay_seconds * 2.0**doublings, self.longest_delay_seconds)


class ChildProcess:
    """One program run as a child; its files are `<directory>/<name>.log` and `<name>.pid`.

    Use it within one event loop. `environment` is added to this process's own; `stop_seconds` is
    how long it may take to end after SIGTERM.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
        stop_seconds: float = 10.0,
        restart: RestartPolicy | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(str(part) for part in command)
        self.directory = directory
        self.log_path = directory / f"{name}.log"
        self.pid_path = directory / f"{name}.pid"
        self.starts = 0
        self.returncode: int | None = None
        self._environment = dict(environment or {})
        self._working_directory = working_directory
        self._stop_seconds = stop_seconds
        self._restart = restart
        self._process: asyncio.subprocess.Process | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The pid while it runs, else None."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it; returns as soon as it runs, which is not yet when it is ready.

        Raises:
            ProcessError: it runs already, or the program does not exist.
        """
        if self._supervision is not None and not self._supervision.done():
            message = f"{self.name} runs already (pid {self.pid}); stop it before starting it again"
            raise ProcessError(message)
        self._stopping = False
        await self._spawn()
        self._supervision = asyncio.create_task(self._supervise(), name=f"supervise {self.name}")

    async def stop(self) -> None:
        """End it and everything it started, and do not start it again. Safe to call twice."""
        self._stopping = True
        if self._process is not None:
            _signal(self._process.pid, signal.SIGTERM)
        await self._until_ended(self._stop_seconds)

    async def kill(self) -> None:
        """End it at once with SIGKILL, as a crash or a power cut would; no restart follows."""
        self._stopping = True
        await self._until_ended(0.0)

    async def wait(self) -> int:
        """Wait until it has ended for good (with a restart policy: until it is stopped).

        Returns the exit code of its last run, negative for a signal.
        """
        if self._supervision is not None:
            await asyncio.shield(self._supervision)
        if self.returncode is None:
            message = f"{self.name} was never started"
            raise ProcessError(message)
        return self.returncode

    async def wait_until_ready(
        self,
        is_ready: Callable[[], Awaitable[bool | str]],
        *,
        limit_seconds: float,
        interval_seconds: float = 0.1,
    ) -> None:
        """Ask `is_ready` again and again until it says yes; a text says what is wrong yet.

        Raises:
            ProcessError: it ended, or the time was over; the message tells what was wrong last and
                ends with its last log lines.
        """
        deadline = time.monotonic() + limit_seconds
        while (answer := await is_ready()) is not True:
            wrong = f" (last: {answer})" if answer else ""
            if self._supervision is None or self._supervision.done():
                message = f"{self.name} ended with code {self.returncode} before it was ready"
                raise ProcessError(self._with_log(message + wrong))
            if time.monotonic() > deadline:
                message = f"{self.name} was not ready within {limit_seconds:.0f} s{wrong}"
                raise ProcessError(self._with_log(message))
            await asyncio.sleep(interval_seconds)

    async def wait_until_answers(self, url: str, *, limit_seconds: float) -> None:
        """Ask a URL again and again until it says yes.

        Raises:
            ProcessError: it ended, or the time was over.
        """
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get(url)).is_success
                except httpx.TransportError:
                    return False

            await self.wait_until_ready(is_ready, limit_seconds=limit_seconds)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, empty when there is none."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _with_log(self, message: str) -> str:
        return f"{message}. The end of {self.log_path}:\n{self.log_tail() or '(empty)'}"

    async def _spawn(self) -> None:
        program = shutil.which(self.command[0])
        if program is None:
            message = f"{self.name} cannot start: there is no program {self.command[0]!r}"
            raise ProcessError(message)
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self._environment, MARK: str(self.directory)}
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *bound_to_this_process(program, self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._working_directory,
                env=environment,
                # Its own group: Ctrl-C in a terminal reaches only the parent, which then ends its
                # children in order; and a KILL reaches all that a child started.
                start_new_session=True,
            )
        self.starts += 1
        self.pid_path.write_text(f"{self._process.pid}\n")

    async def _supervise(self) -> None:
        deaths = 0
        while self._process is not None:
            started = time.monotonic()
            self.returncode = await self._process.wait()
            _signal_group(self._process.pid, signal.SIGKILL)
            self._process = None
            self.pid_path.unlink(missing_ok=True)
            if self._stopping or self._restart is None:
                return
            if time.monotonic() - started >= self._restart.reset_after_seconds:
                deaths = 0
            deaths += 1
            await asyncio.sleep(self._restart.delay_seconds(deaths))
            await self._spawn()

    async def _until_ended(self, limit_seconds: float) -> None:
        supervision = self._supervision
        if supervision is None:
            return
        if self._process is None:
            supervision.cancel()  # waiting for its next start, or ended
        elif limit_seconds > 0:
            await asyncio.wait([supervision], timeout=limit_seconds)
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(asyncio.CancelledError):
            await supervision


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on at this address now.

    Chosen at random, so that several local clouds starting at once do not choose the same.
    """
    for _ in range(100):
        port = random.choice(_PORTS)  # noqa: S311 - no secret depends on it
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    message = f"no free TCP port between {_PORTS.start} and {_PORTS.stop} at {address}"
    raise ProcessError(message)


def running_pid(pid_path: Path) -> int | None:
    """The pid in a pid file if that very process still runs, else None.

    A pid is given again to another process after a while: one that started after the file was
    written is not the one it speaks of.
    """
    try:
        pid = int(pid_path.read_text())
        written = pid_path.stat().st_mtime
        started = _started_at(pid)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    clock_granularity_seconds = 2.0  # /proc/stat gives the boot time in whole seconds
    return pid if started <= written + clock_granularity_seconds else None


async def end_leftovers(
    directory: Path, *, dying_seconds: float = 0.0, limit_seconds: float = 10.0
) -> int:
    """End every process of this user started for `directory` or one below it, with its pid file.

    For what a parent killed with SIGKILL left behind. SIGTERM first, SIGKILL after the limit.
    Returns how many there were; what ends by itself within `dying_seconds` was ending already.
    """
    dead_by = time.monotonic() + dying_seconds
    while (found := _marked_processes(directory)) and time.monotonic() < dead_by:
        await asyncio.sleep(_LOOK_SECONDS)
    for pid in found:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + limit_seconds
    while (left := _marked_processes(directory)) and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    for pid_path in directory.glob("*.pid"):
        if running_pid(pid_path) is None:
            pid_path.unlink(missing_ok=True)
    return len(found)


def _marked_processes(directory: Path) -> list[int]:
    mark = f"{MARK}={directory}".encode()
    found = []

    def is_marked(variable: bytes) -> bool:
        return variable == mark or variable.startswith(mark + b"/")

    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or another user's
        if state != "Z" and any(map(is_marked, environment)):
            found.append(int(entry.name))
    return found


def _started_at(pid: int) -> float:
    """When a process started, in epoch seconds, from proc(5): field 22 of stat, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(pid)
    ticks = int(fields[19])
    boot_line = next(
        line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")
    )
    return int(boot_line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
