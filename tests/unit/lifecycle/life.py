"""One session's life without I/O: plans are made, their actions take effect, time is moved by hand.

It stands for the controller around the pure plan. An action takes effect at once, unless a test
holds it back or lets it fail; every status that would be written is kept, in order.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from spawnai.api.record import GenerationEntry, LedgerEntry, RecordStatus, Replacement, ResourceKind
from spawnai.api.session import AppType, SessionSpec, SessionStatus
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import (
    WantedCertificate,
    WantedDroplet,
    WantedFirewall,
    WantedLoadBalancer,
    WantedRecord,
)
from spawnai.lifecycle.observation import (
    AppView,
    DropletView,
    Effort,
    Failure,
    FailureKind,
    Observation,
    Offer,
    OutsideView,
    PageView,
    Record,
    Revised,
    Session,
    Sight,
    StoredBundle,
)
from spawnai.lifecycle.plan import plan
from spawnai.lifecycle.replacing import given_up_parts
from spawnai.lifecycle.status import Notice, Plan

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
IP = "203.0.113.7"
DIGEST = "ab" * 32
MOST_ROUNDS = 60

Step = type[do.Action] | str
"""An action of any kind of resource, or by name of one: `do.Delete`, "CreateDroplet"."""


def name_of(action: do.Action | do.ActionKey) -> str:
    key = action if isinstance(action, do.ActionKey) else action.key
    return f"{key.action}{key.kind or ''}"


def is_a(action: do.Action, step: Step) -> bool:
    return name_of(action) == step if isinstance(step, str) else isinstance(action, step)


def among(action: do.Action, steps: Iterable[Step]) -> Step | None:
    return next((step for step in steps if is_a(action, step)), None)


def a_session(**changes: Any) -> Session:
    values: dict[str, Any] = {
        "namespace": "team",
        "name": "retro-board",
        "uid": UID,
        "generation": 1,
        "created_at": START,
        "deleting": False,
        "has_finalizer": False,
        "ttl": None,
        "expires_at": None,
        "spec": SessionSpec(prompt="A retro board", app_type=AppType.WEBAPP),
        "spec_problem": None,
        "status": SessionStatus(),
    }
    return Session(**(values | changes))


def an_offer(*, inspector: bool = False, **spec: Any) -> Offer:
    return Offer(
        inspector=inspector,
        name="standard",
        uid="class-uid",
        spec=ClassSpec.model_validate(spec),
        firewall_id="shared-firewall",
        hosted_certificate="spawn-class-class-uid-hosted-1",
        prices={"s-1vcpu-1gb": Decimal("0.00893"), "s-2vcpu-2gb": Decimal("0.02679")},
    )


@dataclass
class Life:
    """A session, its ledger and its cloud, moved by `settle` and `pass_time`."""

    session: Session | None = field(default_factory=a_session)
    offer: Offer | None = field(default_factory=an_offer)
    now: datetime = START
    record: Record | None = None
    bundle: StoredBundle | None = None
    revised: Revised | None = None
    page: PageView | None = None
    page_shows: PageView = field(default_factory=lambda: PageView(DIGEST))
    """What the inspector sees, the next time."""
    droplet: DropletView | None = None
    droplet_unseen: bool = False
    firewall_in_force: bool = False
    claude_answers: bool = True
    new_droplet_status: str = "active"
    new_ip: str = IP
    balancer_ip: str = "203.0.113.99"
    app: AppView | None = None
    app_says: AppView = field(default_factory=lambda: AppView("running", None, START))
    """What the agent answers a process that has not heard of the app."""
    outside: OutsideView | None = None
    sight: Sight = field(default_factory=Sight)
    silent_since: datetime | None = None
    confirmed_at: datetime | None = None
    may_replace: bool = True
    log: tuple[str, ...] = ()
    missing: frozenset[tuple[str, str]] = frozenset()
    switch: datetime | None = None
    switch_told: datetime | None = None
    """What the droplet's switch stands at, whether this process knows it or not."""
    problem: Failure | None = None
    efforts: dict[do.ActionKey, Effort] = field(default_factory=dict)
    rejected: dict[tuple[str, str], Failure] = field(default_factory=dict)
    load: dict[str, int] = field(default_factory=dict)
    held: set[Step] = field(default_factory=set)
    waiting: set[Step] = field(default_factory=set)
    failing: dict[Step, Callable[[do.Action], Failure]] = field(default_factory=dict)
    finds: dict[Step, Callable[[], None]] = field(default_factory=dict)
    """What a look brings to light, the next time."""
    done: list[do.Action] = field(default_factory=list)
    statuses: list[SessionStatus] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    started_at: datetime = START
    cloud_behind: timedelta = timedelta()
    """By how much DigitalOcean's clock is behind the operator's."""
    known_since: dict[tuple[str, str], datetime] = field(default_factory=dict)
    wake_at: datetime | None = None
    gone: bool = False
    without_record: bool = False

    def observe(self) -> Observation:
        return Observation(
            uid=UID,
            cluster_uid="cluster-uid",
            session=self.session,
            offer=self.offer,
            offer_problem=self.problem,
            record=self._record(),
            operator_started_at=self.started_at,
            record_made_here=self.record is not None and self.record.created_at >= self.started_at,
            droplet=self.droplet,
            droplet_unseen=self.droplet_unseen,
            firewall_in_force=self.firewall_in_force,
            bundle=self.bundle,
            revised=self.revised,
            page=self.page,
            app=self.app,
            outside=self.outside,
            sight=self.sight,
            silent_since=self.silent_since,
            droplet_confirmed_at=self.confirmed_at,
            may_replace=self.may_replace,
            log=self.log,
            missing=self.missing,
            switch=self.switch,
            generation_fraction=0.0 if self.claude_answers else None,
            efforts=dict(self.efforts),
            rejected=dict(self.rejected),
            load=self.load,
            session_confirmed_gone=self.gone,
            record_confirmed_absent=self.without_record,
            resync_spread=timedelta(minutes=5),
        )

    def _record(self) -> Record | None:
        made_here = self.record is not None and self.record.created_at >= self.started_at
        known_since = dict(self.known_since) if made_here else {}
        return replace(self.record, known_since=known_since) if self.record else None

    def plan(self) -> Plan:
        return plan(self.observe(), self.now)

    def settle(self) -> "Life":
        """Plan and act until nothing more happens at this moment."""
        for _ in range(MOST_ROUNDS):
            made = self.plan()
            for key, effort in self.efforts.items():
                if effort.running and key in made.abandoned:
                    self.efforts[key] = Effort(started_at=effort.started_at)
            changed = self._report(made)
            for action in made.actions:
                changed = self._act(action) or changed
            self.wake_at = made.wake_at
            due = made.wake_at is not None and made.wake_at <= self.now
            if not changed and not due:
                return self
        raise AssertionError(f"still not settled after {MOST_ROUNDS} rounds: {self.plan()}")

    def pass_time(self, **time: float) -> "Life":
        """Let time go by, waking whenever the plan asked to be woken."""
        end = self.now + timedelta(**time)
        while self.wake_at is not None and self.wake_at <= end:
            self.now = max(self.now, self.wake_at)
            self.settle()
        self.now = end
        return self.settle()

    def key(self, step: Step) -> do.ActionKey:
        """The key of the only action of that name."""
        name = step if isinstance(step, str) else step.__name__
        (key,) = (key for key in self.efforts if name_of(key) == name)
        return key

    def has_turn(self, step: Step) -> "Life":
        """A creation that waited for a call may have been sent from now on."""
        effort = self.efforts[self.key(step)]
        assert effort.waits_for_turn
        assert effort.started_at is not None
        waited = effort.waited + (self.now - effort.started_at)
        self.efforts[self.key(step)] = replace(effort, turn_at=self.now, waited=waited)
        return self.settle()

    def answered(self, step: Step, failure: Failure) -> "Life":
        """What was under way was refused."""
        self.efforts[self.key(step)] = replace(
            self.efforts[self.key(step)],
            running=False,
            failures=1,
            failure=failure,
            retry_at=self.now + timedelta(seconds=1),
        )
        return self.settle()

    def see_effect_of(self, action: do.Action) -> "Life":
        """The watch shows what an action did before its answer comes."""
        self._effect(action)
        return self.settle()

    def change(self, **changes: Any) -> "Life":
        """What a user does: annotate, delete."""
        assert self.session is not None
        self.session = replace(self.session, **changes)
        return self.settle()

    def restart(self) -> "Life":
        """Another process takes over and knows nothing but what was written down."""
        self.efforts.clear()
        self.rejected.clear()
        self.bundle, self.droplet, self.firewall_in_force = None, None, False
        self.page = None
        self.app_says, self.app, self.switch = self.app or self.app_says, None, None
        self.log = ()
        self.started_at = self.now
        return self

    @property
    def status(self) -> SessionStatus:
        assert self.session is not None
        return self.session.status

    def condition(self, type_: str) -> tuple[str, str] | None:
        return next(
            (
                (str(known.status), known.reason)
                for known in self.status.conditions
                if known.type == type_
            ),
            None,
        )

    def kinds_done(self) -> list[str]:
        return [name_of(action) for action in self.done]

    def reasons(self) -> list[str]:
        return [notice.reason for notice in self.notices]

    def fail(
        self, kind: FailureKind, reason: str = "Failed", message: str = "it failed"
    ) -> Failure:
        return Failure(kind, reason, message, self.now)

    def _report(self, made: Plan) -> bool:
        changed = False
        if made.ledger is not None and self.record is not None:
            changed = made.ledger != self.record.status
            self.record = replace(self.record, status=made.ledger)
        self.notices += made.notices
        if self.session is not None and made.status not in (None, self.session.status):
            self.statuses.append(made.status)
            self.session = replace(self.session, status=made.status)
            # Nobody is woken by it: a watch that shows what the operator wrote tells it nothing.
        return changed

    def _act(self, action: do.Action) -> bool:
        self.done.append(action)
        before = self.efforts.get(action.key, Effort())
        if among(action, self.waiting):
            self.efforts[action.key] = replace(
                before, running=True, retry_at=None, started_at=self.now, done_at=None
            )
            return True
        if among(action, self.held):
            self.efforts[action.key] = replace(
                before,
                running=True,
                retry_at=None,
                started_at=self.now,
                done_at=None,
                turn_at=self.now,
            )
            return True
        if (step := among(action, self.failing)) is not None:
            failure = self.failing[step](action)
            unclear = failure.kind is FailureKind.AMBIGUOUS
            self.efforts[action.key] = Effort(
                failures=before.failures + 1,
                failure=failure,
                started_at=self.now,
                retry_at=self.now + timedelta(seconds=1),
                waited=before.waited,
                effects=before.effects + (1 if unclear else 0),
                unclear_at=self.now if unclear else before.unclear_at,
            )
            return True
        self.efforts[action.key] = Effort(
            started_at=self.now,
            done_at=self.now,
            effects=before.effects + 1,
            unclear_at=before.unclear_at,
        )
        self._effect(action)
        return True

    def _effect(self, action: do.Action) -> None:
        match action:
            case do.AddFinalizer() | do.RemoveFinalizer():
                assert self.session is not None
                present = isinstance(action, do.AddFinalizer)
                self.session = replace(self.session, has_finalizer=present)
                if not present and self.session.deleting:
                    self.session = None
            case do.CreateRecord(spec=spec):
                self.record = Record(spec, RecordStatus(), self.now)
            case do.HoldRecord() | do.ReleaseRecord():
                assert self.record is not None
                held = isinstance(action, do.HoldRecord)
                self.record = replace(self.record, has_finalizer=held)
                if not held and self.record.deleting:
                    self.record = None
            case do.DeleteSession():
                self.session, self.gone = None, True
            case do.DeleteRecord():
                self.record = None
            case do.ConfirmNoRecord():
                self.without_record = self.record is None
            case do.ConfirmSessionGone():
                self.gone = True
            case do.Create(wanted=WantedDroplet(placement=placement)):
                number = 77 + len(self.record.status.replacements if self.record else ())
                self.droplet = DropletView(number, self.new_droplet_status, self.new_ip)
                self.note(
                    ResourceKind.DROPLET,
                    str(number),
                    region=placement.region,
                    size=placement.size,
                    price_hourly="0.00893",
                )
            case do.Create(wanted=WantedFirewall()):
                count = 1 + len(self.record.status.replacements if self.record else ())
                self.note(ResourceKind.FIREWALL, f"firewall-{count}")
            case do.Create(wanted=WantedLoadBalancer(region=region)):
                count = 1 + sum(name_of(one) == "CreateLoadBalancer" for one in self.done[:-1])
                self.note(
                    ResourceKind.LOAD_BALANCER,
                    f"balancer-{count}",
                    region=region,
                    price_hourly="0.01786",
                )
            case do.Await(kind=ResourceKind.LOAD_BALANCER, id=id_):
                kind, ip = ResourceKind.LOAD_BALANCER, self.balancer_ip
                self.book(lambda book: books.with_address(book, kind, id_, ip))
            case do.Create(wanted=WantedRecord(domain=domain, ip=ip)):
                lines = self.record.status.resources if self.record else ()
                count = 5 + sum(one.kind is ResourceKind.DOMAIN_RECORD for one in lines)
                self.note(ResourceKind.DOMAIN_RECORD, str(count), domain=domain, ip=ip)
            case do.Create(wanted=WantedCertificate(host=host, ip=ip)):
                orders = sum(name_of(one) == "CreateCertificate" for one in self.done)
                self.note(
                    ResourceKind.CERTIFICATE,
                    f"order-{orders}",
                    domain=host if host != ip else None,
                    ip=ip,
                )
            case do.Await(kind=ResourceKind.FIREWALL):
                self.firewall_in_force = True
            case do.GenerateApp():
                entry = GenerationEntry(
                    model="claude-sonnet-5-5",
                    started_at=self.now,
                    outcome="Stored",
                    output_tokens=4000,
                    cost="0.04",
                )
                self.bundle = StoredBundle(DIGEST, entry)
                self.book(lambda book: books.with_generation(book, entry))
            case do.InspectApp(digest=digest):
                self.page = replace(self.page_shows, digest=digest)
            case do.ReviseApp():
                pass
            case do.CheckApp():
                self.app = replace(self.app or self.app_says, at=self.now)
                self.switch = self.switch_told
            case do.RecoverDroplet(id=id_):
                self.droplet = DropletView(int(id_), "active", IP)
            case do.ReplaceDroplet(id=id_, reason=reason, message=message):
                self._give_up(id_, reason, message)
            case do.FindApp():
                self.bundle = StoredBundle(
                    DIGEST, GenerationEntry(model="m", started_at=START, outcome="Stored")
                )
            case do.StopApp():
                self.app = AppView("stopped", None, self.now)
            case do.RestartApp():
                self.app = AppView("running", None, self.now)
            case do.SetExpiry(expires_at=expires_at):
                self.switch = self.switch_told = expires_at
            case do.Delete(line=gone):
                self.book(
                    lambda book: books.with_deletion_accepted(book, gone.kind, gone.id, self.now)
                )
            case do.Verify(line=gone):
                self.book(lambda book: books.with_gone(book, gone.kind, gone.id, self.now))
            case _:
                self.finds.pop(among(action, self.finds) or "", lambda: None)()

    def _give_up(self, droplet_id: str, reason: str, message: str) -> None:
        """As `controller/actions/replace.py` and `Memory.leave_droplet` do it."""
        assert self.record is not None
        named = self.offer is not None and self.offer.spec.exposure.domain is not None
        parts = given_up_parts(self.record.status, droplet_id, named_certificate=named)
        entry = Replacement(reason=reason, message=message, started_at=self.now, replaced=parts)
        self.book(lambda book: books.with_replacement(book, entry))
        self.droplet = self.app = self.bundle = self.switch = self.silent_since = None
        self.firewall_in_force = False
        kept = ("Create", "Find", "Delete", "Verify", "ReplaceDroplet")
        self.efforts = {key: one for key, one in self.efforts.items() if key.action in kept}

    def note(self, kind: ResourceKind, id_: str, **details: Any) -> None:
        created_at = self.now - self.cloud_behind
        entry = LedgerEntry(kind=kind, id=id_, name=f"name-{id_}", created_at=created_at, **details)
        self.known_since.setdefault((kind, id_), self.now)
        self.book(lambda book: books.with_resource(book, entry))

    def book(self, change: Callable[[RecordStatus], RecordStatus]) -> None:
        assert self.record is not None, "the ledger comes before anything it lists"
        self.record = replace(self.record, status=change(self.record.status))
