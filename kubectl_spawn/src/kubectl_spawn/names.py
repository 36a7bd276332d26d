"""A name for an app whose owner gave none: two words of the prompt and four hex digits."""

import re
import secrets
import unicodedata

_MOST_WORDS = 2
_LONGEST_WORD = 16
_DULL = frozenset({
    "a", "an", "and", "app", "are", "for", "from", "in", "is", "it", "make", "of", "on", "or",
    "page", "please", "site", "small", "simple", "that", "the", "this", "to", "where", "which",
    "with", "write", "une", "un", "le", "la", "les", "de", "des", "du", "et", "pour", "avec", "qui",
    "dans",
})  # fmt: skip


def name_for(prompt: str) -> str:
    """A DNS label for a prompt; different at each call."""
    ascii_text = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = [word[:_LONGEST_WORD] for word in re.findall(r"[a-z][a-z0-9]+", ascii_text[:400])]
    telling = [word for word in words if word not in _DULL] or ["app"]
    return "-".join([*telling[:_MOST_WORDS], secrets.token_hex(2)])
