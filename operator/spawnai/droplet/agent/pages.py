"""What people see while there is no app, and what a script has made."""

import contextlib
import html
import os
import shutil
import stat
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from .settings import MIB

OFFERED_FILES_MAX = 200  # of the files a script made
OFFERED_BYTES_MAX = 64 * MIB


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto;white-space:pre-wrap}}</style>
<h1>{title}</h1>
{body}
</html>
"""


def say(base: Path, title: str, sentence: str) -> None:
    """What Caddy shows, with status 503, while there is no app to show."""
    folder = base / "pages"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o755, exist_ok=True)
        body = f"<p>{html.escape(sentence)}</p>"
        part = folder / "unavailable.part"
        part.write_text(PAGE.format(title=html.escape(title), body=body), "utf-8")
        part.chmod(0o644)
        part.replace(folder / "unavailable.html")


def result_page(output: str, code: int | None, problem: str | None, offered: list[str]) -> str:
    """What a script did, for people. Everything in it came from the script: all is escaped."""
    ended = f"It did not finish: {problem}." if problem else f"It ended with exit code {code}."
    links = "".join(
        f'<li><a href="files/{urllib.parse.quote(name)}">{html.escape(name)}</a></li>'
        for name in offered
    )
    body = f"<p>{html.escape(ended)}</p>\n<h2>Output</h2>\n<pre>{html.escape(output)}</pre>"
    if links:
        body += f"\n<h2>Files</h2>\n<ul>{links}</ul>"
    return PAGE.format(title="The script's result", body=body)


def copy_results(source: Path, target: Path, known: set[str]) -> Iterator[str]:
    """Copy the plain files a script made, within limits; yields their names.

    A link could lead to the agent's key, so none is followed, not even one that takes a file's
    place while this looks (O_NOFOLLOW, then fstat).
    """
    count, limit_bytes = 0, OFFERED_BYTES_MAX
    for parent, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in {"__pycache__", "node_modules"})
        for name in sorted(names):
            path = Path(parent, name)
            relative = path.relative_to(source).as_posix()
            if relative in known or not relative.isprintable() or count >= OFFERED_FILES_MAX:
                continue
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with os.fdopen(os.open(path, flags), "rb") as file:
                    facts = os.fstat(file.fileno())
                    if not stat.S_ISREG(facts.st_mode) or facts.st_size > limit_bytes:
                        continue
                    limit_bytes -= facts.st_size
                    copy = target / relative
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    with copy.open("wb") as out:
                        shutil.copyfileobj(file, out)
            except OSError:
                continue
            count += 1
            yield relative
