"""Let's Encrypt's limits, which Pebble lacks: how many orders, certificates, failures, accounts.

Written from https://letsencrypt.org/docs/rate-limits/ and not from the product's own count, so that
the one can prove the other.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

DOCUMENTATION = "https://letsencrypt.org/docs/rate-limits/"


@dataclass(frozen=True, slots=True)
class LimitReached:
    """A "no" as Let's Encrypt says it."""

    detail: str
    retry_after_seconds: int


@dataclass(frozen=True, slots=True)
class Rule:
    """So many in such a time, seconds, and how Let's Encrypt says that there are too many."""

    most: int
    within: float
    words: str

    def reached(self, times: Iterable[float], now: float, about: str) -> LimitReached | None:
        """A token bucket that gains one each `within / most` seconds."""
        step = self.within / self.most
        full_at = 0.0
        for at in times:
            full_at = max(full_at, at) + step
        wait = full_at - now - self.within + step
        if wait <= 0:
            return None
        words = self.words.format(most=self.most, about=about)
        span = str(timedelta(seconds=self.within)).replace(" days, ", "d").replace(" day, ", "d")
        until = datetime.fromtimestamp(now + wait, UTC)
        return LimitReached(
            f"{words} in the last {span}, retry after {until:%Y-%m-%d %H:%M:%S} UTC: "
            f"see {DOCUMENTATION}",
            max(1, int(wait)),
        )


@dataclass(frozen=True, slots=True)
class AcmeLimits:
    """The defaults are Let's Encrypt's."""

    orders: Rule = Rule(300, 3 * 3600, "too many new orders ({most}) from this account")
    domain: Rule = Rule(
        50, 7 * 86400, "too many certificates ({most}) already issued for {about!r}"
    )
    identifiers: Rule = Rule(
        5,
        7 * 86400,
        "too many certificates ({most}) already issued for this exact set of identifiers",
    )
    failures: Rule = Rule(5, 3600, "too many failed authorizations ({most}) for {about!r}")
    accounts: Rule = Rule(10, 3 * 3600, "too many new registrations ({most}) from this IP address")


@dataclass(slots=True)
class LimitCounters:
    """What was done, and whether one more may be. `now`: seconds since 1970."""

    limits: AcmeLimits
    now: Callable[[], float]
    _times: dict[tuple[str, ...], list[float]] = field(default_factory=lambda: defaultdict(list))

    def order(self, account: str, identifiers: Iterable[str]) -> LimitReached | None:
        """Whether an order must be refused; one that is not is counted."""
        limits, names = self.limits, sorted(identifiers)
        checks = [
            (limits.orders, ("orders", account), account),
            (limits.identifiers, ("identifiers", *names), ", ".join(names)),
            *((limits.domain, ("domain", one), one) for one in sorted(_domains(names))),
            *((limits.failures, ("failures", account, one), one) for one in names),
        ]
        for rule, key, about in checks:
            if reached := rule.reached(self._times[key], self.now(), about):
                return reached
        self._note("orders", account)
        return None

    def issued(self, identifiers: Iterable[str]) -> None:
        """A certificate was issued."""
        names = sorted(identifiers)
        self._note("identifiers", *names)
        for domain in _domains(names):
            self._note("domain", domain)

    def failed(self, account: str, identifier: str) -> None:
        """A proof was not found."""
        self._note("failures", account, identifier)

    def account(self, address: str) -> LimitReached | None:
        """Whether a new account must be refused; one that is not is counted."""
        times = self._times["accounts", address]
        reached = self.limits.accounts.reached(times, self.now(), address)
        if reached is None:
            self._note("accounts", address)
        return reached

    def _note(self, *key: str) -> None:
        self._times[key].append(self.now())


def _domains(names: Iterable[str]) -> set[str]:
    return {registered_domain(name) for name in names}


def registered_domain(name: str) -> str:
    """The domain that certificates are counted under; an address is counted by itself."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return ".".join(name.removeprefix("*.").split(".")[-2:])
