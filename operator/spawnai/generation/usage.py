"""TokenUsage: what one or many calls to Claude used, as it is billed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens by the price they have; usages add up with `+`.

    `input_tokens` are the uncached ones only, as the Messages API counts them.
    `estimated_output_tokens` is the part of `output_tokens` that Claude did not report, because
    the answer was cut before its last event: it is counted from the text that had arrived.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    estimated_output_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            estimated_output_tokens=self.estimated_output_tokens + other.estimated_output_tokens,
        )

    @property
    def total_input_tokens(self) -> int:
        """All tokens of the prompts, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens
