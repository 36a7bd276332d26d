"""An inspection: what is asked of the inspector, and what it answers. Both travel as JSON.

POST /v1/inspections
{"url": "https://board.example.com/", "address": "203.0.113.7", "clicks": "All", "trial": null}

200 {"findings": ["main.js:3: Uncaught ReferenceError: React is not defined"],
     "screenshot": "<base64 of a PNG>", "seconds": 1.2}
400 {"error": "…"}   the request is none
502 {"error": "…"}   nothing answers at that address
503 {"error": "…"}   all browsers are taken, or none can be started
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

PATH = "/v1/inspections"
LIMIT_SECONDS = 10.0
"""How long a page may take, its clicks and its picture included."""
QUEUE_SECONDS = 20.0
"""How long an inspection waits for a browser."""
MOST_FINDINGS = 10
LONGEST_FINDING = 300
LARGEST_SCREENSHOT = 200 * 1024
_WORD = re.compile(r"[A-Za-z0-9_-]{32}")
_PNG = b"\x89PNG\r\n\x1a\n"


class Clicks(StrEnum):
    """What is clicked once the page is there."""

    ALL = "All"
    """The first buttons and links."""
    LINKS = "Links"
    """Links alone: a button may write into the app's database, which is the user's."""


@dataclass(frozen=True, slots=True)
class Target:
    """The page to open. `address`: where its host is, whatever DNS says; None: ask DNS.

    `trial`: the word for which the droplet shows a version that nobody else has yet.
    """

    url: str
    address: str | None = None
    clicks: Clicks = Clicks.ALL
    trial: str | None = field(default=None, repr=False)

    def document(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "url": self.url,
            "address": self.address,
            "clicks": self.clicks.value,
            "trial": self.trial,
        }

    @classmethod
    def read(cls, document: Any) -> "Target":
        """Read what `document` wrote.

        Raises:
            ValueError: it is something else; the text says what was expected.
        """
        if not isinstance(document, Mapping):
            raise ValueError("expected a JSON object with a url")  # noqa: TRY004 - of untrusted text
        url, address = document.get("url"), document.get("address")
        parts = urlsplit(url if isinstance(url, str) else "")
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"expected url to be like https://name/, not {url!r}")
        if address is not None and not isinstance(address, str):
            raise ValueError(f"expected address to be an IP address, not {address!r}")
        trial = document.get("trial")
        if trial is not None and not (isinstance(trial, str) and _WORD.fullmatch(trial)):
            raise ValueError("expected trial to be a word of 32 letters, digits, - and _")
        return cls(parts.geturl(), address, Clicks(document.get("clicks") or Clicks.ALL), trial)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a page showed. Without findings it works, as far as a browser can tell.

    `screenshot` is a PNG of at most `LARGEST_SCREENSHOT` bytes; empty: there is none.
    """

    findings: tuple[str, ...]
    screenshot: bytes = b""
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """As it is answered."""
        return {
            "findings": list(self.findings),
            "screenshot": base64.b64encode(self.screenshot).decode(),
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def read(cls, document: Any) -> "Inspection":
        """Read an answer. A page that took the browser over may have written it: it is bounded.

        Raises:
            ValueError: it is no answer.
        """
        try:
            findings = [_one_line(str(one)) for one in document["findings"]][:MOST_FINDINGS]
            picture = base64.b64decode(document["screenshot"], validate=True)
            seconds = float(document["seconds"])
        except (KeyError, TypeError, binascii.Error) as error:
            raise ValueError(f"not an inspection: {error!r}") from error
        good = picture.startswith(_PNG) and len(picture) <= LARGEST_SCREENSHOT
        return cls(tuple(findings), picture if good else b"", seconds)


def _one_line(text: str) -> str:
    """A finding as one printable line of bounded length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST_FINDING else f"{line[: LONGEST_FINDING - 1]}…"


class Findings:
    """The findings of one page, each once, in the order in which they came."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def add(self, text: str) -> None:
        """Enter a finding, if there is room for it."""
        line = _one_line(text)
        if line and len(self._found) < MOST_FINDINGS:
            self._found.setdefault(line)

    def all(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._found)
