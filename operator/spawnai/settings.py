"""What the operator process is told from outside: a few environment variables, read once.

A value that cannot be used is refused with a sentence that says what to write, all of them at once.
"""

import os
import re
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from spawnai.api.durations import parse_duration

DEFAULT_DIGITALOCEAN_API_URL = "https://api.digitalocean.com"

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

NO_ACME = "none"
"""As SPAWNAI_ACME_DIRECTORY_URL: no certificate is ever ordered."""

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "text")

_SHORTEST_LEASE, _LONGEST_LEASE = 2, 300
"""Seconds. Below, a slow answer of the API server costs the lease; above, nobody leads for minutes
after a machine has died."""

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Problem:
    """A variable with a value that cannot be used, and the sentence that says what to write."""

    variable: str
    message: str


class SettingsError(ValueError):
    """Environment variables have values that cannot be used."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(
            one if isinstance(one, Problem) else Problem("", one) for one in problems
        )
        super().__init__("; ".join(problem.message for problem in self.problems))


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written in a setting or a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: Any) -> Any:
    """`host:port`, `[IPv6]:port` or `:port`, which is every address of the machine."""
    if not isinstance(text, str):
        return text
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    good = separator and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535  # noqa: PLR2004
    if not good or (":" in host) != bracketed:
        raise ValueError("write host:port such as 0.0.0.0:8080 or [::]:8080, port 1 to 65535")
    return Address(host or "0.0.0.0", int(port))  # noqa: S104 - that is what :8080 means


def read_ip_and_port(text: Any) -> Any:
    """`IP:port`, or `[IPv6]:port`: of a DNS server, which no name can be asked for."""
    address = read_address(text)
    try:
        ip_address(address.host)
    except ValueError:
        raise ValueError("write its IP address, as in 127.0.0.1:53 or [::1]:53") from None
    return address


def read_file(text: Any) -> Any:
    """The path of a PEM file that is there."""
    if not Path(text).is_file():
        raise ValueError("write the path of a PEM file: there is no such file")
    return Path(text)


def whole_number(least: int, most: int) -> Callable[[Any], Any]:
    """A reader of whole numbers between these."""

    def read(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        # No isdigit alone: "²" is a digit to it, and no number.
        good = text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004
        if not good or not least <= int(text) <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return int(text)

    return read


def choice(*choices: str) -> Callable[[Any], Any]:
    """A reader of one of these words."""

    def read(text: Any) -> Any:
        if text not in choices:
            raise ValueError(f"write {', '.join(choices[:-1])} or {choices[-1]}")
        return text

    return read


def _read_url(text: Any) -> Any:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises where it is no port
    except ValueError:
        good = False
    if not good:
        raise ValueError("write a URL with its scheme, such as https://api.example.com")
    return text


def _read_acme_directory(text: Any) -> Any:
    if text in (None, NO_ACME):
        return None
    url = _read_url(text or LETS_ENCRYPT)
    if not url.startswith("https://"):
        raise ValueError(f"write the https:// address of an ACME server, or {NO_ACME}")
    return url


def read_namespace(text: Any) -> Any:
    """The name of a namespace."""
    if not isinstance(text, str) or not _NAMESPACE.fullmatch(text):
        raise ValueError(
            "write the namespace that the operator runs in, such as spawnai-system (small letters, "
            "digits and -)"
        )
    return text


def _read_duration(text: Any) -> Any:
    return parse_duration(text) if isinstance(text, str) else text


def _read_networks(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return tuple(IPv4Network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(
            f"{error}; write IPv4 networks with commas between them, such as 127.0.0.0/8"
        ) from error


def read_or(default: Any, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reader to which an empty value stands for the default."""
    return lambda text: read(text) if text else default


Networks = Annotated[tuple[IPv4Network, ...], NoDecode, BeforeValidator(_read_networks)]


def _somebody_new() -> str:
    return uuid.uuid4().hex[:8]


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Where the operator's inner door listens, and the address at which the console reaches it."""

    host: str
    port: int
    address: str


