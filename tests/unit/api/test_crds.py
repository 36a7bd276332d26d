"""The CRDs: structural, bounded, described, and the same as the files in the repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from spawnai.api.base import ApiModel
from spawnai.api.conditions import ConditionType
from spawnai.api.crds import (
    RESOURCES,
    custom_resource_definition,
    generated_files,
    main,
    object_schema,
)
from spawnai.api.names import API_VERSION
from spawnai.api.resource import CustomResource
from spawnai.api.session import SPAWN_SESSION
from spawnai.api.spawnclass import SPAWN_CLASS, ClassSpec
from spawnai.api.structural import ordered, structural_schema

REPOSITORY = Path(__file__).resolve().parents[3]

each_resource = pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from nodes(schema[keyword], f"{path}[]")


def fields(resource: CustomResource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field that is ours: metadata belongs to the API server."""
    properties = object_schema(resource)["properties"]
    for part in ("spec", "status"):
        yield from nodes(properties[part], part)


def test_the_files_are_what_the_models_say(capsys):
    assert main(["--check", "--root", str(REPOSITORY)]) == 0, capsys.readouterr().err


def test_a_file_that_differs_is_named_with_the_way_to_make_it_right(tmp_path, capsys):
    (tmp_path / "pyproject.toml").touch()
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    session = tmp_path / "crds" / "spawnsessions.yaml"
    session.write_text(session.read_text().replace("maxLength: 253", "maxLength: 254"))
    (tmp_path / "crds" / "spawnrecords.yaml").unlink()
    (tmp_path / "docs" / "reference" / "leftover.md").touch()
    capsys.readouterr()
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "crds/spawnsessions.yaml is not what the models say",
        "crds/spawnrecords.yaml is missing",
        "docs/reference/leftover.md is made from no model",
        "Run `make generate` and commit what it changes.",
    ]


@each_resource
def test_every_field_is_described(resource):
    silent = [
        path
        for path, schema in fields(resource)
        if not path.endswith("[]") and not schema.get("description")
    ]
    assert silent == []


@each_resource
def test_every_text_list_and_map_is_bounded(resource):
    unbounded = [
        path
        for path, schema in fields(resource)
        if (schema["type"] == "string" and not {"maxLength", "enum", "format"} & schema.keys())
        or (schema["type"] == "array" and "maxItems" not in schema)
        or ("additionalProperties" in schema and "maxProperties" not in schema)
    ]
    assert unbounded == []


@each_resource
def test_lists_say_how_they_are_merged(resource):
    assert [
        path
        for path, schema in fields(resource)
        if schema["type"] == "array" and "x-kubernetes-list-type" not in schema
    ] == []


def test_conditions_are_merged_by_type():
    conditions = object_schema(SPAWN_SESSION)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    others = {ConditionType.NEAR_LIMIT, ConditionType.IMAGE_READY}  # a budget's, a class's
    for type_ in set(ConditionType) - others:
        assert type_ in conditions["description"]


def test_nothing_is_filled_into_a_session_but_that_nobody_has_looked_at_it():
    assert [path for path, schema in fields(SPAWN_SESSION) if "default" in schema] == ["status"]
    status = object_schema(SPAWN_SESSION)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1, "phase": "Requested"}
    assert status["properties"]["observedGeneration"]["minimum"] == -1


def test_every_field_of_a_session_spec_but_the_prompt_is_immutable():
    spec = object_schema(SPAWN_SESSION)["properties"]["spec"]
    guarded = {rule["fieldPath"] for rule in spec["x-kubernetes-validations"]}
    assert guarded == {f".{name}" for name in spec["properties"] if name != "prompt"}


def test_the_api_server_fills_in_what_the_operator_would():
    """Defaults of the schema, put together, are the defaults of the model."""

    def filled(schema: dict[str, Any]) -> Any:
        default = schema.get("default")
        # What stands in an object that nobody wrote, and that has no default itself, is not filled.
        if default is None or default or "properties" not in schema:
            return default
        parts = {name: filled(part) for name, part in schema["properties"].items()}
        return {name: part for name, part in parts.items() if part is not None}

    spec = object_schema(SPAWN_CLASS)["properties"]["spec"]
    assert filled(spec) == ClassSpec().document()


def test_a_default_is_said_in_the_description():
    spec = object_schema(SPAWN_CLASS)["properties"]["spec"]["properties"]
    assert spec["lifetime"]["properties"]["max"]["description"].endswith("Default: 72h")
    assert spec["regions"]["description"].endswith(
        'Default: ["nyc3", "sfo3", "ams3", "sgp1", "fra1", "lon1", "tor1"]'
    )


@each_resource
def test_every_rule_says_what_to_do_in_one_line(resource):
    for path, schema in fields(resource):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            assert "\n" not in rule["message"], path


@each_resource
def test_a_definition_names_what_people_type(resource):
    definition = custom_resource_definition(resource)
    names = definition["spec"]["names"]
    assert names["categories"] == ["spawnai"]
    assert names["singular"] == resource.kind.lower()
    subresources = definition["spec"]["versions"][0]["subresources"]
    assert subresources["status"] == {}
    assert ("scale" in subresources) == (resource.kind == "SpawnPool")


def test_short_names_take_none_of_kubernetes_own():
    taken = {"sc", "svc", "sa", "sts", "po", "ns", "no", "pv", "pvc", "rs", "rc", "ds", "ep", "ev"}
    short = [name for resource in RESOURCES for name in resource.short_names]
    assert short == ["ss", "sr", "sb", "sp"]
    assert not taken & set(short)


@each_resource
def test_every_column_shows_a_field_that_exists(resource):
    schema = object_schema(resource)
    for column in resource.columns:
        path = column.json_path.split("[", 1)[0].lstrip(".").split(".")
        if path[0] == "metadata":
            continue
        part = schema
        for name in path:
            part = part["properties"][name]


def test_a_model_that_no_structural_schema_can_say_is_refused():
    class Odd(ApiModel):
        value: int | str = Field(description="Either.")

    with pytest.raises(ValueError, match="one type, or one type and null"):
        structural_schema(Odd, defaults=False)
    with pytest.raises(ValueError, match="no structural schema keyword: patternProperties"):
        ordered({"type": "object", "patternProperties": {}})


def test_every_page_of_the_reference_names_all_there_is():
    pages = {path.name: text for path, text in generated_files().items() if path.suffix == ".md"}
    for resource in RESOURCES:
        page = pages[f"{resource.singular}.md"]
        for path, _ in fields(resource):
            if path not in ("spec", "status") and not path.endswith("[]"):
                assert f"### `{path}`" in page
        for column in resource.columns:
            assert f"| {column.name.upper()}" in page
    for type_ in ConditionType:
        assert f"| `{type_}` |" in pages["conditions.md"]


def test_generated_yaml_reads_back_as_it_was():
    text = generated_files()[Path("crds", "spawnclasses.yaml")]
    assert yaml.safe_load(text) == custom_resource_definition(SPAWN_CLASS)
    assert API_VERSION == "spawn-ai.com/v1alpha1"
