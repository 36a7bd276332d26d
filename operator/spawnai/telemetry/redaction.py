"""Keeps secrets out of whatever leaves the process as text: log lines, events, messages.

A net under the code, not an excuse: secrets are not to be put into messages to begin with. It
catches what a library's exception or a cloud's answer brings along. Whatever acts on a terminal or
hides text goes first (`plain_text`), so that nothing can stand in the middle of a secret.

Foreign text may be long and made to be slow. Each pattern takes time that grows with the length of
the text alone: it can only begin where a run of its own characters begins.
"""

import base64
import re

from .plain_text import plain_text

REDACTED = "[redacted]"

# A shorter value would turn up by chance, and the log would be full of holes.
_SHORTEST_SECRET = 8

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Private keys and certificates, also cut off before their end, also with newlines escaped.
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]+-----[\s\S]*?(?:-----END [A-Z0-9 ]+-----|\Z)"),
        REDACTED,
    ),
    # DigitalOcean: personal, OAuth and refresh tokens.
    (re.compile(r"\bdo[opr]_v1_\w+"), REDACTED),
    # Anthropic: API and administration keys.
    (re.compile(r"\bsk-ant-[\w-]+"), REDACTED),
    # JSON web tokens, such as a ServiceAccount's.
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    # Whatever stands in an Authorization header, even of a kind nobody foresaw.
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{8,}"), rf"\1\2{REDACTED}"),
    (re.compile(r"(?i)\b(x-api-key\W{1,4})(?!redacted\])[\w.~+/=-]{8,}"), rf"\1{REDACTED}"),
    # The password of https://user:password@host.
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{REDACTED}@"),
)


class Redactor:
    """Replaces what looks like a secret, and the very secrets it was told, by `[redacted]`."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets)} texts)"

    def register(self, secret: str) -> None:
        """Redact this very text from now on, also in base64, as a Secret's `data` holds it.

        For the few secrets of the whole installation: each costs a search of every line. Texts of
        fewer than eight characters are ignored.
        """
        if len(secret) < _SHORTEST_SECRET:
            return
        encoded = base64.b64encode(secret.encode()).decode()
        # Longest first: one secret may be a part of another.
        self._secrets = tuple(
            sorted({*self._secrets, secret, encoded}, key=lambda text: (-len(text), text))
        )

    def redact(self, text: str) -> str:
        """Return `text` without secrets, and without what a terminal would act on."""
        text = plain_text(text)
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text
