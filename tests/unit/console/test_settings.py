"""Each wrong setting of the console is told in a sentence that says what to write, all at once."""

import json

import pytest

from spawnai.cli import main
from spawnai.console.settings import console_settings_from
from spawnai.settings import Address, SettingsError

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("SPAWNAI_CONSOLE_ADDRESS", "0.0.0.0:99999", "write host:port"),
        ("SPAWNAI_CONSOLE_ADDRESS", "::1:8000", "write host:port"),
        ("SPAWNAI_HTTP_ADDRESS", "8080", "write host:port"),
        ("SPAWNAI_KUBERNETES_URL", "http://10.96.0.1", "write the https:// address"),
        ("SPAWNAI_KUBERNETES_CA_FILE", "/no/such/file", "there is no such file"),
        ("SPAWNAI_NAMESPACE", "Spawn_AI", "write the namespace"),
        ("SPAWNAI_CONSOLE_NAMESPACE", "Team A", "write the namespace"),
        ("SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE", "²", "write a whole number from 1"),
        ("SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE", "0", "write a whole number from 1"),
        ("SPAWNAI_LOG_LEVEL", "verbose", "write debug, info, warning or error"),
        ("SPAWNAI_LOG_FORMAT", "xml", "write json or text"),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_write(variable, value, sentence):
    with pytest.raises(SettingsError) as caught:
        console_settings_from(IN_A_POD | {variable: value})
    [problem] = caught.value.problems
    assert problem.variable == variable
    assert problem.message.startswith(f"{variable} is {value!r}: ")
    assert sentence in problem.message


def test_outside_a_pod_it_has_to_be_told_where_the_api_server_is():
    with pytest.raises(SettingsError, match="SPAWNAI_KUBERNETES_URL is not set"):
        console_settings_from({})
    told = console_settings_from({"SPAWNAI_KUBERNETES_URL": "https://cluster.example.com/"})
    assert told.kubernetes_url == "https://cluster.example.com"


def test_in_a_pod_it_finds_the_api_server_by_itself():
    assert console_settings_from(IN_A_POD).kubernetes_url == "https://10.96.0.1:443"
    given = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT_HTTPS": "6443"}
    assert console_settings_from(given).kubernetes_url == "https://[fd00::1]:6443"


def test_an_empty_value_stands_for_the_default():
    names = (
        "SPAWNAI_CONSOLE_ADDRESS",
        "SPAWNAI_HTTP_ADDRESS",
        "SPAWNAI_KUBERNETES_URL",
        "SPAWNAI_KUBERNETES_CA_FILE",
        "SPAWNAI_NAMESPACE",
        "SPAWNAI_CONSOLE_NAMESPACE",
        "SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE",
        "SPAWNAI_DATABASE_URL",
    )
    assert console_settings_from(IN_A_POD | dict.fromkeys(names, "")) == console_settings_from(
        IN_A_POD
    )
    assert console_settings_from(IN_A_POD).address == Address("0.0.0.0", 8000)  # noqa: S104


def test_the_address_of_the_database_is_shown_nowhere():
    given = {"SPAWNAI_DATABASE_URL": "mysql://console:open-sesame@db/history"}
    with pytest.raises(SettingsError, match="write postgresql://") as caught:
        console_settings_from(IN_A_POD | given)
    assert "open-sesame" not in str(caught.value)
    good = {"SPAWNAI_DATABASE_URL": "postgresql://console:open-sesame@db/history"}
    assert "open-sesame" not in repr(console_settings_from(IN_A_POD | good))


def test_all_wrong_values_are_told_at_once_each_as_one_line_of_json(monkeypatch, capsys):
    for name, value in (
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("SPAWNAI_CONSOLE_ADDRESS", "nowhere"),
        ("SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE", "many"),
    ):
        monkeypatch.setenv(name, value)
    assert main(["console"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert sorted(line["variable"] for line in lines) == [
        "SPAWNAI_CONSOLE_ADDRESS",
        "SPAWNAI_CONSOLE_REQUESTS_PER_MINUTE",
    ]
