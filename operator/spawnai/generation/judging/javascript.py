"""JavaScript: what one file imports, exports, declares and calls, as its parser sees it.

A text inside a string, a template or a comment is no code here. Whether the file would load is
`syntax.py`'s to say: this parser goes on after an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser, Query, QueryCursor

LANGUAGE = Language(tree_sitter_javascript.language())

LONGEST_NAME = 200
"""Bytes of what stands before a dot in a call, beyond which it is no name."""

How = Literal["import", "require", "dynamic"]

_QUERY = Query(
    LANGUAGE,
    """
    (import_statement) @import
    (export_statement) @export
    (call_expression function: (import) arguments: (arguments) @args) @dynamic
    (call_expression function: (identifier) @name arguments: (arguments) @args) @call
    (call_expression function: (member_expression property: (property_identifier) @method)
      arguments: (arguments) @args) @method_call
    (new_expression constructor: (_) @constructor arguments: (arguments) @args) @new
    (assignment_expression left: (member_expression) @target right: (_) @value)
    (member_expression object: (identifier) @object property: (property_identifier) @property)
      @member
    (member_expression object: (meta_property) property: (property_identifier) @meta_property)
    (jsx_opening_element) @jsx
    (jsx_self_closing_element) @jsx
    (meta_property) @meta
    (unary_expression operator: "typeof" argument: (identifier) @typeof)
    (if_statement) @if
    """,
)
_TEXTS = Query(LANGUAGE, "[(string_fragment) @text (string) @string (template_string) @template]")
_IDENTIFIERS = Query(LANGUAGE, "(identifier) @name")
_TAKEN_OUT = Query(
    LANGUAGE,
    "(pair_pattern key: (property_identifier) @key) (shorthand_property_identifier_pattern) @key",
)
_DECLARED = Query(
    LANGUAGE,
    """
    (variable_declarator name: (identifier) @name value: (_)? @value)
    (variable_declarator name: (object_pattern) @pattern)
    (variable_declarator name: (array_pattern) @pattern)
    (function_declaration name: (identifier) @name)
    (generator_function_declaration name: (identifier) @name)
    (class_declaration name: (identifier) @name)
    (import_clause (identifier) @name)
    (import_specifier !alias name: (identifier) @name)
    (import_specifier alias: (identifier) @name)
    (namespace_import (identifier) @name)
    (formal_parameters (identifier) @name)
    (arrow_function parameter: (identifier) @name)
    (assignment_expression left: (identifier) @name right: (_) @value)
    """,
)


@dataclass(frozen=True, slots=True)
class Import:
    """One module that a file asks for.

    `names` are the exports that must be there; `is_optional` says that a `try` catches its absence.
    """

    specifier: str
    line: int
    how: How
    names: tuple[str, ...] = ()
    is_optional: bool = False
    has_attributes: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call or a construction. `object` is the text before the last dot, "" when there is none."""

    object: str
    name: str
    arguments: tuple[Node, ...]
    line: int
    node: Node
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """The names that a script or module declares at its top level."""

    lexical: dict[str, int] = field(default_factory=dict)
    """const, let and class, with their lines."""
    variables: dict[str, int] = field(default_factory=dict)
    """var and function, with their lines."""

    @property
    def all(self) -> set[str]:
        """All of them."""
        return {*self.lexical, *self.variables}


