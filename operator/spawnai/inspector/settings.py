"""What the inspector's process is told from outside: a few environment variables, read once.

A value that cannot be used is refused with a sentence that says what to write, all of them at once.
"""

import shutil
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from spawnai.settings import (
    Address,
    Networks,
    ProcessSettings,
    choice,
    read_address,
    read_ip_and_port,
    read_or,
    read_settings,
    whole_number,
)

_ADDRESS = Address("0.0.0.0", 8080)  # noqa: S104 - reached from the operator's pod


def _read_program(text: Any) -> Any:
    if shutil.which(text) is None:
        raise ValueError("write the path of a program that can be run, or nothing: the system's")
    return text


class InspectorSettings(ProcessSettings):
    """All settings of `spawnai inspector`. Each field says which variable it is read from."""

    address: Annotated[Address, NoDecode, BeforeValidator(read_or(_ADDRESS, read_address))] = Field(
        _ADDRESS,
        validation_alias="SPAWNAI_INSPECTOR_ADDRESS",
        description="Where it listens, for inspections and probes.",
    )
    chromium: Annotated[str | None, BeforeValidator(read_or(None, _read_program))] = Field(
        None,
        validation_alias="SPAWNAI_INSPECTOR_CHROMIUM",
        description="The browser's program, if not the system's.",
    )
    sandbox_mode: Annotated[str, BeforeValidator(read_or("auto", choice("auto", "on", "off")))] = (
        Field(
            "auto",
            validation_alias="SPAWNAI_INSPECTOR_SANDBOX",
            description="Whether Chromium confines its own processes; auto: where it can.",
        )
    )
    browsers: Annotated[int, BeforeValidator(read_or(2, whole_number(1, 32)))] = Field(
        2,
        validation_alias="SPAWNAI_INSPECTOR_BROWSERS",
        description="How many pages are opened side by side.",
    )
    networks: Networks = Field(
        (),
        validation_alias="SPAWNAI_DROPLET_NETWORKS",
        description="Networks whose addresses count as public ones of droplets, for a local cloud.",
    )
    dns: Annotated[Address | None, NoDecode, BeforeValidator(read_or(None, read_ip_and_port))] = (
        Field(
            None,
            validation_alias="SPAWNAI_INSPECTOR_DNS",
            description="A DNS server to ask instead of the system's.",
        )
    )

    @property
    def sandbox(self) -> bool | None:
        """Whether Chromium confines its own processes; None: where this machine lets it."""
        return {"auto": None, "on": True, "off": False}[self.sandbox_mode]


def inspector_settings_from(environment: Mapping[str, str]) -> InspectorSettings:
    """Read the environment.

    Raises:
        SettingsError: values that cannot be used; each problem names its variable.
    """
    return read_settings(InspectorSettings, environment)
