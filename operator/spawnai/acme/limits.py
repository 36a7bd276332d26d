"""Let's Encrypt's limits, counted by ourselves: an order is refused here before it is wasted.

Figures: https://letsencrypt.org/docs/rate-limits/ (2026-08-05). Each limit refills evenly: N in a
time T means one more after each T/N. The history that is counted is the ledger's: each order has a
line, also the one that failed. Orders that others place for the same domain are not seen here: the
server's own word (429) comes on top.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .errors import AcmeLimited
from .order import is_address

# Second-level labels below which countries register names: example.co.uk, example.com.au.
_COUNTRY_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})


@dataclass(frozen=True, slots=True)
class Limit:
    """So many in such a time."""

    name: str
    most: int
    within: timedelta


ORDERS = Limit("orders", 300, timedelta(hours=3))
"""New orders of an account."""

DOMAIN = Limit("domain", 50, timedelta(days=7))
"""Certificates below a registered domain; an address counts as one of its own."""

IDENTIFIERS = Limit("identifiers", 5, timedelta(days=7))
"""Certificates for exactly the same names and addresses."""

LIMITS = (ORDERS, DOMAIN, IDENTIFIERS)


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order of an account, as the ledger knows it."""

    identifiers: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Remaining:
    """How much of a limit is left, and when there is one more if nothing is."""

    limit: Limit
    about: str
    left: int
    retry_at: datetime


def registered_domain(name: str) -> str:
    """The domain that Let's Encrypt counts a name under; an address is one of its own.

    Without the Public Suffix List: two labels, or three below a country's co, com and the like.
    """
    if is_address(name):
        return name
    labels = name.removeprefix("*.").lower().split(".")
    country = len(labels[-1]) == 2 and len(labels) > 2 and labels[-2] in _COUNTRY_SECOND_LEVEL  # noqa: PLR2004
    return ".".join(labels[-3:] if country else labels[-2:])


def remaining(
    identifiers: Sequence[str],
    history: Iterable[PlacedOrder],
    now: datetime,
    limits: Sequence[Limit] = LIMITS,
) -> tuple[Remaining, ...]:
    """What is left of each limit for an order of these identifiers."""
    orders = list(history)
    wanted = frozenset(identifiers)
    domains = {registered_domain(name) for name in identifiers}
    counted = {
        ORDERS.name: ("this account", [order.at for order in orders]),
        DOMAIN.name: (
            ", ".join(sorted(domains)),
            [
                order.at
                for order in orders
                if domains & {registered_domain(name) for name in order.identifiers}
            ],
        ),
        IDENTIFIERS.name: (
            ", ".join(sorted(wanted)),
            [order.at for order in orders if frozenset(order.identifiers) == wanted],
        ),
    }
    return tuple(
        _remaining(limit, *counted[limit.name], now) for limit in limits if limit.name in counted
    )


def of_account(
    names: Iterable[str], history: Iterable[PlacedOrder], now: datetime
) -> Iterator[Remaining]:
    """What is left of the account's limit and of those of the domains that it orders for.

    A wildcard of `names` has a limit of its own beside its domain's: its certificate is ordered
    again and again. Any other name stands for all names below its registered domain.
    """
    orders, names = list(history), sorted(set(names))
    yield from remaining((), orders, now, (ORDERS,))
    for domain in sorted({registered_domain(name) for name in names}):
        yield from remaining((domain,), orders, now, (DOMAIN,))
    for name in names:
        if name.startswith("*."):
            yield from remaining((name,), orders, now, (IDENTIFIERS,))


def check(
    identifiers: Sequence[str],
    history: Iterable[PlacedOrder],
    now: datetime,
    limits: Sequence[Limit] = LIMITS,
) -> None:
    """Refuse an order that the server would refuse.

    Raises:
        AcmeLimited: nothing is left of a limit.
    """
    for one in remaining(identifiers, history, now, limits):
        if one.left <= 0:
            days, hours = one.limit.within.days, one.limit.within.seconds // 3600
            span = f"{days} days" if days else f"{hours} hours"
            raise AcmeLimited(
                f"Let's Encrypt gives {one.limit.most} certificates for {one.about} in {span}, "
                f"and they are used up; the next is possible at {one.retry_at:%Y-%m-%dT%H:%M:%SZ}",
                retry_at=one.retry_at,
                limit=one.limit.name,
            )


def _remaining(limit: Limit, about: str, times: list[datetime], now: datetime) -> Remaining:
    """A token bucket (GCRA), as Let's Encrypt's own: `full_at` is when it is full again."""
    step = limit.within / limit.most
    full_at = now - limit.within
    for at in sorted(time for time in times if time > now - 2 * limit.within):
        full_at = max(full_at, at) + step
    used = max(0, -((now - full_at) // step)) if full_at > now else 0
    left = limit.most - used
    # One more fits once the bucket misses at most `most - 1`.
    return Remaining(limit, about, left, max(now, full_at - limit.within + step))
