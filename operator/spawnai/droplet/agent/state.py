"""What must survive a crash and a reboot."""

import contextlib
import json
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

AFTER_SECONDS = 5.0  # how long an answer may wait for news
LOG_LINES = 100
LOG_LINE_CHARACTERS = 1000
LOG_FILE_BYTES = 512 * 1024  # and as much again in the file before it


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a power cut leaves the old or the new one, never half of one."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class State:
    """How far the app has come: in memory, and on disk after every change.

    When the file cannot be read, the app is done again from bundle.json, and the expiry is the
    first one: a broken file may shorten a droplet's life, never lengthen it.
    """

    def __init__(self, path: Path, first_expiry: float, on_change: Callable[[str], None]) -> None:
        self._path = path
        self._on_change = on_change
        self._changed = threading.Condition()
        self._values: dict[str, Any] = {
            "bundleDigest": None,
            "state": "idle",
            "reason": None,
            "exitCode": None,
            "restarts": 0,
            "expiresAt": first_expiry,
            "installed": False,  # its files and dependencies are in place
            "answered": False,  # it has once been up
        }
        try:
            stored = json.loads(path.read_text("utf-8"))
            expires_at = float(stored["expiresAt"])
            self._values |= {key: stored[key] for key in self._values} | {"expiresAt": expires_at}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            complain(f"{path.name} cannot be read, so it is made anew: {error!r}")
        if self._values["state"] == "running":  # it was, before this agent began
            self._values["state"] = "starting"
        self._on_change(self._values["state"])

    def __getitem__(self, key: str) -> Any:
        with self._changed:
            return self._values[key]

    def snapshot(self, after: str | None = None) -> dict[str, Any]:
        """All values: now, or once the state is another than `after`, but never much later."""
        with self._changed:
            self._changed.wait_for(lambda: self._values["state"] != after, AFTER_SECONDS)
            return dict(self._values)

    def change(self, **changes: Any) -> None:
        """Remember this. A full disk is no reason to forget it: memory has it in any case."""
        with self._changed:
            self._values |= changes
            self._changed.notify_all()
            self._on_change(self._values["state"])
            try:
                write_atomically(self._path, json.dumps(self._values))
            except OSError as error:
                complain(f"{self._path.name} cannot be written: {error}")


class Journal:
    """The last lines of the app and of the agent about it; bounded in memory and on disk."""

    def __init__(self, path: Path, line_characters: int = LOG_LINE_CHARACTERS) -> None:
        self._path = path
        self._line_characters = line_characters
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        with contextlib.suppress(OSError):
            self._lines.extend(self.tail(LOG_FILE_BYTES).splitlines()[-LOG_LINES:])

    def write(self, text: str) -> None:
        """Add lines. The log is for reading: what steers a terminal is dropped."""
        lines = [STEERING.sub("", line)[: self._line_characters] for line in text.splitlines()]
        with self._lock, contextlib.suppress(OSError):
            self._lines.extend(lines)
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(line + "\n" for line in lines)
                size = file.tell()
            if size > LOG_FILE_BYTES:
                self._path.replace(self._path.with_name(self._path.name + ".1"))

    def lines(self) -> list[str]:
        """The last ones."""
        with self._lock:
            return list(self._lines)

    def tail(self, limit: int) -> str:
        """The end of what was written, at most about `limit` bytes."""
        text = b""
        for path in (self._path.with_name(self._path.name + ".1"), self._path):
            with contextlib.suppress(OSError):
                text += path.read_bytes()
        return text[-limit:].decode("utf-8", "replace")


# Colours and other terminal sequences, then every control character but the tab.
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def complain(text: str) -> None:
    """For whoever logs in to the droplet: standard error is the unit's journal."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
