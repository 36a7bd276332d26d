"""A further bundle: a new revision beside the old one, and what becomes of either."""

import asyncio
import os
import signal

import pytest
from tests.contract.machines.support import STATIC_PAGE, bundle, eventually

from spawnai.droplet.client import AgentRejected, AgentUnreachable

pytestmark = pytest.mark.asyncio(loop_scope="session")


def server(word: str, *, slow: float = 0.0, before: str = "", after: str = "") -> str:
    """An app that says `word`."""
    return f"""
    {before}
    require('http').createServer((request, response) => {{
      setTimeout(() => response.end('{word}'), {slow * 1000});
    }}).listen(process.env.PORT);
    {after}
    """


def revision(word: str, source: str, **changes):
    return bundle("api", {"server.js": source}, digest=word, **changes)


async def update_of(machine, *states):
    """The status once the update has one of these states."""

    async def reached():
        try:
            status = await machine.agent.status()
        except AgentUnreachable:
            return None
        return status if status.update and status.update.state in states else None

    return await eventually(reached)


async def test_a_page_is_replaced_in_one_step(machine):
    webapp = machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE, digest="one"))
    await webapp.agent.push(bundle("webapp", {"index.html": "<h1>Two</h1>"}, digest="two"))
    status = await update_of(webapp, "running")
    assert (status.state, status.bundle_digest, status.update.bundle_digest) == (
        "running",
        "two",
        "two",
    )
    assert (await webapp.browser.get("/")).text == "<h1>Two</h1>"


async def test_no_request_is_lost_while_an_api_is_replaced(tight_machine):
    api = tight_machine("api")
    await api.run(revision("one", server("one", slow=0.3)))
    answers, failures, done = set(), [], asyncio.Event()

    async def visit():
        while not done.is_set():
            answer = await api.browser.get("/")
            answers.add(answer.text)
            if answer.status_code != 200:
                failures.append(answer)

    visitors = [asyncio.create_task(visit()) for _ in range(4)]
    await api.agent.push(revision("two", server("two", slow=0.3)))
    status = await update_of(api, "running")
    assert status.bundle_digest == "two"

    async def only_the_new_one_runs():
        return len(api.processes("node server.js")) == 1 and "two" in answers

    await eventually(only_the_new_one_runs)
    done.set()
    await asyncio.gather(*visitors)
    assert failures == []
    assert answers == {"one", "two"}
    assert (await api.browser.get("/")).text == "two"
    # What it replaced takes no more room.
    assert [one.name for one in (api.folder / "revisions").iterdir()] == ["2"]


@pytest.mark.parametrize("app_type", ["webapp", "api"])
async def test_a_revision_that_is_held_is_shown_to_who_names_its_word_alone(
    caddys_machine, app_type
):
    machine = caddys_machine(app_type)
    made = {
        "webapp": lambda word: bundle("webapp", {"index.html": word}, digest=word),
        "api": lambda word: revision(word, server(word)),
    }[app_type]

    async def shown(headers=None) -> str:
        return (await machine.browser.get("/", headers=headers)).text

    await machine.run(made("one"))
    await machine.agent.push({**made("two"), "hold": True})
    status = await update_of(machine, "held")
    assert (status.state, status.bundle_digest) == ("running", "one")
    by_header = {"X-SpawnAI-Trial": status.update.word}
    by_cookie = {"Cookie": f"theme=dark; spawnai-trial={status.update.word}; a=b"}
    assert [await shown(by_header), await shown(by_cookie), await shown()] == ["two", "two", "one"]
    for word in ("*" * 32, "x" * 32, "", "../../revisions/2/site"):
        assert await shown({"X-SpawnAI-Trial": word, "Cookie": f"spawnai-trial={word}"}) == "one"

    # Started again, the agent holds it again; the word of before is worth nothing.
    for agent in machine.agents():
        os.kill(agent, signal.SIGKILL)

    async def held_again():
        again = await update_of(machine, "held")
        is_new = again.update.word != status.update.word and again.state == "running"
        return again if is_new else None

    again = await eventually(held_again)
    assert await shown(by_header) == "one"
    assert await shown({"X-SpawnAI-Trial": again.update.word}) == "two"

    await machine.agent.push(made("two"))
    assert (await update_of(machine, "running")).bundle_digest == "two"
    assert await shown() == "two"
    assert list((machine.folder / "trials").iterdir()) == []


