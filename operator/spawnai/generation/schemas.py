"""The shape of an answer: one JSON schema for each app type (structured outputs of the API).

Objects forbid other properties and no bounds are given, because structured outputs accept no
others. The files come last, so that everything else is known while they are still being written.
"""

from typing import Any

from spawnai.app_runtime import npm_packages

from .normalise import DEFAULT_ENTRYPOINTS, SERVER_TYPES

_TEXT = {"type": "string"}


def answer_schema(app_type: str, entrypoint: str | None = None) -> dict[str, Any]:
    """The schema of every answer for that app type; `entrypoint` is that of an app to change.

    Raises:
        ValueError: the app type is unknown.
    """
    if app_type not in DEFAULT_ENTRYPOINTS:
        known = ", ".join(DEFAULT_ENTRYPOINTS)
        raise ValueError(f"app type {app_type!r} is unknown; use one of {known}")
    properties: dict[str, Any] = {
        "entrypoint": {
            "type": "string",
            "const": entrypoint or DEFAULT_ENTRYPOINTS[app_type],
            "description": "The file that is opened or started first",
        },
        "note": {
            "type": "string",
            "description": (
                "One or two sentences to the person, in the language of the description: what was "
                "built, and which wishes were left out"
            ),
        },
    }
    if app_type in SERVER_TYPES:
        properties["dependencies"] = {
            "type": "array",
            "description": "The npm packages that the files import; Node.js's own modules are none",
            "items": {"type": "string", "enum": list(npm_packages())},
        }
    properties["removed_files"] = {
        "type": "array",
        "description": "Paths to delete, in a repair or change only; empty in a first answer",
        "items": _TEXT,
    }
    properties["files"] = {
        "type": "array",
        "description": "The app's files; in a repair or change only those that change",
        "minItems": 0,
        "items": {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative, such as css/style.css"},
                "content": {"type": "string", "description": "The whole text of the file"},
            },
            "required": ["path", "content"],
            "additionalProperties": False,
        },
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
