"""What the console process is told from outside: a few environment variables, read once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spawnai.settings import SettingsError

_SERVICE_ACCOUNT_CA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """All settings of `spawnai console`.

    Attributes:
        host: where the page and the API listen.
        port: their port.
        telemetry_host: where /healthz, /readyz and /metrics listen.
        telemetry_port: their port.
        kubernetes_url: the API server.
        kubernetes_ca: the certificate authority of the API server; None for the system's.
        operator_namespace: where the operator says how its own door is reached.
        default_namespace: the namespace of a caller whose token names none.
        requests_per_minute: how many requests one caller may send in a minute, on average.
        log_level: debug, info, warning or error.
        log_format: json or text.
    """

    host: str
    port: int
    telemetry_host: str
    telemetry_port: int
    kubernetes_url: str
    kubernetes_ca: Path | None
    operator_namespace: str
    default_namespace: str
    requests_per_minute: int
    log_level: str
    log_format: str


def console_settings_from(environment: Mapping[str, str] = os.environ) -> ConsoleSettings:
    """Read the environment.

    Raises:
        SettingsError: a variable has a value that cannot be used; the message says what to write.
    """
    host, port = _address(environment, "SPAWNAI_CONSOLE_ADDRESS", "0.0.0.0:8000")
    telemetry_host, telemetry_port = _address(environment, "SPAWNAI_HTTP_ADDRESS", "0.0.0.0:8080")
    return ConsoleSettings(
        host=host,
        port=port,
        telemetry_host=telemetry_host,
        telemetry_port=telemetry_port,
        kubernetes_url=_kubernetes_url(environment),
        kubernetes_ca=_kubernetes_ca(environment),
        operator_namespace=environment.get("SPAWNAI_NAMESPACE") or "spawnai-system",
        default_namespace=environment.get("SPAWNAI_CONSOLE_NAMESPACE") or "default",
        requests_per_minute=_requests_per_minute(environment),
        log_level=environment.get("SPAWNAI_LOG_LEVEL", "info"),
        log_format=environment.get("SPAWNAI_LOG_FORMAT", "json"),
    )


def _address(environment: Mapping[str, str], name: str, default: str) -> tuple[str, int]:
    text = environment.get(name) or default
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit():
        raise SettingsError(f"{name} is {text!r}: write host:port, such as {default}")
    return host, int(port)


def _kubernetes_url(environment: Mapping[str, str]) -> str:
    url = environment.get("SPAWNAI_KUBERNETES_URL")
    if url:
        if not url.startswith("https://"):
            raise SettingsError(
                f"SPAWNAI_KUBERNETES_URL is {url!r}: write the https:// address of the API "
                "server, since the callers' tokens are sent there"
            )
        return url.rstrip("/")
    # Set in every pod: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host:
        raise SettingsError(
            "the console runs outside a pod and SPAWNAI_KUBERNETES_URL is not set: write the "
            "https:// address of the API server"
        )
    bracketed = f"[{host}]" if ":" in host else host
    return f"https://{bracketed}:{environment.get('KUBERNETES_SERVICE_PORT_HTTPS') or '443'}"


def _kubernetes_ca(environment: Mapping[str, str]) -> Path | None:
    text = environment.get("SPAWNAI_KUBERNETES_CA_FILE")
    if text:
        if not Path(text).is_file():
            raise SettingsError(f"SPAWNAI_KUBERNETES_CA_FILE is {text!r}: there is no such file")
        return Path(text)
    default = Path(_SERVICE_ACCOUNT_CA)
    return default if default.is_file() else None


def _requests_per_minute(environment: Mapping[str, str]) -> int:
    text = environment.get("SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE") or "600"
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(
            f"SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE is {text!r}: write a whole number from 1 on"
        )
    return int(text)
