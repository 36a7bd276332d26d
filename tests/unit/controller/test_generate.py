"""An app is paid for once, also while its Secret cannot be stored."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.controller.test_bundles import APP, SESSION, Secrets
from tests.unit.lifecycle.life import an_offer

from spawnai.clock import SystemClock
from spawnai.controller.actions.bundles import Bundles, bundle_name
from spawnai.controller.actions.generate import Generate
from spawnai.controller.actions.work import Work
from spawnai.controller.cluster import ClusterError, ClusterUnavailable
from spawnai.controller.failures import NeedsPerson, failure_of
from spawnai.controller.memory import Memory
from spawnai.generation.claude import Generated
from spawnai.generation.usage import TokenUsage
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Effort, FailureKind
from spawnai.lifecycle.revisions import prompt_digest

NAME = f"spawnai-system/{bundle_name(SESSION.uid)}"
QUOTA = ClusterError(
    f"create secret {NAME}", 'forbidden: exceeded quota: few, requested: secrets="1"', 403
)
TOO_LARGE = ClusterError(f"create secret {NAME}", "request entity too large", 413)
INVALID = ClusterError(f"create secret {NAME}", "denied by policy no-secrets", 422)
AWAY = ClusterUnavailable(f"create secret {NAME}", "internal error", 500)


class Refusing(Secrets):
    """A cluster that stores no Secret while `error` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.error: ClusterError | None = None

    async def create_secret(self, namespace, name, data, *, labels, owner=None) -> None:
        if self.error is not None:
            raise self.error
        await super().create_secret(namespace, name, data, labels=labels, owner=owner)


class Claude:
    """Writes the same app for each order, and counts them."""

    def __init__(self) -> None:
        self.orders = 0

    async def generate(self, order, *, on_progress, on_retry, before_call) -> Generated:
        self.orders += 1
        return Generated(APP, TokenUsage(input_tokens=900, output_tokens=4000), 0, order.model)


class NoKeys:
    """Sessions whose apps ask for no keys."""

    async def of(self, _session) -> dict[str, str]:
        return {}


NO_KEYS: Any = NoKeys()


class Surroundings:
    """One session whose app is wanted."""

    def __init__(self, claude: Any = None) -> None:
        self.secrets, self.claude = Refusing(), claude or Claude()
        self.bundles = Bundles(self.secrets, "spawnai-system", lambda _: None)  # type: ignore[arg-type]
        self.memory = Memory(efforts={do.GenerateApp().key: Effort(running=True)})
        ignore: Callable[..., Any] = lambda *_: None  # noqa: E731
        self.generate = Generate(
            bundles=self.bundles,
            environments=NO_KEYS,
            metrics=SimpleNamespace(claude_order=ignore, claude_tokens=ignore),  # type: ignore[arg-type]
            clock=SystemClock(),
            before_call=ignore,
            on_answer=ignore,
            wake=ignore,
        )
        backing: Any = SimpleNamespace(
            class_name="standard", spec=an_offer().spec, generator=self.claude
        )
        self.work = Work(SESSION.uid, SESSION, self.memory, backing, lambda: datetime.now(UTC))

    async def try_it(self) -> None:
        await self.generate.generate_app(self.work, do.GenerateApp())


@pytest.mark.parametrize("error", [QUOTA, TOO_LARGE, INVALID, AWAY], ids=lambda one: one.status)
async def test_an_app_that_cannot_be_stored_is_kept_and_only_stored_later(error):
    one = Surroundings()
    one.secrets.error = error
    for _ in range(3):
        with pytest.raises(Exception, match="create secret"):
            await one.try_it()
    assert one.memory.bundle is None
    one.secrets.error = None
    await one.try_it()
    assert one.claude.orders == 1
    assert one.memory.bundle is not None
    assert one.memory.bundle.digest == APP.digest
    assert [entry.output_tokens for entry in one.memory.book.generations] == [4000]


async def test_an_app_that_is_stored_later_is_still_the_one_of_its_own_prompt():
    one = Surroundings()
    one.secrets.error = QUOTA
    with pytest.raises(NeedsPerson):
        await one.try_it()
    spec = SESSION.order.model_copy(update={"prompt": "another one"})
    one.work = replace(one.work, known_session=replace(SESSION, spec=spec))
    one.secrets.error = None
    await one.try_it()
    assert one.claude.orders == 1
    assert one.memory.bundle is not None
    assert one.memory.bundle.prompt_digest == prompt_digest(SESSION.order.prompt)
    found = await one.bundles.find(SESSION)
    assert found == one.memory.bundle


async def test_a_stored_app_is_not_kept_in_memory():
    one = Surroundings()
    await one.try_it()
    assert one.memory.unstored is None


@pytest.mark.parametrize("error", [QUOTA, TOO_LARGE, INVALID], ids=lambda one: one.status)
async def test_a_refusal_waits_for_a_person_and_says_what_refuses_and_what_to_do(error):
    one = Surroundings()
    one.secrets.error = error
    with pytest.raises(Exception, match="create secret") as caught:
        await one.try_it()
    failure = failure_of(caught.value, datetime.now(UTC))
    assert (failure.kind, failure.reason) == (FailureKind.NEEDS_PERSON, "SecretRefused")
    assert NAME in failure.message
    assert str(error) in failure.message
    assert "Lift the quota or the admission rule" in failure.message


async def test_an_api_server_that_fails_is_only_asked_again():
    one = Surroundings()
    one.secrets.error = AWAY
    with pytest.raises(ClusterUnavailable) as caught:
        await one.try_it()
    assert failure_of(caught.value, datetime.now(UTC)).kind is FailureKind.TRANSIENT
