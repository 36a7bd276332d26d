"""Each wrong setting of the gateway is told in a sentence that says what to write, all at once."""

import json

import pytest

from spawnai.cli import main
from spawnai.gateway.caddy import render_caddyfile
from spawnai.gateway.settings import gateway_settings_from
from spawnai.settings import Address, SettingsError

GIVEN = {"SPAWNAI_GATEWAY_DOMAIN": "apps.example.com"}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("SPAWNAI_GATEWAY_DOMAIN", "", "write the domain of the class"),
        ("SPAWNAI_GATEWAY_DOMAIN", "localhost", "write the domain of the class"),
        ("SPAWNAI_GATEWAY_DOMAIN", "apps.example.com {", "write the domain of the class"),
        ("SPAWNAI_GATEWAY_DOMAIN", "a." * 127 + "com", "write the domain of the class"),
        ("SPAWNAI_GATEWAY_ADDRESS", "everywhere", "write an IP address"),
        ("SPAWNAI_GATEWAY_HTTP_PORT", "²", "write a whole number from 1 to 65535"),
        ("SPAWNAI_GATEWAY_HTTPS_PORT", "0", "write a whole number from 1 to 65535"),
        ("SPAWNAI_GATEWAY_PUBLIC_HTTPS_PORT", "https", "write a whole number from 1 to 65535"),
        ("SPAWNAI_GATEWAY_DROPLET_HTTP_PORT", "65536", "write a whole number from 1 to 65535"),
        ("SPAWNAI_GATEWAY_DROPLET_HTTPS_PORT", "-1", "write a whole number from 1 to 65535"),
        ("SPAWNAI_GATEWAY_DNS", "127.0.0.1:99999", "write host:port"),
        ("SPAWNAI_GATEWAY_DNS", "::1:5353", "write host:port"),
        ("SPAWNAI_GATEWAY_DNS", "localhost:5353", "write its IP address"),
        ("SPAWNAI_HTTP_ADDRESS", "8080", "write host:port"),
        ("SPAWNAI_LOG_LEVEL", "verbose", "write debug, info, warning or error"),
        ("SPAWNAI_LOG_FORMAT", "xml", "write json or text"),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_write(variable, value, sentence):
    with pytest.raises(SettingsError) as caught:
        gateway_settings_from(GIVEN | {variable: value})
    [problem] = caught.value.problems
    assert problem.variable == variable
    assert problem.message.startswith(f"{variable} is {value!r}: ")
    assert sentence in problem.message


def test_a_gateway_without_a_domain_ends_in_one_line_of_json(monkeypatch, capsys):
    monkeypatch.delenv("SPAWNAI_GATEWAY_DOMAIN", raising=False)
    monkeypatch.setenv("SPAWNAI_GATEWAY_DNS", "nowhere")
    assert main(["gateway"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["variable"] for line in lines} == {"SPAWNAI_GATEWAY_DOMAIN", "SPAWNAI_GATEWAY_DNS"}


def test_a_gateway_that_cannot_tell_its_cluster_ends_in_a_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SPAWNAI_GATEWAY_DOMAIN", "apps.example.com")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["gateway"]) == 2
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert "set KUBECONFIG to a file that kubectl can use" in line["message"]


def test_an_empty_value_stands_for_the_default():
    empty = dict.fromkeys(
        ("SPAWNAI_GATEWAY_ADDRESS", "SPAWNAI_GATEWAY_HTTPS_PORT", "SPAWNAI_GATEWAY_DNS",
         "SPAWNAI_GATEWAY_TLS", "SPAWNAI_GATEWAY_PUBLIC_HTTPS_PORT", "SPAWNAI_HTTP_ADDRESS"), "",
    )  # fmt: skip
    assert gateway_settings_from(GIVEN | empty) == gateway_settings_from(GIVEN)


def test_the_port_that_people_use_stands_in_urls_and_a_name_may_be_written_in_any_case():
    settings = gateway_settings_from({"SPAWNAI_GATEWAY_DOMAIN": ".Apps.Example.com."})
    assert (settings.domain, settings.port_suffix) == ("apps.example.com", "")
    behind = gateway_settings_from(GIVEN | {"SPAWNAI_GATEWAY_HTTPS_PORT": "8443"})
    assert behind.port_suffix == ":8443"
    ports = {"SPAWNAI_GATEWAY_HTTPS_PORT": "8443", "SPAWNAI_GATEWAY_PUBLIC_HTTPS_PORT": "443"}
    assert gateway_settings_from(GIVEN | ports).port_suffix == ""


def test_caddy_asks_where_the_gateway_answers_also_by_ipv6():
    settings = gateway_settings_from(GIVEN | {"SPAWNAI_GATEWAY_DNS": "[::1]:5353"})
    assert settings.dns == Address("::1", 5353)
    assert "resolvers [::1]:5353\n" in render_caddyfile(settings)
