"""One process above all machines of a host, and in each machine one that is its init.

Started as a program of its own, standard library only, with orders as JSON lines on its standard
input and reports as JSON lines on its standard output. Small and single-threaded, because every
machine's init is a fork of it: an init costs about a megabyte and a few milliseconds.

Promises:
- when the input ends (the local cloud ended, in whatever way), every machine is killed, then this;
- when this is killed, each machine's init gets SIGTERM from the kernel and kills its own machine;
- when an init is killed, what it leaves behind comes here (subreaper) and is killed.
So nothing that ever ran in a machine outlives the local cloud, short of killing all of them at once
with SIGKILL.
"""

import base64
import contextlib
import ctypes
import errno
import json
import os
import resource
import selectors
import shlex
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_SECONDS = 10.0
# systemd's defaults: five starts in ten seconds, then the unit has failed.
START_LIMIT = 5
START_LIMIT_SECONDS = 10.0

_libc = ctypes.CDLL(None)


def set_process_option(option: int, value: int) -> None:
    """prctl(2)."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


# --- Trees of processes -----------------------------------------------------------------------


def read_text(path: str) -> str:
    """A file below /proc, empty when its process has just ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def children(pid: int) -> set[int]:
    """The processes that any thread of this one has forked and that still exist (proc(5))."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - pathlib costs memory in each fork
    except OSError:
        return set()
    texts = (read_text(f"/proc/{pid}/task/{task}/children") for task in tasks)
    return {int(child) for text in texts for child in text.split()}


def tree(roots: set[int]) -> set[int]:
    """These processes and everything below them."""
    found: set[int] = set()
    to_visit = set(roots)
    while to_visit:
        pid = to_visit.pop()
        if pid not in found:
            found.add(pid)
            to_visit |= children(pid)
    return found


def runs(pid: int) -> bool:
    """Whether it is there and more than a zombie."""
    state = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return bool(state) and state[0] not in {"Z", "X"}


def send(pid: int, number: int) -> None:
    """A signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_trees(roots: "set[int] | None" = None) -> None:
    """End these children of ours (default: all) with everything below them.

    First all are stopped, again and again until no new one appears: a tree that forks without end
    would otherwise outrun being killed. This process is the subreaper, so orphans come here; they
    are left to its own reap(), which is the one place that hears of every child's end.
    """
    wanted = tree(children(os.getpid()) if roots is None else roots)
    deadline = time.monotonic() + KILL_SECONDS
    stopped: set[int] = set()
    while time.monotonic() < deadline:
        # What is not below us is none of ours: its number was given to another process meanwhile.
        ours = tree(children(os.getpid()))
        alive = {pid for pid in wanted & ours if runs(pid)}
        if not alive:
            return
        for pid in alive - stopped:
            send(pid, signal.SIGSTOP)
        if alive <= stopped:
            for pid in alive:
                send(pid, signal.SIGKILL)
            time.sleep(0.002)
        stopped |= alive
        if roots is None:
            wanted = tree(children(os.getpid()))
        else:
            wanted |= tree(wanted)


def reap() -> dict[int, int]:
    """Collect every child that ended: pid to exit code (negative: by that signal)."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def start_program(
    command: list[str], *, directory: str, environment: dict[str, Any], log: str
) -> int:
    """Fork and become `command`; it is killed when this process ends."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(directory)
        os.execvpe(command[0], command, environment)  # noqa: S606
    except BaseException as error:  # noqa: BLE001 - a fork must never return into the loop
        os.write(2, f"{command[0]}: {error}\n".encode())
    os._exit(203)  # systemd's EXIT_EXEC


