"""Generator: an order becomes a checked bundle, through Claude's Messages API.

    ask ──► stream (bounded, counted) ──► parse ──► validate ──► bundle
     ▲                                                  │
     └──── repair: current files + exact problems ◄─────┘   at most twice, never the same twice

Money rules, in one place:
- Every token of every attempt is counted, also when the attempt failed or was cancelled.
- At most `max_retries` calls are repeated for one order, over all its rounds, and only those that
  failed for a reason that passes.
- At most `max_repairs` repairs; none when an answer brings back files that were refused already.
- An answer is cut off when it passes what a valid one could need.
"""

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, cast

import anthropic
import httpx2
from anthropic.types import OutputConfigParam, RawMessageStreamEvent

from spawnai.clock import Clock

from .answer import Answer, AnswerStream, AnswerTooLong, AnswerUnreadable
from .bundle import Bundle
from .errors import (
    GenerationError,
    GenerationInvalid,
    GenerationRefused,
    GenerationTruncated,
    GenerationUnavailable,
)
from .failures import FOREIGN_ERRORS, TryAgain, understand
from .judging.judge import Judgement, JudgeUnavailable
from .normalise import finished, normalised_answer, normalised_bundle, sources_of
from .problems import Problem, printable
from .prompts import (
    change_message,
    order_message,
    repair_message,
    shorter,
    system_prompt,
    trimmed,
    with_variables,
)
from .schemas import answer_schema
from .usage import TokenUsage

Judging = Callable[[Bundle], Awaitable[Judgement]]

# What an answer of each type usually takes, for the progress shown to people and nothing else.
_USUAL_OUTPUT_TOKENS = {"webapp": 6000, "api": 3500, "fullstack": 7000, "script": 2500}

# Output tokens a second, at the slow end of what was measured (57 to 89 for Sonnet 5.5). They say
# how long an answer may take.
_TOKENS_PER_SECOND = {"claude-haiku": 100.0, "claude-sonnet": 55.0, "claude-opus": 40.0}
_SLOWEST_TOKENS_PER_SECOND = 30.0

MAX_REPAIRS = 2
"""How often an app is repaired in all, before it is deployed and after."""

# Bytes of UTF-8 that make one token, low on purpose: where a cut stream leaves us to estimate, the
# estimate should not be below the bill. Code has about four.
BYTES_PER_TOKEN = 3

# Problems whose file is not shown again in a repair, because its path can never be kept.
_PATH_RULES = frozenset({"path", "reserved-path"})


@dataclass(frozen=True, slots=True)
class GenerationOrder:
    """What to build and with which model.

    `user_id` is an opaque id (the session's UID) that Claude gets as `metadata.user_id`; never a
    name or an address. The prompt is left out of the representation, so that no log holds it.
    """

    prompt: str = field(repr=False)
    app_type: str
    model: str
    max_output_tokens: int
    effort: str | None = None
    user_id: str | None = None
    fallback_model: str | None = None
    """Asked once when `model` refuses the order or is overloaded."""
    before: "Revised | None" = field(default=None, repr=False)
    """Set: the app exists, and is changed instead of written."""
    variables: tuple[str, ...] = ()
    """Names of environment variables that the app gets; their values are nobody's business here."""


@dataclass(frozen=True, slots=True)
class Revised:
    """An app that runs, and what is to happen to it.

    Either the description has changed, from `prompt` to that of the order; or `findings` say what
    went wrong when it was deployed, and it is repaired. `rounds` repairs were paid for already.
    """

    bundle: Bundle
    prompt: str = field(repr=False)
    findings: tuple[str, ...] = ()
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class GenerationProgress:
    """How far a generation is: `fraction` is an estimate from 0 to 1 that never goes back.

    `usage` is what was paid so far, the running answer included by estimate. The last progress
    before a cancelled `generate` returns holds all that it cost.
    """

    fraction: float
    files_done: int
    output_tokens: int
    usage: TokenUsage = field(default_factory=TokenUsage)
    files: tuple[tuple[str, int], ...] = ()
    """Path and bytes so far of each file that was begun."""
    others: tuple[tuple[str, TokenUsage], ...] = ()
    """Models that were asked before the present one, and what they were paid."""
    repairs: int = 0
    """Which repair this is; 0: nothing had to be repaired so far."""
    problem: str = ""
    """What the running repair is for."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A deployable app and what it took."""

    bundle: Bundle
    usage: TokenUsage
    repairs: int
    model: str
    others: tuple[tuple[str, TokenUsage], ...] = ()
    """Models that were asked before this one, and what they were paid."""


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """Times in seconds, and how often something may be tried again.

    How long an answer may take follows from its token limit and the model's speed, and from
    `first_seconds` until it begins. While Claude thinks, its API sends a ping every few seconds, so
    silence means that nothing will come.
    """

    connect_seconds: float = 5.0
    silence_seconds: float = 60.0
    first_seconds: float = 30.0
    attempt_seconds: float | None = None
    """Set: how long an answer may take, whatever its model."""
    total_seconds: float = 1200.0
    max_retries: int = 3
    first_backoff_seconds: float = 1.0
    longest_backoff_seconds: float = 20.0
    longest_retry_after_seconds: float = 60.0
    max_repairs: int = MAX_REPAIRS
    progress_seconds: float = 0.5


