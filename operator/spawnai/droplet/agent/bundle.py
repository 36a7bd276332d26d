"""What the operator may hand in: an app, as files."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES_MAX = 100
PATH_MAX_CHARACTERS = 200


class Refused(Exception):
    """A request that is answered with no; the sentence goes to the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# npm obeys these, so an app never brings its own: scripts, registries, locks that lead elsewhere.
NOT_THE_APPS = {"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"}
PACKAGE_NAME = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*", re.ASCII)
# Ranges of versions; no ':' and no '/', so no URL, git repository, file or alias.
PACKAGE_VERSION = re.compile(r"[\w.^~<>=|*+ -]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bundle:
    """An app as it was pushed, after every rule below held."""

    digest: str
    app_type: str
    entrypoint: str
    files: dict[str, str]
    dependencies: dict[str, str]
    lock: dict[str, Any] | None = None
    hold: bool = False
    """Whether it is tried out of sight, beside the one that serves, until it comes without this."""

    @staticmethod
    def read(document: Any) -> "Bundle":
        """Check all of it before any of it is written."""
        if not isinstance(document, dict):
            raise Refused(422, "the bundle is no JSON object")
        files: dict[str, str] = {}
        entries = document.get("files")
        if not isinstance(entries, list) or not 0 < len(entries) <= FILES_MAX:
            raise Refused(422, f"files must be a list of 1 to {FILES_MAX} files")
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
                raise Refused(422, "each file must be an object with path and content, both text")
            path = checked_path(entry.get("path"))
            if path in files:
                raise Refused(422, f"{path} is there twice")
            files[path] = entry["content"]
        for path in files:
            folders = path.split("/")[:-1]
            if any("/".join(folders[: depth + 1]) in files for depth in range(len(folders))):
                raise Refused(422, f"{path} lies below another file")
        dependencies = document.get("dependencies")
        if not isinstance(dependencies, dict):
            raise Refused(422, "dependencies must be an object of names and versions")
        for name, version in dependencies.items():
            if not PACKAGE_NAME.fullmatch(name):
                raise Refused(422, f"{name!r} is not a valid npm package name")
            if not isinstance(version, str) or not PACKAGE_VERSION.fullmatch(version):
                raise Refused(422, f"{version!r} is not a range of versions of {name}")
        digest = document.get("digest")
        if not isinstance(digest, str) or not re.fullmatch(r"[\w.:-]{1,128}", digest, re.ASCII):
            raise Refused(422, "digest must be 1 to 128 letters, digits and . : - _")
        entrypoint = checked_path(document.get("entrypoint"))
        if entrypoint not in files:
            raise Refused(422, f"the entrypoint {entrypoint} is not among the files")
        lock = document.get("packageLock")
        if lock is not None and not is_lock(lock):
            raise Refused(422, "packageLock must be a lock file of npm (lockfileVersion 3)")
        app_type = str(document.get("appType"))
        hold = document.get("hold") is True
        return Bundle(digest, app_type, entrypoint, files, dependencies, lock, hold)


def is_lock(lock: Any) -> bool:
    """Whether npm would find in it what it looks for, and nothing that leads elsewhere."""
    packages = lock.get("packages") if isinstance(lock, dict) else None
    if not isinstance(packages, dict) or not all(isinstance(p, dict) for p in packages.values()):
        return False
    root = packages.get("", {}).get("dependencies")
    others = [package for place, package in packages.items() if place]
    return isinstance(root, dict) and all(
        isinstance(package.get("integrity"), str) and "link" not in package for package in others
    )


def checked_path(path: Any) -> str:
    """A plain relative path, or Refused: nothing that leaves the app's folder or hides in it."""
    if not isinstance(path, str) or not 0 < len(path) <= PATH_MAX_CHARACTERS:
        raise Refused(422, f"a path must be text of 1 to {PATH_MAX_CHARACTERS} characters")
    if not path.isprintable() or "\\" in path:
        raise Refused(422, f"the path {path!r} has characters that a path must not have")
    parts = path.split("/")
    if any(part in {"", ".", "..", "node_modules"} for part in parts):
        raise Refused(422, f"the path {path!r} is not a plain path inside the app's folder")
    if parts[0].startswith("-"):
        raise Refused(422, f"the path {path!r} would be read as an option")
    return path


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Write an app's files into a new folder that then takes the place of `folder`.

    No link can be followed: every folder on the way was just made here, where only the agent
    writes, and each file is created, never opened (O_EXCL).
    """
    fresh = folder.with_name(folder.name + ".new")
    remove(fresh)
    fresh.mkdir(mode=0o755)
    for path, content in files.items():
        target = fresh / path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o644), "wb") as file:
            # A lone surrogate is no character; a replacement says so where it is read.
            file.write(content.encode("utf-8", "replace"))
    remove(folder)
    fresh.rename(folder)


def remove(folder: Path) -> None:
    """Remove a folder and all in it; links in it are removed, not followed."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
