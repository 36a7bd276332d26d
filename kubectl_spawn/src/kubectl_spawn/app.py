"""A session as a person sees it: one state, what it costs, what happens now."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from kubectl_spawn.cluster import Object
from kubectl_spawn.durations import format_duration, parse_time
from kubectl_spawn.terminal import harmless

TTL = "spawn-ai.com/ttl"
EXPIRES_AT = "spawn-ai.com/expires-at"

LEAST_DROPLET_COST = Decimal("0.01")
"""Dollars that DigitalOcean bills for the shortest life."""

ORDERLY_ENDS = frozenset({"Expired", "Deleted", "Requested", "EndedOnRequest"})


class State(StrEnum):
    """What a person wants to know first."""

    WAITING = "Waiting"
    BUILDING = "Building"
    RUNNING = "Running"
    ENDS_SOON = "Ends soon"
    NOT_ANSWERING = "Not answering"
    IN_PART = "Works in part"
    FAILED = "Failed"
    ENDING = "Ending"
    ENDED = "Ended"


LIVING = frozenset({
    State.WAITING, State.BUILDING, State.RUNNING, State.ENDS_SOON, State.NOT_ANSWERING,
    State.IN_PART, State.ENDING,
})  # fmt: skip
UP = frozenset({State.RUNNING, State.ENDS_SOON, State.IN_PART})


STEPS = ("Server", "Code", "Start", "Check")
_STEPS_BEGIN = (20, 50)
"""The percentages at which Code and Start begin, as status.progress goes."""


class StepState(StrEnum):
    """How far one of the four steps is."""

    OPEN = "open"
    BUSY = "busy"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One of the four steps to a running app."""

    name: str
    state: StepState
    says: str
    took: timedelta | None = None
    """How long it took; None while it is not done, or where that is not told."""
    begun: datetime | None = None
    """Since when it is under way; None before that, or where that is not told."""


