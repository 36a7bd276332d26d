"""What the operator process is told from outside: a few environment variables, read once."""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network

from spawnai.api.durations import parse_duration

DEFAULT_DIGITALOCEAN_API_URL = "https://api.digitalocean.com"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
NO_ACME = "none"
"""As SPAWNAI_ACME_DIRECTORY_URL: no certificate is ever ordered."""


class SettingsError(ValueError):
    """An environment variable has a value that cannot be used."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `spawnai run`. Everything about sessions is in the SpawnClass instead.

    Attributes:
        namespace: where the operator lives: its Lease, its key and the classes' credentials.
        digitalocean_api_url: the DigitalOcean API.
        anthropic_base_url: the Claude API; None for Anthropic's own.
        http_host: where /healthz, /readyz and /metrics listen.
        http_port: their port.
        log_level: debug, info, warning or error.
        log_format: json or text.
        workers: how many sessions are looked at side by side.
        identity: this process in the Lease (environment: POD_NAME, POD_UID).
        lease_seconds: how long a leader that went silent is waited for.
        reaper_dry_run: whether the reaper only tells what it would delete.
        reaper_most_per_hour: how many droplets the reaper deletes within an hour at most.
        reaper_minimum_age: how old a droplet must be for the reaper to look at it.
        door: where the inner door listens and is reached; None: there is none.
        droplet_networks: networks whose addresses count as public ones of droplets, for a local
            cloud. The operator connects to no other address that is not public.
        acme_directory_url: the ACME server that certificates are ordered from; None: none is.
        acme_ca_file: the roots that the ACME server itself is checked by; None: the system's.
    """

    namespace: str
    digitalocean_api_url: str
    anthropic_base_url: str | None
    http_host: str
    http_port: int
    log_level: str
    log_format: str
    workers: int
    identity: str
    lease_seconds: float
    reaper_dry_run: bool = False
    reaper_most_per_hour: int = 20
    reaper_minimum_age: timedelta = timedelta(minutes=10)
    droplet_networks: tuple[IPv4Network, ...] = ()
    acme_directory_url: str | None = None
    acme_ca_file: str | None = None
    door: "DoorSettings | None" = None


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Where the operator's inner door listens, and the address at which the console reaches it."""

    host: str
    port: int
    address: str


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment; raises SettingsError that names the variable and what to write."""
    address = environment.get("SPAWNAI_HTTP_ADDRESS", "0.0.0.0:8080")
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise SettingsError(
            f"SPAWNAI_HTTP_ADDRESS is {address!r}: write host:port, such as 0.0.0.0:8080"
        )
    return Settings(
        namespace=environment.get("SPAWNAI_NAMESPACE", "spawnai-system"),
        digitalocean_api_url=environment.get("DIGITALOCEAN_API_URL")
        or DEFAULT_DIGITALOCEAN_API_URL,
        anthropic_base_url=environment.get("ANTHROPIC_BASE_URL") or None,
        http_host=host,
        http_port=int(port),
        log_level=environment.get("SPAWNAI_LOG_LEVEL", "info"),
        log_format=environment.get("SPAWNAI_LOG_FORMAT", "json"),
        workers=_number(environment, "SPAWNAI_WORKERS", 16),
        identity=_identity(environment),
        lease_seconds=_number(environment, "SPAWNAI_LEASE_SECONDS", 15),
        reaper_dry_run=_choice(environment, "SPAWNAI_REAPER", ("delete", "dry-run")) == "dry-run",
        reaper_most_per_hour=_number(environment, "SPAWNAI_REAPER_MOST_PER_HOUR", 20),
        reaper_minimum_age=_duration(environment, "SPAWNAI_REAPER_MINIMUM_AGE", "10m"),
        droplet_networks=droplet_networks_from(environment),
        acme_directory_url=_acme_directory(environment),
        acme_ca_file=environment.get("SPAWNAI_ACME_CA_FILE") or None,
        door=_door(environment),
    )


def _acme_directory(environment: Mapping[str, str]) -> str | None:
    url = environment.get("SPAWNAI_ACME_DIRECTORY_URL") or LETS_ENCRYPT
    if url == NO_ACME:
        return None
    if not url.startswith("https://"):
        raise SettingsError(
            f"SPAWNAI_ACME_DIRECTORY_URL is {url!r}: write the https:// address of an ACME "
            f"server's directory, or {NO_ACME}"
        )
    return url


def _door(environment: Mapping[str, str]) -> DoorSettings | None:
    """The inner door of SPAWNAI_DOOR_ADDRESS; in a pod it is reached at POD_IP."""
    address = environment.get("SPAWNAI_DOOR_ADDRESS")
    if not address:
        return None
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise SettingsError(
            f"SPAWNAI_DOOR_ADDRESS is {address!r}: write host:port, such as 0.0.0.0:8444"
        )
    reached = environment.get("POD_IP") or host
    bracketed = f"[{reached}]" if ":" in reached else reached
    return DoorSettings(host=host, port=int(port), address=f"{bracketed}:{port}")


def droplet_networks_from(environment: Mapping[str, str]) -> tuple[IPv4Network, ...]:
    """The networks that SPAWNAI_DROPLET_NETWORKS lists with commas between them.

    Raises:
        SettingsError: one of them is no IPv4 network.
    """
    text = environment.get("SPAWNAI_DROPLET_NETWORKS", "")
    try:
        return tuple(IPv4Network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(
            f"SPAWNAI_DROPLET_NETWORKS: {error}; write IPv4 networks with commas between them,"
            " such as 127.0.0.0/8"
        ) from error


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = environment.get(name, choices[0])
    if text not in choices:
        raise SettingsError(f"{name} is {text!r}: write {' or '.join(choices)}")
    return text


def _duration(environment: Mapping[str, str], name: str, default: str) -> timedelta:
    try:
        return parse_duration(environment.get(name, default))
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error


def _identity(environment: Mapping[str, str]) -> str:
    """Who this process is in the Lease.

    A container that is started again in the same pod may take over its own lease at once: kubelet
    starts it only when its predecessor is dead. Anyone else is somebody new.
    """
    pod_uid = environment.get("POD_UID") or uuid.uuid4().hex[:8]
    return f"{environment.get('POD_NAME') or socket.gethostname()}_{pod_uid}"


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{name} is {text!r}: write a whole number from 1 on")
    return int(text)
