"""What is put right without a word, because no repair should be paid for it.

Each rule keeps the meaning: what a person would do with the files by hand before starting the app.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from posixpath import basename

from spawnai.app_runtime import npm_packages

from .answer import Answer
from .bundle import AppFile, Bundle

_BYTE_ORDER_MARK = "\ufeff"
_FENCE = re.compile(r"\s*```[\w+.-]*[ \t]*\n(.*?)\n?```\s*", re.DOTALL)

# npm reads these as its own; the agent makes them from `dependencies`.
NPM_FILES = frozenset({"package.json", "package-lock.json", "npm-shrinkwrap.json"})
# Files that only developers' tools read, wherever they stand.
_DEVELOPERS = re.compile(
    r"(?:^|/)(?:\.(?:gitignore|gitattributes|gitkeep|keep|editorconfig|prettierrc|prettierignore"
    r"|eslintrc|eslintignore|stylelintrc|dockerignore|npmrc|npmignore|nvmrc|node-version"
    r"|python-version|browserslistrc|babelrc|env(?:\.[\w.-]+)?|flake8|pylintrc|nojekyll"
    r"|htmlhintrc|DS_Store)(?:\.(?:json|js|cjs|mjs|ya?ml|toml))?"
    r"|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?)$"
    r"|(?:^|/)\.(?:github|vscode|idea|husky|circleci|devcontainer)/"
)
# May stand beside an app's folder without being part of it.
_BESIDE = re.compile(
    r"(?:readme|license|licence|changelog|contributing|dockerfile|makefile|docker-compose)"
    r"(?:\.[\w.]+)?|requirements\.txt|[\w.-]*config\.[cm]?js",
    re.IGNORECASE,
)
PACKAGE_JSON = "package.json"
SERVER_TYPES = frozenset({"api", "fullstack"})
DEFAULT_ENTRYPOINTS = {
    "webapp": "index.html",
    "api": "server.js",
    "fullstack": "server.js",
    "script": "main.py",
}


def normalised_answer(answer: Answer) -> Answer:
    """The answer with plain paths and plain text."""
    files = [
        AppFile(path, _content(path, file.content))
        for file in answer.files
        if not _is_dropped(path := _path(file.path))
    ]
    return replace(
        answer,
        entrypoint=_path(answer.entrypoint),
        files=tuple(files),
        removed_files=tuple(_path(path) for path in answer.removed_files),
    )


def normalised_bundle(bundle: Bundle) -> Bundle:
    """A whole app without a folder around it, entered where its type is entered."""
    return _entered(_unfolded(bundle))


def finished(bundle: Bundle, packages: Iterable[str], module_type: str | None) -> Bundle:
    """The app as it is deployed: the packages that it uses in the platform's own versions.

    A server gets a package.json, which says how Node.js reads its files; so what a person takes
    out of the cluster runs elsewhere, too.
    """
    versions = npm_packages()
    dependencies = {name: versions[name] for name in sorted(packages)}
    files = sources_of(bundle).files
    if bundle.app_type in SERVER_TYPES:
        document: dict[str, object] = {"name": "app", "version": "1.0.0", "private": True}
        if module_type is not None:
            document["type"] = module_type
        document |= {"main": bundle.entrypoint, "dependencies": dependencies}
        files = (*files, AppFile(PACKAGE_JSON, json.dumps(document, indent=2) + "\n"))
    return replace(bundle, files=files, dependencies=dependencies)


def sources_of(bundle: Bundle) -> Bundle:
    """What Claude wrote of a finished app."""
    files = tuple(file for file in bundle.files if file.path != PACKAGE_JSON)
    return replace(bundle, files=files)


def _path(path: str) -> str:
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path


def _is_dropped(path: str) -> bool:
    return basename(path) in NPM_FILES or _DEVELOPERS.search(path) is not None


def _content(path: str, content: str) -> str:
    content = content.removeprefix(_BYTE_ORDER_MARK)
    if "\r\n" in content:
        content = content.replace("\r\n", "\n")
    if not path.endswith(".md") and content.lstrip().startswith("```"):
        fenced = _FENCE.fullmatch(content)
        if fenced is not None and "\n```" not in fenced.group(1):
            content = fenced.group(1) + "\n"
    return content


def _unfolded(bundle: Bundle) -> Bundle:
    """Without a folder that the whole app stands in."""
    entry = bundle.entrypoint
    folder = entry.partition("/")[0] if "/" in entry else ""
    if not folder and bundle.file(entry) is None:
        tops = {file.path.partition("/")[0] for file in bundle.files if "/" in file.path}
        named = [top for top in tops if bundle.file(f"{top}/{entry}") is not None]
        folder = named[0] if len(named) == 1 else ""
    if not folder:
        return bundle
    prefix = f"{folder}/"
    inside = [file for file in bundle.files if file.path.startswith(prefix)]
    beside = [file for file in bundle.files if not file.path.startswith(prefix)]
    if not inside or not all(_BESIDE.fullmatch(file.path) for file in beside):
        return bundle
    return replace(
        bundle,
        entrypoint=entry.removeprefix(prefix),
        files=tuple(AppFile(file.path.removeprefix(prefix), file.content) for file in inside),
    )


def _entered(bundle: Bundle) -> Bundle:
    """With the usual entry point where the named one does not exist."""
    usual = DEFAULT_ENTRYPOINTS.get(bundle.app_type)
    if usual is None or bundle.file(bundle.entrypoint) or not bundle.file(usual):
        return bundle
    return replace(bundle, entrypoint=usual)
