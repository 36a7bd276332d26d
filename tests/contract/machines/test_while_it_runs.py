"""What an operator hears of an app that runs, and what its owner may give it."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from tests.contract.machines.support import (
    AGENT_PORT,
    ANSWERING_SERVER,
    STATIC_PAGE,
    bundle,
    eventually,
    now,
    said_by_the_app,
)
from tests.unit.lifecycle.life import a_session

from spawnai.api.record import LedgerEntry, RecordStatus
from spawnai.clock import SystemClock
from spawnai.controller.door.log import AppLogs
from spawnai.droplet.client import AgentClient, AgentRejected

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = 'a key "with quotes", a $dollar and \\ and\ntwo lines'


async def test_the_log_is_followed_from_the_installation_on(machine):
    server = ANSWERING_SERVER + "setTimeout(() => console.log('later'), 1000);"
    api = machine("api")
    await api.boot()
    await api.until_it_answers()
    heard = []

    async def listen():
        number = 0
        while True:
            news = await api.agent.read_log(number)
            heard.extend(news.lines)
            number = news.next

    listening = asyncio.create_task(listen())
    await api.agent.push(bundle("api", {"server.js": server}, dependencies={"ms": "^2.1.3"}))

    async def all_of_it():
        return "later" in heard

    await eventually(all_of_it)
    listening.cancel()
    installed = next(number for number, line in enumerate(heard) if "added 1 package" in line)
    assert installed < heard.index("listening") < heard.index("later")
    # Who comes back names where it was.
    whole = await api.agent.read_log()
    assert list(whole.lines) == heard
    rest = await api.agent.read_log(whole.next - 1)
    assert rest.lines == ("later",)


async def test_a_script_is_heard_while_it_runs(machine):
    source = "import time\nprint('begun')\ntime.sleep(2)\nprint('done')"
    script = machine("script")
    await script.boot()
    await script.until_it_answers()
    await script.agent.push(bundle("script", {"main.py": source}))
    line = LedgerEntry(
        kind="Droplet", name="x", id="1", ip=script.address, presence="Present", created_at=now()
    )
    record = SimpleNamespace(status=RecordStatus(resources=[line]))
    store = SimpleNamespace(session=lambda _: a_session(), record=lambda _: record)
    known = SimpleNamespace(client=lambda _, ip: AgentClient(ip, AGENT_PORT, script.credentials))
    logs = AppLogs(store, known, SystemClock())

    async def next_of(word, reader):
        async for lines in reader:
            if word in lines:
                return (await script.agent.status()).state
        return None

    # As the operator's door reads it for a person.
    async with aclosing(logs.lines(a_session(), follow=True)) as reader:
        assert await asyncio.wait_for(next_of("begun", reader), 60) == "starting"
        assert await asyncio.wait_for(next_of("done", reader), 60) in {"starting", "finished"}


async def test_marks_that_turn_or_hide_text_never_reach_the_log(machine):
    script = machine("script")
    source = r"print('safe\u202etxt.exe\u200b \x1b[31mred\x1b[0m \x00nul')"
    status = await script.run(bundle("script", {"main.py": source}))
    assert said_by_the_app(status) == ("safetxt.exe red nul",)


async def test_processor_and_memory_are_sampled(tight_machine):
    webapp = tight_machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE))

    async def three():
        samples, following = await webapp.agent.read_usage()
        return (samples, following) if len(samples) >= 3 else None

    samples, following = await eventually(three)
    assert following == len(samples)
    assert all(0 < sample.memory < 100 and 0 <= sample.cpu <= 100 for sample in samples)
    later, _ = await webapp.agent.read_usage(following)
    assert not later or later[0].at >= samples[-1].at


async def test_what_the_owner_gives_reaches_the_process_and_no_log(machine):
    server = (
        "console.log('the key is', process.env.API_KEY); const key = process.env.API_KEY;"
        "require('http').createServer((q, r) => r.end(key)).listen(process.env.PORT);"
    )
    api = machine("api")
    await api.boot()
    await api.until_it_answers()
    await api.agent.set_environment({"API_KEY": KEY, "SHORT": "ok"})
    await api.agent.push(bundle("api", {"server.js": server}))
    status = await api.until("running")
    assert (await api.browser.get("/")).text == KEY
    assert not any("dollar" in line for line in status.log)
    assert "dollar" not in (api.folder / "app.log").read_text()
    readable = [
        file
        for file in api.folder.rglob("*")
        if file.is_file() and file.stat().st_mode & 0o077 and b"$dollar" in file.read_bytes()
    ]
    assert readable == []
    # It holds after a reboot, too.
    await api.host.power_off(api.id)
    await api.boot()
    await api.until("running")
    assert (await api.browser.get("/")).text == KEY


@pytest.mark.parametrize(
    "variables",
    [{"PATH": "/x"}, {"LD_PRELOAD": "x"}, {"A B": "x"}, {"A": 7}, {"A": "\0secret"}, []],
)
async def test_an_environment_that_may_not_be_is_refused_without_its_values(idle_webapp, variables):
    with pytest.raises(AgentRejected) as refusal:
        await idle_webapp.agent._call("PUT", "/v1/env", variables)
    assert refusal.value.status == 422
    assert "secret" not in str(refusal.value)


async def test_an_app_that_listens_elsewhere_is_told_where(tight_machine):
    api = tight_machine("api")
    server = """
    require('http').createServer((q, r) => r.end('x')).listen(0, function () {
      console.log('port', this.address().port);
    });
    """
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert status.reason == "WrongPort"
    (port,) = (line.split()[1] for line in status.log if line.startswith("port "))
    assert f"listens on port {port}, not on the one in the environment variable PORT" in (
        status.message
    )


async def test_an_app_that_listens_on_localhost_alone_is_served(tight_machine):
    api = tight_machine("api")
    server = """
    require('http').createServer((q, r) => r.end('here')).listen(process.env.PORT, '127.0.0.1');
    """
    await api.run(bundle("api", {"server.js": server}))
    assert (await api.browser.get("/")).text == "here"


async def test_an_app_that_stops_answering_is_started_again_and_given_up_in_the_end(tight_machine):
    api = tight_machine("api")
    server = """
    let answers = 0;
    require('http').createServer((request, response) => {
      if (answers++ < 2) response.end('fine');
    }).listen(process.env.PORT);
    """
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert (status.reason, status.restarts) == ("AppStoppedAnswering", 2)
    assert "3 times in a row" in status.message


@pytest.mark.parametrize(
    "answer",
    [
        "setInterval(() => socket.write('H'), 50)",
        "setInterval(() => socket.write('HTTP/1.1 100 Continue\\r\\n\\r\\n'), 1)",
        "socket.write('\\r\\n'.repeat(40000))",
        "socket.end()",
    ],
)
async def test_an_app_that_answers_nonsense_costs_no_more_than_its_time(tight_machine, answer):
    api = tight_machine("api")
    source = (
        "require('net').createServer((socket) => { socket.on('error', () => {}); "
        + answer
        + "; }).listen(process.env.PORT);"
    )
    status = await api.run(bundle("api", {"server.js": source}), "failed")
    assert status.reason == "AppNeverAnswered"
