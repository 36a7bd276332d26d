"""The apps that the simulator answers with are real: they pass every check, and they run."""

import asyncio
import csv
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.judging import validate

from spawnai.generation.bundle import AppFile, Bundle
from spawnai_local import toolchain
from spawnai_local.claude import broken_apps
from spawnai_local.claude.faults import FAULTS
from spawnai_local.claude.library import App, fitting_app

PROMPTS = [
    ("webapp", "A retro board with three columns, cards people can add and vote on", "votes"),
    ("webapp", "Countdown to New Year", "Countdown"),
    (
        "webapp",
        "A page for our <b>team</b> & friends 🎉",
        "&lt;b&gt;team&lt;/b&gt; &amp; friends 🎉",
    ),
    ("api", "A todo list", "todos"),
    ("api", "Quotes of the day", "quotes"),
    ("api", "Anything", "notes"),
    ("script", "Find prime numbers", "primes.csv"),
    ("script", "A report on sales", "report.csv"),
    ("script", "The average of some numbers", "statistics.csv"),
]
SCRIPTS = ["Find prime numbers", "A report on sales", "The average of some numbers"]
APP_FAULTS = [name for name in FAULTS if name.startswith("app-")]


def bundle_of(app: App, app_type: str) -> Bundle:
    files = tuple(AppFile(path, content) for path, content in app.files.items())
    return Bundle(app_type, app.entrypoint, files, app.dependencies)


@pytest.mark.parametrize(("app_type", "prompt", "sign"), PROMPTS)
def test_an_app_fits_its_prompt_and_passes_every_check(app_type, prompt, sign):
    app = fitting_app(app_type, prompt)
    assert sign in "".join(app.files.values())
    assert validate(bundle_of(app, app_type)) == []


@pytest.mark.parametrize("app_type", ["api", "script"])
@pytest.mark.parametrize("fault", APP_FAULTS)
def test_an_app_that_misbehaves_passes_every_check_too(app_type, fault):
    app = broken_apps.misbehaving_app(app_type, fault)
    if app is None:
        assert (app_type, fault) == ("script", "app-dies-later")
        return
    assert validate(bundle_of(app, app_type)) == []


def test_a_webapp_has_no_process_that_could_misbehave():
    assert [broken_apps.misbehaving_app("webapp", fault) for fault in APP_FAULTS] == [None] * len(
        APP_FAULTS
    )


@pytest.mark.parametrize("prompt", SCRIPTS)
def test_a_script_prints_a_result_and_leaves_a_table(tmp_path, prompt):
    write(fitting_app("script", prompt), tmp_path)
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    assert len(done.stdout.splitlines()) > 5
    [table] = tmp_path.glob("*.csv")
    assert table.name in done.stdout
    with table.open(newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) > 5


@pytest.fixture(scope="module")
def express(tmp_path_factory) -> Path:
    """A folder with Express in its node_modules, installed as a droplet's agent does it."""
    folder = tmp_path_factory.mktemp("express")
    (folder / "package.json").write_text('{"private": true}')
    command = [toolchain.npm(), "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(
        [*command, "--prefer-offline", "express@^5.1.0"],
        cwd=folder,
        env={**os.environ, "PATH": f"{toolchain.node().parent}:{os.environ['PATH']}"},
        timeout=120,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize(
    ("prompt", "many", "fields"),
    [
        ("A todo list", "todos", {"title": "Buy milk"}),
        ("Notes", "notes", {"title": "T", "text": "x"}),
        ("Quotes", "quotes", {"text": "Q", "author": "A"}),
    ],
)
async def test_an_api_answers_on_its_routes(express, tmp_path, prompt, many, fields):
    write(fitting_app("api", prompt), tmp_path)
    port = free_port()
    environment = {"PORT": str(port), "NODE_PATH": str(express / "node_modules")}
    process = await asyncio.create_subprocess_exec(
        toolchain.node(), "server.js", cwd=tmp_path, env=environment
    )
    try:
        await asyncio.to_thread(check_api, port, many, fields)
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)


def check_api(port: int, many: str, fields: dict[str, str]) -> None:
    def call(method: str, path: str, body: object = None) -> tuple[int, object]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        return answer.status, json.loads(raw) if raw else None

    deadline = time.monotonic() + 10
    while True:
        try:
            status, home = call("GET", "/")
            break
        except OSError:
            assert time.monotonic() < deadline, "the API did not begin to listen"
            time.sleep(0.02)
    assert status == 200
    assert f"GET /{many}" in home["routes"]
    status, made = call("POST", f"/{many}", fields)
    assert status == 201
    assert fields.items() <= made.items()
    item = f"/{many}/{made['id']}"
    assert call("GET", item) == (200, made)
    assert call("POST", f"/{many}", {})[0] == 422
    assert call("PATCH", item, fields)[0] == 200
    assert call("GET", f"/{many}/random")[0] == 200
    assert call("DELETE", item) == (204, None)
    assert call("GET", item)[0] == 404
    assert call("GET", "/nowhere")[0] == 404


@pytest.mark.parametrize("app_type", ["api", "script"])
def test_an_app_that_dies_at_once_ends_with_code_3(tmp_path, app_type):
    app = broken_apps.misbehaving_app(app_type, "app-dies-at-once")
    assert app is not None
    write(app, tmp_path)
    program = toolchain.node() if app_type == "api" else sys.executable
    done = subprocess.run(
        [program, app.entrypoint], cwd=tmp_path, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 3
    assert b"giving up" in done.stderr


def test_every_app_that_harms_has_a_bound():
    for fault, unit in {
        "app-fills-memory": r"< 48\b.*?64 \* 1024 \* 1024",
        "app-fills-disk": r"(< 64\b|range\(64\)).*?32 \* 1024 \* 1024",
        "app-forks-without-end": r"< 600\b.*?60",
    }.items():
        for app_type in ("api", "script"):
            app = broken_apps.misbehaving_app(app_type, fault)
            assert app is not None
            assert re.search(unit, app.files[app.entrypoint], re.DOTALL), (fault, app_type)


def write(app: App, folder: Path) -> None:
    for path, content in app.files.items():
        (folder / path).write_text(content, encoding="utf-8")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
