"""The agent of one droplet: takes one app from the operator, runs it, and ends the droplet in time.

One file, standard library only, Python 3.11 or newer. Everything it reads and writes lies beside
it (on a droplet in /opt/spawnai), so a machine may have its root anywhere:

    session.json             what the operator decided for this droplet; never changed here
    agent.crt, agent.key     the certificate that the operator expects
    machine.env              optional: where this machine differs from a droplet (see Machine)
    packages                 "ok", or why the packages could not be installed
    bundle.json, state.json  the app that was taken, and how far it has come
    app/, scratch/           the running app's folder, and its HOME and temporary files
    site/, pages/            what Caddy serves of the app, and what it says while there is none

The doors, all of them:
    :8443 HTTPS   the operator's. Opened only after the token's hash has been read; whoever cannot
                  show the token gets 401 and nothing else, whatever they ask for.
    :80 HTTP      everyone's. Caddy's, under a user of its own that can read none of our secrets:
                  the app, and /health.
    loopback:8444 /health for Caddy to fetch; one word about the app, no secret.
The app listens on its own port, which the firewall keeps closed to the world.
"""

import contextlib
import hashlib
import hmac
import html
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import stat
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

VERSION = "1"
BASE = Path(__file__).resolve().parent
HEALTH_HEADER = "X-SpawnAI-Agent"
AFTER_HEADER = "X-SpawnAI-After"
AFTER_SECONDS = 5.0  # how long an answer may wait for news
MIB = 1024 * 1024
PATH = "/usr/local/bin:/usr/bin:/bin"

BODY_MAX_BYTES = 4 * MIB  # a bundle has at most 1 MiB of files; JSON escapes them up to 4 times
FILES_MAX = 100
PATH_MAX_CHARACTERS = 200
LOG_LINES = 100
LOG_LINE_CHARACTERS = 1000
LOG_FILE_BYTES = 512 * 1024  # and as much again in the file before it
CONNECTIONS_MAX = 64  # one operator needs two; the rest is for those who knock in vain
CONNECTIONS_MAX_PER_CALLER = 8  # so that no stranger alone can keep the operator out
HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 75.0
SINK_BYTES = 64 * 1024  # of a line that never ends
OFFERED_FILES_MAX = 200  # of the files a script made
OFFERED_BYTES_MAX = 64 * MIB


# --- What this droplet is for, and where it runs ---------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """What the operator decided: session.json. `expires_at` is only the first expiry."""

    app_type: str
    token_sha256: str
    expires_at: float
    grace_seconds: float

    @staticmethod
    def read(path: Path) -> "Session":
        """Read it, or raise: without it nothing may be opened, so nothing is assumed."""
        document = json.loads(path.read_text("utf-8"))
        session = Session(
            app_type=str(document["appType"]),
            token_sha256=str(document["tokenSha256"]),
            expires_at=float(document["expiresAt"]),
            grace_seconds=float(document["graceSeconds"]),
        )
        if not re.fullmatch("[0-9a-f]{64}", session.token_sha256):
            raise ValueError(f"{path}: tokenSha256 is not 64 hexadecimal digits")
        if session.app_type not in {"webapp", "api", "script"}:
            raise ValueError(f"{path}: appType {session.app_type!r} is not webapp, api or script")
        return session


EVERYWHERE = "0.0.0.0"  # noqa: S104 - the operator and the app's users come from outside


