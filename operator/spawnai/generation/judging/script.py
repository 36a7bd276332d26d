"""The rules for a script: Python with its standard library, run once, with nobody to answer it."""

import sys
from collections import deque
from collections.abc import Iterator
from posixpath import dirname

from spawnai.generation.problems import Problem, printable

from .browser import Sources
from .python_source import PythonImport, PythonSource, parse_python

# In the standard library of 3.11, and gone in a version that a droplet's image may have.
REMOVED = frozenset(
    [
        *("aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils"),
        *("imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev"),
        *("pipes", "smtpd", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"),
    ]
)
# Need a screen, a terminal or a package that servers do not have.
NO_SCREEN = frozenset({"curses", "idlelib", "tkinter", "turtle", "turtledemo"})
NOT_INSTALLED = frozenset({"ensurepip", "venv"})


def script_problems(sources: Sources) -> Iterator[Problem]:
    """Every problem of the files of a script."""
    bundle = sources.bundle
    parsed: dict[str, PythonSource] = {}
    for path in sources.paths((".py",)):
        file = bundle.file(path)
        tree = parse_python(file.content if file is not None else "", path)
        if isinstance(tree, Problem):
            yield tree
        else:
            parsed[path] = PythonSource(tree)
    entry = bundle.entrypoint
    if entry not in parsed:
        return
    yield from Script(sources, parsed).problems()


class Script:
    """The modules that the entry point loads, and what is wrong with them."""

    def __init__(self, sources: Sources, parsed: dict[str, PythonSource]) -> None:
        self._bundle = sources.bundle
        self._parsed = parsed
        self._folder = dirname(sources.bundle.entrypoint)

    def problems(self) -> Iterator[Problem]:
        """Every problem of what is loaded."""
        seen, waiting = {self._bundle.entrypoint}, deque([self._bundle.entrypoint])
        while waiting:
            path = waiting.popleft()
            source = self._parsed[path]
            yield from self._run_problems(path, source)
            for one in source.imports:
                if one.is_optional:
                    continue
                problem, loaded = self._resolve(path, one)
                if problem is not None:
                    yield problem
                for target in loaded:
                    if target in self._parsed and target not in seen:
                        seen.add(target)
                        waiting.append(target)

    @staticmethod
    def _run_problems(path: str, source: PythonSource) -> Iterator[Problem]:
        for line in source.input_lines[:1]:
            message = (
                "input() has nobody to answer it: the script runs once, without a keyboard; use "
                "values that are written in the script"
            )
            yield Problem("input", message, path, line)
        for name, line in source.wanted_arguments[:1]:
            message = (
                f"the argument {printable(name)} is required, but the script is started without "
                "arguments; give it a default"
            )
            yield Problem("input", message, path, line)
        for what, line in source.endless[:1]:
            message = f"{what}: a script must end by itself; do it a few times, then stop"
            yield Problem("endless", message, path, line)

    def _resolve(self, path: str, one: PythonImport) -> tuple[Problem | None, list[str]]:
        """What is wrong with an import, and the own files that it loads."""

        def bad(message: str, rule: str = "missing-dependency") -> tuple[Problem, list[str]]:
            return Problem(rule, message, path, one.line), []

        if one.level:
            package = dirname(path)
            for _ in range(one.level - 1):
                package = dirname(package)
            if dirname(path) == self._folder:
                return bad(
                    f"{path} is no part of a package, so '{'.' * one.level}{one.module}' cannot be "
                    f"imported; write: from {one.module or one.names[0]} import …",
                    "missing-file",
                )
            return self._own(path, one, package, one.module)
        top = one.module.split(".")[0]
        if self._is_own(self._folder, top):
            return self._own(path, one, self._folder, one.module)
        if top in REMOVED:
            return bad(
                f"{top} left Python's standard library in 3.12 or 3.13, and the server may have "
                "that; do without it"
            )
        if top in NO_SCREEN:
            return bad(
                f"{top} needs a screen, and the script runs on a server; write a picture as SVG"
            )
        if top in sys.stdlib_module_names and top not in NOT_INSTALLED:
            return None, []
        elsewhere = [
            file.path
            for file in self._bundle.files
            if top in [part.removesuffix(".py") for part in file.path.split("/")]
        ]
        if elsewhere and any(source.changes_path for source in self._parsed.values()):
            return None, [path for path in elsewhere if path in self._parsed]
        if elsewhere:
            place = printable(elsewhere[0])
            return bad(
                f"{printable(top)} is not found beside {self._bundle.entrypoint}, where Python "
                f"looks for modules; {place} is imported by its path from there",
                "missing-file",
            )
        return bad(
            f"{printable(top)} is not in Python's standard library, and nothing else is installed; "
            "use the standard library alone"
        )

    def _own(
        self, path: str, one: PythonImport, folder: str, module: str
    ) -> tuple[Problem | None, list[str]]:
        loaded: list[str] = []
        here = folder
        parts = module.split(".") if module else []
        for number, part in enumerate(parts):
            base = f"{here}/{part}" if here else part
            is_last = number == len(parts) - 1
            if self._bundle.file(f"{base}/__init__.py") is not None:
                loaded.append(f"{base}/__init__.py")
            elif is_last and self._bundle.file(f"{base}.py") is not None:
                loaded.append(f"{base}.py")
            elif not self._holds(base):
                message = (
                    f"{printable(module)} is imported here, but there is no file "
                    f"{printable(base)}.py in the app"
                )
                return Problem("missing-file", message, path, one.line), loaded
            here = base
        is_module = bool(loaded) and loaded[-1] == f"{here}.py"
        for name in one.names:
            if name == "*":
                continue
            if not is_module and self._is_own(here, name):
                base = f"{here}/{name}" if here else name
                inner = f"{base}/__init__.py"
                loaded.append(inner if self._bundle.file(inner) else f"{base}.py")
                continue
            defined = (
                self._parsed[loaded[-1]].names if loaded and loaded[-1] in self._parsed else None
            )
            is_namespace = not loaded or not (is_module or loaded[-1] == f"{here}/__init__.py")
            if is_namespace or (defined is not None and name not in defined):
                message = f"{printable(module or '.')} defines no {printable(name)}"
                return Problem("missing-export", message, path, one.line), loaded
        return None, loaded

    def _is_own(self, folder: str, name: str) -> bool:
        base = f"{folder}/{name}" if folder else name
        return self._bundle.file(f"{base}.py") is not None or self._holds(base)

    def _holds(self, folder: str) -> bool:
        """Whether a folder has Python files: then it is a package, with or without __init__.py."""
        return any(
            file.path.startswith(f"{folder}/") and file.path.endswith(".py")
            for file in self._bundle.files
        )
