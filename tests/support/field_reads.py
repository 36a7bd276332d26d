"""Which fields of our objects Python code reads: found in its source, without running it.

Objects come as JSON, so neither types nor a linter notice that a field was renamed.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]
"""A kind and the way to a field: ("SpawnSession", "status", "revisions", "[]", "revision")."""

KINDS = {
    "SESSIONS": "SpawnSession",
    "CLASSES": "SpawnClass",
    "BUDGETS": "SpawnBudget",
    "RECORDS": "SpawnRecord",
}
CONDITION: Path = ("SpawnSession", "status", "conditions", "[]")
SAME = frozenset({"dict", "list", "sorted", "reversed", "next", "iter"})
"""Calls whose answer has the fields of their first argument."""


@dataclass
class Reads:
    """What was found: fields, and the types of conditions."""

    fields: set[Path] = field(default_factory=set)
    conditions: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Roots:
    """Where objects come from in a module.

    `attributes`: by the name of an attribute of whatever object. `parameter`: what a parameter
    annotated `Object` is, where its name tells nothing else.
    """

    attributes: Mapping[str, Path]
    names: Mapping[str, Path]
    parameter: Path


def reads_of(source: str, roots: Roots) -> Reads:
    """The fields that a module reads."""
    found = Reads()
    _Reader(roots, found).visit(ast.parse(source))
    return found


class _Reader(ast.NodeVisitor):
    def __init__(self, roots: Roots, found: Reads) -> None:
        self._roots = roots
        self._found = found
        self._paths: dict[str, Path] = {}
        self._texts: dict[str, list[str]] = {}

    # Names, as they are bound.

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self._paths, self._texts
        self._paths, self._texts = {}, {}
        parameters = [*node.args.args, *node.args.kwonlyargs]
        for one in [*parameters, *filter(None, [node.args.vararg])]:
            known = self._roots.names.get(one.arg)
            if known is not None:
                self._paths[one.arg] = known
            elif isinstance(one.annotation, ast.Name) and one.annotation.id == "Object":
                self._paths[one.arg] = self._roots.parameter
        self.generic_visit(node)
        self._paths, self._texts = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._bind(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, node.value)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._bind_each(node.target, node.iter)
        self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            self._comprehension(node)
        else:
            super().visit(node)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> None:
        outer = dict(self._paths), dict(self._texts)
        for one in node.generators:
            self._bind_each(one.target, one.iter)
        self.generic_visit(node)
        self._paths, self._texts = outer

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, its in zip(target.elts, value.elts, strict=True):
                self._bind(one, its)
            return
        if isinstance(target, ast.Name):
            self._name(target.id, self._path(value))

    def _bind_each(self, target: ast.expr, iterable: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            return
        path = self._path(iterable)
        self._name(target.id, None if path is None else (*path, "[]"))
        if isinstance(iterable, ast.Tuple | ast.List | ast.Set):
            self._texts[target.id] = [
                one.value
                for one in iterable.elts
                if isinstance(one, ast.Constant) and isinstance(one.value, str)
            ]

    def _name(self, name: str, path: Path | None) -> None:
        self._texts.pop(name, None)
        if path is None:
            self._paths.pop(name, None)
        else:
            self._paths[name] = path

    # Reads.

    def visit_Call(self, node: ast.Call) -> None:
        self._path(node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._path(node)
        self.generic_visit(node)

    def _path(self, node: ast.expr) -> Path | None:
        if isinstance(node, ast.Name):
            return self._paths.get(node.id)
        if isinstance(node, ast.Attribute):
            return self._roots.attributes.get(node.attr)
        if isinstance(node, ast.BoolOp):
            return next(filter(None, map(self._path, node.values)), None)
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            self._comprehension(node)
            return None
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        return self._call(node) if isinstance(node, ast.Call) else None

    def _subscript(self, node: ast.Subscript) -> Path | None:
        base = self._path(node.value)
        if base is None:
            return None
        keys = list(self._keys(node.slice))
        if not keys:
            return base if isinstance(node.slice, ast.Slice) else (*base, "[]")
        return self._read(base, keys)

    def _call(self, node: ast.Call) -> Path | None:
        called, first = node.func, next(iter(node.args), None)
        if isinstance(called, ast.Name):
            inner = self._path(first) if first is not None and called.id in SAME else None
            if called.id == "next" and inner is not None:
                return (*inner, "[]")
            return inner
        if not isinstance(called, ast.Attribute) or first is None:
            return None
        keys = list(self._keys(first))
        if called.attr in {"condition", "is_true"}:
            self._found.conditions.update(keys)
            return CONDITION
        if called.attr in {"get", "find", "items", "patch"} and isinstance(first, ast.Name):
            kind = KINDS.get(first.id)
            if kind is not None:
                return (f"{kind}List",) if called.attr == "items" else (kind,)
        base = self._path(called.value) if called.attr == "get" else None
        return self._read(base, keys) if base is not None and keys else None

    def _read(self, base: Path, keys: Iterable[str]) -> Path:
        base = tuple(part.removesuffix("List") for part in base)
        if len(base) > 1 and base[1] == "[]":
            base = (base[0], *base[2:])
        paths = [(*base, key) for key in keys]
        self._found.fields.update(paths)
        return paths[0]

    def _keys(self, node: ast.expr) -> Iterator[str]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name):
            yield from self._texts.get(node.id, [])


def lacks(schema: Mapping[str, Any], keys: Iterable[str]) -> bool:
    """Whether a structural schema has no such field."""
    for key in keys:
        if key == "[]":
            schema = schema.get("items") or {}
        elif "properties" in schema:
            if key not in schema["properties"]:
                return True
            schema = schema["properties"][key]
        elif "additionalProperties" in schema:
            schema = schema["additionalProperties"]
        else:
            # A scalar has no fields; metadata is the API server's own.
            return schema.get("type") != "object"
    return False
