"""The agent as it ships: its files as one archive that Python can run.

What ships is the source line for line, without comments and docstrings: user_data has little room,
and a traceback from a droplet still names the lines of the files here.
"""

import ast
import base64
import gzip
import io
import tokenize
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import resources

PACKAGE = "spawnai_agent"
"""What the package is called on a droplet."""

_MAIN = f"from {PACKAGE}.main import main\n\nmain()\n"


@cache
def read_agent_source() -> str:
    """The archive, gzip and base64: the same text for the same agent.

    The files are stored in the archive as they are and compressed as a whole, which is smaller.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as pack:
        # Each has the same date: the time of packing must not change the bytes.
        pack.writestr(zipfile.ZipInfo("__main__.py"), _MAIN)
        for name, source in agent_files().items():
            pack.writestr(zipfile.ZipInfo(f"{PACKAGE}/{name}"), without_comments(source))
    return _packed(archive.getvalue())


def pack_text(text: str) -> str:
    """A text as gzip and base64: the same for the same text."""
    return _packed(text.encode())


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode("ascii")


def agent_files() -> dict[str, str]:
    """The agent's source: file name to text, sorted by name."""
    folder = resources.files("spawnai.droplet").joinpath("agent")
    files = (file for file in folder.iterdir() if file.name.endswith(".py"))
    return {file.name: file.read_text("utf-8") for file in sorted(files, key=lambda f: f.name)}


def without_comments(source: str) -> str:
    """The same program with the same line numbers, without comments and docstrings."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for docstring, stands_alone in _docstrings(ast.parse(source)):
        indent = lines[docstring.lineno - 1][: docstring.col_offset]
        for row in range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1):
            lines[row - 1] = ""
        if stands_alone:  # a body must have something
            lines[docstring.lineno - 1] = f"{indent}..."
    return "\n".join(lines) + "\n"


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.stmt, bool]]:
    """Every text that stands where a statement may, and whether nothing stands beside it."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield statement, len(body or ()) == 1
