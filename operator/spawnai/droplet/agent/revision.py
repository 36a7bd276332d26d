"""One revision of the app: its files, its process, and whether it works.

Each app type is a class: what is installed, what starting means, and what people then get.
"""

import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .bundle import NOT_THE_APPS, Bundle, remove, write_files
from .pages import copy_results, result_page
from .processes import APP_USER, SINK_BYTES, AppFailed, Folders, Launcher, Watched
from .settings import Machine
from .state import LOG_FILE_BYTES, Journal
from .web import Web

WRONG_PORT_SECONDS = 10.0
ANSWER_MAX_BYTES = 16 * 1024

# A line in which a program says what went wrong: JavaScript's and Python's exceptions, and npm's
# errors but for the code alone.
ERROR_LINE = re.compile(
    r"(?:^|[\s(])[A-Za-z_.]{0,60}(?:Error|Exception)(?: \[[A-Z0-9_]{1,60}\])?: \S"
    r"|^npm (?:error|ERR!) (?!code |errno |syscall |path |A complete log)\S"
)


class Cancelled(Exception):
    """The revision was told to stop; nobody needs to hear more of it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every revision uses."""

    base: Path
    machine: Machine
    journal: Journal
    launcher: Launcher
    web: Web


class Revision:
    """A bundle in a folder of its own. Used by one thread; `cancel` by any."""

    final_state = "running"

    def __init__(self, bundle: Bundle, number: int, port: int, around: Surroundings) -> None:
        self.bundle = bundle
        self.number = number
        self.port = port
        self.folder = around.base / "revisions" / str(number)
        self.folders = Folders(self.folder / "app", self.folder / "scratch", around.base / "data")
        self.stopping = threading.Event()
        self.accepted = threading.Event()
        self.error: str | None = None
        self.exit_code: int | None = None
        self.ran_seconds: float | None = None  # of what runs once
        self._around = around
        self._watched: Watched | None = None

    # What each type does its own way

    def start(self) -> None:
        """Bring it up. Raises AppFailed when it does not come up, Cancelled when it need not."""

    def publish(self) -> None:
        """Let people have this revision."""
        publish_site(self._around.base, self.folder / "site")

    def show(self, word: str) -> None:
        """Let who names this word have it, beside the one that everyone else has."""
        self._around.web.show_site(word, self.folder / "site")

    def watch(self, seconds: float | None, on_steady: Callable[[], None]) -> AppFailed | None:
        """Why it has to be started again; None when the time is over or it need not be watched."""
        del seconds, on_steady
        return None

    def end_of_process(self) -> AppFailed | None:
        """Why its process has ended, if it has."""
        return None

    # The same for all

    @property
    def is_process(self) -> bool:
        """Whether it has a process that must keep running."""
        return False

    def install(self) -> None:
        """Put its files in place."""
        files = {
            path: content
            for path, content in self.bundle.files.items()
            if path.split("/")[-1] not in NOT_THE_APPS
        }
        write_files(files | self._extra_files(), self.folders.app)
        remove(self.folders.scratch)
        self.folders.scratch.mkdir()
        self._bring_along()
        self.folders.data.mkdir(mode=0o755, exist_ok=True)
        link = self.folders.app / "data"
        if not link.exists():  # an app that writes beside itself keeps its data all the same
            link.symlink_to(self.folders.data)
        if self._around.machine.run_app_with == "systemd":
            owned = (self.folders.data, self.folders.scratch, self.folders.app)
            within = (*self.folders.app.rglob("*"), *self.folders.scratch.rglob("*"))
            for path in (*owned, *within):
                if not path.is_symlink():
                    shutil.chown(path, APP_USER, APP_USER)
        self._install_dependencies()
        (self.folder / "installed").touch()

    @property
    def is_installed(self) -> bool:
        """Whether `install` has ended well."""
        return (self.folder / "installed").exists()

    def cancel(self) -> None:
        """It need not go on."""
        self.stopping.set()

    def end(self, grace_seconds: float = 0.0) -> None:
        """End its process, if it has one."""
        self.stopping.set()
        if self._watched is not None:
            self._watched.end(grace_seconds)

    def _extra_files(self) -> dict[str, str]:
        return {}

    def _bring_along(self) -> None:
        pass

    def _install_dependencies(self) -> None:
        pass

    def _run(
        self,
        command: list[str],
        environment: dict[str, str],
        log: Journal | None = None,
        *,
        with_secrets: bool = True,
    ) -> Watched:
        self.error = None

        def write(text: str) -> None:
            if self.error is None:
                self.error = next(filter(is_error, text.splitlines()), None)
            self._around.journal.write(text)
            if log:
                log.write(text)

        if self.stopping.is_set():
            raise Cancelled
        self._watched = self._around.launcher.start(
            str(self.number), command, self.folders, environment, write, with_secrets=with_secrets
        )
        return self._watched

    def _until_end(self, watched: Watched, limit_seconds: float) -> int | None:
        """The exit code, or None when it was killed because its time was over."""
        deadline = time.monotonic() + limit_seconds
        while (code := watched.process.poll()) is None:
            watched.check()
            if time.monotonic() > deadline or self.stopping.is_set():
                break
            self.stopping.wait(0.1)
        watched.process.kill()
        if self.stopping.is_set():
            raise Cancelled
        return code