class JavaScript:
    """One parsed file, or the text of one script element."""

    def __init__(self, source: str) -> None:
        self.source = source
        # A byte of its own for half a surrogate pair, which validation has refused already.
        self._tree = Parser(LANGUAGE).parse(source.encode("utf-8", errors="replace"))
        self.root = self._tree.root_node
        self.imports: list[Import] = []
        self.calls: list[Call] = []
        self.exports: set[str] = set()
        self.stars: list[str] = []
        self.module_line: int | None = None
        """The first line with an import or export statement, or `import.meta`."""
        self.jsx_line: int | None = None
        self.loads_by_computed_name = False
        self.typeof: set[str] = set()
        self.assigned: list[tuple[str, str, Node]] = []
        """Object, property and value of each assignment to a member."""
        self.members: dict[tuple[str, str], int] = {}
        """Object and property of each plain member expression, with its first line."""
        self.ifs: list[Node] = []
        self._walk()

    def _walk(self) -> None:
        for _, found in QueryCursor(_QUERY).matches(self.root):
            if "import" in found:
                self._take_import(found["import"][0])
            elif "export" in found:
                self._take_export(found["export"][0])
            elif "dynamic" in found:
                self._take_asked("dynamic", found["dynamic"][0], found["args"][0], ())
            elif "call" in found:
                self._take_call(found["call"][0], text(found["name"][0]), found["args"][0])
            elif "method_call" in found:
                node = found["method_call"][0]
                function = node.child_by_field_name("function")
                owner = function.child_by_field_name("object") if function else None
                name = text(found["method"][0])
                self.calls.append(
                    Call(_short(owner), name, arguments(found["args"][0]), line_of(node), node)
                )
            elif "new" in found:
                self._take_new(found["new"][0], found["constructor"][0], found["args"][0])
            elif "target" in found:
                self._take_assignment(found["target"][0], found["value"][0])
            elif "member" in found:
                key = text(found["object"][0]), text(found["property"][0])
                self.members.setdefault(key, line_of(found["member"][0]))
            elif "meta_property" in found:
                prop = found["meta_property"][0]
                self.members.setdefault(("import.meta", text(prop)), line_of(prop))
            elif "jsx" in found:
                self.jsx_line = self.jsx_line or line_of(found["jsx"][0])
            elif "meta" in found:
                if text(found["meta"][0]).startswith("import"):
                    self._is_module_at(line_of(found["meta"][0]))
            elif "typeof" in found:
                self.typeof.add(text(found["typeof"][0]))
            elif "if" in found:
                self.ifs.append(found["if"][0])

    def _is_module_at(self, line: int) -> None:
        self.module_line = line if self.module_line is None else min(self.module_line, line)

    def _take_import(self, node: Node) -> None:
        line = line_of(node)
        self._is_module_at(line)
        source = node.child_by_field_name("source")
        specifier = literal(source)
        if specifier is None:
            return
        names: list[str] = []
        for clause in (child for child in node.named_children if child.type == "import_clause"):
            for part in clause.named_children:
                if part.type == "identifier":
                    names.append("default")
                elif part.type == "named_imports":
                    names.extend(_specifier_names(part))
        attributes = any(child.type == "import_attribute" for child in node.children)
        self.imports.append(
            Import(specifier, line, "import", tuple(names), has_attributes=attributes)
        )

    def _take_export(self, node: Node) -> None:
        line = line_of(node)
        self._is_module_at(line)
        source = literal(node.child_by_field_name("source"))
        declaration = node.child_by_field_name("declaration")
        kinds = {child.type for child in node.children}
        names: list[str] = []
        for child in node.named_children:
            if child.type == "export_clause":
                names = _specifier_names(child)
                self.exports.update(_exported_names(child))
            elif child.type == "namespace_export":
                self.exports.update(text(part) for part in child.named_children)
        if "default" in kinds:
            self.exports.add("default")
        if declaration is not None:
            self.exports.update(_declared_by(declaration))
        if source is not None:
            if "*" in kinds:
                self.stars.append(source)
            attributes = "import_attribute" in kinds
            self.imports.append(
                Import(source, line, "import", tuple(names), has_attributes=attributes)
            )

    def _take_call(self, node: Node, name: str, args: Node) -> None:
        if name == "require":
            self._take_asked("require", node, args, _destructured(node))
        self.calls.append(Call("", name, arguments(args), line_of(node), node))

    def _take_asked(self, how: How, node: Node, args: Node, names: tuple[str, ...]) -> None:
        given = arguments(args)
        specifier = literal(given[0]) if given else None
        if specifier is None:
            self.loads_by_computed_name = True
            return
        attributes = len(given) > 1
        optional = _is_tried(node)
        self.imports.append(Import(specifier, line_of(node), how, names, optional, attributes))

    def _take_assignment(self, target: Node, value: Node) -> None:
        name = target.child_by_field_name("property")
        if name is not None:
            owner = target.child_by_field_name("object")
            self.assigned.append((_short(owner), text(name), value))

    def _take_new(self, node: Node, constructor: Node, args: Node) -> None:
        owner, _, name = text(constructor)[:LONGEST_NAME].rpartition(".")
        self.calls.append(Call(owner, name, arguments(args), line_of(node), node, is_new=True))

    @cached_property
    def declared(self) -> Declared:
        """What the file declares at its top level."""
        found = Declared()
        for statement in self.root.named_children:
            node = statement
            if node.type == "export_statement":
                inner = node.child_by_field_name("declaration")
                if inner is None:
                    continue
                node = inner
            into = found.variables
            if node.type in {"lexical_declaration", "class_declaration"}:
                into = found.lexical
            for name in _declared_by(node):
                into.setdefault(name, line_of(node))
        return found

    @cached_property
    def declared_anywhere(self) -> dict[str, list[Node]]:
        """Every name that is declared or assigned in any scope, with the values it is given."""
        found: dict[str, list[Node]] = {}
        for _, match in QueryCursor(_DECLARED).matches(self.root):
            if "pattern" in match:
                for name in _pattern_names(match["pattern"][0]):
                    found.setdefault(name, [])
            else:
                found.setdefault(text(match["name"][0]), []).extend(match.get("value", []))
        return found

    @cached_property
    def identifiers(self) -> dict[str, int]:
        """Every identifier with its first line; properties are none."""
        found: dict[str, int] = {}
        for node in QueryCursor(_IDENTIFIERS).captures(self.root).get("name", []):
            found.setdefault(text(node), line_of(node))
        return found

    @cached_property
    def taken_out(self) -> set[str]:
        """The properties that patterns such as `const { a, b: c } = …` take out of an object."""
        nodes = QueryCursor(_TAKEN_OUT).captures(self.root).get("key", [])
        return {text(node) for node in nodes}

    @cached_property
    def texts(self) -> list[tuple[str, int]]:
        """The text of every string, and every piece of a template between its substitutions."""
        nodes = QueryCursor(_TEXTS).captures(self.root).get("text", [])
        return [(text(node), line_of(node)) for node in nodes]

    @property
    def requires(self) -> list[Import]:
        """The `require` calls."""
        return [one for one in self.imports if one.how == "require"]

    @cached_property
    def commonjs_exports(self) -> frozenset[str] | None:
        """The names that a CommonJS file exports; None when they cannot be told."""
        names: set[str] = set()
        whole = 0
        for owner, name, value in self.assigned:
            if (owner, name) == ("module", "exports"):
                whole += 1
                inner = value
                if inner.type != "object":
                    return None
                keys = _object_keys(inner)
                if keys is None:
                    return None
                names.update(keys)
            elif owner in {"exports", "module.exports"}:
                names.add(name)
        if whole > 1 or (not whole and not names):
            return None
        if any(call.object == "Object" and call.name == "assign" for call in self.calls):
            return None
        return frozenset(names)

    def values_of(self, node: Node, depth: int = 4) -> Iterator[Node]:
        """The node itself and, for a name, the values that this file gives to it."""
        yield node
        if node.type == "identifier" and depth:
            for value in self.declared_anywhere.get(text(node), []):
                yield from self.values_of(value, depth - 1)


