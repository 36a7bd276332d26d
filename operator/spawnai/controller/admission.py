"""Limits and budgets, held by the leader alone: who may begin is decided here, one at a time.

The ledgers are the truth: a session that has one has begun, also when its session is deleted. Who
was let in and has no ledger yet is remembered, and what was reserved and is not written yet, so
that two orders never take one place or one dollar.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from spawnai.admission.budgets import (
    Book,
    Charge,
    Payer,
    Purse,
    grant,
    over_before,
    period_around,
)
from spawnai.admission.places import Begun, ClassLimits, Place, Tally, Waiting, places
from spawnai.api.session import Phase
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing.ledger import known_cost
from spawnai.lifecycle.exposure import began_with_load_balancer
from spawnai.lifecycle.observation import Session

from .store import Store, StoredBudget, StoredRecord

TOLD_EVERY = timedelta(seconds=10)
"""A person's place is written again after this time at the earliest."""

_TOLD_AFTER = 2
"""And not before so many times the time that it has waited: at once, and after about 10, 30, 90 and
270 seconds. So a queue that moves all the time costs few writes, however long it is."""

_LOOK_EVERY = timedelta(seconds=60)

_COUNT_EVERY = timedelta(seconds=1)
_FEW = 100
"""Where more sessions wait, one that comes stands at the end at first, and its place is found with
those of others: finding all of them takes milliseconds."""

MOST_WAITING = 10_000
"""So many sessions of a class have a place in its queue. One more has none until one becomes free:
it is looked at once a minute, and begins when it fits under every limit."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The place that a session was told last, and when it was told one first and last."""

    place: Place
    first_at: datetime
    at: datetime

    def again_at(self, place: Place) -> datetime | None:
        """When it may be told of another place; None: it is the same, whoever came behind it."""
        if (self.place.position, self.place.reason) == (place.position, place.reason):
            return None
        if self.place.for_money != place.for_money:
            return self.at + TOLD_EVERY
        return self.at + max(TOLD_EVERY, _TOLD_AFTER * (self.at - self.first_at))


