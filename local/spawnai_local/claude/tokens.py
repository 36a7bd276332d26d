"""Tokens as the simulator counts them, and its prompt cache.

Four bytes are one token: no model's real measure, but steady, so that a bill can be checked.
"""

import hashlib
from dataclasses import dataclass

BYTES_PER_TOKEN = 4
CACHE_SECONDS = 300.0
# The least that the 5.5 models cache; a shorter prefix is marked in vain.
MIN_CACHEABLE_TOKENS = 512


def count_tokens(text: str) -> int:
    """How many tokens a text is."""
    return -(-len(text.encode("utf-8", errors="replace")) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class InputUsage:
    """The prompt's tokens, by price."""

    uncached: int
    cache_read: int
    cache_write: int


class PromptCache:
    """Remembers marked prefixes for five minutes from their last use."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def use(self, key: str, prefix: str, rest: str, now: float) -> InputUsage:
        """Count a prompt whose `prefix` is marked for caching ("" when nothing is)."""
        prefix_tokens = count_tokens(prefix)
        if prefix_tokens < MIN_CACHEABLE_TOKENS:
            return InputUsage(prefix_tokens + count_tokens(rest), 0, 0)
        name = hashlib.sha256(f"{key}\0{prefix}".encode()).hexdigest()
        known = self._until.get(name, 0.0) > now
        self._until[name] = now + CACHE_SECONDS
        read, write = (prefix_tokens, 0) if known else (0, prefix_tokens)
        return InputUsage(count_tokens(rest), read, write)
