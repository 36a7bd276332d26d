"""Shares out the calls that DigitalOcean allows one token, the most valuable first.

DigitalOcean allows 5,000 calls in any hour and 250 in any minute, each call counting for exactly
one hour and one minute from when it arrived (docs: API reference, "Rate Limit"). The broker keeps
the same two logs, and so never asks for more than is allowed, nor leaves more than a few per cent
unused:

* **Worth.** Waiting callers are served by priority, then by arrival. Each priority below DESTROY
  leaves a share of both windows free, so that a teardown finds room even in a busy minute.
* **Starvation.** Deletions take all there is, and end by themselves. Among the rest, whoever has
  waited for a minute gets every tenth slot, whatever its worth.
* **Deletions to come.** That something is gone can be seen later, and so can what the listings
  show; deleting cannot wait. So proofs and housekeeping leave room for the deletions that are due
  within a minute; and where those take a whole minute's calls or more, new sessions wait for them
  too. Whoever has waited for longer than that leaves them no more than its share of the windows:
  nothing starves.
* **Crowds.** When many end, the deletions of the minute are known one by one, so proofs leave
  little more than those. What is left is spread over the minute (`proof_pause`): else the first
  proofs would take all of it, and the others wait until the last deletion.
* **Others.** Another program may use the same token. `ratelimit-remaining` tells how much of the
  hour it took; a 429 in mid-minute tells that it takes part of the minute too, and our own share
  of the minute shrinks to what just worked, then grows back slowly.
* **429.** Everyone stops until the time DigitalOcean names. Meanwhile at most one deletion at a
  time, ever more rarely, tries whether the door is open again. Then calls start one at a time
  and double with each success: never a herd.

A call is counted when its answer came, not when it was sent: DigitalOcean's own count then always
falls away before ours does, whatever the network's delay.
"""

import asyncio
import enum
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import ceil, inf

from spawnai import background
from spawnai.clock import Clock

_LOGGER = logging.getLogger(__name__)

HOUR_SECONDS = 3600.0
MINUTE_SECONDS = 60.0


class Priority(enum.IntEnum):
    """What a call is for. The lower goes first."""

    DESTROY = 0
    RUNNING = 1
    NEW = 2
    HOUSEKEEPING = 3
    PROOF = 4


# The share of each window that a priority leaves to those above it. A deletion (two or three
# calls) must find room within milliseconds after a burst of creations; 5 % of a minute are 12.
_RESERVED_SHARE = {
    Priority.DESTROY: 0.0,
    Priority.RUNNING: 0.05,
    Priority.NEW: 0.10,
    Priority.HOUSEKEEPING: 0.15,
    Priority.PROOF: 0.15,
}
# What housekeeping and proofs leave of the minute in a crowd: its deletions are counted one by one,
# and this is for those unforeseen.
_RESERVED_IN_A_CROWD = 0.02
# Calls under way at once, so that no more than these can run into one 429. 250 calls of 2 s (a
# slow creation) a minute need 9. Deletions may use twice as many as the rest, so that hanging
# creations never stand in their way.
_MOST_AT_ONCE = 20
_MOST_AT_ONCE_FOR_DESTROY = 40
# Until the first answer has told what others left of the token's calls.
_FIRST_AT_ONCE = 4
_AGED_SECONDS = 60.0
_AGED_EVERY = 10
# How long others make room for the deletions to come. More than the minute for which those are
# seen coming: who begins to wait when a crowd comes into sight still waits when it is there, and
# then stands behind it. A single call between them costs the last of them up to a minute, when
# the first 250 go in a moment.
_MAKE_ROOM_SECONDS = 75.0
# Between two proofs, however little room there is for them: it may come soon, and they wait for it.
_LONGEST_PROOF_PAUSE_SECONDS = 15.0
# How long the number of deletions to come is good for: counting a crowd for each call costs time.
_COUNT_HOLDS_SECONDS = 1.0
_FIRST_PROBE_SECONDS = 1.0
_LONGEST_PROBE_SECONDS = 30.0
# When a 429 names no time. DigitalOcean's minute is over by then.
_PAUSE_WITHOUT_ADVICE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = HOUR_SECONDS
# Our share of the minute after a 429: this much of what had just worked, at least this many
# calls; and its growth in every minute without one.
_SHRINK_TO = 0.9
_SMALLEST_PER_MINUTE = 10
_REGROWTH_PER_MINUTE = 1.25
# Added to each window, for what a clock and a network round off.
_MARGIN_SECONDS = 0.05


