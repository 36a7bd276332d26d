"""Whether generated JavaScript would load. Nothing that is checked here is ever run.

QuickJS-NG parses it: half a millisecond a file, no child process, no Node.js in the image. It
knows current syntax; on the 1,142 files of npm itself it agrees with Node.js.
"""

import re
from typing import Literal

import quickjs  # type: ignore[import-untyped]

from spawnai.generation.problems import Problem, printable

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
_LOCATION = re.compile(r"at \S+:(\d+):(\d+)")


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
        return _javascript_error(str(error), path)
    return None


def _javascript_error(said: str, path: str) -> Problem | None:
    first_line = said.splitlines()[0] if said else ""
    if said.startswith("0\n") or _UNRESOLVED in first_line:
        return None  # the whole file parsed, and our own stop was reached
    location = _LOCATION.search(said)
    line = int(location.group(1)) if location else None
    if "call stack size" in first_line:
        return Problem("syntax", "the code is nested too deeply to be parsed", path, line)
    return Problem("syntax", printable(first_line, 300), path, line)
