"""What a class can do now, or why it cannot be used, and how its status says so."""

from dataclasses import dataclass
from datetime import datetime

from spawnai.api.conditions import (
    WAITED_FOR,
    Condition,
    ConditionStatus,
    ConditionType,
    find_condition,
    next_condition,
)
from spawnai.api.spawnclass import ClassStatus
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.store import StoredClass
from spawnai.generation.claude import Generator
from spawnai.lifecycle.observation import Failure

USABLE = "Usable"
USABLE_WORDS = "Keys, prices and firewall are in place"

CheckedFor = tuple[int, bytes, bool]
"""What a look was for: the generation of the class, the fingerprint of its keys, and whether spares
of it are kept."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A certificate that load balancers can use. `not_after`: None where nobody said."""

    name: str
    host: str
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClassState:
    """What a class can do now."""

    problem: Failure | None = None
    account: CloudAccount | None = None
    generator: Generator | None = None
    firewall_id: str | None = None
    hosted: Hosted | None = None
    """The certificate for load balancers."""
    account_uuid: str | None = None
    checked_at: datetime | None = None
    checked_for: CheckedFor | None = None
    remark: str = ""
    """What a person should know of a class that can be used."""

    @property
    def is_known(self) -> bool:
        """Whether it is known if sessions can begin. Before that, what was begun can go on and
        end: the account is found out first.
        """
        return self.problem is not None or self.checked_at is not None

    @property
    def is_usable(self) -> bool:
        """Whether sessions can begin."""
        return self.problem is None and self.checked_at is not None

    def offers_otherwise(self, other: "ClassState") -> bool:
        """Whether its sessions have to look again: it can be used now, or no longer, or its spec
        or its keys are others.
        """
        return self.is_usable != other.is_usable or self.checked_for != other.checked_for


class ClassProblem(Exception):
    """A class cannot be used, and why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def status_of(
    known: StoredClass,
    state: ClassState,
    problem: ClassProblem | None,
    now: datetime,
    *,
    remark: str = "",
) -> ClassStatus:
    """The status that tells people of it. `remark`: what a person should know besides."""
    if problem is None:
        words = f"{USABLE_WORDS}; but {remark}" if remark else USABLE_WORDS
        conditions = [class_condition(known, now, ConditionType.READY, USABLE, words, is_true=True)]
    else:
        waits = problem.reason in WAITED_FOR
        why = ConditionType.RECONCILING if waits else ConditionType.STALLED
        words = f"{problem}; besides, {remark}" if remark else str(problem)
        conditions = [
            class_condition(known, now, type_, problem.reason, words, is_true=is_true)
            for type_, is_true in ((ConditionType.READY, False), (why, True))
        ]
    return ClassStatus(
        observed_generation=known.generation,
        conditions=conditions,
        firewall_id=state.firewall_id,
        account_uuid=state.account_uuid,
    )


def class_condition(
    known: StoredClass,
    now: datetime,
    type_: ConditionType,
    reason: str,
    message: str,
    *,
    is_true: bool,
) -> Condition:
    """A condition of a class, as the class stands now."""
    return next_condition(
        find_condition(known.status.conditions, type_),
        type_,
        ConditionStatus.TRUE if is_true else ConditionStatus.FALSE,
        reason,
        message,
        now=now,
        observed_generation=known.generation,
    )
