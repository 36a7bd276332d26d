"""Reads DigitalOcean's JSON: bounded, and by the models' types, or the answer is refused.

The models are plain dataclasses with annotated fields; pydantic reads them. `Malformed` names the
field and what was expected, never the value itself, which may be anything.
"""

import ipaddress
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

Model = TypeVar("Model")

LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
"""A page of 200 droplets, each with its size, image and region, takes 0.8 MB."""

# DigitalOcean publishes prices with five decimals and sends them as floats: 0.00743999984115362.
_PRICE_STEP = Decimal("0.00001")
_HIGHEST_PRICE = 1_000_000
_LONGEST_ADDRESS = 15
# What can never be a droplet's public address and may be a neighbour of the operator. The ranges
# for documentation lead nowhere and are not listed.
_NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/3",
    )
)
_FIRST_PROBLEMS = 3


class Malformed(ValueError):
    """The answer is not what the API's description promises."""


def parsed(content: bytes) -> Any:
    """The answer's JSON; None for an empty body. Nesting deeper than 200 is refused.

    Raises:
        ValueError: it is no JSON, breaks off in the middle, or is nested too deeply.
    """
    if not content.strip():
        return None
    return from_json(content, allow_inf_nan=False)


def read(adapter: TypeAdapter[Model], document: Any, path: str) -> Model:
    """Read one object by its model.

    Args:
        adapter: the model.
        document: what came, whatever it is.
        path: where it stood in the answer, for messages.

    Raises:
        Malformed: it is not as the model says.
    """
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(
            f"{_place(path, problem['loc'])}: {problem['msg']}"
            for problem in problems[:_FIRST_PROBLEMS]
        )
        raise Malformed(told) from None
    except Exception as error:  # noqa: BLE001 - whatever an odd value does to the converters
        raise Malformed(f"{path} cannot be read ({type(error).__name__})") from None


def member(document: Any, name: str) -> Any:
    """What an answer holds below a name.

    Raises:
        Malformed: the answer is no object, or has nothing there.
    """
    if not isinstance(document, Mapping):
        raise Malformed(f"the answer should be an object but is of type {type(document).__name__}")
    if document.get(name) is None:
        raise Malformed(f"{name} is missing or null")
    return document[name]


def _place(path: str, location: tuple[int | str, ...]) -> str:
    place = path
    for step in location:
        place += f"[{step}]" if isinstance(step, int) else f".{step}"
    return place


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    raise ValueError("should be an RFC 3339 time with its zone")


def _time_or_none(value: Any) -> datetime | None:
    return None if value is None else _time(value)


def _price(value: Any) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if 0 <= value <= _HIGHEST_PRICE:
                return Decimal(str(value)).quantize(_PRICE_STEP)
        except InvalidOperation:
            pass
    raise ValueError("should be a price in dollars")


def _nothing_for_null(value: Any) -> Any:
    return () if value is None else value


Identifier = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_\-]{1,64}$")]
"""A UUID, or another id that is safe in a path."""
Number = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Text = Annotated[str, Field(max_length=1024)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Word = Annotated[
    str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.\-]*$"), AfterValidator(sys.intern)
]
"""A slug or a state. The same for thousands of objects: one copy of each is enough."""
Tag = Annotated[
    str, Field(max_length=255, pattern=r"^[A-Za-z0-9_\-:]+$"), AfterValidator(sys.intern)
]
Time = Annotated[datetime, BeforeValidator(_time)]
OptionalTime = Annotated[datetime | None, BeforeValidator(_time_or_none)]
Price = Annotated[Decimal, BeforeValidator(_price)]
OptionalPrice = Annotated[Decimal | None, BeforeValidator(_price)]
NullIsNone = BeforeValidator(_nothing_for_null)
"""For a list that may be missing or null."""


def is_public(address: Any, also: tuple[ipaddress.IPv4Network, ...] = ()) -> bool:
    """Whether it is an IPv4 address that the operator may connect to as a droplet's.

    Args:
        address: what came, whatever it is.
        also: networks whose addresses are taken for public ones, such as a local cloud's.
    """
    if not isinstance(address, str) or len(address) > _LONGEST_ADDRESS:
        return False
    try:
        ip = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return any(ip in network for network in also) or not any(ip in one for one in _NOT_PUBLIC)
