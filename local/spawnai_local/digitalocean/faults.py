"""Faults: what goes wrong with which call. Each can be written as one line, and read from it.

A line is `METHOD PATH KIND`, then `name=value` pairs in any order, for example

    POST /v2/droplets error_after status=500 nth=2 session=2f1c…
    * /v2/domains/{domain_name}/records timeout_after seconds=30
    GET /v2/droplets slow seconds=0.5 times=0

METHOD and PATH may hold `*` for anything; PATH is compared with the template of the endpoint. Of
the calls that match, counted from when the fault was added, those from the `nth` on (default 1)
suffer it, `times` in all (default 1; 0 is without end), each with the given `chance` (default 1).
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Self

from spawnai_local.digitalocean.router import Route


class Kind(StrEnum):
    """What a fault does."""

    ERROR_BEFORE = "error_before"
    """Answers `status`; nothing has happened."""
    ERROR_AFTER = "error_after"
    """Answers `status`, although it has happened."""
    TIMEOUT_BEFORE = "timeout_before"
    """Holds the connection for `seconds`, then closes it; nothing has happened."""
    TIMEOUT_AFTER = "timeout_after"
    """It happens at once; the answer never comes, the connection closes after `seconds`."""
    CUT_BEFORE = "cut_before"
    """Closes the connection at once; nothing has happened."""
    CUT_AFTER = "cut_after"
    """It happens, then the connection closes without an answer."""
    SLOW = "slow"
    """It happens at once, and the right answer comes after `seconds`."""
    LATE = "late"
    """It happens only after `seconds`, even if the caller has gone, and is answered then."""
    RATE_LIMITED = "rate_limited"
    """Answers 429, with `retry-after` when `seconds` are given; nothing has happened."""
    UNLISTED = "unlisted"
    """A droplet created by the call is missing from listings by tag for `seconds`."""
    UNSEEN = "unseen"
    """A droplet created by the call answers 404, and is in no listing, for `seconds`."""
    VANISH = "vanish"
    """A droplet created by the call is answered, and gone after `seconds`: it had no place."""
    GHOST = "ghost"
    """A droplet deleted by the call is a 404, and stays in listings for `seconds`."""
    ERRORED = "errored"
    """A load balancer, certificate, snapshot or transfer that the call begins ends in error."""
    EMPTY = "empty"
    """A listing answers that there is nothing."""
    PARTIAL = "partial"
    """A page of a listing lacks the last half of its items and the links to further pages."""
    GARBLED = "garbled"
    """It happens; the body of the answer ends in the middle."""
    WATCH = "watch"
    """Nothing goes wrong; the calls are only counted."""


USUAL_SECONDS = {
    Kind.TIMEOUT_BEFORE: 3600.0,
    Kind.TIMEOUT_AFTER: 3600.0,
    Kind.SLOW: 1.0,
    Kind.LATE: 10.0,
    Kind.UNLISTED: 10.0,
    Kind.UNSEEN: 10.0,
    Kind.VANISH: 1.0,
    Kind.GHOST: 10.0,
}
ERRORS = (Kind.ERROR_BEFORE, Kind.ERROR_AFTER)
LOWEST_ERROR = 400
HIGHEST_ERROR = 599


@dataclass(slots=True, eq=False)
class Fault:
    """One fault, and how often it was matched and suffered so far."""

    method: str
    path: str
    kind: Kind
    nth: int = 1
    times: int = 1
    chance: float = 1.0
    session: str | None = None
    status: int = 500
    message: str | None = None
    seconds: float | None = None
    id: int = 0
    matched: int = 0
    suffered: int = 0

    def __post_init__(self) -> None:
        if self.seconds is None:
            self.seconds = USUAL_SECONDS.get(self.kind)
        if self.nth < 1 or self.times < 0 or not 0 < self.chance <= 1:
            raise ValueError(
                "a fault has nth from 1, times from 0 (without end) and a chance above 0 up to 1"
            )
        if self.kind in ERRORS and not LOWEST_ERROR <= self.status <= HIGHEST_ERROR:
            raise ValueError(f"status must be an HTTP error, 400 to 599, not {self.status}")
        if self.seconds is not None and self.seconds < 0:
            raise ValueError("seconds cannot be negative")

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a fault from its line.

        Raises:
            ValueError: the line is not of the form that the module describes.
        """
        words, _, message = line.strip().partition(" message=")
        method, *rest = words.split()
        if len(rest) < 2:  # noqa: PLR2004 - the path and the kind
            raise ValueError(f"a fault is METHOD PATH KIND name=value …, not {line!r}")
        path, kind, *pairs = rest
        document: dict[str, Any] = {"method": method, "path": path, "kind": kind}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals:
                raise ValueError(f"{pair!r} in a fault is no name=value")
            document[name] = value
        if message:
            document["message"] = message
        return cls.of(document)

    @classmethod
    def of(cls, document: object) -> Self:
        """Read a fault from a JSON object; numbers may be written as text.

        Raises:
            ValueError: it is none.
        """
        if isinstance(document, dict) and isinstance(document.get("line"), str):
            return cls.parse(document["line"])
        if not isinstance(document, dict) or not {"method", "path", "kind"} <= set(document):
            raise ValueError("a fault is an object with method, path and kind")
        if unknown := sorted(set(document) - NAMES):
            raise ValueError(
                f"a fault has no {', '.join(unknown)}; it has {', '.join(sorted(NAMES))}"
            )
        values = {name: value for name, value in document.items() if value is not None}
        for name, kind in NUMBERS.items():
            if name in values:
                values[name] = kind(values[name])
        try:
            values["kind"] = Kind(values["kind"])
        except ValueError:
            raise ValueError(
                f"{values['kind']!r} is no kind of fault; there are {', '.join(Kind)}"
            ) from None
        values["method"] = str(values["method"]).upper()
        return cls(**values)

    @property
    def line(self) -> str:
        """The fault as one line that `parse` reads."""
        words = [self.method, self.path, str(self.kind)]
        if self.kind in ERRORS:
            words.append(f"status={self.status}")
        if self.seconds is not None:
            words.append(f"seconds={self.seconds:g}")
        words += [f"nth={self.nth}", f"times={self.times}"]
        if self.chance < 1:
            words.append(f"chance={self.chance:g}")
        if self.session is not None:
            words.append(f"session={self.session}")
        if self.message is not None:
            words.append(f"message={self.message}")
        return " ".join(words)

    def document(self) -> dict[str, Any]:
        """Return the fault as the control API shows it."""
        return {
            "id": self.id,
            "line": self.line,
            "matched": self.matched,
            "suffered": self.suffered,
        }

    def matches(self, route: Route, session: str | None) -> bool:
        """Return whether a call is of those that this fault is about."""
        return (
            fnmatchcase(route.method, self.method)
            and (self.path in (route.template, "*") or fnmatchcase(route.template, self.path))
            and (self.session is None or self.session == session)
        )

    @property
    def spent(self) -> bool:
        """Whether it has been suffered as often as it should."""
        return self.times > 0 and self.suffered >= self.times


