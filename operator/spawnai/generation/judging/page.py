"""Page: what an HTML file loads, and the code that stands in it, as an HTML parser sees it."""

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_html
from tree_sitter import Language, Node, Parser, Query, QueryCursor

LANGUAGE = Language(tree_sitter_html.language())

_TAGS = Query(LANGUAGE, "[(start_tag) (self_closing_tag)] @tag (script_element) @script")
_STYLES = Query(LANGUAGE, "(style_element (raw_text) @css)")
_TEXTS = Query(LANGUAGE, "(text) @text")

CLASSIC_TYPES = frozenset({"", "text/javascript", "application/javascript"})
_PRE = frozenset({"pre", "code", "textarea", "samp"})


@dataclass(frozen=True, slots=True)
class Script:
    """A script element: `url` for one that loads a file, else `source` from `line` on."""

    url: str | None
    source: str
    line: int
    is_module: bool


@dataclass(frozen=True, slots=True)
class Handler:
    """An inline event handler, such as onclick."""

    attribute: str
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Link:
    """A style sheet that the page loads, or the text of a style element (`url` is None)."""

    url: str | None
    source: str
    line: int


class Page:
    """One parsed HTML file."""

    def __init__(self, source: str) -> None:
        self.scripts: list[Script] = []
        self.styles: list[Link] = []
        self.handlers: list[Handler] = []
        self.odd_scripts: list[tuple[str, int]] = []
        """Types of script elements that no browser runs but some tool compiles, with their line."""
        self.imports: dict[str, str] = {}
        """The page's import map."""
        self.has_elements = False
        self.has_base = False
        tree = Parser(LANGUAGE).parse(source.encode("utf-8", errors="replace"))
        self._root = tree.root_node
        found = QueryCursor(_TAGS).captures(self._root)
        for tag in found.get("tag", []):
            self._take_tag(tag)
        for script in found.get("script", []):
            self._take_script(script)
        self.scripts.sort(key=lambda one: one.line)
        for css in QueryCursor(_STYLES).captures(self._root).get("css", []):
            self.styles.append(Link(None, _text(css), _line(css)))

    def _take_tag(self, tag: Node) -> None:
        self.has_elements = True
        name, attributes = _name(tag), _attributes(tag)
        line = _line(tag)
        if name == "link" and "stylesheet" in attributes.get("rel", "").lower().split():
            if attributes.get("href"):
                self.styles.append(Link(attributes["href"], "", line))
        elif name == "base" and attributes.get("href"):
            self.has_base = True
        for key, value in attributes.items():
            if key.startswith("on") and len(key) > len("on") and value.strip():
                self.handlers.append(Handler(key, value, line))

    def _take_script(self, element: Node) -> None:
        tag = element.named_children[0]
        attributes = _attributes(tag)
        raw = next((child for child in element.named_children if child.type == "raw_text"), None)
        kind = attributes.get("type", "").strip().lower()
        source = _text(raw) if raw is not None else ""
        line = _line(raw) if raw is not None else _line(tag)
        if kind == "importmap":
            self._take_import_map(source)
        elif kind == "module" or kind in CLASSIC_TYPES:
            url = attributes.get("src")
            at = _line(tag) if url else line
            self.scripts.append(Script(url, "" if url else source, at, kind == "module"))
        elif kind in {"text/babel", "text/jsx", "text/typescript", "text/tsx"} or "jsx" in kind:
            self.odd_scripts.append((kind, _line(tag)))

    def _take_import_map(self, source: str) -> None:
        try:
            document = json.loads(source)
        except (ValueError, RecursionError):
            return
        imports = document.get("imports") if isinstance(document, dict) else None
        if isinstance(imports, dict):
            self.imports.update({str(key): str(value) for key, value in imports.items()})

    @property
    def has_modules(self) -> bool:
        """Whether any script of the page is a module."""
        return any(script.is_module for script in self.scripts)

    def fences(self) -> Iterator[int]:
        """Lines of visible text that begin with a Markdown fence."""
        for node in QueryCursor(_TEXTS).captures(self._root).get("text", []):
            if b"```" not in (node.text or b"") or _stands_in(node, _PRE):
                continue
            for number, line in enumerate(_text(node).splitlines()):
                if line.lstrip().startswith("```"):
                    yield _line(node) + number


def _stands_in(node: Node, names: frozenset[str]) -> bool:
    parent = node.parent
    while parent is not None:
        is_element = parent.type == "element" and parent.named_children
        if is_element and _name(parent.named_children[0]) in names:
            return True
        parent = parent.parent
    return False


def _name(tag: Node) -> str:
    name = next((child for child in tag.named_children if child.type == "tag_name"), None)
    return _text(name).lower() if name is not None else ""


def _attributes(tag: Node) -> dict[str, str]:
    """Names in lower case; of two with one name the first counts, as in HTML."""
    found: dict[str, str] = {}
    for child in tag.named_children:
        if child.type != "attribute":
            continue
        name, value = "", ""
        for part in child.named_children:
            if part.type == "attribute_name":
                name = _text(part).lower()
            elif part.type == "attribute_value":
                value = _text(part)
            elif part.type == "quoted_attribute_value":
                value = "".join(_text(inner) for inner in part.named_children)
        found.setdefault(name, html.unescape(value))
    return found


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", errors="replace")


def _line(node: Node) -> int:
    return node.start_point[0] + 1
