"""The rules for pages and for the JavaScript that a browser loads with them.

The same for a webapp and for the pages below an api's or fullstack app's static folders; what
differs (where a URL leads, whether there is a server) is told by a `Site`.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from spawnai.generation.bundle import Bundle
from spawnai.generation.problems import Problem, printable

from .files import JAVASCRIPT, is_remote, local_path, resolved, suggestion
from .javascript import Call, Import, JavaScript, literal, literal_start, text
from .page import Page
from .stylesheet import Stylesheet, read_stylesheet
from .syntax import JavaScriptGoal, javascript_problem

# Names that a classic script cannot declare with let, const or class: the window has them for good.
_WINDOW_NAMES = frozenset({"document", "location", "top", "window"})
_CALL = r"""on[a-z]{3,20}\s?=\s?\\?["']\s*(?:return\s+)?([A-Za-z_$][\w$]*)\s?\("""
_HANDLER_CALL = re.compile(rf"\b{_CALL}")
# Found in the source wherever `_HANDLER_CALL` is found in one of its texts, which takes longer.
_MAY_BE_HANDLER_CALL = re.compile(_CALL)
_PLACEHOLDER = re.compile(r"\{\{[^{}]{1,80}\}\}|<%|%>|__[A-Z][A-Z0-9_]*__")
_EXPORTED_TO_WINDOW = frozenset({"window", "globalThis", "self"})


@dataclass(frozen=True, slots=True)
class Site:
    """Where pages are served from.

    `find(page, url)` gives the bundle's path that a URL on a page leads to, "" when it leads to
    something that the server makes, None when there is no such file. `has_server` tells whether
    a request such as /api/items can be answered.
    """

    find: Callable[[str, str], str | None]
    has_server: bool
    pages: tuple[str, ...] = ()
    other_scripts: frozenset[str] = field(default_factory=frozenset)
    """JavaScript for browsers that no page in a file loads."""


class Sources:
    """Every file of a bundle, parsed once, when it is first asked for."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._scripts: dict[str, JavaScript] = {}
        self._pages: dict[str, Page] = {}
        self._sheets: dict[str, Stylesheet] = {}

    def javascript(self, path: str) -> JavaScript:
        """The parsed JavaScript file at that path, which exists."""
        if path not in self._scripts:
            self._scripts[path] = JavaScript(self._content(path))
        return self._scripts[path]

    def page(self, path: str) -> Page:
        """The parsed page at that path, which exists."""
        if path not in self._pages:
            self._pages[path] = Page(self._content(path))
        return self._pages[path]

    def stylesheet(self, path: str) -> Stylesheet:
        """The parsed style sheet at that path, which exists."""
        if path not in self._sheets:
            self._sheets[path] = read_stylesheet(self._content(path))
        return self._sheets[path]

    def paths(self, endings: tuple[str, ...]) -> list[str]:
        """The paths that end so."""
        return [file.path for file in self.bundle.files if file.path.endswith(endings)]

    def _content(self, path: str) -> str:
        file = self.bundle.file(path)
        if file is None:
            raise ValueError(f"{path} is not in the bundle")
        return file.content


@dataclass(slots=True)
class _Loaded:
    """One script as a page runs it."""

    path: str
    code: JavaScript
    is_module: bool
    offset: int = 0
    """Lines before it in its file, for the text of a script element."""


class Browser:
    """Finds what is wrong with the pages of one bundle."""

    def __init__(self, sources: Sources, site: Site) -> None:
        self._sources = sources
        self._bundle = sources.bundle
        self._site = site
        self.goals: dict[str, JavaScriptGoal] = {}
        """How each loaded file is read by the browser."""

    def problems(self) -> Iterator[Problem]:
        """Every problem of the pages and of what they load."""
        for path in self._site.pages:
            yield from self._page_problems(path)
        for path in sorted(self._site.other_scripts - set(self.goals)):
            code = self._sources.javascript(path)
            goal: JavaScriptGoal = "module" if code.module_line is not None else "script"
            self.goals[path] = goal
            yield from self._file_problems(path, goal, {})
        for path in self._sources.paths((".css",)):
            yield from self._sheet_problems(path, self._sources.stylesheet(path), 0)

    # Pages

    def _page_problems(self, path: str) -> Iterator[Problem]:
        page = self._sources.page(path)
        for line in page.fences():
            message = "a Markdown fence (```) shows on the page; write the HTML alone"
            yield Problem("fence", message, path, line)
            break
        for kind, line in page.odd_scripts:
            message = (
                f"no browser runs a script of type {printable(kind)}, and nothing compiles it here;"
                " write plain JavaScript"
            )
            yield Problem("build-step", message, path, line)
        for style in page.styles:
            yield from self._style_problems(path, style.url, style.source, style.line)
        loaded: list[_Loaded] = []
        for script in page.scripts:
            if script.url is None:
                code = JavaScript(script.source)
                goal: JavaScriptGoal = "module" if script.is_module else "script"
                loaded.append(_Loaded(path, code, script.is_module, script.line - 1))
                problem = self._syntax_problem(code, path, goal)
                if problem is not None and self._is_filled_in(script.source):
                    continue
                if problem is not None:
                    line = script.line - 1 + (problem.line or 1)
                    yield Problem(problem.rule, problem.message, path, line)
                else:
                    yield from self._code_problems(path, code, page.imports, script.line - 1)
                continue
            if is_remote(script.url):
                yield _remote(script.url, path, script.line)
                continue
            found = self._site.find(path, script.url)
            if found is None:
                yield self._missing(path, script.url, script.line)
            elif found.endswith(JAVASCRIPT) and self._bundle.file(found) is not None:
                goal = "module" if script.is_module else "script"
                loaded.append(_Loaded(found, self._sources.javascript(found), script.is_module))
                if found not in self.goals:
                    self.goals[found] = goal
                    yield from self._file_problems(found, goal, page.imports)
        yield from self._duplicate_globals(loaded)
        yield from self._handler_problems(path, page, loaded)

    def _is_filled_in(self, script: str) -> bool:
        """Whether a server puts values into it before a browser reads it."""
        return self._site.has_server and _PLACEHOLDER.search(script) is not None

    def _style_problems(self, path: str, url: str | None, css: str, line: int) -> Iterator[Problem]:
        if url is None:
            yield from self._sheet_problems(path, read_stylesheet(css), line - 1)
        elif not is_remote(url) and self._site.find(path, url) is None:
            yield self._missing(path, url, line)

    def _sheet_problems(self, path: str, sheet: Stylesheet, offset: int) -> Iterator[Problem]:
        for url, line in sheet.imports:
            where = line + offset
            if is_remote(url):
                continue
            bare = not url.startswith((".", "/")) and not url.endswith(".css")
            if bare or self._site.find(path, url) is None:
                message = (
                    f"@import {printable(url)} leads to no file of the app; nothing builds style "
                    "sheets here, so write the rules themselves"
                )
                yield Problem("missing-file", message, path, where)
        for keyword, line in sheet.build_keywords[:1]:
            message = (
                f"{keyword} is not CSS but the input of a build tool, and nothing builds here; "
                "write plain CSS rules"
            )
            yield Problem("build-step", message, path, line + offset)
        if sheet.unbalanced_line is not None and not sheet.build_keywords:
            message = "a brace opens or closes here without its partner; the rest of it is lost"
            yield Problem("syntax", message, path, sheet.unbalanced_line + offset)

    def _missing(self, path: str, url: str, line: int) -> Problem:
        target = local_path(url) or url
        hint = suggestion(self._bundle, path, target)
        message = f"the page loads {printable(url)}, but no such file is in the app{hint}"
        return Problem("missing-file", message, path, line)

    # Scripts

    def _syntax_problem(self, code: JavaScript, path: str, goal: JavaScriptGoal) -> Problem | None:
        problem = javascript_problem(code.source, path, goal)
        if problem is None:
            return None
        if code.jsx_line is not None:
            return _jsx(path, code.jsx_line)
        if goal == "script" and code.module_line is not None:
            message = (
                "import and export work only in a module, and the page loads this file as a "
                'classic script; write <script type="module" …>'
            )
            return Problem("syntax", message, path, code.module_line)
        return problem

    def _file_problems(
        self, start: str, goal: JavaScriptGoal, import_map: dict[str, str]
    ) -> Iterator[Problem]:
        """A file, and every module that it imports."""
        waiting: deque[tuple[str, JavaScriptGoal]] = deque([(start, goal)])
        while waiting:
            path, goal = waiting.popleft()
            code = self._sources.javascript(path)
            problem = self._syntax_problem(code, path, goal)
            if problem is not None:
                yield problem
                continue
            yield from self._code_problems(path, code, import_map, 0)
            for target, its_goal in self._next_files(path, code, import_map):
                if target not in self.goals and target.endswith(JAVASCRIPT):
                    self.goals[target] = its_goal
                    waiting.append((target, its_goal))

    def _next_files(
        self, path: str, code: JavaScript, import_map: dict[str, str]
    ) -> Iterator[tuple[str, JavaScriptGoal]]:
        for one in code.imports:
            if one.how != "require":
                target = self._target_of(path, one, import_map)
                if target and self._bundle.file(target) is not None:
                    yield target, "module"
        for call in code.calls:
            if call.is_new and call.name in {"Worker", "SharedWorker"} and call.arguments:
                url = literal(call.arguments[0])
                target = self._site.find(path, url) if url else None
                if target and self._bundle.file(target) is not None:
                    kind = "module" if "module" in text(call.node) else "script"
                    yield target, kind  # type: ignore[misc]

    def _target_of(self, path: str, one: Import, import_map: dict[str, str]) -> str | None:
        specifier = _mapped(one.specifier, import_map)
        if is_remote(specifier):
            return ""
        return self._site.find(path, specifier)

    def _code_problems(
        self,
        path: str,
        code: JavaScript,
        import_map: dict[str, str],
        offset: int,
    ) -> Iterator[Problem]:
        def at(line: int) -> int:
            return line + offset

        for one in code.imports:
            problem = self._import_problem(path, code, one, import_map)
            if problem is not None:
                yield Problem(problem.rule, problem.message, path, at(one.line))
        process = code.members.get(("process", "env"))
        if process and "process" not in code.typeof and "process" not in code.declared_anywhere:
            message = "process.env exists on a server only, and a browser stops here; take it out"
            yield Problem("browser", message, path, at(process))
        built = code.members.get(("import.meta", "env"))
        if built:
            message = (
                "import.meta.env is made by a build tool, and nothing builds here; write the "
                "values themselves"
            )
            yield Problem("build-step", message, path, at(built))
        if not self._site.has_server:
            for call in code.calls:
                problem = self._request_problem(path, call)
                if problem is not None:
                    yield Problem(problem.rule, problem.message, path, at(call.line))

    def _import_problem(
        self, path: str, code: JavaScript, one: Import, import_map: dict[str, str]
    ) -> Problem | None:
        if one.is_optional:
            return None
        if one.how == "require":
            if "require" in self._declared(path) or "require" in code.typeof:
                return None
            message = (
                f"a browser has no require(); write an ES module: import … from "
                f"'{printable(one.specifier)}' in a script of type module"
            )
            return Problem("browser", message, path)
        specifier = _mapped(one.specifier, import_map)
        if is_remote(specifier):
            return _remote(specifier, path, one.line)
        if not specifier.startswith(("./", "../", "/")):
            message = (
                f"a browser cannot resolve the bare name '{printable(one.specifier)}', and nothing "
                "is bundled or installed for pages; write what it does in a file of your own and "
                "import that by a relative path such as './util.js'"
            )
            return Problem("bare-import", message, path)
        target = self._site.find(path, specifier)
        if target is None:
            hint = suggestion(self._bundle, path, specifier)
            message = f"'{printable(specifier)}' is imported here, but no such file is in the app"
            return Problem("missing-file", message + hint, path)
        if target.endswith(".css"):
            message = (
                f"a browser cannot import the style sheet '{printable(specifier)}'; load it with "
                '<link rel="stylesheet"> on the page'
            )
            return Problem("browser", message, path)
        if target.endswith(".json") and not one.has_attributes:
            message = (
                f"JSON is imported with an attribute: import data from '{printable(specifier)}' "
                "with { type: 'json' }; or use fetch()"
            )
            return Problem("browser", message, path)
        if target.endswith(JAVASCRIPT) and self._bundle.file(target) is not None:
            missing = missing_exports(self._sources, target, one.names, self._site)
            if missing:
                there = sorted(self._sources.javascript(target).exports) or ["nothing"]
                message = (
                    f"'{printable(specifier)}' does not export {', '.join(missing)}; "
                    f"it exports {', '.join(there)}"
                )
                return Problem("missing-export", printable(message, 300), path)
        return None

    def _declared(self, path: str) -> dict[str, list[object]]:
        if path.endswith(JAVASCRIPT):
            return dict(self._sources.javascript(path).declared_anywhere)  # type: ignore[arg-type]
        return {}

    def _request_problem(self, path: str, call: Call) -> Problem | None:
        """A request that only a server of the app's own could answer."""
        position = 0
        if call.name == "open" and len(call.arguments) > 1:
            method = literal(call.arguments[0]) or ""
            if method.upper() not in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}:
                return None
            position = 1
        elif not (
            (call.name == "fetch" and call.object in {"", *_EXPORTED_TO_WINDOW})
            or (call.is_new and call.name in {"EventSource", "WebSocket"})
        ):
            return None
        if len(call.arguments) <= position:
            return None
        argument = call.arguments[position]
        if call.name == "WebSocket" and b"location.host" in (argument.text or b""):
            return _no_server(path, "a WebSocket to its own host")
        start = literal_start(argument)
        if start is None:
            return None
        url, is_whole = start
        if url == "/api" or url.startswith(("/api/", "api/", "./api/")):
            return _no_server(path, printable(url))
        if not is_whole or is_remote(url) or not (target := local_path(url)):
            return None
        if not target.strip("./"):
            return None  # the page itself
        if call.name in {"EventSource", "WebSocket"}:
            return _no_server(path, printable(url))
        pages = self._site.pages or ("index.html",)
        if all(self._site.find(page, target) is None for page in pages):
            hint = suggestion(self._bundle, pages[0], target)
            message = f"{printable(url)} is fetched here, but no such file is in the app{hint}"
            return Problem("missing-file", message + _NO_SERVER_HINT, path)
        return None

    # What scripts of one page do to each other

    def _duplicate_globals(self, loaded: list[_Loaded]) -> Iterator[Problem]:
        lexical: dict[str, str] = {}
        variables: dict[str, str] = {}
        for script in loaded:
            if script.is_module:
                continue
            declared = script.code.declared
            for name, line in declared.lexical.items():
                other = lexical.get(name) or variables.get(name)
                if name in _WINDOW_NAMES:
                    message = (
                        f"{name} belongs to the window and cannot be declared again by a classic "
                        "script; choose another name"
                    )
                    yield Problem("duplicate-global", message, script.path, script.offset + line)
                elif other is not None:
                    yield _declared_twice(name, other, script, line)
            for name, line in declared.variables.items():
                if name in lexical:
                    yield _declared_twice(name, lexical[name], script, line)
            lexical |= dict.fromkeys(declared.lexical, script.path)
            variables |= dict.fromkeys(declared.variables, script.path)

    def _handler_problems(self, path: str, page: Page, loaded: list[_Loaded]) -> Iterator[Problem]:
        """Inline handlers see the window's names only, never those of a module or a function."""
        everything = [*loaded]
        for target, goal in self.goals.items():
            if goal == "module" and all(target != script.path for script in loaded):
                everything.append(_Loaded(target, self._sources.javascript(target), is_module=True))
        with_handlers = [
            script
            for script in everything
            if script.is_module and _MAY_BE_HANDLER_CALL.search(script.code.source)
        ]
        if not page.handlers and not with_handlers:
            return
        shared: set[str] = set()
        for script in everything:
            if not script.is_module:
                shared |= script.code.declared.all
            shared |= {
                name for owner, name, _ in script.code.assigned if owner in _EXPORTED_TO_WINDOW
            }
            if any(
                call.name == "assign"
                and call.arguments
                and text(call.arguments[0]) in _EXPORTED_TO_WINDOW
                for call in script.code.calls
            ):
                return
        hidden: dict[str, str] = {}
        for script in everything:
            names = script.code.declared.all if script.is_module else ()
            hidden |= dict.fromkeys(names, script.path)
        for handler in page.handlers:
            code = JavaScript(handler.source)
            for call in code.calls:
                if call.object == "" and call.name in hidden and call.name not in shared:
                    yield _unreachable(
                        handler.attribute, call.name, hidden[call.name], path, handler.line
                    )
        for script in with_handlers:
            for fragment, line in script.code.texts:
                for match in _HANDLER_CALL.finditer(fragment) if "on" in fragment else ():
                    name = match.group(1)
                    if name in hidden and name not in shared:
                        yield _unreachable(
                            "an inline handler",
                            name,
                            hidden[name],
                            script.path,
                            script.offset + line,
                        )