class Loop:
    """Waits for files to read, for children to end, and for SIGTERM."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.terminated = False
        self.selector.register(self._wake_read, selectors.EVENT_READ)

    def _terminate(self, *_: object) -> None:
        self.terminated = True

    def wait(self, timeout: "float | None") -> list[int]:
        """The descriptors that can be read now."""
        ready = [key.fd for key, _ in self.selector.select(timeout)]
        if self._wake_read in ready:
            ready.remove(self._wake_read)
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake_read, 4096):
                    pass
        return ready


# --- One machine ------------------------------------------------------------------------------


class Unit:
    """One service of the machine: what its file says, and the process that runs it."""

    def __init__(self, name: str, settings: dict[str, Any], environment: dict[str, Any]) -> None:
        self.name = name
        self.command: list[str] = settings.get("ExecStart", [])
        self.restarts = settings.get("Restart", "no")
        self.delay = seconds(settings.get("RestartSec", "100ms"))
        self.stays_active = settings.get("RemainAfterExit") in {"yes", "true", "on", "1"}
        unlimited = settings.get("StartLimitIntervalSec") == "0"
        self.start_limit = float("inf") if unlimited else START_LIMIT
        self.directory = settings.get("WorkingDirectory", "/")
        self.environment = environment
        self.pid: int | None = None
        self.starts: list[float] = []
        self.start_at: float | None = None
        self.active = False

    def comes_back(self, code: int) -> bool:
        """Whether systemd would start it again after this exit code."""
        if self.restarts == "always":
            return True
        return self.restarts.startswith("on-") and self.restarts != "on-success" and code != 0


class Machine:
    """What init, systemd and cloud-init do, for one machine. Runs in a process of its own."""

    def __init__(
        self, root: str, search_path: str, plan: "dict[str, Any] | None", prefixes: list[str]
    ) -> None:
        self.root = root
        self.plan = plan
        self.prefixes = prefixes
        # What cloud-init gives runcmd: no HOME, C.UTF-8 (measured on Debian 12).
        self.environment = {"PATH": search_path, "LANG": "C.UTF-8"}
        self.units: dict[str, Unit] = {}
        self.cloud_init: int | None = None
        self.reboots = True
        self.orders = ""

    def run(self) -> None:
        """Until it is powered off, by an order from inside or by SIGTERM from above."""
        for folder in ("run", "var/log", "etc/systemd/system", "tmp"):
            os.makedirs(f"{self.root}/{folder}", exist_ok=True)  # noqa: PTH103
        fifo = f"{self.root}/run/orders"
        with contextlib.suppress(FileExistsError):
            os.mkfifo(fifo)
        self.loop = Loop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        # Read and write: with a writer that stays, a shell's `> orders` never blocks or ends it.
        orders = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.loop.selector.register(orders, selectors.EVENT_READ)
        while self.reboots and not self.loop.terminated:
            self.reboots = False
            self.up = True
            self.boot()
            while self.up and not self.loop.terminated:
                if orders in self.loop.wait(self.next_start()):
                    self.read_orders(orders)
                self.attend()
            kill_trees()
            self.units.clear()

    def next_start(self) -> "float | None":
        """Seconds until a unit is due to be started again."""
        times = [unit.start_at for unit in self.units.values() if unit.start_at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def boot(self) -> None:
        """What is enabled starts; cloud-init runs beside it."""
        self.cloud_init = os.fork()
        if self.cloud_init == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
                CloudInit(self).run()
            finally:
                os._exit(0)
        wants = f"{self.root}/etc/systemd/system/multi-user.target.wants"
        for name in sorted(os.listdir(wants)) if os.path.isdir(wants) else ():  # noqa: PTH112, PTH208
            self.start(name)

    def attend(self) -> None:
        """Look after what ended and what is due."""
        for pid, code in reap().items():
            if pid == self.cloud_init:
                self.cloud_init = None
            for unit in self.units.values():
                if unit.pid == pid:
                    self.ended(unit, code)
        now = time.monotonic()
        for unit in list(self.units.values()):
            if unit.start_at is not None and unit.start_at <= now:
                unit.start_at = None
                self.launch(unit)

    def ended(self, unit: Unit, code: int) -> None:
        """A unit's main process ended: so does all that it started (KillMode=control-group)."""
        unit.pid = None
        unit.active = unit.stays_active and code == 0
        self.say(f"{unit.name} ended with code {code}")
        known = {other.pid for other in self.units.values()} | {self.cloud_init}
        orphans = {pid for pid in children(os.getpid()) if pid not in known}
        kill_trees(orphans)
        if unit.comes_back(code):
            unit.start_at = time.monotonic() + unit.delay

    def read_orders(self, descriptor: int) -> None:
        """Orders of the stand-ins for systemctl and its like, a line each."""
        with contextlib.suppress(BlockingIOError):
            self.orders += os.read(descriptor, 65536).decode("utf-8", "replace")
        *lines, self.orders = self.orders.split("\n")
        for line in lines:
            verb, _, argument = line.partition(" ")
            if verb in {"poweroff", "reboot"}:
                self.say(verb)
                self.up = False
                self.reboots = verb == "reboot"
            elif verb == "start":
                self.start(argument)
            elif verb in {"stop", "restart"}:
                self.stop(argument)
                if verb == "restart":
                    self.start(argument)
            elif verb == "run":
                with open(argument, "rb") as file:  # noqa: PTH123
                    words = file.read().decode("utf-8", "surrogateescape").split("\0")[:-1]
                unit = Unit(f"run-{len(self.units)}", {"ExecStart": words}, self.environment)
                self.units[unit.name] = unit
                self.launch(unit)

    def start(self, name: str) -> None:
        """Start a unit that does not run."""
        unit = self.units.get(name)
        if unit is not None and (unit.active or unit.start_at is not None):
            return
        settings = self.read_unit(name)
        environment = {**self.environment, **settings.get("Environment", {})}
        self.units[name] = unit = Unit(name, settings, environment)
        self.launch(unit)

    def stop(self, name: str) -> None:
        """Stop a unit and all it started."""
        unit = self.units.pop(name, None)
        if unit is not None and unit.pid is not None:
            kill_trees({unit.pid})

    def launch(self, unit: Unit) -> None:
        """Start its process, unless it was started too often lately."""
        if not unit.command:
            self.say(f"{unit.name} has no ExecStart")
            return
        now = time.monotonic()
        unit.starts = [at for at in unit.starts if now - at < START_LIMIT_SECONDS]
        if len(unit.starts) >= unit.start_limit:
            self.say(f"{unit.name}: start request repeated too quickly")
            return
        unit.starts.append(now)
        unit.active = True
        unit.pid = start_program(
            unit.command,
            directory=unit.directory,
            environment=unit.environment,
            log=f"{self.root}/var/log/{unit.name}.log",
        )

    def read_unit(self, name: str) -> dict[str, Any]:
        """The parts of a unit file that a machine obeys; the rest needs a kernel's help."""
        settings: dict[str, Any] = {}
        environment: dict[str, str] = {}
        for line in read_text(f"{self.root}/etc/systemd/system/{name}").splitlines():
            key, found, value = line.strip().partition("=")
            if not found or key.startswith(("#", ";")):
                continue
            if key == "ExecStart":
                settings[key] = [self.own(word) for word in shlex.split(value.lstrip("-@:+!"))]
            elif key == "Environment":
                environment |= dict(word.partition("=")[::2] for word in shlex.split(value))
            else:
                settings[key] = self.own(value)
        return {**settings, "Environment": environment}

    def own(self, text: str) -> str:
        """A path of the machine's own, led below its root; a program, as the machine has it."""
        if text.startswith("/usr/bin/") and os.path.lexists(self.root + text):
            return self.root + text
        return self.root + text if text.startswith(tuple(self.prefixes)) else text

    def say(self, text: str) -> None:
        """A line in the machine's own log."""
        with (
            contextlib.suppress(OSError),
            open(f"{self.root}/var/log/machine.log", "a", encoding="utf-8") as log,  # noqa: PTH123
        ):
            log.write(f"{time.time():.3f} {text}\n")


