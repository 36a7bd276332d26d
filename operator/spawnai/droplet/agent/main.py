"""All of it together: the agent of one droplet, and the programs that ship with it."""

import hashlib
import hmac
import json
import os
import signal
import ssl
import sys
import threading
import time
import urllib.parse
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from . import switch
from .app import App, packages
from .bundle import Refused
from .door import Answer, Door, Request, Route
from .install import Installer
from .pages import say
from .settings import VERSION, Machine, Session
from .state import Journal, State, tell_systemd, write_atomically
from .usage import Usage
from .web import Web, app_routes, showing, write_health

AFTER_HEADER = "x-spawnai-after"
SWITCH_SECONDS = 5.0  # that the dead man's switch has to take in a new time
STOP_SECONDS, STOP_SECONDS_MAX = 5.0, 30.0  # from asking the app to end to ending it
YEAR_2100 = 2**32
ACCEPTED = {"accepted": True}
# What a spare is asked for before it has a session; all else would be kept for a stranger.
OF_A_SPARE = {"/v1/status", "/v1/log", "/v1/usage", "/v1/expiry", "/v1/session"}


class Agent:
    """One droplet's agent: the doors, the app and Caddy."""

    def __init__(self, base: Path) -> None:
        # All of these are read before any door is opened; a failure ends the agent, systemd
        # starts it again, and until then the doors are closed.
        document = json.loads((base / "session.json").read_text("utf-8"))
        self._session = Session.of(document)
        self._machine = Machine.read(base / "machine.env", document)
        self._base = base
        self._state = State(base / "state.json", partial(write_health, base))
        self._journal = Journal(base / "app.log")
        self._usage = Usage(self._machine.sample_seconds)
        self._lock = threading.Lock()
        self.web = Web(
            self._machine,
            self._journal,
            base,
            is_installed=lambda: packages(base) == "ok",
            routes=self._routes(self._session, self._machine),
            private=self._session.gateway,
        )
        self.app = self._app(self._session, self._machine)
        self._door = Door(
            (self._machine.bind_address, self._machine.agent_port),
            tls_of(self._session),
            admit=self.admit,
        )

    def run(self) -> None:
        """Until it is told to end."""
        say(self._base, "Your app is on its way", "Please come back in a moment.")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        threading.Thread(target=self.web.run, daemon=True).start()
        self.app.resume()  # before the door opens: what is pushed meanwhile would be taken twice
        for work in (self._door.serve_forever, self._usage.run):
            threading.Thread(target=work, daemon=True).start()
        while True:
            tell_systemd("WATCHDOG=1")
            time.sleep(10)

    def _routes(self, session: Session, machine: Machine) -> list[Any]:
        return app_routes(machine, self._base, is_server=session.app_type in {"api", "fullstack"})

    def _app(self, session: Session, machine: Machine) -> App:
        return App(session, machine, self._state, self._journal, web=self.web, base=self._base)

    def admit(self, authorization: str) -> Route | None:
        """Let the session's operator in; takes the same time whatever is shown."""
        session = self._session
        scheme, _, token = authorization.partition(" ")
        shown = hashlib.sha256(token.strip().encode("utf-8", "replace")).hexdigest()
        knows = hmac.compare_digest(shown, session.token_sha256) and scheme == "Bearer"
        return partial(self.route, session) if knows else None

    def route(self, session: Session, request: Request) -> Answer:
        """What the operator of this session may ask for: all of it."""
        url = urllib.parse.urlsplit(request.target)
        if session.app_type is None and url.path not in OF_A_SPARE:
            raise Refused(409, "this droplet is a spare; first a session has to take it over")
        match request.method, url.path:
            case "GET", "/v1/status":
                return 200, self.status(request.headers.get(AFTER_HEADER))
            case "GET", "/v1/log":
                lines, following = self._journal.since(_number(url.query))
                return 200, {"lines": lines, "next": following}
            case "GET", "/v1/usage":
                return 200, self._usage.since(_number(url.query))
            case "PUT", "/v1/bundle":
                return self.app.take(request.body()), ACCEPTED
            case "PUT", "/v1/env":
                self.app.set_environment(request.body())
            case "PUT", "/v1/session":
                self.take_over(session, request.body())
            case "PUT", "/v1/expiry":
                self.move_expiry(session, request.body())
            case "PUT", "/v1/certificate":
                self.web.put_certificate(request.body())
            case "PUT", "/v1/hosts":
                self.web.put_hosts(request.body())
            case "POST", "/v1/stop":
                self.app.stop(_grace(request.body()))
            case "POST", "/v1/restart":
                self.app.restart()
            case "PUT", path if path.startswith("/v1/challenges/"):
                self.web.put_challenge(path.removeprefix("/v1/challenges/"), request.body())
            case "DELETE", path if path.startswith("/v1/challenges/"):
                self.web.delete_challenge(path.removeprefix("/v1/challenges/"))
            case _:
                raise Refused(404, f"there is no {request.method} {url.path[:200]}")
        return 200, ACCEPTED

    def status(self, after: str | None) -> dict[str, Any]:
        """AgentStatus, as the operator's client reads it; `after` is the state it knows of."""
        values = self._state.snapshot(after)
        runtime = packages(self._base)
        promise = switch.read(self._base / "switch.json", switch.Promise)
        return {
            **values,
            # What the switch itself says: nothing else is a promise.
            "expiresAt": promise.expires_at if promise else self._session.expires_at,
            "log": self._journal.lines(),
            "agentVersion": VERSION,
            "runtime": "" if runtime == "ok" and self.web.problem() else runtime,
        }

    def take_over(self, under: Session, document: Any) -> None:
        """Become the droplet of another session, as if it had booted as that; a spare alone does.

        session.json is the whole of what a droplet is, so its replacement is the one moment at
        which it changes hands, whatever ends the agent before or after. Returns once the switch has
        taken in the new end, also to who asks again.
        """
        try:
            session = Session.of(document)
            tls = tls_of(session)
            machine = Machine.read(self._base / "machine.env", document)
            if session.gateway:
                showing(session.gateway)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise Refused(422, f"this is no session: {error!r}") from None
        if session.app_type is None or machine.agent_port != self._machine.agent_port:
            raise Refused(422, "a session has an app type, and its agent listens where this does")
        with self._lock:
            if self._session.app_type is None:
                if under is not self._session:
                    raise Refused(401, "another session has taken over this droplet")
                app = self._app(session, machine)
                owned = {**document, "expiry": asdict(self._expiry(document, session))}
                write_atomically(self._base / "session.json", json.dumps(owned, indent=2) + "\n")
                self._session, self._machine, self.app = session, machine, app
                self._door.change_locks(tls)
                self._journal.forget()
                self._usage.forget()
                self.web.take_over(machine, self._routes(session, machine), session.gateway)
            elif session.uid != self._session.uid:
                raise Refused(409, "this droplet is another session's")
            taken = switch.read(self._base / "session.json", switch.Expiry, "expiry")
            self._await_switch(taken.number if taken else 0)

    def move_expiry(self, under: Session, document: Any) -> None:
        """The operator's alone: nothing on this droplet can lengthen its life.

        Returns once the switch has taken it in.
        """
        document = document if isinstance(document, dict) else {}
        with self._lock:
            if under is not self._session:
                raise Refused(401, "another session has taken over this droplet")
            expiry = self._expiry(document, under)
            switch.write(self._base / "expiry.json", expiry)
            self._await_switch(expiry.number)

    def _expiry(self, document: Any, session: Session) -> switch.Expiry:
        """What this document says of the end, as the operator's last word."""
        expires_at = _time(document.get("expiresAt"), "expiresAt")
        lifetime = document.get("lifetimeSeconds", expires_at - time.time())
        before = (
            switch.read(self._base / "switch.json", switch.Promise),
            *(switch.read(self._base / name, switch.Expiry, part) for name, part in switch.WORDS),
        )
        return switch.Expiry(
            1 + max((one.number for one in before if one), default=0),
            expires_at,
            _time(lifetime, "lifetimeSeconds", least=-YEAR_2100),
            _time(session.grace_seconds, "graceSeconds"),
            switch.now(),
            switch.boot_name(self._machine),
        )

    def _await_switch(self, number: int) -> None:
        deadline = time.monotonic() + SWITCH_SECONDS
        while time.monotonic() < deadline:
            promise = switch.read(self._base / "switch.json", switch.Promise)
            if promise is not None and promise.number >= number:
                return
            time.sleep(0.02)
        raise Refused(503, "the dead man's switch does not answer; ask again")


