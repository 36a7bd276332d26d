import pytest
from tests.contract.machines.support import ANSWERING_SERVER, STATIC_PAGE, bundle, said_by_the_app

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_page_says_that_the_app_is_on_its_way_until_it_is_there(machine):
    webapp = machine("webapp")
    await webapp.boot()
    status = await webapp.until_it_answers()
    assert (status.state, status.bundle_digest) == ("idle", None)

    page = await webapp.until_caddy_answers()
    assert page.status_code == 503
    assert "on its way" in page.text
    assert (await webapp.browser.get("/health")).status_code == 503


async def test_a_webapp_is_served_by_caddy_with_no_process_of_its_own(machine):
    webapp = machine("webapp")
    files = {"index.html": "<h1>Café ☕</h1>", "css/style.css": "b{}", "js/app.js": "let a"}
    status = await webapp.run(bundle("webapp", files))
    assert (status.state, status.reason) == ("running", None)
    page = await webapp.browser.get("/")
    assert (page.status_code, page.text) == (200, "<h1>Café ☕</h1>")
    assert page.headers["content-type"].startswith("text/html")
    style = await webapp.browser.get("/css/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert (await webapp.browser.get("/health")).json() == {"state": "running"}


async def test_a_webapps_own_routes_get_its_page_and_missing_files_get_404(machine):
    webapp = machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE))
    assert (await webapp.browser.get("/boards/7")).text == STATIC_PAGE["index.html"]
    assert (await webapp.browser.get("/missing.js")).status_code == 404
    # Nothing answers there, and a page that asks must be able to tell.
    for path in ("/api/items", "/api", "/api/items/7"):
        assert (await webapp.browser.get(path)).status_code == 404


async def test_a_webapp_whose_page_lies_in_a_folder_is_served_from_there(machine):
    webapp = machine("webapp")
    files = {"public/start.html": "<h1>Start</h1>", "public/a.css": "b{}", "README.md": "notes"}
    await webapp.run(bundle("webapp", files))
    assert (await webapp.browser.get("/")).text == "<h1>Start</h1>"
    assert (await webapp.browser.get("/a.css")).text == "b{}"
    assert (await webapp.browser.get("/README.md")).status_code == 404


async def test_an_api_gets_its_dependencies_and_answers_through_caddy(machine):
    server = """
    import express from 'express';
    const app = express();
    app.get('/items/:id', (request, response) => response.json({id: request.params.id}));
    app.listen(process.env.PORT, () => console.log('express listens'));
    """
    api = machine("api")
    document = bundle("api", {"server.js": server}, dependencies={"express": "^5.1.0"})
    status = await api.run(document)
    # Express says 404 to GET /, which is an answer.
    assert status.state == "running"
    assert "express listens" in status.log
    assert (await api.browser.get("/items/7")).json() == {"id": "7"}
    assert (await api.browser.get("/health")).json() == {"state": "running"}


async def test_an_api_of_the_older_module_system_runs_too(machine):
    api = machine("api")
    await api.run(bundle("api", {"server.js": ANSWERING_SERVER}))
    assert (await api.browser.get("/")).text == "pong"


async def test_generated_lifecycle_scripts_and_npm_settings_are_never_obeyed(machine, tmp_path):
    proof = tmp_path / "proof"
    package = (
        '{"type": "commonjs", "scripts": {"preinstall": "touch PROOF", "install": "touch PROOF",'
        ' "postinstall": "touch PROOF", "prepare": "touch PROOF"}}'
    ).replace("PROOF", str(proof))
    api = machine("api")
    files = {
        "server.js": ANSWERING_SERVER,
        "package.json": package,
        ".npmrc": "ignore-scripts=false\nregistry=http://127.0.0.1:9/\n",
    }
    await api.run(bundle("api", files, dependencies={"ms": "^2.1.3"}))
    assert not proof.exists()
    assert "scripts" not in (api.app / "package.json").read_text()
    assert not (api.app / ".npmrc").exists()
    assert (api.app / "node_modules" / "ms" / "package.json").exists()


async def test_a_scripts_output_exit_code_and_files_become_a_page(machine):
    script = """
import pathlib, sys
print("<b>bold</b> & more")
print("to stderr", file=sys.stderr)
pathlib.Path("result & co.csv").write_text("a,b")
pathlib.Path("charts").mkdir()
pathlib.Path("charts/one.svg").write_text("<svg/>")
"""
    run = machine("script")
    status = await run.run(bundle("script", {"main.py": script}))
    assert (status.state, status.exit_code, status.reason) == ("finished", 0, None)
    assert status.ran_seconds is not None
    assert 0 < status.ran_seconds < 60
    assert said_by_the_app(status) == ("<b>bold</b> & more", "to stderr")
    page = await run.browser.get("/")
    assert page.status_code == 200
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more\nto stderr" in page.text
    assert "exit code 0" in page.text
    assert 'href="files/result%20%26%20co.csv">result &amp; co.csv<' in page.text
    assert (await run.browser.get("/files/result%20%26%20co.csv")).text == "a,b"
    assert (await run.browser.get("/files/charts/one.svg")).text == "<svg/>"


async def test_links_that_a_script_makes_lead_nowhere(machine):
    script = """
import os
os.symlink("../../../session.json", "key")
os.symlink("../../..", "folder")
os.mkfifo("pipe")
print("done")
"""
    run = machine("script")
    await run.run(bundle("script", {"main.py": script}))
    for path in ("/files/key", "/files/folder/session.json", "/files/pipe"):
        answer = await run.browser.get(path)
        assert "PRIVATE KEY" not in answer.text
    assert not (run.folder / "site" / "files" / "key").exists()
    assert "<h2>Files</h2>" not in (await run.browser.get("/")).text
