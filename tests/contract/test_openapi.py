"""The tool that holds answers against the description must itself be able to say no."""

import json

import pytest
from tests.contract.openapi import violations

ACCOUNT = {
    "droplet_limit": 25,
    "floating_ip_limit": 3,
    "email": "a@example.com",
    "uuid": "u",
    "email_verified": True,
    "status": "active",
    "status_message": "",
}


def told(**changes):
    body = json.dumps({"account": {**ACCOUNT, **changes}}).encode()
    return violations("GET /v2/account", 200, body, strict=True)


def test_a_right_answer_has_no_violation():
    assert told() == []


@pytest.mark.parametrize(
    "changes", [{"droplet_limit": "25"}, {"status": "asleep"}, {"an_invented_field": 1}]
)
def test_a_wrong_type_a_wrong_value_and_an_invented_field_are_found(changes):
    assert told(**changes)


def test_a_missing_field_is_found():
    body = json.dumps({"account": {"email": "a@example.com"}}).encode()
    assert violations("GET /v2/account", 200, body, strict=False)


def test_published_reading_allows_fields_that_are_not_described():
    body = json.dumps({"account": {**ACCOUNT, "another": 1}}).encode()
    assert violations("GET /v2/account", 200, body, strict=False) == []


def test_an_operation_or_a_status_that_is_not_described_is_found():
    assert violations("GET /v2/nothing", 200, b"{}", strict=True)
    assert violations("GET /v2/account", 204, None, strict=True)


def test_a_body_where_there_should_be_none_is_found():
    assert violations("DELETE /v2/droplets/{droplet_id}", 204, b"{}", strict=True)


def test_an_address_that_is_none_and_a_time_that_is_none_are_found():
    record = {"resource_type": "droplet", "started_at": "yesterday"}
    body = json.dumps({"action": record}).encode()
    assert violations("GET /v2/actions/{action_id}", 200, body, strict=True)
