"""What the console process is told from outside: a few environment variables, read once.

A value that cannot be used is refused with a sentence that says what to write, all of them at once.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from spawnai.settings import (
    Address,
    TelemetrySettings,
    read_address,
    read_file,
    read_namespace,
    read_or,
    read_settings,
    whole_number,
)

_SERVICE_ACCOUNT_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")


def _read_https_url(text: Any) -> Any:
    if text and not str(text).startswith("https://"):
        raise ValueError(
            "write the https:// address of the API server, since the callers' tokens are sent there"
        )
    return str(text).rstrip("/")


def _read_database_url(text: Any) -> Any:
    if not text:
        return None
    # SQLAlchemy is an extra of the package, and takes 0.3 s to import.
    from spawnai.database.address import database_url  # noqa: PLC0415

    database_url(text)
    return text


_ADDRESS = Address("0.0.0.0", 8000)  # noqa: S104 - reached from other pods


class ConsoleSettings(TelemetrySettings):
    """All settings of `spawnai console`. Each field says which variable it is read from."""

    address: Annotated[Address, NoDecode, BeforeValidator(read_or(_ADDRESS, read_address))] = Field(
        _ADDRESS,
        validation_alias="SPAWNAI_CONSOLE_ADDRESS",
        description="Where the page and the API listen.",
    )
    given_url: Annotated[str, BeforeValidator(_read_https_url)] = Field(
        "",
        validation_alias="SPAWNAI_KUBERNETES_URL",
        description="The API server, where the console runs outside a pod.",
    )
    given_ca: Annotated[Path | None, BeforeValidator(read_or(None, read_file))] = Field(
        None,
        validation_alias="SPAWNAI_KUBERNETES_CA_FILE",
        description="The certificate authority of the API server, if not the pod's or system's.",
    )
    # Set in every pod: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    pod_host: str = Field(
        "", validation_alias="KUBERNETES_SERVICE_HOST", description="The API server of a pod."
    )
    pod_port: Annotated[str, BeforeValidator(lambda text: text or "443")] = Field(
        "443", validation_alias="KUBERNETES_SERVICE_PORT_HTTPS", description="Its port."
    )
    operator_namespace: Annotated[
        str, BeforeValidator(read_or("spawnai-system", read_namespace))
    ] = Field(
        "spawnai-system",
        validation_alias="SPAWNAI_NAMESPACE",
        description="Where the operator says how its own door is reached.",
    )
    default_namespace: Annotated[str, BeforeValidator(read_or("default", read_namespace))] = Field(
        "default",
        validation_alias="SPAWNAI_CONSOLE_NAMESPACE",
        description="The namespace of a caller whose token names none.",
    )
    requests_per_minute: Annotated[
        int, BeforeValidator(read_or(600, whole_number(1, 1_000_000)))
    ] = Field(
        600,
        validation_alias="SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE",
        description="How many requests one caller may send in a minute, on average.",
    )

    database_url: Annotated[SecretStr | None, BeforeValidator(_read_database_url)] = Field(
        None,
        validation_alias="SPAWNAI_DATABASE_URL",
        description=(
            "The database that `spawnai export sql` fills, for the history; without it the history "
            "is what the ledgers hold."
        ),
    )

    @model_validator(mode="after")
    def _reaches_an_api_server(self) -> Self:
        if not self.given_url and not self.pod_host:
            raise ValueError(
                "the console runs outside a pod and SPAWNAI_KUBERNETES_URL is not set: write the "
                "https:// address of the API server"
            )
        return self

    @property
    def kubernetes_url(self) -> str:
        """The API server: the one that is given, or that of the pod."""
        if self.given_url:
            return self.given_url
        host = f"[{self.pod_host}]" if ":" in self.pod_host else self.pod_host
        return f"https://{host}:{self.pod_port}"

    @property
    def kubernetes_ca(self) -> Path | None:
        """The certificate authority of the API server; None for the system's."""
        if self.given_ca is not None:
            return self.given_ca
        return _SERVICE_ACCOUNT_CA if _SERVICE_ACCOUNT_CA.is_file() else None


def console_settings_from(environment: Mapping[str, str] = os.environ) -> ConsoleSettings:
    """Read the environment.

    Raises:
        SettingsError: values that cannot be used; each problem names its variable.
    """
    return read_settings(ConsoleSettings, environment)
