"""Node.js and Caddy as release archives, and the packages of an app by its lock."""

import asyncio
import functools
import hashlib
import http.server
import io
import tarfile
import threading
from pathlib import Path

import pytest
from tests.contract.machines.support import ANSWERING_SERVER, STATIC_PAGE, bundle

from spawnai.api.spawnclass import RuntimeSpec
from spawnai.app_runtime import npm_packages
from spawnai.app_runtime.archives import NODE
from spawnai.app_runtime.locks import lock_of
from spawnai.controller.actions.droplets import runtime_archives
from spawnai.droplet.cloud_config import RuntimeArchive
from spawnai_local import toolchain
from spawnai_local.machines.mirror import Mirror, MirroredArchives, mirrored_archives

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def archives() -> MirroredArchives:
    return mirrored_archives()


@pytest.fixture(scope="module")
def caddy_itself() -> bytes:
    """An archive with the real program, as large as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(toolchain.caddy().resolve(), "caddy")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory, archives, caddy_itself):
    """A host that has both archives; yields its address."""
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "node.tar.xz").write_bytes(archives.files[NODE.file])
    (folder / "caddy.tar.gz").write_bytes(caddy_itself)
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


def archive(name: str, url: str, content: bytes) -> RuntimeArchive:
    strip = 1 if name == "node" else 0
    return RuntimeArchive(name, url, hashlib.sha256(content).hexdigest(), strip)


async def test_an_api_runs_on_the_archives_without_anything_of_the_distribution(
    machine, mirror, archives, caddy_itself
):
    api = machine("api")
    both = (
        archive("node", f"{mirror}/node.tar.xz", archives.files[NODE.file]),
        archive("caddy", f"{mirror}/caddy.tar.gz", caddy_itself),
    )
    await api.boot(api.user_data(archives=both))
    await api.until_it_answers()
    server = ANSWERING_SERVER + "require('ms');"
    await api.agent.push(bundle("api", {"server.js": server}, dependencies={"ms": "*"}))
    await api.until("running")
    assert (await api.browser.get("/")).text == "pong"
    root = api.host.root_of(api.id)
    assert (root / "usr/local/bin/node").resolve() == root / "opt/spawnai/runtime/node/bin/node"
    for program in ("node", "npm", "caddy"):
        assert not (root / "usr/bin" / program).exists()
    assert not (root / "opt/spawnai/runtime/node/README.md").exists()
    assert not (root / "opt/spawnai/node.archive").exists()


@pytest.mark.parametrize("name", ["node", "caddy"])
async def test_an_archive_with_another_hash_is_never_unpacked(machine, mirror, name):
    api = machine("api")
    file = {"node": "node.tar.xz", "caddy": "caddy.tar.gz"}[name]
    await api.boot(api.user_data(archives=(archive(name, f"{mirror}/{file}", b"another"),)))
    await api.until_it_answers()
    await api.agent.push(bundle("api", {"server.js": ANSWERING_SERVER}))
    status = await api.until("failed")
    assert status.reason == "RuntimeNotInstalled"
    assert "has the SHA-256" in status.message
    assert hashlib.sha256(b"another").hexdigest() in status.message
    assert not (api.host.root_of(api.id) / "opt/spawnai/runtime").exists()


async def test_node_that_cannot_be_had_says_so_and_caddy_comes_from_the_distribution(
    machine, mirror, caddy_itself
):
    webapp = machine("webapp")
    missing = archive("caddy", f"{mirror}/no-such-file", caddy_itself)
    await webapp.boot(webapp.user_data(archives=(missing,)))
    await webapp.until_it_answers()
    await webapp.agent.push(bundle("webapp", STATIC_PAGE))
    await webapp.until("running")
    assert (webapp.host.root_of(webapp.id) / "usr/bin/caddy").exists()

    api = machine("api")
    missing = archive("node", f"{mirror}/no-such-file", b"")
    await api.boot(api.user_data(archives=(missing,)))
    await api.until_it_answers()
    await api.agent.push(bundle("api", {"server.js": ANSWERING_SERVER}))
    status = await api.until("failed")
    assert status.reason == "RuntimeNotInstalled"
    assert "no-such-file cannot be had: HTTP Error 404" in status.message


async def test_an_app_gets_exactly_what_its_lock_names(machine):
    server = ANSWERING_SERVER + "console.log('v', require('express/package.json').version);"
    api = machine("api")
    document = bundle(
        "api",
        {"server.js": server},
        dependencies={"express": "^4.0.0"},  # advice; the lock decides
        packageLock=lock_of(["express"]),
    )
    status = await api.run(document)
    assert f"v {npm_packages()['express']}" in status.log
    lines = await asyncio.to_thread(Path(api.app / "package-lock.json").read_text)
    assert "integrity" in lines


async def test_a_package_with_another_hash_than_its_lock_names_is_not_installed(tight_machine):
    lock = lock_of(["dayjs", "nanoid"])
    packages = lock["packages"]
    packages["node_modules/dayjs"]["integrity"] = packages["node_modules/nanoid"]["integrity"]
    api = tight_machine("api")
    document = bundle(
        "api",
        {"server.js": ANSWERING_SERVER},
        dependencies={"dayjs": "*", "nanoid": "*"},
        packageLock=lock,
    )
    status = await api.run(document, "failed")
    assert status.reason == "InstallFailed"
    assert any("EINTEGRITY" in line for line in status.log)
    assert status.error is not None


async def test_what_a_class_names_comes_from_the_mirror_of_the_local_cloud(machine, archives):
    mirror = Mirror(archives)
    await mirror.start("127.0.0.1")
    spec = RuntimeSpec(
        mirror=mirror.url,
        node_sha256=archives.node_sha256,
        caddy_sha256=archives.caddy_sha256,
    )
    api = machine("fullstack")
    await api.boot(api.user_data(archives=runtime_archives(spec)))
    await api.until_it_answers()
    await api.agent.push(bundle("fullstack", {"server.js": ANSWERING_SERVER}))
    await api.until("running")
    assert (await api.browser.get("/")).text == "pong"
    for program in ("node", "caddy"):
        assert not (api.host.root_of(api.id) / "usr" / "bin" / program).exists()
    await mirror.stop()
    assert runtime_archives(RuntimeSpec()) == ()
