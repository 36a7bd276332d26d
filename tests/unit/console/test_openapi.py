"""The OpenAPI document: valid, and complete in what a stranger's program needs."""

import re
from random import Random

import pytest
from openapi_spec_validator import validate

from spawnai.clock import SystemClock
from spawnai.console.api_server import ApiServer
from spawnai.console.app import build_app
from spawnai.console.docs import docs_page
from spawnai.console.live import Live
from spawnai.console.operator_door import OperatorDoor
from spawnai.console.rate_limit import RateLimit


@pytest.fixture(scope="module")
def document():
    clock = SystemClock()
    api = ApiServer("https://127.0.0.1:1", None)
    app = build_app(
        api=api,
        door=OperatorDoor(api, clock, "spawnai-system"),
        live=Live(api, clock, Random(1)),
        rate_limit=RateLimit(600, clock),
        default_namespace="default",
    )
    return app.openapi()


def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_is_valid(document):
    validate(document)


def test_the_page_for_people_tells_all_of_it_and_runs_nothing(document):
    page = docs_page(document)
    for request in operations(document):
        assert f"<code>{request}</code>" in page
    for name, schema in document["components"]["schemas"].items():
        assert f'id="schema-{name}"' in page
        for field in schema.get("properties", {}):
            assert f"<code>{field}</code>" in page
    # What the Content-Security-Policy forbids, or what comes from elsewhere.
    for forbidden in ("<script", "<style", "style=", "onclick", "http://", "https://", "//cdn"):
        assert forbidden not in page
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(re.findall(r'id="([^"]+)"', page))


def test_text_is_never_markup_on_it(document):
    evil = {**document, "info": {**document["info"], "description": "<img src=x> `<b>`"}}
    assert "<p>&lt;img src=x&gt; <code>&lt;b&gt;</code></p>" in docs_page(evil)


def test_it_holds_the_whole_api_and_nothing_of_the_page(document):
    assert sorted(operations(document)) == [
        "DELETE /api/sessions/{id}",
        "GET /api/history",
        "GET /api/me",
        "GET /api/offer",
        "GET /api/sessions",
        "GET /api/sessions/{id}",
        "GET /api/sessions/{id}/files",
        "GET /api/sessions/{id}/generation",
        "GET /api/sessions/{id}/logs",
        "GET /api/sessions/{id}/receipt",
        "GET /api/sessions/{id}/screenshot",
        "GET /api/sessions/{id}/source",
        "GET /api/sessions/{id}/versions",
        "GET /api/sessions/{id}/watch",
        "GET /api/watch",
        "PATCH /api/sessions/{id}",
        "POST /api/sessions",
    ]


def test_every_operation_says_how_to_sign_in_and_what_may_go_wrong(document):
    for name, operation in operations(document).items():
        assert operation["security"], name
        assert {"400", "401", "403", "429", "503"} <= operation["responses"].keys(), name
        assert operation["summary"], name
        assert "422" not in operation["responses"] or "POST" in name or "PATCH" in name, name


def test_the_first_descriptions_fields_are_required(document):
    schemas = document["components"]["schemas"]
    assert {"sessionId", "estimatedCost", "estimatedTime"} <= set(schemas["Placed"]["required"])
    first_six = {"id", "state", "appUrl", "expiresAt", "estimatedCost", "actualCost"}
    assert first_six <= set(schemas["SessionAnswer"]["required"])
    assert schemas["State"]["enum"] == [
        "requested",
        "provisioning",
        "generating",
        "deploying",
        "running",
        "destroying",
        "destroyed",
    ]
