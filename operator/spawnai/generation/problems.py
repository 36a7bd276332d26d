"""Problem: one reason why a bundle cannot be deployed, in words that Claude can repair it by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`rule` is a stable word for machines; `path` the file it is about, None for the whole app."""

    rule: str
    message: str
    path: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.path is None:
            return self.message
        place = printable(self.path) if self.line is None else f"{printable(self.path)}:{self.line}"
        return f"{place}: {self.message}"


def printable(text: str, limit: int = 120) -> str:
    """Generated text made fit for a message: control characters escaped, cut to `limit`."""
    shown = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
