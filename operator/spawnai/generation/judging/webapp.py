"""The rules for a webapp: pages, served as files, without a server behind them."""

from collections.abc import Iterator

from spawnai.generation.problems import Problem, printable

from .browser import Browser, Site, Sources
from .files import HTML, JAVASCRIPT, is_remote, local_path, resolved
from .javascript import literal_start
from .syntax import javascript_problem

_HISTORY = frozenset({"pushState", "replaceState"})


def webapp_problems(sources: Sources) -> Iterator[Problem]:
    """Every problem of the files of a webapp."""
    bundle = sources.bundle
    entry = bundle.file(bundle.entrypoint)
    if entry is not None and entry.content.strip() and not sources.page(entry.path).has_elements:
        yield Problem("entrypoint", "the page holds no HTML element", entry.path)

    def find(page: str, url: str) -> str | None:
        path = local_path(url)
        if path is None:
            return ""
        # A style sheet or module resolves what it names beside itself; so does a page.
        target = resolved(page, path)
        return target if bundle.file(target) is not None else None

    site = Site(find, has_server=False, pages=tuple(sources.paths(HTML)))
    browser = Browser(sources, site)
    yield from browser.problems()
    for path in sources.paths(JAVASCRIPT):
        if path not in browser.goals:
            yield from _unused_problems(sources, path)
    yield from _deep_link_problems(sources, set(browser.goals))


def _unused_problems(sources: Sources, path: str) -> Iterator[Problem]:
    """A file that nothing is seen to load: only whether it could be."""
    code = sources.javascript(path)
    is_module = code.module_line is not None or path.endswith(".mjs")
    problem = javascript_problem(code.source, path, "module" if is_module else "script")
    if problem is not None and code.jsx_line is None:
        yield problem


def _deep_link_problems(sources: Sources, loaded: set[str]) -> Iterator[Problem]:
    """Every unknown path answers with the start page; below a folder its relative URLs break."""
    page = sources.page("index.html") if sources.bundle.file("index.html") else None
    if page is None or page.has_base:
        return
    relative = [
        (url, line)
        for url, line in (
            *((script.url, script.line) for script in page.scripts),
            *((style.url, style.line) for style in page.styles),
        )
        if url and not is_remote(url) and not url.startswith("/")
    ]
    if not relative:
        return
    for path in sorted(loaded | {"index.html"}):
        codes = [sources.javascript(path)] if path.endswith(JAVASCRIPT) else []
        for code in codes:
            for call in code.calls:
                if call.name not in _HISTORY or len(call.arguments) <= 2:  # noqa: PLR2004
                    continue
                start = literal_start(call.arguments[2])
                route = start[0] if start is not None else ""
                texts = [route] if start is not None else [text for text, _ in code.texts]
                deep = next((text for text in texts if _is_deep(text)), None)
                if deep is not None:
                    url, line = relative[0]
                    message = (
                        f"{printable(path)} leads to paths such as {printable(deep)}, and from "
                        f"there the relative {printable(url)} is not found when the page is "
                        'loaded again; write <base href="/"> first in <head>'
                    )
                    yield Problem("deep-link", message, "index.html", line)
                    return


def _is_deep(text: str) -> bool:
    """Whether a text is a path with more than one segment, such as /notes/."""
    return (
        text.startswith("/")
        and not text.startswith("//")
        and "/" in text[1:]
        and not any(character in text for character in " <>(){}")
        and "." not in text.rsplit("/", 1)[-1]
    )
