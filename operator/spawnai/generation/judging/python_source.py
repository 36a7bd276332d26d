"""Python source: what one file of a script imports, calls and never comes out of."""

import ast
import warnings
from dataclasses import dataclass

from spawnai.app_runtime import PYTHON_VERSION
from spawnai.generation.problems import Problem, printable


def parse_python(source: str, path: str) -> ast.Module | Problem:
    """A Python file as the droplet's Python reads it, or its first syntax error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, filename=path, feature_version=PYTHON_VERSION)
            compile(tree, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return Problem("syntax", f"SyntaxError: {printable(error.msg, 300)}", path, error.lineno)
    except ValueError as error:
        return Problem("syntax", f"the source cannot be read: {printable(str(error))}", path)
    except (RecursionError, MemoryError):
        return Problem("syntax", "the code is nested too deeply to be parsed", path)
    return tree


@dataclass(frozen=True, slots=True)
class PythonImport:
    """One imported module: `names` for `from module import names`, `level` the leading dots."""

    module: str
    names: tuple[str, ...]
    level: int
    line: int
    is_optional: bool


_ENDS = frozenset({"exit", "quit", "_exit"})
_INPUT_ERRORS = frozenset({"EOFError", "Exception", "BaseException"})
_ENDLESS = {"serve_forever": "serve_forever()", "mainloop": "mainloop()"}


class PythonSource:
    """What was found in one parsed file."""

    def __init__(self, tree: ast.Module) -> None:
        self.imports: list[PythonImport] = []
        self.input_lines: list[int] = []
        self.endless: list[tuple[str, int]] = []
        self.wanted_arguments: list[tuple[str, int]] = []
        self._parses_given_arguments = False
        self.changes_path = False
        """Whether it says itself where Python looks for modules."""
        self._goes_on_aside = _cancellable_loops(tree) | _in_daemon_threads(tree)
        self._walk(tree)
        if self._parses_given_arguments:
            self.wanted_arguments = []
        self.names = _top_level_names(tree)

    def _walk(self, tree: ast.Module) -> None:
        """All nodes, each with the `try` statements that stand around it. No recursion."""
        waiting: list[tuple[ast.AST, tuple[ast.Try, ...]]] = [(tree, ())]
        shadowed = "input" in (_top_level_names(tree) or ())
        while waiting:
            node, tries = waiting.pop()
            if isinstance(node, ast.Try):
                waiting.extend((child, (*tries, node)) for child in node.body)
                rest = (*node.handlers, *node.orelse, *node.finalbody)
                waiting.extend((child, tries) for child in rest)
            elif isinstance(node, ast.If) and _is_for_typing(node.test):
                waiting.extend((child, tries) for child in node.orelse)
            else:
                self._take(node, tries, shadowed)
                waiting.extend((child, tries) for child in ast.iter_child_nodes(node))
        self.imports.sort(key=lambda one: one.line)

    def _take(self, node: ast.AST, tries: tuple[ast.Try, ...], shadowed: bool) -> None:  # noqa: FBT001
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.imports.append(
                    PythonImport(alias.name, (), 0, node.lineno, _has_fallback(tries))
                )
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            self.imports.append(
                PythonImport(
                    node.module or "", names, node.level, node.lineno, _has_fallback(tries)
                )
            )
        elif isinstance(node, ast.Call):
            self._take_call(node, tries, shadowed)
        elif isinstance(node, ast.While):
            if node not in self._goes_on_aside and _never_ends(node):
                self.endless.append(("while True without a way out", node.lineno))
        elif isinstance(node, ast.Attribute) and node.attr == "path":
            owner = node.value
            self.changes_path |= isinstance(owner, ast.Name) and owner.id == "sys"

    def _take_call(self, node: ast.Call, tries: tuple[ast.Try, ...], shadowed: bool) -> None:  # noqa: FBT001
        function = node.func
        if isinstance(function, ast.Name) and function.id == "input" and not shadowed:
            if not any(_catches(one, _INPUT_ERRORS) for one in tries):
                self.input_lines.append(node.lineno)
        elif isinstance(function, ast.Attribute):
            if function.attr in _ENDLESS and node not in self._goes_on_aside:
                self.endless.append((_ENDLESS[function.attr], node.lineno))
            elif function.attr == "add_argument":
                self._take_argument(node)
            elif function.attr in {"parse_args", "parse_known_args"} and node.args:
                self._parses_given_arguments = True

    def _take_argument(self, node: ast.Call) -> None:
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        first = node.args[0] if node.args else None
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            return
        required = keywords.get("required")
        is_required = isinstance(required, ast.Constant) and required.value is True
        if not first.value.startswith("-"):
            nargs = keywords.get("nargs")
            is_required = not (isinstance(nargs, ast.Constant) and nargs.value in {"?", "*"})
        if is_required:
            self.wanted_arguments.append((first.value, node.lineno))


def _is_for_typing(test: ast.expr) -> bool:
    return _name_of(test) == "TYPE_CHECKING"


def _top_level_names(tree: ast.Module) -> set[str] | None:
    """What a module defines; None when that cannot be told."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name == "__getattr__":
                return None
            found.add(node.name)
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    found.update(inner.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*":
                    return None
                found.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                found.add(node.id)
        elif isinstance(node, ast.ExceptHandler):
            waiting.extend(node.body)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"exec", "globals", "setattr"}:
                return None
            waiting.extend(ast.iter_child_nodes(node))
        elif not isinstance(node, ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def _catches(statement: ast.Try, names: frozenset[str]) -> bool:
    for handler in statement.handlers:
        if handler.type is None:
            return True
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(isinstance(kind, ast.Name) and kind.id in names for kind in kinds):
            return True
    return False


_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def _has_fallback(tries: tuple[ast.Try, ...]) -> bool:
    """Whether a failed import is caught by something that goes on without it."""
    catching = [one for one in tries if _catches(one, _IMPORT_ERRORS)]
    return bool(catching) and not any(_gives_up(one) for one in catching[-1].handlers)


def _gives_up(handler: ast.ExceptHandler) -> bool:
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Call) and _name_of(node.func) in _ENDS:
            return True
    return False


