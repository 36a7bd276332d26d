"""Structured logs: one line for each record, the session in every line, no secret in any.

The controller says once which session it works on (`with session_context(...)`); every record
logged below it, in whatever task or library, then carries `session`, `namespace` and `uid`.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from .redaction import Redactor

_SESSION: ContextVar[dict[str, str] | None] = ContextVar("spawnai_session", default=None)

# What logging itself puts on a record; anything else came with `extra=` and belongs into the line.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "message",
    "taskName",  # since Python 3.12; our own names below say more
    # kopf's: the whole settings object, and what it would make an Event of.
    "settings",
    "k8s_skip",
    "k8s_ref",
}

# Libraries that say too much. Those at INFO would otherwise write bodies, prompts or headers at
# DEBUG; those at WARNING write a line for every watch event or request at INFO.
_QUIETED = {
    "aiohttp.access": logging.WARNING,
    "anthropic": logging.INFO,
    "asyncio": logging.INFO,
    "azure": logging.WARNING,
    "client": logging.INFO,  # kubernetes.aio's own name for its logger
    "httpcore": logging.INFO,
    "httpcore2": logging.INFO,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
    "kopf.objects": logging.WARNING,
    "kubernetes": logging.INFO,
}


@contextmanager
def session_context(namespace: str, name: str, uid: str) -> Iterator[None]:
    """Every record logged inside, also by tasks started inside, names this session."""
    token = _SESSION.set({"session": name, "namespace": namespace, "uid": uid})
    try:
        yield
    finally:
        _SESSION.reset(token)


def _session_of(record: logging.LogRecord) -> dict[str, str]:
    session = _SESSION.get()
    if session is not None:
        return session
    # kopf logs about an object from its own tasks, and names it on the record.
    reference = getattr(record, "k8s_ref", None)
    if not isinstance(reference, dict):
        return {}
    named = {
        "session": reference.get("name"),
        "namespace": reference.get("namespace"),
        "uid": reference.get("uid"),
    }
    return {key: str(value) for key, value in named.items() if value}


def _message_of(record: logging.LogRecord) -> str:
    """The message, even where its arguments do not fit it: a log line must never be an error."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args!r}"


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the line says, in its order, redacted value by value: escaping would hide a key."""
        written = datetime.fromtimestamp(record.created, tz=UTC)
        fields: dict[str, Any] = {
            "time": written.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message_of(record),
            **_session_of(record),
        }
        for key, value in vars(record).items():
            if key not in _BUILT_IN and key not in fields:
                plain = value is None or isinstance(value, (bool, int, float))
                fields[key] = value if plain else str(value)
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return {
            key: self._redactor.redact(value) if isinstance(value, str) else value
            for key, value in fields.items()
        }


class JsonFormatter(_Formatter):
    """One JSON object on one line, for whoever collects logs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(self._fields(record), ensure_ascii=False)


class TextFormatter(_Formatter):
    """One line for a person at a terminal; a traceback follows below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = self._fields(record)
        session = fields.pop("session", None)
        namespace = fields.pop("namespace", None)
        fields.pop("uid", None)
        subject = f" [{namespace}/{session}]" if namespace else f" [{session}]" if session else ""
        below = [fields.pop(part) for part in ("exception", "stack") if part in fields]
        line = (
            f"{fields.pop('time')} {fields.pop('level').upper():<8} {fields.pop('logger')}"
            f"{subject} {fields.pop('message')}"
        )
        extras = "".join(f" {key}={value}" for key, value in fields.items())
        # A newline in a message would let its author write a line of his own.
        first = (line + extras).replace("\n", "\\n").replace("\r", "\\r")
        return "\n".join([first, *below])


def configure_logging(
    level: str,
    format: str,  # noqa: A002 - the setting's own name
    redactor: Redactor | None = None,
) -> None:
    """Send all logs of this process to standard error.

    Args:
        level: "debug", "info", "warning" or "error".
        format: "json" or "text".
        redactor: knows this installation's secrets; without one, patterns alone are redacted.

    Raises:
        ValueError: the level or the format is none of these.
    """
    levels = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR"}
    if level.lower() not in levels:
        raise ValueError(f"Log level {level!r} is unknown; write one of {', '.join(levels)}")
    formatters: dict[str, type[_Formatter]] = {"json": JsonFormatter, "text": TextFormatter}
    if format not in formatters:
        raise ValueError(f"Log format {format!r} is unknown; write one of {', '.join(formatters)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatters[format](redactor or Redactor()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(levels[level.lower()])
    for name, floor in _QUIETED.items():
        logging.getLogger(name).setLevel(max(floor, root.level))
    # Warnings of the interpreter and its libraries come as records too, not as stray lines.
    logging.captureWarnings(capture=True)
