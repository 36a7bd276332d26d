"""An operator does not act under CRDs that would drop what it writes."""

import copy
from types import SimpleNamespace

import pytest
from tests.support.virtual_time import VirtualClock

from spawnai.api.crds import RESOURCES, object_schema
from spawnai.controller.schemas import Schemas, SchemasOutdated, missing_fields


class Definitions:
    """The CRDs of a cluster, by plural."""

    def __init__(self) -> None:
        self.schemas = {one.plural: copy.deepcopy(object_schema(one)) for one in RESOURCES}

    async def served_schema(self, definition: str, version: str):
        assert version == "v1alpha1"
        return self.schemas.get(definition.partition(".")[0])


@pytest.fixture
def definitions() -> Definitions:
    return Definitions()


def schemas(definitions: Definitions, counts: list[int]) -> Schemas:
    metrics = SimpleNamespace(missing_fields=counts.append)
    return Schemas(definitions, metrics, VirtualClock())


async def test_the_crds_of_this_version_have_every_field(definitions):
    counts: list[int] = []
    await schemas(definitions, counts).check()
    assert counts == [0]


async def test_a_field_that_would_be_dropped_is_named_and_counted(definitions):
    counts: list[int] = []
    del definitions.schemas["spawnsessions"]["properties"]["status"]["properties"]["readyAt"]
    lines = definitions.schemas["spawnrecords"]["properties"]["status"]["properties"]["resources"]
    del lines["items"]["properties"]["ip"]
    with pytest.raises(SchemasOutdated) as caught:
        await schemas(definitions, counts).check()
    assert "SpawnSession status.readyAt, SpawnRecord status.resources.[].ip" in str(caught.value)
    assert "apply crds/ of this version" in str(caught.value)
    assert counts == [2]


async def test_newer_crds_and_kinds_that_are_away_are_no_reason_to_stop(definitions):
    definitions.schemas["spawnsessions"]["properties"]["status"]["properties"]["later"] = {}
    del definitions.schemas["spawnclasses"]
    await schemas(definitions, []).check()


def test_a_schema_that_keeps_everything_lacks_nothing():
    ours = {"properties": {"a": {"properties": {"b": {}}}}}
    assert list(missing_fields(ours, {"x-kubernetes-preserve-unknown-fields": True})) == []
    assert list(missing_fields(ours, {"properties": {"a": {}}})) == ["a.b"]
