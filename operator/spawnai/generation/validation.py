"""Whether a bundle may be deployed: `validate` finds every reason why not.

Pure and without I/O, but work for the processor (up to a second for the largest bundle), so
callers on an event loop run it in a thread. The limits are the design's (section 6).
"""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

from .bundle import AppFile, Bundle
from .page import Page
from .paths import dependency_problems, path_problems
from .problems import Problem, printable
from .secret_scan import find_secret
from .syntax import (
    JavaScriptGoal,
    foreign_imports,
    javascript_goal,
    javascript_problem,
    parse_python,
)

MAX_FILES = 40
MAX_FILE_BYTES = 256 * 1024
MAX_BUNDLE_BYTES = 1024 * 1024

JAVASCRIPT = (".js", ".mjs", ".cjs")
HTML = (".html", ".htm")

_ENTRYPOINTS = {
    "webapp": (re.compile(r"index\.html"), "index.html"),
    "api": (re.compile(r".+\.[cm]?js"), "a JavaScript file such as server.js"),
    "script": (re.compile(r".+\.py"), "a Python file such as main.py"),
}

# The modules that come with Node.js and may be required without the prefix "node:".
_NODE_MODULES = frozenset(
    [
        *("assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants"),
        *("crypto", "dgram", "diagnostics_channel", "dns", "domain", "events", "fs", "http"),
        *("http2", "https", "inspector", "module", "net", "os", "path", "perf_hooks", "process"),
        *("punycode", "querystring", "readline", "repl", "stream", "string_decoder", "timers"),
        *("tls", "tty", "url", "util", "v8", "vm", "wasi", "worker_threads", "zlib"),
    ]
)
_REQUIRE = re.compile(r"""\brequire\(\s{0,20}(["'])([^"'\n]{1,200})\1\s{0,20}\)""")
# A list of names may run over several lines; the bounds keep crafted input from taking long.
_IMPORT = re.compile(
    r"""^[ \t]*(?:import|export)\b[^'";]{0,2000}?(["'])([^"'\n]{1,200})\1""", re.MULTILINE
)
_MODULE_SYNTAX = re.compile(r"""^[ \t]*(?:import[ \t]*[\w{*'"]|export[ \t]+[\w{*])""", re.MULTILINE)
_IMPORT_OR_EXPORT = re.compile(r"^[ \t]*(?:import|export)\b", re.MULTILINE)


def validate(bundle: Bundle) -> list[Problem]:
    """Every problem that was found, the most basic first; an empty list means deployable."""
    problems = list(_shape_problems(bundle))
    problems.extend(dependency_problems(bundle.app_type, bundle.dependencies))
    # What lies beyond the limits is not read any further.
    readable = [file for file in bundle.files if file.size <= MAX_FILE_BYTES]
    if len(bundle.files) <= MAX_FILES and bundle.size <= MAX_BUNDLE_BYTES:
        pages = {file.path: Page(file.content) for file in readable if file.path.endswith(HTML)}
        modules = _module_scripts(bundle, pages)
        for file in readable:
            problems.extend(_content_problems(bundle, file, pages, modules))
    return problems


def _shape_problems(bundle: Bundle) -> Iterator[Problem]:
    if bundle.app_type not in _ENTRYPOINTS:
        known = ", ".join(_ENTRYPOINTS)
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
    pattern, expected = _ENTRYPOINTS[bundle.app_type]
    if not pattern.fullmatch(bundle.entrypoint):
        yield Problem(
            "entrypoint",
            f"the entry point of a {bundle.app_type} is {expected}, "
            f"not {printable(bundle.entrypoint)!r}",
        )
    elif bundle.file(bundle.entrypoint) is None:
        message = f"the entry point {printable(bundle.entrypoint)} is not among the files"
        yield Problem("entrypoint", message)


def _content_problems(
    bundle: Bundle, file: AppFile, pages: Mapping[str, Page], modules: AbstractSet[str]
) -> Iterator[Problem]:
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
    if file.path.endswith(JAVASCRIPT):
        yield from _javascript_problems(bundle, file, modules)
    elif file.path.endswith(".py"):
        yield from _python_problems(bundle, file)
    elif file.path in pages:
        yield from _page_problems(bundle, file, pages[file.path])
    if bundle.app_type == "api" and file.path == bundle.entrypoint:
        yield from _port_problems(bundle, file)


def _javascript_problems(
    bundle: Bundle, file: AppFile, modules: AbstractSet[str]
) -> Iterator[Problem]:
    goal = "module" if file.path in modules else javascript_goal(file.path, bundle.app_type)
    problem = javascript_problem(file.content, file.path, goal)
    if problem is not None:
        yield problem
    elif bundle.app_type == "api":
        yield from _requirement_problems(bundle, file, goal)