@dataclass(slots=True, eq=False)
class _Waiter:
    priority: Priority
    since: float
    turn: asyncio.Future["Slot"]


@dataclass(slots=True, eq=False)
class Slot:
    """The right to make one call, held while it is made.

    Attributes:
        sent: how often it was really sent. 0 when nothing could connect: what never reached
            DigitalOcean does not count, or an outage would use up the calls needed after it.
            2 when the HTTP client repeated a GET or DELETE whose connection closed.
    """

    priority: Priority
    started_at: float
    is_probe: bool = False
    sent: int = 1


class _Window:
    """When the calls of the last hour or minute were answered, oldest first."""

    __slots__ = ("_answered", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds + _MARGIN_SECONDS
        self._answered: deque[float] = deque()

    def add(self, now: float) -> None:
        self._answered.append(now)

    def used(self, now: float) -> int:
        answered = self._answered
        horizon = now - self.seconds
        while answered and answered[0] <= horizon:
            answered.popleft()
        return len(answered)

    def free_at(self, count: int) -> float:
        """When the oldest `count` calls no longer count; infinity when there are not so many."""
        if count > len(self._answered):
            return inf
        return self._answered[count - 1] + self.seconds


class RateBudget:
    """The one broker for all calls made with one token. Made and used within one event loop.

    Args:
        clock: where it gets its time from.
        per_hour: calls in any hour; fewer when DigitalOcean's answers say that it allows fewer.
        per_minute: calls in any minute.
        deletions_due: tells how many calls the deletions need that are due within a minute, or
            were due and have not been accepted yet; above `per_minute` any number will do. Asked
            once a second at most.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        per_hour: int = 5000,
        per_minute: int = 250,
        deletions_due: Callable[[], int] = lambda: 0,
    ) -> None:
        if per_hour < 1 or per_minute < 1:
            raise ValueError(
                f"A rate budget allows at least one call an hour and a minute, not {per_hour} an"
                f" hour and {per_minute} a minute"
            )
        self.clock = clock
        self._per_hour = per_hour
        self.per_minute = per_minute
        self._deletions_due = deletions_due
        # How many those were, and when that was counted.
        self._to_come = 0
        self._to_come_counted_at = -inf
        self._done_since_counted = 0
        self._hour = _Window(HOUR_SECONDS)
        self._minute = _Window(MINUTE_SECONDS)
        # Those of the minute that were deletions and proofs.
        self._deletions = _Window(MINUTE_SECONDS)
        self._proofs = _Window(MINUTE_SECONDS)
        self._under_way = 0
        self._waiting: dict[Priority, deque[_Waiter]] = {p: deque() for p in Priority}
        self._grants_since_aged = 0
        # What the token may do in an hour, by DigitalOcean's word; another program's calls in the
        # last hour, and when that was learnt.
        self._token_per_hour = per_hour
        self._foreign = 0
        self._foreign_learnt_at = clock.now()
        # After a 429 in mid-minute: our own share of the minute then, and when that was.
        self._shrunk_per_minute: int | None = None
        self._shrunk_at = 0.0
        # At first, and in and after a pause: how many calls may be under way. None: as usual.
        self._at_once: int | None = _FIRST_AT_ONCE
        self._warned_at = -inf
        self._made_at = clock.now()
        self._paused_at = -inf
        self._paused_until = -inf
        self._probe_under_way = False
        self._next_probe_at = 0.0
        self._probe_interval = _FIRST_PROBE_SECONDS
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0

    @property
    def remaining(self) -> int:
        """Calls left in this hour, by what is known."""
        return max(0, self._hour_left(self.clock.now()))

    @property
    def remaining_in_minute(self) -> int:
        """Calls left in this minute, by what is known."""
        return max(0, self._minute_left(self.clock.now()))

    @property
    def hour_share(self) -> float:
        """The share of the hour's calls that is left, 0 to 1."""
        left = self._hour_left(self.clock.now()) / self._hour_limit
        return min(1.0, max(0.0, left))

    @property
    def minute_share(self) -> float:
        """The share of the minute's calls that is left, 0 to 1; 0 while a 429 holds everyone."""
        now = self.clock.now()
        if now < self._paused_until:
            return 0.0
        return min(1.0, max(0.0, self._minute_left(now) / self.per_minute))

    @property
    def paused_seconds(self) -> float:
        """How long DigitalOcean's last 429 still holds everyone back; 0 when it does not."""
        return max(0.0, self._paused_until - self.clock.now())

    @property
    def is_crowded(self) -> bool:
        """Whether so many end that the minute does not bear a proof for each deletion."""
        now = self.clock.now()
        share = 1 - _RESERVED_SHARE[Priority.PROOF]
        return 2 * self._deletions_around(now) > share * self._minute_limit(now)

    @property
    def is_crowd_ahead(self) -> bool:
        """Whether most of a crowd is still to end."""
        now = self.clock.now()
        return self.is_crowded and self._deletions_left(now) > self._deletions.used(now)

    def endings_within(self, seconds: float) -> float:
        """About how many droplets are deleted in so much time, by those of these two minutes: each
        with its name.
        """
        return self._deletions_around(self.clock.now()) / 2 * seconds / MINUTE_SECONDS

    def proof_pause(self, calls: int) -> float:
        """Seconds between two proofs of so many calls, for them to go beside this minute's other
        calls and the deletions to come.
        """
        now = self.clock.now()
        others = self._minute.used(now) - self._proofs.used(now) + self._deletions_left(now)
        room = (1 - _RESERVED_IN_A_CROWD) * self._minute_limit(now) - others
        if room <= 0:
            return _LONGEST_PROOF_PAUSE_SECONDS
        return min(calls * MINUTE_SECONDS / room, _LONGEST_PROOF_PAUSE_SECONDS)

    def waiting(self, priority: Priority) -> int:
        """How many callers of that priority wait for their turn."""
        return len(self._waiting[priority])

    @asynccontextmanager
    async def slot(self, priority: Priority) -> AsyncIterator[Slot]:
        """Wait for the turn of a call of that priority, and hold it while the call is made.

        Whoever is cancelled while waiting leaves the queue and costs nothing.
        """
        slot = await self._take(priority)
        try:
            yield slot
        finally:
            self._give_back(slot)

    def observe(
        self, headers: Mapping[str, str], status: int | None, slot: Slot | None = None
    ) -> None:
        """Learn from an answer.

        Args:
            headers: the answer's headers, names in lower case or case-insensitive.
            status: its HTTP status, None when there was no answer.
            slot: the slot the call was made in.
        """
        if status is None:
            return
        now = self.clock.now()
        limit = _whole_number(headers.get("ratelimit-limit"))
        remaining = _whole_number(headers.get("ratelimit-remaining"))
        if limit is not None and limit > 0:
            self._token_per_hour = limit
        if remaining is not None:
            # Calls of ours that are under way may or may not be counted yet: believing that they
            # are finds the fewest foreign calls, and the next answers put it right.
            ours = self._hour.used(now) + self._under_way
            self._foreign = max(0, self._token_per_hour - remaining - ours)
            self._foreign_learnt_at = now
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._pause(headers, remaining, now, slot)
        elif self._at_once is not None and (slot is None or slot.started_at > self._paused_at):
            if now < self._paused_until:
                _LOGGER.info("DigitalOcean accepts calls again, before the time it had named")
                self._paused_until = now
            self._probe_interval = _FIRST_PROBE_SECONDS
            self._at_once *= 2
            if self._at_once >= _MOST_AT_ONCE:
                self._at_once = None
        self._serve()

    async def _take(self, priority: Priority) -> Slot:
        now = self.clock.now()
        if not self._anyone_before(priority) and self._earliest(priority, now, since=now) <= now:
            return self._grant(priority, now)
        waiter = _Waiter(priority, now, asyncio.get_running_loop().create_future())
        self._waiting[priority].append(waiter)
        self._serve()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                slot = waiter.turn.result()
                slot.sent = 0
                self._give_back(slot)
            elif waiter in self._waiting[priority]:
                self._waiting[priority].remove(waiter)
            raise

    def _anyone_before(self, priority: Priority) -> bool:
        return any(self._waiting[p] for p in Priority if p <= priority)

    def _grant(self, priority: Priority, now: float) -> Slot:
        self._under_way += 1
        is_probe = now < self._paused_until
        if is_probe:
            self._probe_under_way = True
            self._next_probe_at = now + self._probe_interval
            self._probe_interval = min(2 * self._probe_interval, _LONGEST_PROBE_SECONDS)
        return Slot(priority, now, is_probe)

    def _give_back(self, slot: Slot) -> None:
        self._under_way -= 1
        if slot.is_probe:
            self._probe_under_way = False
        now = self.clock.now()
        for _ in range(slot.sent):
            self._hour.add(now)
            self._minute.add(now)
            if slot.priority is Priority.DESTROY:
                self._deletions.add(now)
                self._done_since_counted += 1
            elif slot.priority is Priority.PROOF:
                self._proofs.add(now)
        self._serve()

    def _serve(self) -> None:
        """Give slots to all who may go now; set the alarm for the next who may later.

        Only the first in turn is asked: whoever comes after it may go no earlier.
        """
        now = self.clock.now()
        while (next_in_turn := self._next_in_turn(now)) is not None:
            waiter, worth = next_in_turn
            earliest = self._earliest(worth, now, waiter.since)
            if earliest > now:
                self._set_alarm(earliest, now)
                return
            self._waiting[waiter.priority].popleft()
            if worth is not waiter.priority:
                self._grants_since_aged = 0
            elif worth is not Priority.DESTROY:
                self._grants_since_aged += 1
            waiter.turn.set_result(self._grant(waiter.priority, now))
        self._set_alarm(inf, now)

    def _next_in_turn(self, now: float) -> tuple[_Waiter, Priority] | None:
        """Who goes next, and as what: one who waited for long may go before its betters."""
        heads: list[_Waiter] = []
        for queue in self._waiting.values():
            while queue and queue[0].turn.done():
                queue.popleft()
            if queue:
                heads.append(queue[0])
        if not heads:
            return None
        first = heads[0]
        if first.priority is not Priority.DESTROY and self._grants_since_aged >= _AGED_EVERY - 1:
            oldest = min(heads, key=lambda waiter: waiter.since)
            if oldest is not first and now - oldest.since >= _AGED_SECONDS:
                return oldest, first.priority
        return first, first.priority

    def _earliest(self, worth: Priority, now: float, since: float) -> float:
        """When a call of that worth, waiting since then, may go: now or earlier for "at once",
        infinity for "not before a call under way has ended".
        """
        if now < self._paused_until:
            if worth is not Priority.DESTROY or self._probe_under_way:
                return self._paused_until
            return min(self._next_probe_at, self._paused_until)
        at_once = _MOST_AT_ONCE_FOR_DESTROY if worth is Priority.DESTROY else _MOST_AT_ONCE
        minute_limit = self._minute_limit(now)
        if minute_limit < self.per_minute:
            # Near a limit that others move, few at once also means few refused at once.
            at_once = _FIRST_AT_ONCE
        if self._under_way >= min(at_once, self._at_once or at_once):
            return inf
        earliest = now
        too_many = 1 + self._kept_of_minute(worth, now) - self._minute_left(now)
        if too_many > 0:
            earliest = self._minute.free_at(too_many)
        too_many = 1 + int(_RESERVED_SHARE[worth] * self._hour_limit) - self._hour_left(now)
        if too_many > 0:
            free_at = self._hour.free_at(too_many)
            if foreign := self._foreign_now(now):
                free_at = min(free_at, now + HOUR_SECONDS / foreign)
            earliest = max(earliest, free_at)
        if worth >= Priority.NEW and earliest <= now:
            earliest = self._beside_deletions(worth, now, since)
        return earliest

    def _beside_deletions(self, worth: Priority, now: float, since: float) -> float:
        """When to look again whether there is room beside the deletions to come; now: there is."""
        made_room_until = since + _MAKE_ROOM_SECONDS
        if now >= made_room_until:
            return now
        if worth is Priority.NEW:
            room = self._minute_limit(now)
        else:
            room = self._minute_left(now) - self._kept_of_minute(worth, now)
        if self._deletions_to_come(now) < room:
            return now
        return min(made_room_until, self._to_come_counted_at + _COUNT_HOLDS_SECONDS)

    def _kept_of_minute(self, worth: Priority, now: float) -> int:
        """How many calls of the minute a call of that worth leaves to its betters."""
        in_crowd = worth >= Priority.HOUSEKEEPING and self.is_crowded
        share = _RESERVED_IN_A_CROWD if in_crowd else _RESERVED_SHARE[worth]
        return int(share * self._minute_limit(now))

    def _deletions_to_come(self, now: float) -> int:
        if now >= self._to_come_counted_at + _COUNT_HOLDS_SECONDS:
            self._to_come, self._to_come_counted_at = self._deletions_due(), now
            self._done_since_counted = 0
        return self._to_come

    def _deletions_left(self, now: float) -> int:
        """Those to come without the ones that were sent since the last count."""
        return max(0, self._deletions_to_come(now) - self._done_since_counted)

    def _deletions_around(self, now: float) -> int:
        """The deletions of the last minute and of the next."""
        return self._deletions.used(now) + self._deletions_left(now)

    @property
    def _hour_limit(self) -> int:
        return min(self._per_hour, self._token_per_hour)

    def _minute_limit(self, now: float) -> int:
        if self._shrunk_per_minute is None:
            return self.per_minute
        minutes = (now - self._shrunk_at) / MINUTE_SECONDS
        limit = self._shrunk_per_minute * _REGROWTH_PER_MINUTE**minutes
        if limit >= self.per_minute:
            self._shrunk_per_minute = None
            return self.per_minute
        return int(limit)

    def _minute_left(self, now: float) -> int:
        return self._minute_limit(now) - self._minute.used(now) - self._under_way

    def _hour_left(self, now: float) -> int:
        used = self._hour.used(now) + self._under_way
        return min(self._per_hour, self._token_per_hour - self._foreign_now(now)) - used

    def _foreign_now(self, now: float) -> int:
        """The other program's calls that still count. They leave the hour one by one, so the
        number fades even while no answer brings a new one; without that, an hour that others
        used up would never be looked at again.
        """
        age = now - self._foreign_learnt_at
        return ceil(self._foreign * max(0.0, 1.0 - age / HOUR_SECONDS))

    def _pause(
        self, headers: Mapping[str, str], remaining: int | None, now: float, slot: Slot | None
    ) -> None:
        seconds = min(
            _LONGEST_PAUSE_SECONDS,
            retry_after_seconds(headers, self.clock.utc_now()) or _PAUSE_WITHOUT_ADVICE_SECONDS,
        )
        is_echo = slot is not None and slot.started_at <= self._paused_at
        self._paused_until = max(self._paused_until, now + seconds)
        self._at_once = 1
        if is_echo or (slot is not None and slot.is_probe):
            return
        self._paused_at = now
        self._next_probe_at = now + self._probe_interval
        is_minute = remaining is None or remaining > 0
        if is_minute and now - self._made_at > MINUTE_SECONDS:
            worked = self._minute.used(now)
            self._shrunk_per_minute = max(
                min(_SMALLEST_PER_MINUTE, self.per_minute), int(_SHRINK_TO * worked)
            )
            self._shrunk_at = now
        if now - self._warned_at < MINUTE_SECONDS:
            return
        self._warned_at = now
        _LOGGER.warning(
            "DigitalOcean answered 429: %s calls of this token are used up; waiting %.0f s,"
            " deletions ask again sooner",
            "this minute's" if is_minute else "this hour's",
            seconds,
        )

    def _set_alarm(self, when: float, now: float) -> None:
        if self._alarm is not None:
            if self._alarm_at <= when and when != inf:
                return
            self._alarm.cancel()
            self._alarm = None
        if when != inf:
            self._alarm_at = when
            self._alarm = background.once(
                self._ring(when - now), name="turns of calls to DigitalOcean"
            )

    async def _ring(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self._alarm = None
        self._serve()


def retry_after_seconds(headers: Mapping[str, str], utc_now: datetime) -> float | None:
    """How long a 429 asks to wait: `retry-after` (a burst), else until `ratelimit-reset`.

    The reset is a date by DigitalOcean's clock, so it is measured from the answer's own Date when
    it has one. None: the answer does not say.
    """
    if (seconds := _whole_number(headers.get("retry-after"))) is not None:
        return float(min(max(1, seconds), _LONGEST_PAUSE_SECONDS))
    if (reset := _whole_number(headers.get("ratelimit-reset"))) is None:
        return None
    server_now = utc_now
    if date := headers.get("date"):
        with suppress(ValueError):
            server_now = parsedate_to_datetime(date).replace(tzinfo=UTC)
    return min(max(1.0, reset - server_now.timestamp()), _LONGEST_PAUSE_SECONDS)


def _whole_number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
