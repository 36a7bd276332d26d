"""All of it together: the agent of one droplet."""

import contextlib
import hashlib
import hmac
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from .app import App, packages
from .bundle import Refused, remove
from .door import Control
from .pages import say
from .settings import VERSION, Machine, Session
from .state import Journal, State
from .web import Web, file_routes, proxy_routes, write_health


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
        self._state = State(
            base / "state.json", self._session.expires_at, partial(write_health, base)
        )
        self._journal = Journal(base / "app.log")
        has_process = self._session.app_type == "api"
        self.web = Web(
            self._machine,
            self._journal,
            base,
            is_installed=lambda: packages(base) == "ok",
            routes=proxy_routes(self._machine.app_port) if has_process else file_routes(base),
        )
        self.app = App(
            self._session, self._machine, self._state, self._journal, web=self.web, base=base
        )
        self._control = Control((self._machine.bind_address, self._machine.agent_port), tls, self)

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
        threading.Thread(target=self.web.run, daemon=True).start()
        # It never shuts down, so it need not look twice a second whether it should.
        threading.Thread(target=self._control.serve_forever, args=(3600,), daemon=True).start()
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
    Agent(Path(sys.argv[0]).resolve().parent).run()
