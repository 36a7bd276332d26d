"""What this droplet is for, and where it runs."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

VERSION = "2"
MIB = 1024 * 1024
PATH = "/usr/local/bin:/usr/bin:/bin"


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
    https_port: int = 443
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
        free = shutil.disk_usage(path.parent).free
        disk = machine.disk_bytes or max(free - 512 * MIB, 256 * MIB)
        return machine._replace(memory_bytes=memory, disk_bytes=disk)


PORT_KEYS = {"agent_port": "agentPort", "http_port": "httpPort"}
