"""The base of every API model: camelCase in manifests, snake_case in Python, immutable."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

from .schema import for_api_server

# The bound of metav1.Condition's message.
LONGEST_TEXT = 32768

LONGEST_SHARED_TEXT = 64
"""Reasons, regions, names of classes; a longer text is one of its kind."""


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

    def compact(self) -> Self:
        """Share with all other models what is the same in thousands: short texts, the time zone
        (pydantic makes one for each time it reads), and the sets in which it remembers which fields
        were given. A session and its ledger take 9 KB so, instead of 23. Returns itself; its value
        stays the same.
        """
        given = self.__pydantic_fields_set__
        object.__setattr__(
            self, "__pydantic_fields_set__", _GIVEN_FIELDS.setdefault(frozenset(given), given)
        )
        values = self.__dict__
        for name, value in values.items():
            if type(value) is str:
                if len(value) <= LONGEST_SHARED_TEXT:
                    values[name] = sys.intern(value)
            elif isinstance(value, datetime):
                if value.utcoffset() == UTC.utcoffset(None):
                    values[name] = value.replace(tzinfo=UTC)
            elif isinstance(value, ApiModel):
                value.compact()
            elif isinstance(value, list):
                for item in value:
                    if isinstance(item, ApiModel):
                        item.compact()
        return self


# model_copy copies the set before it changes it, so sharing one is safe.
_GIVEN_FIELDS: dict[frozenset[str], set[str]] = {}


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
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2999, 12, 31, tzinfo=UTC)


def _reckonable(value: Any, read: ValidatorFunctionWrapHandler) -> datetime:
    try:
        moment: datetime = read(value)
        return min(max(moment, EARLIEST), LATEST)
    except (ValidationError, TypeError):
        return EARLIEST


# A time that others may have written. The API server takes all from the year 0, which cannot be
# read here, to the year 9999, where a minute more cannot be reckoned with: a session whose end
# cannot be reckoned would never end. What cannot be read was long ago.
Moment = Annotated[datetime, WrapValidator(_reckonable)]
# A name, an address or an id of some other system.
Identifier = Annotated[str, Field(json_schema_extra=for_api_server(max_length=253))]
