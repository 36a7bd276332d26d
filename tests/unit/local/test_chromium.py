"""A machine without a browser gets the one of an npm package, or is told in a line why not."""

import base64
import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from spawnai_local import chromium, toolchain
from spawnai_local.building import ToolchainError
from spawnai_local.inspector import LocalInspector, NotInspected

COMPRESS = """
const fs = require("node:fs");
const { brotliCompressSync, constants } = require("node:zlib");
const quick = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };
for (const file of process.argv.slice(1))
  fs.writeFileSync(`${file}.br`, brotliCompressSync(fs.readFileSync(file), quick));
"""


@pytest.fixture(autouse=True)
def _a_machine_that_the_package_is_for(monkeypatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.fixture
def npm(tmp_path) -> Path:
    """A registry's client that gives a small package, laid out as the real one."""
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "chromium").write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH" "$@"\n')
    for name, file, content in (
        ("al2023", "lib/libsoftokn3.so", _a_library().read_bytes()),
        ("swiftshader", "libEGL.so", b"1"),
        ("fonts", "fonts/Open_Sans/a.ttf", b"2"),
    ):
        (parts / name).write_bytes(content)
        with tarfile.open(parts / f"{name}.tar", "w") as tar:
            tar.add(parts / name, file)
    files = [parts / "chromium", *(parts / f"{name}.tar" for name in ("al2023", "fonts"))]
    files.append(parts / "swiftshader.tar")
    subprocess.run([toolchain.node(), "--eval", COMPRESS, *files], check=True, timeout=30)
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as package:
        for file in files:
            package.add(f"{file}.br", f"package/bin/{file.name}.br")
    client = tmp_path / "npm"
    # It is run where the archive is to be.
    client.write_text(f"#!/bin/sh\ncp {tmp_path}/package.tgz .\n")
    client.chmod(0o755)
    return client


def _a_library() -> Path:
    """Some library that loads here: the one that every program loads."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return Path(next(line.split()[-1] for line in maps if "libc.so" in line or "libc-" in line))


def integrity_of(archive: Path) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()


def test_the_package_becomes_a_program_that_finds_its_own_libraries(tmp_path, npm):
    into, told = tmp_path / "chromium-1", []
    chromium.fetch_chromium(
        into, npm, toolchain.node(), told.append, integrity_of(tmp_path / "package.tgz")
    )
    said = subprocess.run(
        [into / "chromium", "--a", "b"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert said == f"{into}/lib --a b\n"
    assert (into / "fonts" / "a.ttf").read_bytes() == b"2"
    assert len(told) == 1
    assert not (into / "npm").exists()


def test_another_file_than_the_pinned_one_is_never_run(tmp_path, npm):
    into = tmp_path / "chromium-1"
    with pytest.raises(ToolchainError, match="the npm registry gave another file"):
        chromium.fetch_chromium(into, npm, toolchain.node(), str)
    assert not into.exists()


def test_a_registry_that_does_not_answer_is_told_with_npms_last_words(tmp_path):
    client = tmp_path / "npm"
    client.write_text("#!/bin/sh\necho npm error code ENOTFOUND >&2\nexit 1\n")
    client.chmod(0o755)
    with pytest.raises(ToolchainError, match=r"npm pack ended with code 1: .* ENOTFOUND"):
        chromium.fetch_chromium(tmp_path / "chromium-1", client, toolchain.node(), str)


def test_a_machine_that_the_package_is_not_for_fetches_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(ToolchainError, match="holds no Chromium for Linux aarch64"):
        chromium.fetch_chromium(tmp_path / "chromium-1", tmp_path, tmp_path, str)


def test_where_there_is_none_a_line_says_that_pages_are_not_inspected(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SPAWNAI_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NotInspected, match=r"^pages are not inspected: ") as why:
        LocalInspector.find_browser(str)
    assert len(str(why.value).splitlines()) == 1
