"""user_data, compared as a whole with the files in expected/.

After a wanted change: REWRITE_EXPECTED=1 python -m pytest tests/unit/droplet, then read the diff.
"""

import base64
import gzip
import io
import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from spawnai.droplet.cloud_config import (
    MAX_USER_DATA_BYTES,
    DropletBootstrap,
    RuntimeArchive,
    render_user_data,
    session_document,
)
from spawnai.droplet.credentials import (
    SessionCredentials,
    derive_credentials,
    derive_gateway_certificate,
)
from spawnai.droplet.packing import agent_files, read_agent_source

EXPECTED = Path(__file__).parent / "expected"
APP_TYPES = ("webapp", "api", "script")

BOOTSTRAP = DropletBootstrap(
    session_uid="0f0e0d0c-0b0a-0908-0706-050403020100",
    app_type="api",
    credentials=SessionCredentials("test-token", "the certificate\n", "the key\n"),
    agent_source="(the agent, packed)",
    expires_at=datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC),
    grace_seconds=600,
)


def files(user_data):
    return {file["path"]: file for file in yaml.safe_load(user_data)["write_files"]}


def unpack(file):
    if file.get("encoding") == "gz+b64":
        return gzip.decompress(base64.b64decode(file["content"]))
    return file["content"].encode()


@pytest.mark.parametrize("app_type", APP_TYPES)
def test_user_data_is_what_was_read_and_approved(app_type):
    rendered = render_user_data(replace(BOOTSTRAP, app_type=app_type))
    expected = EXPECTED / f"user-data-{app_type}.yaml"
    if os.environ.get("REWRITE_EXPECTED"):
        expected.write_text(rendered)
    assert rendered == expected.read_text()


def test_it_is_deterministic_and_ascii_and_is_recognised_by_its_first_line():
    first, second = render_user_data(BOOTSTRAP), render_user_data(BOOTSTRAP)
    assert first == second
    assert first.isascii()
    assert first.splitlines()[0] == "#cloud-config"


@pytest.mark.parametrize("app_type", APP_TYPES)
def test_the_real_agent_fits_with_room_to_spare(app_type):
    bootstrap = replace(BOOTSTRAP, app_type=app_type, agent_source=read_agent_source())
    rendered = render_user_data(bootstrap)
    assert len(rendered) < MAX_USER_DATA_BYTES * 3 / 4
    with zipfile.ZipFile(io.BytesIO(unpack(files(rendered)["/opt/spawnai/agent.pyz"]))) as archive:
        shipped = {info.filename: archive.read(info).decode() for info in archive.infolist()}
    assert shipped.pop("__main__.py").startswith("from spawnai_agent.main import main")
    assert set(shipped) == {f"spawnai_agent/{name}" for name in agent_files()}


def test_an_agent_that_does_not_fit_is_refused():
    noise = base64.b64encode(os.urandom(90_000)).decode()
    with pytest.raises(ValueError, match="make the agent smaller"):
        render_user_data(replace(BOOTSTRAP, agent_source=noise))


def test_of_all_secrets_only_the_agents_own_key_is_in_it():
    created = datetime(2026, 11, 23, tzinfo=UTC)
    credentials = derive_credentials(b"test-master-key-of-32-bytes-long", "uid", created)
    gateway = derive_gateway_certificate(
        b"test-master-key-of-32-bytes-long", "uid", created, "app-0f0e0d0c"
    )
    with_gateway = replace(BOOTSTRAP, credentials=credentials, gateway=gateway)
    rendered = render_user_data(replace(with_gateway, agent_source=read_agent_source()))
    everything = rendered.encode() + b"".join(map(unpack, files(rendered).values()))
    assert credentials.token.encode() not in everything
    assert credentials.token_sha256.encode() in everything
    holders = {
        path: file["permissions"]
        for path, file in files(rendered).items()
        if b"-----BEGIN PRIVATE KEY" in unpack(file)
    }
    assert holders == {"/opt/spawnai/session.json": "0600"}


def test_a_spare_installs_what_every_app_type_needs():
    archives = tuple(RuntimeArchive(name, "https://x/", "0" * 64, 0) for name in ("node", "caddy"))
    spare = session_document(replace(BOOTSTRAP, app_type=None, archives=archives))
    assert spare["appType"] is None
    for app_type in (*APP_TYPES, "fullstack"):
        session = session_document(replace(BOOTSTRAP, app_type=app_type, archives=archives))
        assert set(session["packages"]) <= set(spare["packages"])
        assert all(archive in spare["archives"] for archive in session["archives"])


def test_the_mark_that_the_early_start_waits_for_is_written_last():
    written = list(files(render_user_data(BOOTSTRAP)))
    (command,) = yaml.safe_load(render_user_data(BOOTSTRAP))["bootcmd"]
    assert written[-1] == "/opt/spawnai/written"
    assert written[-1] in command[-1]


def test_the_switch_shares_no_process_no_limit_and_no_port_with_what_strangers_reach():
    units = {
        Path(path).name: file["content"]
        for path, file in files(render_user_data(BOOTSTRAP)).items()
        if path.endswith(".service")
    }
    switch = units.pop("spawnai-switch.service")
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(switch.splitlines())
    assert "\nTasksMax=" in switch
    assert not re.search(r"^(Requires|BindsTo|PartOf|After|Slice)=", switch, re.MULTILINE)
    assert not any("agent.pyz switch" in other for other in units.values())


@pytest.mark.parametrize("command", ["start", "enable"])
def test_no_unit_waits_for_cloud_init_to_end(command):
    document = yaml.safe_load(render_user_data(BOOTSTRAP))
    assert document["runcmd"][0] == "set -eu"
    assert any(f"systemctl {command}" in line for line in document["runcmd"])
    starts = [line for line in document["runcmd"] if "systemctl start" in line]
    assert all("--no-block" in line for line in starts)
    for path, file in files(render_user_data(BOOTSTRAP)).items():
        if path.endswith(".service"):
            assert not re.search(r"cloud-(init|final)\.(target|service)", file["content"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"app_type": "desktop"}, "webapp, script, api"),
        ({"expires_at": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
    ],
)
def test_a_bootstrap_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        render_user_data(replace(BOOTSTRAP, **changes))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_can_read_the_units(tmp_path):
    units = []
    for path, file in files(render_user_data(BOOTSTRAP)).items():
        if path.endswith(".service"):
            units.append(tmp_path / Path(path).name)
            units[-1].write_text(file["content"])
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in verified.stderr.splitlines() if "spawnai" in line]
    assert said == []


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="cloud-init is not here")
@pytest.mark.parametrize("app_type", APP_TYPES)
def test_cloud_inits_own_schema_accepts_it(tmp_path, app_type):
    user_data = tmp_path / "user-data"
    user_data.write_text(render_user_data(replace(BOOTSTRAP, app_type=app_type)))
    subprocess.run(["cloud-init", "schema", "--config-file", user_data], check=True, timeout=60)
