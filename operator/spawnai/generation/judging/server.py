"""The rules for an api or a fullstack app: Express on Node.js, and the pages that it serves."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from posixpath import dirname, normpath

from tree_sitter import Node

from spawnai.app_runtime import APP_PORT, npm_packages
from spawnai.generation.problems import Problem, printable

from .browser import Browser, Site, Sources, missing_exports
from .files import HTML, JAVASCRIPT, is_remote, local_path, resolved, suggestion
from .javascript import (
    Call,
    Import,
    JavaScript,
    arguments,
    literal,
    literals_within,
    property_of,
    text,
)
from .page import Page
from .routes import route_problem
from .syntax import JavaScriptGoal, javascript_problem

# The modules that come with Node.js and may be required without the prefix "node:".
NODE_MODULES = frozenset(
    [
        *("assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants"),
        *("crypto", "dgram", "diagnostics_channel", "dns", "domain", "events", "fs", "http"),
        *("http2", "https", "inspector", "module", "net", "os", "path", "perf_hooks", "process"),
        *("punycode", "querystring", "readline", "repl", "stream", "string_decoder", "timers"),
        *("tls", "tty", "url", "util", "v8", "vm", "wasi", "worker_threads", "zlib"),
    ]
)
PREFIXED_ONLY = frozenset({"sea", "sqlite", "test", "test/reporters"})

# What takes the place of packages that are asked for often.
_INSTEAD = {
    "axios": "use fetch(), which Node.js has",
    "node-fetch": "use fetch(), which Node.js has",
    "better-sqlite3": "use node:sqlite, which Node.js has",
    "sqlite3": "use node:sqlite, which Node.js has",
    "dotenv": "leave it out: the environment is set already",
    "socket.io": "use ws",
    "bcrypt": "use scrypt of node:crypto",
    "bcryptjs": "use scrypt of node:crypto",
    "lodash": "write the few functions yourself",
    "mongoose": "keep data in memory or in node:sqlite",
    "pg": "keep data in memory or in node:sqlite",
    "express-session": "use cookie-parser and a Map of sessions",
    "jsonwebtoken": "sign tokens with createHmac of node:crypto",
}

# What the agent and Node.js themselves put into the environment, or people set without need.
_KNOWN_VARIABLES = frozenset(
    {"PORT", "NODE_ENV", "HOME", "TMPDIR", "PATH", "LANG", "HOST", "HOSTNAME", "DEBUG", "TZ"}
)

_ROUTING = frozenset({"all", "delete", "get", "head", "options", "patch", "post", "put", "use"})
_APP_NAME = re.compile(r"^(?:this\.)?(?:app|api|server|routes?|\w*[rR]outer|\w*App)$")
_PUBLIC_FOLDERS = frozenset(
    {"assets", "browser", "client", "frontend", "public", "static", "web", "www"}
)


@dataclass(frozen=True, slots=True)
class _Mount:
    """A folder of the bundle ("" is its top) that is served below a path."""

    prefix: str
    folder: str


class Server:
    """What the files of one server are, and what is wrong with them."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._bundle = sources.bundle
        self._paths: dict[str, Paths] = {}
        self.files = self._loaded_files()
        self._mounts = list(self._find_mounts())
        self._routes = [
            value
            for path in self.files
            for call in sources.javascript(path).calls
            if call.name in _ROUTING and call.arguments
            if (value := literal(call.arguments[0])) is not None
        ]

    def module_type(self) -> str | None:
        """What package.json should say: None leaves it to Node.js, file by file."""
        plain = [path for path in self.files if path.endswith(".js")]
        kinds = {self._goal(path) for path in plain}
        if len(kinds) > 1:
            return None
        return "module" if kinds == {"module"} else "commonjs"

    def packages(self) -> set[str]:
        """The packages that the files use, of those that can be installed."""
        known = npm_packages()
        found: set[str] = set()
        for path in self.files:
            code = self._sources.javascript(path)
            found |= {package_of(one.specifier) for one in code.imports}
            if any(
                call.name == "set" and literal(call.arguments[0]) == "view engine"
                for call in code.calls
                if call.arguments
            ):
                found.add("ejs")
            if code.loads_by_computed_name:
                found |= set(self._bundle.dependencies)
        return found & set(known)

    def problems(self) -> Iterator[Problem]:
        """Every problem, those of the server first."""
        sources, bundle = self._sources, self._bundle
        broken = False
        for path in self.files:
            problem = self._syntax_problem(path)
            if problem is not None:
                broken = True
                yield problem
                continue
            yield from self._import_problems(path)
            yield from self._code_problems(path)
        if not broken and self.files:
            yield from self._listen_problems()
        pages = tuple(sources.paths(HTML))
        in_browser = {
            path
            for path in sources.paths(JAVASCRIPT)
            if path not in self.files and self._is_served(path)
        }
        site = Site(self._find, has_server=True, pages=pages, other_scripts=frozenset(in_browser))
        browser = Browser(sources, site)
        yield from browser.problems()
        for path in pages:
            yield from self._helmet_problems(path, sources.page(path))
        written = any("<html" in bit for path in self.files for bit, _ in self._texts(path))
        if bundle.app_type == "fullstack" and not (pages or written or sources.paths((".ejs",))):
            yield Problem("entrypoint", "a fullstack app has a page: write public/index.html")
        for path in sources.paths(JAVASCRIPT):
            if path not in self.files and path not in browser.goals:
                problem = self._syntax_problem(path)
                if problem is not None:
                    yield problem

    # Which files are the server's

    def _loaded_files(self) -> list[str]:
        """The entry point and what it loads; all but the pages' files when that is computed."""
        entry = self._bundle.entrypoint
        if self._bundle.file(entry) is None or not entry.endswith(JAVASCRIPT):
            return []
        found, waiting = {entry: None}, deque([entry])
        computed = False
        while waiting:
            path = waiting.popleft()
            code = self._sources.javascript(path)
            computed = computed or code.loads_by_computed_name
            named = [one.specifier for one in code.imports]
            named += [
                value
                for call in code.calls
                if call.name in {"Worker", "fork"} and call.arguments
                for value in literals_within(call.arguments[0])
            ]
            for specifier in named:
                target = self._module_file(path, specifier)
                if target and target.endswith(JAVASCRIPT) and target not in found:
                    found[target] = None
                    waiting.append(target)
        if computed:
            for path in self._sources.paths(JAVASCRIPT):
                if not _PUBLIC_FOLDERS & set(path.split("/")[:-1]):
                    found.setdefault(path, None)
        return list(found)

    def _module_file(self, path: str, specifier: str) -> str | None:
        """The file that Node.js would load for a relative specifier, by the rules of require()."""
        if not specifier.startswith("."):
            return None
        target = normpath(resolved(path, specifier))
        for ending in ("", ".js", ".json", ".cjs", ".mjs", "/index.js", "/index.json"):
            if self._bundle.file(target + ending) is not None:
                return target + ending
        return None

    def _goal(self, path: str) -> JavaScriptGoal:
        if path.endswith(".mjs"):
            return "module"
        if path.endswith(".cjs"):
            return "commonjs"
        code = self._sources.javascript(path)
        if code.module_line is not None:
            return "module"
        # `await` at the top level makes a module, too.
        if code.requires or javascript_problem(code.source, path, "commonjs") is None:
            return "commonjs"
        if javascript_problem(code.source, path, "module") is None:
            return "module"
        return "commonjs"

    def _syntax_problem(self, path: str) -> Problem | None:
        code = self._sources.javascript(path)
        goal = self._goal(path)
        problem = javascript_problem(code.source, path, goal)
        if problem is None:
            return None
        if code.jsx_line is not None:
            message = (
                "this is JSX, and nothing compiles it here; write plain JavaScript "
                "(a template string makes HTML, too)"
            )
            return Problem("build-step", message, path, code.jsx_line)
        if path.endswith(".cjs") and code.module_line is not None:
            message = "import and export do not work in a .cjs file; name it .js"
            return Problem("syntax", message, path, code.module_line)
        hint = ""
        if goal == "commonjs" and "await" in problem.message:
            hint = " (await at the top level works in an ES module only: use import, not require)"
        return Problem(problem.rule, problem.message + hint, path, problem.line)

    # Modules

    def _import_problems(self, path: str) -> Iterator[Problem]:
        code, goal = self._sources.javascript(path), self._goal(path)
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for one in code.imports:
            if one.is_optional or (one.specifier, one.names) in seen:
                continue
            seen.add((one.specifier, one.names))
            if one.how == "require" and "require" in code.declared_anywhere:
                problem = None
            elif one.how == "require" and goal == "module":
                message = (
                    "this file is an ES module (it has import or export), so it has no require(); "
                    f"write: import … from '{printable(one.specifier)}'"
                )
                problem = Problem("module-kind", message, path, one.line)
            else:
                problem = None
            yield from [problem] if problem else self._target_problems(path, one)
        if goal == "module":
            yield from self._commonjs_words(path, code)

    def _target_problems(self, path: str, one: Import) -> Iterator[Problem]:
        name = one.specifier
        if name.startswith("/") or is_remote(name):
            message = f"'{printable(name)}' cannot be loaded; write a relative path"
            yield Problem("missing-file", message, path, one.line)
        elif name.startswith("."):
            yield from self._own_file_problems(path, one)
        elif name.startswith("node:") or name.split("/")[0] in NODE_MODULES:
            bare = name.removeprefix("node:")
            known = bare.split("/")[0] in NODE_MODULES or bare in PREFIXED_ONLY
            if name.startswith("node:") and not known:
                message = f"Node.js has no module {printable(name)}"
                yield Problem("missing-dependency", message, path, one.line)
        elif not name.startswith("#"):
            package = package_of(name)
            if package in npm_packages():
                return
            instead = _INSTEAD.get(package)
            if package in PREFIXED_ONLY:
                instead = f"write node:{package}"
            hint = instead or f"only these can: {', '.join(npm_packages())}"
            message = (
                f"{printable(package)} is {'required' if one.how == 'require' else 'imported'} "
                f"here, but it cannot be installed; {hint}"
            )
            yield Problem("missing-dependency", message, path, one.line)

    def _own_file_problems(self, path: str, one: Import) -> Iterator[Problem]:
        name = one.specifier
        target = self._module_file(path, name)
        word = "required" if one.how == "require" else "imported"
        if target is None:
            hint = suggestion(self._bundle, path, name)
            message = f"{printable(name)} is {word} here, but no such file is in the app{hint}"
            yield Problem("missing-file", message, path, one.line)
            return
        exact = normpath(resolved(path, name))
        if one.how != "require" and target != exact:
            ending = target.removeprefix(exact)
            message = (
                f"an ES module names its files in full: write '{printable(name.rstrip('/'))}"
                f"{ending}' instead of '{printable(name)}'"
            )
            yield Problem("missing-file", message, path, one.line)
            return
        if one.how == "require" and target.endswith(".cjs") and exact != target:
            message = f"require() finds no .cjs file by itself: write '{printable(name)}.cjs'"
            yield Problem("missing-file", message, path, one.line)
            return
        if target.endswith(".json"):
            if one.how == "import" and not one.has_attributes:
                message = (
                    f"JSON is imported with an attribute: import data from '{printable(name)}' "
                    "with { type: 'json' }"
                )
                yield Problem("missing-file", message, path, one.line)
            return
        missing, there = self._missing_names(target, one)
        if missing:
            message = (
                f"'{printable(name)}' does not export {', '.join(missing)}; it exports "
                f"{', '.join(sorted(there)) or 'nothing'}"
            )
            yield Problem("missing-export", printable(message, 300), path, one.line)

    def _missing_names(self, target: str, one: Import) -> tuple[list[str], set[str]]:
        if not target.endswith(JAVASCRIPT):
            return [], set()
        code = self._sources.javascript(target)
        if self._goal(target) == "module":
            return missing_exports(self._sources, target, one.names), code.exports
        known = code.commonjs_exports
        if known is None or one.how != "require":
            return [], set()
        return [name for name in one.names if name not in known], set(known)

    @staticmethod
    def _commonjs_words(path: str, code: JavaScript) -> Iterator[Problem]:
        instead = {
            "__dirname": "import.meta.dirname",
            "__filename": "import.meta.filename",
        }
        for word, better in instead.items():
            line = code.identifiers.get(word)
            if line and word not in code.declared_anywhere and word not in code.typeof:
                message = f"an ES module has no {word}; write {better}"
                yield Problem("module-kind", message, path, line)
        line = code.members.get(("module", "exports"))
        if line and "module" not in code.declared_anywhere and "module" not in code.typeof:
            message = "an ES module has no module.exports; write export"
            yield Problem("module-kind", message, path, line)

    # Express and the process

    def _code_problems(self, path: str) -> Iterator[Problem]:
        code = self._sources.javascript(path)
        for call in code.calls:
            if call.name in _ROUTING or call.name == "route":
                yield from self._route_problems(path, code, call)
            elif call.is_new and call.name in {"WebSocketServer", "Server"}:
                port = property_of(call.arguments[0], "port") if call.arguments else None
                name = call.object + call.name
                if port is not None and port.type == "number" and "ebSocket" in name:
                    message = (
                        "a WebSocket server on a port of its own cannot be reached; attach it to "
                        "the app's server: new WebSocketServer({ server })"
                    )
                    yield Problem("port", message, path, call.line)
            elif call.name == "sendFile" and call.arguments:
                yield from self._sent_file_problems(path, call)
            elif call.name == "render" and call.object in {"res", "response"} and call.arguments:
                yield from self._view_problems(path, call)
        yield from self._environment_problems(path, code)

    def _route_problems(self, path: str, code: JavaScript, call: Call) -> Iterator[Problem]:
        if not call.arguments or (call.name != "route" and len(call.arguments) < 2):  # noqa: PLR2004
            return
        owner = call.object
        if not _APP_NAME.match(owner) and not any(
            value.type == "call_expression"
            and re.match(r"(?:express|(?:express\.)?Router)\(", text(value)[:40])
            for value in code.declared_anywhere.get(owner, [])
        ):
            return
        first = call.arguments[0]
        for node in first.named_children if first.type == "array" else [first]:
            route = literal(node)
            if route is None or not (route.startswith(("/", "*", "(", "{", ":")) or route == ""):
                continue
            wrong = route_problem(route)
            if wrong is not None:
                message = f"Express 5 refuses the path {printable(route)!r}: {wrong}"
                yield Problem("route", message, path, call.line)

    def _sent_file_problems(self, path: str, call: Call) -> Iterator[Problem]:
        target = self._path_within(path, call.arguments[0])
        if target is not None and target.endswith(HTML) and self._bundle.file(target) is None:
            options = call.arguments[1] if len(call.arguments) > 1 else None
            if options is not None and property_of(options, "root") is not None:
                return
            hint = suggestion(self._bundle, "", target)
            message = f"{printable(target)} is sent here, but no such file is in the app{hint}"
            yield Problem("missing-file", message, path, call.line)

    def _view_problems(self, path: str, call: Call) -> Iterator[Problem]:
        view = literal(call.arguments[0])
        if view is None:
            return
        names = {view, f"{view}.ejs", f"{view}.html"}
        if not any(
            file.path == name or file.path.endswith(f"/{name}")
            for file in self._bundle.files
            for name in names
        ):
            message = f"the view {printable(view)} is rendered here, but no such file is in the app"
            yield Problem("missing-file", message, path, call.line)

    def _environment_problems(self, path: str, code: JavaScript) -> Iterator[Problem]:
        """An app that ends itself because nobody has set a variable which nobody can set."""
        for node in code.ifs:
            parent = node.parent
            if parent is None or parent.type != "program":
                continue
            condition = node.child_by_field_name("condition")
            consequence = node.child_by_field_name("consequence")
            if condition is None or consequence is None:
                continue
            ends = text(consequence)
            if "process.exit(" not in ends and not re.search(r"\bthrow\b", ends):
                continue
            for variable in re.findall(r"!\s?process\.env\.([A-Z_0-9]+)", text(condition)[:500]):
                if variable not in _KNOWN_VARIABLES:
                    message = (
                        f"the app ends itself without the environment variable {variable}, which "
                        "nobody can set here; build the app so that it works without it"
                    )
                    yield Problem("environment", message, path, node.start_point[0] + 1)

    def _listen_problems(self) -> Iterator[Problem]:
        entry = self._bundle.entrypoint
        listens = [
            (path, call)
            for path in self.files
            for call in self._sources.javascript(path).calls
            if call.name == "listen"
        ]
        if not listens:
            message = (
                "no file that the entry point loads calls listen(), so the app never answers; end "
                f"it with app.listen(process.env.PORT || {APP_PORT})"
            )
            yield Problem("port", message, entry)
            return
        verdicts = [self._port_of(path, call) for path, call in listens]
        if "environment" in verdicts:
            return
        reads = any(self._reads_port(path) for path in self.files)
        path, call = listens[0]
        if "unknown" in verdicts and reads:
            return
        message = (
            "the server must listen on process.env.PORT; write "
            f"listen(process.env.PORT || {APP_PORT})"
        )
        yield Problem("port", message, path, call.line)

    def _port_of(self, path: str, call: Call) -> str:
        code = self._sources.javascript(path)
        if not call.arguments:
            return "constant"
        first = call.arguments[0]
        if first.type == "object":
            port = property_of(first, "port")
            if port is None:
                return "constant"
            first = port
        verdict = "unknown"
        for value in code.values_of(first):
            said = text(value)
            if "PORT" in said and "env" in said:
                return "environment"
            if value.type in {"number", "arrow_function", "function_expression"} or (
                value.type == "string"
            ):
                verdict = "constant"
        return verdict

    def _reads_port(self, path: str) -> bool:
        code = self._sources.javascript(path)
        if any(name == "PORT" for _, name in code.members):
            return True
        names_it = "PORT" in code.declared_anywhere or "PORT" in code.taken_out
        return (
            (names_it and (("process", "env") in code.members or "env" in code.identifiers))
            or any(value == "PORT" for value, _ in code.texts)
            or bool(re.search(r"process\.env\.PORT\b", code.source))
        )

    # Pages

    def _texts(self, path: str) -> list[tuple[str, int]]:
        return self._sources.javascript(path).texts

    def _find_mounts(self) -> Iterator[_Mount]:
        for path in self.files:
            for call in self._sources.javascript(path).calls:
                if call.name != "static" or not call.arguments:
                    continue
                folder = self._path_within(path, call.arguments[0])
                if folder is None:
                    named = literals_within(call.arguments[0])
                    folder = next((one for one in map(normpath, named) if self._holds(one)), None)
                if folder is None:
                    continue
                yield _Mount(_prefix_of(call.node), "" if folder == "." else folder)

    def _path_within(self, path: str, argument: Node) -> str | None:
        """The bundle's path that path.join(__dirname, 'a') and the like name; None: unknown."""
        if path not in self._paths:
            self._paths[path] = Paths(self._sources.javascript(path))
        pieces = self._paths[path].pieces(argument)
        if not pieces:
            return None
        joined = "/".join(piece.strip("/") for piece in pieces)
        for base in (dirname(path), ""):
            target = normpath(f"{base}/{joined}" if base else joined)
            if self._holds(target):
                return target
        return normpath(joined)

    def _holds(self, path: str) -> bool:
        return path == "." or any(
            file.path == path or file.path.startswith(f"{path}/") for file in self._bundle.files
        )

    def _is_served(self, path: str) -> bool:
        if any(not mount.folder or path.startswith(f"{mount.folder}/") for mount in self._mounts):
            return True
        return bool(_PUBLIC_FOLDERS & set(path.split("/")[:-1]))

    def _find(self, page: str, url: str) -> str | None:
        path = local_path(url)
        if path is None:
            return ""
        candidates = [resolved(page, path)]
        plain = normpath(path.lstrip("/") or ".")
        for mount in self._mounts:
            inner = plain
            prefix = mount.prefix.strip("/")
            if prefix:
                if not plain.startswith(f"{prefix}/"):
                    continue
                inner = plain[len(prefix) + 1 :]
            candidates.append(normpath(f"{mount.folder}/{inner}" if mount.folder else inner))
        for target in candidates:
            if self._bundle.file(target) is not None:
                return target
        asked = f"/{plain}"
        if any(route == asked or (":" in route or "*" in route) for route in self._routes):
            return ""
        if not self._mounts:
            # How its files are served is not understood: any file of that name may be meant.
            same = [one.path for one in self._bundle.files if one.path.endswith(f"/{plain}")]
            if same:
                return same[0]
        return None

    def _helmet_problems(self, path: str, page: Page) -> Iterator[Problem]:
        inline = next((one.line for one in page.scripts if one.url is None), None)
        inline = inline or next((one.line for one in page.handlers), None)
        if inline is None:
            return
        for source in self.files:
            for call in self._sources.javascript(source).calls:
                if call.name != "helmet" or call.object:
                    continue
                options = call.arguments[0] if call.arguments else None
                if options is not None and (
                    options.type != "object"
                    or property_of(options, "contentSecurityPolicy") is not None
                ):
                    continue
                message = (
                    f"helmet() in {printable(source)} forbids scripts that stand in the page "
                    "itself; move this into a file of its own, or write "
                    "helmet({ contentSecurityPolicy: false })"
                )
                yield Problem("content-policy", message, path, inline)
                return


