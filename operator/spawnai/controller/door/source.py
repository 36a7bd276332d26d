"""A generated app as a zip archive that unpacks into one folder."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from spawnai.controller.actions.bundles import Version

# The earliest date that a zip archive can hold: the same app is the same bytes each time.
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def zip_of(name: str, document: Mapping[str, Any]) -> bytes:
    """The files of a bundle, as it is stored, below a folder of that name.

    Paths were checked when the bundle was written: relative, without `..`.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in document["files"]:
            entry = zipfile.ZipInfo(f"{name}/{file['path']}", _DATE)
            entry.external_attr = _MODE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, str(file["content"]).encode("utf-8", "surrogatepass"))
    return packed.getvalue()


def version_of(version: Version) -> dict[str, Any]:
    """What a version is, without its files."""
    written = version.generation.finished_at or version.generation.started_at
    return {
        "version": version.number,
        "prompt": version.prompt,
        "model": version.generation.model,
        "writtenAt": written.isoformat(),
        "digest": version.bundle.digest,
    }


def listing_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Which files there are, and how long they are in bytes."""
    return {
        "digest": document["digest"],
        "files": [
            {
                "path": file["path"],
                "bytes": len(str(file["content"]).encode("utf-8", "surrogatepass")),
            }
            for file in document["files"]
        ],
    }
