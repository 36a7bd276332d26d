"""What a droplet boots with: one #cloud-config document that carries the agent itself.

It works on a stock Ubuntu 24.04 or Debian 12 image, and what a prepared image already has is not
installed again. In the order in which cloud-init goes through it:

1. `bootcmd` (early, before the files are written) leaves a helper behind that starts the units as
   soon as the last file is there, instead of at the end of the boot, seconds later.
2. `write_files`: the agent (one archive of the files in agent/), its settings and certificates,
   three units; last of all the mark that the helper waits for.
3. `runcmd` (the last thing of a first boot) enables the units, so that they come back after a
   reboot, and starts them if the helper could not.

The agent answers before the packages are there, and says so. Its unit and the packages' depend on
nothing that waits for cloud-init to end: cloud-init waits for nothing of ours either.

The only secrets in user_data are the agent's own keys, which every process that can read user_data
(169.254.169.254) could read; the app's unit cannot reach that address.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import yaml

from spawnai.droplet.credentials import GatewayCertificate, SessionCredentials

MAX_USER_DATA_BYTES = 64 * 1024
"""DigitalOcean's limit for user_data."""

AGENT_PORT = 8443
HTTP_PORT = 80
HTTPS_PORT = 443
FOLDER = "/opt/spawnai"

_PACKAGES = {
    "webapp": ("caddy",),
    "script": ("caddy",),
    "api": ("caddy", "nodejs", "npm"),
    "fullstack": ("caddy", "nodejs", "npm"),
}

_ARCHIVES = {
    "webapp": ("caddy",),
    "script": ("caddy",),
    "api": ("caddy", "node"),
    "fullstack": ("caddy", "node"),
}

# A spare is taken over by a session of any app type.
_LARGEST = "fullstack"

# The agent outlives what it runs: the kernel takes anything else first, and it is never given up.
# ProtectSystem and the rest bind an agent that was tricked; it stays root because it starts units.
_AGENT_UNIT = f"""\
[Unit]
Description=SpawnAI agent
After=dbus.socket
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/python3 -I {FOLDER}/agent.pyz
Restart=always
RestartSec=1
WatchdogSec=60
NotifyAccess=main
OOMScoreAdjust=-900
Nice=-5
MemoryMax=256M
TasksMax=128
UMask=0022
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={FOLDER}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
IPAddressDeny=169.254.0.0/16

[Install]
WantedBy=multi-user.target
"""

# Apart from the agent, because strangers and the app can make the agent busy: it has a port, this
# has none. Nothing else is given up later, and no limit is shared.
_SWITCH_UNIT = f"""\
[Unit]
Description=SpawnAI dead man's switch
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/python3 -I {FOLDER}/agent.pyz switch
Restart=always
RestartSec=1
WatchdogSec=60
NotifyAccess=main
OOMScoreAdjust=-1000
Nice=-10
CPUWeight=1000
IOWeight=1000
MemoryMin=24M
TasksMax=16
UMask=0022
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={FOLDER}
ProtectHome=yes
PrivateTmp=yes
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""

# After cloud-config.service, which writes apt's sources on a first boot. Nothing waits for this.
_PACKAGES_UNIT = f"""\
[Unit]
Description=Packages for the SpawnAI app
Wants=network-online.target
After=network-online.target cloud-config.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 -I {FOLDER}/agent.pyz install
TimeoutStartSec=630

