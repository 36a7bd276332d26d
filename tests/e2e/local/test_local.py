"""`make local` and `make demo`, run as a person runs them: as programs, from outside."""

import asyncio
import io
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest
from tests.support.local_program import (
    DOWN_SECONDS,
    UP_SECONDS,
    Local,
    local,
    processes_of,
    until,
)

from spawnai_local.classes import LOCAL_CLASSES
from spawnai_local.control_plane import ControlPlane
from spawnai_local.digitalocean import NO_DELAYS, Emulator, Settings
from spawnai_local.paths import checkout

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "cloud", "operator")

WEBAPP = """
apiVersion: spawn-ai.com/v1alpha1
kind: SpawnSession
metadata: {name: board, annotations: {spawn-ai.com/ttl: 10m}}
spec: {prompt: A retro board with three columns, appType: webapp}
---
apiVersion: spawn-ai.com/v1alpha1
kind: SpawnSession
metadata: {name: notes, annotations: {spawn-ai.com/ttl: 10m}}
spec: {prompt: A JSON API that keeps notes, appType: api}
"""


def is_running(stack: Local, session: str) -> bool:
    phase = "-o jsonpath={.status.phase}"
    return stack.shell(f"kubectl get spawnsession {session} {phase}") == "Running"


def test_the_env_file_is_all_that_another_terminal_needs(stack):
    names = stack.shell("kubectl get spawnclasses -o name").split()
    assert set(names) == {f"spawnclass.spawn-ai.com/{name}" for name in LOCAL_CLASSES}
    bearer = '-H "Authorization: Bearer $DIGITALOCEAN_TOKEN"'
    droplets = stack.shell(f'curl -sS {bearer} "$DIGITALOCEAN_API_URL/v2/droplets"')
    assert json.loads(droplets)["droplets"] == []
    assert "spawnai_" in stack.shell('curl -sS "$SPAWNAI_METRICS_URL"')
    models = stack.shell(
        'curl -sS -H "x-api-key: $ANTHROPIC_API_KEY" -H "anthropic-version: 2023-06-01" '
        '"$ANTHROPIC_BASE_URL/v1/models"'
    )
    assert json.loads(models)["data"]


def test_the_commands_that_are_shown_work(stack):
    commands = re.findall(r"^ *\$ (.*)$", stack.said, re.MULTILINE)
    assert commands[0] == f". {stack.directory}/env"
    applied = stack.shell(f"{commands[1]} --dry-run=server")
    assert "spawnsession.spawn-ai.com/retro-board created" in applied
    assert stack.shell(commands[2].removesuffix(" --watch")) == ""


def test_every_part_has_a_pid_file_and_a_log(stack):
    for part in PARTS:
        assert Path(f"/proc/{stack.pid(part)}").is_dir(), part
        assert (stack.directory / f"{part}.log").is_file(), part


def test_what_a_shell_is_given_is_readable_by_its_owner_only(stack):
    for name in ("env", "kubeconfig", "operator.kubeconfig"):
        assert (stack.directory / name).stat().st_mode & 0o077 == 0, name


def test_the_operator_has_the_rights_of_its_manifests_and_no_more(stack):
    whoami = f"kubectl --kubeconfig {stack.directory}/operator.kubeconfig auth"
    assert "system:serviceaccount:spawnai-system:spawnai-operator" in stack.shell(
        f"{whoami} whoami"
    )
    for right in ("delete secrets", "update secrets -n spawnai-system", "create spawnsessions"):
        refused = stack.shell(f"{whoami} can-i {right} || true")
        assert refused.strip() == "no", right
    gateways = "secrets/spawnai-gateway-tls -n spawnai-system"
    assert stack.shell(f"{whoami} can-i patch {gateways}").strip() == "yes"


@pytest.mark.parametrize("part", ["console", "gateway"])
def test_a_part_can_be_applied_as_it_stands(stack, part):
    """Strictly: a field that the API server does not know is an error."""
    applied = stack.shell(
        f"kubectl apply --server-side --dry-run=server --validate=strict -k manifests/{part}"
    )
    assert f"deployment.apps/spawnai-{part} serverside-applied" in applied


