"""Each wrong setting is told in a sentence that says what to write, all of them at once."""

import json

import pytest

from spawnai.cli import main
from spawnai.console.settings import ConsoleSettings
from spawnai.gateway.settings import GatewaySettings
from spawnai.inspector.settings import InspectorSettings
from spawnai.settings import Address, Settings, SettingsError, read_settings, settings_from


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("SPAWNAI_WORKERS", "²", "write a whole number from 1 to 256"),
        ("SPAWNAI_WORKERS", "0", "write a whole number from 1 to 256"),
        ("SPAWNAI_WORKERS", "many", "write a whole number from 1 to 256"),
        ("SPAWNAI_WORKERS", "9" * 5000, "write a whole number from 1 to 256"),
        ("SPAWNAI_WORKERS", "", "write a whole number from 1 to 256"),
        ("SPAWNAI_HTTP_ADDRESS", "0.0.0.0:99999", "write host:port"),
        ("SPAWNAI_HTTP_ADDRESS", "8080", "write host:port"),
        ("SPAWNAI_HTTP_ADDRESS", "::1:8080", "write host:port"),
        ("SPAWNAI_HTTP_ADDRESS", "[::1]", "write host:port"),
        ("SPAWNAI_HTTP_ADDRESS", "", "write host:port"),
        ("SPAWNAI_LOG_LEVEL", "verbose", "write debug, info, warning or error"),
        ("SPAWNAI_LOG_FORMAT", "xml", "write json or text"),
        ("DIGITALOCEAN_API_URL", "api.example.com", "write a URL with its scheme"),
        ("DIGITALOCEAN_API_URL", "https://", "write a URL with its scheme"),
        ("ANTHROPIC_BASE_URL", "https://host:port", "write a URL with its scheme"),
        ("SPAWNAI_NAMESPACE", "", "write the namespace that the operator runs in"),
        ("SPAWNAI_NAMESPACE", "Spawn_AI", "write the namespace that the operator runs in"),
        ("SPAWNAI_LEASE_SECONDS", "1", "write a whole number from 2 to 300"),
        ("SPAWNAI_LEASE_SECONDS", "86400", "write a whole number from 2 to 300"),
        ("SPAWNAI_REAPER", "no", "write delete or dry-run"),
        ("SPAWNAI_REAPER_MINIMUM_AGE", "ten", "write a duration such as 90m"),
        ("SPAWNAI_DROPLET_NETWORKS", "127.0.0.1/8", "write IPv4 networks with commas"),
        ("SPAWNAI_REAPER_MOST_PER_HOUR", "0", "write a whole number from 1 to 100000"),
        (
            "SPAWNAI_ACME_DIRECTORY_URL",
            "http://ca.example",
            "write the https:// address of an ACME",
        ),
        ("SPAWNAI_ACME_CA_FILE", "/no/such/file", "there is no such file"),
        ("SPAWNAI_ACME_DNS", "dns.example:53", "write its IP address"),
        ("SPAWNAI_DOOR_ADDRESS", "8443", "write host:port"),
        ("SPAWNAI_INSPECTOR_URL", "spawnai-inspector", "write a URL with its scheme"),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_write(variable, value, sentence):
    with pytest.raises(SettingsError) as caught:
        settings_from({variable: value})
    [problem] = caught.value.problems
    assert problem.variable == variable
    assert problem.message.startswith(f"{variable} is ")
    assert sentence in problem.message


def test_all_wrong_values_are_told_at_once_each_as_one_line_of_json(monkeypatch, capsys):
    for name, value in (
        ("SPAWNAI_WORKERS", "²"),
        ("SPAWNAI_HTTP_ADDRESS", "nowhere"),
        ("SPAWNAI_LOG_FORMAT", "text\nof two lines"),
    ):
        monkeypatch.setenv(name, value)
    assert main(["run"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = [json.loads(line) for line in said.err.splitlines()]
    assert sorted(line["variable"] for line in lines) == [
        "SPAWNAI_HTTP_ADDRESS",
        "SPAWNAI_LOG_FORMAT",
        "SPAWNAI_WORKERS",
    ]
    assert {line["level"] for line in lines} == {"error"}


PROCESSES = (Settings, ConsoleSettings, GatewaySettings, InspectorSettings)
ANY_TEXT = {
    # What Kubernetes itself writes into a pod.
    "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT_HTTPS", "POD_IP", "POD_NAME", "POD_UID",
    # Places that may come into being later, as a Secret that is mounted.
    "SPAWNAI_GATEWAY_ADMIN_SOCKET", "SPAWNAI_GATEWAY_CA", "SPAWNAI_GATEWAY_TLS",
}  # fmt: skip


@pytest.mark.parametrize("process", PROCESSES)
def test_no_setting_of_any_process_takes_whatever_is_written(process):
    variables = {str(field.validation_alias) for field in process.model_fields.values()}
    with pytest.raises(SettingsError) as caught:
        read_settings(process, dict.fromkeys(variables, "² no such"))
    assert {problem.variable for problem in caught.value.problems} == variables - ANY_TEXT
    for problem in caught.value.problems:
        assert problem.message.startswith(f"{problem.variable} is ")
        assert "write " in problem.message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:1", Address("localhost", 1)),
        ("[::1]:65535", Address("::1", 65535)),
        (":8080", Address("0.0.0.0", 8080)),  # noqa: S104
    ],
)
def test_an_address_may_be_of_every_kind(text, address):
    settings = settings_from({"SPAWNAI_HTTP_ADDRESS": text})
    assert (settings.http_host, settings.http_port) == address


def test_what_is_not_set_has_its_default_and_other_variables_mean_nothing():
    settings = settings_from({"POD_NAME": "operator-0", "POD_UID": "uid-1", "WORKERS": "many"})
    assert settings.identity == "operator-0_uid-1"
    assert settings.namespace == "spawnai-system"
    assert settings.digitalocean_api_url == "https://api.digitalocean.com"
    assert settings.anthropic_base_url is None
    assert settings_from({"ANTHROPIC_BASE_URL": ""}).anthropic_base_url is None
    assert settings_from({}).identity != settings_from({}).identity