DEFAULT_LIMITS = GenerationLimits()


def seconds_for(model: str, max_output_tokens: int, limits: GenerationLimits) -> float:
    """How long one answer of that length may take."""
    if limits.attempt_seconds is not None:
        return limits.attempt_seconds
    speed = next(
        (speed for name, speed in _TOKENS_PER_SECOND.items() if model.startswith(name)),
        _SLOWEST_TOKENS_PER_SECOND,
    )
    return limits.first_seconds + max_output_tokens / speed


def open_client(
    api_key: str, base_url: str | None = None, limits: GenerationLimits = DEFAULT_LIMITS
) -> anthropic.AsyncAnthropic:
    """A client for one API key; close it with `await client.close()`.

    It repeats nothing by itself, because a repeated call is paid and must be counted, and it
    records no traces, because those could hold prompts. Without `base_url` the SDK's default
    holds (ANTHROPIC_BASE_URL, then Anthropic's own).
    """
    return anthropic.AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=_timeout(limits),
        open_telemetry=False,
    )


async def warm_up() -> None:
    """Have the SDK build what it reads its first event with, so that no session waits for that.

    It takes the processor tens of milliseconds, once, in which nothing else is done. No call is
    made.
    """
    last_event = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    stream = httpx2.Response(200, content=last_event)
    async with open_client("unused") as client:
        events: anthropic.AsyncStream[Any] = anthropic.AsyncStream(
            cast_to=cast("Any", RawMessageStreamEvent), response=stream, client=client
        )
        async for _ in events:
            pass


def _timeout(limits: GenerationLimits) -> anthropic.Timeout:
    return anthropic.Timeout(
        connect=limits.connect_seconds,
        read=limits.silence_seconds,
        write=limits.silence_seconds,
        pool=limits.silence_seconds,
    )


class Generator:
    """Writes apps with one client (one API key); many orders may run side by side."""

    def __init__(
        self,
        client: anthropic.AsyncAnthropic,
        *,
        clock: Clock,
        random: Random,
        judge: Judging,
        limits: GenerationLimits = DEFAULT_LIMITS,
    ) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._judge = judge
        self._limits = limits

    async def generate(
        self,
        order: GenerationOrder,
        *,
        on_progress: Callable[[GenerationProgress], None],
        on_retry: Callable[[str], None],
        before_call: Callable[[], None],
    ) -> Generated:
        """Build the app of an order.

        `on_retry` is told why a call failed that is going to be repeated, before the wait for it.
        `before_call` is asked before each call, for each is paid for: what it raises ends it all.

        Raises:
            GenerationError: one of its kinds (errors.py), with the usage until then.
            ValueError: the order's app type is unknown.
        """
        generation = _Generation(
            self._client,
            order,
            clock=self._clock,
            random=self._random,
            judge=self._judge,
            limits=self._limits,
            on_progress=on_progress,
            on_retry=on_retry,
            before_call=before_call,
        )
        try:
            return await generation.run()
        except GenerationError as error:
            error.usage = generation.usage
            error.model, error.others = generation.model, generation.others
            raise
        except BaseException:  # cancelled, or forbidden by `before_call`
            if generation.usage != TokenUsage():
                generation.report()
            raise


