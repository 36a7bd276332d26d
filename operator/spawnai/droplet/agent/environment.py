"""The environment that an app's owner gives it: keys that no log and no bundle may hold."""

import re
from typing import Any

from .bundle import Refused

VARIABLES_MAX = 64
VALUE_MAX_CHARACTERS = 32 * 1024
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
OURS = frozenset({"PATH", "LANG", "HOME", "TMPDIR", "DATA_DIR", "PORT", "NODE_ENV"})


def checked_environment(document: Any) -> dict[str, str]:
    """The variables, or Refused. No message tells a value."""
    if not isinstance(document, dict) or len(document) > VARIABLES_MAX:
        raise Refused(422, f"the environment must be an object of at most {VARIABLES_MAX} names")
    for name, value in document.items():
        if not NAME.fullmatch(name) or name in OURS or name.startswith("LD_"):
            raise Refused(422, f"{name[:200]!r} is not a name that an app's owner may set")
        if not isinstance(value, str) or len(value) > VALUE_MAX_CHARACTERS:
            raise Refused(422, f"{name} must be text of at most {VALUE_MAX_CHARACTERS} characters")
        if any(ord(character) < ord(" ") and character not in "\n\t" for character in value):
            raise Refused(422, f"{name} has control characters")
    return dict(document)


def quoted(value: str) -> str:
    """A value as systemd reads it in an EnvironmentFile (systemd.exec(5)); it may have lines."""
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