def _mapped(specifier: str, import_map: dict[str, str]) -> str:
    """Where an import map leads: by the whole name, else by the longest folder that begins it."""
    if specifier in import_map:
        return import_map[specifier]
    folders = [key for key in import_map if key.endswith("/") and specifier.startswith(key)]
    if not folders:
        return specifier
    folder = max(folders, key=len)
    return import_map[folder] + specifier.removeprefix(folder)


def missing_exports(
    sources: Sources, path: str, names: tuple[str, ...], site: Site | None = None
) -> list[str]:
    """Which of these names an ES module does not export; empty when it cannot be told."""
    if not names:
        return []
    seen: set[str] = set()
    waiting, there = [path], set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if sources.bundle.file(current) is None or not current.endswith(JAVASCRIPT):
            return []
        code = sources.javascript(current)
        if code.module_line is None or code.root.has_error:
            return []
        there |= code.exports if current == path else code.exports - {"default"}
        for star in code.stars:
            target = site.find(current, star) if site is not None else None
            if target is None:
                target = resolved(current, star) if star.startswith(".") else None
            if not target:
                return []
            waiting.append(target)
    return [name for name in names if name not in there]


_NO_SERVER_HINT = (
    "; a webapp has no server: keep data in localStorage, or put it into a file of the app"
)