def is_error(line: str) -> bool:
    """Whether a program says in this line what went wrong."""
    return ERROR_LINE.search(line[:300]) is not None


class Page(Revision):
    """webapp: Caddy serves the files; no process of the app runs."""

    def install(self) -> None:
        """See Revision."""
        super().install()
        folder = self.bundle.entrypoint.rpartition("/")[0]
        files = {
            path[len(folder) + 1 if folder else 0 :]: content
            for path, content in self.bundle.files.items()
            if not folder or path.startswith(folder + "/")
        }
        files.setdefault("index.html", self.bundle.files[self.bundle.entrypoint])
        write_files(files, self.folder / "site")


class Script(Revision):
    """script: run once; what it printed, how it ended and what it made become a page."""

    final_state = "finished"

    def start(self) -> None:
        """See Revision."""
        output_file = self.folder / "output.log"
        for old in self.folder.glob("output.log*"):
            old.unlink()
        output = Journal(output_file, line_characters=SINK_BYTES)
        command = ["python3", self.bundle.entrypoint]
        watched = self._run(command, {"PYTHONUNBUFFERED": "1"}, output)
        limit = self._around.machine.script_seconds
        failure: AppFailed | None = None
        code = None
        began = time.monotonic()
        try:
            code = self._until_end(watched, limit)
            if code is None:
                failure = AppFailed("AppNeverAnswered", f"the script ran longer than {limit:.0f} s")
            elif watched.was_killed_for_memory(code):
                failure = AppFailed("OutOfMemory", "the script ran out of memory", code)
            elif code != 0:
                failure = AppFailed("ScriptFailed", f"the script ended with exit code {code}", code)
        except AppFailed as error:
            failure = error
        self.exit_code, self.ran_seconds = code, time.monotonic() - began
        self._write_result(output.tail(LOG_FILE_BYTES), code, failure)
        if failure:
            raise failure

    def _write_result(self, output: str, code: int | None, failure: AppFailed | None) -> None:
        fresh, site = self.folder / "site.new", self.folder / "site"
        remove(fresh)
        (fresh / "files").mkdir(parents=True)
        offered = list(copy_results(self.folders.app, fresh / "files", set(self.bundle.files)))
        problem = str(failure) if failure and code is None else None
        (fresh / "index.html").write_text(result_page(output, code, problem, offered), "utf-8")
        remove(site)
        fresh.rename(site)


