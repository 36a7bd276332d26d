"""No secret passes, whatever it stands in; and what is no secret stays readable."""

import base64

import pytest

from spawnai.telemetry.redaction import Redactor

# Built from parts, so that no scanner takes them for real ones.
DIGITALOCEAN_TOKEN = "dop" + "_v1_" + "0123456789abcdef" * 4
ANTHROPIC_KEY = "sk-" + "ant-api03-" + "Ab_-9" * 10
BEARER = "Bearer " + "abc.DEF-123_456~"
JWT = "ey" + "Jhbcdefghij" + ".ey" + "Jzdfghijklm" + ".c2ln"
DASHES = "-----"


def pem(kind: str) -> str:
    return f"{DASHES}BEGIN {kind}{DASHES}\nMIIabcdef\nghijkl==\n{DASHES}END {kind}{DASHES}"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"401 for {DIGITALOCEAN_TOKEN}.", "0123456789abcdef"),
        (f"token='{DIGITALOCEAN_TOKEN.replace('dop', 'doo')}'", "0123456789abcdef"),
        (f"key {ANTHROPIC_KEY} is not valid", "Ab_-9"),
        (f"{{'Authorization': '{BEARER}'}}", "DEF-123"),
        (f"authorization: {BEARER.lower()}", "def-123"),
        (f"using {JWT}", "Jzdfghijklm"),
        (f"x-api-key: {'q' * 20}", "qqqq"),
        (f"'X-Api-Key': '{'q' * 20}'", "qqqq"),
        (pem("PRIVATE KEY"), "MIIabcdef"),
        (pem("CERTIFICATE"), "MIIabcdef"),
        (repr(pem("EC PRIVATE KEY")), "MIIabcdef"),
        (pem("PRIVATE KEY")[:40], "MIIabc"),
        ("proxy https://someone:pass-word@proxy:3128 failed", "pass-word"),
    ],
)
def test_what_looks_like_a_secret_is_redacted(text, secret):
    assert secret in text
    redacted = Redactor().redact(text)
    assert secret not in redacted
    assert "[redacted]" in redacted


def test_what_stands_around_a_secret_stays():
    text = f"POST /v2/droplets: 401 with {DIGITALOCEAN_TOKEN}, giving up"
    assert Redactor().redact(text) == "POST /v2/droplets: 401 with [redacted], giving up"
    two = f"{pem('CERTIFICATE')} and {pem('PRIVATE KEY')} done"
    assert Redactor().redact(two) == "[redacted] and [redacted] done"


@pytest.mark.parametrize(
    "text",
    [
        "Droplet 4711 in nyc3 is active at 203.0.113.9",
        "GET https://api.digitalocean.com/v2/droplets?tag_name=session:0b5c&per_page=200",
        "the bearer token is missing",
        "http://[::1]:8443/v1/status",
        "SpawnSession default/retro-board: Provisioning → Running, “ready” after 41 s",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_is_no_secret_is_left_alone(text):
    assert Redactor().redact(text) == text


def test_a_registered_secret_is_redacted_also_in_base64():
    redactor = Redactor()
    redactor.register("correct horse battery")
    encoded = base64.b64encode(b"correct horse battery").decode()
    assert redactor.redact(f"it was correct horse battery, or {encoded}") == (
        "it was [redacted], or [redacted]"
    )


def test_of_two_secrets_where_one_is_a_part_of_the_other_nothing_is_left():
    redactor = Redactor()
    redactor.register("horse-battery")
    redactor.register("correct-horse-battery-staple")
    assert redactor.redact("correct-horse-battery-staple") == "[redacted]"


def test_a_text_too_short_to_be_a_secret_is_not_redacted_everywhere():
    redactor = Redactor()
    redactor.register("nyc3")
    redactor.register("")
    assert redactor.redact("in nyc3") == "in nyc3"


def test_a_redactor_does_not_show_what_it_knows():
    redactor = Redactor()
    redactor.register("correct horse battery")
    assert "horse" not in repr(redactor)


@pytest.mark.parametrize(
    "text", [f"x-api-key: {'q' * 20}", "invalid x-api-key: registered-secret", f"using {BEARER}"]
)
def test_what_was_redacted_stays_as_it_is(text):
    redactor = Redactor()
    redactor.register("registered-secret")
    once = redactor.redact(text)
    assert once != text
    assert redactor.redact(once) == once