@dataclass(slots=True)
class _Attempt:
    """What is known of one call while it runs."""

    stream: AnswerStream = field(default_factory=AnswerStream)
    started: bool = False
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    first_output_tokens: int = 0
    written_bytes: int = 0
    final_output_tokens: int | None = None
    stop_reason: str | None = None
    refusal_category: str | None = None
    refusal_explanation: str | None = None
    request_id: str | None = None

    def usage(self) -> TokenUsage:
        """What this call cost. Before its first event, nothing was billed."""
        if not self.started:
            return TokenUsage()
        estimated = 0
        output = self.final_output_tokens
        if output is None:
            by_text = math.ceil(self.written_bytes / BYTES_PER_TOKEN)
            output = max(self.first_output_tokens, by_text)
            estimated = output
        return TokenUsage(
            input_tokens=self.input_tokens,
            output_tokens=output,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            estimated_output_tokens=estimated,
        )

    def take(self, event: RawMessageStreamEvent) -> None:
        """Take the next event of the stream.

        Raises:
            AnswerTooLong: the text passed its limit.
        """
        if event.type == "message_start":
            usage = event.message.usage
            self.started = True
            self.input_tokens = usage.input_tokens
            self.cache_read_tokens = usage.cache_read_input_tokens or 0
            self.cache_write_tokens = usage.cache_creation_input_tokens or 0
            self.first_output_tokens = usage.output_tokens
        elif event.type == "content_block_delta":
            if event.delta.type == "text_delta":
                self.written_bytes += _size(event.delta.text)
                self.stream.add(event.delta.text)
            elif event.delta.type == "thinking_delta":
                self.written_bytes += _size(event.delta.thinking)
        elif event.type == "message_delta":
            # The counts of this event are cumulative and final; those it leaves out stand.
            self.final_output_tokens = event.usage.output_tokens
            if event.usage.input_tokens is not None:
                self.input_tokens = event.usage.input_tokens
            if event.usage.cache_read_input_tokens is not None:
                self.cache_read_tokens = event.usage.cache_read_input_tokens
            if event.usage.cache_creation_input_tokens is not None:
                self.cache_write_tokens = event.usage.cache_creation_input_tokens
            self.stop_reason = event.delta.stop_reason
            if event.delta.stop_details is not None:
                self.refusal_category = event.delta.stop_details.category
                self.refusal_explanation = event.delta.stop_details.explanation


@dataclass(frozen=True, slots=True)
class _Reading:
    """What came of one answer."""

    bundle: Bundle | None
    problems: tuple[Problem, ...]
    digest: str
    deployable: Bundle | None = None