def test_the_console_orders_an_app_and_shows_all_that_is_known_of_it(stack):
    url, token = stack.shell('echo "$SPAWNAI_CONSOLE_URL $SPAWNAI_CONSOLE_TOKEN"').split()
    assert url in stack.said
    assert token in stack.said
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as client:
        order = {"prompt": "A JSON API that keeps notes", "appType": "api", "name": "from-the-page"}
        placed = client.post("api/sessions", json=order).json()
        assert float(placed["estimatedCost"]) > 0
        assert placed["estimatedTime"] > 0
        path = f"api/sessions/{placed['sessionId']}"

        def state() -> str:
            return str(client.get(path).json()["state"])

        with client.stream("GET", f"{path}/generation") as answer:
            written = [json.loads(line) for line in answer.iter_lines() if line]
        assert (written[-1]["repairs"], written[-1]["problem"]) == (0, "")
        assert "server.js" in [file["path"] for file in written[-1]["files"]]
        until(lambda: state() == "running", what=state, limit_seconds=90)
        paths = [file["path"] for file in client.get(f"{path}/files").json()["files"]]
        archive = zipfile.ZipFile(io.BytesIO(client.get(f"{path}/source").content))
        assert sorted(archive.namelist()) == sorted(f"from-the-page/{one}" for one in paths)
        [version] = client.get(f"{path}/versions").json()["items"]
        assert (version["version"], version["prompt"]) == (1, order["prompt"])
        assert client.get(f"{path}/source?version=1").content
        assert client.get(f"{path}/source?version=2").status_code == httpx.codes.NOT_FOUND
        assert client.get(f"{path}/logs").status_code == httpx.codes.OK
        client.patch(path, json={"expiresAt": "now"}).raise_for_status()
        until(lambda: state() == "destroyed", what=state, limit_seconds=60)
        receipt = client.get(f"{path}/receipt").json()
        assert {line["presence"] for line in receipt["resources"]} == {"Gone"}
        assert receipt["totalCost"] == client.get(path).json()["actualCost"]
        history = client.get("api/history").json()["items"]
        assert "from-the-page" in [one["name"] for one in history]
        client.delete(path).raise_for_status()


def test_a_killed_operator_is_started_again_and_said_so(stack):
    killed = stack.pid("operator")
    os.kill(killed, signal.SIGKILL)

    def is_back() -> bool:
        try:
            return stack.pid("operator") != killed
        except (FileNotFoundError, ValueError):
            return False

    until(is_back, what=lambda: "another operator", limit_seconds=20)
    until(
        lambda: "The operator ended (killed by SIGKILL) and was started again." in stack.said,
        what=lambda: f"the narrator to say so; it said:\n{stack.said}",
        limit_seconds=20,
    )