def _no_server(path: str, what: str) -> Problem:
    message = (
        f"{what} needs a server, and a webapp has none: keep the data in localStorage, or put it "
        "into a file of the app"
    )
    return Problem("no-server", message, path)


def _remote(url: str, path: str, line: int) -> Problem:
    message = (
        f"{printable(url)} is code from another host; load nothing from a CDN: write what it does "
        "in plain JavaScript, in a file of your own"
    )
    return Problem("remote-code", message, path, line)


def _jsx(path: str, line: int) -> Problem:
    message = (
        "this is JSX, and nothing compiles it here; write plain JavaScript "
        "(document.createElement, or a template string)"
    )
    return Problem("build-step", message, path, line)


def _declared_twice(name: str, other: str, script: _Loaded, line: int) -> Problem:
    message = (
        f"{printable(name)} is declared in {printable(other)}, too, and classic scripts of one "
        "page share their names, so the second does not run; make both modules, or rename one"
    )
    return Problem("duplicate-global", message, script.path, script.offset + line)


def _unreachable(attribute: str, name: str, module: str, path: str, line: int) -> Problem:
    message = (
        f"{attribute} calls {printable(name)}, which the module {printable(module)} keeps to "
        "itself; use addEventListener in the module instead of inline handlers"
    )
    return Problem("inline-handler", message, path, line)
