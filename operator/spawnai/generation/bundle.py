"""Bundle: the files of one generated app, with a digest that names them wherever they go."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class AppFile:
    """One text file of an app; `path` is relative to the app's folder, with forward slashes."""

    path: str
    content: str

    @property
    def size(self) -> int:
        """Length in bytes as UTF-8, which is how the file is written on the droplet.

        A lone surrogate, which UTF-8 cannot hold, is counted and left for validation to refuse.
        """
        return len(self.content.encode("utf-8", errors="surrogatepass"))


@dataclass(frozen=True)
class Bundle:
    """A whole app as it is stored, pushed and recognised.

    Files are kept in order of their paths, so that two bundles with the same files have the same
    digest, however Claude ordered them.
    """

    app_type: str
    entrypoint: str
    files: tuple[AppFile, ...]
    dependencies: Mapping[str, str] = field(default_factory=dict)
    note: str = field(default="", compare=False)
    """What Claude tells the person. It is no part of the app, so the digest leaves it out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files, key=lambda file: file.path)))
        object.__setattr__(
            self, "dependencies", MappingProxyType(dict(sorted(self.dependencies.items())))
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over the canonical JSON (sorted keys, no spaces, ASCII) of the content."""
        canonical = json.dumps(
            self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def file(self, path: str) -> AppFile | None:
        """The file at that path, or None."""
        return next((file for file in self.files if file.path == path), None)

    def document(self) -> dict[str, Any]:
        """The plain JSON document that is stored, and pushed to the agent (PUT /v1/bundle)."""
        note = {"note": self.note} if self.note else {}
        return {"digest": self.digest, **self._content(), **note}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Bundle":
        """Read what `document` wrote.

        Raises:
            ValueError: a part is missing or of another type, or the digest written in the document
                is not that of its content (it was changed or cut after it was stored).
        """
        try:
            bundle = cls(
                app_type=_text(document, "appType"),
                entrypoint=_text(document, "entrypoint"),
                files=tuple(
                    AppFile(_text(file, "path"), _text(file, "content"))
                    for file in document["files"]
                ),
                dependencies={str(name): str(v) for name, v in document["dependencies"].items()},
                note=str(document.get("note") or ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the stored bundle cannot be read ({error}); expected the keys appType, "
                "entrypoint, files and dependencies"
            ) from error
        written = document.get("digest")
        if written is not None and written != bundle.digest:
            raise ValueError(
                f"the stored bundle says digest {written}, but its content has digest "
                f"{bundle.digest}: it was changed after it was stored; generate the app again"
            )
        return bundle

    def _content(self) -> dict[str, Any]:
        return {
            "appType": self.app_type,
            "entrypoint": self.entrypoint,
            "files": [{"path": file.path, "content": file.content} for file in self.files],
            "dependencies": dict(self.dependencies),
        }


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} must be text, not {type(value).__name__}")
    return value
