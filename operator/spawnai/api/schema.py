"""What a model adds to its JSON schema for the API server: CEL rules and list semantics."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field
from pydantic.config import JsonDict, JsonValue

from .durations import DURATION_PATTERN

RULES_KEYWORD = "x-kubernetes-validations"


class Reason(StrEnum):
    """How the API server words a refusal: `spec.prompt: Forbidden: <message>`."""

    FORBIDDEN = "FieldValueForbidden"  # does not show it
    REQUIRED = "FieldValueRequired"


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule, and the sentence a person reads when it is broken: what to write instead.

    `field_path` names the field below the one the rule stands on, such as `.tier`.
    """

    rule: str
    message: str
    field_path: str | None = None
    reason: Reason | None = None

    def document(self) -> JsonDict:
        """The rule as an entry of x-kubernetes-validations."""
        entries: dict[str, JsonValue] = {
            "rule": self.rule,
            "message": self.message,
            "fieldPath": self.field_path,
            "reason": self.reason.value if self.reason else None,
        }
        return {key: value for key, value in entries.items() if value is not None}


def for_api_server(*rules: Rule, **keywords: JsonValue) -> Callable[[JsonDict], None]:
    """A `json_schema_extra`: adds rules and keywords; a keyword that is None is taken away.

    Keywords are written as in Python: `max_length`, `x_kubernetes_list_type`.
    """

    def change(schema: JsonDict) -> None:
        for name, value in keywords.items():
            keyword = _keyword(name)
            if value is None:
                schema.pop(keyword, None)
            else:
                schema[keyword] = value
        if rules:
            schema[RULES_KEYWORD] = [rule.document() for rule in rules]

    return change


def _keyword(name: str) -> str:
    if name.startswith("x_"):
        return name.replace("_", "-")
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def cel_text(text: str) -> str:
    """A CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    for character, letter in (("\n", "n"), ("\r", "r"), ("\t", "t")):
        escaped = escaped.replace(character, f"\\{letter}")
    return f"'{escaped}'"


def cel_matches(value: str, pattern: str) -> str:
    """CEL: the value matches the pattern (RE2)."""
    return f"{value}.matches({cel_text(pattern)})"


def cel_is_duration(value: str) -> str:
    """CEL: the value is a duration as users write it."""
    return cel_matches(value, DURATION_PATTERN)


def cel_seconds(value: str) -> str:
    """CEL: the seconds of a duration that is known to be one. CEL's own durations know no days."""
    days = f"int({value}.substring(0, {value}.indexOf('d'))) * 86400"
    rest = f"{value}.substring({value}.indexOf('d') + 1)"
    return (
        f"(({value}.contains('d') ? {days} : 0)"
        f" + ({value}.endsWith('d') ? 0 : duration({rest}).getSeconds()))"
    )


def immutable(field: str, *, optional: bool, name: str, instead: str) -> Rule:
    """A rule on the parent: the field cannot be changed, added or removed later."""
    same = f"self.{field} == oldSelf.{field}"
    if optional:
        same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return Rule(
        rule=same,
        message=f"the {name} cannot change: {instead}",
        field_path=f".{field}",
        reason=Reason.FORBIDDEN,
    )


# At most six decimals: what the ledgers are kept in (billing.ledger.CENT_FRACTION).
_DECIMAL_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"


def decimal_field(
    default: Any, description: str, *, help_: str, examples: list[Any] | None = None
) -> Any:
    """A field for a decimal number that users write as a string. `help_`: what to write.

    The operator reads the pattern again: what cannot be reckoned with must not look like an amount.
    """
    return Field(
        default,
        pattern=_DECIMAL_PATTERN,
        description=description,
        examples=examples,
        json_schema_extra=for_api_server(
            Rule(rule=cel_matches("self", _DECIMAL_PATTERN), message=help_),
            pattern=None,
            max_length=20,
        ),
    )
