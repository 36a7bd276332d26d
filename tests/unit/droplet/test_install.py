"""What the distribution has is installed although a source fails or dpkg was interrupted, and what
cannot be had is told by the first error. apt-get and dpkg are scripts here.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spawnai.droplet.agent.install import Installer, NotInstalled

INSTALLS = 'printf "#!/bin/sh\\n" >"$BIN/caddy"; chmod +x "$BIN/caddy"'
"""The end of an installation that works."""

Distribution = Callable[..., Path]


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribution:
    """A machine without caddy; `update`, `install` and `configure` are lines of shell."""

    def made(*, update: str = "", install: str = INSTALLS, configure: str = "", seconds=60) -> Path:
        bin_, base = tmp_path / "bin", tmp_path / "base"
        bin_.mkdir()
        base.mkdir()
        said = f'BIN="{bin_}"; echo "$(basename $0) $*" >>"{base}/asked"\n'
        apt = f'case "$*" in *install*) {install} ;; *update*) {update} ;; esac'
        for name, body in (("apt-get", apt), ("dpkg", configure or ":")):
            (bin_ / name).write_text(f"#!/bin/sh\n{said}{body}\n")
            (bin_ / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
        monkeypatch.setattr(
            "shutil.which", lambda name: str(bin_ / name) if (bin_ / name).exists() else None
        )
        (base / "session.json").write_text(json.dumps(SESSION))
        (base / "machine.env").write_text(f"PACKAGES_SECONDS={seconds}\n")
        return base

    return made


SESSION = {
    "app_type": "webapp",
    "token_sha256": "0" * 64,
    "expires_at": 1_800_000_000,
    "dead_man_grace_seconds": 600,
    "packages": ["caddy"],
}


def asked(base: Path) -> list[str]:
    return [line.split()[0] for line in (base / "asked").read_text().splitlines()]


def test_a_source_that_fails_keeps_nothing_back_that_the_others_have(distribution):
    base = distribution(update='echo "Err:1 https://repos.example.com stable" >&2; exit 100')
    Installer(base)._install_packages()
    assert asked(base) == ["apt-get", "dpkg", "apt-get"]


def test_an_interrupted_dpkg_is_repaired_before_anything_is_installed(distribution):
    broken = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'"
    base = distribution(
        install=f'if [ -e "$BIN/repaired" ]; then {INSTALLS}; else echo "{broken}" >&2; exit 1; fi',
        configure='case "$*" in *--configure*-a*) : >"$BIN/repaired" ;; esac',
    )
    Installer(base)._install_packages()
    assert asked(base) == ["apt-get", "dpkg", "apt-get"]


def test_what_cannot_be_had_is_told_by_the_first_error_and_not_by_the_last_line(distribution):
    base = distribution(
        update='echo "Err:1 https://mirror.example.com bookworm"; echo "  Connection refused"',
        install='echo "E: Package caddy has no installation candidate"; echo "See the log"; exit 1',
        seconds=5,
    )
    with pytest.raises(
        NotInstalled, match=r"could not be installed: Err:1 https://mirror\.example"
    ):
        Installer(base)._install_packages()


def test_a_unit_that_is_ended_because_it_took_too_long_tells_the_cause(distribution):
    base = distribution(
        update='echo "Err:1 https://mirror.example.com bookworm"',
        install=': >"$BIN/hangs"; sleep 60',
    )
    script = (
        "import sys; from pathlib import Path\n"
        "from spawnai.droplet.agent.install import Installer\n"
        "Installer._make_users = Installer._fetch_all = lambda self: None\n"
        "Installer._missing = lambda self: ['caddy']\n"  # this machine may have one
        "Installer(Path(sys.argv[1])).run()\n"
    )
    unit = subprocess.Popen([sys.executable, "-c", script, str(base)], start_new_session=True)
    try:
        hangs = base.parent / "bin" / "hangs"
        while not hangs.exists():
            assert unit.poll() is None
        unit.send_signal(signal.SIGTERM)
        assert unit.wait(60) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(unit.pid, signal.SIGKILL)
        unit.wait()
    assert (base / "packages").read_text() == (
        "could not be installed in time: Err:1 https://mirror.example.com bookworm\n"
    )
