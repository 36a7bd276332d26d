"""Running what is not trusted: as a unit of systemd, or as a plain child where there is none."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from .settings import MIB, PATH, Machine
from .state import complain

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

LISTEN = "0A"  # a state in /proc/net/tcp

# Private networks, the droplet's neighbours, and the metadata service, where any process may read
# user_data with the agent's keys in it. Loopback is the app's own.
NOT_FOR_APPS = (
    "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 fc00::/7 fe80::/10"
)

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

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""

    def kill(self) -> None:
        """End all of it, surely."""


class PlainProcess:
    """A child of the agent, for machines without systemd. Orphans stay the agent's descendants."""

    # Caddy and each command are the agent's children; what else is one is an orphan of a command.
    _children: ClassVar[dict[int, str]] = {}
    _lock = threading.Lock()

    def __init__(
        self, command: list[str], folder: Path, environment: Mapping[str, str], log: "Sink"
    ) -> None:
        _adopt_orphans()
        with self._lock:
            self._child = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            # What an orphan is known by: no two commands that run at once have the same HOME.
            self._mark = f"HOME={environment.get('HOME', '')}"
            self._children[self._child.pid] = self._mark
        self._log = log
        log.follow(self._child)

    def poll(self) -> int | None:
        """See Process."""
        code = self._child.poll()
        return code if code is None or code >= 0 else 128 - code

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def wait(self) -> None:
        """Until it has ended."""
        self._child.wait()
        with self._lock:
            self._children.pop(self._child.pid, None)

    def members(self) -> set[int]:
        """See Process."""
        with self._lock:
            known = dict(self._children)
            orphans = children_of(os.getpid()) - set(known)
        known.pop(self._child.pid, None)
        mine = {pid for pid in orphans if self._is_mine(pid, known)}
        for pid in mine:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        found = mine | {self._child.pid}
        to_visit = set(found)
        while to_visit:
            new = children_of(to_visit.pop()) - found
            found |= new
            to_visit |= new
        return {pid for pid in found if is_alive(pid)}

    def _is_mine(self, orphan: int, others: Mapping[int, str]) -> bool:
        """By the HOME it was started with; one without is everyone's: its end is nobody's loss."""
        try:
            said = Path(f"/proc/{orphan}/environ").read_bytes().decode("utf-8", "replace")
        except OSError:
            return False
        words = said.split("\0")
        return self._mark in words or not any(mark in words for mark in others.values())

    def terminate(self) -> None:
        """See Process."""
        send(self._child.pid, signal.SIGTERM)

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
        self.wait()
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

    def terminate(self) -> None:
        """See Process."""
        systemctl("kill", "--signal=TERM", self._unit)

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


def _adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants, so that none is lost sight of."""
    import ctypes  # noqa: PLC0415 - 10 ms and 1 MiB that a droplet with systemd saves

    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def children_of(pid: int) -> set[int]:
    """Its children. Each thread has a list of those it forked (proc(5))."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found |= {int(child) for child in (task / "children").read_text().split()}
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


class Launcher:
    """Starts what belongs to the app, in the sandbox and under the limits of this machine."""

    def __init__(self, machine: Machine, secrets: Path) -> None:
        self._machine = machine
        self._secrets = secrets
        self.environment: dict[str, str] = {}
        """What the app's owner gives it (`secrets` is the same as a file for systemd)."""

    def start(
        self,
        name: str,
        command: list[str],
        folders: "Folders",
        environment: Mapping[str, str],
        write: Callable[[str], None],
        *,
        with_secrets: bool,
    ) -> "Watched":
        """Start a command in the app's folder. `name` tells units that run at once apart."""
        machine = self._machine
        variables = {
            "PATH": os.environ.get("PATH", PATH),
            "LANG": "C.UTF-8",
            "HOME": str(folders.scratch),
            "TMPDIR": str(folders.scratch),
            "DATA_DIR": str(folders.data),
            **environment,
        }
        sink = Sink(write)
        if machine.run_app_with != "systemd":
            # Kinder to the agent than the agent is to itself, so that the agent gets its turn.
            command = ["nice", "-n", "5", *command]
            own = self.environment if with_secrets else {}
            process: Process = PlainProcess(command, folders.app, own | variables, sink)
            return Watched(process, machine, folders)
        properties = [
            *SANDBOX,
            f"User={APP_USER}",
            f"Group={APP_USER}",
            f"WorkingDirectory={folders.app}",
            f"ReadWritePaths={folders.app} {folders.scratch} {folders.data}",
            f"MemoryMax={machine.memory_bytes}",
            "MemorySwapMax=0",
            f"TasksMax={machine.processes * 4}",  # tasks are threads; Node.js has about ten
            f"LimitFSIZE={machine.disk_bytes}",
            f"IPAddressDeny={NOT_FOR_APPS}",
            "Nice=5",
            "OOMScoreAdjust=500",
        ]
        if with_secrets and self.environment:
            # Read by systemd itself: in no command line, and not in what `systemctl show` tells.
            properties.append(f"EnvironmentFile={self._secrets}")
        process = UnitProcess(f"{APP_UNIT}-{name}", properties, command, variables, sink)
        return Watched(process, machine, folders)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where one revision of an app lives. `data` is the same for all revisions."""

    app: Path
    scratch: Path
    data: Path

    def __iter__(self) -> Iterator[Path]:
        return iter((self.app, self.scratch, self.data))


class Watched:
    """A process of the app under the same limits on every machine."""

    def __init__(self, process: Process, machine: Machine, folders: Folders) -> None:
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
        free = shutil.disk_usage(self._folders.app).free
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

    def end(self, grace_seconds: float) -> None:
        """Ask it to end, and end it when it does not."""
        deadline = time.monotonic() + grace_seconds
        if self.process.poll() is None and grace_seconds:
            self.process.terminate()
            while self.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
        self.process.kill()

    def listening_ports(self) -> set[int]:
        """The TCP ports that any of its processes accepts connections at."""
        sockets = set()
        for pid in self.process.members():
            with contextlib.suppress(OSError):
                for entry in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        sockets.add(str(entry.readlink()))
        ports = set()
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == LISTEN and f"socket:[{fields[9]}]" in sockets:
                        ports.add(int(fields[1].rpartition(":")[2], 16))
        return ports
