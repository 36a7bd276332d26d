import pytest
from tests.contract.machines.support import ANSWERING_SERVER, bundle

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_app_that_dies_at_once_has_crashed_and_its_last_words_are_kept(tight_machine):
    api = tight_machine("api")
    server = "console.log('before'); throw new Error('no database');"
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert (status.reason, status.exit_code, status.restarts) == ("AppCrashed", 1, 0)
    assert "before" in status.log
    assert any("no database" in line for line in status.log)
    page = await api.browser.get("/")
    assert (page.status_code, "AppCrashed" in page.text) == (503, True)


async def test_an_app_that_keeps_dying_is_given_up(tight_machine):
    api = tight_machine("api")
    server = ANSWERING_SERVER + "setTimeout(() => process.exit(7), 300);"
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert (status.reason, status.exit_code, status.restarts) == ("AppCrashed", 7, 2)
    assert any("it is given up" in line for line in status.log)
    assert api.processes("node") == {}


async def test_an_app_that_opens_no_port_never_answered(tight_machine):
    api = tight_machine("api")
    server = "console.log('thinking'); setInterval(() => {}, 1000);"
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert (status.reason, status.exit_code) == ("AppNeverAnswered", None)
    assert "thinking" in status.log
    assert status.message == "the app opened no port within 4 s"
    assert api.processes("node") == {}


async def test_an_app_that_answers_only_with_errors_never_answered(tight_machine):
    server = """
    require('http').createServer((request, response) => {
      response.statusCode = 500; response.end();
    }).listen(process.env.PORT);
    """
    api = tight_machine("api")
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert status.reason == "AppNeverAnswered"
    assert any("at last: 500" in line for line in status.log)


async def test_a_memory_hog_is_told_apart_and_the_agent_survives(tight_machine):
    server = (
        ANSWERING_SERVER
        + """
    const hoard = [];
    setInterval(() => hoard.push(Buffer.alloc(10_000_000, 1)), 20);
    """
    )
    api = tight_machine("api")
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert status.reason == "OutOfMemory"
    assert any("MiB of memory" in line for line in status.log)
    assert api.processes("node") == {}


async def test_a_heap_that_is_full_is_out_of_memory_too(tight_machine):
    server = """
    require('v8').setFlagsFromString('--max-old-space-size=30');
    const hoard = [];
    while (true) hoard.push(new Array(1000).fill({}));
    """
    api = tight_machine("api")
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert status.reason == "OutOfMemory"


async def test_a_disk_filler_is_told_apart(tight_machine):
    server = (
        ANSWERING_SERVER
        + """
    const fs = require('fs');
    let n = 0;
    const timer = setInterval(() => {
      fs.writeFileSync('junk' + n++, Buffer.alloc(2_000_000, 1)); if (n > 60) clearInterval(timer);
    }, 50);
    """
    )
    api = tight_machine("api")
    status = await api.run(bundle("api", {"server.js": server}), "failed")
    assert status.reason == "DiskFull"
    assert api.processes("node") == {}


async def test_a_fork_bomb_is_told_apart_and_none_of_it_is_left(tight_machine):
    # Bounded: 80 processes at most, each in a session of its own and adopted by nobody it knows.
    script = """
import os, time
for _ in range(80):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
time.sleep(60)
"""
    run = tight_machine("script")
    status = await run.run(bundle("script", {"main.py": script}), "failed")
    assert status.reason == "TooManyProcesses"
    assert run.processes("main.py") == {}
    # The agent and Caddy are still there to say so.
    assert (await run.browser.get("/health")).status_code == 503


async def test_a_script_that_never_ends_is_stopped_and_its_output_shown(tight_machine):
    run = tight_machine("script")
    script = "import time\nprint('so far', flush=True)\ntime.sleep(600)"
    status = await run.run(bundle("script", {"main.py": script}), "failed")
    assert status.reason == "AppNeverAnswered"
    assert "so far" in (await run.browser.get("/")).text
    assert run.processes("main.py") == {}


async def test_a_package_that_does_not_exist_fails_the_installation(tight_machine):
    api = tight_machine("api")
    dependencies = {"@spawnai-nobody/there-is-no-such-package": "^1.0.0"}
    document = bundle("api", {"server.js": ANSWERING_SERVER}, dependencies=dependencies)
    status = await api.run(document, "failed")
    assert status.reason == "InstallFailed"
    assert any("trying once more" in line for line in status.log)


async def test_a_failed_app_stays_failed_after_a_reboot(tight_machine):
    api = tight_machine("api")
    await api.run(bundle("api", {"server.js": "process.exit(1)"}), "failed")
    await api.host.power_off(api.id)
    await api.boot()
    status = await api.until("failed")
    assert (status.reason, status.bundle_digest) == ("AppCrashed", "digest-of-api")
