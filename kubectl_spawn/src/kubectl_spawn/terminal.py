"""What is written where: data to stdout, talk to stderr, colour only for a terminal."""

import json
import locale
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from kubectl_spawn.errors import CommandError

_GREEN, _BLUE, _YELLOW, _RED, _BOLD, _DIM = "32", "34", "33", "31", "1", "2"

# What a terminal may act on instead of showing: control characters, and marks that reorder text.
_UNSHOWABLE = dict.fromkeys(
    [
        *range(9), *range(11, 32), *range(127, 160),
        *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C,
    ]
)  # fmt: skip


def harmless(text: str) -> str:
    """A text of strangers without terminal escapes and reordering marks; line breaks stay."""
    return text.translate(_UNSHOWABLE)


@dataclass(frozen=True, slots=True)
class Symbols:
    """The marks before a line. They say the same as the colour does."""

    done: str
    busy: str
    waiting: str
    open: str
    failed: str
    note: str
    next: str


_UNICODE = Symbols(done="✓", busy="◐", waiting="◌", open="·", failed="✗", note="!", next="→")
_ASCII = Symbols(done="ok", busy="..", waiting="--", open="-", failed="!!", note="!", next="->")


class Terminal:
    """Where a command speaks. One for each run.

    Args:
        output: stdout, for data.
        talk: stderr, for everything else.
        environment: the environment variables.
        as_json: `-o json` was given: no talk but errors, as documents.
        plain: `--plain` was given: one line for each change.
    """

    def __init__(
        self,
        output: TextIO,
        talk: TextIO,
        environment: Mapping[str, str],
        *,
        as_json: bool = False,
        plain: bool = False,
    ) -> None:
        self._output = output
        self._talk = talk
        self.as_json = as_json
        self.is_live = (
            talk.isatty()
            and not plain
            and not as_json
            and environment.get("TERM", "") != "dumb"
            and not environment.get("ACCESSIBLE")
        )
        self._coloured = talk.isatty() and "NO_COLOR" not in environment
        self.output_is_terminal = output.isatty()
        encoding = (talk.encoding or locale.getpreferredencoding()).lower().replace("-", "")
        self.symbols = _UNICODE if encoding == "utf8" else _ASCII
        self.talk_file = talk

    @classmethod
    def of_this_process(cls, *, as_json: bool = False, plain: bool = False) -> "Terminal":
        """The terminal of this process's own streams."""
        return cls(sys.stdout, sys.stderr, os.environ, as_json=as_json, plain=plain)

    @property
    def width(self) -> int:
        """Columns; 100 when it is no terminal."""
        try:
            return os.get_terminal_size(self._talk.fileno()).columns
        except (OSError, ValueError):
            return 100

    def data(self, line: str) -> None:
        """A line of data, to stdout."""
        print(line, file=self._output, flush=True)

    def document(self, value: object) -> None:
        """A JSON document, to stdout."""
        self.data(json.dumps(value, ensure_ascii=False, indent=2))

    def event(self, value: object) -> None:
        """A JSON document on one line (NDJSON), to stdout."""
        self.data(json.dumps(value, ensure_ascii=False))

    def say(self, line: str = "") -> None:
        """A line for people, to stderr; nothing with `-o json`."""
        if not self.as_json:
            print(line, file=self._talk, flush=True)

    def done(self, line: str) -> None:
        """Something went well."""
        self.say(f"{self.green(self.symbols.done)} {line}")

    def note(self, line: str) -> None:
        """Something to know that is no failure."""
        self.say(f"{self.yellow(self.symbols.note)} {line}")

    def next(self, *commands: str) -> None:
        """Command lines that lead on."""
        for command in commands:
            self.say(f"  {self.symbols.next} {command}")

    def error(self, error: CommandError) -> None:
        """What went wrong: the sentence, the cause as received, the lines that mend it."""
        if self.as_json:
            print(json.dumps(error.document(), ensure_ascii=False), file=self._talk, flush=True)
            return
        self.say(f"{self.red(self.symbols.failed)} {harmless(error.what)}")
        for line in harmless(error.cause).splitlines():
            self.say(f"  {line}")
        self.next(*error.next_steps)

    def confirm(self, question: str) -> bool | None:
        """Ask a person; None when nobody is there to answer."""
        if not sys.stdin.isatty():
            return None
        print(f"{question} [y/N] ", end="", file=self._talk, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def green(self, text: str) -> str:
        """Done, running."""
        return self._paint(text, _GREEN)

    def blue(self, text: str) -> str:
        """Being built."""
        return self._paint(text, _BLUE)

    def yellow(self, text: str) -> str:
        """Waits, or ends soon."""
        return self._paint(text, _YELLOW)

    def red(self, text: str) -> str:
        """Failed."""
        return self._paint(text, _RED)

    def bold(self, text: str) -> str:
        """Names and URLs."""
        return self._paint(text, _BOLD)

    def dim(self, text: str) -> str:
        """Figures and hints."""
        return self._paint(text, _DIM)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text


def table(rows: list[list[str]]) -> list[str]:
    """Lines of a table: columns as wide as their widest cell, three blanks between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
