"""What is known about one session at one moment: all that a plan may look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from spawnai.admission.places import Place
from spawnai.api.record import (
    GenerationEntry,
    LedgerEntry,
    Presence,
    RecordSpec,
    RecordStatus,
    Replacement,
    ResourceKind,
)
from spawnai.api.session import DEFAULT_TIER, SessionSpec, SessionStatus, Tier
from spawnai.api.spawnclass import ClassSpec, TierSpec

from .actions import ActionKey
from .pooling import OfferedSpare


class FailureKind(StrEnum):
    """Failures, named by what to do next."""

    TRANSIENT = "transient"  # nothing happened, or repeating is safe
    AMBIGUOUS = "ambiguous"  # it may have happened: look before doing it again
    NO_CAPACITY = "no-capacity"  # not in this region or size, now
    UNKNOWN_OPTION = "unknown-option"  # a region, size or image that does not exist
    OVER_QUOTA = "over-quota"  # the account's droplet limit: wait
    NEEDS_PERSON = "needs-person"  # a key, its credit, a quota, the class: a person must act
    FINAL = "final"  # repeating will not help: the session ends with this reason


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not work, in the words of who refused it."""

    kind: FailureKind
    reason: str
    message: str
    at: datetime

    def moved(self, step: timedelta) -> "Failure":
        """The same, as old as it was, after the clock was set by `step`."""
        return replace(self, at=self.at + step)


@dataclass(frozen=True, slots=True)
class Effort:
    """What is remembered of one action: under way, done, or to be tried again, and when.

    It lives in memory only: a restart forgets it, and every action can be found already done.
    """

    running: bool = False
    failures: int = 0
    failure: Failure | None = None
    retry_at: datetime | None = None
    started_at: datetime | None = None
    done_at: datetime | None = None
    turn_at: datetime | None = None
    """When a running creation had its turn among DigitalOcean's calls: since then it may have been
    sent."""
    waited: timedelta = timedelta()
    """How long a creation waited for its turns, all tries together."""
    effects: int = 0
    """How many of its tries may have taken effect: all that succeeded or had no clear answer."""
    unclear_at: datetime | None = None
    """When it last had no clear answer, whatever came after that."""

    @property
    def waits_for_turn(self) -> bool:
        """Whether a creation is under way, and nothing of it was sent."""
        return self.running and self.turn_at is None

    def moved(self, step: timedelta) -> "Effort":
        """The same, as old as it was, after the clock was set by `step`."""

        def at(date: datetime | None) -> datetime | None:
            return date + step if date is not None else None

        return replace(
            self,
            failure=self.failure.moved(step) if self.failure is not None else None,
            retry_at=at(self.retry_at),
            started_at=at(self.started_at),
            done_at=at(self.done_at),
            turn_at=at(self.turn_at),
            unclear_at=at(self.unclear_at),
        )


NO_EFFORT = Effort()


