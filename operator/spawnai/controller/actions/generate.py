"""Has the app written, once, and keeps what was paid for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from spawnai.api.record import GenerationEntry
from spawnai.billing import ledger as books
from spawnai.billing.estimates import most_call_cost
from spawnai.billing.token_prices import UnknownModelPrice, has_price, token_cost
from spawnai.clock import Clock
from spawnai.controller.failures import NeedsPerson, NotYet, SessionFailed, failure_of
from spawnai.controller.memory import WrittenApp
from spawnai.generation.claude import (
    MAX_REPAIRS,
    GenerationOrder,
    GenerationProgress,
    Revised,
)
from spawnai.generation.errors import GenerationError, GenerationUnauthorized, GenerationUnavailable
from spawnai.generation.usage import TokenUsage
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Failure, FailureKind, StoredBundle
from spawnai.telemetry.metrics import Metrics

from .app_env import AppEnvironments
from .bundles import Bundles
from .work import Backing, Work

PROGRESS_INTERVAL_SECONDS = 5.0


class Generate:
    """Orders apps from Claude, and counts what they cost."""

    def __init__(
        self,
        *,
        bundles: Bundles,
        environments: AppEnvironments,
        metrics: Metrics,
        clock: Clock,
        before_call: Callable[[], None],
        on_answer: Callable[[str, Failure | None], None],
        wake: Callable[[str], None],
    ) -> None:
        """Take what it uses.

        `before_call` may raise when this process must not pay for anything any more. `on_answer`
        is told, with the name of the class, that Claude takes its orders, or why it refuses them.
        """
        self._before_call = before_call
        self._on_answer = on_answer
        self._bundles = bundles
        self._environments = environments
        self._metrics = metrics
        self._clock = clock
        self._wake = wake

    async def generate_app(self, work: Work, action: do.GenerateApp) -> None:
        """Find the stored app, or order one and store it. What is paid is counted in every case.

        An app that was written and could not be stored is only stored: it is not ordered again.
        """
        memory = work.memory
        if memory.unstored is None:
            stored = None if action.is_first else await self._bundles.find(work.session)
            if stored is not None:
                memory.bundle = stored
                for entry in (*stored.earlier, stored.generation):
                    self._note_generation(work, entry)
                return
            # Keys that are missing are told before anything is paid for.
            await self._environments.of(work.session)
            memory.unstored = await self._order(work, action)
        await self._store(work, memory.unstored)

    async def _store(self, work: Work, app: WrittenApp) -> None:
        work.memory.bundle = await self._bundles.store(work.session, app)
        work.memory.unstored = None

    async def repair_app(
        self, work: Work, action: do.PaidAction, findings: Sequence[str]
    ) -> StoredBundle:
        """Have the stored app repaired, after it did not work on its droplet.

        Raises:
            SessionFailed: its repairs are used up, or Claude gave none.
        """
        memory = work.memory
        stored = memory.bundle or await self._bundles.find(work.session)
        if stored is None:
            raise NotYet("its app is not stored any more")
        if stored.generation.repairs >= MAX_REPAIRS:
            raise SessionFailed("RepairsSpent", f"{MAX_REPAIRS} repairs did not help")
        if memory.unstored is None:
            version = await self._bundles.version(work.session, stored.number)
            # Not for a prompt that has changed meanwhile: that is the next change.
            prompt = version.prompt or work.session.order.prompt
            before = Revised(version.bundle, prompt, tuple(findings), version.generation.repairs)
            memory.unstored = await self._order(work, action, before, prompt)
        repaired = await self._bundles.store(work.session, memory.unstored, stored.number + 1)
        memory.unstored = None
        return replace(repaired, earlier=(*stored.earlier, stored.generation))

    async def change_app(
        self, work: Work, action: do.ReviseApp, before: Revised, number: int
    ) -> StoredBundle:
        """Have a stored app changed, and store the result as that version."""
        memory = work.memory
        memory.unstored = await self._order(work, action, before)
        stored = await self._bundles.store(work.session, memory.unstored, number)
        memory.unstored = None
        return stored

    async def store_waiting(self, work: Work) -> None:
        """Store the app that was written and could not be stored, whatever prompt it is for.

        So an order for the next prompt never takes its place, and its own prompt finds it again.
        """
        memory = work.memory
        if memory.unstored is None:
            return
        versions = await self._bundles.versions(work.session)
        waiting = (memory.unstored.prompt, memory.unstored.bundle.digest)
        # A storing whose answer was lost may have taken effect.
        if waiting not in {(one.prompt, one.bundle.digest) for one in versions}:
            await self._bundles.store(work.session, memory.unstored, len(versions) + 1)
        memory.unstored = None

    async def _order(
        self,
        work: Work,
        action: do.PaidAction,
        before: Revised | None = None,
        prompt: str | None = None,
    ) -> WrittenApp:
        """Have Claude write the app, or change it; for the session's prompt, or another one."""
        session, backing, memory = work.session, work.backing, work.memory
        prompt = session.order.prompt if prompt is None else prompt
        model, generator = backing.spec.model, backing.generator
        for field, name in (("name", model.name), ("fallback", model.fallback)):
            if name is not None and not has_price(name):
                raise NeedsPerson(
                    "ModelWithoutPrice",
                    f"spec.model.{field} of SpawnClass {backing.class_name!r}: "
                    f"{UnknownModelPrice(name)}",
                )
        # To the microsecond: two orders of one second are two orders, and both are paid for.
        started = self._clock.utc_now()
        order = GenerationOrder(
            prompt=prompt,
            app_type=session.order.app_type,
            model=model.name,
            max_output_tokens=model.max_output_tokens,
            effort=model.effort,
            fallback_model=model.fallback,
            before=before,
            variables=tuple(one.name for one in session.order.env or ()),
            user_id=work.uid,
        )

        paid = TokenUsage()
        others: tuple[tuple[str, TokenUsage], ...] = ()
        woken = self._clock.now()
        funds = _Funds(backing, action, books.tokens_cost(memory.book), is_first=before is None)

        def progress(news: GenerationProgress) -> None:
            nonlocal paid, others, woken
            begins = memory.generation is None
            paid, others = news.usage, news.others
            memory.generation = news
            memory.note_failure(action.key, None)
            if begins:
                self._on_answer(backing.class_name, None)
            if begins or self._clock.now() >= woken + PROGRESS_INTERVAL_SECONDS:
                woken = self._clock.now()
                self._wake(work.uid)

        def retry(why: str) -> None:
            now = self._clock.utc_now()
            memory.note_failure(action.key, failure_of(GenerationUnavailable(why), now))
            self._wake(work.uid)

        def before_call() -> None:
            self._before_call()
            funds.check(paid, others)

        try:
            made = await generator.generate(
                order, on_progress=progress, on_retry=retry, before_call=before_call
            )
        except GenerationError as error:
            memory.generation = None
            outcome = type(error).__name__
            self._note_others(work, error.others, started)
            paid_model = error.model or model.name
            self._note_unfinished(work, paid_model, error.usage, started, outcome)
            failure = failure_of(error, started)
            if failure.kind is FailureKind.FINAL:
                raise SessionFailed(outcome, error.traced) from error
            if isinstance(error, GenerationUnauthorized):
                failure = replace(failure, message=_wrong_key(backing, error))
            if failure.kind is FailureKind.NEEDS_PERSON:
                self._on_answer(backing.class_name, failure)
                raise NeedsPerson(failure.reason, failure.message) from error
            raise
        except BaseException:  # cancelled, or not allowed to pay for anything any more
            self._note_others(work, others, started)
            asked = model.fallback if others and model.fallback else model.name
            self._note_unfinished(work, asked, paid, started, "Cancelled")
            raise
        self._note_others(work, made.others, started)
        entry = _generation_entry(
            made.model,
            made.usage,
            priced_as=made.model if has_price(made.model) else model.name,
            started=started,
            finished=self._clock.utc_now(),
            outcome="Stored",
            repairs=made.repairs,
        )
        self._note_generation(work, entry)
        return WrittenApp(made.bundle, entry, prompt)

    def _note_others(
        self, work: Work, others: tuple[tuple[str, TokenUsage], ...], started: datetime
    ) -> None:
        """What was paid to a model before its fallback was asked."""
        for model, paid in others:
            self._note_unfinished(work, model, paid, started, "FellBack")

    def _note_unfinished(
        self, work: Work, model: str, paid: TokenUsage, started: datetime, outcome: str
    ) -> None:
        """An order without an app is paid for all the same."""
        if paid != TokenUsage():
            finished = self._clock.utc_now()
            entry = _generation_entry(
                model,
                paid,
                priced_as=model,
                started=started,
                finished=finished,
                outcome=outcome,
            )
            self._note_generation(work, entry)

    def _note_generation(self, work: Work, entry: GenerationEntry) -> None:
        memory = work.memory
        known = memory.book
        memory.ledger = books.with_generation(known, entry)
        if memory.ledger is not known:
            self._metrics.claude_order(entry.outcome, entry.repairs)
            for kind in ("input", "output", "cache_read", "cache_write"):
                count = getattr(entry, f"{kind}_tokens")
                if count:
                    self._metrics.claude_tokens(entry.model, kind, count)


