"""The places of those who wait for the limits of a class.

The order is fair over users: first the oldest session of each user, then the second oldest of each,
and so on. Who fits under every limit begins, whoever waits before him: another user's limit is no
reason to wait.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

NEW_WINDOW = timedelta(minutes=15)
"""The time in which new sessions of a user are counted (the product's first description)."""


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """What a class allows. None: any number."""

    active_per_user: int | None = None
    new_per_user: int | None = None
    active_per_namespace: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session that has not begun."""

    uid: str
    user: str
    namespace: str
    ordered_at: datetime


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has begun, by its ledger: deleting the session does not take it back."""

    user: str
    namespace: str
    at: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands. `reason` says what it waits for; empty when it may begin."""

    position: int
    total: int
    reason: str = ""
    look_again_at: datetime | None = None
    """When the reason passes by itself, if time alone makes it pass."""

    @property
    def may_begin(self) -> bool:
        """Whether nothing holds it back."""
        return not self.reason

    @property
    def message(self) -> str:
        """The place in words: ``3rd of 7: user-a has 3 of 3 running``."""
        return f"{_ordinal(self.position)} of {self.total}: {self.reason}"


def places(
    waiting: Iterable[Waiting], begun: Iterable[Begun], limits: ClassLimits, now: datetime
) -> dict[str, Place]:
    """The place of each session that waits, by UID.

    Those that may begin are counted as begun for those behind them. Positions count only those
    that go on waiting.
    """
    active_of_user: Counter[str] = Counter()
    active_of_namespace: Counter[str] = Counter()
    starts: dict[str, list[datetime]] = {}
    for other in begun:
        if other.is_open:
            active_of_user[other.user] += 1
            active_of_namespace[other.namespace] += 1
        if now - other.at < NEW_WINDOW:
            starts.setdefault(other.user, []).append(other.at)
    found: dict[str, Place] = {}
    held: list[tuple[Waiting, str, datetime | None]] = []
    for one in _in_order(waiting):
        recent = starts.setdefault(one.user, [])
        reason, passes_at = _what_holds(
            one, limits, active_of_user[one.user], active_of_namespace[one.namespace], recent
        )
        if reason:
            held.append((one, reason, passes_at))
            continue
        active_of_user[one.user] += 1
        active_of_namespace[one.namespace] += 1
        recent.append(now)
        found[one.uid] = Place(position=0, total=0)
    for position, (one, reason, passes_at) in enumerate(held, start=1):
        found[one.uid] = Place(position, len(held), reason, passes_at)
    return found


def _in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    ranks: Counter[str] = Counter()
    keyed = []
    for one in sorted(waiting, key=lambda one: (one.ordered_at, one.uid)):
        keyed.append((ranks[one.user], one.ordered_at, one.uid, one))
        ranks[one.user] += 1
    return [one for *_, one in sorted(keyed, key=lambda item: item[:3])]


def _what_holds(
    one: Waiting, limits: ClassLimits, of_user: int, of_namespace: int, starts: list[datetime]
) -> tuple[str, datetime | None]:
    """Why a session waits, and when that passes by itself; an empty reason when it may begin."""
    most = limits.active_per_user
    if most is not None and of_user >= most:
        return f"{one.user} has {of_user} of {most} running", None
    most = limits.active_per_namespace
    if most is not None and of_namespace >= most:
        return f"namespace {one.namespace} has {of_namespace} of {most} running", None
    most = limits.new_per_user
    if most is not None and len(starts) >= most:
        # The first of the last `most` starts leaves the window, and there is room for one.
        passes_at = sorted(starts)[-most] + NEW_WINDOW
        return f"{one.user} has ordered {len(starts)} in 15 minutes, {most} are allowed", passes_at
    return "", None


def _ordinal(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
