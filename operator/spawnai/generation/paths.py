"""Which paths a generated app may use, and which versions of which npm packages.

Everything that Claude writes is untrusted input: these rules are lists of what is allowed, so
that what nobody thought of is refused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from spawnai.app_runtime import npm_packages

from .problems import Problem, printable

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

MAX_DEPENDENCIES = 10

# An exact version or a caret or tilde range of one: no URL, no git, no file, no tag, no alias.
_VERSION = re.compile(r"[\^~]?\d{1,5}(?:\.(?:\d{1,5}|x)){0,2}(?:-[0-9A-Za-z.-]{1,40})?")


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


def dependency_problems(app_type: str, dependencies: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with the npm packages that an app asks for."""
    if app_type != "api" and dependencies:
        yield Problem(
            "dependency",
            f"a {app_type} has no dependencies, but this one names "
            f"{', '.join(printable(name) for name in sorted(dependencies))}; write what they would "
            "do yourself and leave the list empty",
        )
        return
    if len(dependencies) > MAX_DEPENDENCIES:
        message = f"{len(dependencies)} dependencies, at most {MAX_DEPENDENCIES} are possible"
        yield Problem("dependency", message)
    for name, version in dependencies.items():
        if name not in npm_packages():
            yield Problem(
                "dependency",
                f"the package {printable(name)!r} cannot be installed; only these can: "
                f"{', '.join(npm_packages())}",
            )
        elif not _VERSION.fullmatch(version):
            yield Problem(
                "dependency",
                f"the version {printable(version)!r} of {name} is none that can be installed; "
                "write a version or a range such as ^5.1.0",
            )