[Install]
WantedBy=multi-user.target
"""

_UNITS = "spawnai-switch.service spawnai-agent.service spawnai-packages.service"
_WRITTEN = f"{FOLDER}/written"
# At most a minute: runcmd follows in any case.
_EARLY_START = (
    f"n=0; until [ -e '{_WRITTEN}' ] || [ $n -ge 600 ]; do n=$((n+1)); sleep 0.1; done; "
    f"systemctl daemon-reload && systemctl start --no-block {_UNITS}"
)


@dataclass(frozen=True, slots=True)
class AppHealth:
    """When the agent takes an app for ill, and how often it starts it again (seconds).

    The defaults are those of the first description: asked every 30 s, 5 s for an answer, three
    failures in a row; 60 s until the first answer; at most 5 restarts in 10 minutes.
    """

    interval: float = 30.0
    timeout: float = 5.0
    failures: int = 3
    grace: float = 60.0
    restarts: int = 5
    restart_window: float = 600.0

    def document(self) -> dict[str, float]:
        """As session.json has it."""
        return {
            "healthIntervalSeconds": self.interval,
            "healthTimeoutSeconds": self.timeout,
            "healthFailures": self.failures,
            "answerSeconds": self.grace,
            "restarts": self.restarts,
            "restartWindowSeconds": self.restart_window,
        }


@dataclass(frozen=True, slots=True)
class RuntimeArchive:
    """A project's own release archive that a droplet installs: `name` is node or caddy.

    `strip` is how many folders stand before the files in it: one in Node.js's, none in Caddy's.
    """

    name: str
    url: str
    sha256: str
    strip: int

    def document(self) -> dict[str, Any]:
        """As session.json has it."""
        return {"name": self.name, "url": self.url, "sha256": self.sha256, "strip": self.strip}


@dataclass(frozen=True, slots=True)
class DropletBootstrap:
    """All that one droplet is told before it boots, or when a session takes over a spare.

    Without an `app_type` it boots as a spare, with credentials of its own: it installs what every
    app type needs, and takes no app before a session has taken it over (`client.take_over`).
    `session_uid` is then the UID of its ledger.

    `agent_source` is what `packing.read_agent_source` returns. `gateway` is the private certificate
    that the droplet serves from birth, for a gateway to know it by; without one it serves HTTPS
    only once it is given a public certificate.
    `expires_at` is the first deadline of its dead man's switch: `grace_seconds` after it the
    droplet powers itself off, unless the operator has moved it. `lifetime` is how long that is from
    now by the caller's clock: the droplet counts it from its boot, so that no wrong date ends or
    lengthens its life. Without it the droplet's date decides. What `archives` do not have comes
    from the distribution.
    """

    session_uid: str
    app_type: str | None
    credentials: SessionCredentials
    agent_source: str
    expires_at: datetime
    grace_seconds: int
    agent_port: int = AGENT_PORT
    http_port: int = HTTP_PORT
    https_port: int = HTTPS_PORT
    gateway: GatewayCertificate | None = None
    lifetime: timedelta | None = None
    health: AppHealth = AppHealth()
    archives: tuple[RuntimeArchive, ...] = ()


def render_user_data(bootstrap: DropletBootstrap) -> str:
    """The user_data of one droplet: the same bytes for the same bootstrap, ASCII, at most 64 KiB.

    Raises:
        ValueError: unknown app type, naive expiry, or the agent has grown past what fits.
    """
    session = session_document(bootstrap)
    document = {
        # Without a key DigitalOcean mails a password and lets people log in with it.
        "ssh_pwauth": False,
        "bootcmd": [
            [
                *("systemd-run", "--no-block", "--quiet", "--unit=spawnai-early-start"),
                *("/bin/sh", "-c", _EARLY_START),
            ]
        ],
        "write_files": [
            packed(f"{FOLDER}/agent.pyz", bootstrap.agent_source),
            written_file(f"{FOLDER}/session.json", json.dumps(session, indent=2) + "\n"),
            written_file("/etc/systemd/system/spawnai-switch.service", _SWITCH_UNIT, mode="0644"),
            written_file("/etc/systemd/system/spawnai-agent.service", _AGENT_UNIT, mode="0644"),
            written_file(
                "/etc/systemd/system/spawnai-packages.service", _PACKAGES_UNIT, mode="0644"
            ),
            written_file(_WRITTEN, "All files of the bootstrap are there.\n"),
        ],
        "runcmd": [
            "set -eu",
            "passwd --quiet --lock root",
            "systemctl daemon-reload",
            f"systemctl enable {_UNITS}",
            f"systemctl start --no-block {_UNITS}",
        ],
    }
    return rendered(document, "user_data", "the agent")


def session_document(bootstrap: DropletBootstrap) -> dict[str, Any]:
    """session.json: all that the agent goes by. Its one secret parts are the agent's own keys.

    Raises:
        ValueError: unknown app type, or naive expiry.
    """
    installed_for = _LARGEST if bootstrap.app_type is None else bootstrap.app_type
    packages = _PACKAGES.get(installed_for)
    if packages is None:
        raise ValueError(
            f"unknown appType {bootstrap.app_type!r}; expected one of {', '.join(_PACKAGES)}"
        )
    if bootstrap.expires_at.utcoffset() is None:
        raise ValueError("expires_at has no time zone; expected an aware datetime")
    credentials, gateway = bootstrap.credentials, bootstrap.gateway
    document: dict[str, Any] = {
        "sessionUid": bootstrap.session_uid,
        "appType": bootstrap.app_type,
        "tokenSha256": credentials.token_sha256,
        "expiresAt": int(bootstrap.expires_at.timestamp()),
        "graceSeconds": bootstrap.grace_seconds,
        "agentPort": bootstrap.agent_port,
        "httpPort": bootstrap.http_port,
        "httpsPort": bootstrap.https_port,
        **bootstrap.health.document(),
        "packages": list(packages),
        "archives": [
            archive.document()
            for archive in bootstrap.archives
            if archive.name in _ARCHIVES[installed_for]
        ],
        "agent": {
            "certificate": credentials.certificate_pem,
            "key": credentials.private_key_pem,
        },
        "operatorCertificate": credentials.operator_certificate_pem,
        "gateway": gateway
        and {"certificate": gateway.certificate_pem, "key": gateway.private_key_pem},
    }
    if bootstrap.lifetime is not None:
        document["lifetimeSeconds"] = int(bootstrap.lifetime.total_seconds())
    return document


def rendered(document: Mapping[str, Any], name: str, largest: str) -> str:
    """The text of a cloud-config.

    Args:
        document: what cloud-init is to do.
        name: how an error calls it.
        largest: what of it can be made smaller.

    Raises:
        ValueError: it is larger than DigitalOcean takes.
    """
    text = "#cloud-config\n" + yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=False
    )
    size = len(text.encode("ascii"))
    if size > MAX_USER_DATA_BYTES:
        raise ValueError(
            f"{name} would have {size} bytes, but DigitalOcean takes {MAX_USER_DATA_BYTES}; "
            f"make {largest} smaller"
        )
    return text


def written_file(path: str, content: str, *, mode: str = "0600") -> dict[str, str]:
    """An entry of write_files."""
    return {"path": path, "permissions": mode, "content": content}


def packed(path: str, content: str) -> dict[str, str]:
    """An entry of write_files whose content is gzip and base64 already."""
    return {"path": path, "permissions": "0600", "encoding": "gz+b64", "content": content}


# The one in C where there is one: 30 KB take 0.5 ms instead of 11, in which nothing else is done.
_SAFE_DUMPER: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SAFE_DUMPER):  # type: ignore[valid-type, misc]
    """Writes texts of several lines as blocks, so that a person can read what will be run."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
