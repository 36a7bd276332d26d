"""Spare droplets: how many a pool keeps, what becomes of each, and which one a session takes. Pure.

    ordered ─► boots ─► ready ─► taken by a session ─► handed over: the session's droplet
       │         │        │             │
       └─────────┴────────┴─────────────┴─► abandoned ─► deleted ─► ledger closed

A spare has a ledger of its own, opened before its droplet is ordered, and its droplet wears the
marks of a session whose UID is the ledger's name. So every step is found out from what exists, and
whatever turns up after the ledger was closed is the reaper's.

Who has a spare is decided in one place: `status.takenOverBy` of its ledger, which is written
against the version that was read. A session enters the droplet in its own ledger after that, and
before anything of the droplet is changed. `status.abandonedAt` is the word against it: then no
session may take the droplet any more, and the spare's own ledger deletes it.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from .beside import OwnDroplet
from .kinds import Placement

BOOTS_WITHIN = timedelta(minutes=10)
"""From the ledger to the first answer. A droplet boots in 1 minute and installs in 1 to 5."""

SILENCE = timedelta(minutes=2)
"""How long a spare that was ready may leave questions unanswered."""

COOLDOWN = timedelta(seconds=60)
"""How long a pool has to be too large before spares go: an autoscaler may change its mind."""

MOST_FAILURES = 3
"""So many refills in a row that came to nothing end the trying."""

FAILURE_PAUSE = timedelta(minutes=30)
"""For how long, unless the pool is changed."""

MARGIN = timedelta(hours=1)
"""How much longer than `maxAge` the dead man's switch of a spare waits."""

NEVER_READY, REFUSED = "NeverReady", "OrderRefused"
FAILURES = frozenset({NEVER_READY, REFUSED})
"""Why a ledger was closed whose refill failed."""

TAKEN, NO_ROOM, GONE = "TakenOver", "NoRoom", "SpareGone"
"""Why others were: a session has it; the account had no room; somebody else deleted it."""


class Holder(StrEnum):
    """What the ledger of the session that took a spare says of it."""

    UNDECIDED = "undecided"  # it may enter the droplet yet
    LISTS = "lists"  # the droplet is its own
    OVER = "over"  # it is closed, or goes on with another droplet


@dataclass(frozen=True, slots=True)
class Spare:
    """One spare, and all that exists of it now.

    Attributes:
        begun_at: when its ledger was opened.
        droplets: those not seen gone.
        had_droplet: whether there was ever one.
        settles_at: until when an order whose answer was lost may still take effect.
        is_ready: it answered its last health check, and its firewall is in force.
        silent_since: since when one that was ready leaves every question unanswered.
        holder: what became of it with the session that took it; None: nobody did.
        ending: why it is given up, in one word, or None.
        refused: why its order was refused, in one word, or "".
        deleted: its ledger is being deleted: a person wants it gone.
    """

    uid: str
    begun_at: datetime
    place: Placement
    contents: str
    droplets: tuple[OwnDroplet, ...] = ()
    had_droplet: bool = False
    settles_at: datetime | None = None
    is_ready: bool = False
    silent_since: datetime | None = None
    holder: Holder | None = None
    ending: str | None = None
    refused: str = ""
    deleted: bool = False

    @property
    def is_spare(self) -> bool:
        """Whether it is kept for whoever comes."""
        return self.holder is None and self.ending is None

    @property
    def is_leaving(self) -> bool:
        """Whether it is on its way out, and not a session's."""
        return self.ending is not None or self.holder is Holder.OVER


@dataclass(frozen=True, slots=True)
class Order:
    """Order its droplet."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a droplet of it."""

    droplet: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Write that it is given up, before anything of it is deleted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close its ledger."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but to look again."""


Step = Order | Remove | Abandon | Close | Wait


def plan_spare(spare: Spare, now: datetime, *, abandon: str | None = None) -> Step:
    """The next step of one spare. `abandon`: why its pool gives it up now."""
    if spare.ending is not None:
        return _end(spare, spare.ending, now)
    if spare.holder is Holder.UNDECIDED:
        return Wait()
    if spare.holder is Holder.LISTS:
        # It wears the session's marks by the end of the hand-over, and not both.
        return Wait() if any(one.shows_marks for one in spare.droplets) else Close(TAKEN)
    if spare.holder is Holder.OVER:
        # A session that deleted it, or handed over all of it: nothing here is the spare's.
        return Abandon(TAKEN) if any(one.shows_marks for one in spare.droplets) else Close(TAKEN)
    if abandon is not None:
        return Abandon(abandon)
    if spare.droplets:
        first = min(spare.droplets, key=lambda one: one.id)
        second = next((one for one in spare.droplets if one is not first and one.may_go), None)
        return Remove(second.id) if second is not None else Wait()
    if spare.had_droplet:
        return Abandon(GONE)
    if spare.refused:
        return Abandon(spare.refused)
    return Order() if _is_settled(spare, now) else Wait()


def _end(spare: Spare, reason: str, now: datetime) -> Step:
    ours = [one for one in spare.droplets if one.shows_marks]
    removable = next((one for one in ours if one.may_go), None)
    if removable is not None:
        return Remove(removable.id)
    # What does not show its marks yet may be as new as the order; what shows another's is his.
    if spare.droplets or not _is_settled(spare, now):
        return Wait()
    return Close(reason)


