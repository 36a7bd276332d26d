"""A builder's own user_data on a machine, and an app on a machine that begins with its disk."""

import itertools

import pytest
from tests.contract.machines.support import (
    ANSWERING_SERVER,
    MEMORY_BYTES,
    TestMachine,
    bundle,
    eventually,
)

from spawnai.app_runtime import npm_packages
from spawnai.app_runtime.locks import lock_of
from spawnai.droplet.builder import NPM_CACHE, ImageBuilder, render_builder_data
from spawnai.droplet.packing import read_agent_source

pytestmark = pytest.mark.asyncio(loop_scope="session")

IDS = itertools.count(900_001)
IMAGE = 210_000_001


async def test_an_app_runs_on_what_a_builder_left_and_installs_nothing(host):
    builder = next(IDS)
    user_data = render_builder_data(ImageBuilder(read_agent_source()))
    await host.boot(builder, host.allocate_address(), user_data, MEMORY_BYTES)
    root = host.root_of(builder)

    async def is_off() -> bool:
        return not host.is_on(builder)

    await eventually(is_off)
    assert (root / NPM_CACHE.lstrip("/") / "_cacache").is_dir()
    left = {path.name for path in (root / "opt/spawnai").iterdir()}
    assert left.isdisjoint({"agent.pyz", "session.json", "packages", "written"})
    assert not (root / "var/tmp/spawnai-bake").exists()
    await host.keep_disk(builder, IMAGE)
    await host.destroy(builder)

    machine = TestMachine(host, next(IDS), "api")
    await host.boot(machine.id, machine.address, machine.user_data(), MEMORY_BYTES, IMAGE)
    await machine.until_it_answers()
    document = bundle(
        "api",
        {"server.js": f"require('express');\n{ANSWERING_SERVER}"},
        dependencies={"express": npm_packages()["express"]},
        packageLock=lock_of(["express"]),
    )
    await machine.agent.push(document)
    await machine.until("running")
    [app] = (host.root_of(machine.id) / "opt/spawnai/revisions").iterdir()
    assert (app / "scratch/.npm/_cacache").is_dir(), "a copy of npm's cache of its own"
    log = host.root_of(machine.id) / "opt/spawnai/packages.log"
    assert not log.exists(), "nothing was installed"
    await machine.close()
    await host.drop_disk(IMAGE)
