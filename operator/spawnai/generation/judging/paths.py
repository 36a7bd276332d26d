"""Which paths a generated app may use.

Everything that Claude writes is untrusted input: the rules say what is allowed, so that what nobody
thought of is refused.
"""

import re
from collections.abc import Iterable, Iterator

from spawnai.generation.problems import Problem, printable

MAX_PATH_LENGTH = 200
MAX_PATH_DEPTH = 8

# A segment starts with a letter, digit or underscore: so it is never hidden (".env"), never ".."
# and never an option of a command line ("-rf"). No white space, no backslash, no control
# character, no letter outside ASCII that could look like another or change under normalization.
_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+@-]*[A-Za-z0-9_+@-])?")

# What npm reads as its own, and what it makes itself.
RESERVED_NAMES = frozenset(
    {"node_modules", "package.json", "package-lock.json", "npm-shrinkwrap.json", "__pycache__"}
)


def path_problems(paths: Iterable[str]) -> Iterator[Problem]:
    """What is wrong with these paths, each alone and all together."""
    known: dict[str, str] = {}
    for path in paths:
        problem = _path_problem(path)
        if problem is not None:
            yield problem
            continue
        twin = known.get(path.casefold())
        if twin is not None:
            same = "twice" if twin == path else f"beside {twin}, which differs only in case"
            yield Problem("duplicate-path", f"this path is there {same}; keep one", path)
        known[path.casefold()] = path
    for path in known.values():
        parents = path.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            parent = "/".join(parents[:depth])
            if parent.casefold() in known:
                message = f"{known[parent.casefold()]} is a file, so nothing can lie below it"
                yield Problem("duplicate-path", message, path)
                break


def _path_problem(path: str) -> Problem | None:
    def bad(reason: str) -> Problem:
        return Problem("path", f"{reason}; write a plain relative path such as css/style.css", path)

    if not path:
        return bad("a file has an empty path")
    if len(path) > MAX_PATH_LENGTH:
        return bad(f"the path is longer than {MAX_PATH_LENGTH} characters")
    if "\\" in path or not path.isprintable():
        return bad("the path holds a backslash or a control character")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return bad("the path is absolute")
    segments = path.split("/")
    if ".." in segments:
        return bad("the path leads out of the app's folder")
    if len(segments) > MAX_PATH_DEPTH:
        return bad(f"the path is deeper than {MAX_PATH_DEPTH} folders")
    for segment in segments:
        if segment.casefold() in RESERVED_NAMES:
            message = f"the name {segment} is reserved: dependencies are installed by the platform"
            return Problem("reserved-path", f"{message}; leave the file out", path)
        if segment.startswith("."):
            return bad(f"the name {printable(segment)!r} is hidden" if segment != "." else "a '.'")
        if not _SEGMENT.fullmatch(segment):
            return bad(
                f"the name {printable(segment)!r} has characters other than letters, digits, "
                "'.', '_', '-', '+' and '@'"
            )
    return None
