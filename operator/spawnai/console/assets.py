"""The page: a few files, read and compressed once, with the headers that keep it to itself."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_COMPRESSED = frozenset({".html", ".css", ".js", ".svg"})
_TYPES = {".js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """The files of the page, by name."""
    found = {}
    for file in files("spawnai.console").joinpath("page").iterdir():
        content = file.read_bytes()
        suffix = "." + file.name.rpartition(".")[2]
        guessed = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if guessed.startswith("text/"):
            guessed += "; charset=utf-8"
        found[file.name] = Asset(
            content=content,
            # mtime=0: the same bytes on every replica.
            compressed=gzip.compress(content, 9, mtime=0) if suffix in _COMPRESSED else None,
            media_type=_TYPES.get(suffix, guessed),
            etag=f'"{hashlib.sha256(content).hexdigest()[:20]}"',
        )
    return found


class Assets:
    """The routes of the page."""

    def __init__(self, assets: dict[str, Asset]) -> None:
        self._assets = assets
        self.router = router = APIRouter(include_in_schema=False)
        router.add_api_route("/", self.index, methods=["GET", "HEAD"])
        router.add_api_route("/{name}", self.asset, methods=["GET", "HEAD"])

    async def index(self, request: Request) -> Response:
        """The page itself."""
        return self._answer(request, "index.html")

    async def asset(self, request: Request, name: str) -> Response:
        """A file of the page."""
        return self._answer(request, name)

    def _answer(self, request: Request, name: str) -> Response:
        asset = self._assets.get(name)
        if asset is None:
            return Response("There is nothing here.\n", 404, media_type="text/plain")
        # Asked for again each time, and answered with 304: a new version is there at once.
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if asset.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = asset.content
        if asset.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content = asset.compressed
            headers["Content-Encoding"] = "gzip"
        return Response(content, headers=headers, media_type=asset.media_type)
