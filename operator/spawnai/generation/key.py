"""Whether Claude takes a key and knows a model: asked for free, before anyone waits for an app."""

import anthropic
from anthropic.types import ModelInfo

from .errors import GenerationError, GenerationRejected
from .failures import FOREIGN_ERRORS, TryAgain, understand

_TIMEOUT_SECONDS = 10.0


async def check_key(client: anthropic.AsyncAnthropic, model: str) -> str:
    """Return when the key may use the model, or when Claude cannot say so now.

    The text tells a person that the model is about to retire; it is empty while it is not.

    Raises:
        GenerationUnauthorized, GenerationNoCredit: the key is wrong, or its account cannot pay.
        GenerationRejected: Claude does not know the model.
    """
    try:
        found = await client.models.retrieve(model, timeout=_TIMEOUT_SECONDS)
    except anthropic.NotFoundError as error:
        raise GenerationRejected(
            f"Claude does not know the model {model!r}: write one of its models, such as "
            "claude-sonnet-5-5"
        ) from error
    except FOREIGN_ERRORS as error:
        meaning = understand(error)
        if isinstance(meaning, TryAgain):
            return ""
        if isinstance(meaning, GenerationError):
            raise meaning from error
    else:
        return _retirement(found)


def _retirement(model: ModelInfo) -> str:
    """The API names the end of a model at least 60 days ahead; a schedule may still be revised."""
    if model.lifecycle == "active":
        return ""
    when = "soon" if model.retires_at is None else f"on {model.retires_at:%Y-%m-%d}"
    if model.lifecycle == "retired":
        when = "already"
    return f"Anthropic retires the model {model.id} {when}: name another one"
