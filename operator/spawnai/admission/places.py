"""The places of those who wait for the limits of a class.

The order is fair over users: they take turns, and each user's sessions are in the order in which
they were ordered. A turn is a session that is open or began within the last 15 minutes, so a user
who has had one comes after a user who has had none, whoever ordered first. Who fits under every
limit begins, whoever waits before him: another user's limit is no reason to wait.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self

from .budgets import Book, Payer, Purse, no_room

NEW_WINDOW = timedelta(minutes=15)
"""The time in which new sessions of a user are counted (the product's first description)."""


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """What a class allows. None: any number."""

    active_per_user: int | None = None
    new_per_user: int | None = None
    active_per_namespace: int | None = None
    load_balancers: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session that has not begun."""

    uid: str
    user: str
    namespace: str
    ordered_at: datetime
    class_name: str = ""
    amount: Decimal | None = None
    """Dollars that it may cost at most; None: that cannot be said, for the reason `unpriced`."""
    unpriced: str = ""

    @property
    def payer(self) -> Payer:
        """Whom it belongs to, as budgets see it."""
        return Payer(self.user, self.namespace, self.class_name)


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has begun, by its ledger: deleting the session does not take it back."""

    user: str
    namespace: str
    at: datetime
    is_open: bool
    is_balanced: bool = False
    """Whether it has a load balancer of its own."""


class Tally:
    """What has begun in a class, counted as it changes: a place is found without a look at each
    ledger, of which there may be thousands.
    """

    def __init__(self) -> None:
        self._begun: dict[str, Begun] = {}
        self._open_of_user: dict[str, list[datetime]] = {}
        self._open_of_namespace: Counter[str] = Counter()
        self._starts_of_user: dict[str, list[datetime]] = {}
        self.open_balanced = 0
        """How many that run have a load balancer."""

    @classmethod
    def of(cls, begun: Iterable[Begun]) -> Self:
        """The tally of these."""
        tally = cls()
        for number, one in enumerate(begun):
            tally.put(str(number), one)
        return tally

    def put(self, uid: str, begun: Begun) -> None:
        """Count a session, in the place of what was known of it."""
        if self._begun.get(uid) == begun:
            return
        self.drop(uid)
        self._begun[uid] = begun
        if begun.is_open:
            insort(self._open_of_user.setdefault(begun.user, []), begun.at)
            self._open_of_namespace[begun.namespace] += 1
            self.open_balanced += begun.is_balanced
        insort(self._starts_of_user.setdefault(begun.user, []), begun.at)

    def drop(self, uid: str) -> None:
        """Count a session no more."""
        begun = self._begun.pop(uid, None)
        if begun is None:
            return
        if begun.is_open:
            _take_out(self._open_of_user, begun.user, begun.at)
            _take_one(self._open_of_namespace, begun.namespace)
            self.open_balanced -= begun.is_balanced
        _take_out(self._starts_of_user, begun.user, begun.at)

    def open_of_user(self, user: str) -> int:
        """How many of a user's sessions run."""
        return len(self._open_of_user.get(user, ()))

    def open_of_namespace(self, namespace: str) -> int:
        """How many of a namespace's sessions run."""
        return self._open_of_namespace[namespace]

    def recent_starts(self, user: str, now: datetime) -> list[datetime]:
        """When a user's sessions of the last minutes began, the oldest first."""
        starts = self._starts_of_user.get(user, [])
        return starts[bisect_right(starts, now - NEW_WINDOW) :]

    def turns(self, user: str, now: datetime) -> int:
        """How many of a user's sessions are open or began within the last minutes."""
        older = bisect_right(self._open_of_user.get(user, ()), now - NEW_WINDOW)
        return older + len(self.recent_starts(user, now))


def _take_one(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _take_out(times: dict[str, list[datetime]], key: str, time: datetime) -> None:
    known = times[key]
    del known[bisect_left(known, time)]
    if not known:
        del times[key]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands. `reason` says what it waits for; empty when it may begin."""

    position: int
    total: int
    reason: str = ""
    look_again_at: datetime | None = None
    """When the reason passes by itself, if time alone makes it pass."""
    for_money: bool = False
    """Whether a budget holds it back, and not a limit."""
    amount: Decimal | None = None
    """Dollars that were reserved for one that may begin."""

    @property
    def may_begin(self) -> bool:
        """Whether nothing holds it back."""
        return not self.reason

    @property
    def message(self) -> str:
        """The place in words: ``3rd of 7: user-a has 3 of 3 running``."""
        return f"{_ordinal(self.position)} of {self.total}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Hold:
    """What holds a session back, and when that passes by itself."""

    reason: str
    passes_at: datetime | None = None
    for_money: bool = False


def places(
    waiting: Iterable[Waiting],
    begun: Tally,
    limits: ClassLimits,
    now: datetime,
    books: Sequence[Book] = (),
    *,
    promised: Sequence[Waiting] = (),
) -> dict[str, Place]:
    """The place of each session that waits, by UID.

    Limits come first, then the budgets, whose `books` count all that has begun. Those that may
    begin are counted as begun for those behind them, as are those to whom it is `promised` already.
    Positions count only those that go on waiting.
    """
    begin = 0
    begin_of_user: Counter[str] = Counter()
    begin_of_namespace: Counter[str] = Counter()
    starts: dict[str, list[datetime]] = {}
    found: dict[str, Place] = {}
    held: list[tuple[Waiting, _Hold]] = []
    purse = Purse(books)
    for one in promised:
        purse.take(one.payer, one.amount or Decimal(0))
        begin += 1
        begin_of_user[one.user] += 1
        begin_of_namespace[one.namespace] += 1
        starts.setdefault(one.user, begun.recent_starts(one.user, now)).append(now)
    for one in _in_order(waiting, begun, now):
        if one.user not in starts:
            starts[one.user] = begun.recent_starts(one.user, now)
        hold = _limit_for(
            one,
            limits,
            begun.open_of_user(one.user) + begin_of_user[one.user],
            begun.open_of_namespace(one.namespace) + begin_of_namespace[one.namespace],
            starts[one.user],
            balanced=begun.open_balanced + begin,
        ) or _budget_for(one, purse)
        if hold is not None:
            held.append((one, hold))
            continue
        purse.take(one.payer, one.amount or Decimal(0))
        begin += 1
        begin_of_user[one.user] += 1
        begin_of_namespace[one.namespace] += 1
        starts[one.user].append(now)
        found[one.uid] = Place(position=0, total=0, amount=one.amount)
    for position, (one, hold) in enumerate(held, start=1):
        found[one.uid] = Place(position, len(held), hold.reason, hold.passes_at, hold.for_money)
    return found


def _in_order(waiting: Iterable[Waiting], begun: Tally, now: datetime) -> list[Waiting]:
    turns: dict[str, int] = {}
    keyed = []
    for one in sorted(waiting, key=lambda one: (one.ordered_at, one.uid)):
        turn = turns.get(one.user)
        if turn is None:
            turn = begun.turns(one.user, now)
        keyed.append((turn, one.ordered_at, one.uid, one))
        turns[one.user] = turn + 1
    return [one for *_, one in sorted(keyed, key=lambda item: item[:3])]


def _limit_for(
    one: Waiting,
    limits: ClassLimits,
    of_user: int,
    of_namespace: int,
    starts: list[datetime],
    *,
    balanced: int,
) -> _Hold | None:
    """The limit that a session waits for."""
    most = limits.active_per_user
    if most is not None and of_user >= most:
        return _Hold(f"{one.user} has {of_user} of {most} running")
    most = limits.active_per_namespace
    if most is not None and of_namespace >= most:
        return _Hold(f"namespace {one.namespace} has {of_namespace} of {most} running")
    most = limits.load_balancers
    if most is not None and balanced >= most:
        return _Hold(f"the class has {balanced} of {most} load balancers in use")
    most = limits.new_per_user
    if most is not None and len(starts) >= most:
        # The first of the last `most` starts leaves the window, and there is room for one.
        passes_at = sorted(starts)[-most] + NEW_WINDOW
        words = f"{one.user} has ordered {len(starts)} in 15 minutes, {most} are allowed"
        return _Hold(words, passes_at)
    return None


def _budget_for(one: Waiting, purse: Purse) -> _Hold | None:
    """The budget that a session waits for. What it may cost must be known."""
    if one.amount is None:
        book = purse.lacks(one.payer, None)
        return _Hold(f"budget {book.name}: {one.unpriced}", for_money=True) if book else None
    book = purse.lacks(one.payer, one.amount)
    return _Hold(no_room(book, one.amount), book.end, for_money=True) if book is not None else None


def _ordinal(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
