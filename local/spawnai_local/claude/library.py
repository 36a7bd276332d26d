"""Which small real app fits an order. The apps are files below apps/."""

import html
import re
from dataclasses import dataclass, field
from pathlib import Path

_APPS = Path(__file__).parent / "apps"
_TITLE_LENGTH = 70


@dataclass(frozen=True, slots=True)
class App:
    """An app as an answer gives it. `main` is the file whose code the faults break."""

    entrypoint: str
    files: dict[str, str]
    dependencies: dict[str, str] = field(default_factory=dict)
    main: str = ""

    def with_files(self, files: dict[str, str]) -> "App":
        """The same app with other files."""
        return App(self.entrypoint, files, self.dependencies, self.main)


_WEBAPPS = (
    ("retro_board", ("retro", "board", "kanban", "column", "vote", "sticky")),
    ("countdown", ("countdown", "count down", "timer", "pomodoro", "clock", "deadline")),
)
_APIS = (
    ("todo", ("todo", "to-do", "task", "checklist")),
    ("quotes", ("quote", "proverb", "saying")),
    ("notes", ("note", "memo", "journal")),
)
_SCRIPTS = (
    ("prime_numbers", ("prime",)),
    ("sales_report", ("report", "sales", "csv", "invoice")),
    ("class_statistics", ("statistic", "average", "mean", "histogram", "measure")),
)


def fitting_app(app_type: str, prompt: str) -> App:
    """The app whose words the prompt holds first, or the most general one of the type."""
    if app_type == "api":
        name = _named(prompt, _APIS, "notes")
        files = {
            "server.js": _read("api/server.js"),
            "resource.js": _read(f"api/{name}/resource.js"),
        }
        return App("server.js", files, {"express": "^5.1.0"}, "resource.js")
    if app_type == "fullstack":
        files = {"server.js": _read("fullstack/server.js")}
        for path in ("index.html", "style.css", "app.js", "entries.js"):
            files[f"public/{path}"] = _read(f"fullstack/{path}")
        files["public/index.html"] = _filled(files["public/index.html"], prompt)
        return App("server.js", files, {"express": "^5.1.0"}, "server.js")
    if app_type == "script":
        name = _named(prompt, _SCRIPTS, "class_statistics")
        source = _read(f"script/{name}.py")
        return App("main.py", {"main.py": re.sub(r"  # noqa:.*", "", source)}, main="main.py")
    name = _named(prompt, _WEBAPPS, "page")
    files = {path: _read(f"webapp/{name}/{path}") for path in ("index.html", "style.css", "app.js")}
    if name == "page":
        files["index.html"] = _filled(files["index.html"], prompt)
    return App("index.html", files, main="app.js")


def _named(prompt: str, choices: tuple[tuple[str, tuple[str, ...]], ...], otherwise: str) -> str:
    lower = prompt.lower()
    found = [
        (lower.index(word), name) for name, words in choices for word in words if word in lower
    ]
    return min(found)[1] if found else otherwise


def _filled(page: str, prompt: str) -> str:
    prompt = re.sub(r"\s*\b(?:simulate|bundle):[A-Za-z0-9_-]+", "", prompt)
    first = prompt.strip().splitlines()[0] if prompt.strip() else "An empty page"
    title = first if len(first) <= _TITLE_LENGTH else first[: _TITLE_LENGTH - 1] + "…"
    values = {"title": title, "prompt": prompt}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: html.escape(values[match.group(1)]), page)


def _read(path: str) -> str:
    return (_APPS / path).read_text(encoding="utf-8")
