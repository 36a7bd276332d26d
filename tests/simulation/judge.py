"""What must be true of every story: at every moment, and at its end."""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count

from spawnai.api.conditions import ConditionType
from spawnai.api.names import FINALIZER, class_firewall_name
from spawnai.api.record import POOL_OWNER, Presence, RecordStatus, ResourceKind, UsageTotals
from spawnai.api.session import Phase, SessionStatus, Tier
from spawnai.billing.droplet_prices import droplet_cost_between
from spawnai.controller.actions.bundles import PROMPT_KEY, app_of, bundle_name
from spawnai.controller.reaping.receipts import ORPHANED
from spawnai.generation.claude import MAX_REPAIRS
from spawnai.lifecycle.revisions import prompt_digest
from spawnai.lifecycle.status import STEPS

from .acme import SimulatedAcme
from .api_server import ApiServer, Body, is_held
from .apps import Machine, Paid, SimulatedAgents, SimulatedClaude
from .cloud import NEVER, SIZES, Cloud, CloudDroplet, CloudRecord, Watch
from .edges import CLIENT_LIMIT_SECONDS, Wire
from .loop import BEGIN, utc
from .money import Money
from .story import METERED, ClockJump, MachineSleep

STANDARD = "standard"
"""The default class."""

PROMPT_SECONDS = 1.0
"""How soon after its expiry a droplet's deletion must be accepted while everything answers."""

RECOVERY_SECONDS = 8.0
"""How soon after the last disturbance an overdue deletion must be accepted."""

END_SECONDS = 200.0
"""How long after its end's cause, or the last disturbance, a session may take to end."""

REVOCATION_SECONDS = 100.0
"""How long an end waits at most for an ACME server that is away: a minute, and a hanging call."""

FOUND_SECONDS = 10.0
"""How soon a name that comes late must be found while its session ends."""

NAME_SECONDS = 120.0
"""How long a DNS record may take to show whose answer was lost (docs/architecture.md)."""

SETTLING_SECONDS = 150.0
"""How long a second droplet of one session may be billed."""

ASTRAY_SECONDS = 200.0
"""How soon it must be noticed that a droplet was deleted by hand, and its name be taken away."""

ASTRAY_AFTER_RESTART_SECONDS = 1_000.0
"""The same when the operator was restarted since: it talks to its droplets again within ten minutes
and asks for one that is silent."""

SWITCH_SECONDS = 60.0
"""How soon a droplet's switch must be told of a later end that was promised."""

SWITCH_AFTER_RESTART_SECONDS = ASTRAY_AFTER_RESTART_SECONDS
"""The same when the operator was restarted since."""

LOG_SECONDS = 7.0
"""How old the last line of a log may be when its droplet is deleted: it is taken 5 s ahead."""

PACE_SECONDS = 50.0
"""Between two replacements of one operator, as their ledgers are written."""

STOPPED_SECONDS = 20.0
"""How long an app may stand still although its end was put off; and how long an end must be known
before the app must have been told of it."""

SEEN_BROKEN_SECONDS = 30.0
"""How much longer than an app has lived it may take until it is told that it stopped for good: the
first question comes after 15 s, and its answer may be slow."""

REVISED_SECONDS = 150.0
"""How long a changed app may take: six orders of 15 s each, and looks at its page of 10 s."""

LOOK_SECONDS = 1.0
"""How long an app is stored before whoever orders one must know of it. A dead operator's write may
still arrive between its follower's look and order; no look can help that."""

LEDGER_DELAY_SECONDS = 150.0
"""How long before an operator's death what it learnt may not have reached the ledger."""

EXACT_BOOKS_SECONDS = 10.0
"""How far a clock may have moved in a story whose costs are held against what was reserved."""

LEAST_FACTOR, MOST_FACTOR = Decimal("0.8"), Decimal("1.2")
"""What the use of a processor or a memory may do to a price."""

OVERHEAD = Decimal("0.05")
MULTIPLIERS = {Tier.LIGHT: Decimal("3.773"), Tier.STANDARD: Decimal("3.03")}
"""How a class makes a dynamic price that says nothing else (docs/prices.md)."""

IN_VAIN_SECONDS = 75.0
"""How long a session may wait for money that is there: it is looked at once a minute."""

NO_ROOM_FOR = re.compile(r"has no room for the ([0-9.]+) USD")

MOST_SPARES = 4
"""No pool asks for more than two. As many may be on their way out, or come of lost answers."""

DEADLINE = timedelta(minutes=4)
MAXIMUM = timedelta(minutes=12)
NOTICE = timedelta(seconds=40)


class Violation(Exception):
    """Something that must never be was seen."""


@dataclass(slots=True)
class Life:
    """What the judge knows of one session."""

    uid: str
    key: str
    created: float
    annotations: dict[str, str] = field(default_factory=dict)
    changed: float = 0.0
    deleted: float | None = None
    gone: float | None = None
    tampered: bool = False
    forged: bool = False
    ready: bool = False
    checked: set[str] = field(default_factory=set)
    status: SessionStatus = field(default_factory=SessionStatus)
    finished: float | None = None
    warned: Counter = field(default_factory=Counter)
    doubled: float | None = None
    short_lived: float | None = None
    ready_since: float | None = None
    fits_since: float | None = None
    class_name: str = STANDARD
    prompt: str = ""
    prompt_changed: float = 0.0


class Judge:
    """Watches every change of the API server and the cloud."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.lives: dict[str, Life] = {}
        self.ledgers: dict[str, RecordStatus] = {}
        self.found_at: dict[str, float] = {}
        """When a ledger took in a droplet that showed up late: it may be the reaper's, whose time
        begins with that."""
        self._found: set[str] = set()
        self._deleted_by_hand: set[str] = set()
        self._replaced_at: dict[str, float] = {}
        self.dropped: dict[str, list[RecordStatus]] = {}
        self._noted: dict[str, float] = {}
        self.server: ApiServer
        self.cloud: Cloud
        self.claude: SimulatedClaude
        self.agents: SimulatedAgents
        self.deaths: dict[int, float] = {}
        self.starts: list[float] = []
        self._jumps = sorted((BEGIN + jump.at, jump.seconds) for jump in wire.story.of(ClockJump))
        self._sleeps = [(BEGIN + one.at, one.seconds) for one in wire.story.of(MachineSleep)]
        jumped = sum(abs(seconds) for _, seconds in self._jumps)
        self.clock_error = abs(wire.story.settings.skew_seconds) + jumped
        # The books count by the operator's clock, and a machine that sleeps ends nothing.
        self._slept = sum(seconds for _, seconds in self._sleeps)
        exact = self.clock_error + self._slept < EXACT_BOOKS_SECONDS
        self.money = Money(lambda: self.now, self.blame, exact=exact)

    def watch(self) -> Watch:
        return Watch(
            self.droplet_made,
            self.droplet_deleted,
            self.record_made,
            self.foreign,
            self.droplet_restarted,
        )

    def blame(self, words: str) -> None:
        """Stop the story here."""
        if self._wire.loop.halt is None:
            self._wire.note("judge", f"VIOLATION: {words}")
            self._wire.loop.halt = Violation(words)

    @property
    def now(self) -> float:
        return self._wire.loop.time()

    def _date_at(self, moment: float) -> datetime:
        """What the operator's clock says at a moment."""
        jumped = sum(seconds for at, seconds in self._jumps if at <= moment)
        return utc(moment + self._wire.story.settings.skew_seconds + jumped)

    def _date_by_age(self, moment: float) -> datetime:
        """What the operator takes a moment for that it remembers: its date, less the age by its
        monotonic clock, which stands still while the machine sleeps.
        """
        slept = sum(
            max(0.0, min(fell + seconds, self.now) - max(fell, moment))
            for fell, seconds in self._sleeps
        )
        return self._date_at(self.now) - timedelta(seconds=self.now - moment - slept)

    def _due(self, date: datetime) -> float:
        """The first moment from now on at which the operator's clock has reached a date."""
        turns = [self.now, *(at for at, _ in self._jumps if at > self.now)]
        reached = (at + max(0.0, (date - self._date_at(at)).total_seconds()) for at in turns)
        return next(
            moment
            for moment, turn in zip(reached, [*turns[1:], NEVER], strict=True)
            if moment < turn
        )

    # --- the cloud ---------------------------------------------------------------------------

    def foreign(self, what: str) -> None:
        self.blame(f"a foreign {what} was changed or deleted")

    def droplet_made(self, made: CloudDroplet) -> None:
        if made.session is None:
            return
        if not made.late:
            self.money.begins(made.session)
        # One that was given back is its own ledger's to delete.
        others = [
            known
            for known in self.cloud.living(made.session)
            if known is not made and (known.spare is None or self._is_listed(made.session, known))
        ]
        if others and not (made.late or any(known.late for known in others)):
            self.blame(
                f"a second droplet ({made.id}) was made while {others[0].id} of the same session "
                "is billed"
            )
        life = self.lives[made.session]
        if life.finished is not None and life.gone is None and not made.late:
            self.blame(f"droplet {made.id} was made for a session that is Destroyed")
        ledger = self.server.get("record", made.session)
        if ledger is None and not made.late:
            self.blame(f"droplet {made.id} was made before the ledger")

    def _is_listed(self, uid: str, droplet: CloudDroplet) -> bool:
        """Whether the session's ledger has the droplet, has not seen it gone, and no ledger of a
        spare says that it was given back.
        """
        if self.ledgers.get(droplet.spare or "", RecordStatus()).abandoned_at is not None:
            return False
        return any(
            entry.id == str(droplet.id) and entry.presence is not Presence.GONE
            for entry in self.ledgers.get(uid, RecordStatus()).resources
        )

    def droplet_deleted(self, droplet: CloudDroplet) -> None:
        for known in self.cloud.records.values():
            if (
                known.gone > self.now
                and known.record.data == droplet.ip
                and known.session == droplet.session
                and droplet.session is not None
                and not self._came_just_now(known)
            ):
                self.blame(
                    f"droplet {droplet.id} was deleted while {known.record.name} points at its "
                    f"address {droplet.ip}"
                )

    def _came_just_now(self, known: CloudRecord) -> bool:
        """Whether a name came so late, or showed so late, that it may be found after its droplet's
        deletion only.
        """
        if not known.late and known.seen <= known.made:
            return False
        came = known.seen
        return self.now < (self._wire.disturbed(came, came) or came) + FOUND_SECONDS

    def droplet_restarted(self, droplet: CloudDroplet, kind: str) -> None:
        if not droplet.harmed:
            self.blame(f"{kind} of droplet {droplet.id}, with which nothing was wrong")

    def _replaced(self, who: str, uid: str, before: RecordStatus) -> None:
        """A droplet was given up: one that was harmed, once, and no other within the minute."""
        after = self.ledgers[uid].replacements
        if len(after) <= len(before.replacements):
            return
        if len(after) > 1:
            self.blame(f"the droplet of {uid} was replaced twice")
        harmed = {str(one.id) for one in self.cloud.droplets.values() if one.harmed}
        if not harmed & set(after[-1].replaced):
            self.blame(f"a droplet of {uid} was replaced, with which nothing was wrong")
        if self.now < self._replaced_at.get(who, 0.0) + PACE_SECONDS:
            self.blame(f"{who} replaced two droplets within a minute")
        self._replaced_at[who] = self.now

    def record_made(self, made: CloudRecord) -> None:
        if made.session is None or made.late:
            return
        target = [
            one
            for one in (*self.cloud.living(made.session), *self.cloud.balancers_of(made.session))
            if one.ip == made.record.data
        ]
        if not target:
            hand = any(
                one.by_hand and one.ip == made.record.data
                for one in (*self.cloud.droplets.values(), *self.cloud.balancers.values())
            )
            if not hand:
                self.blame(
                    f"{made.record.name} was pointed at {made.record.data}, which is not "
                    "its session's droplet or load balancer"
                )

    # --- Claude ------------------------------------------------------------------------------

    def order_begun(self, paid: Paid) -> None:
        life = self.lives[paid.session]
        self.money.begins(paid.session)
        if paid.repairs > MAX_REPAIRS:
            self.blame(f"the app of {life.key} was repaired more than {MAX_REPAIRS} times")
        if self._is_stored(paid):
            self.blame(f"an app was ordered for {life.key} although one is stored")
        # What a user forged may make a session that was over go on.
        has_one = any(
            known.whole
            and (known.session, known.prompt, known.repairs)
            == (paid.session, paid.prompt, paid.repairs)
            and known.process is paid.process
            for known in self.claude.orders
        )
        if has_one and not life.forged:
            self.blame(f"an app was ordered for {life.key} by an operator that has one already")

    def _is_stored(self, paid: Paid) -> bool:
        """Whether what is ordered was stored, longer ago than a look at what is stored takes."""
        for number in count(1):
            name = "spawnai", bundle_name(paid.session, number)
            if name not in self.server.secrets:
                return False
            data, _ = self.server.secrets[name]
            _, generation = app_of(data)
            is_it = data[PROMPT_KEY].decode() == paid.prompt and generation.repairs >= paid.repairs
            if is_it and self.now - self.server.secrets_made_at[name] > LOOK_SECONDS:
                return True
        return False

    # --- the API server ----------------------------------------------------------------------

    def changed(self, who: str, kind: str, before: Body | None, after: Body | None) -> None:
        body = after or before
        assert body is not None
        self.money.changed(kind, before, after)
        if kind == "session":
            self._session(who, before, after, body)
        elif kind == "class":
            if who.startswith("operator") and is_held(before) and not is_held(after):
                self._class_let_go(body["metadata"]["name"], body["metadata"]["uid"])
        elif kind == "record":
            uid = body["metadata"]["name"]
            if after is not None:
                if before is None and uid in self.ledgers:
                    # Its time was over; then the reaper found something, and made a new one.
                    self.dropped.setdefault(uid, []).append(self.ledgers[uid])
                if who.startswith("operator") and is_held(before) and not is_held(after):
                    self._ledger_released(uid)
                known = self.ledgers.get(uid, RecordStatus())
                was_open = uid in self.ledgers and self.ledgers[uid].completed_at is None
                self.ledgers[uid] = RecordStatus.model_validate(after.get("status") or {})
                if uid in self.lives:  # A spare's age begins with the session that takes it.
                    for entry in self.ledgers[uid].resources:
                        self._noted.setdefault(entry.id, self.now)
                self._replaced(who, uid, known)
                if was_open and self.ledgers[uid].completed_at is not None:
                    self._spare_is_gone_or_taken(uid)
                    self._log_is_of_the_end(uid)
                    self._was_told_to_stop(uid)
                self._note_found(uid)
            elif uid in self.lives:
                if is_held(before):
                    self._ledger_released(uid)
                self._record_deleted(uid)

    def _spare_is_gone_or_taken(self, uid: str) -> None:
        """The ledger of a spare is closed: its droplet is gone, or a session's."""
        for one in self.cloud.droplets.values():
            if one.spare == uid and one.session is None and not one.late and self.now < one.gone:
                self.blame(f"the ledger of a spare was closed while its droplet {one.id} lives")

    def _log_is_of_the_end(self, uid: str) -> None:
        """What the ledger keeps is what the app said shortly before its droplet went.

        The log is written when the ledger is closed; an operator that dies before takes it along.
        """
        life, droplet = self.lives.get(uid), self._only_droplet(uid)
        if life is None or droplet is None:
            return
        machine, end = self.agents.machines.get(droplet.id), droplet.accepted
        if machine is None or not machine.is_process or self.agents.breaks_at(droplet) <= end:
            return
        if self._wire.disturbed(end - 30, self.now) is not None:
            return
        said = self.ledgers[uid].log
        if not said or float(said[-1]) < end - LOG_SECONDS:
            self.blame(f"the log of {life.key} is not that of its end, but {said or 'empty'}")

    def idle_write(self, what: str) -> None:
        """Writing again because an answer was lost, or a watch is behind, is no fault."""
        if self._wire.disturbed(self.now - 10, self.now) is None:
            self.blame(f"a write that changes nothing: {what}")

    def _session(self, who: str, before: Body | None, after: Body | None, body: Body) -> None:
        uid = body["metadata"]["uid"]
        life = self.lives.setdefault(
            uid,
            Life(uid, f"{body['metadata']['namespace']}/{body['metadata']['name']}", self.now),
        )
        life.class_name = body["spec"].get("className") or STANDARD
        if life.prompt != body["spec"]["prompt"]:
            life.prompt, life.prompt_changed = body["spec"]["prompt"], self.now
        annotations = body["metadata"].get("annotations") or {}
        if annotations != life.annotations:
            life.annotations, life.changed = annotations, self.now
        if body["metadata"].get("deletionTimestamp") and life.deleted is None:
            life.deleted = self.now
        operator = who.startswith("operator")
        if operator and is_held(before) and not is_held(after):
            self._finalizer_removed(life)
        if after is None:
            if operator and life.deleted is None:
                self._tombstone_deleted(life)
            life.gone = life.finished = self.now
            return
        status = SessionStatus.model_validate(after.get("status") or {})
        if operator and status != life.status:
            self._status(life, status)
        life.status = status
        if status.phase is Phase.DESTROYED and FINALIZER not in (
            after["metadata"].get("finalizers") or []
        ):
            life.finished = life.finished or self.now
        # A readiness that a user wrote promises no prompt end: a name may still be settled then.
        if (
            operator
            and status.expiration_time is not None
            and life.ready
            and status.ready_at is not None
        ):
            self._expect_end(life, status)

    def _class_let_go(self, name: str, uid: str) -> None:
        """A class that is in use waits, and takes its firewall along."""
        for life in self.lives.values():
            left = self.left_of(life.uid)
            if left and life.class_name == name:
                self.blame(f"the class was let go while {left[0]} of {life.key} lives")
        for firewall in self.cloud.firewalls.values():
            if firewall.order.name == class_firewall_name(uid) and self.now < firewall.gone:
                self.blame(f"the class was let go while its firewall {firewall.id} lives")

    def _finalizer_removed(self, life: Life) -> None:
        left = self.left_of(life.uid)
        if left:
            self.blame(f"the finalizer of {life.key} was removed while {left[0]} lives")

    def _tombstone_deleted(self, life: Life) -> None:
        """By the operator, and nobody asked for it but the class."""
        kept, ended = self._wire.story.settings.kept_seconds, life.status.destroyed_at
        if kept is None or ended is None or life.status.phase is not Phase.DESTROYED:
            self.blame(f"{life.key} was deleted, and nobody had asked for it")
        elif not life.forged and self._latest_date_of_a_call() < ended + timedelta(seconds=kept):
            self.blame(f"{life.key} was deleted before its time")

    def _note_found(self, uid: str) -> None:
        late = {str(one.id) for one in self.cloud.droplets.values() if one.late}
        for entry in self.ledgers[uid].resources:
            if entry.id in late and entry.id not in self._found:
                self._found.add(entry.id)
                self.found_at[uid] = self.now

    def left_of(self, uid: str, *, late: bool = False) -> list[str]:
        """What of the session exists in the cloud.

        A droplet that showed up later than a POST may take is only counted when an open ledger has
        it, or when `late`: it is the reaper's.
        """
        now = self.now
        ledger = self.ledgers.get(uid, RecordStatus())
        closed = ledger.completed_at is not None or ledger.termination_reason == ORPHANED
        noted = set() if closed else {entry.id for entry in ledger.resources}
        return [
            *(
                f"droplet {d.id}"
                for d in self.cloud.droplets.values()
                if d.session == uid
                and now < d.gone
                and (late or not d.late or str(d.id) in noted)
                and (d.spare is None or self._is_listed(uid, d))
            ),
            *(
                f"DNS record {r.record.id}"
                for r in self.cloud.records.values()
                if r.session == uid
                and now < r.gone
                # What somebody pointed elsewhere before we saw it is theirs now.
                and (not r.by_hand or str(r.record.id) in noted)
            ),
            *(
                f"firewall {f.id}"
                for f in self.cloud.firewalls.values()
                if f.session == uid and now < f.gone
            ),
            *(
                f"load balancer {one.id}"
                for one in self.cloud.balancers.values()
                if one.session == uid and now < one.gone
            ),
        ]

    def _status(self, life: Life, status: SessionStatus) -> None:
        old = life.status.phase or Phase.REQUESTED
        new = status.phase or Phase.REQUESTED
        made = self.left_of(life.uid) or any(
            entry.presence for entry in self.ledgers.get(life.uid, RecordStatus()).resources
        )
        quiet = new is Phase.DESTROYED and not made
        if new is not old and new not in STEPS[old] and not quiet:
            self.blame(f"{life.key} went from {old} to {new}")
        if status.droplet is not None and not life.tampered:
            droplet = self.cloud.droplets.get(status.droplet.id)
            if droplet is None or droplet.session != life.uid:
                self.blame(f"the status of {life.key} names droplet {status.droplet.id}")
        if (
            status.ready_at is not None
            and status.expiration_time is not None
            and status.expiration_time > self._latest_end(life, status.ready_at)
            and not (life.tampered and life.status.expiration_time == status.expiration_time)
        ):
            self.blame(f"{life.key} was promised {status.expiration_time}, beyond the maximum")
        if status.termination_reason == "DropletLost" and life.status.termination_reason is None:
            by_hand = (one.by_hand for one in self.cloud.droplets.values())
            if not any(by_hand):
                self.blame(f"{life.key} lost its droplet, though nobody deleted it by hand")
        if status.phase is Phase.DESTROYED and old is not Phase.DESTROYED:
            left = self.left_of(life.uid)
            if left:
                self.blame(f"{life.key} is called Destroyed while {left[0]} lives")
        if status.ready_at is not None and life.status.ready_at is None:
            healthy = any(
                known.type == ConditionType.APP_HEALTHY and known.status == "True"
                for known in status.conditions
            )
            if not healthy:
                self.blame(f"{life.key} is called ready, but its app does not answer")
            life.ready = True
            life.ready_since = self.now
        if status.termination_reason == "Expired" and life.status.termination_reason is None:
            self._was_no_failure(life)

    def _was_no_failure(self, life: Life) -> None:
        """An app that stopped for good did not just come to the end of its time.

        It is asked for the last time five seconds before an end that was known for long enough.
        """
        broke = self._broke_at(life)
        if broke is None or self._is_unsure(life) or self.now < max(life.changed, broke) + 10:
            return
        ledger = self.ledgers.get(life.uid)
        replaced = ledger.replacements if ledger is not None else ()
        if self.cloud.balancers and replaced and not replaced[-1].finished_at:
            return  # It is asked again once its new load balancer leads to it.
        if self._wire.disturbed(min(broke, self.now - 30), self.now) is None:
            self.blame(f"{life.key} is called Expired, though its app had stopped for good")

    def _broken_is_said(self, life: Life) -> None:
        """An app that stopped for good is not called a running one for long."""
        broke, ready = self._broke_at(life), life.ready_since
        runs = life.status.phase is Phase.RUNNING and life.deleted is None
        if broke is None or ready is None or not runs or self._is_unsure(life):
            return
        if _says(life, ConditionType.STALLED, "AppCrashed") or any(
            begun > ready for begun in self.starts
        ):
            return
        lived = max(broke - ready, 0.0)
        disturbed = self._wire.disturbed(broke - lived, self.now) or broke
        if self.now > max(broke, disturbed) + lived + SEEN_BROKEN_SECONDS:
            self.blame(f"{life.key} is called running, though its app has stopped for good")

    def _is_stopped_for_its_end_only(self, life: Life) -> None:
        """An app that was stopped for an end which is put off serves again before long."""
        promised, machines = life.status.expiration_time, self._machines_of(life.uid)
        stopped = [one.stopped_at for one in machines if one.stopped_at < NEVER]
        runs = life.status.phase is Phase.RUNNING and life.deleted is None
        if not stopped or not runs or self._is_unsure(life) or promised is None:
            return
        since = max(min(stopped), life.changed)
        if promised < self._date_at(self.now) + timedelta(seconds=10):
            return
        if any(begun > min(stopped) - 60 for begun in self.starts):
            return
        if self.now > (self._wire.disturbed(since - 30, self.now) or since) + STOPPED_SECONDS:
            self.blame(f"the app of {life.key} stands still, though it ends only at {promised}")

    def _only_droplet(self, uid: str) -> CloudDroplet | None:
        """The one droplet of a session that nobody tampered with; None where it is not so."""
        life = self.lives.get(uid)
        droplets = [one for one in self.cloud.droplets.values() if one.session == uid]
        if life is None or self._is_unsure(life) or len(droplets) != 1 or droplets[0].harmed:
            return None
        return droplets[0]

    def _was_told_to_stop(self, uid: str) -> None:
        """An app whose end was known is stopped before its droplet goes."""
        life, droplet = self.lives.get(uid), self._only_droplet(uid)
        if life is None or droplet is None:
            return
        machine, end = self.agents.machines.get(droplet.id), droplet.accepted
        known_since = max(life.changed, life.ready_since or end) + STOPPED_SECONDS
        if machine is None or life.status.termination_reason != "Expired" or known_since > end:
            return
        if self.agents.breaks_at(droplet) <= end or machine.stopped_at <= end:
            return
        if self._wire.disturbed(end - 30, self.now) is None:
            self.blame(f"the app of {life.key} was not told of its end")

    def _machines_of(self, uid: str) -> list[Machine]:
        answering = [one for one in self.cloud.living(uid) if one.answers]
        machines = [self.agents.machines.get(one.id) for one in answering]
        return [one for one in machines if one is not None]

    def _is_unsure(self, life: Life) -> bool:
        return life.forged or life.tampered or life.ready_since is None

    def _broke_at(self, life: Life) -> float | None:
        """When the app of the session's droplet stopped for good, if it has."""
        living = self.cloud.living(life.uid)
        if any(one.harmed for one in living):
            return None
        broke = [self.agents.breaks_at(one) for one in living]
        return broke[0] if len(broke) == 1 and broke[0] <= self.now else None

    def _latest_end(self, life: Life, ready_at: datetime) -> datetime:
        """Until when the session may live. What a user wrote into its status does not count."""
        begun = ready_at
        notice = utc(0)
        if life.tampered:
            # An end far off that was forged while no operator ran ends with the class's notice.
            notice = self._date_at(self.now) + NOTICE
        if life.forged:
            # An operator knows a droplet's age since it put it down in its ledger.
            made = [
                self._noted.get(str(one.id), one.created)
                for one in self.cloud.droplets.values()
                if one.session == life.uid
            ]
            latest = max(made, default=self.now)
            # One that starts later knows only DigitalOcean's date.
            begun = max(self._date_by_age(latest), utc(latest)) + DEADLINE
        return max(begun + MAXIMUM, notice) + timedelta(seconds=1)

    def ledger_deleted_by_hand(self, uid: str) -> None:
        """It goes once it is closed, and need not be kept for its time."""
        self._deleted_by_hand.add(uid)

    def _ledger_released(self, uid: str) -> None:
        if self.ledgers[uid].completed_at is None:
            self.blame(f"the open ledger {uid} was let go")

    def _record_deleted(self, uid: str) -> None:
        ledger = self.ledgers[uid]
        if ledger.completed_at is None:
            self.blame(f"the open ledger {uid} was deleted")
        elif uid in self._deleted_by_hand:
            return
        elif self._latest_date_of_a_call() < ledger.completed_at + self._wire.story.retention:
            self.blame(f"the ledger {uid} was deleted before its time")

    def _latest_date_of_a_call(self) -> datetime:
        """The latest date at which a call that arrives now can have been decided on."""
        sent = self.now - CLIENT_LIMIT_SECONDS
        moments = [sent, self.now, *(at - 1e-3 for at, _ in self._jumps if sent < at < self.now)]
        return max(map(self._date_at, moments))

    # --- the expiry --------------------------------------------------------------------------

    def _expect_end(self, life: Life, status: SessionStatus) -> None:
        assert status.expiration_time is not None
        mark = status.expiration_time.isoformat()
        if mark in life.checked or status.termination_reason is not None:
            return
        life.checked.add(mark)
        self._check_when_due(life, status.expiration_time)

    def _check_when_due(self, life: Life, expiry: datetime) -> None:
        due = self._due(expiry)
        check = due + PROMPT_SECONDS
        self._wire.loop.outside(check - self.now + 0.001, self._check_end, life, expiry, due)

    def _check_end(self, life: Life, expiry: datetime, due: float) -> None:
        # One that shows up after the settling time is found by a walk; `look` bounds that.
        living = [droplet for droplet in self.cloud.living(life.uid) if not droplet.late]
        promised = life.status.expiration_time
        if not living or life.gone is not None or promised is None:
            return
        if self._date_at(self.now) < expiry:  # the clock was set back meanwhile
            self._check_when_due(life, expiry)
            return
        if promised > expiry or (self.now - life.changed) < 8:
            if promised <= self._date_at(self.now):  # look again once the change has been seen
                self._wire.loop.outside(5, self._check_end, life, expiry, due)
            return
        disturbed = self._wire.disturbed(due - 5, self.now) or self._name_settles(life, due)
        if disturbed is None:
            late = self.now - due
            self.blame(
                f"{life.key} expired at {expiry:%H:%M:%S} and its droplet {living[0].id} still has "
                f"not been told {late:.1f} s later, though everything answers"
            )
            return
        if self.now < disturbed + RECOVERY_SECONDS:
            wait = disturbed + RECOVERY_SECONDS - self.now + 0.001
            self._wire.loop.outside(wait, self._check_end, life, expiry, due)
            return
        self.blame(
            f"{life.key} expired at {expiry:%H:%M:%S} and its droplet {living[0].id} still has not "
            f"been told {self.now - disturbed:.1f} s after everything answers again"
        )

    def _name_settles(self, life: Life, due: float) -> float | None:
        """Until when a droplet waits for a second name of its session to show up or not: an
        operator that was started since takes one whose answer was lost for one of two.
        """
        if not any(start > life.created for start in self.starts):
            return None
        ends = [
            begin + NAME_SECONDS
            for begin, _, why in self._wire.disturbances
            if why.startswith("POST record") and begin > life.created
        ]
        return max((end for end in ends if end > due), default=None)

    # --- from time to time, and at the end ---------------------------------------------------

    def look(self) -> None:
        """What may be for a moment, but not for long."""
        for life in self.lives.values():
            living = self.cloud.living(life.uid)
            if len(living) < 2:
                life.doubled = None
                continue
            life.doubled = life.doubled or self.now
            disturbed = self._wire.disturbed(life.doubled, self.now) or life.doubled
            if self.now > disturbed + SETTLING_SECONDS:
                ids = ", ".join(str(droplet.id) for droplet in living)
                self.blame(f"{life.key} has had two droplets for too long: {ids}")
        for known in self.cloud.records.values():
            if known.session is not None and self.now < known.gone and not known.by_hand:
                self._leads_home(known)
        for life in self.lives.values():
            self._ends_itself_no_sooner_than_promised(life)
            self._broken_is_said(life)
            self._is_stopped_for_its_end_only(life)
            self._waits_for_no_money_that_is_there(life)
            self._prompt_is_served(life)
        self._no_one_outlives_his_class()
        spares = [
            one
            for one in self.cloud.droplets.values()
            if one.spare is not None and one.session is None and one.accepted == NEVER
        ]
        if len(spares) > MOST_SPARES:
            self.blame(f"there are {len(spares)} spares")

    def _prompt_is_served(self, life: Life) -> None:
        """A new prompt has its version before long, or the session says why not."""
        runs = life.status.phase is Phase.RUNNING and life.deleted is None
        if not runs or self._is_unsure(life) or life.ready_since is None:
            return
        status, wanted = life.status, prompt_digest(life.prompt)
        is_served = any(
            one.revision == status.revision and one.prompt_digest == wanted and not one.failed
            for one in status.revisions
        )
        told = any(one.type == ConditionType.UPDATE_FAILED for one in status.conditions)
        if is_served or told or any(begun > life.ready_since for begun in self.starts):
            return
        since = max(life.prompt_changed, life.ready_since)
        if any(one.harmed for one in self.cloud.living(life.uid)):
            return
        if self.now > (self._wire.disturbed(since, self.now) or since) + REVISED_SECONDS:
            self.blame(f"{life.key} runs, and nothing became of its prompt {life.prompt!r}")

    def _waits_for_no_money_that_is_there(self, life: Life) -> None:
        """Whoever fits into the budget begins, whether another gave money back, or a person."""
        asked = None
        waits = _says(life, ConditionType.RECONCILING, "WaitingForBudget")
        if waits and life.deleted is None and life.finished is None:
            asked = NO_ROOM_FOR.search(life.status.message or "")
        served = self.server.get("class", life.class_name)
        is_served = served is not None and served["metadata"].get("deletionTimestamp") is None
        if asked is None or not is_served or not self.money.has_room_for(Decimal(asked[1])):
            life.fits_since = None
            return
        since = life.fits_since = life.fits_since or self.now
        if self.now > (self._wire.disturbed(since, self.now) or since) + IN_VAIN_SECONDS:
            self.blame(f"{life.key} waits for {asked[1]} USD, which nobody uses or has reserved")

    def _ends_itself_no_sooner_than_promised(self, life: Life) -> None:
        """A droplet's own switch is not behind the promise, but for a moment."""
        promised = life.status.expiration_time
        runs = life.ready and not life.forged and life.status.phase is Phase.RUNNING
        # One that somebody made by hand with a session's marks has no switch.
        runs = runs and all(one.answers and not one.late for one in self.cloud.living(life.uid))
        # The switch stands where it was set at birth while a load balancer takes its minutes.
        replaced = self.ledgers.get(life.uid, RecordStatus()).replacements
        runs = runs and not (self.cloud.balancers and replaced and not replaced[-1].finished_at)
        switch = self._switch_of(life.uid) if runs else None
        if promised is None or switch is None or switch >= promised:
            life.short_lived = None
            return
        since = life.short_lived = life.short_lived or self.now
        wait = SWITCH_SECONDS
        if any(begun > since - 60 for begun in self.starts):
            wait = SWITCH_AFTER_RESTART_SECONDS
        if self.now > (self._wire.disturbed(since - 60, self.now) or since) + wait:
            self.blame(f"the droplet of {life.key} would end itself before the promised {promised}")

    def _switch_of(self, uid: str) -> datetime | None:
        """The earliest time at which a living droplet of the session ends itself."""
        machines = [self.agents.machines.get(one.id) for one in self.cloud.living(uid)]
        return min((one.expires_at for one in machines if one is not None), default=None)

    def _no_one_outlives_his_class(self) -> None:
        """Whatever a user writes, no droplet lives beyond the class's maximum."""
        longest = (DEADLINE + MAXIMUM).total_seconds() + self.clock_error + self._slept
        for droplet in self.cloud.droplets.values():
            if droplet.session is None or droplet.late or droplet.accepted < NEVER:
                continue
            due = droplet.created + longest
            disturbed = self._wire.disturbed(due - 5, self.now) or due
            if self.now > max(due, disturbed) + END_SECONDS:
                self.blame(f"droplet {droplet.id} has outlived the class's maximum")

    def _leads_home(self, known: CloudRecord) -> None:
        """A name may lead astray only after its droplet was deleted by hand, and not for long."""
        droplets = [
            droplet
            for droplet in (*self.cloud.droplets.values(), *self.cloud.balancers.values())
            if droplet.session == known.session and droplet.ip == known.record.data
        ]
        if any(droplet.gone == NEVER for droplet in droplets):
            return
        since = max((droplet.gone for droplet in droplets), default=known.listed)
        disturbed = self._wire.disturbed(since, self.now) or since
        wait = ASTRAY_SECONDS
        if any(begun > since - 60 for begun in self.starts):
            wait = ASTRAY_AFTER_RESTART_SECONDS
        if self.now > disturbed + wait:
            self.blame(f"{known.record.name} still points at {known.record.data}, a stranger's")

    def unfinished(self) -> list[str]:
        """Sessions and resources that have not reached their end."""
        left = [
            f"{life.key} ({life.status.phase}: {life.status.message})"
            for life in self.lives.values()
            if life.finished is None and not self._rests(life)
        ]
        for uid in self.lives:
            left += self.left_of(uid, late=True)
        left += [
            f"ledger {uid}"
            for uid, ledger in self.ledgers.items()
            if uid in self.lives
            and ledger.completed_at is None
            and not self._rests(self.lives[uid])
        ]
        left += [
            f"spare {one.id}"
            for one in self.cloud.droplets.values()
            if one.spare is not None and one.session is None and self.now < one.gone
        ]
        left += [
            f"ledger {body['metadata']['name']} of a spare"
            for body in self.server.all("record")
            if body["spec"]["owner"]["kind"] == POOL_OWNER
            and not (body.get("status") or {}).get("completedAt")
        ]
        if self._class_is_deleted() and not self._an_owner_is_awaited():
            left.append("the deleted class")
        return left

    def _rests(self, life: Life) -> bool:
        """Whether the session waits for its owner, or for a class that waits for another's owner,
        and nothing was made for it.
        """
        if self._waits_for_its_owner(life):
            return True
        waits = _says(life, ConditionType.RECONCILING, "ClassDeleting") and life.deleted is None
        return waits and self._class_is_deleted() and self._an_owner_is_awaited()

    def _waits_for_its_owner(self, life: Life) -> bool:
        begun = life.status.phase not in (None, Phase.REQUESTED)
        says = _says(life, ConditionType.STALLED, "InvalidExpiry")
        return says and not begun and life.deleted is None

    def _an_owner_is_awaited(self) -> bool:
        """Whether the default class waits for a session whose owner has to mend it first."""
        return any(
            self._waits_for_its_owner(life)
            for life in self.lives.values()
            if life.class_name == STANDARD
            and life.uid in self.ledgers
            and self.ledgers[life.uid].completed_at is None
        )

    def _class_is_deleted(self) -> bool:
        return any(
            body["metadata"].get("deletionTimestamp") is not None
            for body in self.server.all("class")
        )

    def accounts(self) -> None:
        """The books, when all is over."""
        for droplet in self.cloud.droplets.values():
            if droplet.session is not None and droplet.spare is None:
                self._droplet_in_ledger(droplet)
        self._spares_are_in_the_books()
        for known in self.cloud.records.values():
            if known.session is not None and not self._was_taken_over(known):
                self._in_ledger(known.session, ResourceKind.DOMAIN_RECORD, str(known.record.id))
        for firewall in self.cloud.firewalls.values():
            if firewall.session is not None and firewall.session in self.lives:
                self._in_ledger(firewall.session, ResourceKind.FIREWALL, firewall.id)
        for balancer in self.cloud.balancers.values():
            if balancer.session is not None and balancer.session in self.lives:
                self._in_ledger(balancer.session, ResourceKind.LOAD_BALANCER, balancer.id)
        for words in self.cloud.dangling:
            self.blame(words)
        for uid, life in self.lives.items():
            self._sums(uid)
            self._tokens(uid)
            if life.class_name == METERED:
                self._is_measured_once(uid)
                self._price_follows_use(life)

    def _spares_are_in_the_books(self) -> None:
        """Each has a ledger that says what it cost, and was one session's or nobody's."""
        for droplet in self.cloud.droplets.values():
            if droplet.spare is None or ("droplet", str(droplet.id)) in self.cloud.foreign:
                continue
            self._in_ledger(droplet.spare, ResourceKind.DROPLET, str(droplet.id))
            takers = [
                uid
                for uid in self.lives
                for ledger in self._pages(uid)
                if any(entry.id == str(droplet.id) for entry in ledger.resources)
            ]
            if len(set(takers)) > 1:
                self.blame(f"the spare {droplet.id} is in the ledgers of {', '.join(takers)}")

    def certificates(self, acme: SimulatedAcme) -> None:
        """Each was issued once for an address of a session, stands in a ledger, and was revoked
        unless the server was away just then. A droplet that takes another one's place gets its own,
        also where DigitalOcean gives it the address of the one before.
        """
        lines = {
            entry.id: uid
            for uid in self.lives
            for ledger in self._pages(uid)
            for entry in ledger.resources
            if entry.kind is ResourceKind.CERTIFICATE
        }
        issued = [order for order in acme.orders.values() if order.issued_at is not None]
        seen: dict[tuple[str, str], list[str]] = {}
        droplets = Counter((one.session, one.ip) for one in self.cloud.droplets.values())
        for order in issued:
            uid = lines.get(order.url)
            if uid is None:
                self.blame(f"a certificate for {order.identifier} stands in no ledger")
            urls = seen.setdefault((uid, order.identifier), [])
            urls.append(order.url)
            if len(urls) > max(1, droplets[uid, order.identifier]):
                self.blame(f"{order.identifier} got several certificates: {', '.join(urls)}")
            if order.revoked_at is None and not self._acme_was_disturbed(order.issued_at):
                self.blame(f"the certificate of {order.url} was not revoked")

        if not self._jumps and not self._sleeps:
            for uid in {lines[order.url] for order in issued}:
                self._waited_for_nobody(uid)

    def _waited_for_nobody(self, uid: str) -> None:
        """An ACME server that is away holds no end up once the droplet has gone."""
        ledger = self._pages(uid)[-1]
        gone = [
            entry.gone_at
            for entry in ledger.resources
            if entry.kind is ResourceKind.DROPLET and entry.gone_at is not None
        ]
        if ledger.completed_at is None or not gone:
            return
        seconds = (ledger.completed_at - max(gone)).total_seconds()
        began = self.now - (self._date_at(self.now) - max(gone)).total_seconds()
        others = any(
            since <= began + seconds and until >= began - CLIENT_LIMIT_SECONDS and "ACME" not in why
            for since, until, why in self._wire.disturbances
        )
        if seconds > REVOCATION_SECONDS and not others:
            self.blame(f"{uid} waited {seconds:.0f} s for its certificate's revocation")

    def _acme_was_disturbed(self, since: float) -> bool:
        return any(until >= since and "ACME" in why for _, until, why in self._wire.disturbances)

    def _was_taken_over(self, known: CloudRecord) -> bool:
        """Whether somebody changed a name before any ledger had it: nothing tells whose it was."""
        return known.by_hand and not any(
            entry.kind is ResourceKind.DOMAIN_RECORD and entry.id == str(known.record.id)
            for ledger in self._pages(known.session or "")
            for entry in ledger.resources
        )

    def _pages(self, uid: str) -> list[RecordStatus]:
        """Every ledger that a session has had, the one there is now first."""
        now = [self.ledgers[uid]] if uid in self.ledgers else []
        return [*now, *self.dropped.get(uid, [])]

    def _in_ledger(self, uid: str, kind: ResourceKind, id_: str):
        entry = next(
            (
                entry
                for ledger in self._pages(uid)
                for entry in ledger.resources
                if entry.kind is kind and entry.id == id_
            ),
            None,
        )
        if entry is None:
            self.blame(f"{kind} {id_} was made, but no ledger has it")
        elif entry.presence is not Presence.GONE or entry.gone_at is None:
            self.blame(f"{kind} {id_} is gone, but its ledger says {entry.presence}")
        return entry

    def _droplet_in_ledger(self, droplet: CloudDroplet) -> None:
        noted = any(
            entry.id == str(droplet.id)
            for ledger in self._pages(droplet.session or "")
            for entry in ledger.resources
        )
        if droplet.by_hand and not noted and self._wire.disturbed(droplet.created, droplet.gone):
            return  # Gone before any operator could have seen it.
        entry = self._in_ledger(droplet.session or "", ResourceKind.DROPLET, str(droplet.id))
        if entry is None or entry.cost is None:
            if entry is not None:
                self.blame(f"the ledger does not say what droplet {droplet.id} cost")
            return
        accepted, price = droplet.accepted, SIZES[droplet.size]
        start = utc(droplet.created).replace(microsecond=0)
        slack = self.clock_error + PROMPT_SECONDS
        least = droplet_cost_between(price, start, max(start, utc(accepted - slack)))
        until = accepted + slack
        if droplet.by_hand or self._wire.disturbed(accepted - 30, accepted + 30) is not None:
            until = max(until, self.now + slack)
        most = droplet_cost_between(price, start, utc(until))
        cent = Decimal("0.000002")
        if not least - cent <= Decimal(entry.cost) <= most + cent:
            self.blame(
                f"the ledger says that droplet {droplet.id} cost {entry.cost}, the cloud billed "
                f"{droplet.cost(self.now):.6f}"
            )

    def _sums(self, uid: str) -> None:
        for ledger in self._pages(uid):
            self._sum(uid, ledger)

    def _sum(self, uid: str, ledger: RecordStatus) -> None:
        lines = [Decimal(entry.cost) for entry in ledger.resources if entry.cost is not None]
        lines += [Decimal(entry.cost) for entry in ledger.generations]
        if abs(sum(lines, Decimal(0)) - Decimal(ledger.total_cost or "0")) > Decimal("0.000001"):
            self.blame(f"the ledger {uid} sums up to {sum(lines)}, but says {ledger.total_cost}")
        for entry in ledger.resources:
            if entry.kind is ResourceKind.DROPLET:
                droplet = self.cloud.droplets.get(int(entry.id))
                if entry.spare is not None and droplet is not None and droplet.session is None:
                    continue  # It ended before the spare's agent was handed over.
                if droplet is None or droplet.session != uid:
                    self.blame(f"the ledger {uid} lists a foreign droplet, {entry.id}")

    def _is_measured_once(self, uid: str) -> None:
        """No second that an agent has measured is in a ledger twice."""
        told = [
            sample
            for droplet in self.cloud.droplets.values()
            if droplet.session == uid
            for sample in self.agents.measured(droplet)
        ]
        for ledger in self._pages(uid):
            usage = ledger.usage or UsageTotals()
            if usage.measured_seconds > sum(sample.seconds for sample in told):
                self.blame(
                    f"the ledger {uid} counts {usage.measured_seconds} s, more than there were"
                )

    def _price_follows_use(self, life: Life) -> None:
        """A dynamic price was shown as a range; no agent that lies leaves it."""
        cost = life.status.cost
        price = cost.price if cost is not None else None
        if cost is None or price is None or price.estimated is None or self._is_unsure(life):
            return
        lowest, highest = Decimal(price.lowest or 0), Decimal(price.highest or 0)
        if not lowest < Decimal(price.estimated) < highest:
            self.blame(f"{life.key} shows no range of prices, but {lowest} to {highest}")
        if life.status.phase is not Phase.DESTROYED:
            return
        cpu, memory = Decimal(price.cpu or 0), Decimal(price.memory or 0)
        if not all(LEAST_FACTOR <= factor <= MOST_FACTOR for factor in (cpu, memory)):
            self.blame(f"the price of {life.key} has factors {cpu} and {memory}")
        usual = Decimal(cost.actual or 0) * (1 + OVERHEAD) * MULTIPLIERS[life.status.tier]
        if abs(Decimal(price.final or 0) - usual * cpu * memory) > Decimal("0.00001"):
            self.blame(f"{life.key} cost {cost.actual}, and its price is {price.final}")

    def _tokens(self, uid: str) -> None:
        # A ledger that was deleted, and is made again, says the same once more.
        orders = set()
        for ledger in self._pages(uid):
            entries = [
                (entry.started_at, entry.input_tokens, entry.output_tokens)
                for entry in ledger.generations
            ]
            if len(set(entries)) < len(entries):
                self.blame(f"the ledger {uid} notes an order to Claude twice")
            orders.update(entries)
        noted = Counter((read, written) for _, read, written in orders)
        # What must be there is looked for first; what is left over may be what a crash lost.
        for paid in sorted(self.claude.orders, key=self._may_be_lost):
            if paid.session != uid or not (paid.input_tokens or paid.output_tokens):
                continue
            bill = (paid.input_tokens, paid.output_tokens)
            if noted[bill] > 0:
                noted[bill] -= 1
                continue
            if not self._may_be_lost(paid):
                self.blame(f"an order to Claude ({bill} tokens) is in no ledger")
        extra = +noted
        if extra:
            self.blame(f"the ledger {uid} lists orders that Claude never counted: {dict(extra)}")

    def _may_be_lost(self, paid: Paid) -> bool:
        """Whether the order's operator died before it can have written what was paid."""
        died = self.deaths.get(paid.process.number)
        ended = paid.ended if paid.ended is not None else self.now
        return died is not None and died <= ended + LEDGER_DELAY_SECONDS


def _says(life: Life, type_: ConditionType, reason: str) -> bool:
    return any(
        known.type == type_ and known.status == "True" and known.reason == reason
        for known in life.status.conditions
    )