def _module_scripts(bundle: Bundle, pages: Mapping[str, Page]) -> set[str]:
    """The .js files that are read as modules.

    api: all or none, by what the entry point is; the droplet's agent decides in the same way.
    webapp: those that a page loads as modules; and, once a page has a module, every file that
    imports or exports, because modules load modules.
    """
    if bundle.app_type == "api":
        entry = bundle.file(bundle.entrypoint)
        if entry is None or not _MODULE_SYNTAX.search(entry.content):
            return set()
        return {file.path for file in bundle.files if file.path.endswith(".js")}
    if bundle.app_type != "webapp":
        return set()
    loaded = {
        target
        for path, page in pages.items()
        for reference in page.references
        if reference.is_module and (target := _local_target(path, reference.url)) is not None
    }
    if any(page.has_modules for page in pages.values()):
        loaded |= {
            file.path
            for file in bundle.files
            if file.path.endswith(JAVASCRIPT) and _IMPORT_OR_EXPORT.search(file.content)
        }
    return loaded


def _requirement_problems(bundle: Bundle, file: AppFile, goal: JavaScriptGoal) -> Iterator[Problem]:
    """Modules that the file needs and that will not be there: the app would die at once."""
    seen: set[str] = set()
    pattern = _IMPORT if goal == "module" else _REQUIRE
    for match in pattern.finditer(file.content):
        line_start = file.content.rfind("\n", 0, match.start(1)) + 1
        before = file.content[max(line_start, match.start(1) - 200) : match.start(1)]
        name = match.group(2)
        if name in seen or "//" in before or before.lstrip().startswith("*"):
            continue  # known already, or part of a comment
        seen.add(name)
        line = file.content.count("\n", 0, match.start(1)) + 1
        if name.startswith("."):
            target = normpath(join(dirname(file.path), name))
            endings = ("", ".js", ".cjs", ".mjs", ".json", "/index.js")
            if not any(bundle.file(target + ending) for ending in endings):
                message = f"{printable(name)} is required here, but no such file is in the app"
                yield Problem("missing-file", message, file.path, line)
            continue
        package = "/".join(name.split("/")[: 2 if name.startswith("@") else 1])
        if name.startswith("node:") or package in _NODE_MODULES or package in bundle.dependencies:
            continue
        message = f"{printable(package)} is required here, but it is not among the dependencies"
        yield Problem("missing-dependency", message, file.path, line)


def _port_problems(bundle: Bundle, file: AppFile) -> Iterator[Problem]:
    sources = [f.content for f in bundle.files if f.path.endswith(JAVASCRIPT)]
    if not any(re.search(r"\bPORT\b", source) for source in sources):
        message = "the server must listen on process.env.PORT, which no file reads"
        yield Problem("port", message, file.path)


def _python_problems(bundle: Bundle, file: AppFile) -> Iterator[Problem]:
    parsed = parse_python(file.content, file.path)
    if isinstance(parsed, Problem):
        yield parsed
        return
    if bundle.app_type != "script":
        return
    own = frozenset(
        part.removesuffix(".py") for other in bundle.files for part in other.path.split("/")
    )
    for name, line in foreign_imports(parsed, own):
        message = f"{name} is not in Python's standard library, and nothing else is installed"
        yield Problem("missing-dependency", message, file.path, line)


def _page_problems(bundle: Bundle, file: AppFile, page: Page) -> Iterator[Problem]:
    if file.path == bundle.entrypoint and not page.has_elements and file.content.strip():
        yield Problem("entrypoint", "the page holds no HTML element", file.path)
    for script in page.inline_scripts:
        problem = javascript_problem(script.source, file.path, script.goal)
        if problem is not None:
            found = script.line + (problem.line or 1) - 1
            yield Problem(problem.rule, problem.message, file.path, found)
    if bundle.app_type != "webapp":
        return
    for reference in page.references:
        target = _local_target(file.path, reference.url)
        if target is not None and bundle.file(target) is None:
            message = f"the page loads {printable(reference.url)}, but no such file is in the app"
            yield Problem("missing-file", message, file.path, reference.line)


def _local_target(page_path: str, url: str) -> str | None:
    """The path in the bundle that a page's URL names; None when it leads elsewhere."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    if parts.scheme or parts.netloc or not parts.path:
        return None
    path = unquote(parts.path)
    return normpath(path.lstrip("/") if path.startswith("/") else join(dirname(page_path), path))