@dataclass(slots=True)
class _ClassQueue:
    waiting: dict[str, Waiting] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    let_in: dict[str, tuple[Begun, Decimal | None]] = field(default_factory=dict)
    told: dict[str, _Told] = field(default_factory=dict)
    counted_at: datetime | None = None
    is_stale: bool = False
    """Whether sessions were put at its end since it was counted."""

    @property
    def promised(self) -> list[Waiting]:
        """Those that may begin by the last count, and were not asked for since."""
        return [one for uid, one in self.waiting.items() if self.places[uid].may_begin]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an order would meet now. `waits`: by what was asked for, what it would wait for."""

    active: int
    most_active: int | None
    budgets: tuple[Book, ...]
    waits: Mapping[str, Place]


class Admission:
    """Knows who waits for the limits of a class or for money, and what each budget has left.

    Args:
        store: the sessions, ledgers and budgets.
        utc_now: the date.
        wake: has a session looked at now.
        wake_after: has a session looked at after some seconds.
        budget_moved: told the name of a budget whose sums have changed.
    """

    def __init__(
        self,
        store: Store,
        utc_now: Callable[[], datetime],
        wake: Callable[[str], object],
        wake_after: Callable[[str, float], object],
        budget_moved: Callable[[str], object] = lambda _name: None,
    ) -> None:
        self._store = store
        self._utc_now = utc_now
        self._wake = wake
        self._wake_after = wake_after
        self._budget_moved = budget_moved
        self._queues: dict[str, _ClassQueue] = {}
        self._charges: dict[str, Charge] = {}
        # By class, what the charges and those who were let in say: counted as they change.
        self._begun: dict[str, Tally] = {}
        # What was granted to sessions and the store does not show yet.
        self._granted: dict[str, Decimal] = {}
        self._books: dict[str, Book] = {}

    # --- who may begin ------------------------------------------------------------------------

    def place(
        self,
        session: Session,
        class_name: str,
        spec: ClassSpec,
        amount: Decimal | None = None,
        unpriced: str = "",
    ) -> Place | None:
        """Where a session without a ledger stands; None when nothing can hold it back.

        Asking puts it into the queue; being let in takes it out, and reserves `amount` in its
        budgets: the dollars that it may cost at most. None: that is not known, for the reason
        `unpriced`.
        """
        limits = limits_of(spec)
        payer = Payer(_user_of(session), session.namespace, class_name)
        queue = self._queues.get(class_name)
        if limits == ClassLimits() and not self.budgets_of(payer):
            if queue is not None:
                _leave(queue, session.uid)
                self._uncount(class_name, session.uid)
            return None
        if queue is None:
            queue = self._queues[class_name] = _ClassQueue()
        if session.uid in queue.let_in:
            return Place(position=0, total=0, amount=queue.let_in[session.uid][1])
        order = Waiting(
            session.uid,
            payer.user,
            payer.namespace,
            session.created_at,
            class_name,
            amount,
            unpriced,
        )
        known = queue.places.get(session.uid)
        if known is None:
            known = self._arrive(class_name, queue, limits, order)
        elif self._is_due(queue, known) or not self._is_kept(known, payer):
            queue.waiting[session.uid] = order
            self._count(class_name, queue, limits)
            known = queue.places[session.uid]
        if known.may_begin:
            balanced = limits.load_balancers is not None
            self._let_in(queue, session, payer, known.amount, is_balanced=balanced)
            return known
        return self._tell(queue, session.uid, known)

    def place_of_begun(self, uid: str) -> Place | None:
        """Where a session stands whose ledger is there, and for which nothing was made yet; None
        when nothing holds it back.

        Its ledger may have been written by a leader of before whose write came late, or a budget
        was lowered since.
        """
        charge = self._charges.get(uid)
        if charge is None:
            return None
        book = over_before(self._current_books(), uid)
        if book is None:
            return None
        words = f"budget {book.name} is used up by what began before"
        return Place(1, 1, words, book.end, for_money=True)

    def outlook(
        self, payer: Payer, spec: ClassSpec, amounts: Mapping[str, Decimal | None]
    ) -> Outlook:
        """What an order of that payer would meet now; nothing is reserved for it.

        `amounts`: dollars that it may cost at most, for each thing that might be ordered; None: not
        known, so that a budget has no room for it.
        """
        limits, now = limits_of(spec), self._utc_now()
        queue = self._queues.get(payer.class_name) or _ClassQueue()
        waits = {}
        for name, amount in amounts.items():
            order = Waiting(
                "", payer.user, payer.namespace, now, payer.class_name, amount, "has no price"
            )
            place = self._alone(payer.class_name, queue, limits, order)
            if not place.may_begin:
                waits[name] = place
        return Outlook(
            active=self._tally(payer.class_name).open_of_user(payer.user),
            most_active=limits.active_per_user,
            budgets=tuple(book for book in self._current_books() if book.selects(payer)),
            waits=waits,
        )

    def class_changed(self, class_name: str) -> None:
        """Other limits may hold: everyone's place is found anew when it is asked for."""
        if (queue := self._queues.get(class_name)) is not None:
            queue.counted_at = None

    def ledger_changed(self, uid: str, class_name: str | None) -> None:
        """A ledger was made, written, closed or dropped."""
        before, record = self._charges.get(uid), self._store.record(uid)
        queue = self._queues.get(class_name or "")
        if record is None:
            self._charges.pop(uid, None)
            self._granted.pop(uid, None)
            self._drop(uid)
            if before is not None:
                self._uncount(before.payer.class_name, uid)
        else:
            if queue is not None:
                queue.let_in.pop(uid, None)
            self._enter(uid, record)
        after = self._charges.get(uid)
        if before is not None and after is not None and after.amount < before.amount:
            self._recount_for_money(None)
        if before is None or after is None or before.closed_at != after.closed_at:
            if queue is not None and queue.waiting:
                self._recount(class_name or "", queue)
            if before is not None and after is None:
                self._recount_for_money(class_name)

    def session_gone(self, uid: str) -> None:
        """A session is gone, has ended without beginning, or cannot begin as it is: nobody waits
        behind it, and what it was let in with is there for others.
        """
        for class_name, queue in self._queues.items():
            was_let_in = uid in queue.let_in
            if not _leave(queue, uid):
                continue
            if self._store.record(uid) is None:
                self._drop(uid)
                self._uncount(class_name, uid)
            if queue.waiting:
                self._recount(class_name, queue)
            if was_let_in:
                self._recount_for_money(class_name)

    # --- money --------------------------------------------------------------------------------

    def budget_changed(self, name: str) -> None:
        """A budget was made, changed or deleted."""
        stored, before = self._store.budget(name), self._books.pop(name, None)
        if stored is not None:
            self._open_book(stored)
        self._budget_moved(name)
        self._recount_for_money(None)
        # Lives that were capped may be longer now, and ledgers need not be kept any more.
        books = [book for book in (before, self._books.get(name)) if book is not None]
        for uid in self._charges:
            if any(book.counts(uid) for book in books):
                self._wake(uid)

    def book(self, name: str) -> Book | None:
        """The sums of a budget in the present period; None: it has none, or cannot be counted."""
        return next((book for book in self._current_books() if book.name == name), None)

    def budgets_of(self, payer: Payer) -> tuple[str, ...]:
        """The budgets that pay for a session."""
        return tuple(book.name for book in self._current_books() if book.selects(payer))

    def budgets_of_ledger(self, uid: str) -> tuple[str, ...]:
        """The budgets that pay for a session that has begun."""
        charge = self._charges.get(uid)
        return self.budgets_of(charge.payer) if charge is not None else ()

    def counts_until(self, uid: str) -> datetime | None:
        """Until when a closed ledger counts in a budget."""
        ends = [book.end for book in self._current_books() if book.counts(uid)]
        return max(ends, default=None)

    def reserve(self, uid: str, wanted: Decimal) -> Decimal | None:
        """Reserve up to `wanted` for a living session; returns what it has reserved now.

        It is taken at once, and is to be written into the ledger before it is used.
        """
        charge = self._charges.get(uid)
        if charge is None or charge.closed_at is not None:
            return None
        granted = grant(self._current_books(), charge.payer, charge.amount, wanted)
        if granted > charge.reserved:
            self._granted[uid] = granted
            record = self._store.record(uid)
            if record is not None:
                self._enter(uid, record)
        return granted

    # --- inside -------------------------------------------------------------------------------

    def _current_books(self) -> list[Book]:
        """The books, with new ones where a period has ended or the clock was set."""
        now = self._utc_now()
        if any(not book.holds(now) for book in self._books.values()):
            for name, book in list(self._books.items()):
                stored = self._store.budget(name)
                if stored is not None and not book.holds(now):
                    self._open_book(stored)
                    self._budget_moved(name)
        return list(self._books.values())

    def _open_book(self, stored: StoredBudget) -> None:
        now, problem = self._utc_now(), stored.spec_problem or ""
        # With a problem, nothing that it selects begins until somebody puts it right.
        start, end = now, now + _LOOK_EVERY
        if not problem:
            try:
                start, end = period_around(stored.spec.period, stored.spec.time_zone, now)
            except ValueError as error:
                problem = str(error)
        book = Book(stored.name, stored.spec, start, end, problem)
        for charge in self._charges.values():
            book.put(charge)
        for class_name, queue in self._queues.items():
            for uid, (begun, amount) in queue.let_in.items():
                if uid not in self._charges:
                    book.put(_charge_of_let_in(uid, class_name, begun, amount))
        self._books[stored.name] = book

    def _enter(self, uid: str, record: StoredRecord) -> None:
        granted = self._granted.get(uid)
        charge = _charge_of(uid, record)
        if granted is not None and (charge.reserved >= granted or charge.closed_at is not None):
            granted = self._granted.pop(uid)
        elif granted is not None:
            charge = replace(charge, reserved=granted)
        if charge != self._charges.get(uid):
            self._charges[uid] = charge
            begun = Begun(
                charge.payer.user,
                charge.payer.namespace,
                charge.begun_at,
                is_open=charge.closed_at is None,
                is_balanced=began_with_load_balancer(record.spec),
            )
            self._tally(charge.payer.class_name).put(uid, begun)
            self._put(charge)

    def _put(self, charge: Charge) -> None:
        for book in self._current_books():
            if book.selects(charge.payer):
                book.put(charge)
                self._budget_moved(book.name)

    def _uncount(self, class_name: str, uid: str) -> None:
        """A session without a ledger is not to begin any more, or its ledger was dropped."""
        tally = self._begun.get(class_name)
        if tally is not None and uid not in self._charges:
            tally.drop(uid)

    def _drop(self, uid: str) -> None:
        for book in self._books.values():
            if book.counts(uid):
                book.drop(uid)
                self._budget_moved(book.name)

    def _recount_for_money(self, but: str | None) -> None:
        """Money may have come back: find the places of those who wait for it."""
        for class_name, queue in self._queues.items():
            if class_name != but and any(place.for_money for place in queue.places.values()):
                self._recount(class_name, queue)

    def _is_due(self, queue: _ClassQueue, place: Place) -> bool:
        now = self._utc_now()
        counted_at = queue.counted_at
        if counted_at is None or now - counted_at >= _LOOK_EVERY or now < counted_at:
            return True
        if queue.is_stale and now - counted_at >= _COUNT_EVERY:
            return True
        return place.look_again_at is not None and now >= place.look_again_at

    def _let_in(
        self,
        queue: _ClassQueue,
        session: Session,
        payer: Payer,
        amount: Decimal | None,
        *,
        is_balanced: bool,
    ) -> None:
        _leave(queue, session.uid)
        begun = Begun(
            payer.user, payer.namespace, self._utc_now(), is_open=True, is_balanced=is_balanced
        )
        queue.let_in[session.uid] = begun, amount
        self._tally(payer.class_name).put(session.uid, begun)
        self._put(_charge_of_let_in(session.uid, payer.class_name, begun, amount))

    def _recount(self, class_name: str, queue: _ClassQueue) -> None:
        spec = self._store.spawn_class(class_name)
        if spec is not None and spec.spec is not None:
            self._count(class_name, queue, limits_of(spec.spec))

    def _is_kept(self, place: Place, payer: Payer) -> bool:
        """Whether what a place promises is still there: another class, or a longer life, may have
        taken the money since.
        """
        if not place.may_begin:
            return True
        return Purse(self._current_books()).lacks(payer, place.amount) is None

    def _arrive(
        self, class_name: str, queue: _ClassQueue, limits: ClassLimits, order: Waiting
    ) -> Place:
        """The place of a session that has not been seen before.

        Whoever waits fitted under no limit when all were counted, and fits under none since: what
        becomes free is counted at once. So one that fits takes nobody's place.
        """
        uid = order.uid
        is_full = len(queue.waiting) >= MOST_WAITING
        if is_full and queue.counted_at is None:
            self._count(class_name, queue, limits)
        if queue.counted_at is not None:
            alone = self._alone(class_name, queue, limits, order)
            if alone.may_begin:
                queue.waiting[uid], queue.places[uid] = order, alone
                return alone
            last = len(queue.waiting) + 1
            at_the_end = replace(alone, position=last, total=last)
            if is_full:
                return at_the_end
            if len(queue.waiting) >= _FEW:
                queue.waiting[uid], queue.places[uid] = order, at_the_end
                if not queue.is_stale:
                    queue.is_stale = True
                    self._wake_after(uid, _COUNT_EVERY.total_seconds())
                return queue.places[uid]
        queue.waiting[uid] = order
        self._count(class_name, queue, limits)
        return queue.places[uid]

    def _alone(
        self, class_name: str, queue: _ClassQueue, limits: ClassLimits, order: Waiting
    ) -> Place:
        """What an order would meet now, whoever else waits; positions left aside."""
        begun, now, books = self._tally(class_name), self._utc_now(), self._current_books()
        return places([order], begun, limits, now, books, promised=queue.promised)[order.uid]

    def _tell(self, queue: _ClassQueue, uid: str, place: Place) -> Place:
        """The place to be told: this one, or the one of before when it is too early for news."""
        now, told = self._utc_now(), queue.told.get(uid)
        if told is None or now < told.at:
            queue.told[uid] = _Told(place, now, now)
            return place
        again_at = told.again_at(place)
        if again_at is None or now < again_at:
            return replace(told.place, look_again_at=place.look_again_at)
        queue.told[uid] = _Told(place, told.first_at, now)
        return place

    def _tally(self, class_name: str) -> Tally:
        """Who has begun in a class, by the ledgers, and who was let in and has none yet."""
        return self._begun.setdefault(class_name, Tally())

    def _count(self, class_name: str, queue: _ClassQueue, limits: ClassLimits) -> None:
        """Find everyone's place, and wake those whose place has moved."""
        now = self._utc_now()
        before = queue.places
        books, begun = self._current_books(), self._tally(class_name)
        queue.places = places(queue.waiting.values(), begun, limits, now, books)
        queue.counted_at, queue.is_stale = now, False
        for uid, place in queue.places.items():
            known, told = before.get(uid), queue.told.get(uid)
            if known is None:
                continue
            if place.may_begin:
                if not known.may_begin:
                    self._wake(uid)
            elif told is not None and (again_at := told.again_at(place)) is not None:
                self._wake_after(uid, max((again_at - now).total_seconds(), 0.0))


