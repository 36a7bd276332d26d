import base64
import json

import pytest
from starlette.datastructures import Headers

from spawnai.console.caller import Caller, is_foreign, namespace_in


def token(claims):
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


def test_a_service_accounts_token_names_its_namespace():
    assert namespace_in(token({"kubernetes.io": {"namespace": "team-a"}})) == "team-a"


@pytest.mark.parametrize(
    "other",
    ["opaque", "a.b.c", "..", token({"sub": "dana"}), token([]), token({"kubernetes.io": 1})],
)
def test_any_other_token_names_none(other):
    assert namespace_in(other) is None


def test_a_caller_does_not_show_its_token():
    assert "sesame" not in repr(Caller("sesame"))


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),  # not a browser
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),  # an app under the same domain
        ({"origin": "https://console.example.com", "host": "console.example.com"}, False),
        ({"origin": "https://evil.example.com", "host": "console.example.com"}, True),
        ({"origin": "null", "host": "console.example.com"}, True),
        (
            {
                "origin": "https://console.example.com",
                "host": "console:8000",
                "x-forwarded-host": "console.example.com",
            },
            False,
        ),
    ],
)
def test_a_request_that_another_sites_page_sends_is_told_apart(headers, foreign):
    assert is_foreign(Headers(headers)) is foreign