@dataclass(frozen=True, slots=True)
class Session:
    """The SpawnSession as the API server holds it."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_at: datetime
    deleting: bool
    has_finalizer: bool
    ttl: str | None
    expires_at: str | None
    spec: SessionSpec | None
    spec_problem: str | None
    status: SessionStatus
    feedback: str | None = None
    """What the annotation says, whatever somebody wrote there."""
    kept_by_gitops: bool = False
    """Whether a GitOps tool holds it, and would make it again."""

    @property
    def order(self) -> SessionSpec:
        """The spec; only asked for once it is known to be readable."""
        if self.spec is None:
            raise ValueError(f"session {self.namespace}/{self.name}: {self.spec_problem}")
        return self.spec

    @property
    def tier(self) -> Tier:
        """The tier in force: asked for, or the default of the app type. The status tells it only
        where the spec cannot be read.
        """
        if self.spec is None:
            return self.status.tier or Tier.LIGHT
        return self.spec.tier or DEFAULT_TIER[self.spec.app_type]


@dataclass(frozen=True, slots=True)
class Offer:
    """The class that serves the session, and whether it can be used now."""

    name: str
    uid: str
    spec: ClassSpec
    firewall_id: str | None = None
    hosted_certificate: str | None = None
    """The name of the certificate at DigitalOcean for load balancers."""
    problem: Failure | None = None
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    claude_answers: bool = False
    """Whether Claude took another order of the class just now."""
    certificates: bool = False
    """Whether there is an ACME server to order certificates from."""
    inspector: bool = False
    """Whether there is an inspector that opens pages."""

    def tier(self, tier: Tier) -> TierSpec:
        """What that tier means in this class."""
        tiers: dict[Tier, TierSpec] = {
            Tier.LIGHT: self.spec.tiers.light,
            Tier.STANDARD: self.spec.tiers.standard,
            Tier.COMPLEX: self.spec.tiers.complex,
        }
        return tiers[tier]


@dataclass(frozen=True, slots=True)
class Record:
    """The SpawnRecord with all that this process has learnt; `stored` is what a restart would read.

    Without `stored` everything that is known is stored.

    `known_since`: since when this process has known of a thing, by kind and id and by its own
    clock. Empty when an earlier process made the ledger.
    """

    spec: RecordSpec
    status: RecordStatus
    created_at: datetime
    stored: RecordStatus | None = None
    known_since: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    has_finalizer: bool = True
    deleting: bool = False

    def stores_address(self, ip: str) -> bool:
        """Whether a restart would know that the droplet has this address."""
        return any(entry.ip == ip for entry in self._stored.resources)

    def stores(self, line: LedgerEntry) -> bool:
        """Whether a restart would know that this thing was made."""
        return any(
            entry.kind is line.kind and entry.id == line.id for entry in self._stored.resources
        )

    @property
    def is_closed_in_store(self) -> bool:
        """Whether a restart would know that all of it was seen gone."""
        return self._stored.completed_at is not None

    @property
    def reserved(self) -> Decimal | None:
        """What is reserved in the budgets, as a restart would know it; None: nothing."""
        amount = self._stored.reserved or self.spec.reserved
        return Decimal(amount) if amount is not None else None

    @property
    def _stored(self) -> RecordStatus:
        return self.status if self.stored is None else self.stored

    def living(self, kind: ResourceKind) -> tuple[LedgerEntry, ...]:
        """Entries of that kind that have not been seen gone."""
        return tuple(
            entry
            for entry in self.status.resources
            if entry.kind is kind and entry.presence is not Presence.GONE
        )

    def in_use(self, kind: ResourceKind) -> tuple[LedgerEntry, ...]:
        """Those of the living that the session goes on with: none that it has given up."""
        return tuple(entry for entry in self.living(kind) if entry.id not in self.given_up)

    @property
    def given_up(self) -> frozenset[str]:
        """The ids of what was replaced."""
        return frozenset(id_ for one in self.status.replacements for id_ in one.replaced)

    @property
    def replacing(self) -> Replacement | None:
        """The replacement under way, if there is one."""
        last = next(reversed(self.status.replacements), None)
        return last if last is not None and last.finished_at is None else None

    @property
    def droplet(self) -> LedgerEntry | None:
        """The session's droplet, while it has not been seen gone."""
        return next(iter(self.in_use(ResourceKind.DROPLET)), None)

    @property
    def lost_droplet(self) -> LedgerEntry | None:
        """The droplet that was found gone, where the session has no other."""
        if self.droplet is not None:
            return None
        lost = (
            one
            for one in self.status.resources
            if one.kind is ResourceKind.DROPLET and one.id not in self.given_up
        )
        return next((one for one in lost if one.presence is Presence.GONE), None)

    @property
    def droplet_was_deleted(self) -> bool:
        """Whether we have deleted the session's droplet, and it has no other one.

        One that was found gone bears the same time for both.
        """
        droplets = [
            one
            for one in self.status.resources
            if one.kind is ResourceKind.DROPLET and one.id not in self.given_up
        ]
        return bool(droplets) and all(
            one.deletion_accepted_at is not None and one.deletion_accepted_at != one.gone_at
            for one in droplets
        )

    def begun_at(self, line: LedgerEntry) -> datetime:
        """When a thing was made, by this process's clock; DigitalOcean's where it was not there."""
        return self.known_since.get((line.kind, line.id), line.created_at)

    @property
    def made_anything(self) -> bool:
        """Whether anything was ever made or paid for."""
        return bool(self.status.resources or self.status.generations)


@dataclass(frozen=True, slots=True)
class DropletView:
    """The droplet as DigitalOcean last showed it."""

    id: int
    status: str
    ip: str | None


@dataclass(frozen=True, slots=True)
class AppView:
    """The app as the droplet's agent last showed it."""

    state: str
    reason: str | None
    at: datetime
    failure: str = ""
    """What a person is told of an app that has stopped for good, with its last lines."""
    ran_seconds: float | None = None
    """How long a script ran, once it has ended well."""

    def moved(self, step: timedelta) -> "AppView":
        """The same, as old as it was, after the clock was set by `step`."""
        return replace(self, at=self.at + step)


class Reachability(StrEnum):
    """What the operator sees of an app from outside, by several looks in a row."""

    ANSWERS = "answers"
    DOWN = "down"  # somebody answers, and the app does not serve
    SILENT = "silent"  # nobody answers


