"""Answer: what Claude sent, from the first characters of a stream to a bundle."""

import json
from dataclasses import dataclass
from typing import Any

import jiter

from .bundle import AppFile, Bundle
from .limits import MAX_BUNDLE_BYTES

# Room for JSON's escapes (a line break takes two characters) above the largest bundle. What is
# longer is cut off while it arrives: it can hold no valid app, and each further token is paid.
MAX_ANSWER_CHARACTERS = MAX_BUNDLE_BYTES + MAX_BUNDLE_BYTES // 2


class AnswerTooLong(Exception):
    """The answer passed the limit; what was received has been let go."""


class AnswerUnreadable(Exception):
    """The answer is not JSON of the agreed shape; the text says where."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer, before it is known whether it makes an app."""

    entrypoint: str
    files: tuple[AppFile, ...]
    dependencies: dict[str, str]
    removed_files: tuple[str, ...] = ()
    note: str = ""
    """What Claude tells the person."""

    @classmethod
    def parse(cls, text: str) -> "Answer":
        """Read the whole text of an answer.

        Raises:
            AnswerUnreadable: it is not JSON, or not of the shape that was asked for.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AnswerUnreadable(f"the answer is not valid JSON: {error}") from error
        try:
            return cls(
                entrypoint=_text(document["entrypoint"]),
                files=tuple(
                    AppFile(_text(file["path"]), _text(file["content"]))
                    for file in document["files"]
                ),
                dependencies=dict(map(_dependency, _list(document.get("dependencies", [])))),
                note=_text(document.get("note") or ""),
                removed_files=tuple(_text(path) for path in document.get("removed_files") or ()),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise AnswerUnreadable(
                f"the answer does not have the agreed shape ({type(error).__name__}: {error}); "
                "expected entrypoint, dependencies, removed_files and files"
            ) from error

    def as_bundle(self, app_type: str) -> Bundle:
        """The answer as a new app."""
        return Bundle(app_type, self.entrypoint, self.files, self.dependencies, self.note)

    def merged_into(self, current: Bundle) -> Bundle:
        """The app after a repair: named files replaced, added or removed, the others kept."""
        files = {file.path: file for file in current.files}
        for path in self.removed_files:
            files.pop(path, None)
        files.update((file.path, file) for file in self.files)
        return Bundle(
            current.app_type,
            self.entrypoint or current.entrypoint,
            tuple(files.values()),
            self.dependencies,
            self.note or current.note,
        )


class AnswerStream:
    """The text of an answer while it arrives, never more of it than the limit."""

    def __init__(self, max_characters: int = MAX_ANSWER_CHARACTERS) -> None:
        self._max = max_characters
        self._parts: list[str] = []
        self.characters = 0

    def add(self, text: str) -> None:
        """Take the next piece.

        Raises:
            AnswerTooLong: the limit is passed; the text is let go.
        """
        self.characters += len(text)
        if self.characters > self._max:
            self._parts.clear()
            raise AnswerTooLong
        self._parts.append(text)

    def text(self) -> str:
        """All that has arrived."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def files(self) -> tuple[tuple[str, int], ...]:
        """Path and bytes so far of each file that has begun to arrive; the last is being written.

        A path that has not arrived whole is left out.
        """
        try:
            document: Any = jiter.from_json(self.text().encode(), partial_mode="trailing-strings")
        except (ValueError, UnicodeEncodeError):
            return ()
        files = document.get("files") if isinstance(document, dict) else None
        return tuple(
            (file["path"], len(file["content"].encode("utf-8", "surrogatepass")))
            for file in (files if isinstance(files, list) else [])
            if isinstance(file, dict)
            and isinstance(file.get("path"), str)
            and isinstance(file.get("content"), str)
        )

    def files_done(self) -> int:
        """How many files have arrived whole, judged by the next one having begun."""
        return max(0, len(self.files()) - 1)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value


def _dependency(item: object) -> tuple[str, str]:
    """A name; or a name with the version that an older answer may still bring, as advice."""
    if isinstance(item, dict):
        return _text(item["name"]), _text(item["version"])
    return _text(item), ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value
