"""Reads user_data as cloud-init does, and says what a first boot would do with it.

Held to cloud-init 22.4 (Debian 12) and 24.1 (Ubuntu 24.04), whose source gives the rules below:
what it ignores without an error is ignored here too, with a line in the machine's log, because an
author must see here what would go wrong there.
"""

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

# Directories whose contents are a machine's own; everything else on a path is the host's.
_OWN_DIRECTORIES = "etc|home|opt|root|run|srv|tmp|usr/local|var"
_OWN_PATH = re.compile(r"(?<![\w.})/])/(?:" + _OWN_DIRECTORIES + r")(?![\w.-])")

_DEFAULT_MODE = 0o644

# write_files, "encoding": the names that cloud-init knows, by what they mean.
_GZIP = {"gz", "gzip"}
_BASE64 = {"b64", "base64"}
_GZIP_BASE64 = {f"{a}+{b}" for a in _GZIP for b in _BASE64}


@dataclass(frozen=True, slots=True)
class FileToWrite:
    """One entry of write_files. `content` is base64, so that a plan is plain JSON."""

    path: str
    content: str
    mode: int = _DEFAULT_MODE
    append: bool = False


@dataclass(slots=True)
class BootPlan:
    """What a first boot does, in this order. Scripts are run by /bin/sh."""

    boot_script: str = ""
    files: list[FileToWrite] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    deferred_files: list[FileToWrite] = field(default_factory=list)
    final_script: str = ""
    final_interpreter: str = "/bin/sh"
    complaints: list[str] = field(default_factory=list)
    """What cloud-init would have warned of in its log, and then gone on."""

    def document(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        return asdict(self)


class _Unusable(Exception):
    """A part of the user_data that cloud-init gives up on; the message is its complaint."""


def plan_boot(user_data: str, root: Path) -> BootPlan:
    """The first boot that this user_data asks for, on a machine whose files lie below `root`.

    Never raises: a machine with unusable user_data boots, and does nothing.
    """
    plan = BootPlan()
    text = user_data.lstrip()
    if text.startswith("#!"):
        plan.final_script = own_paths(text, root)
        plan.final_interpreter = text.splitlines()[0][2:].strip() or "/bin/sh"
    elif text.lower().startswith("#cloud-config"):
        try:
            config = yaml.safe_load(text)
        except yaml.YAMLError as error:
            plan.complaints.append(f"Failed loading yaml blob: {error}")
            return plan
        if isinstance(config, dict):
            _read_config(config, root, plan)
        elif config is not None:
            kind = type(config).__name__
            plan.complaints.append(f"Failed loading yaml blob: top level is {kind}, not a mapping")
    elif text:
        plan.complaints.append(
            f"Unhandled non-multipart (text/x-not-multipart) userdata: {text[:24]!r}..."
        )
    return plan


def own_paths(text: str, root: Path) -> str:
    """`text` with every absolute path to one of the machine's own directories led below `root`."""
    return _OWN_PATH.sub(lambda match: f"{root}{match[0]}", text)


def _read_config(config: Mapping[str, Any], root: Path, plan: BootPlan) -> None:
    def attempt(module: str, read: Any) -> Any:
        try:
            return read(config)
        except _Unusable as unusable:
            plan.complaints.append(f"Failed to run module {module}: {unusable}")
            return None

    boot_script = attempt("bootcmd", lambda c: _script(c.get("bootcmd")))
    final_script = attempt("runcmd", lambda c: _script(c.get("runcmd")))
    plan.boot_script = own_paths(boot_script or "", root)
    plan.final_script = own_paths(final_script or "", root)
    plan.packages = attempt("package-update-upgrade-install", _packages) or []
    attempt("write-files", lambda c: _files(c.get("write_files"), plan))


def _script(commands: Any) -> str:
    """The script that cloud-init's shellify makes; one bad entry spoils all."""
    if commands is None:
        return ""
    if not isinstance(commands, list | tuple):
        raise _Unusable(f"Input to shellify was type '{type(commands).__name__}'. Expected list.")
    lines = ["#!/bin/sh"]
    for command in commands:
        if isinstance(command, list | tuple):
            escaped = ("'" + str(part).replace("'", r"'\''") + "'" for part in command)
            lines.append(" ".join(escaped))
        elif isinstance(command, str):
            lines.append(command)
        elif command is not None:
            raise _Unusable(
                f"Unable to shellify type '{type(command).__name__}'. Expected list, string, tuple."
            )
    return "\n".join(lines) + "\n"


def _packages(config: Mapping[str, Any]) -> list[str]:
    packages = config.get("packages") or []
    if not isinstance(packages, list):
        raise _Unusable(f"packages is a {type(packages).__name__}, expected a list")
    return [
        # [name, version] asks for one version
        "=".join(map(str, package)) if isinstance(package, list) else str(package)
        for package in packages
    ]


def _files(entries: Any, plan: BootPlan) -> None:
    if not entries:
        return
    if not isinstance(entries, list):
        raise _Unusable(f"write_files is a {type(entries).__name__}, expected a list")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping) or not entry.get("path"):
            plan.complaints.append(f"No path provided to write for entry {number} in module")
            continue
        owner = str(entry.get("owner", "root:root"))
        deferred = bool(entry.get("defer", False))
        # Users that the same user_data creates exist only later; the first such entry ends it all.
        if owner not in {"root:root", "root"} and not deferred:
            raise _Unusable(f"Unknown user or group: {owner}, wanted for {entry['path']}")
        encoding = str(entry.get("encoding") or "text/plain").lower().strip()
        content = _decode(entry.get("content") or "", encoding, plan)
        target = plan.deferred_files if deferred else plan.files
        target.append(
            FileToWrite(
                path=str(entry["path"]),
                content=base64.b64encode(content).decode("ascii"),
                mode=_mode(entry.get("permissions"), plan),
                append=bool(entry.get("append", False)),
            )
        )


def _decode(content: Any, encoding: str, plan: BootPlan) -> bytes:
    data = content if isinstance(content, bytes) else str(content).encode("utf-8")
    try:
        if encoding in _BASE64 | _GZIP_BASE64:
            data = base64.b64decode(data)
        if encoding in _GZIP | _GZIP_BASE64:
            data = gzip.decompress(data)
    except (binascii.Error, OSError, EOFError, zlib.error) as error:
        raise _Unusable(f"content cannot be decoded as {encoding}: {error}") from error
    if encoding not in _GZIP | _BASE64 | _GZIP_BASE64 | {"text/plain"}:
        plan.complaints.append(f"Unknown encoding type {encoding}, assuming text/plain")
    return data


def _mode(permissions: Any, plan: BootPlan) -> int:
    if permissions is None:
        return _DEFAULT_MODE
    if isinstance(permissions, int | float):
        return int(permissions)  # YAML has read 0644 as an octal number already
    try:
        return int(str(permissions), 8)
    except ValueError:
        plan.complaints.append(f"Undecodable permissions {permissions!r}, returning default 644")
        return _DEFAULT_MODE
