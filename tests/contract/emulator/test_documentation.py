"""docs/local-cloud.md tells everything there is, and its examples run as they stand."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from spawnai_local.digitalocean import Emulator
from spawnai_local.digitalocean.__main__ import arguments
from spawnai_local.digitalocean.faults import Kind
from spawnai_local.digitalocean.settings import DEFAULT_TOKEN, Delays, Limits

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "local-cloud.md").read_text()
EXAMPLES = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


def test_every_kind_of_fault_delay_limit_and_option_is_told():
    options = [action.option_strings[-1] for action in arguments()._actions]
    limits = ["droplets", *Limits().document()]
    for name in [*Kind, *Delays().document()]:
        assert f"| `{name}` |" in TEXT
    for name in [*limits, *options]:
        assert name in TEXT or name == "--help"


def test_the_usual_delays_are_told_as_they_are():
    for name, seconds in Delays().document().items():
        assert f"| `{name}` | {seconds:g} |" in TEXT


def test_every_path_of_the_control_api_is_told():
    told = {
        f"{method} {path}"
        for methods, path in re.findall(r"\| ((?:`[A-Z]+` )*`[A-Z]+ /_local/[^`]+)`()", TEXT)
        for methods, path in [re.fullmatch(r"(.*?)(/_local/.*)", methods).groups()]
        for method in re.findall(r"[A-Z]+", methods)
    }
    assert told == set(Emulator().control.table())


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are written with curl")
async def test_the_examples_run_as_they_stand():
    emulator = Emulator()
    await emulator.start()
    environment = {
        **os.environ,
        "DIGITALOCEAN_API_URL": emulator.url,
        "DIGITALOCEAN_TOKEN": DEFAULT_TOKEN,
    }
    try:
        assert len(EXAMPLES) > 8
        for example in EXAMPLES:
            shell = await asyncio.create_subprocess_exec(
                "sh",
                "-ec",
                example,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(30):
                output, _ = await shell.communicate()
            assert shell.returncode == 0, (example, output)
            assert b'"error"' not in output, (example, output)
    finally:
        await emulator.stop()
    assert '"intact": true' in output.decode()


async def test_the_command_line_program_serves_until_it_is_told_to_end():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spawnai_local.digitalocean", "--port", "0"),
        *("--domain", "example.com", "--delay", "boot=7", "--droplet-limit", "3"),
        stdout=subprocess.PIPE,
        env={**os.environ, "DIGITALOCEAN_TOKEN": "another-token"},
    )
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        url = re.search(r"http://127\.0\.0\.1:\d+", line).group()
        async with aiohttp.ClientSession(headers={"authorization": "Bearer another-token"}) as one:
            async with one.get(f"{url}/v2/account") as response:
                assert (await response.json())["account"]["droplet_limit"] == 3
            async with one.get(f"{url}/v2/domains/example.com") as response:
                assert response.status == 200
            async with one.get(f"{url}/_local/delays") as response:
                assert json.loads(await response.text())["boot"] == 7
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