def _time(value: Any, name: str, least: float = 0) -> float:
    # A year 2100 at most: what is later is a mistake in a unit, such as milliseconds.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value < YEAR_2100:
        raise Refused(422, f"{name} must be a number of seconds from {least} to {YEAR_2100}")
    return float(value)


def _grace(document: Any) -> float:
    seconds = document.get("seconds") if isinstance(document, dict) else None
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        return min(max(float(seconds), 0.0), STOP_SECONDS_MAX)
    return STOP_SECONDS


def _number(query: str) -> int:
    (text,) = urllib.parse.parse_qs(query).get("after", ["0"])[:1]
    return int(text) if text.isdecimal() and len(text) < 12 else 0  # noqa: PLR2004


def tls_of(session: Session) -> ssl.SSLContext:
    """Both sides show a certificate of this session; the operator's is its own anchor."""
    tls = showing(session.own)
    tls.num_tickets = 0
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.load_verify_locations(cadata=session.operators)
    return tls


def main() -> None:
    """`agent.pyz` is the agent; with an argument, the switch or the installer."""
    os.umask(0o022)
    base = Path(sys.argv[0]).resolve().parent
    if sys.argv[1:] == ["switch"]:
        switch.Switch(base).run()
    elif sys.argv[1:] == ["install"]:
        Installer(base).run()
    else:
        Agent(base).run()