class _Generation:
    """One run of `Generator.generate`: its conversation, its clock and its bill."""

    def __init__(
        self,
        client: anthropic.AsyncAnthropic,
        order: GenerationOrder,
        *,
        clock: Clock,
        random: Random,
        judge: Judging,
        limits: GenerationLimits,
        on_progress: Callable[[GenerationProgress], None],
        on_retry: Callable[[str], None],
        before_call: Callable[[], None],
    ) -> None:
        self._client = client
        self._order = order
        self._clock = clock
        self._random = random
        self._judge = judge
        self._limits = limits
        self._on_progress = on_progress
        self._on_retry = on_retry
        self._before_call = before_call
        self._system = system_prompt(order.app_type, order.max_output_tokens)
        self._schema = answer_schema(
            order.app_type, order.before.bundle.entrypoint if order.before is not None else None
        )
        self._model = order.model
        self._others: list[tuple[str, TokenUsage]] = []
        self._is_shortened = False
        self._deadline = clock.now() + limits.total_seconds
        self._retries = 0
        self._paid = TokenUsage()
        self._attempt: _Attempt | None = None
        self._fraction = 0.0
        self._files: tuple[tuple[str, int], ...] = ()
        self._files_done = 0
        self._repairs = 0
        self._problem = ""
        self._reported_at = -math.inf

    @property
    def usage(self) -> TokenUsage:
        """What the present model was paid so far, the running call included."""
        running = self._attempt.usage() if self._attempt is not None else TokenUsage()
        return self._paid + running

    @property
    def model(self) -> str:
        """The model that is asked now."""
        return self._model

    @property
    def others(self) -> tuple[tuple[str, TokenUsage], ...]:
        """The models that were asked before, and what they were paid."""
        return tuple(self._others)

    async def run(self) -> Generated:
        """Ask, check and repair until there is an app or a reason why there is none."""
        order = self._order
        current: Bundle | None = None
        seen: set[str] = set()
        if order.before is None:
            message = order_message(order.prompt, order.app_type)
        else:
            before = order.before
            current, self._repairs = sources_of(before.bundle), before.rounds
            if before.findings:
                seen.add(before.bundle.digest)
                problems = [Problem("deployment", printable(line, 380)) for line in before.findings]
                message = self._repair(current, problems)
            else:
                message = change_message(order.prompt, before.prompt, current)
        while True:
            text = await self._ask(with_variables(message, order.app_type, order.variables))
            reading = await self._read(text, current)
            made = reading.deployable
            if made is not None and made.digest not in seen:
                self._fraction = 1.0
                self._files_done = len(made.files)
                self.report()
                return Generated(made, self.usage, self._repairs, self._model, self.others)
            if reading.digest in seen or made is not None:
                raise _invalid("Claude's repair is an answer that it gave before", reading.problems)
            if self._repairs == self._limits.max_repairs:
                raise _invalid(
                    f"the app is still broken after {self._repairs} repairs", reading.problems
                )
            seen.add(reading.digest)
            if reading.bundle is not None:
                current = _without_refused_paths(reading.bundle, reading.problems)
            message = self._repair(current, reading.problems)

    def _repair(self, current: Bundle | None, problems: Sequence[Problem]) -> str:
        """Begin one more repair; returns what Claude is asked."""
        self._repairs += 1
        self._problem = str(problems[0])
        return repair_message(self._order.prompt, self._order.app_type, current, problems)

    def report(self) -> None:
        """Tell how far the generation is, now."""
        usage = self.usage
        self._reported_at = self._clock.now()
        self._on_progress(
            GenerationProgress(
                self._fraction,
                self._files_done,
                usage.output_tokens,
                usage,
                self._files,
                self.others,
                self._repairs,
                self._problem,
            )
        )

    async def _read(self, text: str, current: Bundle | None) -> _Reading:
        """Parse, put right, merge, and have it judged."""
        try:
            bundle = await asyncio.to_thread(self._bundle_of, text, current)
        except AnswerUnreadable as error:
            digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
            return _Reading(None, (Problem("answer", str(error)),), digest)
        try:
            judgement = await self._judge(bundle)
        except JudgeUnavailable as error:
            raise GenerationUnavailable(f"the app cannot be checked now: {error}") from error
        if judgement.problems:
            return _Reading(bundle, judgement.problems, bundle.digest)
        deployable = finished(bundle, judgement.packages, judgement.module_type)
        return _Reading(bundle, (), bundle.digest, deployable)

    def _bundle_of(self, text: str, current: Bundle | None) -> Bundle:
        """The app after an answer. Runs in a thread: it is work for the processor."""
        answer = normalised_answer(Answer.parse(text))
        if current is None:
            return normalised_bundle(answer.as_bundle(self._order.app_type))
        return normalised_bundle(answer.merged_into(current))

    async def _ask(self, message: str) -> str:
        """The text of one complete answer.

        Calls that failed in passing are repeated. One whose answer was too long is made once more,
        for a smaller app. A refusal, and an overload that lasts, go to the fallback model once.
        """
        while True:
            try:
                return await self._call(message)
            except TryAgain as failure:
                try:
                    await self._back_off(failure)
                except GenerationUnavailable:
                    if not self._falls_back(failure.message):
                        raise
            except GenerationTruncated as error:
                if self._is_shortened or not error.was_too_long:
                    raise
                self._is_shortened = True
                self._on_retry(error.message)
                message = shorter(message, self._order.max_output_tokens)
            except GenerationRefused as error:
                if not self._falls_back(error.message):
                    raise

    def _falls_back(self, why: str) -> bool:
        """Whether another model is asked from now on."""
        fallback = self._order.fallback_model
        if fallback is None or self._model == fallback:
            return False
        self._on_retry(f"{why}; asking {fallback} instead")
        self._others.append((self._model, self._paid))
        self._model, self._paid, self._retries = fallback, TokenUsage(), 0
        return True

    async def _back_off(self, failure: TryAgain) -> None:
        """Wait before the next call.

        Raises:
            GenerationUnavailable: there is no next call.
        """
        limits = self._limits
        wish = failure.retry_after_seconds
        # Full jitter above half the step, so that orders which failed together come apart.
        step = min(
            limits.longest_backoff_seconds, limits.first_backoff_seconds * 2.0**self._retries
        )
        wait = max(wish or 0.0, step * (0.5 + self._random.random() / 2))
        spent = self._retries >= limits.max_retries
        too_long = wish is not None and wish > limits.longest_retry_after_seconds
        if spent or too_long or self._clock.now() + wait >= self._deadline:
            calls = self._retries + 1
            raise GenerationUnavailable(
                f"{failure.message}, after {calls} {'call' if calls == 1 else 'calls'}; "
                "Claude may be overloaded, order the app again later",
                retry_after_seconds=wish,
                request_id=failure.request_id,
            )
        self._retries += 1
        self._on_retry(failure.message)
        await self._clock.sleep(wait)

    async def _call(self, message: str) -> str:
        """One call, counted whatever comes of it.

        Raises:
            TryAgain: it failed for a reason that may pass.
            GenerationError: it failed for good.
        """
        if self._paid != TokenUsage():
            self.report()  # Who asks before each call what was paid shall know all of it.
        self._before_call()
        attempt = _Attempt()
        self._attempt = attempt
        allowed = seconds_for(self._model, self._order.max_output_tokens, self._limits)
        seconds = min(allowed, self._deadline - self._clock.now())
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._stream(message, attempt)
        except TimeoutError:
            if attempt.stream.characters:
                # It wrote all that time; the same call would be as long and cost as much.
                raise GenerationTruncated(
                    f"Claude was still writing after {seconds:.0f} seconds; order a smaller app "
                    "or choose a faster model",
                    request_id=attempt.request_id,
                ) from None
            raise TryAgain(f"Claude wrote nothing within {seconds:.0f} seconds") from None
        except AnswerTooLong:
            raise GenerationInvalid(
                f"Claude's answer passed {attempt.stream.characters - 1:,} characters, more than "
                "any app may have, and was cut off; order a smaller app",
                request_id=attempt.request_id,
            ) from None
        except FOREIGN_ERRORS as error:
            meaning = understand(error)
            raise meaning from error
        finally:
            self._paid = self._paid + attempt.usage()
            self._attempt = None
        _check_stop(attempt, self._model, self._order.max_output_tokens)
        return attempt.stream.text()

    async def _stream(self, message: str, attempt: _Attempt) -> None:
        order = self._order
        output_config: dict[str, Any] = {
            "format": {"type": "json_schema", "schema": self._schema},
        }
        if order.effort is not None:
            output_config["effort"] = order.effort
        stream = await self._client.messages.create(
            model=self._model,
            max_tokens=order.max_output_tokens,
            # The prompts are longer than the least that current models cache (512 tokens).
            system=[{"type": "text", "text": self._system, "cache_control": {"type": "ephemeral"}}],
            messages=[{"role": "user", "content": message}],
            output_config=cast("OutputConfigParam", output_config),
            metadata={"user_id": order.user_id} if order.user_id is not None else anthropic.omit,
            stream=True,
            timeout=_timeout(self._limits),
        )
        attempt.request_id = stream.response.headers.get("request-id")
        async with stream:
            async for event in stream:
                attempt.take(event)
                if self._clock.now() - self._reported_at >= self._limits.progress_seconds:
                    self._advance(attempt)

    def _advance(self, attempt: _Attempt) -> None:
        usual = min(
            _USUAL_OUTPUT_TOKENS.get(self._order.app_type, 4000), self._order.max_output_tokens
        )
        written = attempt.usage().output_tokens
        self._fraction = max(self._fraction, 0.95 * (1 - math.exp(-1.5 * written / usual)))
        self._files = attempt.stream.files() or self._files
        self._files_done = max(self._files_done, len(self._files) - 1)
        self.report()