async def test_a_held_revision_that_dies_or_is_not_wanted_leaves_the_old_one(tight_machine):
    api = tight_machine("api")
    await api.run(revision("one", server("one")))
    dying = server("two", after="setTimeout(() => { throw new TypeError('late') }, 1500)")
    await api.agent.push(revision("two", dying, hold=True))
    status = await update_of(api, "failed")
    assert (status.bundle_digest, status.update.error) == ("one", "TypeError: late")

    await api.agent.push(revision("three", server("three"), hold=True))
    await update_of(api, "held")
    await api.agent.push(revision("one", server("one")))
    assert (await api.agent.status()).update is None
    assert (await api.browser.get("/")).text == "one"


async def test_a_change_is_taken_back_while_the_app_before_still_ends_what_it_has(tight_machine):
    """Of the two ports one holds the app that runs, and the other the one that it replaced."""
    api = tight_machine("api")
    await api.run(revision("one", server("one")))
    await api.agent.push(revision("two", server("two")))
    await update_of(api, "running")
    assert len(api.processes("node server.js")) == 2
    await api.agent.push(revision("one", server("one")))

    async def one_is_said_to_run():
        status = await api.agent.status()
        return status.bundle_digest == "one" and status.state == "running"

    await eventually(one_is_said_to_run)
    for _ in range(20):  # longer than it would be put back in
        assert (await api.browser.get("/")).text == "one"
        await asyncio.sleep(0.1)
    assert (await api.agent.status()).update.state == "running"


@pytest.mark.parametrize(
    ("broken", "reason", "error"),
    [
        ("throw new TypeError('no such table')", "AppCrashed", "TypeError: no such table"),
        ("setInterval(() => {}, 1000)", "AppNeverAnswered", None),
    ],
)
async def test_a_revision_that_does_not_work_leaves_the_old_one(
    tight_machine, broken, reason, error
):
    api = tight_machine("api")
    await api.run(revision("one", server("one")))
    await api.agent.push(revision("two", broken))
    status = await update_of(api, "failed")
    assert (status.state, status.bundle_digest, status.restarts) == ("running", "one", 0)
    assert (status.update.bundle_digest, status.update.reason) == ("two", reason)
    assert status.update.error == error
    assert (await api.browser.get("/")).text == "one"
    assert len(api.processes("node server.js")) == 1

    # It is not tried twice; another one is.
    await api.agent.push(revision("two", broken))
    assert (await api.agent.status()).update.state == "failed"
    await api.agent.push(revision("three", server("three")))
    assert (await update_of(api, "running")).bundle_digest == "three"
    assert (await api.browser.get("/")).text == "three"


async def test_a_revision_that_dies_right_after_the_switch_is_put_back(tight_machine):
    api = tight_machine("api")
    await api.run(revision("one", server("one")))
    dying = server("two", after="setTimeout(() => process.exit(3), 400);")
    await api.agent.push(revision("two", dying))
    status = await update_of(api, "failed")
    assert (status.state, status.bundle_digest) == ("running", "one")
    assert (status.update.reason, status.update.exit_code) == ("AppCrashed", 3)
    assert (await api.browser.get("/")).text == "one"


async def test_pushing_what_runs_ends_the_try_of_another(tight_machine):
    api = tight_machine("api")
    await api.run(revision("one", server("one")))
    await api.agent.push(revision("two", "setInterval(() => {}, 1000)"))
    await update_of(api, "starting")
    await api.agent.push(revision("one", server("one")))
    assert (await api.agent.status()).update is None

    async def only_one_runs():
        return len(api.processes("node server.js")) == 1

    await eventually(only_one_runs)
    assert (await api.browser.get("/")).text == "one"


async def test_the_last_bundle_wins(tight_machine):
    api = tight_machine("api")
    await api.run(revision("one", server("one")))
    await api.agent.push(revision("two", "setInterval(() => {}, 1000)"))
    await api.agent.push(revision("three", server("three")))
    assert (await update_of(api, "running")).bundle_digest == "three"
    assert (await api.browser.get("/")).text == "three"


