"""What a request asks for: the app type, the person's prompt, a repair or a new app."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spawnai_local.claude.checks import text_of

_APP_TYPE = re.compile(r"^App type: (webapp|api|fullstack|script)$", re.MULTILINE)
_PROMPT = re.compile(r"<prompt-([0-9a-f]{16})>\n(.*?)\n</prompt-\1>", re.DOTALL)
_FILE = re.compile(
    r"^File \d+: (?P<path>[^\n]+) \(\d+ bytes\)"
    r"(?:\n<(?P<marker>file-[0-9a-f]{16})>\n(?P<content>.*?)\n</(?P=marker)>)?",
    re.MULTILINE | re.DOTALL,
)
_REPAIR = re.compile(r"^Problems found:$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a checked request that decide about its answer."""

    model: str
    max_tokens: int
    streamed: bool
    session: str
    app_type: str
    prompt: str
    text: str
    marked_prefix: str
    unmarked: str
    wants_app: bool
    is_repair: bool
    properties: frozenset[str]
    """What an answer may hold, by the request's schema."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Request":
        """Read the body of POST /v1/messages. An order without an app type is for a webapp."""
        text = "\n".join(text_of(message.get("content")) for message in body["messages"])
        app_type = _APP_TYPE.search(text)
        # A change names the prompt before, and then the one that holds.
        prompts = list(_PROMPT.finditer(text))
        system = body.get("system", "")
        marked = isinstance(system, list) and any(block.get("cache_control") for block in system)
        schema = ((body.get("output_config") or {}).get("format") or {}).get("schema") or {}
        system_text = text_of(system)
        return cls(
            model=body["model"],
            max_tokens=body["max_tokens"],
            streamed=bool(body.get("stream")),
            session=(body.get("metadata") or {}).get("user_id") or "",
            app_type=app_type.group(1) if app_type else "webapp",
            prompt=prompts[-1].group(2) if prompts else text,
            text=text,
            marked_prefix=system_text if marked else "",
            unmarked=text if marked else system_text + text,
            wants_app="files" in schema.get("properties", {}),
            properties=frozenset(schema.get("properties", {})),
            is_repair=_REPAIR.search(text) is not None,
        )

    @property
    def key(self) -> str:
        """What calls of one session have in common: its id, or else its prompt."""
        return self.session or hashlib.sha256(self.prompt.encode("utf-8", "replace")).hexdigest()

    def current_files(self) -> dict[str, str | None]:
        """The files that a repair says the app has; None for a text that is not shown."""
        if not self.is_repair:
            return {}
        return {found["path"]: found["content"] for found in _FILE.finditer(self.text)}
