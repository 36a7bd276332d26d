"""What the rules of all app types share: paths that are written in code, and where they lead."""

from collections.abc import Iterable
from posixpath import basename, dirname, join, normpath, relpath, splitext
from urllib.parse import unquote, urlsplit

from spawnai.generation.bundle import Bundle
from spawnai.generation.problems import printable

JAVASCRIPT = (".js", ".mjs", ".cjs")
HTML = (".html", ".htm")


def is_remote(url: str) -> bool:
    """Whether a URL names another host."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return bool(parts.netloc) or parts.scheme in {"http", "https"}


def local_path(url: str) -> str | None:
    """The path of a URL on the app's own host, decoded; None when it leads elsewhere."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    if parts.scheme or parts.netloc or not parts.path:
        return None
    return unquote(parts.path)


def resolved(base: str, path: str) -> str:
    """The path in the bundle that `path`, written in the file or page `base`, names."""
    if path.startswith("/"):
        return normpath(path.lstrip("/") or ".")
    return normpath(join(dirname(base), path))


def suggestion(bundle: Bundle, base: str, target: str) -> str:
    """Which file may have been meant, as it would be written in `base`; "" when there is none."""
    wanted = splitext(basename(target))[0].casefold()
    close = [
        file.path
        for file in bundle.files
        if splitext(basename(file.path))[0].casefold() == wanted
        and (splitext(target)[1] in ("", splitext(file.path)[1]))
    ]
    if not close:
        return ""
    return f"; write {as_written(base, min(close, key=len))}"


def as_written(base: str, path: str) -> str:
    """How the file at `path` is named from the file `base`."""
    written = relpath(path, dirname(base) or ".")
    return printable(written if written.startswith(".") else f"./{written}")


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Names for a message."""
    shown = [printable(name, 60) for name in names]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more