class EnvironmentSettings(BaseSettings):
    """Settings that are read from the variables that their fields name, and from nothing else."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", case_sensitive=True, populate_by_name=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the caller hands in: no file is looked for."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


class ProcessSettings(EnvironmentSettings):
    """What each process of the product is told."""

    log_level: Annotated[str, BeforeValidator(choice(*LOG_LEVELS))] = Field(
        "info",
        validation_alias="SPAWNAI_LOG_LEVEL",
        description="debug, info, warning or error.",
    )
    log_format: Annotated[str, BeforeValidator(choice(*LOG_FORMATS))] = Field(
        "json", validation_alias="SPAWNAI_LOG_FORMAT", description="json or text."
    )


_TELEMETRY_ADDRESS = Address("0.0.0.0", 8080)  # noqa: S104 - probes and metrics, from other pods


class TelemetrySettings(ProcessSettings):
    """What a process is told whose probes and metrics have an address of their own."""

    telemetry_address: Annotated[
        Address, NoDecode, BeforeValidator(read_or(_TELEMETRY_ADDRESS, read_address))
    ] = Field(
        _TELEMETRY_ADDRESS,
        validation_alias="SPAWNAI_HTTP_ADDRESS",
        description="Where /healthz, /readyz and /metrics listen.",
    )


class CloudSettings(EnvironmentSettings):
    """Where DigitalOcean is: what the operator and `spawnai reap` are told alike."""

    digitalocean_api_url: Annotated[
        str, BeforeValidator(read_or(DEFAULT_DIGITALOCEAN_API_URL, _read_url))
    ] = Field(
        DEFAULT_DIGITALOCEAN_API_URL,
        validation_alias="DIGITALOCEAN_API_URL",
        description="The DigitalOcean API.",
    )
    droplet_networks: Networks = Field(
        (),
        validation_alias="SPAWNAI_DROPLET_NETWORKS",
        description=(
            "Networks whose addresses count as public ones of droplets, for a local cloud. The "
            "operator connects to no other address that is not public."
        ),
    )


class Settings(ProcessSettings, CloudSettings):
    """All settings of `spawnai run`. Everything about sessions is in the SpawnClass instead.

    Each field says which variable it is read from.
    """

    namespace: Annotated[str, BeforeValidator(read_namespace)] = Field(
        "spawnai-system",
        validation_alias="SPAWNAI_NAMESPACE",
        description="Where the operator lives: its Lease, its Secrets, the classes' credentials.",
    )
    anthropic_base_url: Annotated[str | None, BeforeValidator(read_or(None, _read_url))] = Field(
        None,
        validation_alias="ANTHROPIC_BASE_URL",
        description="The Claude API, when it is not Anthropic's own.",
    )
    http_address: Annotated[Address, NoDecode, BeforeValidator(read_address)] = Field(
        Address("0.0.0.0", 8080),  # noqa: S104 - probes and metrics, reached from other pods
        validation_alias="SPAWNAI_HTTP_ADDRESS",
        description="Where /healthz, /readyz and /metrics listen.",
    )
    workers: Annotated[int, BeforeValidator(whole_number(1, 256))] = Field(
        16,
        validation_alias="SPAWNAI_WORKERS",
        description="How many sessions are looked at side by side.",
    )
    lease_seconds: Annotated[
        int, BeforeValidator(whole_number(_SHORTEST_LEASE, _LONGEST_LEASE))
    ] = Field(
        15,
        validation_alias="SPAWNAI_LEASE_SECONDS",
        description="How long a leader that went silent is waited for, in seconds.",
    )
    reaper: Annotated[str, BeforeValidator(choice("delete", "dry-run"))] = Field(
        "delete",
        validation_alias="SPAWNAI_REAPER",
        description="Whether the reaper deletes, or only tells what it would delete.",
    )
    reaper_most_per_hour: Annotated[int, BeforeValidator(whole_number(1, 100_000))] = Field(
        20,
        validation_alias="SPAWNAI_REAPER_MOST_PER_HOUR",
        description="How many droplets the reaper deletes within an hour at most.",
    )
    reaper_minimum_age: Annotated[timedelta, NoDecode, BeforeValidator(_read_duration)] = Field(
        timedelta(minutes=10),
        validation_alias="SPAWNAI_REAPER_MINIMUM_AGE",
        description="How old a droplet must be for the reaper to look at it.",
    )
    acme_directory_url: Annotated[str | None, BeforeValidator(_read_acme_directory)] = Field(
        LETS_ENCRYPT,
        validation_alias="SPAWNAI_ACME_DIRECTORY_URL",
        description=f"The ACME server that certificates are ordered from; {NO_ACME}: none is.",
    )
    acme_ca_file: Annotated[Path | None, BeforeValidator(read_or(None, read_file))] = Field(
        None,
        validation_alias="SPAWNAI_ACME_CA_FILE",
        description="The roots that the ACME server itself is checked by, if not the system's.",
    )
    acme_dns: Annotated[
        Address | None, NoDecode, BeforeValidator(read_or(None, read_ip_and_port))
    ] = Field(
        None,
        validation_alias="SPAWNAI_ACME_DNS",
        description=(
            "The DNS server that is asked for proofs and CAA records, if not the domain's own "
            "nameservers; for a DNS of one's own."
        ),
    )
    inspector_url: Annotated[str | None, BeforeValidator(read_or(None, _read_url))] = Field(
        None,
        validation_alias="SPAWNAI_INSPECTOR_URL",
        description="Where the inspector is, which opens pages; without it none is opened.",
    )
    door_address: Annotated[
        Address | None, NoDecode, BeforeValidator(read_or(None, read_address))
    ] = Field(
        None,
        validation_alias="SPAWNAI_DOOR_ADDRESS",
        description="Where the inner door listens; without it there is none.",
    )
    pod_ip: str = Field(
        "",
        validation_alias="POD_IP",
        description="Where the inner door of a pod is reached.",
    )
    pod_name: Annotated[str, BeforeValidator(lambda text: text or socket.gethostname())] = Field(
        default_factory=socket.gethostname,
        validation_alias="POD_NAME",
        description="The name of this process in the Lease.",
    )
    pod_uid: Annotated[str, BeforeValidator(lambda text: text or _somebody_new())] = Field(
        default_factory=_somebody_new,
        validation_alias="POD_UID",
        description="The UID of its pod.",
    )

    @property
    def http_host(self) -> str:
        """The address that the probes' server listens at."""
        return self.http_address.host

    @property
    def http_port(self) -> int:
        """Its port."""
        return self.http_address.port

    @property
    def door(self) -> DoorSettings | None:
        """Where the inner door listens and is reached; None: there is none."""
        if self.door_address is None:
            return None
        host, port = self.door_address
        return DoorSettings(host=host, port=port, address=str(Address(self.pod_ip or host, port)))

    @property
    def reaper_dry_run(self) -> bool:
        """Whether the reaper only tells what it would delete."""
        return self.reaper == "dry-run"

    @property
    def identity(self) -> str:
        """Who this process is in the Lease.

        A container that is started again in the same pod may take over its own lease at once:
        kubelet starts it only when its predecessor is dead. Anyone else is somebody new.
        """
        return f"{self.pod_name}_{self.pod_uid}"


