"""What a person reads while the local cloud works: steps, commands, claims, and a live display.

On a terminal the display is redrawn in place; elsewhere (a pipe, a CI log) each change is a line
with the time since the start. Nothing is wider than 100 columns.
"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

WIDTH = 100
_INDENT = "   "
_NAME_WIDTH = 15
_SECONDS_WIDTH = 9
_GAP = 3
# What stands in quotes is one word: a line may not be broken there.
_SHELL_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")
_HEADER_WORD = re.compile(r"\S+(?: \S+)*")


class Display(Protocol):
    """A block of lines that changes."""

    def show(self, lines: Sequence[str]) -> None:
        """Show the block as it is now; it is redrawn in place on a terminal, and nowhere else."""
        ...

    def say(self, line: str) -> None:
        """Tell of one change: a line of its own where nothing is redrawn in place."""
        ...


class Narrator:
    """Writes the story to one stream; its times count from `started` (monotonic seconds)."""

    def __init__(self, stream: TextIO | None = None, *, started: float | None = None) -> None:
        stream = sys.stdout if stream is None else stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?", not a trace
        self._console = _LastingConsole(file=stream, highlight=False, markup=False, emoji=False)
        self._console.width = min(WIDTH, self._console.width) if self.is_terminal else WIDTH
        self._started = time.monotonic() if started is None else started
        self._steps = 0

    @property
    def is_terminal(self) -> bool:
        """Whether lines can be redrawn in place."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    @property
    def width(self) -> int:
        """Columns to use."""
        return self._console.width

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def title(self, title: str, explanation: str) -> None:
        """The first lines: what this is."""
        self._print(title, style="bold")
        for line in wrap(explanation, self.width):
            self._print(line)

    def step(self, title: str) -> None:
        """A new part of the story, with its number and the time since the start."""
        self._steps += 1
        left = f"{self._steps}  {title} "
        right = f" {self.elapsed:5.1f} s"
        rule = "─" * max(0, self.width - cell_len(left) - cell_len(right))
        self._print("")
        self._print(f"{left}{rule}{right}", style="bold cyan")

    def command(self, command: str) -> None:
        """A command that runs now, as a person can repeat it."""
        lines = _joined(_SHELL_WORD.findall(command), self.width - len(_INDENT) - 6)
        for number, line in enumerate(lines):
            end = "" if number == len(lines) - 1 else " \\"
            self._print(f"{_INDENT}{'$ ' if number == 0 else '    '}{line}{end}", "bold")

    def output(self, text: str) -> None:
        """What a command printed, each line cut at the width."""
        for line in text.rstrip().splitlines():
            self._print(fit(f"{_INDENT}  {line}", self.width), "dim")

    def prose(self, text: str) -> None:
        """A sentence that a command printed, wrapped."""
        self.output("\n".join(wrap(text, self.width - len(_INDENT) - 2)))

    def table(self, text: str) -> None:
        """A table as kubectl prints it, its widest columns cut until all of them can be seen."""
        self.output("\n".join(fit_table(text.splitlines(), self.width - len(_INDENT) - 2)))

    def say(self, text: str) -> None:
        """A sentence or two, wrapped."""
        for line in wrap(text, self.width - len(_INDENT)):
            self._print(f"{_INDENT}{line}")

    def lines(self, lines: Sequence[str]) -> None:
        """Lines that are laid out already, each cut at the width."""
        for line in lines:
            self._print(fit(f"{_INDENT}{line}", self.width))

    def blank(self) -> None:
        """An empty line."""
        self._print("")

    def warn(self, text: str) -> None:
        """Something a person must not overlook, such as that it costs money."""
        for line in wrap(text, self.width - len(_INDENT)):
            self._print(f"{_INDENT}{line}", "bold yellow")

    def part(self, name: str, what: str, seconds: float | None = None) -> None:
        """A part that is up: its name, what it is, and how long that took."""
        duration = "" if seconds is None else f"{seconds:.1f} s".rjust(_SECONDS_WIDTH)
        room = self.width - len(_INDENT) - _NAME_WIDTH - len(duration)
        padded = set_cell_size(fit(what, room), room)
        self._print(f"{_INDENT}{name:<{_NAME_WIDTH}}{padded}{duration}".rstrip())

    def claim(self, sentence: str, *, holds: bool, found: str = "") -> None:
        """Whether something that was promised is true; what was found instead, if it is not."""
        mark, style = ("✓", "green") if holds else ("✗", "bold red")
        for number, line in enumerate(wrap(sentence, self.width - len(_INDENT) - 2)):
            lead = f"{mark} " if number == 0 else "  "
            text = Text(f"{_INDENT}{lead}{line}")
            text.stylize(style, 0, len(_INDENT) + 2 if holds else len(text))
            self._write(text)
        if not holds and found:
            for line in wrap(f"found: {found}", self.width - len(_INDENT) - 2):
                self._print(f"{_INDENT}  {line}")

    @contextlib.contextmanager
    def display(self) -> Iterator[Display]:
        """A block of changing lines until the end of the `with`; its last state stays."""
        if not self.is_terminal:
            yield _PlainDisplay(self)
            return
        with Live(console=self._console, auto_refresh=False, vertical_overflow="visible") as live:
            yield _LiveDisplay(self, live)

    def _print(self, line: str, style: str = "") -> None:
        self._write(Text(line, style=style))

    def _write(self, text: Text) -> None:
        with contextlib.suppress(OSError):  # a terminal that was closed
            self._console.print(text, overflow="ignore", no_wrap=True, crop=False)