def test_a_second_stack_in_the_same_directory_is_refused_with_what_to_do(stack):
    second = subprocess.run(
        [sys.executable, "-m", "spawnai_local.up"],
        check=False,
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 1
    said = " ".join(second.stdout.split())
    assert "a local stack runs already" in said
    assert "`make local-down` ends it" in said
    assert stack.process.poll() is None
    assert (stack.directory / "stack.pid").read_text().strip() == str(stack.process.pid)


def test_another_stack_runs_beside_it_and_sigkill_of_it_leaves_nothing(stack, tmp_path):
    with local(tmp_path / "second") as second:
        second.until_up()
        addresses = [one.shell('echo "$DIGITALOCEAN_API_URL"') for one in (stack, second)]
        assert addresses[0] != addresses[1]

        manifest = tmp_path / "sessions.yaml"
        manifest.write_text(WEBAPP)
        second.shell(f"kubectl apply -f {manifest}")
        until(
            lambda: is_running(second, "board") and is_running(second, "notes"),
            what=lambda: second.shell("kubectl get spawnsessions -o wide"),
            limit_seconds=90,
        )
        assert stack.shell("kubectl get spawnsessions -o name") == ""
        url = second.shell("kubectl get spawnsession notes -o jsonpath={.status.url}")
        assert url.startswith("https://")
        trust = ssl.create_default_context(cafile=second.shell('echo "$SPAWNAI_CA"').strip())
        assert httpx.get(url, verify=trust, trust_env=False).status_code == httpx.codes.OK
        there = processes_of(second.directory)
        assert any("caddy" in process for process in there), there
        assert any("server.js" in process for process in there), there

        second.process.kill()
        second.process.wait()
        until(
            lambda: not processes_of(second.directory),
            what=lambda: f"the end of {processes_of(second.directory)}",
            limit_seconds=20,
        )
        assert "Nothing was running" in second.down().stdout


def test_local_down_ends_everything(stack):
    # The last of the tests that use the stack.
    down = stack.down()
    assert down.returncode == 0, down.stdout
    assert "Nothing is left running." in down.stdout
    assert stack.process.wait(DOWN_SECONDS) == 0
    assert "Nothing is left running." in stack.said
    assert processes_of(stack.directory) == []
    assert not list(stack.directory.glob("*.pid"))


async def test_a_cluster_of_one_s_own_is_used_and_left_without_sessions_unless_it_has_other_ones(
    tmp_path,
):
    async with ControlPlane(tmp_path / "cluster", unsafe_no_fsync=True) as cluster:
        environment = {"CLUSTER": "kubeconfig", "KUBECONFIG": str(cluster.kubeconfig)}
        await a_cluster_with_sessions_of_another_cloud_is_refused(cluster, tmp_path, environment)
        await cluster.kubectl.run("delete", "spawnsessions", "--all", "--timeout=20s")
        await it_is_used_and_left_without_sessions(cluster, tmp_path, environment)


async def a_cluster_with_sessions_of_another_cloud_is_refused(
    cluster: ControlPlane, directory: Path, environment: dict[str, str]
) -> None:
    await cluster.kubectl.run("apply", "--server-side", "-k", str(checkout() / "crds"))
    elsewhere = WEBAPP.replace("spec: {", "spec: {className: production, ")
    await cluster.kubectl.run("apply", "-f", "-", standard_input=elsewhere)
    with local(directory / "refused", **environment) as stack:
        assert await asyncio.to_thread(stack.process.wait, UP_SECONDS) == 1
        assert "droplets are in another cloud: default/board, default/notes" in " ".join(
            stack.said.split()
        )
    assert "namespace/spawnai-system" not in await cluster.kubectl.run("get", "ns", "-o", "name")


async def it_is_used_and_left_without_sessions(
    cluster: ControlPlane, directory: Path, environment: dict[str, str]
) -> None:
    with local(directory / "stack", **environment) as stack:
        await asyncio.to_thread(stack.until_up)
        assert not (stack.directory / "etcd.pid").exists()
        await cluster.kubectl.run("apply", "-f", "-", standard_input=WEBAPP)
        await cluster.kubectl.run(
            *("wait", "--for=jsonpath={.status.phase}=Provisioning"),
            *("spawnsession/board", "spawnsession/notes", "--timeout=30s"),
        )
        down = await asyncio.to_thread(stack.down)
        assert down.returncode == 0, down.stdout + stack.said
        assert processes_of(stack.directory) == []
    assert await cluster.kubectl.run("get", "spawnsessions,spawnclasses", "-A", "-o", "name") == ""
    records = await cluster.kubectl.items("spawnrecords")
    sessions = [one for one in records if one["spec"]["owner"]["kind"] == "SpawnSession"]
    assert len(sessions) == 2
    assert all(
        entry["presence"] == "Gone"
        for one in records
        for entry in one["status"].get("resources", [])
    )


async def test_droplets_in_a_cloud_that_goes_on_are_destroyed_also_after_a_kill(
    tmp_path,
):
    # What stands in for DigitalOcean here is no part of the stack, as DigitalOcean is not.
    cloud = Emulator(settings=Settings(tokens=frozenset({"test-token"}), delays=NO_DELAYS))
    await cloud.start()
    environment = {
        "CLOUD": "digitalocean",
        "DIGITALOCEAN_API_URL": cloud.url,
        "DIGITALOCEAN_TOKEN": "test-token",
    }
    with local(tmp_path / "stack", **environment) as killed:
        await asyncio.to_thread(killed.until_up)
        assert "THIS COSTS MONEY: droplets are made at DigitalOcean" in killed.said
        assert "test-token" not in (killed.directory / "env").read_text()
        apply = f"kubectl apply -f - <<'END'\n{WEBAPP}\nEND"
        await asyncio.to_thread(killed.shell, apply)
        async with asyncio.timeout(30):
            while len(cloud.cloud.droplets.all()) < 2:
                await asyncio.sleep(0.1)
        killed.process.kill()
        killed.process.wait()
        assert len(cloud.cloud.droplets.all()) == 2
        with local(killed.directory) as another:
            assert await asyncio.to_thread(another.process.wait, UP_SECONDS) == 1
            assert "had droplets at DigitalOcean" in another.said
        with local(killed.directory, **environment) as stack:
            await asyncio.to_thread(stack.until_up)
            assert len(cloud.cloud.droplets.all()) == 2
            down = await asyncio.to_thread(stack.down)
            assert down.returncode == 0, down.stdout + stack.said
            assert stack.process.wait(DOWN_SECONDS) == 0, stack.said
            assert cloud.cloud.droplets.all() == [], stack.said
            assert cloud.cloud.firewalls.all() == []
            assert processes_of(stack.directory) == []
    await cloud.stop()


def test_ctrl_c_in_the_middle_of_the_start_ends_everything(tmp_path):
    with local(tmp_path / "stack") as stack:
        until(
            (stack.directory / "kube-apiserver.pid").exists,
            what=lambda: "the API server's start",
            limit_seconds=60,
        )
        os.killpg(stack.process.pid, signal.SIGINT)
        assert stack.process.wait(DOWN_SECONDS) == 0
        assert "Nothing is left running." in stack.said
        assert processes_of(stack.directory) == []


def test_local_down_without_a_stack_says_so(tmp_path):
    down = subprocess.run(
        [sys.executable, "-m", "spawnai_local.down"],
        check=False,
        env={**os.environ, "SPAWNAI_LOCAL_DIRECTORY": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert down.returncode == 0
    assert "Nothing was running" in down.stdout
