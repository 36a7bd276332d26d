"""Holds answers against DigitalOcean's published OpenAPI description (`data/contract.json`).

The description is OpenAPI 3.0: its schemas become JSON Schema (2020-12) with all references
resolved in place. Two readings are held. As published, fields that the description does not name
are allowed. Strictly, an answer has no field that the description does not name: the emulator may
not invent any.

What in the description is not meant as it stands is put right here, each with its reason.
"""

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

CONTRACT = Path(__file__).parent / "data" / "contract.json"
NOT_SCHEMA = {
    "example",
    "examples",
    "discriminator",
    "readOnly",
    "writeOnly",
    "deprecated",
    "nullable",
    "default",
    "description",
}
# The description's own example of a tag has `images`.
MISSPELT = {"imgages": "images"}
COMPOSITIONS = ("allOf", "anyOf", "oneOf")

formats = FormatChecker(formats=["ipv4", "ipv6", "uuid"])


@formats.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or (
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value) is not None
        and bool(datetime.fromisoformat(value))
    )


@formats.checks("uri", raises=ValueError)
def is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


@cache
def contract() -> dict[str, Any]:
    return json.loads(CONTRACT.read_text())


def resolve(reference: str) -> Any:
    found: Any = contract()
    for word in reference.removeprefix("#/").split("/"):
        found = found[word.replace("~1", "/").replace("~0", "~")]
    return found


def json_schema(schema: Any, *, strict: bool, composed: bool = False) -> Any:
    """Turn an OpenAPI schema into JSON Schema; `composed`: it is a part of an allOf, anyOf, …."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return json_schema(resolve(schema["$ref"]), strict=strict, composed=composed)
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in NOT_SCHEMA:
            continue
        if key == "properties":
            made[key] = {
                MISSPELT.get(name, name): json_schema(one, strict=strict)
                for name, one in value.items()
            }
        elif key in COMPOSITIONS:
            made[key] = [json_schema(one, strict=strict, composed=True) for one in value]
        elif key == "items":
            made[key] = json_schema(value, strict=strict)
        elif key == "enum":
            # A droplet's `off` was read as YAML's false when the description was made.
            made[key] = ["off" if one is False else one for one in value]
        else:
            made[key] = value
    described = "properties" in made or any(key in made for key in COMPOSITIONS)
    if strict and described and not composed:
        made["unevaluatedProperties"] = False
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") else made


@cache
def validator(endpoint: str, status: int, *, strict: bool) -> Draft202012Validator | None:
    """Return what holds the body of an answer; None where the description has no body for it.

    Raises:
        AssertionError: the description has no such operation, or none with such a status.
    """
    method, _, path = endpoint.partition(" ")
    operation = contract()["paths"].get(path, {}).get(method.lower())
    assert operation is not None, f"the description has no {endpoint}"
    responses = operation["responses"]
    response = responses.get(str(status))
    if response is None and status >= 400:
        response = responses.get("default")
    assert response is not None, f"{endpoint} does not answer {status}: {sorted(responses)}"
    if "$ref" in response:
        response = resolve(response["$ref"])
    if "content" not in response:
        return None
    schema = response["content"]["application/json"]["schema"]
    return Draft202012Validator(json_schema(schema, strict=strict), format_checker=formats)


def violations(endpoint: str, status: int, body: bytes | None, *, strict: bool) -> list[str]:
    """Return what is wrong with an answer, a sentence each."""
    try:
        holder = validator(endpoint, status, strict=strict)
    except AssertionError as error:
        return [str(error)]
    if holder is None:
        return [] if body is None else [f"{endpoint} answers {status} without a body, not {body!r}"]
    if body is None:
        return [f"{endpoint} answers {status} with a body, and there was none"]
    return [
        f"{endpoint} {status}: {error.json_path}: {error.message[:300]}"
        for error in holder.iter_errors(json.loads(body))
    ]
