"""Running what is not trusted: as a unit of systemd, or as a plain child where there is none."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .settings import MIB, Machine
from .state import Journal, complain

SINK_BYTES = 64 * 1024  # of a line that never ends


class AppFailed(Exception):
    """The app came to an end that the operator tells apart by `reason`."""

    def __init__(self, reason: str, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.exit_code = exit_code


APP_UNIT = "spawnai-app"
WEB_UNIT = "spawnai-web"
# Made with the packages. The first owns the app's files and nothing else, the second Caddy's.
APP_USER = "spawnai-app"
WEB_USER = "spawnai-web"

# No new rights, nothing of the system to write to, no other user's processes or files to see.
SANDBOX = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "PrivateDevices=yes",
    "PrivateTmp=yes",
    "PrivateIPC=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0022",
    "LimitCORE=0",
    "OOMPolicy=kill",
    "TimeoutStopSec=3",
    # Nothing runs unwatched: when the agent goes, this goes too.
    "BindsTo=spawnai-agent.service",
    "After=spawnai-agent.service",
)


class Process(Protocol):
    """One command and everything it started."""

    def poll(self) -> int | None:
        """The exit code once it has ended (128 and more: by a signal), else None."""

    def members(self) -> set[int]:
        """The ids of all its processes that live."""

    def kill(self) -> None:
        """End all of them, surely."""


class PlainProcess:
    """A child of the agent, for machines without systemd. Orphans stay the agent's descendants."""

    def __init__(
        self, command: list[str], folder: Path, environment: Mapping[str, str], log: "Sink"
    ) -> None:
        adopt_orphans()
        # Kinder to the agent than the agent is to itself, so that the agent always gets its turn.
        self._child = subprocess.Popen(
            ["nice", "-n", "5", *command],  # noqa: S607 - wherever the PATH has it
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._log = log
        log.follow(self._child)

    def poll(self) -> int | None:
        """See Process."""
        code = self._child.poll()
        return code if code is None or code >= 0 else 128 - code

    def members(self) -> set[int]:
        """See Process."""
        with CADDY_STARTS:
            found = descendants(os.getpid())
        for pid in found - {self._child.pid}:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return {pid for pid in found if is_alive(pid)}

    def kill(self) -> None:
        """See Process."""
        # Stopped first: a tree that forks faster than it is killed would otherwise outrun this.
        stopped: set[int] = set()
        deadline = time.monotonic() + 10
        while (found := self.members()) and time.monotonic() < deadline:
            if found <= stopped:
                for pid in found:
                    send(pid, signal.SIGKILL)
                time.sleep(0.01)
            for pid in found - stopped:
                send(pid, signal.SIGSTOP)
            stopped |= found
            self._child.poll()
        self._child.wait()
        self._log.drain()


class UnitProcess:
    """A transient unit of systemd: the sandbox, the limits and the end are systemd's work."""

    def __init__(
        self,
        unit: str,
        properties: list[str],
        command: list[str],
        environment: Mapping[str, str],
        log: "Sink",
    ) -> None:
        self._unit = unit
        self._group: Path | None = None
        systemctl("stop", unit)
        systemctl("reset-failed", unit)
        options = [f"--property={value}" for value in properties]
        options += [f"--setenv={name}={value}" for name, value in environment.items()]
        run = ["systemd-run", "--quiet", "--wait", "--pipe", f"--unit={unit}", *options, "--"]
        self._child = subprocess.Popen(
            [*run, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._log = log
        log.follow(self._child)

    def poll(self) -> int | None:
        """See Process."""
        code = self._child.poll()
        if code in {None, 0}:
            return code
        # systemd-run says only that the unit failed when a signal ended it.
        said = systemctl("show", self._unit, "--property=ExecMainCode,ExecMainStatus")
        values = dict(line.partition("=")[::2] for line in said.splitlines())
        by_signal = values.get("ExecMainCode") in {"2", "3"}  # CLD_KILLED, CLD_DUMPED
        status = values.get("ExecMainStatus", "")
        return (128 if by_signal else 0) + int(status) if status.isdigit() else code

    def members(self) -> set[int]:
        """See Process."""
        if self._group is None:
            path = systemctl("show", self._unit, "--property=ControlGroup", "--value").strip()
            trees = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd")
            groups = [Path(f"{tree}{path}/cgroup.procs") for tree in trees if path]
            self._group = next((group for group in groups if group.exists()), None)
        try:
            return {int(pid) for pid in self._group.read_text().split()} if self._group else set()
        except OSError:
            return set()

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def wait(self) -> None:
        """Until it has ended."""
        self._child.wait()

    def kill(self) -> None:
        """See Process."""
        systemctl("kill", "--signal=KILL", self._unit)
        systemctl("stop", self._unit)
        self._child.kill()
        self._child.wait()
        self._log.drain()


def systemctl(*arguments: str) -> str:
    """What it prints; its failures show in what happens next."""
    run = ["systemctl", *arguments]
    try:
        return subprocess.run(run, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.SubprocessError) as error:
        complain(f"{' '.join(run)}: {error}")
        return ""


class Sink:
    """Takes what a process and its children print, line by line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._thread = threading.Thread()

    def follow(self, child: "subprocess.Popen[bytes]") -> None:
        """Read until the last process that could print has ended."""
        self._thread = threading.Thread(target=self._read, args=(child.stdout,), daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """Wait for what was printed last; all who could print have ended."""
        self._thread.join(2)

    def _read(self, pipe: Any) -> None:
        rest = b""
        with pipe:
            while chunk := pipe.read1(SINK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) >= SINK_BYTES:
                    lines, rest = [*lines, rest], b""
                if lines:
                    self._write("\n".join(line.decode("utf-8", "replace") for line in lines))
        if rest:
            self._write(rest.decode("utf-8", "replace"))


# Caddy is the agent's child too, but not the app's; the lock holds while it is being started.
CADDY_PROCESSES: set[int] = set()
CADDY_STARTS = threading.Lock()


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants, so that none is lost sight of."""
    import ctypes  # noqa: PLC0415 - 10 ms and 1 MiB that a droplet with systemd saves

    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def descendants(root: int) -> set[int]:
    """Every process below this one. Each thread has a list of the children it forked (proc(5))."""
    found: set[int] = set()
    to_visit = [root]
    while to_visit:
        pid = to_visit.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    children = (task / "children").read_text().split()
                    new = {int(child) for child in children} - found - CADDY_PROCESSES
                    found |= new
                    to_visit.extend(new)
    return found


def is_alive(pid: int) -> bool:
    """Whether it still runs; a zombie only waits to be counted."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def send(pid: int, number: int) -> None:
    """A signal to a process that may have just ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def resident_bytes(pid: int) -> int:
    """Memory that is this process's own: resident pages less the shared ones (proc(5), statm)."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def folder_bytes(folder: Path) -> int:
    """Disk space that a folder takes, links not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).lstat().st_blocks * 512
    return total


def kernel_kills() -> int:
    """How often the kernel has killed a process because memory was short (vmstat)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


class Watched:
    """A process of the app under the same limits on every machine."""

    def __init__(self, process: Process, machine: Machine, folders: list[Path]) -> None:
        self.process = process
        self._machine = machine
        self._folders = folders
        self._kills_before = kernel_kills()
        self._next_disk_check = 0.0

    def check(self) -> None:
        """Kill it all and raise AppFailed when it has taken more than its share."""
        try:
            self._check_limits()
        except AppFailed:
            self.process.kill()
            raise

    def _check_limits(self) -> None:
        limit = self._machine
        members = self.process.members()
        if len(members) > limit.processes:
            raise AppFailed(
                "TooManyProcesses",
                f"the app has {len(members)} processes; {limit.processes} is the limit",
            )
        memory = sum(map(resident_bytes, members))
        if memory > limit.memory_bytes:
            raise AppFailed(
                "OutOfMemory",
                f"the app uses {memory // MIB} MiB of memory of {limit.memory_bytes // MIB}",
            )
        now = time.monotonic()
        if now < self._next_disk_check:
            return
        disk = sum(map(folder_bytes, self._folders))
        free = shutil.disk_usage(self._folders[0]).free
        # Looking takes longer the more files there are: at most 2 % of the time goes into it.
        self._next_disk_check = time.monotonic() + max(0.5, 50 * (time.monotonic() - now))
        if disk > limit.disk_bytes or free < 64 * MIB:
            raise AppFailed(
                "DiskFull",
                f"the app's files take {disk // MIB} MiB of {limit.disk_bytes // MIB}, "
                f"and {free // MIB} MiB of the disk are free",
            )

    def was_killed_for_memory(self, code: int) -> bool:
        """Whether the kernel ended it; it says only how often it has done so in all."""
        return code == 128 + signal.SIGKILL and kernel_kills() > self._kills_before

    def death(self, code: int, journal: Journal) -> AppFailed:
        """Why it ended by itself. What it left behind is ended too: it may hold the port."""
        self.process.kill()
        killed = self.was_killed_for_memory(code)
        # V8 gives up by itself at its heap's limit and says so; Python raises.
        gave_up = any("JavaScript heap out of memory" in line for line in journal.lines()[-50:])
        if killed or gave_up:
            return AppFailed("OutOfMemory", f"the app ran out of memory (exit code {code})", code)
        return AppFailed("AppCrashed", f"the app ended with exit code {code}", code)
