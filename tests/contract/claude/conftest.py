"""The generator and the simulated Claude, joined by real HTTP, with no time lost in waiting."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

import anthropic
import pytest
from tests.support.judging import judged

from spawnai.generation.bundle import Bundle
from spawnai.generation.claude import (
    Generated,
    GenerationLimits,
    GenerationOrder,
    GenerationProgress,
    Generator,
    open_client,
)
from spawnai.generation.judging.judge import Judgement
from spawnai.generation.usage import TokenUsage
from spawnai_local.claude import ClaudeSimulator, SimulatorSettings
from spawnai_local.claude.settings import DEFAULT_API_KEY

MODEL = "claude-sonnet-5-5"
SESSION = "6f1d2c3b-0000-4000-8000-1234567890ab"
IMMEDIATE = SimulatorSettings(first_token_seconds=0, tokens_per_second=0, hang_seconds=5)
# Silence is short, so that a hang ends soon; all else is as in production.
LIMITS = GenerationLimits(silence_seconds=0.5)


async def judge(bundle: Bundle) -> Judgement:
    """The judging process of the whole run."""
    return judged(bundle)


@dataclass
class LeapingClock:
    """A clock whose sleeps are over at once, and are remembered."""

    seconds: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@dataclass
class Workbench:
    """One generator against one simulator, and all that both have noted."""

    simulator: ClaudeSimulator
    client: anthropic.AsyncAnthropic
    clock: LeapingClock
    limits: GenerationLimits = LIMITS
    progress: list[GenerationProgress] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)
    before_call: Callable[[], None] = lambda: None

    def generator(self, **limits: float) -> Generator:
        return Generator(
            self.client,
            clock=self.clock,
            random=Random(7),
            judge=judge,
            limits=replace(self.limits, **limits),
        )

    def order(self, prompt: str, app_type: str = "webapp", **changes) -> GenerationOrder:
        order = GenerationOrder(
            prompt=prompt,
            app_type=app_type,
            model=MODEL,
            max_output_tokens=16000,
            effort="low",
            user_id=SESSION,
        )
        return replace(order, **changes)

    async def generate(self, prompt: str, app_type: str = "webapp", **changes) -> Generated:
        return await self.generate_with(self.generator(), self.order(prompt, app_type, **changes))

    async def generate_with(self, generator: Generator, order: GenerationOrder) -> Generated:
        return await generator.generate(
            order,
            on_progress=self.progress.append,
            on_retry=self.retries.append,
            before_call=self.before_call,
        )

    @property
    def billed(self) -> TokenUsage:
        """The simulator's bill, in the words of the operator."""
        bill = self.simulator.bill(SESSION)
        return TokenUsage(
            input_tokens=bill.input_tokens,
            output_tokens=bill.output_tokens,
            cache_read_tokens=bill.cache_read_input_tokens,
            cache_write_tokens=bill.cache_creation_input_tokens,
        )

    @property
    def calls(self) -> int:
        return len(self.simulator.calls(SESSION))

    async def settled(self) -> None:
        """Return when the simulator has noticed the end of every call."""
        async with asyncio.timeout(10):
            while any(call.outcome == "running" for call in self.simulator.calls()):
                await asyncio.sleep(0.01)


@pytest.fixture
async def simulator():
    async with ClaudeSimulator(IMMEDIATE) as simulator:
        yield simulator


@pytest.fixture
async def workbench(simulator):
    client = open_client(DEFAULT_API_KEY, simulator.url, LIMITS)
    yield Workbench(simulator, client, LeapingClock())
    await client.close()


@pytest.fixture
async def other_key(simulator):
    """A workbench for another API key."""
    clients = []

    def make(api_key: str) -> Workbench:
        clients.append(open_client(api_key, simulator.url, LIMITS))
        return Workbench(simulator, clients[-1], LeapingClock())

    yield make
    for client in clients:
        await client.close()
