"""A PostgreSQL server of one's own: Debian's programs, a new directory, a Unix socket."""

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_DEBIAN = Path("/usr/lib/postgresql")
_SECONDS = 60


class NoServer(Exception):
    """PostgreSQL's server is not installed; the message says how to get it."""


def programs() -> Path | None:
    """The newest server's programs; None where there is none."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextlib.contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """Run a server; its address.

    Raises:
        NoServer: Debian's package postgresql is missing.
    """
    binaries = programs()
    if binaries is None:
        raise NoServer("PostgreSQL's server is not here: apt-get install postgresql")
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    account = pwd.getpwnam(user)
    data = directory / "data"
    data.mkdir(parents=True)
    os.chown(data, account.pw_uid, account.pw_gid)
    directory.chmod(0o755)

    def run(*command: str) -> None:
        subprocess.run(
            command,
            check=True,
            user=account.pw_uid,
            group=account.pw_gid,
            cwd=data,
            timeout=_SECONDS,
            stdout=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )

    run(str(binaries / "initdb"), "-D", str(data), "-U", "spawnai", "-A", "trust", "-E", "UTF8")
    control = (str(binaries / "pg_ctl"), "-D", str(data), "-w", "-t", str(_SECONDS))
    settings = f"-c listen_addresses='' -c unix_socket_directories='{data}' -c fsync=off"
    run(*control, "-o", settings, "-l", str(data / "log"), "start")
    try:
        yield f"postgresql://spawnai@/postgres?host={data}"
    finally:
        run(*control, "-m", "immediate", "stop")