NAMES = {one.name for one in fields(Fault)} - {"id", "matched", "suffered"}
NUMBERS: dict[str, type[int] | type[float]] = {
    "nth": int,
    "times": int,
    "status": int,
    "chance": float,
    "seconds": float,
}


NO_FAULT = Fault("*", "*", Kind.WATCH)
"""What a call suffers that suffers nothing."""


class FaultPlan:
    """All faults that are set. The first that is due for a call is the one it suffers."""

    def __init__(self, randomness: random.Random) -> None:
        self._randomness = randomness
        self._faults: dict[int, Fault] = {}
        self._waiters: dict[int, asyncio.Event] = {}
        self._last_id = 0

    def add(self, faults: Iterable[Fault]) -> list[Fault]:
        """Add faults and return them with their ids."""
        added = []
        for fault in faults:
            self._last_id += 1
            fault.id = self._last_id
            self._faults[fault.id] = fault
            added.append(fault)
        return added

    def all(self) -> list[Fault]:
        """Return all faults in the order they were added, also those that are spent."""
        return list(self._faults.values())

    def remove(self, fault_id: int) -> bool:
        """Remove a fault; False if there is none of this id."""
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def get(self, fault_id: int) -> Fault | None:
        """Return a fault; None if there is none of this id."""
        return self._faults.get(fault_id)

    async def wait(self, fault: Fault, seconds: float) -> None:
        """Return once a call has suffered the fault, at the latest after `seconds`."""
        suffered = self._waiters.setdefault(fault.id, asyncio.Event())
        if fault.suffered == 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(suffered.wait(), seconds)

    def for_call(self, route: Route, session: str | None) -> Fault:
        """Return the fault that this call suffers, or NO_FAULT; all that match count the call."""
        due = NO_FAULT
        for fault in self._faults.values():
            if fault.spent or not fault.matches(route, session):
                continue
            fault.matched += 1
            if (
                due is NO_FAULT
                and fault.matched >= fault.nth
                and (fault.chance >= 1 or self._randomness.random() < fault.chance)
            ):
                fault.suffered += 1
                due = fault
                if fault.id in self._waiters:
                    self._waiters.pop(fault.id).set()
        return due