_HERE = frozenset({"__dirname", "__filename", "import.meta.dirname", "import.meta.url"})
_PATH_MAKERS = frozenset({"URL", "dirname", "fileURLToPath", "join", "normalize", "resolve"})
_MOST_PIECES = 32
_DEEPEST_PATH = 8


class Paths:
    """The paths that one file puts together. Each expression is worked out once."""

    def __init__(self, code: JavaScript) -> None:
        self._code = code
        self._known: dict[int, list[str] | None] = {}

    def pieces(self, node: Node, depth: int = _DEEPEST_PATH) -> list[str] | None:
        """The parts of a path, seen from the app's folder; None: unknown.

        Where the file or the process stands (`__dirname`, `import.meta.url`) adds nothing to it.
        """
        if node.id not in self._known:
            self._known[node.id] = None  # should it lead to itself
            self._known[node.id] = self._worked_out(node, depth - 1) if depth else None
        return self._known[node.id]

    def _worked_out(self, node: Node, depth: int) -> list[str] | None:
        if (whole := literal(node)) is not None:
            return [whole]
        if node.type == "identifier":
            values = self._code.declared_anywhere.get(text(node))
            if not values:
                return [] if text(node) in _HERE else None
            return self.pieces(values[0], depth) if len(values) == 1 else None
        if node.type == "member_expression":
            return self._of_member(node, depth)
        if node.type in {"call_expression", "new_expression"}:
            return self._of_call(node, depth)
        if node.type == "binary_expression":
            return self._of_all(node.named_children, depth)
        return None

    def _of_member(self, node: Node, depth: int) -> list[str] | None:
        owner, name = node.child_by_field_name("object"), node.child_by_field_name("property")
        if text(node) in _HERE:
            return []
        is_path = owner is not None and name is not None and text(name) in {"href", "pathname"}
        return self.pieces(owner, depth) if is_path and owner is not None else None

    def _of_call(self, node: Node, depth: int) -> list[str] | None:
        called = node.child_by_field_name("function") or node.child_by_field_name("constructor")
        given = node.child_by_field_name("arguments")
        name = text(called).rpartition(".")[2] if called is not None else ""
        if name == "cwd":
            return []
        if name not in _PATH_MAKERS or given is None:
            return None
        wanted = arguments(given)
        # The base of a URL stands last.
        return self._of_all(wanted[::-1] if name == "URL" else wanted, depth)

    def _of_all(self, nodes: Iterable[Node], depth: int) -> list[str] | None:
        found: list[str] = []
        for node in nodes:
            pieces = self.pieces(node, depth)
            if pieces is None or len(found) + len(pieces) > _MOST_PIECES:
                return None
            found.extend(pieces)
        return found


def package_of(specifier: str) -> str:
    """The npm package that an import names."""
    return "/".join(specifier.split("/")[: 2 if specifier.startswith("@") else 1])


def _prefix_of(static: Node) -> str:
    """The path of the `use` call that a static folder is given to."""
    node = static.parent
    while node is not None and node.type in {"arguments", "call_expression"}:
        if node.type == "call_expression":
            args = node.child_by_field_name("arguments")
            first = args.named_children[0] if args is not None and args.named_children else None
            return literal(first) or "/"
        node = node.parent
    return "/"
