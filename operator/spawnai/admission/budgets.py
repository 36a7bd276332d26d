"""How much of a budget is used, and for whom there is room. Pure: no clock, no I/O.

The ledgers are the truth. A session that lives counts with what it has reserved, one that has ended
with what it cost, in the period in which it ended. So in no period more than the limit is spent: at
its end, what has ended and what still lives are within the limit together.

A session that cannot keep to its reservation, because DigitalOcean did not let its droplet go in
time, counts with what it has cost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from spawnai.api.budget import BudgetSpec, Period
from spawnai.billing.ledger import money

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Payer:
    """Whom a session belongs to, and what serves it."""

    user: str
    namespace: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Charge:
    """One session in the books, by its ledger. `closed_at` is None while it lives.

    `made_anything`: whether anything was made or paid for it.
    """

    uid: str
    payer: Payer
    begun_at: datetime
    reserved: Decimal
    spent: Decimal
    closed_at: datetime | None = None
    made_anything: bool = True

    @property
    def amount(self) -> Decimal:
        """What it counts with."""
        return self.spent if self.closed_at is not None else max(self.reserved, self.spent)


def period_around(period: Period, time_zone: str, now: datetime) -> tuple[datetime, datetime]:
    """The beginning and the end of the period that `now` is in.

    Raises:
        ValueError: there is no such time zone.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"there is no time zone {time_zone!r}: write its IANA name, such as Europe/Paris"
        ) from error
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        start, end = today, today + timedelta(days=1)
    elif period is Period.WEEK:
        start = today - timedelta(days=today.weekday())
        end = start + timedelta(days=7)
    else:
        start = today.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    return start.astimezone(UTC), end.astimezone(UTC)


@dataclass(slots=True)
class Book:
    """The charges of one budget in one period, with their sums.

    What ended before the period began is left out. What seems to have ended after it counts: the
    clock may have been set back.
    """

    name: str
    spec: BudgetSpec
    start: datetime
    end: datetime
    problem: str = ""
    """Why the budget cannot be counted: then it has room for nothing."""
    spent: Decimal = _ZERO
    reserved: Decimal = _ZERO
    _charges: dict[str, Charge] = field(default_factory=dict)

    @property
    def limit(self) -> Decimal:
        """Dollars in one period."""
        return Decimal(self.spec.limit)

    @property
    def left(self) -> Decimal:
        """Dollars that can be reserved; below zero when the limit was lowered."""
        if self.problem:
            return min(_ZERO, self.limit - self.spent - self.reserved)
        return self.limit - self.spent - self.reserved

    @property
    def living(self) -> int:
        """How many sessions have money reserved."""
        return sum(1 for charge in self._charges.values() if charge.closed_at is None)

    @property
    def warn(self) -> Decimal:
        """From how many dollars on, spent and reserved together, people are warned."""
        return self.limit * self.spec.warn_at / 100

    @property
    def is_near_limit(self) -> bool:
        """Whether people are to be warned."""
        return self.spent + self.reserved >= self.warn

    def selects(self, payer: Payer) -> bool:
        """Whether a session is paid from this budget."""
        selector = self.spec.selector
        return (
            (not selector.users or payer.user in selector.users)
            and (not selector.namespaces or payer.namespace in selector.namespaces)
            and (not selector.classes or payer.class_name in selector.classes)
        )

    def holds(self, now: datetime) -> bool:
        """Whether this is the book of the period that `now` is in."""
        return self.start <= now < self.end

    def put(self, charge: Charge) -> None:
        """Enter a charge, in place of what was known of that session."""
        self.drop(charge.uid)
        if not self.selects(charge.payer):
            return
        if charge.closed_at is not None and charge.closed_at < self.start:
            return
        self._charges[charge.uid] = charge
        self._add(charge, 1)

    def drop(self, uid: str) -> None:
        """Forget a session: its ledger is gone, or it was let in and did not begin."""
        known = self._charges.pop(uid, None)
        if known is not None:
            self._add(known, -1)

    def counts(self, uid: str) -> bool:
        """Whether the session is in this book."""
        return uid in self._charges

    def is_over_before(self, uid: str) -> bool:
        """Whether the limit is exceeded already by what came before this session, and by it.

        Two leaders, one of whose writes came late, may have let in one session too many: the one
        whose ledger came last waits, if nothing was made for it.
        """
        mine = self._charges.get(uid)
        if mine is None or self.left >= 0:
            return False
        rank = (mine.begun_at, mine.uid)
        before = (
            charge.amount
            for charge in self._charges.values()
            if charge.made_anything or (charge.begun_at, charge.uid) <= rank
        )
        return sum(before, _ZERO) > self.limit

    def _add(self, charge: Charge, sign: int) -> None:
        if charge.closed_at is None:
            self.reserved += sign * charge.amount
        else:
            self.spent += sign * charge.amount


class Purse:
    """What is left in several budgets while places are given out. Changes as it is taken from."""

    def __init__(self, books: Iterable[Book]) -> None:
        self._books = tuple(books)
        self._left = {book.name: book.left for book in self._books}

    def lacks(self, payer: Payer, amount: Decimal | None) -> Book | None:
        """The first budget that has no room for that much; None when all have. Nobody has room for
        an amount that is not known.
        """
        return next(
            (
                book
                for book in self._books
                if book.selects(payer) and (amount is None or self._left[book.name] < amount)
            ),
            None,
        )

    def take(self, payer: Payer, amount: Decimal) -> None:
        """Reserve that much in every budget that selects the payer."""
        for book in self._books:
            if book.selects(payer):
                self._left[book.name] -= amount


def no_room(book: Book, amount: Decimal) -> str:
    """Why a session waits for money, in words that stay the same while it waits."""
    spec = book.spec
    if book.problem:
        return f"budget {book.name} cannot be counted: {book.problem}"
    limit = f"{money(book.limit)} USD a {spec.period.lower()}"
    if amount > book.limit:
        return (
            f"it may cost up to {money(amount)} USD, more than budget {book.name} has in all "
            f"({limit}): ask for a shorter life or a smaller tier"
        )
    return f"budget {book.name} ({limit}) has no room for the {money(amount)} USD that it may cost"


def over_before(books: Iterable[Book], uid: str) -> Book | None:
    """The first budget whose limit is exceeded by what came before this session, and by it."""
    return next((book for book in books if book.is_over_before(uid)), None)


def grant(books: Sequence[Book], payer: Payer, current: Decimal, wanted: Decimal) -> Decimal:
    """What a living session may have reserved instead of `current`: up to `wanted`, never less."""
    room = min((book.left for book in books if book.selects(payer)), default=wanted - current)
    return current + max(min(wanted - current, room), _ZERO)
