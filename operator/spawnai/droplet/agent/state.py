"""What must survive a crash and a reboot."""

import contextlib
import json
import os
import re
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

AFTER_SECONDS = 5.0  # how long an answer may wait for news
LOG_LINES = 100  # in a status
KEPT_LINES = 1000  # for who follows the log
SECRET_CHARACTERS = 6
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

    When the file cannot be read, the app is started again from what is in its folder.
    """

    def __init__(self, path: Path, on_change: Callable[[str], None]) -> None:
        self._path = path
        self._on_change = on_change
        self._changed = threading.Condition()
        self._values: dict[str, Any] = {
            "bundleDigest": None,
            "revision": 0,
            **NOTHING_WRONG,
            "state": "idle",
            "restarts": 0,
            "ranSeconds": None,
            "update": None,
            "stateBeforeStop": None,
        }
        try:
            stored = json.loads(path.read_text("utf-8"))
            self._values |= {key: stored[key] for key in self._values}
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
        """All values: now, or once they are further than `after`, but never much later."""
        with self._changed:
            self._changed.wait_for(lambda: after not in self._progress(), AFTER_SECONDS)
            return dict(self._values)

    def _progress(self) -> tuple[str, str]:
        """What a caller may know of: the state, or the state and how far an update is."""
        state, update = self._values["state"], self._values["update"]
        return state, f"{state}/{update['state']}" if update else state

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


# How an app or an update of it went wrong: a word, a sentence, and the app's own first words on it.
NOTHING_WRONG = {"reason": None, "message": None, "error": None, "exitCode": None}


class Journal:
    """The last lines of the app and of the agent about it; bounded in memory and on disk."""

    def __init__(self, path: Path, line_characters: int = LOG_LINE_CHARACTERS) -> None:
        self._path = path
        self._line_characters = line_characters
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._count = 0
        self._hidden: tuple[str, ...] = ()
        with self._lock, contextlib.suppress(OSError):
            self._append(self.tail(LOG_FILE_BYTES).splitlines()[-KEPT_LINES:])

    def hide(self, secrets: Iterable[str]) -> None:
        """Never write any of these. What is shorter than a key is found in too many words."""
        self._hidden = tuple(secret for secret in secrets if len(secret) >= SECRET_CHARACTERS)

    def forget(self) -> None:
        """What was is none of the next session's."""
        with self._lock, contextlib.suppress(OSError):
            self._lines.clear()
            self._count = 0
            for path in (self._path, self._path.with_name(self._path.name + ".1")):
                path.unlink(missing_ok=True)

    def write(self, text: str) -> None:
        """Add lines. The log is for reading: what steers a terminal or hides text is dropped."""
        for secret in self._hidden:
            text = text.replace(secret, "[hidden]")
        lines = [
            STEERING.sub("", line[: 2 * self._line_characters])[: self._line_characters]
            for line in text.splitlines()
        ]
        with self._lock, contextlib.suppress(OSError):
            self._append(lines)
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(line + "\n" for line in lines)
                size = file.tell()
            if size > LOG_FILE_BYTES:
                self._path.replace(self._path.with_name(self._path.name + ".1"))

    def _append(self, lines: list[str]) -> None:
        self._lines.extend(lines)
        self._count += len(lines)
        self._news.notify_all()

    def lines(self) -> list[str]:
        """The last ones."""
        with self._lock:
            return list(self._lines)[-LOG_LINES:]

    def since(self, number: int) -> tuple[list[str], int]:
        """The lines from this number on, and the next one's; waits a while when there is none.

        Numbers count from the agent's start; the oldest line that is kept stands for all before.
        """
        with self._lock:
            if number > self._count:  # of the agent before this one
                number = 0
            self._news.wait_for(lambda: self._count > number, AFTER_SECONDS)
            new = min(self._count - number, len(self._lines))
            return list(self._lines)[len(self._lines) - new :], self._count

    def tail(self, limit: int) -> str:
        """The end of what was written, at most about `limit` bytes."""
        text = b""
        for path in (self._path.with_name(self._path.name + ".1"), self._path):
            with contextlib.suppress(OSError):
                text += path.read_bytes()
        return text[-limit:].decode("utf-8", "replace")


# Colours and other terminal sequences, then every control character but the tab, then what turns
# or hides text (bidirectional marks, zero widths).
STEERING = re.compile(
    r"\x1b\[[0-9;?]{0,32}[A-Za-z]|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
    r"|[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)


def complain(text: str) -> None:
    """For whoever logs in to the droplet: standard error is the unit's journal."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


# Taken out of the environment: systemctl, a child, would send messages of its own.
NOTIFY_SOCKET = os.environ.pop("NOTIFY_SOCKET", "")


def tell_systemd(message: str) -> None:
    """sd_notify(3), where the unit asks for it: what hangs is started again."""
    if NOTIFY_SOCKET:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(message.encode(), NOTIFY_SOCKET.replace("@", "\0", 1))
