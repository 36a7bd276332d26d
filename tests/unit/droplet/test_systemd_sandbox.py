"""How the agent runs the app and Caddy on a droplet: as transient units of systemd.

`systemd-run` is a recorder here, which then runs the command as it is; what it was asked for is
read by systemd's own `systemd-analyze`, where the machine has it.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spawnai.droplet.agent.processes import (
    APP_UNIT,
    APP_USER,
    SANDBOX,
    WEB_UNIT,
    WEB_USER,
    Folders,
    Launcher,
)
from spawnai.droplet.agent.settings import MIB, Machine
from spawnai.droplet.agent.state import Journal
from spawnai.droplet.agent.web import Web, app_routes

MACHINE = Machine(memory_bytes=700 * MIB, disk_bytes=2_000 * MIB, processes=128)
UNIT_SETTINGS = ("BindsTo=", "After=")


@dataclass
class Asked:
    """What one call of systemd-run asked for."""

    unit: str = ""
    properties: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)

    def unit_file(self) -> str:
        """The same as a unit file."""
        of_unit = [line for line in self.properties if line.startswith(UNIT_SETTINGS)]
        of_service = [line for line in self.properties if line not in of_unit]
        # The app's user and folders exist on a droplet only.
        of_service = [line for line in of_service if not line.startswith(("User=", "Group="))]
        lines = ["[Unit]", *of_unit, "[Service]", "ExecStart=/bin/true", *of_service]
        return "\n".join(lines) + "\n"


def read(recorded: Path) -> Asked:
    asked = Asked()
    arguments = recorded.read_text().splitlines()
    split = arguments.index("--")
    for argument in arguments[:split]:
        name, _, value = argument.partition("=")
        if name == "--unit":
            asked.unit = value
        elif name == "--property":
            asked.properties.append(value)
        elif name == "--setenv":
            variable, _, text = value.partition("=")
            asked.variables[variable] = text
    asked.command = arguments[split + 1 :]
    return asked


@pytest.fixture
def recorded(tmp_path, monkeypatch) -> Path:
    """Where the recorder writes what it was called with, an argument a line."""
    binaries, recorded = tmp_path / "bin", tmp_path / "systemd-run.txt"
    binaries.mkdir()
    scripts = {
        "systemd-run": f'printf "%s\\n" "$@" > {recorded}\n'
        'while [ "$1" != "--" ]; do shift; done\nshift\nexec "$@"\n',
        "systemctl": "exit 0\n",
        "caddy": "echo caddy ran\n",
    }
    for name, script in scripts.items():
        (binaries / name).write_text(f"#!/bin/sh\n{script}")
        (binaries / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    return recorded


def web(base: Path, journal: Journal) -> Web:
    (base / "web").mkdir(exist_ok=True)
    routes = app_routes(MACHINE, base, is_server=True)
    return Web(MACHINE, journal, base, is_installed=lambda: True, routes=routes, private=None)


def run_app(base: Path, recorded: Path, secrets: dict[str, str] | None = None) -> Asked:
    journal = Journal(base / "log")
    launcher = Launcher(MACHINE, base / "app.env")
    launcher.environment = secrets or {}
    folders = Folders(base / "app", base / "scratch", base / "data")
    command = [sys.executable, "-c", "print('the app ran')"]
    variables = {"NODE_ENV": "production", "PORT": "3000"}
    watched = launcher.start("1", command, folders, variables, journal.write, with_secrets=True)
    watched.process._child.wait(timeout=20)
    watched.process._log.drain()
    assert journal.lines() == ["the app ran"]
    return read(recorded)


def run_caddy(base: Path, recorded: Path) -> Asked:
    web(base, Journal(base / "log"))._run_once()
    return read(recorded)


def test_the_app_runs_as_a_user_of_its_own_in_the_sandbox_and_within_its_limits(tmp_path, recorded):
    asked = run_app(tmp_path, recorded)
    assert asked.unit == f"{APP_UNIT}-1"
    assert set(asked.properties) >= set(SANDBOX)
    assert {f"User={APP_USER}", f"Group={APP_USER}"} <= set(asked.properties)
    assert {f"MemoryMax={700 * MIB}", "MemorySwapMax=0"} <= set(asked.properties)
    assert f"LimitFSIZE={2_000 * MIB}" in asked.properties
    assert f"ReadWritePaths={tmp_path}/app {tmp_path}/scratch {tmp_path}/data" in asked.properties


def test_the_app_is_given_its_port_and_nothing_of_the_agent_s_environment(
    tmp_path, recorded, monkeypatch
):
    monkeypatch.setenv("ONLY_THE_AGENT_S", "own")
    asked = run_app(tmp_path, recorded)
    ours = {"PATH", "LANG", "HOME", "TMPDIR", "DATA_DIR", "PORT", "NODE_ENV"}
    assert set(asked.variables) == ours
    assert asked.variables["DATA_DIR"] == str(tmp_path / "data")


def test_what_the_owner_gives_an_app_stands_in_no_command_line(tmp_path, recorded):
    asked = run_app(tmp_path, recorded, {"API_KEY": "the-owners-key"})
    assert f"EnvironmentFile={tmp_path / 'app.env'}" in asked.properties
    assert "the-owners-key" not in recorded.read_text()


def test_caddy_has_one_right_and_shares_the_rest_of_the_sandbox(tmp_path, recorded):
    asked = run_caddy(tmp_path, recorded)
    assert asked.unit == WEB_UNIT
    rights = [line for line in asked.properties if "Capabilit" in line]
    assert rights == [
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
    ]
    assert {f"User={WEB_USER}", f"Group={WEB_USER}"} <= set(asked.properties)
    assert f"ReadWritePaths={tmp_path / 'web'}" in asked.properties
    missing = set(SANDBOX) - set(asked.properties)
    assert missing == {"CapabilityBoundingSet="}
    assert asked.command[1:] == ["run", "--config", "start.json"]


def test_the_app_reaches_no_private_network_and_may_ask_for_its_own_addresses(tmp_path, recorded):
    asked = run_app(tmp_path, recorded)
    (denied,) = (line for line in asked.properties if line.startswith("IPAddressDeny="))
    private = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 fc00::/7"
    assert set(private.split()) <= set(denied.partition("=")[2].split())
    # Without it os.networkInterfaces() throws.
    (families,) = (line for line in asked.properties if line.startswith("RestrictAddressFamilies"))
    assert "AF_NETLINK" in families


def test_neither_outlives_the_agent(tmp_path, recorded):
    for run in (run_app, run_caddy):
        assert "BindsTo=spawnai-agent.service" in run(tmp_path, recorded).properties


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("run", [run_app, run_caddy])
def test_systemd_knows_every_setting(tmp_path, recorded, run: Callable[[Path, Path], Asked]):
    unit = tmp_path / "asked.service"
    unit.write_text(run(tmp_path, recorded).unit_file())
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in verified.stderr.splitlines() if "asked.service" in line]
    # The agent's own unit is on a droplet only.
    assert [line for line in said if "spawnai-agent.service" not in line] == []