def text(node: Node) -> str:
    """The source of a node."""
    return (node.text or b"").decode("utf-8", errors="replace")


def line_of(node: Node) -> int:
    """The line it begins on, from 1 on."""
    return node.start_point[0] + 1


def arguments(node: Node) -> tuple[Node, ...]:
    """The arguments of a call, comments left out."""
    return tuple(child for child in node.named_children if child.type != "comment")


def literal(node: Node | None) -> str | None:
    """The value of a string, or of a template without substitutions; None for anything else."""
    start = literal_start(node)
    return start[0] if start is not None and start[1] else None


def literal_start(node: Node | None) -> tuple[str, bool] | None:
    """How a text begins as far as that is written down, and whether that is all of it."""
    if node is None:
        return None
    if node.type in {"string", "template_string"}:
        parts = []
        for child in node.named_children:
            if child.type == "string_fragment":
                parts.append(text(child))
            elif child.type == "escape_sequence":
                parts.append(_unescaped(text(child)))
            else:
                return "".join(parts), False
        return "".join(parts), True
    if node.type == "binary_expression":
        left = literal_start(node.child_by_field_name("left"))
        return (left[0], False) if left is not None else None
    if node.type == "parenthesized_expression" and node.named_children:
        return literal_start(node.named_children[0])
    return None


