"""What a plan may ask for: each action is a value, and says by its key when two are the same.

An action that is already under way, or waits to be tried again, is recognised by its key; so a
plan can be made as often as one likes. `controller/actions` carries them out.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, NamedTuple

from spawnai.api.record import LedgerEntry, RecordSpec, ResourceKind


class ActionKey(NamedTuple):
    """What makes two actions of one session the same: the action, and what it is done to."""

    action: str
    kind: ResourceKind | None = None
    id: str = ""

    def __str__(self) -> str:
        """For people: `Create DomainRecord retro-board-7f3a.example.com`."""
        return " ".join(part for part in self if part)


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do outside the plan."""

    @property
    def key(self) -> ActionKey:
        """What makes two actions of one session the same action."""
        return key_of(type(self))


def key_of(action: type[Action]) -> ActionKey:
    """The key of an action that a session has only once."""
    return ActionKey(action.__name__)


@dataclass(frozen=True, slots=True)
class AddFinalizer(Action):
    """Put our finalizer on the session, so that it cannot vanish while it owns anything."""


@dataclass(frozen=True, slots=True)
class CreateRecord(Action):
    """Write the ledger's intent, before anything outside the cluster is made."""

    spec: RecordSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something to be made outside the cluster, by the name under which it is found again.

    Each kind has a subclass with what its making needs (`lifecycle/kinds.py`).
    """

    kind: ClassVar[ResourceKind]
    name: str


@dataclass(frozen=True, slots=True)
class ResourceAction(Action):
    """A step in the life of one external resource, whatever its kind."""


@dataclass(frozen=True, slots=True)
class Create(ResourceAction):
    """Make it. Never repeated before an unclear answer is settled, nor stopped half-way."""

    wanted: Wanted

    @property
    def key(self) -> ActionKey:
        """One creation for each name, wherever it is made."""
        return ActionKey("Create", self.wanted.kind, self.wanted.name)


@dataclass(frozen=True, slots=True)
class Find(ResourceAction):
    """Look whether something of that name exists that the ledger does not know.

    `address`: where it has to lead, for a kind that leads somewhere.
    """

    kind: ResourceKind
    name: str
    address: str | None = None

    @property
    def key(self) -> ActionKey:
        """One look for each name."""
        return ActionKey("Find", self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Await(ResourceAction):
    """Wait until it can be used. `subject`: the droplet that a firewall is to cover."""

    kind: ResourceKind
    id: str
    subject: str = ""

    @property
    def key(self) -> ActionKey:
        """One wait for each thing."""
        return ActionKey("Await", self.kind, self.id)


@dataclass(frozen=True, slots=True)
class Delete(ResourceAction):
    """Delete one thing by its recorded identity, if it shows that it is ours."""

    line: LedgerEntry

    @property
    def key(self) -> ActionKey:
        """One deletion for each thing."""
        return ActionKey("Delete", self.line.kind, self.line.id)


@dataclass(frozen=True, slots=True)
class Verify(ResourceAction):
    """See with own eyes that a deleted thing is gone."""

    line: LedgerEntry

    @property
    def key(self) -> ActionKey:
        """One proof for each thing."""
        return ActionKey("Verify", self.line.kind, self.line.id)


@dataclass(frozen=True, slots=True)
class PaidAction(Action):
    """What may order from Claude: an app, a repair, a change.

    `allowance`: the dollars that Claude may be paid for the session in all; None: no budget bounds
    them.
    """

    allowance: Decimal | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class GenerateApp(PaidAction):
    """Have the app written, checked and stored. A stored bundle is never paid for again.

    `is_first`: nobody can have ordered one before, so none is looked for.
    """

    is_first: bool = False


@dataclass(frozen=True, slots=True)
class DeployApp(PaidAction):
    """Hand the bundle to the droplet's agent and wait until the app answers."""

    ip: str
    digest: str
    expires_at: datetime

    @property
    def key(self) -> ActionKey:
        """One hand-over for each bundle and address."""
        return ActionKey("DeployApp", id=f"{self.digest[:12]} to {self.ip}")


@dataclass(frozen=True, slots=True)
class PageLook:
    """How a page is opened. `address`: where its host is; None: where DNS says.

    `repairs`: what is wrong with it is repaired, and an app that stays broken does not run.
    """

    url: str
    address: str | None
    repairs: bool


