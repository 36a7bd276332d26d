"""What a gateway is told from outside: a few environment variables, read once.

A value that cannot be used is refused with a sentence that says what to write, all of them at once.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from spawnai.settings import (
    Address,
    TelemetrySettings,
    read_ip_and_port,
    read_or,
    read_settings,
    whole_number,
)

_HTTP_PORT = 80
_HTTPS_PORT = 443
_DNS = Address("127.0.0.1", 5353)
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - a gateway is for everyone

_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})+")
_LONGEST_DOMAIN = 253


def _read_domain(text: Any) -> Any:
    domain = str(text).strip(".").lower()
    if not _DOMAIN.fullmatch(domain) or len(domain) > _LONGEST_DOMAIN:
        raise ValueError("write the domain of the class, such as apps.example.com")
    return domain


def _read_ip_address(text: Any) -> Any:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("write an IP address, such as 0.0.0.0") from None


_read_port = whole_number(1, 65535)
_HttpPort = Annotated[int, BeforeValidator(read_or(_HTTP_PORT, _read_port))]
_HttpsPort = Annotated[int, BeforeValidator(read_or(_HTTPS_PORT, _read_port))]
_ADMIN_SOCKET = Path("/run/spawnai-gateway/admin.sock")
_TLS, _CA = Path("/tls"), Path("/ca")


class GatewaySettings(TelemetrySettings):
    """All settings of `spawnai gateway`, and all that Caddy's configuration needs.

    Each field says which variable it is read from.
    """

    domain: Annotated[str, BeforeValidator(_read_domain)] = Field(
        validation_alias="SPAWNAI_GATEWAY_DOMAIN",
        description="The domain below which the apps' host names are.",
    )
    address: Annotated[str, BeforeValidator(read_or(_EVERY_ADDRESS, _read_ip_address))] = Field(
        _EVERY_ADDRESS,
        validation_alias="SPAWNAI_GATEWAY_ADDRESS",
        description="Where Caddy listens.",
    )
    http_port: _HttpPort = Field(
        _HTTP_PORT,
        validation_alias="SPAWNAI_GATEWAY_HTTP_PORT",
        description="Its port for HTTP.",
    )
    https_port: _HttpsPort = Field(
        _HTTPS_PORT,
        validation_alias="SPAWNAI_GATEWAY_HTTPS_PORT",
        description="Its port for HTTPS.",
    )
    given_public_https_port: Annotated[int | None, BeforeValidator(read_or(None, _read_port))] = (
        Field(
            None,
            validation_alias="SPAWNAI_GATEWAY_PUBLIC_HTTPS_PORT",
            description=(
                "The port for HTTPS that people use, where a load balancer or a Service stands "
                "before it."
            ),
        )
    )
    droplet_http_port: _HttpPort = Field(
        _HTTP_PORT,
        validation_alias="SPAWNAI_GATEWAY_DROPLET_HTTP_PORT",
        description="Where droplets answer HTTP.",
    )
    droplet_https_port: _HttpsPort = Field(
        _HTTPS_PORT,
        validation_alias="SPAWNAI_GATEWAY_DROPLET_HTTPS_PORT",
        description="Where droplets answer HTTPS.",
    )
    dns: Annotated[Address, NoDecode, BeforeValidator(read_or(_DNS, read_ip_and_port))] = Field(
        _DNS,
        validation_alias="SPAWNAI_GATEWAY_DNS",
        description="Where this process answers Caddy's questions.",
    )
    admin_socket: Annotated[Path, BeforeValidator(read_or(_ADMIN_SOCKET, Path))] = Field(
        _ADMIN_SOCKET,
        validation_alias="SPAWNAI_GATEWAY_ADMIN_SOCKET",
        description="Caddy's control socket, which both containers see.",
    )
    tls_directory: Annotated[Path, BeforeValidator(read_or(_TLS, Path))] = Field(
        _TLS,
        validation_alias="SPAWNAI_GATEWAY_TLS",
        description="Where tls.crt and tls.key of `*.domain` are; the mounted Secret.",
    )
    ca_directory: Annotated[Path, BeforeValidator(read_or(_CA, Path))] = Field(
        _CA,
        validation_alias="SPAWNAI_GATEWAY_CA",
        description="Where ca.crt is, by which droplets are known.",
    )

    @property
    def port_suffix(self) -> str:
        """What follows a host in the apps' URLs."""
        port = self.given_public_https_port or self.https_port
        return "" if port == _HTTPS_PORT else f":{port}"


def gateway_settings_from(environment: Mapping[str, str] = os.environ) -> GatewaySettings:
    """Read the environment.

    Raises:
        SettingsError: values that cannot be used; each problem names its variable.
    """
    return read_settings(GatewaySettings, {"SPAWNAI_GATEWAY_DOMAIN": "", **environment})
