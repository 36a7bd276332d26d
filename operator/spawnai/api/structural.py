"""From a model to a structural schema: the JSON schema that the API server takes.

The API server knows no `$ref`, no `null` among the types and no use for a `title`; optional is what
is not required. What a person needs to know of a field besides its description (the default,
examples) goes into the description, as `kubectl explain` shows nothing else.
"""

import inspect
import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from .schema import RULES_KEYWORD

Schema = dict[str, Any]

# The order in which a person reads a schema.
_ORDER = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    RULES_KEYWORD,
    "required",
    "properties",
    "items",
    "additionalProperties",
)
_NOT_FOR_THE_API_SERVER = ("title", "default", "examples")


def structural_schema(model: type[BaseModel], *, defaults: bool) -> Schema:
    """The structural schema of a model.

    `defaults`: whether the API server fills in what is left out. A spec that people re-apply and
    that is immutable must not have any.

    Raises:
        ValueError: the model holds something that this converter does not know how to say.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    schema = _converted(schema, schema.get("$defs", {}))
    if defaults:
        _add_defaults(model, schema)
    return schema


def ordered(schema: Schema) -> Schema:
    """The same schema with its keywords in the order in which a person reads them.

    Raises:
        ValueError: a keyword is not known here, so that none gets by unseen.
    """
    if unknown := set(schema) - set(_ORDER):
        raise ValueError(f"no structural schema keyword: {', '.join(sorted(unknown))}")
    result = {keyword: schema[keyword] for keyword in _ORDER if keyword in schema}
    if "properties" in result:
        result["properties"] = {
            name: ordered(value) for name, value in result["properties"].items()
        }
    for keyword in ("items", "additionalProperties"):
        if keyword in result:
            result[keyword] = ordered(result[keyword])
    return result


def _converted(schema: Schema, definitions: Schema) -> Schema:
    schema = _plain(schema, definitions)
    description = [schema.pop("description", "")]
    if examples := schema.get("examples"):
        word = "Example" if len(examples) == 1 else "Examples"
        description.append(f"{word}: {', '.join(str(example) for example in examples)}")
    if text := " ".join(part for part in description if part):
        schema["description"] = text
    for keyword in _NOT_FOR_THE_API_SERVER:
        schema.pop(keyword, None)
    if schema.get("type") == "integer":
        schema["format"] = "int64"
    if "properties" in schema:
        schema["properties"] = {
            name: _converted(value, definitions) for name, value in schema["properties"].items()
        }
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            schema[keyword] = _converted(schema[keyword], definitions)
    return schema


def _plain(schema: Schema, definitions: Schema) -> Schema:
    """Without `$ref` and without null; what stands beside them wins, such as a description."""
    schema = {key: value for key, value in schema.items() if key != "$defs"}
    if reference := schema.pop("$ref", None):
        return _plain({**definitions[reference.rpartition("/")[2]], **schema}, definitions)
    if alternatives := schema.pop("anyOf", None):
        kept = [choice for choice in alternatives if choice != {"type": "null"}]
        if len(kept) != 1:
            raise ValueError(f"a field may have one type, or one type and null, not {alternatives}")
        return _plain({**kept[0], **schema}, definitions)
    return schema


def _add_defaults(model: type[BaseModel], schema: Schema) -> None:
    for field in model.model_fields.values():
        part = schema["properties"][field.alias]
        nested = field.annotation
        if inspect.isclass(nested) and issubclass(nested, BaseModel):
            _add_defaults(nested, part)
        if field.is_required():
            continue
        value = field.get_default(call_default_factory=True)
        if value is None:
            continue
        written = to_jsonable_python(value, by_alias=True)
        if isinstance(value, BaseModel) and not part.get("required"):
            if value != type(value)():
                raise ValueError(f"the default of {field.alias} must be {{}} to be said once only")
            written = {}  # the fields below have their own
        part["default"] = written
        if written not in ({}, []):
            part["description"] += f" Default: {_shown(written)}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
