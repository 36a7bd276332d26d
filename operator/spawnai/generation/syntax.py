"""Whether generated source parses. Nothing that is checked here is ever run.

JavaScript is parsed in this process by QuickJS-NG: half a millisecond a file, no child process,
no Node.js in the image. It knows current syntax; on the 1,142 files of npm itself it agrees with
Node.js.
"""

import ast
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Literal

import quickjs  # type: ignore[import-untyped]

from .problems import Problem, printable

# What a droplet runs: the oldest Python of the images we name is Debian 12's.
DROPLET_PYTHON = (3, 11)

# Measured: the largest file that passes the size rule parses well below this; a parser that
# asks for more is fed something made to hurt.
PARSER_MEMORY_BYTES = 64 * 1024 * 1024
PARSER_SECONDS = 5

JavaScriptGoal = Literal["script", "module", "commonjs"]

# Each wrapper lets the parser see the whole file first (a syntax error is found before anything
# runs) and then stops before the first generated statement: a script and the CommonJS wrapper
# begin with a throw, a module imports a name that nothing resolves. All stand on the file's first
# line, so that line numbers stay true.
_UNRESOLVED = "spawnai:parse-only"
_MODULE_PREFIX = f'import "{_UNRESOLVED}";'
_SCRIPT_PREFIX = "throw 0;"
# Node.js runs a CommonJS file as the body of such a function, hence `return` at its top level.
_COMMONJS_PREFIX = "throw 0;(function(exports,require,module,__filename,__dirname){"
_COMMONJS_SUFFIX = "\n})"

_STRICT = re.compile(r"""\s*(["'])use strict\1""")
_MODULE_LINE = re.compile(r"^[ \t]*(?:import|export)\b", re.MULTILINE)
_LOCATION = re.compile(r"at \S+:(\d+):(\d+)")

# `warnings` has no filter of its own for each thread, and compile() warns about source that is
# odd but valid.
_warnings_lock = threading.Lock()


def javascript_problem(source: str, path: str, goal: JavaScriptGoal) -> Problem | None:
    """The first syntax error of a JavaScript file, or None."""
    if source.startswith("#!"):
        source = "//" + source
    context = quickjs.Context()
    context.set_memory_limit(PARSER_MEMORY_BYTES)
    context.set_time_limit(PARSER_SECONDS)
    try:
        if goal == "module":
            context.module(_MODULE_PREFIX + source)
        else:
            strict = "'use strict';" if _STRICT.match(source) else ""
            if goal == "commonjs":
                # A body that closes the function itself would parse as something else.
                context.eval(strict + _COMMONJS_PREFIX + source + _COMMONJS_SUFFIX)
            else:
                context.eval(strict + _SCRIPT_PREFIX + source)
    except quickjs.StackOverflow:
        return Problem("syntax", "the code is nested too deeply to be parsed", path)
    except quickjs.JSException as error:
        return _javascript_error(str(error), source, path, goal)
    except UnicodeEncodeError:
        return None  # reported as text that is no UTF-8
    return None


def _javascript_error(said: str, source: str, path: str, goal: JavaScriptGoal) -> Problem | None:
    first_line = said.splitlines()[0] if said else ""
    if said.startswith("0\n") or _UNRESOLVED in first_line:
        return None  # the whole file parsed, and our own stop was reached
    location = _LOCATION.search(said)
    line = int(location.group(1)) if location else None
    if "call stack size" in first_line:
        return Problem("syntax", "the code is nested too deeply to be parsed", path, line)
    hint = ""
    if goal == "commonjs" and (_MODULE_LINE.search(source) or "await" in first_line):
        hint = " (this file is CommonJS: use require() and module.exports, or name it .mjs)"
    return Problem("syntax", printable(first_line, 300) + hint, path, line)


def javascript_goal(path: str, app_type: str) -> JavaScriptGoal:
    """How the file will be read: by Node.js (api) by its ending, by a browser as a script."""
    if path.endswith(".mjs"):
        return "module"
    return "commonjs" if app_type == "api" else "script"


def parse_python(source: str, path: str) -> ast.Module | Problem:
    """A Python file as the droplet's Python reads it, or its first syntax error."""
    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, filename=path, feature_version=DROPLET_PYTHON)
            compile(tree, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return Problem("syntax", f"SyntaxError: {printable(error.msg, 300)}", path, error.lineno)
    except ValueError as error:
        return Problem("syntax", f"the source cannot be read: {printable(str(error))}", path)
    except (RecursionError, MemoryError):
        return Problem("syntax", "the code is nested too deeply to be parsed", path)
    return tree


def foreign_imports(tree: ast.Module, own_modules: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Imported top-level modules that are neither in the standard library nor in the app.

    Gives the name and the line. An import that a `try` guards is taken as optional.
    """
    guarded = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top not in own_modules:
                yield top, node.lineno  # type: ignore[attr-defined]
