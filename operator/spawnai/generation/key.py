"""Whether Claude takes a key and knows a model: asked for free, before anyone waits for an app."""

import anthropic

from .errors import GenerationError, GenerationRejected
from .failures import FOREIGN_ERRORS, TryAgain, understand

_TIMEOUT_SECONDS = 10.0


async def check_key(client: anthropic.AsyncAnthropic, model: str) -> None:
    """Return when the key may use the model, or when Claude cannot say so now.

    Raises:
        GenerationUnauthorized, GenerationNoCredit: the key is wrong, or its account cannot pay.
        GenerationRejected: Claude does not know the model.
    """
    try:
        await client.models.retrieve(model, timeout=_TIMEOUT_SECONDS)
    except anthropic.NotFoundError as error:
        raise GenerationRejected(
            f"Claude does not know the model {model!r}: write one of its models, such as "
            "claude-sonnet-5-5"
        ) from error
    except FOREIGN_ERRORS as error:
        meaning = understand(error)
        if isinstance(meaning, TryAgain):
            return
        if isinstance(meaning, GenerationError):
            raise meaning from error