@dataclass(frozen=True, slots=True)
class InspectApp(PaidAction):
    """Have the app's page opened in a browser, and repaired where it does not work."""

    look: PageLook
    digest: str

    @property
    def key(self) -> ActionKey:
        """One inspection for each bundle."""
        return ActionKey("InspectApp", id=self.digest[:12])


@dataclass(frozen=True, slots=True)
class SetExpiry(Action):
    """Move the dead man's switch of the droplet. One at a time, whatever the times: of two tellings
    under way, the older might arrive last.
    """

    ip: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ReviseApp(PaidAction):
    """Have the running app changed as its new prompt asks, or repaired when it has stopped for
    good, and deploy that beside the one before.

    One at a time: a prompt that changes meanwhile is the next one.
    """

    ip: str
    prompt_digest: str
    look: PageLook | None = None
    """How its page is opened; None: it has none, or nobody looks."""

    repairs: bool = False
    """Whether the version that runs was made for the prompt already, and has stopped for good."""


@dataclass(frozen=True, slots=True)
class Reserve(Action):
    """Have that much reserved for the session in all, or as much of it as its budgets have left."""

    amount: Decimal

    @property
    def key(self) -> ActionKey:
        """One try for each amount."""
        return ActionKey("Reserve", id=str(self.amount))


@dataclass(frozen=True, slots=True)
class CheckApp(Action):
    """Ask the agent how the app is."""

    ip: str


@dataclass(frozen=True, slots=True)
class TakeLog(Action):
    """Keep the last lines of the app's log, before the droplet goes."""

    ip: str


@dataclass(frozen=True, slots=True)
class StopApp(Action):
    """Have the app end before its droplet does, and keep the last lines of its log."""

    ip: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class RestartApp(Action):
    """Have a stopped app serve again: its session was extended at the last moment."""

    ip: str


@dataclass(frozen=True, slots=True)
class FindApp(Action):
    """Find a stored version of the app, for another droplet. Nothing is ever ordered for it."""

    number: int


@dataclass(frozen=True, slots=True)
class RecoverDroplet(Action):
    """Switch a droplet on, or reboot it. `how`: DigitalOcean's name of that."""

    id: str
    how: str

    @property
    def key(self) -> ActionKey:
        """Each once for each droplet."""
        return ActionKey("RecoverDroplet", id=f"{self.how} {self.id}")


@dataclass(frozen=True, slots=True)
class ReplaceDroplet(Action):
    """Give a droplet up, and all that leads to it: write that into the ledger, and no more."""

    id: str
    reason: str
    message: str

    @property
    def key(self) -> ActionKey:
        """Once for each droplet."""
        return ActionKey("ReplaceDroplet", id=self.id)


@dataclass(frozen=True, slots=True)
class ClaimSpare(Action):
    """Take a spare: write who has it into its ledger, then its droplet into the session's own."""

    spare: str
    droplet: str

    @property
    def key(self) -> ActionKey:
        """One claim for each spare."""
        return ActionKey("ClaimSpare", id=self.spare)


@dataclass(frozen=True, slots=True)
class TakeOver(Action):
    """Make a droplet that was a spare the session's own: its agent, its name and its tags."""

    droplet: str
    lifetime: timedelta

    @property
    def key(self) -> ActionKey:
        """One for each droplet."""
        return ActionKey("TakeOver", id=self.droplet)


@dataclass(frozen=True, slots=True)
class ConfirmSessionGone(Action):
    """Ask the API server itself whether the session of this ledger is really gone."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ConfirmNoRecord(Action):
    """Ask the API server itself whether this session has no ledger: watches may show it late."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer(Action):
    """Let the session go: nothing of it lives any more."""


@dataclass(frozen=True, slots=True)
class HoldRecord(Action):
    """Put our finalizer on an open ledger, so that nobody deletes it before it is closed."""


@dataclass(frozen=True, slots=True)
class ReleaseRecord(Action):
    """Take our finalizer off a closed ledger: it is complete."""


@dataclass(frozen=True, slots=True)
class DeleteRecord(Action):
    """Drop a ledger whose time of keeping is over."""


@dataclass(frozen=True, slots=True)
class DeleteSession(Action):
    """Delete an ended session whose time of keeping is over (`lifetime.ttlAfterFinished`)."""
