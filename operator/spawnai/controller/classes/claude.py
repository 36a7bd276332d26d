"""The part of a class that lies at Claude: its key, and whether that may use its model."""

from dataclasses import dataclass

import anthropic

from spawnai.api.spawnclass import ClassSpec
from spawnai.billing.token_prices import UnknownModelPrice, has_price
from spawnai.generation.claude import Generator
from spawnai.generation.errors import GenerationUnauthorized
from spawnai.generation.key import check_key

from .state import ClassProblem


@dataclass(frozen=True, slots=True)
class Claude:
    """Claude behind one API key."""

    client: anthropic.AsyncAnthropic
    generator: Generator


async def check_claude(claude: Claude, name: str, spec: ClassSpec, namespace: str) -> str:
    """Return when orders can be placed, or when Claude cannot say so now.

    The text is what a person should know besides: that one of its models is about to retire.

    Raises:
        ClassProblem: a receipt could not say what the model costs, or the key is wrong.
        GenerationError: the model is unknown, or the key's account cannot pay.
    """
    try:
        remarks = [await check_key(claude.client, spec.model.name)]
        if spec.model.fallback is not None:
            remarks.append(await check_key(claude.client, spec.model.fallback))
    except GenerationUnauthorized as error:
        wanted = spec.credentials
        raise ClassProblem(
            "ClaudeUnauthorized",
            f"SpawnClass {name!r}: {error.message}: put a valid one under key "
            f"{wanted.anthropic_api_key_key!r} into Secret {namespace}/{wanted.secret_name}",
        ) from error
    if not has_price(spec.model.name):
        raise ClassProblem(
            "ModelWithoutPrice",
            f"spec.model.name of SpawnClass {name!r}: {UnknownModelPrice(spec.model.name)}",
        )
    return "; ".join(remark for remark in remarks if remark)