class CloudInit:
    """A boot as cloud-init goes through it: bootcmd at every one, the rest only at an instance's
    first. A droplet made from another's disk is another instance (its root is named for its id).
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._log = f"{machine.root}/var/log/cloud-init-output.log"
        instance = os.path.basename(machine.root)  # noqa: PTH119
        self._seen = f"{machine.root}/var/lib/cloud/instances/{instance}/boot-finished"

    def run(self) -> None:
        """In cloud-init's order. Nothing that fails keeps the rest from running."""
        plan = self._machine.plan or {}
        first = not os.path.exists(self._seen)  # noqa: PTH110
        self._shell("bootcmd", plan.get("boot_script", ""), "/bin/sh")
        if not first:
            return
        for complaint in plan.get("complaints", []):
            self._machine.say(f"cloud-init: {complaint}")
        self._write(plan.get("files", []))
        if packages := plan.get("packages"):
            self._run("packages", ["apt-get", "update"])
            self._run("packages", ["apt-get", "install", "--assume-yes", *packages])
        self._write(plan.get("deferred_files", []))
        self._shell(
            "runcmd", plan.get("final_script", ""), plan.get("final_interpreter", "/bin/sh")
        )
        os.makedirs(os.path.dirname(self._seen), exist_ok=True)  # noqa: PTH103, PTH120
        with open(self._seen, "w", encoding="utf-8"):  # noqa: PTH123
            pass

    def _write(self, files: list[Any]) -> None:
        for file in files:
            try:
                self._write_one(file)
            except OSError as error:  # the rest of write_files is lost, as with cloud-init
                self._machine.say(f"cloud-init: Failed to run module write-files: {error}")
                return

    def _write_one(self, file: dict[str, Any]) -> None:
        path = os.path.normpath(f"{self._machine.root}/{file['path']}")
        if not path.startswith(self._machine.root + "/"):
            raise PermissionError(errno.EPERM, "outside of the machine", file["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "ab" if file["append"] else "wb") as target:  # noqa: PTH123
            target.write(base64.b64decode(file["content"]))
        os.chmod(path, file["mode"])  # noqa: PTH101

    def _shell(self, name: str, script: str, interpreter: str) -> None:
        if script:
            path = f"{self._machine.root}/run/{name}"
            with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(script)
            self._run(name, [*shlex.split(interpreter), path])

    def _run(self, name: str, command: list[str]) -> None:
        pid = start_program(
            command, directory="/", environment=self._machine.environment, log=self._log
        )
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != 0:
            self._machine.say(f"cloud-init: Failed to run module {name}: exit code {code}")


def seconds(text: str) -> float:
    """A time span of a unit file, such as 1, 100ms, 5s or 2min."""
    for unit, factor in (("ms", 0.001), ("min", 60.0), ("s", 1.0)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    return float(text)


# --- All machines -----------------------------------------------------------------------------


class Supervisor:
    """Starts and ends machines as it is told, and reports when one has ended."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._machines: dict[int, int] = {}
        self._orders = b""

    def run(self) -> None:
        """Until the input ends or SIGTERM."""
        os.set_blocking(0, False)
        self._loop.selector.register(0, selectors.EVENT_READ)
        while not self._loop.terminated:
            if 0 in self._loop.wait(None) and not self._read_orders():
                break
            self._attend()
        for pid in self._machines.values():
            send(pid, signal.SIGTERM)
        deadline = time.monotonic() + KILL_SECONDS
        while self._machines and time.monotonic() < deadline:
            self._loop.wait(0.05)
            self._attend()
        kill_trees()

    def _read_orders(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            data = os.read(0, 1024 * 1024)
            if not data:
                return False
            *lines, self._orders = (self._orders + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                {"boot": self._boot, "off": self._off}[order["order"]](order)
        return True

    def _boot(self, order: dict[str, Any]) -> None:
        supervisor = os.getpid()
        # An order to end that comes before the machine can hear it must wait, not be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            self._machines[order["id"]] = pid
            self._report("booted", order["id"])
            return
        try:
            os.setsid()
            os.umask(0o022)
            set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
            set_process_option(PR_SET_CHILD_SUBREAPER, 1)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            machine = Machine(order["root"], order["search_path"], order["plan"], order["prefixes"])
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1):  # the supervisor's own pipes; 2 is the host's log
                os.dup2(nothing, descriptor)
            # When memory is short on the host, a machine goes before the control plane.
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
                file.write("300")
            if os.getppid() == supervisor:
                machine.run()
        except BaseException as error:  # noqa: BLE001 - a fork must never return into the loop
            os.write(2, f"machine {order['id']}: {error!r}\n".encode())
        finally:
            with contextlib.suppress(BaseException):
                kill_trees()
            os._exit(0)

    def _off(self, order: dict[str, Any]) -> None:
        pid = self._machines.get(order["id"])
        if pid is None:
            self._report("off", order["id"])
        else:
            send(pid, signal.SIGTERM)

    def _attend(self) -> None:
        ended = reap()
        for machine, pid in list(self._machines.items()):
            if pid in ended:
                del self._machines[machine]
                self._report("off", machine)
        # Whatever else is a child of ours was left behind by an init that was killed.
        orphans = children(os.getpid()) - set(self._machines.values())
        if orphans:
            kill_trees(orphans)

    def _report(self, event: str, machine: int) -> None:
        with contextlib.suppress(OSError):
            sys.stdout.write(json.dumps({"event": event, "id": machine}) + "\n")
            sys.stdout.flush()


def main() -> None:
    """What the host starts."""
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)
    Supervisor().run()


if __name__ == "__main__":
    main()
