"""What this droplet is for, and where it runs."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

VERSION = "2"
MIB = 1024 * 1024
PATH = "/usr/local/bin:/usr/bin:/bin"


APP_TYPES = ("webapp", "api", "fullstack", "script")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain and its key (PEM), and the names it is for."""

    chain: str
    key: str = field(repr=False)
    names: tuple[str, ...] = ()

    @staticmethod
    def of(document: Mapping[str, Any]) -> "Certificate":
        """As session.json has it."""
        return Certificate(str(document["certificate"]), str(document["key"]))


@dataclass(frozen=True, slots=True)
class Session:
    """What the operator decided: session.json.

    `expires_at` is only the first expiry, and `lifetime_seconds` how long after the droplet's first
    boot that is, on whatever clock. Without an app type the droplet is a spare: it waits for the
    session that takes it over.
    """

    uid: str
    app_type: str | None
    token_sha256: str
    expires_at: float
    grace_seconds: float
    lifetime_seconds: float | None
    own: Certificate
    operators: str
    gateway: Certificate | None

    @staticmethod
    def read(path: Path) -> "Session":
        """Read it, or raise: without it nothing may be opened, so nothing is assumed."""
        return Session.of(json.loads(path.read_text("utf-8")))

    @staticmethod
    def of(document: Mapping[str, Any]) -> "Session":
        """Raises KeyError, TypeError or ValueError where it lacks something."""
        gateway = document["gateway"]
        session = Session(
            uid=str(document["sessionUid"]),
            app_type=document["appType"],
            token_sha256=str(document["tokenSha256"]),
            expires_at=float(document["expiresAt"]),
            grace_seconds=float(document["graceSeconds"]),
            lifetime_seconds=document.get("lifetimeSeconds"),
            own=Certificate.of(document["agent"]),
            operators=str(document["operatorCertificate"]),
            gateway=None if gateway is None else Certificate.of(gateway),
        )
        if not re.fullmatch("[0-9a-f]{64}", session.token_sha256):
            raise ValueError("tokenSha256 is not 64 hexadecimal digits")
        if session.app_type not in (*APP_TYPES, None):
            raise ValueError(f"appType {session.app_type!r} is not in {APP_TYPES}")
        return session


EVERYWHERE = "0.0.0.0"  # noqa: S104 - the operator and the app's users come from outside


class Machine(NamedTuple):
    """Where the agent runs. machine.env may set each of these, by its name in capitals."""

    bind_address: str = EVERYWHERE
    http_port: int = 80
    https_port: int = 443
    agent_port: int = 8443
    app_port: int = 3000
    run_app_with: str = "systemd"  # or "process": a plain child, where there is no systemd
    poweroff_command: str = "systemctl poweroff"
    boot_id: str = ""  # another one after each boot; the kernel's, where nothing is given
    clock_settle_seconds: float = 120.0  # after a boot, until a wrong date has been set right
    sample_seconds: float = 60.0
    memory_bytes: int = 0  # that the app may use; 0: by what the machine has
    disk_bytes: int = 0  # the same
    processes: int = 128
    packages_seconds: float = 600.0
    install_seconds: float = 180.0
    answer_seconds: float = 60.0  # an app may take so long until its first answer
    script_seconds: float = 300.0
    health_interval_seconds: float = 30.0
    health_timeout_seconds: float = 5.0
    health_failures: int = 3  # in a row, and the app is started again
    restarts: int = 5  # so many are forgiven ...
    restart_window_seconds: float = 600.0  # ... within this time
    restart_delay_seconds: float = 1.0  # doubled with each of them
    steady_seconds: float = 10.0  # an app that was started again runs when it has run so long
    drain_seconds: float = 5.0  # the revision before stays so long after the switch
    stop_seconds: float = 5.0  # from asking a process to end to ending it

    @staticmethod
    def read(path: Path, session: Mapping[str, Any]) -> "Machine":
        """The defaults, what session.json says, then machine.env (NAME=value lines)."""
        given = {name: session[key] for name, key in SESSION_KEYS.items() if key in session}
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
        free = shutil.disk_usage(path.parent).free
        disk = machine.disk_bytes or max(free - 512 * MIB, 256 * MIB)
        return machine._replace(memory_bytes=memory, disk_bytes=disk)


SESSION_KEYS = {
    "agent_port": "agentPort",
    "http_port": "httpPort",
    "https_port": "httpsPort",
    "answer_seconds": "answerSeconds",
    "health_interval_seconds": "healthIntervalSeconds",
    "health_timeout_seconds": "healthTimeoutSeconds",
    "health_failures": "healthFailures",
    "restarts": "restarts",
    "restart_window_seconds": "restartWindowSeconds",
}
