"""Whatever is sent to the console, it answers as its OpenAPI document says."""

import asyncio
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.e2e.console.conftest import World

# Streams have no end of their own; their refusals are tested beside them.
STREAMS = r"/(watch|logs|generation)$"
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 8


@pytest.mark.timeout(600)
async def test_the_answer_to_anything_is_as_the_document_says(world: World):
    async with world.client(None) as client:
        document = (await client.get("api/openapi.json")).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=world.console.url.rstrip("/"))
    await asyncio.to_thread(fuzz, schema.exclude(path_regex=STREAMS), world.viewer)


def fuzz(schema: Any, token: str) -> None:
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def as_documented(case: Any) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {token}"}, timeout=30)
            assert answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR
            case.validate_response(answer, checks=CHECKS)

        as_documented()
