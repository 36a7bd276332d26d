"""A mirror of the release archives that droplets install, of what the virtual environment has.

The archives are laid out as the projects' own and bear their names; the programs in them start the
virtual environment's, so that a hundred droplets do not need a hundred copies.
"""

import gzip
import hashlib
import io
import lzma
import shlex
import tarfile
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from spawnai.app_runtime.archives import CADDY, NODE
from spawnai_local import toolchain
from spawnai_local.machines.userland import npm_program
from spawnai_local.paths import cache_directory


@dataclass(frozen=True, slots=True)
class MirroredArchives:
    """What a mirror has: a file's name to its bytes, and the hash of either archive."""

    files: dict[str, bytes]
    node_sha256: str
    caddy_sha256: str


def mirrored_archives() -> MirroredArchives:
    """Pack both archives: the same bytes each time on the same machine."""
    top = NODE.file.removesuffix(".tar.xz")
    cache = cache_directory() / "npm"
    cache.mkdir(parents=True, exist_ok=True)
    node = _packed(
        "xz",
        {
            f"{top}/bin/node": _starter(toolchain.node()),
            f"{top}/lib/node_modules/npm/bin/npm-cli.js": npm_program(toolchain.npm(), cache),
            f"{top}/bin/npm": Path("../lib/node_modules/npm/bin/npm-cli.js"),
        },
    )
    caddy = _packed("gz", {"caddy": _starter(toolchain.caddy())})
    return MirroredArchives(
        {NODE.file: node, CADDY.file: caddy},
        hashlib.sha256(node).hexdigest(),
        hashlib.sha256(caddy).hexdigest(),
    )


def _starter(program: Path) -> str:
    return f'#!/bin/sh\nexec {shlex.quote(str(program.resolve()))} "$@"\n'


def _packed(compression: str, files: dict[str, str | Path]) -> bytes:
    """An archive of programs; a path is where a link leads."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, Path):
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
                archive.addfile(member)
            else:
                text = content.encode()
                member.size, member.mode = len(text), 0o755
                archive.addfile(member, io.BytesIO(text))
    # gzip writes the time into its head, which would make other bytes each time.
    return _compressed(compression, plain.getvalue())


def _compressed(compression: str, data: bytes) -> bytes:
    return gzip.compress(data, mtime=0) if compression == "gz" else lzma.compress(data)


class Mirror:
    """Serves the archives to the machines of one local cloud."""

    def __init__(self, archives: MirroredArchives) -> None:
        self.archives = archives
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> None:
        """Listen at any free port of this address."""
        app = web.Application()
        app.router.add_get("/{file}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        content = self.archives.files.get(request.match_info["file"])
        if content is None:
            raise web.HTTPNotFound
        return web.Response(body=content)
