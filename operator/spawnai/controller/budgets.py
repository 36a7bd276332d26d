"""Says on each SpawnBudget how much of it is left, and warns when little is.

A status is a report: what decides are the ledgers (`controller/admission.py`). A budget that moves
is written every ten seconds at most.
"""

from collections.abc import Callable
from datetime import datetime

from spawnai.admission.budgets import Book
from spawnai.api.budget import BudgetStatus
from spawnai.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    find_condition,
    is_true,
    next_condition,
)
from spawnai.api.durations import format_time
from spawnai.api.names import API_VERSION
from spawnai.billing.ledger import money
from spawnai.clock import Clock
from spawnai.telemetry.events import EventRecorder, Regarding
from spawnai.telemetry.metrics import Metrics

from .admission import Admission
from .cluster import Cluster, ObjectNotFound
from .report import merge_patch
from .store import Store, StoredBudget

WRITE_EVERY_SECONDS = 10.0

TellBudget = Callable[[StoredBudget, str, str], None]
"""Told once for each warning: the budget, the title and the message."""


class BudgetReports:
    """Writes the status of budgets, their events and their metrics."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        admission: Admission,
        events: EventRecorder,
        metrics: Metrics,
        clock: Clock,
        wake_after: Callable[[str, float], None],
        tell: TellBudget,
    ) -> None:
        """Take what it uses. `wake_after` has a budget reported again after some seconds."""
        self._cluster = cluster
        self._store = store
        self._admission = admission
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._wake_after = wake_after
        self._tell = tell
        self._written_at: dict[str, float] = {}

    async def report(self, name: str) -> None:
        """Write how a budget stands, if that is new and it is time to."""
        stored = self._store.budget(name)
        if stored is None:
            self._written_at.pop(name, None)
            self._metrics.budget(name, None)
            return
        now = self._clock.utc_now()
        book = self._admission.book(name)
        self._metrics.budget(name, book if stored.spec_problem is None else None)
        status = status_of(stored, book, now.replace(microsecond=0))
        if book is not None:
            self._wake_after(name, max((book.end - now).total_seconds(), 0.0) + 1.0)
        patch = merge_patch(stored.status.document(), status.document())
        if not patch:
            return
        waited = self._clock.now() - self._written_at.get(name, float("-inf"))
        is_urgent = stored.status.conditions != status.conditions
        if waited < WRITE_EVERY_SECONDS and not is_urgent:
            self._wake_after(name, WRITE_EVERY_SECONDS - waited)
            return
        try:
            body = await self._cluster.patch_budget_status(
                name, {"metadata": {"uid": stored.uid}, "status": patch}
            )
        except ObjectNotFound:
            return
        self._written_at[name] = self._clock.now()
        known = self._store.budget(name)
        if known is not None and known.uid == stored.uid:  # Or its deletion was seen meanwhile.
            self._store.put_budget(body)
        self._warn(stored, status)

    def _warn(self, before: StoredBudget, status: BudgetStatus) -> None:
        """Tell, with the write that makes it true, that little is left, or that it is not counted.

        A budget that is full again has its warning armed again.
        """
        regarding = Regarding(
            kind="SpawnBudget",
            namespace=None,
            name=before.name,
            uid=before.uid,
            api_version=API_VERSION,
        )
        for type_, action in (
            (ConditionType.NEAR_LIMIT, "Count"),
            (ConditionType.STALLED, "Check"),
        ):
            found = find_condition(status.conditions, type_)
            new = is_true(status.conditions, type_) and not is_true(before.status.conditions, type_)
            if found is not None and new:
                self._events.emit(regarding, "Warning", found.reason, action, found.message)
                self._tell(before, f"Budget {before.name}: {found.reason}", found.message)


def status_of(stored: StoredBudget, book: Book | None, now: datetime) -> BudgetStatus:
    """The status of a budget. Without a book, or with one that has a problem, it is not counted."""
    problem = stored.spec_problem or (book.problem if book is not None else "")
    if book is None or problem:
        words = problem or "it is not counted yet"
        conditions = [
            ("Ready", ConditionStatus.FALSE, "InvalidSpec", words),
            ("Stalled", ConditionStatus.TRUE, "InvalidSpec", words),
        ]
        return BudgetStatus(
            observed_generation=stored.generation,
            conditions=_conditions(stored, conditions, now),
        )
    left = f"{money(book.left)} of {money(book.limit)} USD are left"
    until = f"until {format_time(book.end)}"
    if book.left < 0:
        near = ("OverLimit", f"The limit was lowered: {left} {until}; nothing new begins")
    else:
        near = ("WarnAtReached", f"{left} {until}: {book.spec.warn_at} % are used or reserved")
    conditions = [
        ("Ready", ConditionStatus.TRUE, "Counted", "Every session that it selects is counted"),
        ("NearLimit", ConditionStatus.TRUE, *near)
        if book.is_near_limit
        else ("NearLimit", ConditionStatus.FALSE, "RoomLeft", "Less than warnAt is used"),
    ]
    return BudgetStatus(
        observed_generation=stored.generation,
        conditions=_conditions(stored, conditions, now),
        period_start=book.start,
        resets_at=book.end,
        spent=money(book.spent),
        reserved=money(book.reserved),
        left=money(book.left),
        sessions=book.living,
    )


def _conditions(
    stored: StoredBudget, wanted: list[tuple[str, ConditionStatus, str, str]], now: datetime
) -> list[Condition]:
    found = []
    for type_, status, reason, words in wanted:
        before = find_condition(stored.status.conditions, type_)
        one = next_condition(
            before, type_, status, reason, words, now=now, observed_generation=stored.generation
        )
        stands = before is not None and (before.status, before.reason) == (status, reason)
        if before is not None and stands and type_ == ConditionType.NEAR_LIMIT:
            # Its figures are in the status; a message with each of them would be a write each.
            one = one.model_copy(update={"message": before.message})
        found.append(one)
    return found