@dataclass(frozen=True, slots=True)
class OutsideView:
    """How the looks from outside have ended since then."""

    state: Reachability
    since: datetime

    def moved(self, step: timedelta) -> "OutsideView":
        """The same, as old as it was, after the clock was set by `step`."""
        return replace(self, since=self.since + step)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the operator sees of all droplets together.

    `blind_until`: when it could see again, after many or all were silent. `others_answer`: whether
    the droplet of another session has just answered, which proves the operator's own way.
    """

    is_blind: bool = False
    blind_until: datetime | None = None
    others_answer: bool = False


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """The generated app as it is stored in the cluster."""

    digest: str
    generation: GenerationEntry
    number: int = 1
    """Which version of the app it is, from 1 on: each repair after a deployment makes another."""
    note: str = ""
    """What Claude says of it to the person."""
    earlier: tuple[GenerationEntry, ...] = ()
    """What was paid for the versions before, as far as it was read with this one."""
    prompt_digest: str | None = None
    """For which prompt it was made; None: an operator of before stored it without."""


@dataclass(frozen=True, slots=True)
class PageView:
    """What a browser saw of the page of one bundle: nothing wrong, unless something is named.

    `problem`: why the page was not opened.
    """

    digest: str
    findings: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Revised:
    """What became of a new prompt: the version that runs for it, or why there is none."""

    prompt_digest: str
    number: int
    bundle_digest: str | None
    at: datetime
    failure: Failure | None = None
    note: str = ""
    page: PageView | None = None
    """What its page showed, where pages are inspected."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One session, its class, its ledger and its cloud at one moment."""

    uid: str
    cluster_uid: str
    session: Session | None
    offer: Offer | None
    offer_problem: Failure | None
    record: Record | None
    operator_started_at: datetime
    record_made_here: bool
    droplet: DropletView | None = None
    droplet_unseen: bool = False
    droplet_confirmed_at: datetime | None = None
    """When DigitalOcean itself was last asked for the droplet, and showed it."""
    may_replace: bool = True
    """Whether enough time has passed since another droplet was replaced."""
    firewall_in_force: bool = False
    bundle: StoredBundle | None = None
    revised: Revised | None = None
    page: PageView | None = None
    app: AppView | None = None
    outside: OutsideView | None = None
    """The app as it is seen from outside; None: it is not looked at, or was not yet."""
    sight: Sight = Sight()
    silent_since: datetime | None = None
    """Since when the agent has left every question unanswered."""
    log: tuple[str, ...] = ()
    missing: frozenset[tuple[str, str]] = frozenset()
    """Kind and id of what answers 404, but is too young for that to prove anything."""
    switch: datetime | None = None
    """The session's end as the droplet's dead man's switch knows it; None: nobody here knows."""
    efforts: Mapping[ActionKey, Effort] = field(default_factory=dict)
    rejected: Mapping[tuple[str, str], Failure] = field(default_factory=dict)
    """Refused regions and sizes (either may be `ANY`), and why."""
    load: Mapping[str, int] = field(default_factory=dict)
    """How many droplets of the class are in each region, for a class that spreads them."""
    spares: Sequence[OfferedSpare] = ()
    """The spare droplets that the session may take."""
    generation_fraction: float | None = None
    """How much of the app Claude has written; None until it has begun to answer."""
    queue_position: int | None = None
    place: Place | None = None
    """Where a session that has not begun stands under limits and budgets; None: there are none."""
    budgets: tuple[str, ...] = ()
    """The budgets that pay for the session."""
    counts_until: datetime | None = None
    """Until when its closed ledger counts in a budget, and is kept for that."""
    session_confirmed_gone: bool = False
    record_confirmed_absent: bool = False
    resync_spread: timedelta = timedelta()

    @property
    def earlier_life_may_have_created(self) -> bool:
        """Whether an earlier life of this operator may have sent creations that nobody has seen.

        It closed a ledger only once nothing could come any more.
        """
        if self.record is None or self.record_made_here:
            return False
        return self.record.status.completed_at is None

    @property
    def outside_since(self) -> datetime:
        """Since when the app is seen from outside as it is now."""
        return self.outside.since if self.outside is not None else self.operator_started_at

    @property
    def is_replacing(self) -> bool:
        """Whether the session's app is on its way to another droplet."""
        return self.record is not None and self.record.replacing is not None

    def effort(self, key: ActionKey) -> Effort:
        """What is remembered of an action."""
        return self.efforts.get(key, NO_EFFORT)

    def creation(self, kind: ResourceKind) -> Effort:
        """What is remembered of the creation of that kind."""
        creations = (key for key in self.efforts if key.action == "Create" and key.kind is kind)
        return next((self.efforts[key] for key in creations), NO_EFFORT)

    def final_failure(self) -> Failure | None:
        """The first failure that ends the session, if there is one."""
        return next(
            (
                effort.failure
                for effort in self.efforts.values()
                if effort.failure is not None and effort.failure.kind is FailureKind.FINAL
            ),
            None,
        )