class Server(Revision):
    """api and fullstack: a process of Node.js behind Caddy."""

    @property
    def is_process(self) -> bool:
        """See Revision."""
        return True

    def publish(self) -> None:
        """See Revision."""
        self._around.web.select(self.port)

    def show(self, word: str) -> None:
        """See Revision."""
        self._around.web.show_port(word, self.port)

    def end_of_process(self) -> AppFailed | None:
        """See Revision."""
        if self._watched is None or (code := self._watched.process.poll()) is None:
            return None
        return self._death(self._watched, code)

    def start(self) -> None:
        """Start the process and wait for its first good answer.

        Any answer below 500 counts: an API without a page at / says 404, and one that wants a
        login 401. A 5xx says that the app itself is not in order, so it is given more time.
        """
        machine = self._around.machine
        environment = {"NODE_ENV": "production", "PORT": str(self.port)}
        watched = self._run(["node", self.bundle.entrypoint], environment)
        deadline = time.monotonic() + machine.answer_seconds
        elsewhere_since: float | None = None
        answer, pause = "no answer", 0.05
        while (code := watched.process.poll()) is None and not self.stopping.is_set():
            watched.check()
            answer = http_status(self.port, machine.health_timeout_seconds)
            if is_good(answer):
                (self.folder / "answered").touch()
                return
            now = time.monotonic()
            others = watched.listening_ports() if pause > 0.3 else set()  # noqa: PLR2004
            is_elsewhere = bool(others) and self.port not in others
            elsewhere_since = (elsewhere_since or now) if is_elsewhere else None
            waited = elsewhere_since is not None and now - elsewhere_since > WRONG_PORT_SECONDS
            if waited or now > deadline:
                others = watched.listening_ports()
                watched.process.kill()
                raise self._never_answered(answer, others)
            self.stopping.wait(pause)
            pause = min(pause * 1.3, 0.5)
        if code is None:
            raise Cancelled
        raise self._death(watched, code)

    @property
    def has_answered(self) -> bool:
        """Whether it has ever been up: what dies before that dies the same way again."""
        return (self.folder / "answered").exists()

    def watch(self, seconds: float | None, on_steady: Callable[[], None]) -> AppFailed | None:
        """See Revision."""
        watched, machine = self._watched, self._around.machine
        if watched is None:
            return None
        began = time.monotonic()
        deadline = began + seconds if seconds else float("inf")
        next_look, failures, steady = began + machine.health_interval_seconds, 0, False
        while (code := watched.process.poll()) is None and not self.stopping.is_set():
            watched.check()
            now = time.monotonic()
            if now > deadline:
                return None
            if not steady and now > began + machine.steady_seconds:
                steady = True
                on_steady()
            if now > next_look:
                answer = http_status(self.port, machine.health_timeout_seconds)
                failures = 0 if is_good(answer) else failures + 1
                if failures >= machine.health_failures:
                    watched.process.kill()
                    return AppFailed(
                        "AppStoppedAnswering",
                        f"the app gave no good answer {failures} times in a row, at last: {answer}",
                    )
                next_look = time.monotonic() + machine.health_interval_seconds
            self.stopping.wait(0.2)
        return None if code is None or self.stopping.is_set() else self._death(watched, code)

    def _never_answered(self, answer: str, ports: set[int]) -> AppFailed:
        seconds = self._around.machine.answer_seconds
        if ports and self.port not in ports:
            found = " and ".join(map(str, sorted(ports)))
            return AppFailed(
                "WrongPort",
                f"the app listens on port {found}, not on the one in the environment variable "
                f"PORT ({self.port})",
            )
        if not ports:
            return AppFailed("AppNeverAnswered", f"the app opened no port within {seconds:.0f} s")
        return AppFailed(
            "AppNeverAnswered",
            f"GET / on port {self.port} gave no good answer within {seconds:.0f} s, "
            f"at last: {answer}",
        )

    def _death(self, watched: Watched, code: int) -> AppFailed:
        """Why it ended by itself. What it left behind is ended too: it may hold the port."""
        watched.process.kill()
        # V8 gives up by itself at its heap's limit and says so.
        last_words = self._around.journal.lines()[-50:]
        gave_up = any("JavaScript heap out of memory" in line for line in last_words)
        if gave_up or watched.was_killed_for_memory(code):
            return AppFailed("OutOfMemory", f"the app ran out of memory (exit code {code})", code)
        return AppFailed("AppCrashed", f"the app ended with exit code {code}", code)

    # Dependencies

    def _extra_files(self) -> dict[str, str]:
        files = {"package.json": package_json(self.bundle)}
        if self.bundle.lock:
            files["package-lock.json"] = json.dumps(self.bundle.lock, indent=2) + "\n"
        return files

    def _bring_along(self) -> None:
        """npm's cache of a baked image, as a copy: what one app does to it must not reach another.

        npm looks for it in its HOME.
        """
        baked = self._around.base / "npm-cache"
        if self.bundle.dependencies and baked.is_dir():
            shutil.copytree(baked, self.folders.scratch / ".npm", symlinks=True)

    def _install_dependencies(self) -> None:
        if not self.bundle.dependencies:
            return
        # No generated or foreign code runs here; production packages only. With a lock, exactly
        # what it names, and each package with the hash that it names.
        verb = "ci" if self.bundle.lock else "install"
        options = ["--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
        # A registry that fails is asked again within seconds, not after npm's ten and sixty.
        options += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
        options.append("--prefer-offline")  # what the lock names by its hash does not change
        environment = {"NODE_ENV": "production"}
        for last in (False, True):
            watched = self._run(["npm", verb, *options], environment, with_secrets=False)
            code = self._until_end(watched, self._around.machine.install_seconds)
            if code == 0:
                return
            why = "took too long" if code is None else f"ended with exit code {code}"
            if last:
                raise AppFailed("InstallFailed", f"npm {verb} {why}")
            self._around.journal.write(f"npm {verb} {why}; trying once more")


TYPES: dict[str, type[Revision]] = {
    "webapp": Page,
    "script": Script,
    "api": Server,
    "fullstack": Server,
}


def publish_site(base: Path, site: Path) -> None:
    """Have Caddy serve this folder: a link changes in one step, so no request finds nothing."""
    part = base / "site.part"
    part.unlink(missing_ok=True)
    part.symlink_to(site)
    part.replace(base / "site")


def package_json(bundle: Bundle) -> str:
    """The app's package.json: ours, so that no generated script or setting is ever obeyed.

    Only the type that the operator's parser found is kept. Without one, Node.js decides for each
    file which of its two module systems it wants.
    """
    document = {
        "name": "app",
        "version": "1.0.0",
        "private": True,
        "main": bundle.entrypoint,
        "dependencies": bundle.dependencies,
    }
    if bundle.lock:  # npm refuses a lock that is not of exactly these
        document["dependencies"] = bundle.lock["packages"][""]["dependencies"]
    try:
        kind = json.loads(bundle.files.get("package.json", "{}")).get("type")
    except (ValueError, AttributeError, RecursionError):
        kind = None
    if kind in {"module", "commonjs"}:
        document["type"] = kind
    return json.dumps(document, indent=2) + "\n"


def is_good(answer: str) -> bool:
    """Whether an answer says that the app is in order."""
    return answer.isdigit() and int(answer) < 500  # noqa: PLR2004


def http_status(port: int, seconds: float) -> str:
    """The status that GET / brings from an app, or in words why there is none.

    An app is not trusted: the whole of it takes at most `seconds`, and little is read.
    """
    deadline = time.monotonic() + seconds
    request = (
        f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: spawnai-agent\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    try:
        with socket.create_connection(("localhost", port), timeout=seconds) as connection:
            connection.sendall(request.encode("ascii"))
            for received in _received(connection, deadline):
                if (status := _final_status(received)) is not None:
                    return status
    except OSError as error:
        return str(error) or type(error).__name__
    return f"no whole answer within {seconds:.0f} s or {ANSWER_MAX_BYTES} bytes"


def _received(connection: socket.socket, deadline: float) -> Iterator[bytes]:
    received = b""
    while len(received) < ANSWER_MAX_BYTES and (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        chunk = connection.recv(4096)
        if not chunk:
            return
        received += chunk
        yield received


def _final_status(received: bytes) -> str | None:
    """The status of the first answer that is not of the kind 1xx; None while there is none."""
    while b"\n" in received:
        line, _, rest = received.partition(b"\n")
        words = line.split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():  # noqa: PLR2004
            return "it speaks no HTTP"
        if not words[1].startswith(b"1"):
            return words[1].decode("ascii", "replace")[:3]
        _, end, received = rest.partition(b"\r\n\r\n")
        if not end:
            return None
    return None