async def test_a_failed_app_is_repaired_by_another_bundle(tight_machine):
    api = tight_machine("api")
    await api.run(revision("one", "throw new Error('no database')"), "failed")
    status = await api.agent.status()
    assert (status.reason, status.error) == ("AppCrashed", "Error: no database")
    await api.agent.push(revision("two", server("two")))
    status = await api.until("running")
    assert (status.bundle_digest, status.reason, status.error) == ("two", None, None)
    assert (await api.browser.get("/")).text == "two"


async def test_data_is_kept_from_one_revision_to_the_next(tight_machine):
    source = """
    const { DatabaseSync } = require('node:sqlite');
    const database = new DatabaseSync(process.env.DATA_DIR + '/app.db', { timeout: 5000 });
    database.exec('create table if not exists visits (at text)');
    const fs = require('fs');
    fs.appendFileSync('data/log.txt', 'WORD ');
    require('http').createServer((request, response) => {
      database.prepare('insert into visits values (?)').run('now');
      const { n } = database.prepare('select count(*) as n from visits').get();
      response.end(`${n} ${fs.readFileSync('data/log.txt')}`);
    }).listen(process.env.PORT);
    """
    api = tight_machine("api")
    await api.run(revision("one", source.replace("WORD", "one")))
    first = await api.browser.get("/")
    visits = int(first.text.split()[0])
    await api.agent.push(revision("two", source.replace("WORD", "two")))
    await update_of(api, "running")
    second = await api.browser.get("/")
    assert second.status_code == 200, await api.agent.status()
    visited, *words = second.text.split()
    assert int(visited) > visits
    assert words == ["one", "two"]


async def test_an_update_goes_on_after_the_agent_was_killed(tight_machine):
    api = tight_machine("api")
    await api.run(revision("one", server("one")))
    takes_its_time = "const t = Date.now() + 900; while (Date.now() < t);"
    await api.agent.push(revision("two", server("two", before=takes_its_time)))
    for agent in api.agents():
        os.kill(agent, signal.SIGKILL)

    async def both_were_brought_up():
        try:
            return (await api.agent.status()).bundle_digest == "two"
        except AgentUnreachable:
            return None

    await eventually(both_were_brought_up)
    await api.until("running")
    assert (await api.browser.get("/")).text == "two"


async def test_a_script_that_fails_again_leaves_the_result_of_before(machine):
    script = machine("script")
    await script.run(bundle("script", {"main.py": "print('first')"}, digest="one"))
    broken = "import nothing_of_that_name"
    await script.agent.push(bundle("script", {"main.py": broken}, digest="two"))
    status = await update_of(script, "failed")
    assert (status.state, status.bundle_digest) == ("finished", "one")
    assert (status.update.reason, status.update.exit_code) == ("ScriptFailed", 1)
    assert status.update.error == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert "first" in (await script.browser.get("/")).text
    await script.agent.push(bundle("script", {"main.py": "print('third')"}, digest="three"))
    await update_of(script, "finished")
    assert "third" in (await script.browser.get("/")).text


async def test_after_its_end_a_session_takes_no_bundle_and_says_that_it_is_over(machine):
    kind = """
    process.on('SIGTERM', () => { console.log('saved'); process.exit(0); });
    """
    api = machine("api")
    await api.run(revision("one", server("one", before=kind)))
    await api.agent.stop()
    status = await api.agent.status()
    assert status.state == "stopped"
    assert "saved" in status.log
    assert api.processes("node server.js") == {}
    page = await api.browser.get("/")
    assert (page.status_code, "This app has ended" in page.text) == (410, True)
    assert (await api.browser.get("/health")).status_code == 503
    with pytest.raises(AgentRejected, match="has ended"):
        await api.agent.push(revision("two", server("two")))
    await api.host.power_off(api.id)
    await api.boot()
    assert (await api.until_it_answers()).state == "stopped"
    # The end was put off.
    await api.agent.restart()
    await api.until("running")
    assert (await api.browser.get("/")).status_code == 200
    await api.agent.restart()
    assert (await api.agent.status()).state == "running"


async def test_a_script_that_had_finished_shows_its_result_again_and_is_not_run_twice(machine):
    script = machine("script")
    await script.run(bundle("script", {"main.py": "import time; print(time.time_ns())"}))
    before = (await script.browser.get("/")).text
    await script.agent.stop(0)
    assert (await script.browser.get("/")).status_code == 410
    await script.agent.restart()
    assert (await script.until("finished")).state == "finished"
    assert (await script.browser.get("/")).text == before