def literals_within(node: Node) -> list[str]:
    """Every whole string below a node, in order."""
    found = QueryCursor(_TEXTS).captures(node)
    nodes = [*found.get("string", []), *found.get("template", [])]
    nodes.sort(key=lambda one: one.start_byte)
    return [value for one in nodes if (value := literal(one)) is not None]


def property_of(node: Node, name: str) -> Node | None:
    """The value of a property of an object literal; the name itself for a shorthand."""
    if node.type != "object":
        return None
    for part in node.named_children:
        if part.type == "pair":
            key = part.child_by_field_name("key")
            if key is not None and text(key).strip("'\"") == name:
                return part.child_by_field_name("value")
        elif part.type == "shorthand_property_identifier" and text(part) == name:
            return part
    return None


def _short(node: Node | None) -> str:
    """The source of what stands before a dot, when it is short enough to be a name."""
    if node is None or node.end_byte - node.start_byte > LONGEST_NAME:
        return "…"
    return text(node)


def _unescaped(sequence: str) -> str:
    return {"\\n": "\n", "\\t": "\t", "\\r": "\r"}.get(sequence, sequence[1:])


def _specifier_names(clause: Node) -> list[str]:
    """The names on the left of `as`: what the other module must export."""
    found = []
    for part in clause.named_children:
        name = part.child_by_field_name("name")
        if name is not None:
            found.append(literal(name) or text(name))
    return found


def _exported_names(clause: Node) -> Iterator[str]:
    for part in clause.named_children:
        name = part.child_by_field_name("alias") or part.child_by_field_name("name")
        if name is not None:
            yield literal(name) or text(name)


def _declared_by(node: Node) -> Iterator[str]:
    if node.type in {"lexical_declaration", "variable_declaration"}:
        for declarator in node.named_children:
            name = declarator.child_by_field_name("name")
            if name is not None:
                yield from _pattern_names(name)
    elif node.type.endswith("_declaration"):
        name = node.child_by_field_name("name")
        if name is not None:
            yield text(name)


def _pattern_names(pattern: Node) -> Iterator[str]:
    """The names that a pattern binds."""
    waiting = [pattern]
    while waiting:
        node = waiting.pop()
        if node.type in {"identifier", "shorthand_property_identifier_pattern"}:
            yield text(node)
        elif node.type == "pair_pattern":
            value = node.child_by_field_name("value")
            waiting.extend([value] if value is not None else [])
        elif node.type in {"assignment_pattern", "object_assignment_pattern"}:
            left = node.child_by_field_name("left")
            waiting.extend([left] if left is not None else [])
        elif node.type in {"object_pattern", "array_pattern", "rest_pattern"}:
            waiting.extend(node.named_children)


def _destructured(call: Node) -> tuple[str, ...]:
    """The properties that `const { a, b: c } = require(…)` takes out."""
    parent = call.parent
    if parent is None or parent.type != "variable_declarator":
        return ()
    pattern = parent.child_by_field_name("name")
    if pattern is None or pattern.type != "object_pattern":
        return ()
    names = []
    for part in pattern.named_children:
        if part.type == "shorthand_property_identifier_pattern":
            names.append(text(part))
        elif part.type == "pair_pattern":
            key = part.child_by_field_name("key")
            if key is not None and key.type == "property_identifier":
                names.append(text(key))
    return tuple(names)


def _is_tried(node: Node) -> bool:
    """Whether the node stands in the body of a `try` that catches."""
    child, parent = node, node.parent
    while parent is not None:
        if parent.type == "try_statement":
            body = parent.child_by_field_name("body")
            if body == child and parent.child_by_field_name("handler") is not None:
                return True
        child, parent = parent, parent.parent
    return False


def _object_keys(node: Node) -> list[str] | None:
    keys = []
    for part in node.named_children:
        if part.type == "shorthand_property_identifier":
            keys.append(text(part))
        elif part.type == "pair":
            key = part.child_by_field_name("key")
            if key is None or key.type == "computed_property_name":
                return None
            keys.append(text(key).strip("'\""))
        elif part.type == "method_definition":
            name = part.child_by_field_name("name")
            keys.append(text(name) if name is not None else "")
        elif part.type != "comment":
            return None
    return keys
