import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contract.machines.support import (
    ANSWERING_SERVER,
    STATIC_PAGE,
    bundle,
    eventually,
    processes_below,
)

from spawnai_local import machines
from spawnai_local.machines import MachineHost

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Leaves processes behind in every way there is: a session of its own, a double fork, a closed
# output, an environment with nothing in it.
ESCAPING_SERVER = (
    """
const { spawn } = require('child_process');
for (const command of [['sleep', ['1000']], ['sh', ['-c', 'sleep 1000 & sleep 1000 &']],
                       ['setsid', ['-f', 'sleep', '1000']], ['env', ['-i', 'sleep', '1000']]])
  spawn(command[0], command[1], {detached: true, stdio: 'ignore'}).unref();
"""
    + ANSWERING_SERVER
)

LOCAL_CLOUD = """
import asyncio, sys
from ipaddress import IPv4Network
from pathlib import Path
from spawnai_local.machines import MachineHost

async def main():
    async with MachineHost(Path(sys.argv[1]), IPv4Network(sys.argv[2])) as host:
        await host.boot(1, host.allocate_address(), Path(sys.argv[3]).read_text(), 1024**3)
        print(host.allocate_address(), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""

# What a supervisor does while one of its machines has just ended and another is being killed.
TWO_ENDS_AT_ONCE = """
import os, runpy, signal, sys
supervisor = runpy.run_path(sys.argv[1])
supervisor["set_process_option"](supervisor["PR_SET_CHILD_SUBREAPER"], 1)
ended, living = os.fork(), None
if ended == 0:
    os._exit(7)
os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
living = os.fork()
if living == 0:
    signal.pause()
supervisor["kill_trees"]({living})
os.waitid(os.P_PID, living, os.WEXITED | os.WNOWAIT)
assert supervisor["reap"]() == {ended: 7, living: -signal.SIGKILL}
"""


def descendants(root):
    found, to_visit = set(), [root]
    while to_visit:
        for task in Path(f"/proc/{to_visit.pop()}/task").glob("*/children"):
            new = {int(pid) for pid in task.read_text().split()} - found
            found |= new
            to_visit.extend(new)
    return found


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_booted_machine_answers(machine):
    webapp = machine("webapp")
    await webapp.boot()
    await webapp.until_it_answers()


async def test_destroying_a_machine_leaves_neither_processes_nor_files(machine):
    api = machine("api")
    await api.run(bundle("api", {"server.js": ESCAPING_SERVER}))
    root = api.host.root_of(api.id)

    async def all_are_there():
        return len(api.processes("sleep 1000")) >= 4

    await eventually(all_are_there)
    supervisor = api.host._supervisor.pid
    before = descendants(supervisor)
    await api.host.destroy(api.id)
    assert not root.exists()
    assert processes_below(root) == {}
    assert descendants(supervisor) <= before - {pid for pid in before if is_gone(pid)}
    await api.host.destroy(api.id)


async def test_a_machine_can_be_ended_in_the_moment_it_begins(host):
    async def a_short_life(droplet_id):
        user_data = "#cloud-config\nruncmd: [sleep 600]\n"
        await host.boot(droplet_id, host.allocate_address(), user_data, 1024**3)
        await host.destroy(droplet_id)
        return host.is_on(droplet_id)

    lives = (a_short_life(droplet_id) for droplet_id in range(10_000, 10_040))
    assert not any(await asyncio.gather(*lives))


async def test_no_end_goes_unheard_while_something_else_is_killed():
    program = Path(machines.__file__).with_name("supervisor.py")
    arguments = [sys.executable, "-c", TWO_ENDS_AT_ONCE, str(program)]
    done = await asyncio.to_thread(
        subprocess.run, arguments, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr


async def test_machines_live_side_by_side_on_addresses_of_their_own(machine):
    first, second = machine("webapp"), machine("api")
    await first.run(bundle("webapp", STATIC_PAGE))
    await second.run(bundle("api", {"server.js": ANSWERING_SERVER}))
    assert first.address != second.address
    assert (await first.browser.get("/")).text == STATIC_PAGE["index.html"]
    assert (await second.browser.get("/")).text == "pong"
    await first.host.destroy(first.id)
    assert (await second.browser.get("/")).text == "pong"


async def test_what_a_dead_app_left_behind_is_ended_before_it_is_started_again(machine):
    api = machine("api")
    await api.run(bundle("api", {"server.js": ESCAPING_SERVER}))

    async def all_are_there():
        found = api.processes("sleep 1000")
        return found if len(found) >= 4 else None

    first = await eventually(all_are_there)
    (process,) = api.processes("node server.js")
    os.kill(process, signal.SIGKILL)

    async def others_are_there():
        found = api.processes("sleep 1000")
        return len(found) >= 4 and not set(found) & set(first)

    await eventually(others_are_there)


@pytest.mark.parametrize("victim", ["local cloud", "supervisor", "init"])
async def test_when_what_is_above_a_machine_is_killed_nothing_of_it_is_left(
    tmp_path, network, machine, victim
):
    user_data = tmp_path / "user-data"
    user_data.write_text(machine("webapp").user_data())
    directory = tmp_path / "machines"
    with subprocess.Popen(  # noqa: ASYNC220 - it starts at once, and is not waited for
        [sys.executable, "-c", LOCAL_CLOUD, directory, str(network), user_data],
        stdout=subprocess.PIPE,
        text=True,
    ) as cloud:
        try:
            assert cloud.stdout.readline()

            async def all_runs():
                found = processes_below(directory)
                return found if any("caddy run" in command for command in found.values()) else None

            await eventually(all_runs)
            everything = descendants(cloud.pid)
            (supervisor,) = (pid for pid in everything if _parent(pid) == cloud.pid)
            (init,) = (pid for pid in everything if _parent(pid) == supervisor)
            os.kill({"local cloud": cloud.pid, "supervisor": supervisor}.get(victim, init), 9)

            async def nothing_is_left():
                left = {pid for pid in everything if not is_gone(pid)}
                return left <= ({supervisor, cloud.pid} if victim == "init" else {cloud.pid})

            await eventually(nothing_is_left)
        finally:
            cloud.kill()


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def until_cloud_init_is_done(shell):
    folder = shell.host.root_of(shell.id) / "var/lib/cloud/instances" / str(shell.id)

    async def has_said_so():
        return (folder / "boot-finished").exists()

    await eventually(has_said_so)


@pytest.mark.parametrize(
    ("user_data", "complaint"),
    [
        ("", ""),
        ("just words", "Unhandled non-multipart"),
        ("#cloud-config\nruncmd: [unclosed", "Failed loading yaml blob"),
        ("#cloud-config\n- a\n- list\n", "not a mapping"),
        ("#cloud-config\nruncmd: [false]\n", "Unable to shellify type 'bool'"),
    ],
)
async def test_a_machine_with_unusable_user_data_boots_and_does_nothing(
    machine, user_data, complaint
):
    shell = machine("webapp")
    await shell.host.boot(shell.id, shell.address, user_data, 1024**3)
    root = shell.host.root_of(shell.id)
    await until_cloud_init_is_done(shell)
    log = root / "var/log/machine.log"
    assert complaint in (log.read_text() if log.exists() else "")
    assert not (root / "opt/spawnai/agent.pyz").exists()


async def test_user_data_of_others_is_obeyed_as_cloud_init_would(plain_machine):
    shell = plain_machine
    await shell.host.boot(
        shell.id,
        shell.address,
        """#cloud-config
