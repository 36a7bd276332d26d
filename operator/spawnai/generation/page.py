"""Page: what an HTML file loads, and the scripts that stand in it.

A scan for a few elements in one pass, not a parser: the parsers that were measured (html.parser,
lexbor) need 7 to 30 seconds for a page of 256 KiB that was written to hurt, and hold the
interpreter all the while.
"""

import html
import re
from dataclasses import dataclass

from .syntax import JavaScriptGoal

# Elements that refer to files, and those whose text is not markup.
_START = re.compile(r"<(?:!--|(script|link|style|textarea|title)(?=[\s/>]))", re.IGNORECASE)
# Possessive: a tag that never ends is found out in one pass.
_REST_OF_TAG = re.compile(r"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_ATTRIBUTE = re.compile(r"""([^\s"'>/=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"']++)))?+""")
_ELEMENT = re.compile(r"<[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Reference:
    """A script or style sheet that a page loads."""

    url: str
    line: int
    is_module: bool


@dataclass(frozen=True, slots=True)
class InlineScript:
    """JavaScript that stands in a page, from `line` on."""

    source: str
    line: int
    goal: JavaScriptGoal


class Page:
    """What was found in one HTML file."""

    def __init__(self, source: str) -> None:
        self.references: list[Reference] = []
        self.inline_scripts: list[InlineScript] = []
        self.has_elements = _ELEMENT.search(source) is not None
        self._scan(source)

    @property
    def has_modules(self) -> bool:
        """Whether any script of the page is a module."""
        return any(reference.is_module for reference in self.references) or any(
            script.goal == "module" for script in self.inline_scripts
        )

    def _scan(self, source: str) -> None:
        position, counted_to, line = 0, 0, 1
        while (start := _START.search(source, position)) is not None:
            line += source.count("\n", counted_to, start.start())
            counted_to = start.start()
            if start.group(1) is None:
                end = source.find("-->", start.end())
                if end < 0:
                    return
                position = end + 3
                continue
            rest = _REST_OF_TAG.match(source, start.end())
            if rest is None:
                return
            position = rest.end()
            element = start.group(1).lower()
            attributes = _attributes(rest.group())
            if element == "link":
                if "stylesheet" in attributes.get("rel", "").lower() and attributes.get("href"):
                    self.references.append(Reference(attributes["href"], line, is_module=False))
                continue
            close = re.compile(rf"</{element}(?=[\s/>])", re.IGNORECASE).search(source, position)
            text_end = len(source) if close is None else close.start()
            if element == "script":
                text_line = line + source.count("\n", counted_to, position)
                self._take_script(attributes, source[position:text_end], line, text_line)
            position = text_end

    def _take_script(
        self, attributes: dict[str, str], text: str, tag_line: int, text_line: int
    ) -> None:
        kind = attributes.get("type", "").strip().lower()
        if attributes.get("src"):
            self.references.append(Reference(attributes["src"], tag_line, kind == "module"))
        elif kind == "module":
            self.inline_scripts.append(InlineScript(text, text_line, "module"))
        elif kind in {"", "text/javascript", "application/javascript"}:
            self.inline_scripts.append(InlineScript(text, text_line, "script"))


def _attributes(tag: str) -> dict[str, str]:
    """Names in lower case; of two with one name the first counts, as in HTML."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(tag):
        value = match.group(2) or match.group(3) or match.group(4) or ""
        found.setdefault(match.group(1).lower(), html.unescape(value))
    return found
