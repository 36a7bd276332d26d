"""How a plan is written down: the status it wants, its actions, its events, its next wake-up."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from spawnai.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    find_condition,
    next_condition,
)
from spawnai.api.record import RecordStatus, ResourceKind
from spawnai.api.session import DropletStatus, Phase, SessionStatus

from .actions import Action, ActionKey, PaidAction
from .observation import Observation

# A phase may go to the one after it, and from Provisioning on to Destroying; no other step exists.
STEPS: Mapping[Phase, tuple[Phase, ...]] = {
    Phase.REQUESTED: (Phase.PROVISIONING,),
    Phase.PROVISIONING: (Phase.GENERATING, Phase.DESTROYING),
    Phase.GENERATING: (Phase.DEPLOYING, Phase.DESTROYING),
    Phase.DEPLOYING: (Phase.RUNNING, Phase.DESTROYING),
    Phase.RUNNING: (Phase.DESTROYING,),
    Phase.DESTROYING: (Phase.DESTROYED,),
    Phase.DESTROYED: (),
}

# The order in which `kubectl get -o yaml` shows them.
_ORDER = {str(kind): index for index, kind in enumerate(ConditionType)}


NoticeType = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that a person would ask about."""

    type: NoticeType
    reason: str
    action: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, what to say, and when to look again.

    `store_ledger`: all that is known is to be in the stored ledger before the next step.
    `abandoned` names the actions under way that no longer serve anything and are to be stopped.
    """

    actions: tuple[Action, ...] = ()
    status: SessionStatus | None = None
    ledger: RecordStatus | None = None
    store_ledger: bool = False
    notices: tuple[Notice, ...] = ()
    wake_at: datetime | None = None
    abandoned: tuple[ActionKey, ...] = ()


def step_towards(current: Phase | None, wanted: Phase) -> Phase:
    """The next phase on the way: one step of the table, never a jump, and never back.

    A restarted operator finds again what it had: until then it knows less than the phase says.
    """
    here = current or Phase.REQUESTED
    order = list(STEPS)
    if order.index(wanted) <= order.index(here):
        return here
    if wanted in STEPS[here]:
        return wanted
    return STEPS[here][0]


@dataclass(slots=True)
class Draft:
    """A plan being made."""

    observation: Observation
    now: datetime
    actions: list[Action] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    wake_at: datetime | None = None
    ledger: RecordStatus | None = None
    store_ledger: bool = False
    abandoned: tuple[ActionKey, ...] = ()
    allowance: Decimal | None = None
    """Dollars that Claude may be paid for the session in all; None where no budget bounds it."""
    _changes: dict[str, Any] = field(default_factory=dict)
    _conditions: dict[str, Condition] = field(default_factory=dict)
    _stall_notice: Notice | None = None

    def __post_init__(self) -> None:
        if self.observation.session is not None:
            status = self.observation.session.status
            self._conditions = {condition.type: condition for condition in status.conditions}

    @property
    def previous(self) -> SessionStatus:
        """The status as it is in the API server."""
        if self.observation.session is None:
            return SessionStatus()
        return self.observation.session.status

    @property
    def address(self) -> str | None:
        """The address of the droplet in the ledger; it is known before the droplet has booted.

        What the status says is no source: a user may have written it.
        """
        droplet: DropletStatus | None = self._changes.get("droplet")
        return droplet.ip if droplet is not None else None

    @property
    def runs(self) -> bool:
        """Whether the app was Ready and is where it was: it is not brought to another droplet."""
        return self.previous.ready_at is not None and not self.observation.is_replacing

    def wake(self, at: datetime | None) -> None:
        """Look again at that time, or earlier."""
        if at is not None and (self.wake_at is None or at < self.wake_at):
            self.wake_at = at

    def do(self, action: Action) -> None:
        """Ask for an action, unless it is under way or has to wait before it is tried again."""
        effort = self.observation.effort(action.key)
        if effort.running:
            return
        if effort.retry_at is not None and effort.retry_at > self.now:
            self.wake(effort.retry_at)
            return
        if isinstance(action, PaidAction):
            action = replace(action, allowance=self.allowance)
        self.actions.append(action)

    def abandon(
        self, *actions: str, unsent: Collection[ResourceKind] = tuple(ResourceKind)
    ) -> None:
        """Stop what is under way of these actions, and the creations of these kinds that wait for
        their turn: they were not sent.
        """
        self.abandoned = tuple(
            key
            for key, effort in self.observation.efforts.items()
            if (effort.running and key.action in actions)
            or (key.action == "Create" and key.kind in unsent and effort.waits_for_turn)
        )

    def put(self, **changes: Any) -> None:
        """Change fields of the status."""
        self._changes.update(changes)

    def get(self, name: str) -> Any:
        """A field of the status as this plan will leave it."""
        return self._changes.get(name, getattr(self.previous, name))

    def set_true(self, type_: ConditionType, reason: str, message: str = "") -> bool:
        """Say that a condition holds; tells whether the API server's status says otherwise."""
        return self._set(type_, ConditionStatus.TRUE, reason, message)

    def set_false(self, type_: ConditionType, reason: str, message: str = "") -> bool:
        """Say that a condition does not hold; tells whether the API server's status differs."""
        return self._set(type_, ConditionStatus.FALSE, reason, message)

    def set_unknown(self, type_: ConditionType, reason: str, message: str = "") -> bool:
        """Say that nobody can tell whether a condition holds; tells whether that is new."""
        return self._set(type_, ConditionStatus.UNKNOWN, reason, message)

    def stall(self, reason: str, message: str, action: str) -> None:
        """Say that the session cannot go on; the event comes when the reason is a new one."""
        self.set_true(ConditionType.STALLED, reason, message)
        before = find_condition(self.previous.conditions, ConditionType.STALLED)
        stood = before is not None and before.status is ConditionStatus.TRUE
        if before is None or not stood or before.reason != reason:
            self._stall_notice = Notice("Warning", reason, action, message)
        else:
            self._stall_notice = None

    def wait(self, reason: str, message: str, action: str) -> None:
        """Say that the session waits for something that may appear by itself; the event comes when
        the reason is a new one.
        """
        self.drop(ConditionType.STALLED)
        self.set_true(ConditionType.RECONCILING, reason, message)
        before = find_condition(self.previous.conditions, ConditionType.RECONCILING)
        if before is None or before.reason != reason:
            self.notice("Warning", reason, action, message)

    def _set(
        self, type_: ConditionType, status: ConditionStatus, reason: str, message: str
    ) -> bool:
        session = self.observation.session
        # What the API server has: a condition that a plan takes away and sets again has stood.
        before = find_condition(self.previous.conditions, type_)
        self._conditions[type_] = next_condition(
            before,
            type_,
            status,
            reason,
            message,
            now=self.now.replace(microsecond=0),
            observed_generation=session.generation if session is not None else None,
        )
        return before is None or before.status is not status

    def drop(self, *types: ConditionType) -> None:
        """Remove conditions that no longer apply."""
        for type_ in types:
            self._conditions.pop(type_, None)

    def has(self, type_: ConditionType) -> bool:
        """Whether a condition is True as this plan will leave it."""
        found = self._conditions.get(type_)
        return found is not None and found.status is ConditionStatus.TRUE

    def condition(self, type_: ConditionType) -> Condition | None:
        """A condition as this plan will leave it."""
        return self._conditions.get(type_)

    def message_of(self, type_: ConditionType) -> str | None:
        """The message of a condition that is True as this plan will leave it."""
        return self._conditions[type_].message if self.has(type_) else None

    def shortfall(self, type_: ConditionType, *, usual: Collection[str]) -> str | None:
        """The message of a condition that is False for another reason than the usual ones."""
        known = self._conditions.get(type_)
        if known is None or known.status is ConditionStatus.TRUE or known.reason in usual:
            return None
        return known.message

    def said(self, type_: ConditionType, words: str) -> bool:
        """Whether the API server's status says those words already."""
        before = find_condition(self.previous.conditions, type_)
        return before is not None and words in before.message

    def notice(self, type_: NoticeType, reason: str, action: str, message: str) -> None:
        """Tell people, through an event."""
        self.notices.append(Notice(type_, reason, action, message))

    def move_to(self, wanted: Phase) -> Phase:
        """Take one step towards a phase; come back at once when more steps are needed."""
        phase = step_towards(self.previous.phase, wanted)
        self.put(phase=phase)
        if phase not in (wanted, self.previous.phase):
            self.wake(self.now)
        return phase

    def _said_anything(self) -> bool:
        before = {condition.type: condition for condition in self.previous.conditions}
        return self._conditions != before

    def finish(self) -> Plan:
        """The plan."""
        session = self.observation.session
        if self._stall_notice is not None:
            self.notices.append(self._stall_notice)
        status = None
        if session is not None and (self._changes or self._said_anything()):
            conditions = sorted(
                self._conditions.values(), key=lambda known: _ORDER.get(known.type, 99)
            )
            status = self.previous.model_copy(
                update={
                    **self._changes,
                    "conditions": conditions,
                    "observed_generation": session.generation,
                }
            )
        return Plan(
            actions=tuple(self.actions),
            status=status,
            ledger=self.ledger,
            store_ledger=self.store_ledger,
            notices=tuple(self.notices),
            wake_at=self.wake_at,
            abandoned=self.abandoned,
        )
