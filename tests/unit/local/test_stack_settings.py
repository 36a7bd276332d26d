from pathlib import Path

import pytest

from spawnai_local.cloud_settings import LOCAL_ANTHROPIC_KEY, LOCAL_DIGITALOCEAN_TOKEN
from spawnai_local.stack_settings import (
    Claude,
    Cloud,
    Cluster,
    SettingsError,
    settings_from_environment,
)

DIRECTORY = Path("/nowhere/.local")


def test_without_any_variable_everything_is_on_this_machine():
    settings = settings_from_environment(DIRECTORY, {})
    assert (settings.cluster, settings.cloud, settings.claude) == (
        Cluster.EMBEDDED,
        Cloud.LOCAL,
        Claude.SIMULATOR,
    )
    assert not settings.outlives_us


def test_a_person_s_own_claude_key_means_the_real_claude():
    settings = settings_from_environment(DIRECTORY, {"ANTHROPIC_API_KEY": "test-key"})
    assert settings.claude is Claude.ANTHROPIC
    assert settings.anthropic_api_key == "test-key"


def test_the_simulator_can_be_asked_for_although_there_is_a_key():
    environment = {"ANTHROPIC_API_KEY": "test-key", "CLAUDE": "simulator"}
    settings = settings_from_environment(DIRECTORY, environment)
    assert settings.claude is Claude.SIMULATOR
    assert settings.anthropic_api_key == LOCAL_ANTHROPIC_KEY


def test_a_shell_that_read_the_env_file_does_not_pay_for_the_real_claude():
    settings = settings_from_environment(DIRECTORY, {"ANTHROPIC_API_KEY": LOCAL_ANTHROPIC_KEY})
    assert settings.claude is Claude.SIMULATOR


def test_a_digitalocean_token_alone_is_never_used():
    settings = settings_from_environment(DIRECTORY, {"DIGITALOCEAN_TOKEN": "test-token"})
    assert settings.cloud is Cloud.LOCAL
    assert settings.digitalocean_token == LOCAL_DIGITALOCEAN_TOKEN


def test_real_droplets_are_made_on_request_and_outlive_the_stack():
    environment = {"DIGITALOCEAN_TOKEN": "test-token", "CLOUD": "digitalocean"}
    settings = settings_from_environment(DIRECTORY, environment)
    assert settings.digitalocean_token == "test-token"
    assert settings.digitalocean_api_url == "https://api.digitalocean.com"
    assert settings.outlives_us


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"CLOUD": "digitalocean"}, "needs your token in DIGITALOCEAN_TOKEN"),
        (
            {"CLOUD": "digitalocean", "DIGITALOCEAN_TOKEN": LOCAL_DIGITALOCEAN_TOKEN},
            "needs your token in DIGITALOCEAN_TOKEN",
        ),
        ({"CLAUDE": "anthropic"}, "needs your key in ANTHROPIC_API_KEY"),
        ({"CLUSTER": "kind"}, "write CLUSTER=embedded or kubeconfig"),
        ({"CLUSTER": "kubeconfig", "KUBECONFIG": "/nowhere/config"}, "`make kind-up`"),
        (
            {"CLUSTER": "kubeconfig", "KUBECONFIG": "/nowhere/.local/kubeconfig"},
            "is the local stack's own",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(environment, message):
    with pytest.raises(SettingsError, match=message):
        settings_from_environment(DIRECTORY, environment)


def test_several_kubeconfig_files_are_taken_as_they_are(tmp_path):
    config = tmp_path / "config"
    config.touch()
    value = f"/nowhere/config:{config}"
    environment = {"CLUSTER": "kubeconfig", "KUBECONFIG": value}
    assert settings_from_environment(DIRECTORY, environment).kubeconfig == value


def test_secrets_are_not_shown():
    environment = {
        "ANTHROPIC_API_KEY": "test-key",
        "DIGITALOCEAN_TOKEN": "test-token",
        "CLOUD": "digitalocean",
    }
    shown = repr(settings_from_environment(DIRECTORY, environment))
    assert "test-key" not in shown
    assert "test-token" not in shown