def _is_settled(spare: Spare, now: datetime) -> bool:
    return spare.settles_at is None or now >= spare.settles_at


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pool asks for."""

    place: Placement
    contents: str
    replicas: int
    min_ready: int
    max_total: int | None
    max_age: timedelta


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What stands in a pool's way.

    Attributes:
        claimed: droplets of the pool that sessions still use.
        failures: how many refills have failed in a row since the pool was changed.
        failed_at: when the last of them did.
        excess_since: since when there are more spares than wanted.
        sessions_wait: how many sessions wait for the account's droplet limit.
        held_up: why none may be ordered now, or "".
    """

    claimed: int = 0
    failures: int = 0
    failed_at: datetime | None = None
    excess_since: datetime | None = None
    sessions_wait: int = 0
    held_up: str = ""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What becomes of a pool's spares.

    Attributes:
        endings: those that are given up now, by UID, and why in one word.
        begin: how many more are ordered now.
        offered: those that sessions may take.
        missing: how many are wanted and neither there nor ordered now.
        has_excess: whether there are more than wanted.
        has_failed: whether too many refills have failed in a row, until one succeeds.
    """

    endings: Mapping[str, str]
    begin: int = 0
    offered: frozenset[str] = frozenset()
    missing: int = 0
    has_excess: bool = False
    has_failed: bool = False


def keep_spares(
    spares: Sequence[Spare], wanted: Wanted | None, around: Circumstances, now: datetime
) -> Keeping:
    """Decide which spares a pool keeps, and how many it orders. `wanted` None: it wants none."""
    living = sorted(
        (one for one in spares if one.is_spare), key=lambda one: (one.begun_at, one.uid)
    )
    if wanted is None:
        return Keeping({one.uid: "NotWanted" for one in living})
    endings = {
        one.uid: reason for one in living if (reason := _unfit(one, wanted, now)) is not None
    }
    _give_way(spares, _without(living, endings), endings, around)
    good = _without(living, endings)
    fresh = [one for one in good if now < one.begun_at + wanted.max_age]
    excess = len(fresh) - wanted.replicas
    if excess > 0 and around.excess_since is not None and now >= around.excess_since + COOLDOWN:
        endings |= {one.uid: "ScaledDown" for one in _least_worth(fresh)[:excess]}
    kept = _without(fresh, endings)
    missing = max(wanted.replicas - len(kept), 0)
    # What a session has taken counts as claimed once its own ledger lists it.
    there = around.claimed + sum(1 for one in spares if one.holder is not Holder.LISTS)
    room = missing if wanted.max_total is None else max(wanted.max_total - there, 0)
    for one in good:
        if one not in fresh and _may_retire(one, good, endings, wanted, is_full=room < missing):
            endings[one.uid] = "Aged"
    failed = around.failures >= MOST_FAILURES
    pauses = failed and around.failed_at is not None and now < around.failed_at + FAILURE_PAUSE
    begin = 0 if pauses or around.held_up else min(missing, room)
    return Keeping(
        endings,
        begin,
        frozenset(one.uid for one in good if one.is_ready and one.uid not in endings),
        missing - begin,
        excess > 0,
        failed,
    )


def _unfit(one: Spare, wanted: Wanted, now: datetime) -> str | None:
    if one.deleted:
        return "Deleted"
    if one.place != wanted.place or one.contents != wanted.contents:
        return "Outdated"
    if one.silent_since is not None:
        return "Silent" if now >= one.silent_since + SILENCE else None
    if not one.is_ready and now >= one.begun_at + BOOTS_WITHIN:
        return NEVER_READY
    # Its dead man's switch is near.
    return "Aged" if now >= one.begun_at + wanted.max_age + MARGIN / 2 else None


def _give_way(
    spares: Sequence[Spare],
    good: Sequence[Spare],
    endings: dict[str, str],
    around: Circumstances,
) -> None:
    """Whoever waits for the account's droplet limit goes before a spare: one for each."""
    leaving = len(endings) + sum(1 for one in spares if one.is_leaving)
    too_many = max(around.sessions_wait - leaving, 0)
    endings.update({one.uid: "GaveWay" for one in _least_worth(good)[:too_many]})


def _may_retire(
    one: Spare,
    good: Sequence[Spare],
    endings: Collection[str],
    wanted: Wanted,
    *,
    is_full: bool,
) -> bool:
    """Whether a spare that has grown old can go: enough others are ready, or it is in their way."""
    others = sum(
        1 for other in good if other is not one and other.is_ready and other.uid not in endings
    )
    return is_full or not one.is_ready or others >= min(wanted.min_ready, wanted.replicas)


def _without(spares: Sequence[Spare], endings: Collection[str]) -> list[Spare]:
    return [one for one in spares if one.uid not in endings]


def _least_worth(spares: Sequence[Spare]) -> list[Spare]:
    """Those that are worth least first: what only boots, then the oldest."""
    return sorted(spares, key=lambda one: (one.is_ready, one.begun_at, one.uid))


def contents_of(boots_with: Mapping[str, object]) -> str:
    """The digest of what a droplet boots with, beside what is only its own."""
    return hashlib.sha256(json.dumps(boots_with, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class OfferedSpare:
    """A spare that a session may take.

    `is_held`: the spare's ledger says already that this session has taken it.
    """

    uid: str
    droplet_id: str
    place: Placement
    begun_at: datetime
    is_held: bool = False


def choose_spare(
    offered: Sequence[OfferedSpare], places: Sequence[Placement]
) -> OfferedSpare | None:
    """Which spare a session takes: what it holds already, or the oldest in its best place."""
    held = next((one for one in offered if one.is_held), None)
    if held is not None:
        return held
    for place in places:
        fitting = [one for one in offered if one.place == place]
        if fitting:
            return min(fitting, key=lambda one: (one.begun_at, one.uid))
    return None