def _size(text: str) -> int:
    return len(text.encode("utf-8", errors="surrogatepass"))


def _check_stop(attempt: _Attempt, model: str, max_output_tokens: int) -> None:
    """Whether the answer is complete; the reason that Claude gives for stopping says so."""
    reason = attempt.stop_reason
    if reason == "end_turn":
        return
    request_id = attempt.request_id
    if reason is None:
        raise TryAgain("Claude's answer ended before it was complete", request_id=request_id)
    if reason == "refusal":
        category, why = attempt.refusal_category, attempt.refusal_explanation
        told = f": {printable(why, 300).rstrip('.')}" if why else ""
        raise GenerationRefused(
            f"Claude declined to write this app{f' (category {category})' if category else ''}"
            f"{told}; describe another app",
            category=category,
            request_id=request_id,
        )
    if reason == "max_tokens":
        raise GenerationTruncated(
            f"Claude's answer was cut at the limit of {max_output_tokens} output tokens; "
            "order a smaller app or raise the class's limit",
            was_too_long=True,
            request_id=request_id,
        )
    if reason == "model_context_window_exceeded":
        raise GenerationTruncated(
            f"the order does not fit into the context window of {model}; order a smaller app",
            request_id=request_id,
        )
    raise GenerationInvalid(
        f"Claude stopped for a reason that makes no app ({reason})", request_id=request_id
    )


def _without_refused_paths(bundle: Bundle, problems: Iterable[Problem]) -> Bundle:
    """The files that a repair may build on: one with a refused path would stay refused."""
    refused = {problem.path for problem in problems if problem.rule in _PATH_RULES}
    if not refused:
        return bundle
    kept = tuple(file for file in bundle.files if file.path not in refused)
    return replace(bundle, files=kept)


def _invalid(message: str, problems: Sequence[Problem]) -> GenerationInvalid:
    sentences = tuple(str(problem) for problem in problems)
    if not problems:
        return GenerationInvalid(message)
    shown = trimmed(problems)[0].removeprefix("- ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return GenerationInvalid(f"{message}: {shown}{more}", problems=sentences)
