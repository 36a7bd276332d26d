"""Stylesheet: what a CSS file imports, and whether it is CSS at all.

The grammar lags behind the language (it calls ranges in media queries errors), and a browser skips
what it does not know. So only what would lose the rest of the sheet counts as broken.
"""

from dataclasses import dataclass

import tree_sitter_css
from tree_sitter import Language, Parser, Query, QueryCursor

LANGUAGE = Language(tree_sitter_css.language())

_QUERY = Query(LANGUAGE, "(import_statement) @import (at_rule (at_keyword) @keyword)")
_IMPORT_TEXT = Query(LANGUAGE, "[(string_content) (plain_value)] @text")

BUILD_KEYWORDS = frozenset(
    {"@tailwind", "@apply", "@mixin", "@include", "@extend", "@use", "@function", "@each", "@if"}
)


@dataclass(frozen=True, slots=True)
class Stylesheet:
    """One parsed style sheet."""

    imports: tuple[tuple[str, int], ...]
    build_keywords: tuple[tuple[str, int], ...]
    """At-rules that a tool must turn into CSS first, with their lines."""
    unbalanced_line: int | None
    """Where a block opens that never closes, or a brace closes that was never opened."""


def read_stylesheet(source: str) -> Stylesheet:
    """Parse one style sheet."""
    tree = Parser(LANGUAGE).parse(source.encode("utf-8", errors="replace"))
    found = QueryCursor(_QUERY).captures(tree.root_node)
    imports = []
    for node in found.get("import", []):
        texts = QueryCursor(_IMPORT_TEXT).captures(node).get("text", [])
        if texts:
            texts.sort(key=lambda one: one.start_byte)
            url = (texts[0].text or b"").decode("utf-8", errors="replace").strip("'\"")
            imports.append((url, node.start_point[0] + 1))
    keywords = []
    for node in found.get("keyword", []):
        keyword = (node.text or b"").decode("utf-8", errors="replace")
        if keyword in BUILD_KEYWORDS:
            keywords.append((keyword, node.start_point[0] + 1))
    return Stylesheet(tuple(imports), tuple(keywords), _unbalanced(source))


def _unbalanced(source: str) -> int | None:
    """One pass over the text; what stands in comments and strings is skipped."""
    opened: list[int] = []
    position, length = 0, len(source)
    while position < length:
        character = source[position]
        if character == "/" and source.startswith("/*", position):
            end = source.find("*/", position + 2)
            if end < 0:
                return None
            position = end + 1
        elif character in "\"'":
            position = _string_end(source, position)
        elif character == "\\":
            position += 1
        elif character == "{":
            opened.append(position)
        elif character == "}":
            if not opened:
                return source.count("\n", 0, position) + 1
            opened.pop()
        position += 1
    return source.count("\n", 0, opened[-1]) + 1 if opened else None


def _string_end(source: str, position: int) -> int:
    quote = source[position]
    position += 1
    while position < len(source) and source[position] not in (quote, "\n"):
        position += 2 if source[position] == "\\" else 1
    return position
