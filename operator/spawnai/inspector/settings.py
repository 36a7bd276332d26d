"""What the inspector's process is told from outside: environment variables, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from spawnai.settings import (
    Address,
    SettingsError,
    droplet_networks_from,
    read_address,
)


@dataclass(frozen=True, slots=True)
class InspectorSettings:
    """All settings of `spawnai inspector`.

    Attributes:
        address: where it listens, for inspections and probes.
        chromium: the browser's program; None: the system's.
        sandbox: whether Chromium confines its own processes; None: where this machine lets it.
        browsers: how many pages are opened side by side.
        networks: networks whose addresses count as public ones of droplets, for a local cloud.
        dns: a DNS server to ask instead of the system's, as host:port.
        log_level: debug, info, warning or error.
        log_format: json or text.
    """

    address: Address
    chromium: str | None
    sandbox: bool | None
    browsers: int
    networks: tuple[IPv4Network, ...]
    dns: Address | None
    log_level: str
    log_format: str


def inspector_settings_from(environment: Mapping[str, str]) -> InspectorSettings:
    """Read the environment.

    Raises:
        SettingsError: a variable has a value that cannot be used; the message says what to write.
    """
    dns = environment.get("SPAWNAI_INSPECTOR_DNS")
    return InspectorSettings(
        address=_address(environment, "SPAWNAI_INSPECTOR_ADDRESS", "0.0.0.0:8080"),
        chromium=environment.get("SPAWNAI_INSPECTOR_CHROMIUM") or None,
        sandbox=_sandbox(environment.get("SPAWNAI_INSPECTOR_SANDBOX") or "auto"),
        browsers=_browsers(environment.get("SPAWNAI_INSPECTOR_BROWSERS") or "2"),
        networks=droplet_networks_from(environment),
        dns=_address(environment, "SPAWNAI_INSPECTOR_DNS", "") if dns else None,
        log_level=environment.get("SPAWNAI_LOG_LEVEL") or "info",
        log_format=environment.get("SPAWNAI_LOG_FORMAT") or "json",
    )


def _address(environment: Mapping[str, str], name: str, default: str) -> Address:
    text = environment.get(name) or default
    try:
        read: Address = read_address(text)
    except ValueError as error:
        raise SettingsError(f"{name} is {text!r}: {error}") from None
    return read


def _sandbox(text: str) -> bool | None:
    known = {"auto": None, "on": True, "off": False}
    if text not in known:
        raise SettingsError(f"SPAWNAI_INSPECTOR_SANDBOX is {text!r}: write auto, on or off")
    return known[text]


def _browsers(text: str) -> int:
    most = 32
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise SettingsError(
            f"SPAWNAI_INSPECTOR_BROWSERS is {text!r}: write a whole number from 1 to {most}"
        )
    return int(text)
