"""Reads DigitalOcean's JSON defensively: a field has the type we expect, or the answer is refused.

`Malformed` names the field, what was expected and what came, never the value itself, which may be
anything.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

# DigitalOcean publishes prices with five decimals and sends them as floats: 0.00743999984115362.
_PRICE_STEP = Decimal("0.00001")


class Malformed(ValueError):
    """The answer is not what the API's description promises."""


class Fields:
    """A JSON object whose fields are read with their types.

    Args:
        document: what came, whatever it is.
        path: where it stood in the answer, for messages.

    Raises:
        Malformed: it is no JSON object.
    """

    __slots__ = ("_document", "_path")

    def __init__(self, document: Any, path: str = "") -> None:
        if not isinstance(document, dict):
            raise Malformed(f"{path or 'the answer'} should be an object but is {_kind(document)}")
        self._document = document
        self._path = path

    def text(self, name: str, default: str | None = None) -> str:
        """A string. Without a default it must be there."""
        value = self._document.get(name)
        if isinstance(value, str):
            return value
        if value is None and default is not None:
            return default
        raise self._unexpected(name, "a string", value)

    def whole(self, name: str, default: int | None = None) -> int:
        """An integer. Without a default it must be there."""
        value = self._document.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is None and default is not None:
            return default
        raise self._unexpected(name, "an integer", value)

    def truth(self, name: str, *, default: bool) -> bool:
        """A boolean, or the default when it is not there."""
        value = self._document.get(name)
        if isinstance(value, bool):
            return value
        if value is None:
            return default
        raise self._unexpected(name, "true or false", value)

    def date(self, name: str) -> datetime:
        """An RFC 3339 time with its zone, in UTC."""
        value = self._document.get(name)
        if isinstance(value, str):
            try:
                parsed = datetime.fromisoformat(value)
            except ValueError:
                pass
            else:
                if parsed.tzinfo is not None:
                    return parsed.astimezone(UTC)
        raise self._unexpected(name, "an RFC 3339 time", value)

    def price(self, name: str) -> Decimal:
        """Dollars, rounded to the five decimals that DigitalOcean publishes."""
        value = self._document.get(name)
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            try:
                return Decimal(value).quantize(_PRICE_STEP)
            except InvalidOperation:
                pass
        raise self._unexpected(name, "a price", value)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._document.get(name) is not None

    def object(self, name: str) -> "Fields":
        """An object within this one."""
        return Fields(self._document.get(name), self._at(name))

    def objects(self, name: str, *, optional: bool = False) -> Iterator["Fields"]:
        """A list of objects; none when it is optional and missing or null."""
        for index, value in enumerate(self._list(name, optional=optional)):
            yield Fields(value, f"{self._at(name)}[{index}]")

    def texts(self, name: str, *, optional: bool = False) -> tuple[str, ...]:
        """A list of strings; empty when it is optional and missing or null."""
        values = self._list(name, optional=optional)
        if not all(isinstance(value, str) for value in values):
            raise Malformed(f"{self._at(name)} should hold strings only")
        return tuple(values)

    def wholes(self, name: str, *, optional: bool = False) -> tuple[int, ...]:
        """A list of integers; empty when it is optional and missing or null."""
        values = self._list(name, optional=optional)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            raise Malformed(f"{self._at(name)} should hold integers only")
        return tuple(values)

    def _list(self, name: str, *, optional: bool) -> list[Any]:
        value = self._document.get(name)
        if isinstance(value, list):
            return value
        if value is None and optional:
            return []
        raise self._unexpected(name, "a list", value)

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _unexpected(self, name: str, expected: str, value: Any) -> Malformed:
        return Malformed(f"{self._at(name)} should be {expected} but is {_kind(value)}")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "missing or null"
        case bool():
            return "a boolean"
        case int() | Decimal() | float():
            return "a number"
        case str():
            return "a string" if value else "an empty string"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return type(value).__name__
