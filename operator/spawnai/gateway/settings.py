"""What a gateway is told from outside: a few environment variables, read once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spawnai.settings import SettingsError

_HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """All settings of `spawnai gateway`, and all that Caddy's configuration needs.

    Attributes:
        domain: the domain below which the apps' host names are (SPAWNAI_GATEWAY_DOMAIN).
        address: where Caddy listens.
        http_port: its port for HTTP.
        https_port: its port for HTTPS.
        public_https_port: the port for HTTPS that people use, where a load balancer or a Service
            stands before it.
        droplet_http_port: where droplets answer HTTP.
        droplet_https_port: where droplets answer HTTPS.
        dns_host: where this process answers Caddy's questions.
        dns_port: its port.
        admin_socket: Caddy's control socket, which both containers see.
        tls_directory: where tls.crt and tls.key of `*.domain` are; the mounted Secret.
        ca_directory: where ca.crt is, by which droplets are known.
        telemetry_host: where /healthz, /readyz and /metrics listen.
        telemetry_port: their port.
        log_level: debug, info, warning or error.
        log_format: json or text.
    """

    domain: str
    address: str = "0.0.0.0"  # noqa: S104 - a gateway is for everyone
    http_port: int = 80
    https_port: int = _HTTPS_PORT
    public_https_port: int = _HTTPS_PORT
    droplet_http_port: int = 80
    droplet_https_port: int = _HTTPS_PORT
    dns_host: str = "127.0.0.1"
    dns_port: int = 5353
    admin_socket: Path = Path("/run/spawnai-gateway/admin.sock")
    tls_directory: Path = Path("/tls")
    ca_directory: Path = Path("/ca")
    telemetry_host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus
    telemetry_port: int = 8080
    log_level: str = "info"
    log_format: str = "json"

    @property
    def port_suffix(self) -> str:
        """What follows a host in the apps' URLs."""
        port = self.public_https_port
        return "" if port == _HTTPS_PORT else f":{port}"


def gateway_settings_from(environment: Mapping[str, str] = os.environ) -> GatewaySettings:
    """Read the environment.

    Raises:
        SettingsError: a value is missing or cannot be used; it says what to write.
    """
    domain = environment.get("SPAWNAI_GATEWAY_DOMAIN", "").strip(".").lower()
    if "." not in domain:
        raise SettingsError(
            f"SPAWNAI_GATEWAY_DOMAIN is {domain!r}: write the domain of the class, such as "
            "apps.example.com"
        )
    dns_host, dns_port = _address(environment, "SPAWNAI_GATEWAY_DNS", "127.0.0.1:5353")
    host, port = _address(environment, "SPAWNAI_HTTP_ADDRESS", "0.0.0.0:8080")
    defaults = GatewaySettings(domain)
    https_port = _port(environment, "SPAWNAI_GATEWAY_HTTPS_PORT", _HTTPS_PORT)
    return GatewaySettings(
        domain=domain,
        address=environment.get("SPAWNAI_GATEWAY_ADDRESS") or defaults.address,
        http_port=_port(environment, "SPAWNAI_GATEWAY_HTTP_PORT", 80),
        https_port=https_port,
        public_https_port=_port(environment, "SPAWNAI_GATEWAY_PUBLIC_HTTPS_PORT", https_port),
        droplet_http_port=_port(environment, "SPAWNAI_GATEWAY_DROPLET_HTTP_PORT", 80),
        droplet_https_port=_port(environment, "SPAWNAI_GATEWAY_DROPLET_HTTPS_PORT", 443),
        dns_host=dns_host,
        dns_port=dns_port,
        admin_socket=Path(environment.get("SPAWNAI_GATEWAY_ADMIN_SOCKET") or defaults.admin_socket),
        tls_directory=Path(environment.get("SPAWNAI_GATEWAY_TLS") or defaults.tls_directory),
        ca_directory=Path(environment.get("SPAWNAI_GATEWAY_CA") or defaults.ca_directory),
        telemetry_host=host,
        telemetry_port=port,
        log_level=environment.get("SPAWNAI_LOG_LEVEL", "info"),
        log_format=environment.get("SPAWNAI_LOG_FORMAT", "json"),
    )


def _address(environment: Mapping[str, str], name: str, default: str) -> tuple[str, int]:
    host, separator, port = environment.get(name, default).rpartition(":")
    if not separator or not port.isdigit():
        raise SettingsError(f"{name} is {environment[name]!r}: write host:port, such as {default}")
    return host, int(port)


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdigit() or not 0 < int(text) < 2**16:
        raise SettingsError(f"{name} is {text!r}: write a port, such as {default}")
    return int(text)
