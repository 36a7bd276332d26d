"""The app's life: from its bundle to its end."""

import contextlib
import http.client
import json
import os
import shutil
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .bundle import NOT_THE_APPS, Bundle, Refused, remove, write_files
from .pages import copy_results, result_page, say
from .processes import (
    APP_UNIT,
    APP_USER,
    SANDBOX,
    SINK_BYTES,
    AppFailed,
    PlainProcess,
    Process,
    Sink,
    UnitProcess,
    Watched,
)
from .settings import PATH, Machine, Session
from .state import LOG_FILE_BYTES, Journal, State, complain, write_atomically
from .web import Web

# Private networks, the droplet's neighbours, and the metadata service, where any process may read
# user_data with the agent's key in it. Loopback is the app's own.
NOT_FOR_APPS = (
    "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 fc00::/7 fe80::/10"
)


class App:
    """One app from its bundle to its end. Its life runs in a thread of its own."""

    def __init__(
        self,
        session: Session,
        machine: Machine,
        state: State,
        journal: Journal,
        *,
        web: Web,
        base: Path,
    ) -> None:
        self._session = session
        self._machine = machine
        self._state = state
        self._journal = journal
        self._web = web
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
                f"IPAddressDeny={NOT_FOR_APPS}",
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
        deadline = time.monotonic() + self._machine.answer_seconds
        while problem := self._web.problem():
            if self._stopping.wait(0.02) or time.monotonic() > deadline:
                raise AppFailed("AppNeverAnswered", f"the app cannot be served: {problem}")


def packages(base: Path) -> str:
    """What the packages' script left: "ok", why it failed, or nothing yet."""
    try:
        return (base / "packages").read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def package_json(bundle: Bundle) -> str:
    """The app's package.json: ours, so that no generated script or setting is ever obeyed.

    Only the type that the operator's parser found is kept: a text in a comment or a template may
    look like an import. Without one, Node.js decides for each file.
    """
    kind = ""
    with contextlib.suppress(ValueError, AttributeError):
        kind = json.loads(bundle.files.get("package.json", "{}")).get("type", "")
    document = {
        "name": "app",
        "version": "1.0.0",
        "private": True,
        "main": bundle.entrypoint,
        "dependencies": bundle.dependencies,
    }
    if kind in {"module", "commonjs"}:
        document["type"] = kind
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