class _LastingConsole(Console):
    """A console whose reader may go: what is told later is lost, and tidying up goes on."""

    def on_broken_pipe(self) -> None:
        """Write nothing more, and nothing of what is still held back."""
        self.quiet = True
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class _PlainDisplay:
    """Each change is a line; the block itself is shown by whoever asks at the end."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator

    def show(self, lines: Sequence[str]) -> None:
        pass

    def say(self, line: str) -> None:
        self._narrator.lines([f"[{self._narrator.elapsed:6.1f} s] {line}"])


class _LiveDisplay:
    """The block is redrawn in place."""

    def __init__(self, narrator: Narrator, live: Live) -> None:
        self._narrator = narrator
        self._live = live

    def show(self, lines: Sequence[str]) -> None:
        fitted = [fit(f"{_INDENT}{line}", self._narrator.width) for line in lines]
        with contextlib.suppress(OSError):
            self._live.update(Text("\n".join(fitted), no_wrap=True), refresh=True)

    def say(self, line: str) -> None:
        pass


def fit(line: str, width: int) -> str:
    """The line, cut to `width` columns with an ellipsis."""
    line = line.rstrip().expandtabs(8)
    return line if cell_len(line) <= width else f"{set_cell_size(line, width - 1)}…"


def fit_table(lines: Sequence[str], width: int) -> list[str]:
    """An aligned table of at most `width` columns: each time the widest column loses one.

    Columns are found as a reader finds them: where the header's words begin.
    """
    if not lines or max(map(cell_len, lines)) <= width:
        return list(lines)
    starts = [match.start() for match in _HEADER_WORD.finditer(lines[0])]
    bounds = list(zip(starts, [*starts[1:], None], strict=True))
    rows = [[line[start:end].rstrip() for start, end in bounds] for line in lines]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    room = max(width - _GAP * (len(widths) - 1), len(widths))
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return columns(
        [[fit(cell, most) for cell, most in zip(row, widths, strict=True)] for row in rows]
    )


def wrap(text: str, width: int) -> list[str]:
    """Break text at spaces into lines of at most `width` columns, where words are that short."""
    return [line for paragraph in text.splitlines() for line in _joined(paragraph.split(), width)]


def _joined(words: Sequence[str], width: int) -> list[str]:
    """Words as lines of at most `width` columns, at least one line."""
    lines = [""]
    for word in words:
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as aligned lines."""
    widths = [max(cell_len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        (" " * _GAP)
        .join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in rows
    ]


def bar(percent: int, width: int = 20) -> str:
    """A progress bar of `width` columns."""
    full = round(width * max(0, min(100, percent)) / 100)
    return "█" * full + "░" * (width - full)
