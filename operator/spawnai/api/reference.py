"""The reference in docs/: every kind, field, column, condition and annotation, from the models."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .annotations import ANNOTATIONS
from .conditions import MEANINGS
from .names import API_VERSION
from .resource import CustomResource
from .schema import RULES_KEYWORD

_HEADER = (
    "<!-- Made from the models in operator/spawnai/api by `make generate`. Do not edit. -->\n\n"
)
# Bounds above this only keep the cost of rules in check; they tell a reader nothing.
_LONGEST_WORTH_SAYING = 65536


def reference_pages(
    resources: Sequence[CustomResource], schemas: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """The pages by file name; `schemas` has the whole object's schema by kind."""
    pages = {
        f"{resource.singular}.md": _page(_kind(resource, schemas[resource.kind]))
        for resource in resources
    }
    pages["conditions.md"] = _page(_conditions())
    pages["annotations.md"] = _page(_annotations())
    pages["README.md"] = _page(_index(resources))
    return pages


def _page(paragraphs: Iterator[str]) -> str:
    return _HEADER + "\n\n".join(paragraphs) + "\n"


def _index(resources: Sequence[CustomResource]) -> Iterator[str]:
    yield "# Reference"
    yield (
        "The same words are in the cluster: `kubectl explain spawnsession.spec.prompt`. All kinds "
        f"are of `{API_VERSION}`."
    )
    rows = [("page", "what it holds")]
    rows += [
        (f"[{resource.kind}]({resource.singular}.md)", _first_sentence(resource.description))
        for resource in resources
    ]
    rows.append(("[Annotations](annotations.md)", "What people write beside the spec."))
    rows.append(("[Conditions](conditions.md)", "What is true about an object, for machines."))
    rows.append(("[Metrics](metrics.md)", "What Prometheus reads from the operator."))
    yield _table(rows)


def _kind(resource: CustomResource, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {resource.kind}"
    yield resource.description
    names = [f"`kubectl get {resource.plural}`"]
    names += [f"`kubectl get {short}`" for short in resource.short_names]
    yield _table(
        [
            ("apiVersion", f"`{API_VERSION}`"),
            ("kind", f"`{resource.kind}`"),
            ("scope", "in a namespace" if resource.namespaced else "the whole cluster"),
            ("listed by", ", ".join(names)),
        ]
    )
    yield "## Columns of `kubectl get`"
    yield _table(
        [("column", "shows", "from")]
        + [
            (
                column.name.upper() + (" (`-o wide`)" if column.priority else ""),
                column.description,
                f"`{column.json_path}`",
            )
            for column in resource.columns
        ]
    )
    for part in ("spec", "status"):
        yield f"## {part}"
        yield schema["properties"][part]["description"]
        yield from _whole_object_refusals(schema["properties"][part])
        yield from _fields(part, schema["properties"][part])


def _fields(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield f"### `{path}.{name}`"
        facts = [_type(field)]
        if name in schema.get("required", ()):
            facts.append("required")
        facts += _bounds(field)
        yield ", ".join(facts)
        yield field.get("description", "")
        messages = [rule["message"] for rule in field.get(RULES_KEYWORD, ())]
        messages += _item_messages(field)
        messages += [
            rule["message"]
            for rule in schema.get(RULES_KEYWORD, ())
            if rule.get("fieldPath") == f".{name}"
        ]
        if messages:
            yield "Refused with:\n\n" + "\n".join(f"- {message}" for message in messages)
        yield from _fields(f"{path}.{name}", field)
        if "items" in field:
            yield from _fields(f"{path}.{name}[]", field["items"])


def _whole_object_refusals(schema: Mapping[str, Any]) -> Iterator[str]:
    messages = [
        rule["message"] for rule in schema.get(RULES_KEYWORD, ()) if "fieldPath" not in rule
    ]
    if messages:
        yield "Refused with:\n\n" + "\n".join(f"- {message}" for message in messages)


def _item_messages(field: Mapping[str, Any]) -> list[str]:
    messages = []
    for keyword in ("items", "additionalProperties"):
        if keyword in field:
            messages += [rule["message"] for rule in field[keyword].get(RULES_KEYWORD, ())]
            messages += _item_messages(field[keyword])
    return messages


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map of names to {_type(field['additionalProperties'])}"
    if field.get("format") == "date-time":
        return "time (RFC 3339)"
    return str(field["type"])


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    if "minimum" in field and "maximum" in field:
        yield f"{field['minimum']} to {field['maximum']}"
    for keyword, unit in (
        ("maxLength", "characters"),
        ("maxItems", "entries"),
        ("maxProperties", "entries"),
    ):
        if field.get(keyword, _LONGEST_WORTH_SAYING) < _LONGEST_WORTH_SAYING:
            yield f"at most {field[keyword]} {unit}"


def _conditions() -> Iterator[str]:
    yield "# Conditions"
    yield (
        "What is true about a SpawnSession or a SpawnClass, in `status.conditions`, for machines "
        "and for `kubectl wait`: `kubectl wait --for condition=Ready spawnsession/retro-board`. "
        "A condition that is not there is not known yet, or no longer of interest."
    )
    yield _table(
        [("type", "True means")] + [(f"`{type_}`", meaning) for type_, meaning in MEANINGS.items()]
    )
    yield (
        "Tools that read kstatus see a session in progress while it is made, current while it "
        "runs and once it has ended in good order, and failed when `Stalled` is True."
    )


def _annotations() -> Iterator[str]:
    yield "# Annotations"
    yield (
        "They can be changed at any time. A manifest that does not hold an annotation leaves it "
        "alone when it is applied again, client-side or server-side; one that holds it puts its "
        "own value back. A value that cannot be read is refused by the admission policy in "
        "`manifests/policy.yaml`; where that is not installed, a new session makes nothing and "
        "says in its `Stalled` condition what to write, and a running one keeps the end it had."
    )
    for annotation in ANNOTATIONS:
        yield f"## `{annotation.name}`"
        yield f"On a {annotation.kind}. {annotation.values}"
        yield annotation.meaning
        yield "```sh\n" + "\n".join(annotation.examples) + "\n```"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
    ]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _first_sentence(text: str) -> str:
    return re.split(r"[.:](?: |$)", text, maxsplit=1)[0] + "."
