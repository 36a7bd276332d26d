import asyncio
import os
import signal

import pytest
from tests.contract.machines.support import (
    ANSWERING_SERVER,
    STATIC_PAGE,
    bundle,
    eventually,
    said_by_the_app,
)

from spawnai.droplet.client import AgentRejected, AgentUnreachable

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Says in its log that it was started, so that a second start would show.
COUNTING_SERVER = "console.log('started');" + ANSWERING_SERVER


def starts(log):
    return sum(line == "started" for line in log)


async def test_the_same_bundle_twice_is_done_once(machine):
    api = machine("api")
    document = bundle("api", {"server.js": COUNTING_SERVER})
    await api.run(document)
    (process,) = api.processes("node server.js")
    await api.agent.push(document)
    status = await api.agent.status()
    assert (status.state, starts(status.log), status.restarts) == ("running", 1, 0)
    assert list(api.processes("node server.js")) == [process]


async def test_a_bundle_for_another_kind_of_app_is_refused(machine):
    webapp = machine("webapp")
    await webapp.boot()
    await webapp.until_it_answers()
    with pytest.raises(AgentRejected, match="is for a webapp app"):
        await webapp.agent.push(bundle("script", {"main.py": "print(1)"}))


async def test_who_waits_for_another_state_is_told_the_moment_there_is_one(machine):
    webapp = machine("webapp")
    await webapp.boot()
    await webapp.until_it_answers()
    waiting = asyncio.create_task(webapp.agent.status(after="idle"))
    await asyncio.sleep(0)
    await webapp.agent.push(bundle("webapp", STATIC_PAGE))
    async with asyncio.timeout(4):  # the agent itself would wait for 5 s
        assert (await waiting).state != "idle"


async def test_who_waits_for_another_state_that_does_not_come_is_answered_all_the_same(machine):
    webapp = machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE))
    assert (await webapp.agent.status(after="running")).state == "running"


async def test_a_killed_agent_comes_back_with_the_app_and_installs_nothing_again(machine):
    api = machine("api")
    document = bundle("api", {"server.js": COUNTING_SERVER}, dependencies={"ms": "^2.1.3"})
    await api.run(document)
    (api.app / "written-by-the-app").write_text("kept")
    (agent,) = api.agents()
    os.kill(agent, signal.SIGKILL)

    async def another_agent_runs():
        try:
            status = await api.agent.status()
        except AgentUnreachable:
            return None
        return status if agent not in api.agents() else None

    await eventually(another_agent_runs)
    status = await api.until("running")
    assert status.bundle_digest == document["digest"]
    assert starts(status.log) == 2
    assert sum("added" in line for line in status.log) == 1
    assert (api.app / "written-by-the-app").read_text() == "kept"
    assert (await api.browser.get("/")).text == "pong"
    await api.agent.push(document)
    assert starts((await api.agent.status()).log) == 2
    # Nothing of the first life is left beside the second.
    assert len(api.processes("node server.js")) == 1
    assert len(api.processes("caddy run")) == 1


async def test_a_reboot_brings_the_app_back(machine):
    api = machine("api")
    document = bundle("api", {"server.js": COUNTING_SERVER})
    await api.run(document)
    await api.host.power_off(api.id)
    assert api.processes() == {}
    await api.boot()
    status = await api.until("running")
    assert (status.bundle_digest, starts(status.log)) == (document["digest"], 2)
    assert (await api.browser.get("/")).text == "pong"


async def test_a_script_that_has_run_does_not_run_again_after_a_reboot(machine):
    script = machine("script")
    await script.run(bundle("script", {"main.py": "print('once')"}))
    await script.host.power_off(script.id)
    await script.boot()
    status = await script.until("finished")
    assert said_by_the_app(status) == ("once",)
    assert "once" in (await script.until_caddy_answers()).text


async def test_a_state_file_that_cannot_be_read_costs_a_repetition_not_the_app(machine):
    api = machine("api")
    document = bundle("api", {"server.js": COUNTING_SERVER})
    await api.run(document)
    await api.host.power_off(api.id)
    (api.folder / "state.json").write_text('{"state": "runn')
    await api.boot()
    status = await api.until("running")
    assert (status.bundle_digest, starts(status.log)) == (document["digest"], 2)


async def test_an_api_that_dies_is_started_again(machine):
    api = machine("api")
    await api.run(bundle("api", {"server.js": COUNTING_SERVER}))
    (process,) = api.processes("node server.js")
    os.kill(process, signal.SIGKILL)

    async def restarted():
        status = await api.agent.status()
        return status if status.restarts == 1 and status.state == "running" else None

    status = await eventually(restarted)
    assert any("ended with exit code 137" in line for line in status.log)
    assert (await api.browser.get("/")).text == "pong"


async def test_caddy_comes_back_when_it_dies(machine):
    webapp = machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE))
    (caddy,) = webapp.processes("caddy run")
    os.kill(caddy, signal.SIGKILL)

    async def another_caddy_runs():
        return set(webapp.processes("caddy run")) - {caddy}

    await eventually(another_caddy_runs)
    assert (await webapp.until_caddy_answers()).status_code == 200


async def test_an_app_gets_its_own_home_and_none_of_the_agents_files(machine):
    server = (
        """
    console.log('HOME', process.env.HOME);
    console.log('names', Object.keys(process.env).sort().join(' '));
    """
        + ANSWERING_SERVER
    )
    api = machine("api")
    status = await api.run(bundle("api", {"server.js": server}))
    names = next(line for line in status.log if line.startswith("names"))
    assert names == "names DATA_DIR HOME LANG NODE_ENV PATH PORT TMPDIR"
    assert f"HOME {api.folder}/revisions/1/scratch" in status.log


async def test_the_log_of_a_talkative_app_stays_bounded(machine):
    server = (
        """
    const line = 'x'.repeat(5000);
    for (let i = 0; i < 2000; i++) console.log(line);
    console.log('\\u001b[31mred\\u001b[0m last words');
    """
        + ANSWERING_SERVER
    )
    api = machine("api")
    await api.run(bundle("api", {"server.js": server}))

    async def last_words():
        status = await api.agent.status()
        return status.log if "red last words" in status.log else None

    log = await eventually(last_words)
    assert len(log) <= 100
    assert max(map(len, log)) == 1000
    files = list(api.folder.glob("app.log*"))
    assert sum(file.stat().st_size for file in files) < 1_200_000