class Machine(NamedTuple):
    """Where the agent runs. machine.env may set each of these, by its name in capitals."""

    bind_address: str = EVERYWHERE
    http_port: int = 80
    agent_port: int = 8443
    app_port: int = 3000
    run_app_with: str = "systemd"  # or "process": a plain child, where there is no systemd
    poweroff_command: str = "systemctl poweroff"
    memory_bytes: int = 0  # that the app may use; 0: by what the machine has
    disk_bytes: int = 0  # the same
    processes: int = 128
    packages_seconds: float = 600.0
    install_seconds: float = 180.0
    answer_seconds: float = 60.0
    script_seconds: float = 300.0
    restarts: int = 5  # so many deaths are forgiven ...
    restart_window_seconds: float = 600.0  # ... within this time
    restart_delay_seconds: float = 1.0  # doubled with each of them

    @staticmethod
    def read(path: Path, ports: Mapping[str, Any]) -> "Machine":
        """The defaults, the ports of session.json, then machine.env (NAME=value lines)."""
        given = {name: ports[key] for name, key in PORT_KEYS.items() if key in ports}
        if path.exists():
            lines = (line.partition("=") for line in path.read_text("utf-8").splitlines())
            given |= {name.strip().lower(): value for name, _, value in lines if value}
        defaults = Machine()._asdict()
        machine = Machine(
            **{name: type(defaults[name])(given[name]) for name in defaults if name in given}
        )
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        # The system, Caddy and the agent need about 300 MiB; on a small droplet half is fair.
        memory = machine.memory_bytes or max(total - 300 * MIB, total // 2)
        disk = machine.disk_bytes or max(shutil.disk_usage(BASE).free - 512 * MIB, 256 * MIB)
        return machine._replace(memory_bytes=memory, disk_bytes=disk)

    @property
    def health_address(self) -> tuple[str, int]:
        """Where Caddy fetches /health: loopback, whatever the machine's own address is."""
        address = "127.0.0.1" if self.bind_address == EVERYWHERE else self.bind_address
        return address, self.agent_port + 1


PORT_KEYS = {"agent_port": "agentPort", "http_port": "httpPort"}


# --- What must survive a crash and a reboot ---------------------------------------------------


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a power cut leaves the old or the new one, never half of one."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class State:
    """How far the app has come: in memory, and on disk after every change.

    When the file cannot be read, the app is done again from bundle.json, and the expiry is the
    first one: a broken file may shorten a droplet's life, never lengthen it.
    """

    def __init__(self, path: Path, first_expiry: float) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._values: dict[str, Any] = {
            "bundleDigest": None,
            "state": "idle",
            "reason": None,
            "exitCode": None,
            "restarts": 0,
            "expiresAt": first_expiry,
            "installed": False,  # its files and dependencies are in place
            "answered": False,  # it has once been up
        }
        try:
            stored = json.loads(path.read_text("utf-8"))
            expires_at = float(stored["expiresAt"])
            self._values |= {key: stored[key] for key in self._values} | {"expiresAt": expires_at}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            complain(f"{path.name} cannot be read, so it is made anew: {error!r}")
        if self._values["state"] == "running":  # it was, before this agent began
            self._values["state"] = "starting"

    def __getitem__(self, key: str) -> Any:
        with self._changed:
            return self._values[key]

    def snapshot(self, after: str | None = None) -> dict[str, Any]:
        """All values: now, or once the state is another than `after`, but never much later."""
        with self._changed:
            self._changed.wait_for(lambda: self._values["state"] != after, AFTER_SECONDS)
            return dict(self._values)

    def change(self, **changes: Any) -> None:
        """Remember this. A full disk is no reason to forget it: memory has it in any case."""
        with self._changed:
            self._values |= changes
            self._changed.notify_all()
            try:
                write_atomically(self._path, json.dumps(self._values))
            except OSError as error:
                complain(f"{self._path.name} cannot be written: {error}")


class Journal:
    """The last lines of the app and of the agent about it; bounded in memory and on disk."""

    def __init__(self, path: Path, line_characters: int = LOG_LINE_CHARACTERS) -> None:
        self._path = path
        self._line_characters = line_characters
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        with contextlib.suppress(OSError):
            self._lines.extend(self.tail(LOG_FILE_BYTES).splitlines()[-LOG_LINES:])

    def write(self, text: str) -> None:
        """Add lines. The log is for reading: what steers a terminal is dropped."""
        lines = [STEERING.sub("", line)[: self._line_characters] for line in text.splitlines()]
        with self._lock, contextlib.suppress(OSError):
            self._lines.extend(lines)
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(line + "\n" for line in lines)
                size = file.tell()
            if size > LOG_FILE_BYTES:
                self._path.replace(self._path.with_name(self._path.name + ".1"))

    def lines(self) -> list[str]:
        """The last ones."""
        with self._lock:
            return list(self._lines)

    def tail(self, limit: int) -> str:
        """The end of what was written, at most about `limit` bytes."""
        text = b""
        for path in (self._path.with_name(self._path.name + ".1"), self._path):
            with contextlib.suppress(OSError):
                text += path.read_bytes()
        return text[-limit:].decode("utf-8", "replace")


# Colours and other terminal sequences, then every control character but the tab.
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def complain(text: str) -> None:
    """For whoever logs in to the droplet: standard error is the unit's journal."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


# --- What the operator may hand in ------------------------------------------------------------


class Refused(Exception):
    """A request that is answered with no; the sentence goes to the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# npm obeys these, so an app never brings its own: scripts, registries, locks that lead elsewhere.
NOT_THE_APPS = {"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"}
PACKAGE_NAME = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*", re.ASCII)
# Ranges of versions; no ':' and no '/', so no URL, git repository, file or alias.
PACKAGE_VERSION = re.compile(r"[\w.^~<>=|*+ -]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bundle:
    """An app as it was pushed, after every rule below held."""

    digest: str
    app_type: str
    entrypoint: str
    files: dict[str, str]
    dependencies: dict[str, str]

    @staticmethod
    def read(document: Any) -> "Bundle":
        """Check all of it before any of it is written."""
        if not isinstance(document, dict):
            raise Refused(422, "the bundle is no JSON object")
        files: dict[str, str] = {}
        entries = document.get("files")
        if not isinstance(entries, list) or not 0 < len(entries) <= FILES_MAX:
            raise Refused(422, f"files must be a list of 1 to {FILES_MAX} files")
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
                raise Refused(422, "each file must be an object with path and content, both text")
            path = checked_path(entry.get("path"))
            if path in files:
                raise Refused(422, f"{path} is there twice")
            files[path] = entry["content"]
        for path in files:
            folders = path.split("/")[:-1]
            if any("/".join(folders[: depth + 1]) in files for depth in range(len(folders))):
                raise Refused(422, f"{path} lies below another file")
        dependencies = document.get("dependencies")
        if not isinstance(dependencies, dict):
            raise Refused(422, "dependencies must be an object of names and versions")
        for name, version in dependencies.items():
            if not PACKAGE_NAME.fullmatch(name):
                raise Refused(422, f"{name!r} is no name of an npm package")
            if not isinstance(version, str) or not PACKAGE_VERSION.fullmatch(version):
                raise Refused(422, f"{version!r} is no range of versions of {name}")
        digest = document.get("digest")
        if not isinstance(digest, str) or not re.fullmatch(r"[\w.:-]{1,128}", digest, re.ASCII):
            raise Refused(422, "digest must be 1 to 128 letters, digits and . : - _")
        entrypoint = checked_path(document.get("entrypoint"))
        if entrypoint not in files:
            raise Refused(422, f"the entrypoint {entrypoint} is not among the files")
        return Bundle(digest, str(document.get("appType")), entrypoint, files, dependencies)


def checked_path(path: Any) -> str:
    """A plain relative path, or Refused: nothing that leaves the app's folder or hides in it."""
    if not isinstance(path, str) or not 0 < len(path) <= PATH_MAX_CHARACTERS:
        raise Refused(422, f"a path must be text of 1 to {PATH_MAX_CHARACTERS} characters")
    if not path.isprintable() or "\\" in path:
        raise Refused(422, f"the path {path!r} has characters that a path must not have")
    parts = path.split("/")
    if any(part in {"", ".", "..", "node_modules"} for part in parts):
        raise Refused(422, f"the path {path!r} is not a plain path inside the app's folder")
    if parts[0].startswith("-"):
        raise Refused(422, f"the path {path!r} would be read as an option")
    return path


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Write an app's files into a new folder that then takes the place of `folder`.

    No link can be followed: every folder on the way was just made here, where only the agent
    writes, and each file is created, never opened (O_EXCL).
    """
    fresh = folder.with_name(folder.name + ".new")
    remove(fresh)
    fresh.mkdir(mode=0o755)
    for path, content in files.items():
        target = fresh / path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o644), "wb") as file:
            # A lone surrogate is no character; a replacement says so where it is read.
            file.write(content.encode("utf-8", "replace"))
    remove(folder)
    fresh.rename(folder)


def remove(folder: Path) -> None:
    """Remove a folder and all in it; links in it are removed, not followed."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


# --- Running what is not trusted --------------------------------------------------------------


class AppFailed(Exception):
    """The app came to an end that the operator tells apart by `reason`."""

    def __init__(self, reason: str, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.exit_code = exit_code


APP_UNIT = "spawnai-app"
WEB_UNIT = "spawnai-web"
APP_USER = "spawnai-app"  # made with the packages; owns the app's files and nothing else

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
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0022",
    # user_data, with the agent's key in it, can be read at this address by any process.
    "IPAddressDeny=169.254.0.0/16",
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
        free = shutil.disk_usage(BASE).free
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


# --- The app's life ---------------------------------------------------------------------------


class App:
    """One app from its bundle to its end. Its life runs in a thread of its own."""

    def __init__(
        self, session: Session, machine: Machine, state: State, journal: Journal, base: Path
    ) -> None:
        self._session = session
        self._machine = machine
        self._state = state
        self._journal = journal
        self._base = base
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._packages_limit = time.monotonic() + machine.packages_seconds

    def take(self, document: Any) -> int:
        """Accept a bundle: 202 when it is now ours to run, 200 when it already was."""
        bundle = Bundle.read(document)
        if bundle.app_type != self._session.app_type:
            raise Refused(422, f"this droplet is for a {self._session.app_type} app")
        with self._lock:
            taken = self._state["bundleDigest"]
            if taken == bundle.digest:
                return 200
            if taken is not None:
                raise Refused(409, f"this droplet already has the bundle {taken}")
            # On disk before it is said to be taken: the operator will not send it again.
            write_atomically(self._base / "bundle.json", json.dumps(document))
            self._state.change(bundleDigest=bundle.digest, state="installing")
            self._start(bundle)
        return 202

    def resume(self) -> None:
        """After a restart of the agent or the droplet: bring back what was there."""
        try:
            bundle = Bundle.read(json.loads((self._base / "bundle.json").read_text("utf-8")))
        except FileNotFoundError:
            return
        except (OSError, ValueError, Refused) as error:
            complain(f"bundle.json cannot be read, so the operator has to push it again: {error}")
            self._state.change(bundleDigest=None, state="idle")
            return
        if self._state["state"] == "failed":
            self._say_failed(self._state["reason"])
        elif self._state["state"] != "finished":
            self._state.change(bundleDigest=bundle.digest)
            with self._lock:
                self._start(bundle)

    def stop(self) -> None:
        """End the app for good."""
        self._stopping.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(30)

    def _start(self, bundle: Bundle) -> None:
        self._thread = threading.Thread(target=self._live, args=(bundle,), daemon=True)
        self._thread.start()

    def _live(self, bundle: Bundle) -> None:
        try:
            # A script that was interrupted starts over in a clean folder.
            if not self._state["installed"] or bundle.app_type == "script":
                self._state.change(state="installing")
                self._install(bundle)
                self._state.change(installed=True)
            self._state.change(state="starting")
            {"webapp": self._webapp, "script": self._script, "api": self._api}[bundle.app_type](
                bundle
            )
        except AppFailed as failure:
            self._fail(failure)
        except Exception as error:  # noqa: BLE001 - whatever it was, the operator must hear of it
            complain(traceback.format_exc())
            full = isinstance(error, OSError) and error.errno == 28  # noqa: PLR2004 - ENOSPC
            self._fail(AppFailed("DiskFull" if full else "InstallFailed", f"the agent: {error!r}"))

    def _fail(self, failure: AppFailed) -> None:
        self._journal.write(f"{failure.reason}: {failure}")
        self._state.change(state="failed", reason=failure.reason, exitCode=failure.exit_code)
        self._say_failed(failure.reason)

    def _say_failed(self, reason: str) -> None:
        say(self._base, "This app has stopped", f"It ended with: {reason}.")

    # Installing

    def _install(self, bundle: Bundle) -> None:
        self._wait_for_packages()
        app, scratch = self._base / "app", self._base / "scratch"
        files = {p: c for p, c in bundle.files.items() if p.split("/")[-1] not in NOT_THE_APPS}
        if bundle.app_type == "api":
            files["package.json"] = package_json(bundle)
        remove(self._base / "site")
        write_files(files, app)
        remove(scratch)
        scratch.mkdir()
        if self._machine.run_app_with == "systemd":
            for path in (scratch, app, *app.rglob("*")):
                shutil.chown(path, APP_USER, APP_USER)
        if bundle.app_type == "api" and bundle.dependencies:
            self._npm_install()

    def _wait_for_packages(self) -> None:
        """cloud-init installs Caddy and Node.js meanwhile; its script says when, or why not."""
        said = False
        while not (answer := packages(self._base)):
            if not said:
                self._journal.write("waiting until the droplet's packages are installed")
                said = True
            if self._stopping.wait(0.1) or time.monotonic() > self._packages_limit:
                raise AppFailed(
                    "InstallFailed", "the droplet's packages were not installed in time"
                )
        if answer != "ok":
            raise AppFailed("InstallFailed", f"the droplet's packages: {answer}")

    def _npm_install(self) -> None:
        # No generated or foreign code runs here; production packages only.
        options = ["--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=warn"]
        # A registry that fails is asked again within seconds, not after npm's ten and sixty.
        options += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
        for last in (False, True):
            watched = self._run(["npm", "install", *options], {"NODE_ENV": "production"})
            code = self._until_end(watched, self._machine.install_seconds)
            if code == 0:
                return
            why = "took too long" if code is None else f"ended with exit code {code}"
            if last:
                raise AppFailed("InstallFailed", f"npm install {why}")
            self._journal.write(f"npm install {why}; trying once more")

    # The three types

    def _webapp(self, bundle: Bundle) -> None:
        """Caddy serves the files; no process of the app runs."""
        folder = bundle.entrypoint.rpartition("/")[0]
        files = {
            path[len(folder) + 1 if folder else 0 :]: content
            for path, content in bundle.files.items()
            if not folder or path.startswith(folder + "/")
        }
        files.setdefault("index.html", bundle.files[bundle.entrypoint])
        write_files(files, self._base / "site")
        self._wait_for_caddy()
        self._state.change(state="running", answered=True)

    def _script(self, bundle: Bundle) -> None:
        """Run once; what it printed, how it ended and what it made become a page."""
        for old in self._base.glob("output.log*"):
            old.unlink()
        output = Journal(self._base / "output.log", line_characters=SINK_BYTES)
        watched = self._run(["python3", bundle.entrypoint], {"PYTHONUNBUFFERED": "1"}, output)
        code = None
        try:
            code = self._until_end(watched, self._machine.script_seconds)
            failure = None
            if code is not None and watched.was_killed_for_memory(code):
                failure = AppFailed("OutOfMemory", "the script ran out of memory", code)
            if code is None:
                seconds = self._machine.script_seconds
                failure = AppFailed(
                    "AppNeverAnswered", f"the script ran longer than {seconds:.0f} s"
                )
        except AppFailed as error:
            failure = error
        self._publish_result(bundle, output.tail(LOG_FILE_BYTES), code, failure)
        self._wait_for_caddy()
        if failure:
            self._journal.write(f"{failure.reason}: {failure}")
            self._state.change(state="failed", reason=failure.reason)
        else:
            self._state.change(state="finished", exitCode=code, answered=True)

    def _publish_result(
        self, bundle: Bundle, output: str, code: int | None, failure: AppFailed | None
    ) -> None:
        site, app = self._base / "site", self._base / "app"
        fresh = site.with_name("site.new")
        remove(fresh)
        (fresh / "files").mkdir(parents=True)
        offered = list(copy_results(app, fresh / "files", set(bundle.files)))
        (fresh / "index.html").write_text(
            result_page(output, code, str(failure) if failure else None, offered), "utf-8"
        )
        remove(site)
        fresh.rename(site)

    def _api(self, bundle: Bundle) -> None:
        """Keep the app's process running; give up when it dies too often."""
        deaths: deque[float] = deque()
        while not self._stopping.is_set():
            watched = self._run(["node", bundle.entrypoint], {"NODE_ENV": "production"})
            try:
                failure = self._serve(watched)
            except AppFailed as error:
                if error.reason != "OutOfMemory":
                    raise
                failure = error
            if self._stopping.is_set():
                return
            now = time.monotonic()
            deaths.append(now)
            while now - deaths[0] > self._machine.restart_window_seconds:
                deaths.popleft()
            # What dies before it was ever up dies the same way again; what was up may have had
            # bad luck. A limit that is broken at once is the former, a leak over days the latter.
            if not self._state["answered"]:
                raise failure
            if len(deaths) > self._machine.restarts:
                message = f"{failure}; {len(deaths)} times now, so it is given up"
                raise AppFailed(failure.reason, message, failure.exit_code)
            self._journal.write(f"{failure}; it is started again")
            self._state.change(
                state="starting", exitCode=None, restarts=self._state["restarts"] + 1
            )
            self._stopping.wait(
                min(self._machine.restart_delay_seconds * 2 ** (len(deaths) - 1), 30)
            )

    def _serve(self, watched: Watched) -> AppFailed:
        """Until the process ends: why it did."""
        deadline = time.monotonic() + self._machine.answer_seconds
        answer = "no answer"
        pause = 0.05
        # Any answer below 500 counts: an API without a page at / says 404, and one that wants a
        # login 401. A 5xx says that the app itself is not in order, so it is given more time.
        while (code := watched.process.poll()) is None and not self._stopping.is_set():
            watched.check()
            answer = http_answer(("localhost", self._machine.app_port))
            if answer.isdigit() and int(answer) < 500:  # noqa: PLR2004
                self._wait_for_caddy()
                self._state.change(state="running", answered=True)
                code = self._until_end(watched, None)
                break
            if time.monotonic() > deadline:
                watched.process.kill()
                seconds = self._machine.answer_seconds
                raise AppFailed(
                    "AppNeverAnswered",
                    f"GET / on port {self._machine.app_port} gave no good answer within "
                    f"{seconds:.0f} s, at last: {answer}",
                )
            self._stopping.wait(pause)
            pause = min(pause * 1.3, 0.5)
        if self._stopping.is_set() or code is None:
            watched.process.kill()
            return AppFailed("AppCrashed", "stopped")
        return watched.death(code, self._journal)

    # Processes

    def _run(
        self, command: list[str], environment: Mapping[str, str], log: Journal | None = None
    ) -> Watched:
        folder, scratch = self._base / "app", self._base / "scratch"
        machine = self._machine
        variables = {
            "PATH": os.environ.get("PATH", PATH),
            "LANG": "C.UTF-8",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "PORT": str(machine.app_port),
            **environment,
        }
        sink = Sink(self._write_to(log))
        if machine.run_app_with == "systemd":
            limits = [
                f"User={APP_USER}",
                f"Group={APP_USER}",
                f"WorkingDirectory={folder}",
                f"ReadWritePaths={folder} {scratch}",
                f"MemoryMax={machine.memory_bytes}",
                "MemorySwapMax=0",
                f"TasksMax={machine.processes * 4}",  # tasks are threads; Node.js has about ten
                f"LimitFSIZE={machine.disk_bytes}",
                "Nice=5",
                "OOMScoreAdjust=500",
            ]
            process: Process = UnitProcess(APP_UNIT, [*SANDBOX, *limits], command, variables, sink)
        else:
            process = PlainProcess(command, folder, variables, sink)
        return Watched(process, machine, [folder, scratch])

    def _write_to(self, log: Journal | None) -> Callable[[str], None]:
        def write(text: str) -> None:
            self._journal.write(text)
            if log:
                log.write(text)

        return write

    def _until_end(self, watched: Watched, limit_seconds: float | None) -> int | None:
        """The exit code, or None when it was killed because the time, or the app's, was over."""
        deadline = time.monotonic() + limit_seconds if limit_seconds else float("inf")
        while (code := watched.process.poll()) is None:
            watched.check()
            if time.monotonic() > deadline or self._stopping.is_set():
                watched.process.kill()
                return None
            self._stopping.wait(0.2)
        watched.process.kill()
        return code

    def _wait_for_caddy(self) -> None:
        address = self._machine.health_address[0], self._machine.http_port
        deadline = time.monotonic() + self._machine.answer_seconds
        # Our own word comes back: it is Caddy, not another server that has the port.
        while http_answer(address, "/health", HEALTH_HEADER) != VERSION:
            if self._stopping.wait(0.05) or time.monotonic() > deadline:
                raise AppFailed("AppNeverAnswered", f"Caddy does not answer on port {address[1]}")


def packages(base: Path) -> str:
    """What the packages' script left: "ok", why it failed, or nothing yet."""
    try:
        return (base / "packages").read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def package_json(bundle: Bundle) -> str:
    """The app's package.json: ours, so that no generated script or setting is ever obeyed.

    Node.js before 20.19 cannot tell by itself which of its two module systems a .js file wants.
    """
    kind = "commonjs"
    with contextlib.suppress(ValueError, AttributeError):
        kind = json.loads(bundle.files.get("package.json", "{}")).get("type", "")
    if kind not in {"module", "commonjs"}:
        kind = "commonjs"
    source = bundle.files[bundle.entrypoint]
    if re.search(r"^\s*(import\s*[\w{*'\"]|export\s+[\w{*])", source, re.MULTILINE):
        kind = "module"
    document = {
        "name": "app",
        "version": "1.0.0",
        "private": True,
        "type": kind,
        "main": bundle.entrypoint,
        "dependencies": bundle.dependencies,
    }
    return json.dumps(document, indent=2) + "\n"


def http_answer(address: tuple[str, int], path: str = "/", header: str = "") -> str:
    """The status (or a header) that a GET brings, or in words why there is none."""
    connection = http.client.HTTPConnection(*address, timeout=2)
    try:
        connection.request("GET", path, headers={"User-Agent": "spawnai-agent"})
        response = connection.getresponse()
        return response.headers.get(header, "") if header else str(response.status)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


# --- Pages ------------------------------------------------------------------------------------

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto;white-space:pre-wrap}}</style>
<h1>{title}</h1>
{body}
</html>
"""


def say(base: Path, title: str, sentence: str) -> None:
    """What Caddy shows, with status 503, while there is no app to show."""
    folder = base / "pages"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o755, exist_ok=True)
        body = f"<p>{html.escape(sentence)}</p>"
        part = folder / "unavailable.part"
        part.write_text(PAGE.format(title=html.escape(title), body=body), "utf-8")
        part.chmod(0o644)
        part.replace(folder / "unavailable.html")


def result_page(output: str, code: int | None, problem: str | None, offered: list[str]) -> str:
    """What a script did, for people. Everything in it came from the script: all is escaped."""
    ended = f"It did not finish: {problem}." if problem else f"It ended with exit code {code}."
    links = "".join(
        f'<li><a href="files/{urllib.parse.quote(name)}">{html.escape(name)}</a></li>'
        for name in offered
    )
    body = f"<p>{html.escape(ended)}</p>\n<h2>Output</h2>\n<pre>{html.escape(output)}</pre>"
    if links:
        body += f"\n<h2>Files</h2>\n<ul>{links}</ul>"
    return PAGE.format(title="The script's result", body=body)


def copy_results(source: Path, target: Path, known: set[str]) -> Iterator[str]:
    """Copy the plain files a script made, within limits; yields their names.

    A link could lead to the agent's key, so none is followed, not even one that takes a file's
    place while this looks (O_NOFOLLOW, then fstat).
    """
    count, limit_bytes = 0, OFFERED_BYTES_MAX
    for parent, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in {"__pycache__", "node_modules"})
        for name in sorted(names):
            path = Path(parent, name)
            relative = path.relative_to(source).as_posix()
            if relative in known or not relative.isprintable() or count >= OFFERED_FILES_MAX:
                continue
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with os.fdopen(os.open(path, flags), "rb") as file:
                    facts = os.fstat(file.fileno())
                    if not stat.S_ISREG(facts.st_mode) or facts.st_size > limit_bytes:
                        continue
                    limit_bytes -= facts.st_size
                    copy = target / relative
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    with copy.open("wb") as out:
                        shutil.copyfileobj(file, out)
            except OSError:
                continue
            count += 1
            yield relative


# --- Caddy ------------------------------------------------------------------------------------

CADDYFILE = """{{
	admin off
	auto_https off
	log {{
		level ERROR
		exclude http.log.error
	}}
}}
http://:{machine.http_port} {{
	bind {machine.bind_address}
	handle /health {{
		reverse_proxy {health}
	}}
	handle {{
{app}
	}}
	handle_errors {{
		@gone expression `{{err.status_code}} in [502, 503, 504]`
		handle @gone {{
			root * {base}/pages
			rewrite * /unavailable.html
			header Retry-After 5
			file_server {{
				status 503
			}}
		}}
	}}
}}
"""
PROXY = "\t\treverse_proxy localhost:{machine.app_port}"
# Paths without a file ending belong to the app's own router, so they get its page.
FILES = """\t\t@waiting not file {{
			root {base}
			try_files /site/
		}}
		error @waiting 503
		root * {base}/site
		@page {{
			not path_regexp \\.[A-Za-z0-9]+$
			file {{
				try_files {{path}} {{path}}/ /index.html
			}}
		}}
		rewrite @page {{http.matchers.file.relative}}
		file_server"""


class Web:
    """Keeps Caddy running from the moment its package is there; its configuration never changes."""

    def __init__(self, session: Session, machine: Machine, journal: Journal, base: Path) -> None:
        self._machine = machine
        self._journal = journal
        self._base = base
        app = PROXY if session.app_type == "api" else FILES
        self._caddyfile = CADDYFILE.format(
            machine=machine,
            base=base,
            health="{}:{}".format(*machine.health_address),
            app=app.format(machine=machine, base=base),
        )

    def run(self) -> None:
        """Start it again whenever it ends; never returns."""
        (self._base / "Caddyfile").write_text(self._caddyfile, "utf-8")
        (self._base / "Caddyfile").chmod(0o644)
        delay = 0.5
        while packages(self._base) != "ok":
            time.sleep(0.1)
        while True:
            started = time.monotonic()
            try:
                self._run_once()
            except OSError as error:
                self._journal.write(f"Caddy cannot be started: {error}")
            delay = 0.5 if time.monotonic() - started > 60 else min(delay * 2, 30)  # noqa: PLR2004
            time.sleep(delay)

    def _note(self, text: str) -> None:
        # Its greeting comes before the log level of its configuration is known.
        lines = [line for line in text.splitlines() if '"level":"info"' not in line]
        if lines:
            self._journal.write("\n".join(f"Caddy: {line}" for line in lines))

    def _run_once(self) -> None:
        caddy = shutil.which("caddy") or "caddy"
        config = self._base / "Caddyfile"
        command = [caddy, "run", "--config", str(config), "--adapter", "caddyfile"]
        sink = Sink(self._note)
        if self._machine.run_app_with == "systemd":
            properties = [
                *(line for line in SANDBOX if not line.startswith("CapabilityBoundingSet")),
                "DynamicUser=yes",
                "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
                "AmbientCapabilities=CAP_NET_BIND_SERVICE",
                "LimitNOFILE=65536",
            ]
            home = "/tmp"  # noqa: S108 - PrivateTmp: its own
            environment = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
            UnitProcess(WEB_UNIT, properties, command, environment, sink).wait()
            return
        home = str(self._base / "caddy")
        path = os.environ.get("PATH", PATH)
        with CADDY_STARTS:
            child = subprocess.Popen(
                command,
                env={"PATH": path, "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            CADDY_PROCESSES.add(child.pid)
        sink.follow(child)
        child.wait()
        CADDY_PROCESSES.discard(child.pid)


# --- The operator's door ----------------------------------------------------------------------


class Control(socketserver.ThreadingTCPServer):
    """HTTPS for the operator. Each connection has a thread, so a slow one holds up nobody."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, agent: "Agent") -> None:
        self.agent = agent
        self._tls = tls
        self._callers: list[str] = []
        self._lock = threading.Lock()
        super().__init__(address, ControlHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more thread, or none when there are enough."""
        caller = client_address[0]
        with self._lock:
            has_room = len(self._callers) < CONNECTIONS_MAX
            has_room &= self._callers.count(caller) < CONNECTIONS_MAX_PER_CALLER
            if has_room:
                self._callers.append(caller)
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._callers.remove(client_address[0])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Encrypt, within a limit, before the first byte is read."""
        request.settimeout(HANDSHAKE_SECONDS)
        with self._tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Callers that hang up, scan or speak no TLS are not worth a line."""
        if not isinstance(sys.exception(), OSError):
            complain(traceback.format_exc())


class ControlHandler(http.server.BaseHTTPRequestHandler):
    """One connection of someone who may or may not be the operator."""

    protocol_version = "HTTP/1.1"
    server: Control

    def answer(self) -> None:
        """Every method and path begins here."""
        try:
            status, document = self._route()
        except Refused as refusal:
            status, document = refusal.status, {"error": str(refusal)}
        except OSError as error:
            status, document = 507, {"error": f"the agent could not write to its disk: {error}"}
        self._reply(status, document)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - the server's names

    def _route(self) -> tuple[int, dict[str, Any]]:
        agent = self.server.agent
        # Before anything else is looked at: not the path, not the body.
        if not agent.knows(self.headers.get("Authorization", "")):
            raise Refused(401, "the bearer token is missing or wrong")
        self.connection.settimeout(IDLE_SECONDS)
        match self.command, self.path:
            case "GET", "/v1/status":
                return 200, agent.status(self.headers.get(AFTER_HEADER))
            case "PUT", "/v1/bundle":
                return agent.app.take(self._body()), {"accepted": True}
            case "PUT", "/v1/expiry":
                agent.move_expiry(self._body())
                return 200, {"accepted": True}
        raise Refused(404, f"there is no {self.command} {self.path[:200]}")

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            raise Refused(411, "a body with a Content-Length is needed")
        if int(length) > BODY_MAX_BYTES:
            raise Refused(413, f"the body has {length} bytes; {BODY_MAX_BYTES} is the limit")
        body = self.rfile.read(int(length))
        self.headers.replace_header("Content-Length", "0")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(422, f"the body is no JSON: {error}") from None

    def _reply(self, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status >= 400:  # noqa: PLR2004
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
        if self.close_connection:
            self._let_the_answer_arrive()

    def _let_the_answer_arrive(self) -> None:
        """Read on a little: closing with a body unread would reset the connection (RFC 1122)."""
        length = self.headers.get("Content-Length", "")
        left = min(int(length), 16 * MIB) if length.isdecimal() else 0
        if "Transfer-Encoding" in self.headers:
            left = 16 * MIB
        deadline = time.monotonic() + 2
        self.connection.settimeout(1)
        with contextlib.suppress(OSError):
            while left > 0 and time.monotonic() < deadline:
                chunk = self.rfile.read1(min(left, 64 * 1024))
                if not chunk:
                    return
                left -= len(chunk)

    def version_string(self) -> str:
        """Not Python's."""
        return "spawnai-agent"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: a scanner must not fill the droplet's journal."""


class HealthHandler(http.server.BaseHTTPRequestHandler):
    """/health for Caddy: whether the app is up, in a word that everyone may read."""

    server: "HealthServer"
    timeout = HANDSHAKE_SECONDS

    def do_GET(self) -> None:
        """The one thing there is."""
        state = self.server.state["state"]
        body = json.dumps({"state": state}).encode() + b"\n"
        self.send_response(200 if state in {"running", "finished"} else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header(HEALTH_HEADER, VERSION)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Not Python's."""
        return "spawnai-agent"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class HealthServer(socketserver.ThreadingTCPServer):
    """Plain HTTP on loopback."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], state: State) -> None:
        self.state = state
        super().__init__(address, HealthHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Caddy hung up."""


# --- All of it together -----------------------------------------------------------------------


class Agent:
    """One droplet's agent: the doors, the app, Caddy and the clock."""

    def __init__(self, base: Path) -> None:
        # All of these are read before any door is opened; a failure ends the agent, systemd
        # starts it again, and until then the doors are closed.
        self._session = Session.read(base / "session.json")
        document = json.loads((base / "session.json").read_text("utf-8"))
        self._machine = Machine.read(base / "machine.env", document)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        tls.load_cert_chain(base / "agent.crt", base / "agent.key")
        self._base = base
        self._state = State(base / "state.json", self._session.expires_at)
        self._journal = Journal(base / "app.log")
        self.app = App(self._session, self._machine, self._state, self._journal, base)
        self._control = Control((self._machine.bind_address, self._machine.agent_port), tls, self)
        self._health = HealthServer(self._machine.health_address, self._state)

    def knows(self, authorization: str) -> bool:
        """Whether this is the operator; takes the same time whatever is shown."""
        scheme, _, token = authorization.partition(" ")
        shown = hashlib.sha256(token.strip().encode("utf-8", "replace")).hexdigest()
        return hmac.compare_digest(shown, self._session.token_sha256) and scheme == "Bearer"

    def status(self, after: str | None) -> dict[str, Any]:
        """AgentStatus, as the operator's client reads it; `after` is the state it knows of."""
        values = self._state.snapshot(after)
        del values["installed"], values["answered"]
        return {**values, "log": self._journal.lines(), "agentVersion": VERSION}

    def move_expiry(self, document: Any) -> None:
        """The operator's alone: nothing on this droplet can lengthen its life."""
        wanted = document.get("expiresAt") if isinstance(document, dict) else None
        # A year 2100 at most: what is later is a mistake in a unit, such as milliseconds.
        if (
            isinstance(wanted, bool)
            or not isinstance(wanted, int | float)
            or not 0 <= wanted < 2**32
        ):
            raise Refused(422, "expiresAt must be a time in seconds since 1970")
        self._state.change(expiresAt=float(wanted))

    def run(self) -> None:
        """Until the droplet's time is over."""
        say(self._base, "Your app is on its way", "Please come back in a moment.")
        web = Web(self._session, self._machine, self._journal, self._base)
        threading.Thread(target=web.run, daemon=True).start()
        for server in (self._control, self._health):
            # It never shuts down, so it need not look twice a second whether it should.
            threading.Thread(target=server.serve_forever, args=(3600,), daemon=True).start()
        if self._has_time():
            self.app.resume()
        while self._has_time():
            tell_systemd("WATCHDOG=1")
            time.sleep(0.5)
        self._end()

    def _has_time(self) -> bool:
        return time.time() < float(self._state["expiresAt"]) + self._session.grace_seconds

    def _end(self) -> None:
        """The dead man's switch: nobody destroyed this droplet in time, so it ends itself."""
        self._journal.write("the time of this droplet is over; it powers off")
        say(self._base, "This app has ended", "Its time was over.")
        self.app.stop()
        command = self._machine.poweroff_command.split()
        while True:
            tell_systemd("WATCHDOG=1")
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                remove(self._base / "site")
                subprocess.run(command, timeout=30, check=False)
            time.sleep(10)
            # Still here: then without waiting for the units that hold it up.
            command = [*self._machine.poweroff_command.split(), "--force"]


# Taken out of the environment: systemctl, a child, would send messages of its own.
NOTIFY_SOCKET = os.environ.pop("NOTIFY_SOCKET", "")


def tell_systemd(message: str) -> None:
    """sd_notify(3), where the unit asks for it: an agent that hangs is started again."""
    if NOTIFY_SOCKET:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(message.encode(), NOTIFY_SOCKET.replace("@", "\0", 1))


def main() -> None:
    """What the unit starts."""
    os.umask(0o022)
    Agent(BASE).run()


if __name__ == "__main__":
    main()