bootcmd:
  - mkdir -p /srv/early
write_files:
  - {path: /etc/motd, content: aGVsbG8=, encoding: b64, permissions: '0640'}
  - {path: /etc/motd, content: " again", append: true}
  - {path: /srv/bin/tool, content: "#!/bin/sh\\necho tool $1 > /dev/null\\n", permissions: '0755'}
runcmd:
  - false
  - [sh, -c, 'echo "it is $0" > /srv/argument', "a 'quoted' word"]
  - echo "$PWD $LANG ${HOME-none}" > /srv/environment
""".replace("  - false\n", "  - 'false'\n"),
        1024**3,
    )
    root = shell.host.root_of(shell.id)
    await until_cloud_init_is_done(shell)
    assert (root / "srv/early").is_dir()
    assert (root / "etc/motd").read_text() == "hello again"
    assert (root / "etc/motd").stat().st_mode & 0o777 == 0o644
    assert (root / "srv/argument").read_text() == "it is a 'quoted' word\n"
    assert (root / "srv/environment").read_text() == "/ C.UTF-8 none\n"


async def test_a_package_that_is_unknown_fails_as_on_a_droplet(machine):
    shell = machine("webapp")
    user_data = "#cloud-config\npackages: [caddy, no-such-package]\n"
    await shell.host.boot(shell.id, shell.address, user_data, 1024**3)
    root = shell.host.root_of(shell.id)
    await until_cloud_init_is_done(shell)
    assert "exit code 100" in (root / "var/log/machine.log").read_text()
    output = (root / "var/log/cloud-init-output.log").read_text()
    assert "Unable to locate package no-such-package" in output


async def test_addresses_are_not_given_out_again_soon(host):
    given = [host.allocate_address() for _ in range(600)]
    assert len(set(given)) == 600
    assert not any(address.endswith((".0", ".255")) for address in given)


async def test_an_ordinary_port_serves_apps_where_80_may_not_be_bound(tmp_path, network):
    async with MachineHost(tmp_path / "m", network, http_port=8080) as host:
        assert host.http_port == 8080
