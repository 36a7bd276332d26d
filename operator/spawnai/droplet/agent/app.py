"""The app's life: which revision of it runs, and the try of the next one.

At most one revision serves (`_current`) and at most one is tried beside it (`_trial`). A trial that
works takes its place; the one before stays a little longer, for the requests it has, and takes its
place back when the new one fails meanwhile. A trial that does not work leaves all as it was, and
status says why. One that the operator wants to look at first is held: only who names its word
reaches it, until the operator accepts it. Each revision's life runs in a thread of its own.
"""

import contextlib
import json
import secrets
import shutil
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any

from .bundle import Bundle, Refused, remove
from .environment import checked_environment, quoted
from .pages import say
from .processes import AppFailed, Launcher
from .revision import TYPES, Cancelled, Revision, Server, Surroundings
from .settings import Machine, Session
from .state import NOTHING_WRONG, Journal, State, complain, write_atomically
from .web import Web

ENDED = "stopped"


class App:
    """The app from its first bundle to the end of the session."""

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
        self._launcher = Launcher(machine, base / "app.env")
        self._around = Surroundings(base, machine, journal, self._launcher, web)
        self._lock = threading.RLock()
        self._current: Revision | None = None
        self._trial: Revision | None = None
        self._threads: dict[Revision, threading.Thread] = {}
        self._packages_limit = time.monotonic() + machine.packages_seconds
        (base / "revisions").mkdir(mode=0o755, exist_ok=True)

    # What the operator asks for

    def take(self, document: Any) -> int:
        """Accept a bundle: 202 when it is now ours to run, 200 when it already was."""
        bundle = Bundle.read(document)
        if bundle.app_type != self._session.app_type:
            raise Refused(422, f"this droplet is for a {self._session.app_type} app")
        with self._lock:
            if self._state["state"] == ENDED:
                raise Refused(409, "this session has ended")
            if self._has(bundle.digest):
                if self._trial is not None and not bundle.hold:
                    self._trial.accepted.set()
                    self._report(self._trial, "starting")
                return 200
            if self._trial is not None:
                self._trial.cancel()
                self._trial = None
            if self._current is not None and self._current.bundle.digest == bundle.digest:
                self._state.change(update=None)  # what was tried is not wanted any more
                return 200
            self._take(document, bundle)
        return 202

    def _has(self, digest: str) -> bool:
        """Whether this bundle runs, is tried, or was tried and failed: it is not done twice."""
        if self._trial is not None:
            return self._trial.bundle.digest == digest
        update = self._state["update"]
        tried = update["bundleDigest"] if update and update["state"] == "failed" else None
        return digest in {tried, self._state["bundleDigest"]}

    def _take(self, document: Any, bundle: Bundle) -> None:
        number = 1 + max([self._state["revision"], *self._numbers()])
        revision = self._revision(bundle, number)
        revision.folder.mkdir(mode=0o755)
        # On disk before it is said to be taken: the operator will not send it again.
        write_atomically(revision.folder / "bundle.json", json.dumps(document))
        if self._serves():
            self._trial = revision
            self._state.change(update=_update(revision, "installing"))
        else:
            if self._current is not None:
                self._current.cancel()
            self._current = revision
            self._state.change(
                bundleDigest=bundle.digest,
                revision=number,
                state="installing",
                restarts=0,
                update=None,
                **NOTHING_WRONG,
            )
        self._begin(revision)

    def set_environment(self, document: Any) -> None:
        """What the app's owner gives it: for the next revision, and for a restart of this one."""
        variables = checked_environment(document)
        lines = [f"{name}={quoted(value)}\n" for name, value in variables.items()]
        with self._lock:
            write_atomically(self._base / "app.env", "".join(lines))
            write_atomically(self._base / "app.env.json", json.dumps(variables))
            self._use_environment(variables)

    def resume(self) -> None:
        """After a restart of the agent or the droplet: bring back what was there."""
        with contextlib.suppress(OSError, ValueError):
            self._use_environment(json.loads((self._base / "app.env.json").read_text("utf-8")))
        state, number, update = (self._state[key] for key in ("state", "revision", "update"))
        if state == ENDED:
            self._say_ended()
            return
        with self._lock:
            number = number or max(self._numbers(), default=0)
            if not number:
                return
            revision = self._read(number)
            if revision is None:
                self._state.change(bundleDigest=None, state="idle", revision=0, update=None)
                return
            self._current = revision
            if state == "failed":
                self._say_failed(self._state["reason"])
            elif state != "finished":
                self._state.change(bundleDigest=revision.bundle.digest, revision=number)
                self._begin(revision)
            if update and update["state"] != "failed" and update["revision"] != number:
                trial = self._read(update["revision"])
                if trial is not None:
                    self._trial = trial
                    self._begin(trial)

    def stop(self, grace_seconds: float) -> None:
        """End the app: first a page that says so, then the process, asked kindly."""
        with self._lock:
            revisions = [one for one in (self._trial, self._current) if one]
            self._say_ended()
            if self._state["state"] != ENDED:
                before = self._state["state"]
                self._state.change(state=ENDED, update=None, stateBeforeStop=before)
        for revision in revisions:
            revision.end(grace_seconds)
        for thread in list(self._threads.values()):
            thread.join(10)

    def restart(self) -> None:
        """Serve again after a stop: the session goes on. What had finished is not run again."""
        with self._lock:
            if self._state["state"] != ENDED:
                return
            self._web.go_on()
            before = self._state["stateBeforeStop"]
            over = before in {"finished", "failed"}
            self._state.change(state=before if over else "starting")
            say(self._base, "Your app is on its way", "Please come back in a moment.")
            self._trial = None
            self.resume()
            if before == "finished" and self._current is not None:
                self._serve(self._current)

    # A revision's life

    def _begin(self, revision: Revision) -> None:
        thread = threading.Thread(target=self._live, args=(revision,), daemon=True)
        self._threads[revision] = thread
        thread.start()

    def _live(self, revision: Revision) -> None:
        try:
            self._end_others(revision)
            self._bring_up(revision)
            self._hold(revision)
            previous = self._switch_to(revision)
            if previous is not None:
                self._drain(revision, previous)
            self._remove_others()
            self._keep(revision)
        except Cancelled:
            revision.end()
        except AppFailed as failure:
            self._fail(revision, failure)
        except Exception as error:  # noqa: BLE001 - whatever it was, the operator must hear of it
            complain(traceback.format_exc())
            full = isinstance(error, OSError) and error.errno == 28  # noqa: PLR2004 - ENOSPC
            reason = "DiskFull" if full else "RuntimeNotInstalled"
            self._fail(revision, AppFailed(reason, f"the agent: {error!r}"))

    def _end_others(self, revision: Revision) -> None:
        """End what may hold its port: what failed, was tried before, or still ends what it has."""
        with self._lock:
            others = set(self._threads) - {revision, self._current, self._trial}
        for other in others:
            other.end(0.0 if other.stopping.is_set() else self._machine.stop_seconds)
            if (thread := self._threads.pop(other, None)) is not None:
                thread.join(30)

    def _bring_up(self, revision: Revision) -> None:
        self._wait_for_packages(revision)
        # A script that was interrupted starts over in a clean folder.
        if not revision.is_installed or self._session.app_type == "script":
            self._report(revision, "installing")
            revision.install()
        self._report(revision, "starting")
        try:
            revision.start()
        except AppFailed as failure:
            if not (isinstance(revision, Server) and revision.has_answered):
                raise
            self._start_again(revision, failure, deque())
        deadline = time.monotonic() + self._machine.answer_seconds
        while problem := self._web.problem():
            if revision.stopping.wait(0.02):
                raise Cancelled
            if time.monotonic() > deadline:
                raise AppFailed("AppNeverAnswered", f"the app cannot be served: {problem}")

    def _hold(self, revision: Revision) -> None:
        """Where the operator asked for it, keep a trial out of sight until it is accepted."""
        if not revision.bundle.hold or revision is not self._trial:
            return
        word = secrets.token_urlsafe(24)
        revision.show(word)
        try:
            with self._lock:
                if revision is self._trial:
                    self._state.change(update=_update(revision, "held") | {"word": word})
            while not revision.accepted.wait(0.05):
                if revision.stopping.is_set():
                    raise Cancelled
                if (failure := revision.end_of_process()) is not None:
                    raise failure
        finally:
            self._web.hide(word)

    def _switch_to(self, revision: Revision) -> Revision | None:
        """Let people have this revision; returns the one before."""
        with self._lock:
            if revision.stopping.is_set() or revision not in {self._current, self._trial}:
                raise Cancelled
            changes = {"restarts": 0, "update": _update(revision, revision.final_state)}
            previous = self._current
            if previous is revision:
                previous, changes = None, {}
            else:
                self._trial = None
            self._serve(revision)
            self._state.change(
                **NOTHING_WRONG | {"exitCode": revision.exit_code} | changes,
                bundleDigest=revision.bundle.digest,
                revision=revision.number,
                state=revision.final_state,
                ranSeconds=revision.ran_seconds,
            )
            return previous

    def _serve(self, revision: Revision) -> None:
        revision.publish()
        self._current = revision

    def _drain(self, revision: Revision, previous: Revision) -> None:
        """The one before ends what it has; if the new one dies meanwhile, it takes over again."""
        try:
            seconds = self._machine.drain_seconds
            failure = revision.watch(seconds, lambda: None) if revision.is_process else None
        except AppFailed as error:
            failure = error
        if failure is not None:
            with self._lock:
                if not previous.stopping.is_set():
                    self._serve(previous)
                    self._trial = revision  # so it fails as one that was only tried
                    self._state.change(
                        bundleDigest=previous.bundle.digest,
                        revision=previous.number,
                        state=previous.final_state,
                    )
            raise failure
        previous.end(self._machine.stop_seconds)
        with self._lock:
            self._threads.pop(previous, None)

    def _keep(self, revision: Revision) -> None:
        """Start it again when it dies, and give up when that happens too often."""
        deaths: deque[float] = deque()
        while revision.is_process and not revision.stopping.is_set():
            try:
                failure = revision.watch(None, lambda: self._report(revision, "running"))
            except AppFailed as error:
                if error.reason != "OutOfMemory":
                    raise
                failure = error
            if failure is None:
                return
            self._start_again(revision, failure, deaths)

    def _start_again(self, revision: Revision, failure: AppFailed, deaths: deque[float]) -> None:
        """Until it has answered once more. `deaths` are the times of those before."""
        while True:
            now = time.monotonic()
            deaths.append(now)
            while now - deaths[0] > self._machine.restart_window_seconds:
                deaths.popleft()
            if len(deaths) > self._machine.restarts:
                message = f"{failure}; {len(deaths)} times now, so it is given up"
                raise AppFailed(failure.reason, message, failure.exit_code)
            self._journal.write(f"{failure}; it is started again")
            with self._lock:
                if self._current is revision:
                    self._state.change(
                        state="starting",
                        restarts=self._state["restarts"] + 1,
                        **_verdict(revision, failure),
                    )
            delay = min(self._machine.restart_delay_seconds * 2 ** (len(deaths) - 1), 30)
            if revision.stopping.wait(delay):
                raise Cancelled
            try:
                revision.start()
            except AppFailed as again:
                failure = again
            else:
                return

    def _report(self, revision: Revision, state: str) -> None:
        with self._lock:
            if revision is self._trial:
                self._state.change(update=_update(revision, state))
            elif revision is self._current and not revision.stopping.is_set():
                verdict = NOTHING_WRONG if state == "running" else {}
                if state != self._state["state"]:
                    self._state.change(state=state, **verdict)

    def _fail(self, revision: Revision, failure: AppFailed) -> None:
        revision.end()
        verdict = _verdict(revision, failure)
        self._journal.write(f"{failure.reason}: {failure}")
        with self._lock:
            if revision is self._trial:
                self._trial = None
                self._state.change(update=_update(revision, "failed") | verdict)
                self._remove_others()
            elif revision is self._current and self._state["state"] != ENDED:
                if self._session.app_type == "script":  # what it printed is still worth a look
                    with contextlib.suppress(OSError):
                        self._serve(revision)
                self._state.change(state="failed", **verdict)
                self._say_failed(failure.reason)

    # Folders, packages, pages

    def _serves(self) -> bool:
        return self._current is not None and self._state["state"] in {
            "starting",
            "running",
            "finished",
        }

    def _revision(self, bundle: Bundle, number: int) -> Revision:
        port = self._machine.app_port
        if self._current is not None and self._current.port == port:
            port += 1
        return TYPES[bundle.app_type](bundle, number, port, self._around)

    def _read(self, number: int) -> Revision | None:
        path = self._base / "revisions" / str(number) / "bundle.json"
        try:
            return self._revision(Bundle.read(json.loads(path.read_text("utf-8"))), number)
        except (OSError, ValueError, Refused) as error:
            complain(f"{path} cannot be read, so the operator has to push it again: {error}")
            return None

    def _numbers(self) -> list[int]:
        return [
            int(folder.name)
            for folder in (self._base / "revisions").iterdir()
            if folder.name.isdigit()
        ]

    def _remove_others(self) -> None:
        with self._lock:
            kept = {one.number for one in (self._current, self._trial) if one}
            for number in set(self._numbers()) - kept:
                with contextlib.suppress(OSError):
                    shutil.rmtree(self._base / "revisions" / str(number))

    def _wait_for_packages(self, revision: Revision) -> None:
        """cloud-init installs Caddy and Node.js meanwhile; its script says when, or why not."""
        said = False
        while not (answer := packages(self._base)):
            if not said:
                self._journal.write("waiting until the droplet's packages are installed")
                said = True
            if revision.stopping.wait(0.1):
                raise Cancelled
            if time.monotonic() > self._packages_limit:
                raise AppFailed(
                    "RuntimeNotInstalled", "the droplet's packages were not installed in time"
                )
        if answer != "ok":
            raise AppFailed("RuntimeNotInstalled", f"the droplet's packages: {answer}")

    def _use_environment(self, variables: dict[str, str]) -> None:
        self._launcher.environment = variables
        self._journal.hide(variables.values())

    def _say_failed(self, reason: str) -> None:
        say(self._base, "This app has stopped", f"It ended with: {reason}.")

    def _say_ended(self) -> None:
        say(self._base, "This app has ended", "Its time is over.")
        self._web.end()
        remove(self._base / "site")


def _update(revision: Revision, state: str) -> dict[str, Any]:
    return {
        "bundleDigest": revision.bundle.digest,
        "revision": revision.number,
        "state": state,
        **NOTHING_WRONG,
    }


def _verdict(revision: Revision, failure: AppFailed) -> dict[str, Any]:
    return {
        "reason": failure.reason,
        "message": str(failure),
        "error": revision.error,
        "exitCode": failure.exit_code,
    }


def packages(base: Path) -> str:
    """What the packages' script left: "ok", why it failed, or nothing yet."""
    try:
        return (base / "packages").read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
