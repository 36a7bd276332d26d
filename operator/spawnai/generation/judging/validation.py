"""Whether a bundle may be deployed: `validate` finds every reason why not.

Pure and without I/O. It runs in the judging process alone; everybody else asks `Judge`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.limits import MAX_BUNDLE_BYTES, MAX_FILE_BYTES, MAX_FILES
from spawnai.generation.normalise import SERVER_TYPES
from spawnai.generation.problems import Problem, printable

from .browser import Sources
from .files import listed
from .paths import path_problems
from .script import script_problems
from .secret_scan import find_secret
from .server import Server
from .webapp import webapp_problems

ENTRYPOINTS = {
    "webapp": (re.compile(r"index\.html"), "index.html"),
    "api": (re.compile(r".+\.[cm]?js"), "a JavaScript file such as server.js"),
    "fullstack": (re.compile(r".+\.[cm]?js"), "a JavaScript file such as server.js"),
    "script": (re.compile(r".+\.py"), "a Python file such as main.py"),
}

_TYPESCRIPT = (".ts", ".tsx", ".mts", ".cts")
_STYLES = (".scss", ".sass", ".less")
_COMPILED = (*_TYPESCRIPT, *_STYLES, ".jsx", ".vue", ".svelte", ".coffee")
# JSON with comments, read by developers' tools alone.
_TOOLS_JSON = re.compile(r"(?:^|/)(?:[tj]sconfig[^/]*|[^/]*eslint[^/]*|deno)\.json$")


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a bundle and, for a server, the packages that it uses and how Node.js is
    to read its files ("module", "commonjs", or None: file by file).
    """

    problems: tuple[Problem, ...]
    packages: tuple[str, ...] = ()
    module_type: str | None = None


def validate(bundle: Bundle) -> Findings:
    """Every problem that was found, the most basic first; none means deployable."""
    problems = list(shape_problems(bundle))
    # What lies beyond the limits is not read any further.
    if len(bundle.files) > MAX_FILES or bundle.size > MAX_BUNDLE_BYTES:
        return Findings(tuple(problems))
    for file in bundle.files:
        problems.extend(_content_problems(bundle, file))
    odd = {problem.path for problem in problems if problem.rule in {"path", "text", "size"}}
    readable = tuple(file for file in bundle.files if file.path not in odd)
    sources = Sources(
        Bundle(bundle.app_type, bundle.entrypoint, readable, bundle.dependencies) if odd else bundle
    )
    problems.extend(_build_problems(sources))
    packages: tuple[str, ...] = ()
    module_type = None
    if bundle.app_type == "webapp":
        problems.extend(webapp_problems(sources))
    elif bundle.app_type in SERVER_TYPES:
        server = Server(sources)
        problems.extend(server.problems())
        packages, module_type = tuple(sorted(server.packages())), server.module_type()
    elif bundle.app_type == "script":
        problems.extend(script_problems(sources))
    return Findings(tuple(dict.fromkeys(problems)), packages, module_type)


def shape_problems(bundle: Bundle) -> Iterator[Problem]:
    """What can be said without reading a file: type, sizes, paths, entry point."""
    if bundle.app_type not in ENTRYPOINTS:
        known = ", ".join(ENTRYPOINTS)
        yield Problem("app-type", f"app type {bundle.app_type!r} is unknown; use one of {known}")
        return
    if not bundle.files:
        yield Problem("files", "the app has no files")
    if len(bundle.files) > MAX_FILES:
        message = f"{len(bundle.files)} files, at most {MAX_FILES} are possible; merge some"
        yield Problem("files", message)
    if bundle.size > MAX_BUNDLE_BYTES:
        message = f"{bundle.size} bytes in all, at most {MAX_BUNDLE_BYTES} are possible"
        yield Problem("size", message)
    for file in bundle.files:
        if file.size > MAX_FILE_BYTES:
            message = f"{file.size} bytes, a file may have at most {MAX_FILE_BYTES}"
            yield Problem("size", message, file.path)
    yield from path_problems(file.path for file in bundle.files)
    pattern, expected = ENTRYPOINTS[bundle.app_type]
    if not pattern.fullmatch(bundle.entrypoint):
        yield Problem(
            "entrypoint",
            f"the entry point of a {bundle.app_type} is {expected}, "
            f"not {printable(bundle.entrypoint)!r}",
        )
    elif bundle.file(bundle.entrypoint) is None:
        message = f"the entry point {printable(bundle.entrypoint)} is not among the files"
        yield Problem("entrypoint", message)


def _content_problems(bundle: Bundle, file: AppFile) -> Iterator[Problem]:
    if "\0" in file.content:
        yield Problem(
            "text", "the file holds a NUL character; only text files are possible", file.path
        )
        return
    try:
        file.content.encode("utf-8")
    except UnicodeEncodeError:
        yield Problem("text", "the file holds half of a surrogate pair: no UTF-8", file.path)
        return
    secret = find_secret(file.content)
    if secret is not None:
        kind, line = secret
        message = f"this looks like {kind}; take it out (read it from the environment)"
        yield Problem("secret", message, file.path, line)
    if file.path == bundle.entrypoint and not file.content.strip():
        yield Problem("entrypoint", "the entry point is empty", file.path)
    if file.path.endswith((".json", ".webmanifest")) and not _TOOLS_JSON.search(file.path):
        yield from _json_problems(file)


def _json_problems(file: AppFile) -> Iterator[Problem]:
    try:
        json.loads(file.content)
    except json.JSONDecodeError as error:
        message = f"this is not valid JSON: {printable(error.msg)}; write no comments and no comma "
        yield Problem("syntax", message + "before a closing bracket", file.path, error.lineno)
    except RecursionError:
        yield Problem("syntax", "the data is nested too deeply to be parsed", file.path)


def _build_problems(sources: Sources) -> Iterator[Problem]:
    """Files that only a build step could turn into something that runs."""
    paths = [path for path in sources.paths(_COMPILED) if not path.endswith(".d.ts")]
    if paths:
        plain = "CSS" if paths[0].endswith(_STYLES) else "JavaScript (.js)"
        message = (
            f"nothing compiles or builds the app, so {listed(paths)} cannot be used; write plain "
            f"{plain} that runs as it is"
        )
        yield Problem("build-step", message, paths[0], 1)
