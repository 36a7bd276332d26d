"""Orders of apps, and what is written down of their cost."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from tests.unit.controller.test_generate import NO_KEYS

from spawnai.api.spawnclass import ClassSpec
from spawnai.clock import SystemClock
from spawnai.controller.actions.generate import Generate
from spawnai.controller.actions.work import Backing, Work
from spawnai.controller.failures import NeedsPerson
from spawnai.controller.memory import Memory
from spawnai.generation.usage import TokenUsage
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Failure, FailureKind

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PAID = TokenUsage(input_tokens=1_000_000)


class Generator:
    """Writes an app at once, in the name of some model."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.orders = 0

    async def generate(self, _order, *, on_progress, on_retry, before_call):
        self.orders += 1
        return SimpleNamespace(model=self.model, usage=PAID, repairs=0, bundle=None, others=())


class Bundles:
    async def store(self, _session, app):
        return app.generation


def ordered(model: str, generator: Generator | None, problem: Failure | None = None) -> Work:
    spec = ClassSpec.model_validate({"model": {"name": model}})
    backing = Backing("standard", "class-uid", None, spec, generator, problem)
    session = SimpleNamespace(
        order=SimpleNamespace(prompt="A retro board", app_type="webapp", env=None)
    )
    return Work("uid", session, Memory(), backing, lambda: NOW)


async def generate(work: Work) -> None:
    await Generate(
        bundles=Bundles(),
        environments=NO_KEYS,
        metrics=SimpleNamespace(claude_tokens=lambda *_: None, claude_order=lambda *_: None),
        clock=SystemClock(),
        before_call=lambda: None,
        on_answer=lambda _name, _failure: None,
        wake=lambda _uid: None,
    ).generate_app(work, do.GenerateApp(is_first=True))


@pytest.mark.parametrize("answered_as", ["claude-sonnet-5-5", "claude-sonnet-5-5-next"])
async def test_an_order_costs_what_its_model_costs_under_whatever_name_claude_answers(answered_as):
    work = ordered("claude-sonnet-5-5", Generator(answered_as))
    await generate(work)
    [entry] = work.memory.book.generations
    assert (entry.model, entry.cost) == (answered_as, "2")


async def test_of_a_model_without_a_price_nothing_is_ordered():
    generator = Generator("claude-sonnet-9")
    with pytest.raises(NeedsPerson, match="no token price is known for model") as no:
        await generate(ordered("claude-sonnet-9", generator))
    assert no.value.reason == "ModelWithoutPrice"
    assert "SpawnClass 'standard'" in str(no.value)
    assert generator.orders == 0


async def test_without_a_claude_key_an_order_fails_for_what_is_wrong_with_the_class():
    message = "SpawnClass 'standard' wants key 'anthropic-api-key'"
    problem = Failure(FailureKind.NEEDS_PERSON, "SecretKeyMissing", message, NOW)
    with pytest.raises(NeedsPerson, match=message) as no:
        await generate(ordered("claude-sonnet-5-5", None, problem))
    assert no.value.reason == "SecretKeyMissing"