def limits_of(spec: ClassSpec) -> ClassLimits:
    """What a class allows."""
    return ClassLimits(
        active_per_user=spec.limits.per_user.active,
        new_per_user=spec.limits.per_user.new_in15_minutes,
        active_per_namespace=spec.limits.per_namespace.active,
        load_balancers=spec.exposure.most_load_balancers,
    )


def is_waiting(session: Session) -> bool:
    """Whether a session may still have to wait: it has neither begun nor ended."""
    return session.status.phase in {None, Phase.REQUESTED} and not session.deleting


def _leave(queue: _ClassQueue, uid: str) -> bool:
    """Take a session out of a queue; tells whether it was there."""
    known = queue.waiting.pop(uid, None), queue.let_in.pop(uid, None)
    queue.places.pop(uid, None)
    queue.told.pop(uid, None)
    return any(known)


def _charge_of(uid: str, record: StoredRecord) -> Charge:
    """A ledger as a charge."""
    spec, status = record.spec, record.status
    total = status.total_cost
    return Charge(
        uid=uid,
        payer=Payer(
            spec.owner.user or spec.owner.namespace or "",
            spec.owner.namespace or "",
            spec.class_name or "",
        ),
        begun_at=record.created_at,
        reserved=Decimal(status.reserved or spec.reserved or 0),
        spent=Decimal(total) if total is not None else known_cost(status),
        closed_at=status.completed_at,
        made_anything=bool(status.resources or status.generations),
    )


def _charge_of_let_in(uid: str, class_name: str, begun: Begun, amount: Decimal | None) -> Charge:
    payer = Payer(begun.user, begun.namespace, class_name)
    return Charge(uid, payer, begun.at, amount or Decimal(0), Decimal(0), made_anything=False)


def _user_of(session: Session) -> str:
    return session.order.user or session.namespace