class _Environment(EnvSettingsSource):
    """The variables of a mapping, which need not be this process's environment."""

    def __init__(self, settings: type[EnvironmentSettings], environment: Mapping[str, str]) -> None:
        self._environment = environment
        super().__init__(settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._environment)


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: values that cannot be used; each problem names its variable.
    """
    return read_settings(Settings, environment)


Model = TypeVar("Model", bound=EnvironmentSettings)


def read_settings(settings: type[Model], environment: Mapping[str, str]) -> Model:
    """Read the settings of one process.

    Raises:
        SettingsError: values that cannot be used; each problem names its variable.
    """
    given = _Environment(settings, environment)()
    try:
        return settings(**given)
    except ValidationError as error:
        raise SettingsError(*_problems(settings, error, environment)) from None


def _problems(
    settings: type[EnvironmentSettings], error: ValidationError, environment: Mapping[str, str]
) -> Sequence[Problem]:
    secret = {
        field.validation_alias
        for field in settings.model_fields.values()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }
    problems = []
    for one in error.errors(include_url=False):
        said = one.get("ctx", {}).get("error", one["msg"])
        if not one["loc"]:
            problems.append(Problem("", str(said)))
            continue
        name = str(one["loc"][0])
        shown = "hidden" if name in secret else repr(environment.get(name, ""))
        problems.append(Problem(name, f"{name} is {shown}: {said}"))
    return problems
