"""Each wrong setting of the inspector is told in a sentence that says what to write."""

import json

import pytest

from spawnai.cli import main
from spawnai.inspector.settings import inspector_settings_from
from spawnai.settings import Address, SettingsError


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("SPAWNAI_INSPECTOR_ADDRESS", "8080", "write host:port"),
        ("SPAWNAI_INSPECTOR_ADDRESS", "0.0.0.0:99999", "write host:port"),
        ("SPAWNAI_INSPECTOR_ADDRESS", "::1:8080", "write host:port"),
        ("SPAWNAI_INSPECTOR_SANDBOX", "yes", "write auto, on or off"),
        ("SPAWNAI_INSPECTOR_BROWSERS", "²", "write a whole number from 1 to 32"),
        ("SPAWNAI_INSPECTOR_BROWSERS", "0", "write a whole number from 1 to 32"),
        ("SPAWNAI_INSPECTOR_BROWSERS", "33", "write a whole number from 1 to 32"),
        ("SPAWNAI_INSPECTOR_CHROMIUM", "/no/such/browser", "write the path of a program"),
        ("SPAWNAI_INSPECTOR_DNS", "127.0.0.1", "write host:port"),
        ("SPAWNAI_INSPECTOR_DNS", "dns.example:53", "write its IP address"),
        ("SPAWNAI_DROPLET_NETWORKS", "10.0.0.1/8", "write IPv4 networks"),
        ("SPAWNAI_LOG_LEVEL", "verbose", "write debug, info, warning or error"),
        ("SPAWNAI_LOG_FORMAT", "xml", "write json or text"),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_write(variable, value, sentence):
    with pytest.raises(SettingsError) as caught:
        inspector_settings_from({variable: value})
    [problem] = caught.value.problems
    assert problem.variable == variable
    assert problem.message.startswith(f"{variable} is {value!r}: ")
    assert sentence in problem.message


def test_all_wrong_values_are_told_at_once_each_as_one_line_of_json(monkeypatch, capsys):
    wrong = {"SPAWNAI_INSPECTOR_ADDRESS": "nowhere", "SPAWNAI_INSPECTOR_BROWSERS": "many"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    assert main(["inspector"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["variable"] for line in lines} == wrong.keys()
    assert {line["level"] for line in lines} == {"error"}


def test_an_empty_value_stands_for_the_default():
    variables = {field.validation_alias for field in fields().values()}
    own = {name for name in variables if name.startswith(("SPAWNAI_INSPECTOR_", "SPAWNAI_DROPLET"))}
    assert inspector_settings_from(dict.fromkeys(own, "")) == inspector_settings_from({})


def test_its_dns_server_may_have_an_address_of_either_kind():
    told = inspector_settings_from({"SPAWNAI_INSPECTOR_DNS": "[::1]:53"})
    assert told.dns == Address("::1", 53)
    assert inspector_settings_from({}).dns is None


def fields():
    return type(inspector_settings_from({})).model_fields