class _Funds:
    """Refuses a call to Claude that the session's reservation does not bear."""

    def __init__(
        self, backing: Backing, action: do.PaidAction, paid_before: Decimal, *, is_first: bool
    ) -> None:
        self._model = backing.spec.model
        self._allowance = action.allowance
        self._paid_before = paid_before
        self._is_first = is_first

    def check(self, paid: TokenUsage, others: tuple[tuple[str, TokenUsage], ...]) -> None:
        """Return if one more call may be made.

        Raises:
            SessionFailed: what it may cost is not reserved.
        """
        if self._allowance is None:
            return
        names = [self._model.name, *([self._model.fallback] if self._model.fallback else [])]
        running = max(_cost_of(name, paid) for name in names)
        spent = self._paid_before + running + sum(_cost_of(*one) for one in others)
        call = max(
            most_call_cost(
                name,
                self._model.max_output_tokens,
                is_first=self._is_first and paid == TokenUsage(),
            )
            for name in names
        )
        if spent + call > self._allowance:
            raise SessionFailed(
                "BudgetExceeded",
                f"Claude took {books.money(spent)} USD so far, and one more call may take "
                f"{books.money(call)} USD: more than the {books.money(self._allowance)} USD that "
                "the session's budgets reserved for it",
            )


def _cost_of(model: str, usage: TokenUsage) -> Decimal:
    return token_cost(model, **_tokens_of(usage))


def _tokens_of(usage: TokenUsage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
    }


def _wrong_key(backing: Backing, error: GenerationUnauthorized) -> str:
    wanted = backing.spec.credentials
    return (
        f"{error.message}: put a valid one under key {wanted.anthropic_api_key_key!r} into Secret "
        f"{wanted.secret_name!r} of SpawnClass {backing.class_name!r}, in the operator's namespace"
    )


def _generation_entry(
    model: str,
    usage: TokenUsage,
    *,
    priced_as: str,
    started: datetime,
    finished: datetime,
    outcome: str,
    repairs: int = 0,
) -> GenerationEntry:
    tokens = _tokens_of(usage)
    return GenerationEntry(
        model=model,
        started_at=started,
        finished_at=finished.replace(microsecond=0),
        outcome=outcome,
        repairs=repairs,
        cost=books.money(token_cost(priced_as, **tokens)),
        **tokens,
    )
