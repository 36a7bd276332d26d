"""What a plan may ask for: each action is a value, and says by its key when two are the same.

An action that is already under way, or waits to be tried again, is recognised by its key; so a
plan can be made as often as one likes. `controller/actions` carries them out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spawnai.api.record import LedgerEntry, RecordSpec, ResourceKind


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do outside the plan."""

    @property
    def key(self) -> str:
        """What makes two actions of one session the same action."""
        return type(self).__name__


@dataclass(frozen=True, slots=True)
class AddFinalizer(Action):
    """Put our finalizer on the session, so that it cannot vanish while it owns anything."""


@dataclass(frozen=True, slots=True)
class CreateRecord(Action):
    """Write the ledger's intent, before anything outside the cluster is made."""

    spec: RecordSpec


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a droplet is made and how large it is."""

    region: str
    size: str


ANY = "*"
"""In place of a region or a size that a refusal had nothing to do with."""


@dataclass(frozen=True, slots=True)
class CreateDroplet(Action):
    """Make the session's droplet. Never repeated before an unclear answer is settled.

    `lifetime`: how long the droplet lives, from its order on, unless it is told of another end.
    """

    placement: Placement
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class FindDroplet(Action):
    """Look whether a droplet of this session exists that the ledger does not know."""


@dataclass(frozen=True, slots=True)
class AwaitDroplet(Action):
    """Follow the shared listing until the droplet is active and has its address."""

    droplet_id: int


@dataclass(frozen=True, slots=True)
class CreateFirewall(Action):
    """Make the session's own firewall around its droplet (firewall mode PerSession)."""

    droplet_id: int


@dataclass(frozen=True, slots=True)
class FindFirewall(Action):
    """Look for the session's own firewall by its name, which DigitalOcean keeps unique."""


@dataclass(frozen=True, slots=True)
class CheckFirewall(Action):
    """Wait until the firewall that covers the droplet is in force."""

    firewall_id: str
    droplet_id: int


@dataclass(frozen=True, slots=True)
class CreateDomainRecord(Action):
    """Point the session's name at its droplet."""

    domain: str
    name: str
    ip: str
    ttl_seconds: int


@dataclass(frozen=True, slots=True)
class FindDomainRecord(Action):
    """Look for records with the session's name and its droplet's address."""

    domain: str
    name: str
    ip: str


@dataclass(frozen=True, slots=True)
class GenerateApp(Action):
    """Have the app written, checked and stored. A stored bundle is never paid for again.

    `is_first`: nobody can have ordered one before, so none is looked for.
    """

    is_first: bool = False


@dataclass(frozen=True, slots=True)
class DeployApp(Action):
    """Hand the bundle to the droplet's agent and wait until the app answers."""

    ip: str
    digest: str
    expires_at: datetime

    @property
    def key(self) -> str:
        """One hand-over for each bundle and address."""
        return f"DeployApp:{self.digest[:12]}:{self.ip}"


@dataclass(frozen=True, slots=True)
class SetExpiry(Action):
    """Move the dead man's switch of the droplet. One at a time, whatever the times: of two tellings
    under way, the older might arrive last.
    """

    ip: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CheckApp(Action):
    """Ask the agent how the app is."""

    ip: str


@dataclass(frozen=True, slots=True)
class TakeLog(Action):
    """Keep the last lines of the app's log, before the droplet goes."""

    ip: str


@dataclass(frozen=True, slots=True)
class DeleteResource(Action):
    """Delete one thing by its recorded identity, if it shows that it is ours."""

    entry: LedgerEntry

    @property
    def key(self) -> str:
        """One deletion for each thing."""
        return f"DeleteResource:{self.entry.kind}:{self.entry.id}"


@dataclass(frozen=True, slots=True)
class VerifyGone(Action):
    """See with own eyes that a deleted thing is gone."""

    kind: ResourceKind
    id: str
    domain: str | None = None

    @property
    def key(self) -> str:
        """One proof for each thing."""
        return f"VerifyGone:{self.kind}:{self.id}"


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
class DeleteRecord(Action):
    """Drop a ledger whose time of keeping is over."""


CREATIONS = (CreateDroplet, CreateFirewall, CreateDomainRecord)
"""What makes something at DigitalOcean: never stopped half-way, and looked for before it is sent
again."""
