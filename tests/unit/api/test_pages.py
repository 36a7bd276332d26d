"""The fields that the commands of the documentation ask for are those of our kinds."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from spawnai_local.paths import checkout

ROOT = checkout()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEFINITIONS = {
    name: definition["spec"]
    for path in (ROOT / "crds").glob("spawn*.yaml")
    for definition in [yaml.safe_load(path.read_text())]
    for names in [definition["spec"]["names"]]
    for name in (names["plural"], names["singular"], *names.get("shortNames", ()))
}
GET = re.compile(r"kubectl get (?P<kind>\w+)(?=\s)(?P<rest>(?:[^|`\n)]|\)\])*)")
PATH = re.compile(r"\.(?:spec|status)(?:\.\w+|\[\*\]|\[\?\([^)]*\)\])+")
CONDITION = re.compile(r'@\.type=="(\w+)"')
SELECTOR = re.compile(r"--field-selector (\S+?)=")


def asked() -> Iterator[tuple[str, str, str]]:
    """Page, kind and the rest of each `kubectl get` of one of our kinds."""
    for page in PAGES:
        for command in GET.finditer(page.read_text()):
            if command["kind"] in DEFINITIONS:
                yield str(page.relative_to(ROOT)), command["kind"], command["rest"]


def schema_of(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = DEFINITIONS[kind]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def is_defined(schema: dict[str, Any], path: str) -> bool:
    """Whether the schema has a field at a path such as .status.conditions[*].message."""
    for part in re.findall(r"\.\w+|\[", re.sub(r"\[[^\]]*\]", "[", path)):
        if part == "[":
            schema = schema.get("items", {})
        elif part[1:] in schema.get("properties", {}):
            schema = schema["properties"][part[1:]]
        else:
            return False
    return True


def documented_conditions() -> set[str]:
    reference = (ROOT / "docs" / "reference" / "conditions.md").read_text()
    return set(re.findall(r"`([A-Z]\w+)`", reference))


FIELDS = [(page, kind, path) for page, kind, rest in asked() for path in PATH.findall(rest)]


def test_the_pages_ask_for_fields():
    assert len(FIELDS) > 20


@pytest.mark.parametrize(("page", "kind", "path"), FIELDS)
def test_every_field_that_a_page_asks_for_is_defined(page, kind, path):
    assert is_defined(schema_of(kind), path), f"{page}: {kind} has no {path}"


def test_every_condition_that_a_page_asks_for_is_documented():
    known = documented_conditions()
    for page, _, rest in asked():
        assert set(CONDITION.findall(rest)) <= known, page


def test_every_field_that_a_page_selects_by_can_be_selected_by():
    found = [
        (page, kind, field) for page, kind, rest in asked() for field in SELECTOR.findall(rest)
    ]
    assert found
    for page, kind, field in found:
        version = DEFINITIONS[kind]["versions"][0]
        paths = [one["jsonPath"] for one in version.get("selectableFields", ())]
        assert f".{field}" in paths, f"{page}: {kind} cannot be selected by {field}"


def test_no_page_looks_for_a_phase_where_the_reason_is_shown():
    """The column STATUS shows why a session ends, as soon as that is known, and not its phase."""
    status = schema_of("spawnsessions")["properties"]["status"]
    words = "|".join(status["properties"]["phase"]["enum"])
    for page in PAGES:
        for line in page.read_text().splitlines():
            if re.search(rf"kubectl get (ss|spawnsessions?)\b.*\| grep .*\b({words})\b", line):
                assert "-o wide" in line, f"{page}: {line}"