def _cancellable_loops(tree: ast.Module) -> set[ast.AST]:
    """The loops of coroutines that another one may cancel: those that are not what is run."""
    run: set[str] = set()
    coroutines: list[ast.AsyncFunctionDef] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            coroutines.append(node)
        elif isinstance(node, ast.Call) and _name_of(node.func) in {"run", "run_until_complete"}:
            started = (one.func for one in node.args if isinstance(one, ast.Call))
            run.update(one.id for one in started if isinstance(one, ast.Name))
    return {
        inner
        for coroutine in coroutines
        if coroutine.name not in run
        for inner in ast.walk(coroutine)
        if isinstance(inner, ast.While)
    }


def _in_daemon_threads(tree: ast.Module) -> set[ast.AST]:
    """What runs in daemon threads only, which end with the program: functions that are the target
    of one, and that nobody calls.
    """
    functions: dict[str, ast.AST] = {}
    targets: list[ast.expr] = []
    called: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = node
        elif isinstance(node, ast.Call):
            called.add(_name_of(node.func))
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            daemon, target = keywords.get("daemon"), keywords.get("target")
            if target is not None and isinstance(daemon, ast.Constant) and daemon.value is True:
                targets.append(target)
    bodies = [
        target if isinstance(target, ast.Lambda) else functions.get(_name_of(target))
        for target in targets
        if _name_of(target) not in called
    ]
    return {inner for body in bodies if body is not None for inner in ast.walk(body)}


def _name_of(function: ast.expr) -> str:
    """The last name of what is called; empty where it has none."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _never_ends(loop: ast.While) -> bool:
    """Whether a loop is endless by its own text: it waits, and nothing in it leaves."""
    if not (isinstance(loop.test, ast.Constant) and loop.test.value):
        return False
    waits = False
    waiting: list[tuple[ast.AST, bool]] = [(child, True) for child in loop.body]
    while waiting:
        node, own_level = waiting.pop()
        if isinstance(node, ast.Break) and own_level:
            return False
        if isinstance(node, ast.Return | ast.Raise | ast.Yield | ast.YieldFrom | ast.Assert):
            return False
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Call):
            name = _name_of(node.func)
            if name in _ENDS or name in {"next", "kill", "throw"}:
                return False
            waits = waits or name == "sleep"
        inner = own_level and not isinstance(node, ast.While | ast.For | ast.AsyncFor)
        waiting.extend((child, inner) for child in ast.iter_child_nodes(node))
    return waits
