"""Why a generation ended without an app.

    GenerationError
    ├── GenerationRefused        Claude declined the order; the same order is declined again
    ├── GenerationTruncated      the answer hit a limit (output tokens, context window)
    ├── GenerationInvalid        still broken after the repairs, or the answer repeated itself
    ├── GenerationRejected       Claude rejected the request itself (400, 404, 413)
    ├── GenerationUnauthorized   the key is wrong or may not do this: the class is at fault
    ├── GenerationNoCredit       the account has no credit or reached a spend limit
    └── GenerationUnavailable    overloaded, 5xx, 429, time-outs; retried already, repeat later

Every error says in `message` what a person should know, and in `usage` what was paid until then.
"""

from .usage import TokenUsage


class GenerationError(Exception):
    """Base of all; `message` is a sentence for people and holds no secret."""

    def __init__(
        self, message: str, *, usage: TokenUsage | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.usage = usage if usage is not None else TokenUsage()
        self.request_id = request_id
        self.model: str | None = None
        """The model that was paid `usage`; None when no call was made."""
        self.others: tuple[tuple[str, TokenUsage], ...] = ()
        """Models that were asked before it, and what they were paid."""

    @property
    def traced(self) -> str:
        """The message, with the id by which Anthropic finds the call."""
        if self.request_id is None:
            return self.message
        return f"{self.message} (Claude's request id: {self.request_id})"


class GenerationRefused(GenerationError):
    """Claude declined; `category` is its own word for why (such as "cyber"), when it gave one."""

    def __init__(
        self,
        message: str,
        *,
        category: str | None = None,
        usage: TokenUsage | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, usage=usage, request_id=request_id)
        self.category = category


class GenerationTruncated(GenerationError):
    """The answer was cut at a limit, so it holds no whole app.

    `was_too_long` says that it was cut at the limit of tokens: a smaller app may fit.
    """

    def __init__(
        self,
        message: str,
        *,
        was_too_long: bool = False,
        usage: TokenUsage | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, usage=usage, request_id=request_id)
        self.was_too_long = was_too_long


class GenerationInvalid(GenerationError):
    """The files do not make a working app; `problems` are the sentences that say why."""

    def __init__(
        self,
        message: str,
        *,
        problems: tuple[str, ...] = (),
        usage: TokenUsage | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, usage=usage, request_id=request_id)
        self.problems = problems


class GenerationRejected(GenerationError):
    """Claude rejected the request itself; sending it again changes nothing."""


class GenerationUnauthorized(GenerationError):
    """The API key is wrong, expired or may not do this."""


class GenerationNoCredit(GenerationError):
    """The account behind the key cannot pay now."""


class GenerationUnavailable(GenerationError):
    """Claude could not answer now; `retry_after_seconds` is its own wish, when it said one."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        usage: TokenUsage | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, usage=usage, request_id=request_id)
        self.retry_after_seconds = retry_after_seconds