@dataclass(frozen=True, slots=True)
class App:
    """One SpawnSession, read. `document` is the object itself."""

    document: Object

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.document["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return str(self.document["metadata"].get("namespace", ""))

    @property
    def uid(self) -> str:
        """metadata.uid."""
        return str(self.document["metadata"].get("uid", ""))

    @property
    def spec(self) -> Object:
        """The order."""
        return dict(self.document.get("spec") or {})

    @property
    def status(self) -> Object:
        """What the operator says."""
        return dict(self.document.get("status") or {})

    @property
    def annotations(self) -> dict[str, str]:
        """metadata.annotations."""
        return dict(self.document["metadata"].get("annotations") or {})

    @property
    def url(self) -> str:
        """Where the app answers; empty when it does not."""
        return str(self.status.get("url") or "")

    @property
    def message(self) -> str:
        """The operator's sentence."""
        return harmless(str(self.status.get("message") or ""))

    @property
    def reason(self) -> str:
        """Why it ended, in one word; empty while it lives."""
        return str(self.status.get("terminationReason") or "")

    @property
    def expires(self) -> datetime | None:
        """When it ends."""
        return parse_time(self.status.get("expirationTime"))

    @property
    def created(self) -> datetime | None:
        """When it was ordered."""
        return parse_time(self.document["metadata"].get("creationTimestamp"))

    @property
    def ended(self) -> datetime | None:
        """When it ended; where that is not told, when it was ordered."""
        return parse_time(self.status.get("destroyedAt")) or self.created

    @property
    def progress(self) -> int:
        """Percent of the way to a running app."""
        return int(self.status.get("progress") or 0)

    @property
    def tier(self) -> str:
        """The tier in force, or the one that was ordered."""
        return str(self.status.get("tier") or self.spec.get("tier") or "")

    @property
    def class_name(self) -> str:
        """The class that serves it, or the one that was ordered."""
        return str(self.status.get("className") or self.spec.get("className") or "")

    @property
    def revision(self) -> int | None:
        """The number of the revision that runs, where the operator tells it."""
        value = self.status.get("revision")
        return value if isinstance(value, int) else None

    @property
    def repairs(self) -> int:
        """How often Claude has repaired it."""
        return int((self.status.get("generation") or {}).get("repairs") or 0)

    @property
    def revisions(self) -> list[Object]:
        """The versions of the app and the tries of one, the newest last."""
        return list(self.status.get("revisions") or [])

    def condition(self, kind: str) -> Object:
        """A condition; empty when it is not there."""
        conditions: list[Object] = self.status.get("conditions") or []
        return next((one for one in conditions if one.get("type") == kind), {})

    def is_true(self, kind: str) -> bool:
        """Whether a condition is True."""
        return self.condition(kind).get("status") == "True"

    @property
    def state(self) -> State:
        """The one state, by the table of the page's design."""
        phase = self.status.get("phase")
        if phase == "Destroyed":
            return State.FAILED if self._failed else State.ENDED
        if phase == "Destroying":
            return State.FAILED if self._failed else State.ENDING
        if not self.status.get("readyAt"):
            if self.condition("Admitted").get("status") == "False":
                return State.WAITING
            return State.FAILED if self.is_true("Stalled") else State.BUILDING
        if self.condition("Ready").get("status") in {"False", "Unknown"}:
            return State.NOT_ANSWERING
        if self.is_true("ExpiringSoon"):
            return State.ENDS_SOON
        if self.is_true("Degraded"):
            return State.IN_PART
        return State.RUNNING

    @property
    def _failed(self) -> bool:
        return bool(self.reason) and self.reason not in ORDERLY_ENDS

    @property
    def failed_at(self) -> str:
        """The step at which one failed that never ran; its conditions go with its parts."""
        if self.reason == "PageBroken":
            return "Check"
        if self.reason.startswith("Generation"):
            return "Code"
        return STEPS[sum(self.progress >= bound for bound in _STEPS_BEGIN)]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status.get("phase") == "Destroyed"

    def left(self, now: datetime) -> timedelta | None:
        """How long it still lives."""
        return None if self.expires is None else max(self.expires - now, timedelta())

    def cost_so_far(self, now: datetime) -> Decimal | None:
        """Dollars spent until now. None: not known.

        While it runs: the droplet by the second and what Claude was paid, as the page reckons, and
        at least what was booked at the last step.
        """
        cost: dict[str, Any] = self.status.get("cost") or {}
        actual = decimal(cost.get("actual"))
        if actual is not None:
            return actual
        amounts = (decimal(cost.get("running")), self._reckoned(now))
        return max((amount for amount in amounts if amount is not None), default=None)

    @property
    def claude_cost(self) -> Decimal | None:
        """Dollars of it that Claude was paid. None: not known."""
        return decimal((self.status.get("cost") or {}).get("claude"))

    def _reckoned(self, now: datetime) -> Decimal | None:
        hourly = decimal((self.status.get("cost") or {}).get("hourly"))
        started = parse_time(self.status.get("startedAt"))
        if hourly is None or started is None or not self.status.get("droplet"):
            return None

        hours = Decimal(str((now - started).total_seconds())) / 3600
        claude = decimal((self.status.get("cost") or {}).get("claude")) or Decimal(0)
        return (max(hourly * hours, LEAST_DROPLET_COST) + claude).quantize(Decimal("0.0001"))

    @property
    def cost_in_all(self) -> Decimal | None:
        """Dollars for the whole life, estimated."""
        return decimal((self.status.get("cost") or {}).get("estimated"))

    @property
    def price(self) -> Decimal | None:
        """Dollars that the user is charged, or is expected to be. None: nobody is charged."""
        price = (self.status.get("cost") or {}).get("price")
        if not isinstance(price, dict):
            return None
        return decimal(price.get("final") or price.get("estimated"))

    @property
    def steps(self) -> tuple[Step, ...]:
        """Server, Code, Start, Check: what each has done or does now."""
        droplet, firewall = self.condition("DropletReady"), self.condition("FirewallReady")
        code, started = self.condition("Generated"), self.condition("AppHealthy")
        checks = [self.condition("DNSReady"), self.condition("CertificateReady")]
        place = " ".join(
            str(part) for part in (self.status.get("region"), self.status.get("size")) if part
        )
        server_done = _true(droplet) and _true(firewall)
        code_done = _true(code)
        start_done = _true(started)
        begun = parse_time(self.status.get("startedAt"))
        ready = parse_time(self.status.get("readyAt"))
        # Claude writes while the server starts.
        server_at, code_at = _true_since(droplet, firewall), _true_since(code)
        start_at = _true_since(started)
        both_at = max(server_at, code_at) if server_at and code_at else None
        return (
            Step(
                STEPS[0],
                _step(done=server_done, busy=begun is not None),
                f"{place}, firewall closed" if server_done else _says(droplet, firewall) or place,
                _between(begun, server_at),
                begun,
            ),
            Step(
                STEPS[1],
                _step(done=code_done, busy=begun is not None),
                _says(code),
                _between(begun, code_at),
                begun,
            ),
            Step(
                STEPS[2],
                _step(done=start_done, busy=server_done and code_done),
                _says(started),
                _between(both_at, start_at),
                both_at,
            ),
            Step(
                STEPS[3],
                _step(done=ready is not None, busy=start_done),
                _says(*checks),
                _between(start_at, ready),
                start_at,
            ),
        )


def _true(condition: Object) -> bool:
    return condition.get("status") == "True"


def _true_since(*conditions: Object) -> datetime | None:
    """Since when all of them are true."""
    times = [
        parse_time(one.get("lastTransitionTime")) if _true(one) else None for one in conditions
    ]
    known = [one for one in times if one is not None]
    return max(known) if len(known) == len(conditions) else None


def _between(begun: datetime | None, done: datetime | None) -> timedelta | None:
    return None if begun is None or done is None else max(done - begun, timedelta())


def _says(*conditions: Object) -> str:
    """The message of the first condition that is not true, or of the last."""
    for condition in conditions:
        if condition and not _true(condition):
            return harmless(str(condition.get("message") or ""))
    return harmless(str(conditions[-1].get("message") or "")) if conditions else ""


def _step(*, done: bool, busy: bool) -> StepState:
    if done:
        return StepState.DONE
    return StepState.BUSY if busy else StepState.OPEN


def decimal(value: object) -> Decimal | None:
    """Dollars from a status; None when there are none."""
    try:
        return None if value in {None, ""} else Decimal(str(value))
    except InvalidOperation:
        return None


def dollars(value: Decimal | None, *, about: bool = False, digits: int = 4) -> str:
    """An amount for people: $0.0907, ~$0.11; `-` when it is not known."""
    if value is None:
        return "-"
    return f"{'~' if about else ''}${value:.{digits}f}"


def left_shown(app: App, now: datetime) -> str:
    """The LEFT column: time left, percent, or place in the queue."""
    state = app.state
    if state is State.BUILDING:
        return f"{app.progress}%"
    if state is State.WAITING:
        return app.condition("Admitted").get("message", "").split(" ", 1)[0] or "-"
    left = app.left(now)
    return "-" if left is None or state not in LIVING else format_duration(left)
