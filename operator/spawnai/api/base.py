"""The base of every API model: camelCase in manifests, snake_case in Python, immutable."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from .schema import for_api_server

# The bound of metav1.Condition's message.
LONGEST_TEXT = 32768


class ApiModel(BaseModel):
    """A part of a custom resource.

    Unknown fields are ignored on reading: an older operator must be able to read what a newer
    one wrote during an upgrade.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )

    def document(self) -> dict[str, Any]:
        """The JSON shape for the API server: camelCase, without fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


# The types of what the operator writes. Their bounds are the API server's alone: reading or making
# a status never fails on a length.

# A sentence or a log line. One that is too long is cut when it is written, not refused: a status
# that the API server does not take would hold up a teardown.
Text = Annotated[
    str,
    PlainSerializer(_cut, return_type=str),
    Field(json_schema_extra=for_api_server(max_length=LONGEST_TEXT)),
]
# An amount of money. A string, as most readers take JSON numbers for floats.
Amount = Annotated[
    str,
    Field(json_schema_extra=for_api_server(max_length=40, pattern=r"^-?[0-9]+(\.[0-9]+)?$")),
]
# A name, an address or an id of some other system.
Identifier = Annotated[str, Field(json_schema_extra=for_api_server(max_length=253))]
