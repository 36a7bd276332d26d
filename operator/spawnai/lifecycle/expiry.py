"""When a session ends: what its annotations ask for, what its class allows, what was promised.

Rules, in order:

* `expires-at` wins over `ttl`, earlier or later; both are capped by the class's maximum, counted
  from the moment the app is Ready.
* A change that would land in the past does not end the session at once, but after a notice;
  `ttl: 0s` and `expires-at: now` end it now.
* An invalid value keeps the last good expiry. On a session that has not begun, nothing is made.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spawnai.api.durations import is_now, parse_duration, parse_time
from spawnai.api.names import EXPIRES_AT_ANNOTATION, TTL_ANNOTATION


@dataclass(frozen=True, slots=True)
class Limits:
    """What the class says about time.

    `ready_by`: the latest moment at which the app can have been ready, by the ledger. The longest
    life counts from there at most: whoever may write a status could otherwise move `readyAt`.
    """

    default_ttl: timedelta
    maximum: timedelta
    notice: timedelta
    ready_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the annotations ask for, once read."""

    ttl: timedelta | None = None
    expires_at: datetime | None = None
    now: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Expiry:
    """The expiry in force. `time` is None while the app is not Ready and no time was given.

    `unpaid`: what was asked for, where that is longer than what is reserved in the budgets.
    `untold`: something later was asked for, which the droplet's switch does not know yet.
    """

    time: datetime | None
    capped: bool = False
    on_notice: bool = False
    problem: str | None = None
    unpaid: datetime | None = None
    untold: bool = False


def read_wish(ttl: str | None, expires_at: str | None) -> Wish:
    """Read both annotations; the one that counts decides whether there is a problem."""
    if expires_at is not None and expires_at.strip():
        if is_now(expires_at):
            return Wish(now=True)
        try:
            return Wish(expires_at=parse_time(expires_at))
        except ValueError as error:
            return Wish(problem=f"annotation {EXPIRES_AT_ANNOTATION}: {error}")
    if ttl is None:
        return Wish()
    try:
        lifetime = parse_duration(ttl)
    except ValueError as error:
        return Wish(problem=f"annotation {TTL_ANNOTATION}: {error}")
    return Wish(ttl=lifetime, now=not lifetime)


def resolve(
    wish: Wish,
    limits: Limits,
    *,
    ready_at: datetime | None,
    promised: datetime | None,
    now: datetime,
) -> Expiry:
    """Decide the expiry from the wish, the limits and what `status.expirationTime` promised."""
    if wish.now:
        return Expiry(time=promised if promised is not None and promised <= now else now)
    if ready_at is None:
        if wish.problem is not None:
            return Expiry(promised, problem=wish.problem)
        return Expiry(wish.expires_at)
    cap = min(ready_at, limits.ready_by or ready_at) + limits.maximum
    if wish.problem is not None:
        # Whoever may write a status could otherwise promise a life without end.
        kept = ready_at + limits.default_ttl if promised is None else promised
        return Expiry(min(kept, cap), problem=wish.problem)
    lifetime = limits.default_ttl if wish.ttl is None else wish.ttl
    wanted = wish.expires_at if wish.expires_at is not None else ready_at + lifetime
    capped = wanted > cap
    target = min(wanted, cap)
    if target > now:
        return Expiry(target, capped=capped)
    if promised is None:
        return Expiry(target, capped=capped)
    on_notice = promised > now
    return Expiry(min(promised, now + limits.notice), capped=capped, on_notice=on_notice)
