"""A story: what users do and what goes wrong, drawn from a seed, told in sentences, and shortened.

A story is a value. The same story always runs the same way; the seed in it also decides what no
story names (how long each call takes, when a watch shows a change, which answer an app gives).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

CALLS = (
    "POST droplet",
    "GET droplet",
    "LIST droplets by name",
    "LIST droplets by tag",
    "DELETE droplet",
    "POST record",
    "GET record",
    "LIST records",
    "DELETE record",
    "POST firewall",
    "GET firewall",
    "LIST firewalls",
    "DELETE firewall",
    "GET sizes",
    "GET domain",
    "POST tag",
    "API patch session",
    "API patch session-status",
    "API get session",
    "API create record",
    "API get record",
    "API patch record-status",
    "API delete record",
    "API patch class",
    "API patch class-status",
    "API get secret",
    "API create secret",
    "CLAUDE order",
    "AGENT status",
    "AGENT push",
    "AGENT expiry",
)
ACME_CALLS = (
    "ACME place",
    "ACME order",
    "ACME authorization",
    "ACME answer",
    "ACME finalize",
    "ACME chain",
    "ACME revoke",
    "AGENT challenge",
    "AGENT certificate",
    "AGENT hosts",
)
BALANCER_CALLS = (
    "POST load balancer",
    "GET load balancer",
    "LIST load balancers",
    "DELETE load balancer",
    "PUT firewall",
    "LIST certificates",
    "POST certificate",
)
POOL_CALLS = ("AGENT take over", "TAG droplet", "RENAME droplet", "UNTAG droplet", "POST droplet")
# What came later is drawn apart: AGENT stop, AGENT restart, AGENT usage, POST action.
# The calls that make or end something: faults there hurt most, so half of all fall on them.
WRITES = (
    "POST droplet",
    "DELETE droplet",
    "POST record",
    "DELETE record",
    "POST firewall",
    "DELETE firewall",
    "API patch session",
    "API patch session-status",
    "API create record",
    "API patch record-status",
    "API create secret",
    "CLAUDE order",
)

SHOWS_LATE = "shows late"

METERED = "metered"
"""A second class, whose prices follow how busy a droplet is. It exists where an order names it."""

FAULTS = {
    "fails before": "fails, nothing happened",
    "answer lost": "happens, but its answer is lost",
    "never arrives": "is lost on its way, and nobody can say so",
    "slow": "takes 6 seconds",
    "hangs": "happens, and its answer never comes",
}
CLOUD_FAULTS = FAULTS | {"rate limited": "is answered 429"}
DROPLET_FAULTS = CLOUD_FAULTS | {
    "no capacity": "finds no room in that region",
    SHOWS_LATE: "gets no answer, and what it makes shows up only after 40 seconds",
}
CLAUDE_FAULTS = {
    "overloaded": "is refused: Claude is overloaded",
    "cut": "is cut off in mid-answer",
    "refused": "is declined by Claude",
    "no credit": "finds the account without credit",
}


def faults_of(call: str) -> tuple[str, ...]:
    """What may go wrong with a call."""
    if call == "CLAUDE order":
        return tuple(CLAUDE_FAULTS)
    if call == "POST droplet":
        return tuple(DROPLET_FAULTS)
    if call == "DELETE droplet":
        return (*CLOUD_FAULTS, "busy")
    if call == "LIST droplets by tag":
        return (*CLOUD_FAULTS, "empty")
    if call.startswith(("API", "AGENT")):
        return tuple(FAULTS)
    return tuple(CLOUD_FAULTS)


@dataclass(frozen=True, slots=True)
class Settings:
    """The world in which a story happens."""

    domain: bool
    own_firewalls: bool
    watch_seconds: float
    watch_repeats: float
    watch_disorder: float
    stale_list_seconds: float
    droplet_limit: int
    boot_seconds: float
    lag_seconds: float
    skew_seconds: float
    generation_seconds: float
    unseen_seconds: float = 0.0
    kept_seconds: float | None = None
    """How long ended sessions are kept before the operator deletes them; None: for ever."""

    def __str__(self) -> str:
        unseen = f"{self.unseen_seconds:.0f} s"
        kept = f"{self.kept_seconds or 0:.0f} s"
        return (
            f"{'a domain' if self.domain else 'no domain'}, "
            f"{'a firewall for each session' if self.own_firewalls else 'a shared firewall'}, "
            f"droplet limit {self.droplet_limit}, droplets boot in {self.boot_seconds:.1f} s, "
            f"the cloud's listings lag by up to {self.lag_seconds:.1f} s, "
            f"{f'new things answer 404 for up to {unseen}, ' if self.unseen_seconds else ''}"
            f"{f'ended sessions are kept for {kept}, ' if self.kept_seconds is not None else ''}"
            f"watches by {self.watch_seconds:.1f} s, the operator's clock is off by "
            f"{self.skew_seconds:+.1f} s"
        )


@dataclass(frozen=True, slots=True)
class Order:
    """A user applies a session."""

    at: float
    name: str
    ttl: str | None
    app_type: str
    class_name: str | None = None
    """None: the default class."""

    def __str__(self) -> str:
        of_class = f" of class {self.class_name}" if self.class_name is not None else ""
        return (
            f"{self.at:7.1f}  a user applies {self.app_type} {self.name}{of_class} "
            f"with ttl {self.ttl}"
        )


@dataclass(frozen=True, slots=True)
class Act:
    """Something a user does to a session, or to its droplet."""

    at: float
    what: str
    name: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.at:7.1f}  a user: {self.what} {self.name} {self.value}".rstrip()


@dataclass(frozen=True, slots=True)
class Fault:
    """One call goes wrong."""

    call: str
    nth: int
    kind: str

    def __str__(self) -> str:
        words = (DROPLET_FAULTS | CLAUDE_FAULTS).get(self.kind, self.kind)
        return f"         {self.call} no. {self.nth}: {words}"


@dataclass(frozen=True, slots=True)
class Outage:
    """The cloud, the API server, Claude or all agents do not answer for a while."""

    at: float
    what: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:7.1f}  {self.what} does not answer for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Crash:
    """An operator is killed around one of its calls, and another is started."""

    operator: int
    call: int
    moment: str
    downtime: float

    def __str__(self) -> str:
        return (
            f"         operator {self.operator} is killed {self.moment} its call no. {self.call}; "
            f"the next one starts {self.downtime:.1f} s later"
        )


@dataclass(frozen=True, slots=True)
class Handover:
    """An operator is stopped around one of its calls, loses its lease, and wakes up late."""

    operator: int
    call: int
    moment: str
    lease: float
    wakes_after: float

    def __str__(self) -> str:
        return (
            f"         operator {self.operator} is stopped {self.moment} its call no. {self.call}; "
            f"another leads {self.lease:.1f} s later; "
            f"the first wakes after {self.wakes_after:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The operator's clock is set."""

    at: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:7.1f}  the operator's clock jumps by {self.seconds:+.1f} s"


@dataclass(frozen=True, slots=True)
class MachineSleep:
    """The operator's machine sleeps, and its monotonic clock stands still meanwhile."""

    at: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:7.1f}  the operator's machine sleeps for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class ClassDeleted:
    """The class is deleted, and applied again some time after it has gone."""

    at: float
    after: float

    def __str__(self) -> str:
        return (
            f"{self.at:7.1f}  an administrator deletes the class, and applies it again "
            f"{self.after:.1f} s after it is gone"
        )


@dataclass(frozen=True, slots=True)
class WatchGap:
    """The watches break; what changes meanwhile is never shown, only what is there afterwards."""

    at: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.at:7.1f}  the watches break for {self.seconds:.1f} s and then list anew "
            "(410 Gone): nobody tells what was deleted meanwhile"
        )


@dataclass(frozen=True, slots=True)
class SecretsRefused:
    """For a while the API server stores no Secret in the users' namespace, by a rule or a fault."""

    at: float
    seconds: float
    status: int

    def __str__(self) -> str:
        return (
            f"{self.at:7.1f}  the API server answers {self.status} to every new Secret for "
            f"{self.seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many sessions of the same account end that all of its calls go to their deletions."""

    at: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.at:7.1f}  a crowd of deletions comes before all creations and looks for "
            f"{self.seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class BudgetSet:
    """The platform team gives all sessions together so many dollars a day; None: any number."""

    at: float
    limit: str | None

    def __str__(self) -> str:
        if self.limit is None:
            return f"{self.at:7.1f}  an administrator deletes the budget"
        return f"{self.at:7.1f}  an administrator gives all sessions {self.limit} USD a day"


@dataclass(frozen=True, slots=True)
class PoolSet:
    """The platform team keeps so many spare droplets; None: no pool any more."""

    at: float
    replicas: int | None

    def __str__(self) -> str:
        if self.replicas is None:
            return f"{self.at:7.1f}  an administrator deletes the pool"
        return f"{self.at:7.1f}  an administrator keeps {self.replicas} spare droplets"


Happening = (
    Order
    | PoolSet
    | Act
    | Fault
    | Outage
    | Crash
    | Handover
    | ClockJump
    | MachineSleep
    | ClassDeleted
    | WatchGap
    | SecretsRefused
    | Crowd
    | BudgetSet
)
MOMENTS = ("before", "in the middle of", "right after")


@dataclass(frozen=True, slots=True)
class Story:
    """A whole run."""

    seed: int
    settings: Settings
    happenings: tuple[Happening, ...]

    def __str__(self) -> str:
        lines = [f"World: {self.settings}."]
        return "\n".join([*lines, *(str(happening) for happening in self.happenings)])

    def of(self, kind: type) -> list:
        return [happening for happening in self.happenings if isinstance(happening, kind)]

    @property
    def retention(self) -> timedelta:
        """How long a closed ledger is kept: for longer than any clock is off, as in earnest."""
        off = sum(abs(jump.seconds) for jump in self.of(ClockJump) if abs(jump.seconds) > 3)
        return timedelta(minutes=4, seconds=off)

    @property
    def keeps_a_pool(self) -> bool:
        """Whether spares are wanted for ever: such a story has no end."""
        pools = self.of(PoolSet)
        return bool(pools) and pools[-1].replicas is not None

    def without(self, index: int) -> "Story":
        happenings = self.happenings
        return replace(self, happenings=happenings[:index] + happenings[index + 1 :])


def with_acme_troubles(story: Story) -> Story:
    """The same story with an ACME server that is slow, cuts off or is away; drawn apart."""
    random = Random(f"{story.seed}/acme")
    troubles: list[Happening] = [
        Fault(random.choice(ACME_CALLS), random.choice((1, 1, 2, 3)), random.choice(tuple(FAULTS)))
        for _ in range(random.choice((0, 1, 1, 2)))
    ]
    if random.random() < 0.4:
        seconds = random.choice((3.0, 30.0, 90.0, 600.0))
        troubles.append(Outage(random.uniform(0, 240), "the ACME server", seconds))
    return replace(story, happenings=(*story.happenings, *troubles))


def with_load_balancers(story: Story) -> Story:
    """The same story in a domain whose apps have load balancers, with troubles of their calls."""
    random = Random(f"{story.seed}/balancers")
    troubles: list[Happening] = []
    for _ in range(random.choice((0, 1, 1, 2))):
        call = random.choice(BALANCER_CALLS)
        faults = (*CLOUD_FAULTS, SHOWS_LATE) if call == "POST load balancer" else CLOUD_FAULTS
        troubles.append(Fault(call, random.choice((1, 1, 2, 3)), random.choice(tuple(faults))))
    if random.random() < 0.4:
        name = random.choice(story.of(Order)).name
        at = random.uniform(90, 300)
        troubles.append(Act(at, "deletes by hand the load balancer of", name))
    return replace(
        story,
        settings=replace(story.settings, domain=True),
        happenings=(*story.happenings, *troubles),
    )


FIRST_PROMPT = "A retro board"
TTLS = ("20s", "45s", "90s", "3m", "6m", "0s", "2h", "bad", None)
NEW_TTLS = ("0s", "10s", "1m", "4m", "8m", "5h", "nonsense")
PROMPTS = (FIRST_PROMPT, "A kanban board", "A calendar")
EXPIRES = ("now", "+30", "+120", "-60", "+86400", "garbage", "")


def story_of(seed: int) -> Story:
    """The story of a seed."""
    random = Random(seed)
    calm = random.random() < 0.1
    settings = Settings(
        domain=random.random() < 0.6,
        own_firewalls=random.random() < 0.4,
        watch_seconds=random.choice((0.05, 0.3, 2.0)),
        watch_repeats=random.choice((0.0, 0.1, 0.3)),
        watch_disorder=random.choice((0.0, 0.0, 0.2)),
        stale_list_seconds=random.choice((0.0, 0.0, 3.0)),
        droplet_limit=random.choice((1, 10, 10, 10)),
        boot_seconds=random.uniform(2, 8),
        lag_seconds=random.choice((0.2, 3.0, 15.0)),
        skew_seconds=random.choice((0.0, 0.0, random.uniform(-5, 5))),
        generation_seconds=random.uniform(2, 12),
    )
    orders = [
        Order(
            round(random.uniform(0, 20), 1),
            f"app-{number}",
            random.choice(TTLS),
            random.choice(("webapp", "api")),
        )
        for number in range(random.choice((1, 1, 1, 2, 2, 3)))
    ]
    happenings: list[Happening] = [*orders]
    names = [order.name for order in orders]
    acts = 0 if calm else random.choice((0, 1, 1, 2, 3))
    happenings.extend(_act(random, names) for _ in range(acts))
    if not calm:
        for _ in range(random.choice((0, 1, 2, 4))):
            call = random.choice(WRITES if random.random() < 0.6 else CALLS)
            nth = random.choice((1, 1, 1, 2, 2, 3, 5, 9))
            happenings.append(Fault(call, nth, random.choice(faults_of(call))))
        for _ in range(random.choice((0, 0, 0, 1, 2))):
            what = random.choice(("the cloud", "the API server", "Claude", "every agent"))
            seconds = random.choice((1.0, 8.0, 30.0, 70.0))
            happenings.append(Outage(round(random.uniform(0, 150), 1), what, seconds))
        happenings += _falls(random)
        if random.random() < 0.15:
            jump = random.choice((-3.0, -1.0, 1.0, 3.0))
            happenings.append(ClockJump(round(random.uniform(1, 150), 1), jump))
    # Drawn last, so that what was drawn before stays as it was.
    if not calm and random.random() < 0.35:
        happenings += _rarely(random, names)
    if not calm and random.random() < 0.15:
        happenings += _across_an_end(random, settings, random.choice(orders))
    # From numbers of their own, so that no other draw depends on them.
    if not calm:
        happenings += _forged(Random(f"{seed}/forged"), names)
        happenings += _stray(Random(f"{seed}/stray"), names)
        happenings += _refused(Random(f"{seed}/refused"))
        happenings += _crowds(Random(f"{seed}/crowd"))
        happenings += _clocks(Random(f"{seed}/clocks"))
        happenings += _late(Random(f"{seed}/late"), settings, names)
        happenings += _repointed(Random(f"{seed}/repointed"), settings, names)
        happenings += _all_deleted(Random(f"{seed}/all deleted"), names)
        happenings += _stops(Random(f"{seed}/stops"), settings, orders)
        happenings += _ledgers_deleted(Random(f"{seed}/ledgers"), names)
        happenings += _budgeted(Random(f"{seed}/budget"))
        happenings += _broken(Random(f"{seed}/broken"), names)
        happenings += _prompts(Random(f"{seed}/prompts"), names)
        happenings += _pooled(Random(f"{seed}/pool"))
        happenings = _of_two_classes(Random(f"{seed}/class names"), happenings)
        settings = replace(
            settings,
            unseen_seconds=_unseen(Random(f"{seed}/unseen")),
            kept_seconds=_kept(Random(f"{seed}/kept")),
        )
    return Story(seed, settings, in_order(happenings))


def in_order(happenings: Iterable[Happening]) -> tuple[Happening, ...]:
    """What has a time first, the earliest before the others; then what waits for a call."""
    return tuple(sorted(happenings, key=lambda happening: getattr(happening, "at", 1e9)))


def _act(random: Random, names: list[str]) -> Act:
    at = round(random.choice((random.uniform(0, 40), random.uniform(0, 200))), 1)
    what = random.choice(
        (
            "sets the ttl of",
            "sets expires-at of",
            "deletes",
            "deletes",
            "deletes and applies again",
            "strips the finalizers of",
            "writes a foreign droplet into the status of",
            "writes another end into the status of",
            "deletes by hand the droplet of",
        )
    )
    value = ""
    if what == "sets the ttl of":
        value = random.choice(NEW_TTLS)
    elif what == "sets expires-at of":
        value = random.choice(EXPIRES)
    return Act(at, what, random.choice(names), value)


def _rarely(random: Random, names: list[str]) -> list[Happening]:
    """What is rare in earnest, and so happens in every third story only."""
    name, at = random.choice(names), round(random.uniform(0, 200), 1)
    match random.choice(("class", "class", "ready", "edits", "gap", "gap")):
        case "class":
            after = random.choice((0.0, 20.0, 100.0))
            return [ClassDeleted(round(random.uniform(0, 120), 1), after)]
        case "ready":
            value = random.choice(("-300", "+60", "+86400"))
            return [
                Act(at, "forges the readiness of", name, value),
                Act(round(at + 5, 1), "sets the ttl of", name, random.choice(("4m", "5h"))),
            ]
        case "edits":
            count, pause = random.choice((8, 20)), random.choice((0.2, 1.0, 4.0))
            return [
                Act(round(at + n * pause, 1), "sets the ttl of", name, random.choice(NEW_TTLS[1:]))
                for n in range(count)
            ]
        case _:
            return [WatchGap(at, random.choice((1.0, 10.0, 40.0)))]


FORGED = ("phase", "startedAt", "readyAt", "terminationReason", "expirationTime", "conditions")
FORGED_TIMES = ("-86400", "-60", "+60", "+86400", "0000", "9999", "")


def _forged(random: Random, names: list[str]) -> list[Act]:
    """In every sixth story a user with rights on the status writes there what is not true."""
    if random.random() >= 1 / 6:
        return []
    acts = []
    for _ in range(random.choice((1, 1, 2, 4))):
        field, at = (
            random.choice(FORGED),
            random.choice((random.uniform(0, 40), random.uniform(0, 200))),
        )
        value = random.choice(FORGED_TIMES)
        if field == "phase":
            value = "Destroyed"
        elif field == "terminationReason":
            value = random.choice(("Expired", "Deleted", ""))
        acts.append(Act(round(at, 1), f"forges {field} of", random.choice(names), value))
    return acts


def _stray(random: Random, names: list[str]) -> list[Happening]:
    """In every twentieth story a droplet turns up, with all of our marks, that nobody ordered.

    Ten minutes later it is the reaper's, if its session does not take it; an operator may die then.
    """
    if random.random() >= 1 / 20:
        return []
    at = round(random.uniform(30, 700), 1)
    stray = Act(at, "makes by hand a droplet with the marks of", random.choice(names))
    happenings: list[Happening] = [stray]
    if random.random() < 0.5:
        call = random.choice(("DELETE droplet", "API create record", "API patch record-status"))
        happenings.append(Fault(call, random.choice((1, 2, 3)), random.choice(tuple(FAULTS))))
    if random.random() < 0.5:
        moment = round(at + 600 + random.uniform(0, 60), 1)
        what = random.choice(("the cloud", "the API server"))
        happenings.append(Outage(moment, what, random.choice((1.0, 8.0, 30.0))))
    if random.random() < 0.5:
        operator, call = random.choice((1, 1, 2)), random.randint(60, 300)
        happenings.append(Crash(operator, call, random.choice(MOMENTS), 5.0))
    return happenings


def _refused(random: Random) -> list[Happening]:
    """In every twelfth story no Secret can be stored for a while."""
    if random.random() >= 1 / 12:
        return []
    at, seconds = round(random.uniform(0, 30), 1), random.choice((20.0, 60.0, 150.0, 400.0))
    return [SecretsRefused(at, seconds, random.choice((403, 403, 422, 500)))]


def _crowds(random: Random) -> list[Happening]:
    """In every eighth story creations have to wait for calls, for a while."""
    if random.random() >= 1 / 8:
        return []
    at = random.choice((random.uniform(0, 30), random.uniform(0, 150)))
    return [Crowd(round(at, 1), random.choice((5.0, 20.0, 60.0)))]


STEPS = (-3_600.0, -300.0, -60.0, 60.0, 300.0, 3_600.0)
SLEEPS = (60.0, 300.0, 3_600.0)


def _clocks(random: Random) -> list[Happening]:
    """In every eighth story the operator's date moves by minutes or an hour: its machine sleeps, or
    its clock is set, and sometimes set back again.
    """
    if random.random() >= 1 / 8:
        return []
    at = round(random.choice((random.uniform(1, 40), random.uniform(1, 250))), 1)
    if random.random() < 1 / 3:
        return [MachineSleep(at, random.choice(SLEEPS))]
    step = random.choice(STEPS)
    steps: list[Happening] = [ClockJump(at, step)]
    if random.random() < 1 / 3:
        steps.append(ClockJump(round(at + random.choice((2.0, 30.0, 120.0)), 1), -step))
    return steps


def _late(random: Random, settings: Settings, names: list[str]) -> list[Happening]:
    """In every fifteenth story a name or a firewall comes when nobody waits for it any more."""
    if random.random() >= 1 / 15:
        return []
    made = ["POST record", "POST record"] if settings.domain else []
    made += ["POST firewall"] if settings.own_firewalls else []
    if not made:
        return []
    happenings: list[Happening] = [Fault(random.choice(made), random.choice((1, 1, 2)), SHOWS_LATE)]
    if random.random() < 0.6:
        happenings.append(Act(round(random.uniform(5, 100), 1), "deletes", random.choice(names)))
    return happenings


def _repointed(random: Random, settings: Settings, names: list[str]) -> list[Happening]:
    """In every fifteenth story somebody points a name elsewhere, and deletes it by hand later."""
    if random.random() >= 1 / 15 or not settings.domain:
        return []
    at, name = random.uniform(15, 120), random.choice(names)
    later = at + random.choice((60.0, 200.0, 400.0))
    happenings: list[Happening] = [
        Act(round(at, 1), "repoints the name of", name),
        Act(round(later, 1), "deletes by hand the name of", name),
    ]
    if random.random() < 0.6:
        happenings.append(Crash(1, random.randint(50, 160), random.choice(MOMENTS), 5.0))
    return happenings


def _all_deleted(random: Random, names: list[str]) -> list[Happening]:
    """In every tenth story all sessions are deleted together with their class, as `kubectl delete
    -f` does, and an operator dies at their end.
    """
    if random.random() >= 1 / 10:
        return []
    at = round(random.uniform(10, 90), 1)
    happenings: list[Happening] = [Act(at, "deletes", name) for name in names]
    happenings.append(ClassDeleted(at, 600.0))
    call = random.randint(40, 40 + 50 * len(names))
    happenings.append(Crash(1, call, random.choice(MOMENTS), 5.0))
    return happenings


def _stops(random: Random, settings: Settings, orders: list[Order]) -> list[Happening]:
    """In every eighth story an end is put off while the app is being stopped for it, or its agent
    does not take the stop.
    """
    if random.random() >= 1 / 8:
        return []
    happenings: list[Happening] = []
    if random.random() < 0.7:
        call = random.choice(("AGENT stop", "AGENT stop", "AGENT restart"))
        happenings.append(Fault(call, random.choice((1, 1, 2)), random.choice(tuple(FAULTS))))
    if random.random() < 0.7:
        order = random.choice(orders)
        end = _ready_at(settings, order) + _lives(order)
        at = round(max(end - random.uniform(1, 7), 0), 1)
        happenings.append(Act(at, "sets the ttl of", order.name, random.choice(("4m", "8m"))))
    if random.random() < 0.2:
        happenings.append(Crash(1, random.randint(30, 120), random.choice(MOMENTS), 2.0))
    return happenings


def _ready_at(settings: Settings, order: Order) -> float:
    """About when the app of an order answers."""
    return order.at + max(settings.boot_seconds + 2, settings.generation_seconds) + 4


def _lives(order: Order) -> float:
    """For how many seconds an order asks."""
    lives = {"20s": 20.0, "45s": 45.0, "90s": 90.0, "3m": 180.0}
    return lives.get(order.ttl or "3m", 360.0)


def _ledgers_deleted(random: Random, names: list[str]) -> list[Happening]:
    """In every eighth story somebody deletes ledgers, as a prune does."""
    if random.random() >= 1 / 8:
        return []
    at = round(random.uniform(2, 200), 1)
    return [Act(at, "deletes the ledger of", name) for name in names]


def _kept(random: Random) -> float | None:
    """In every eighth story a class has its ended sessions deleted after a while."""
    return random.choice((0.0, 20.0, 90.0)) if random.random() < 1 / 8 else None


LIMITS = ("1", "1.9", "2.8")


def _budgeted(random: Random) -> list[Happening]:
    """In every eighth story there is money for one to three sessions at once, more of them are
    ordered, and the limit is changed, and in the end taken away.
    """
    if random.random() >= 1 / 8:
        return []
    happenings: list[Happening] = [BudgetSet(0.0, random.choice(LIMITS))]
    for number in range(random.choice((2, 3, 4))):
        at = round(random.uniform(11, 40), 1)
        ttl, kind = random.choice(("45s", "90s", "4m")), random.choice(("webapp", "api"))
        happenings.append(Order(at, f"paid-{number}", ttl, kind))
        if random.random() < 0.3:
            asked = Act(round(at + random.uniform(10, 90), 1), "sets the ttl of", f"paid-{number}")
            happenings.append(replace(asked, value=random.choice(("8m", "5h"))))
    if random.random() < 0.5:
        at = round(random.uniform(2, 120), 1)
        happenings.append(BudgetSet(at, random.choice((*LIMITS, "0", "0.5"))))
    if random.random() < 0.4:
        call = random.randint(10, 120)
        happenings.append(Crash(1, call, random.choice(MOMENTS), random.choice((0.5, 5.0))))
    happenings.append(BudgetSet(round(random.uniform(300, 500), 1), None))
    return happenings


def _of_two_classes(random: Random, happenings: list[Happening]) -> list[Happening]:
    """In every third story with a budget some orders are of another class, which the same budget
    pays for. The use of its droplets is measured, and sometimes the agent does not answer.
    """
    has_budget = any(isinstance(one, BudgetSet) for one in happenings)
    if not has_budget or random.random() >= 1 / 3:
        return happenings
    ordered = [
        replace(one, class_name=METERED)
        if isinstance(one, Order) and one.name.startswith("paid-") and random.random() < 0.5
        else one
        for one in happenings
    ]
    if random.random() < 0.5:
        kind = random.choice(tuple(FAULTS))
        ordered.append(Fault("AGENT usage", random.choice((1, 1, 2, 3)), kind))
    return ordered


HARM = (
    "switches off the droplet of",
    "hangs the droplet of",
    "breaks the droplet of",
    "deletes by hand the droplet of",
)


def _broken(random: Random, names: list[str]) -> list[Happening]:
    """In every sixth story droplets break, or the operator does not reach any for minutes."""
    if random.random() >= 1 / 6:
        return []
    happenings: list[Happening] = []
    for _ in range(random.choice((1, 1, 2))):
        at = round(random.uniform(20, 200), 1)
        happenings.append(Act(at, random.choice(HARM), random.choice(names)))
    # A life that is long enough for it.
    happenings += [Act(15.0, "sets the ttl of", name, "5h") for name in names]
    if random.random() < 0.4:
        happenings.append(
            Outage(round(random.uniform(20, 200), 1), "every agent", random.choice((250.0, 400.0)))
        )
    if random.random() < 0.3:
        kind = random.choice(tuple(FAULTS))
        happenings.append(Fault("POST action", random.choice((1, 1, 2)), kind))
    if random.random() < 0.5:
        call = random.randint(40, 220)
        happenings.append(Crash(1, call, random.choice(MOMENTS), random.choice((1.0, 10.0))))
    return happenings


def _prompts(random: Random, names: list[str]) -> list[Happening]:
    """In every sixth story somebody wants another app of a running session, or the first again."""
    if random.random() >= 1 / 6:
        return []
    happenings: list[Happening] = []
    name = random.choice(names)
    for _ in range(random.choice((1, 1, 2, 3))):
        at = round(random.choice((random.uniform(2, 40), random.uniform(20, 200))), 1)
        happenings.append(Act(at, "changes the prompt of", name, random.choice(PROMPTS)))
    if random.random() < 0.7:
        happenings.append(Act(15.0, "sets the ttl of", name, "8m"))
    if random.random() < 0.3:
        call = random.randint(40, 160)
        happenings.append(Crash(1, call, random.choice(MOMENTS), random.choice((1.0, 10.0))))
    return happenings


def _pooled(random: Random) -> list[Happening]:
    """In every twelfth story there is a pool for sessions to take spares from. It is made larger or
    smaller meanwhile, and is deleted in the end; calls of a claim go wrong, and an operator dies.
    """
    if random.random() >= 1 / 12:
        return []
    begins = round(random.choice((0.0, random.uniform(0, 40))), 1)
    ends = round(random.choice((random.uniform(60, 150), random.uniform(150, 400))), 1)
    happenings: list[Happening] = [PoolSet(begins, random.choice((1, 1, 2))), PoolSet(ends, None)]
    ordered = round(begins + random.uniform(12, 40), 1)
    happenings.append(Order(ordered, "quick", random.choice(("45s", "90s", "4m")), "webapp"))
    if random.random() < 0.4:
        changed = round(random.uniform(begins + 1, ends - 1), 1)
        happenings.append(PoolSet(changed, random.choice((0, 1, 2))))
    for _ in range(random.choice((0, 1, 1, 2))):
        call = random.choice(POOL_CALLS)
        kinds = FAULTS if call.startswith("AGENT") else CLOUD_FAULTS
        happenings.append(Fault(call, random.choice((1, 1, 2)), random.choice(tuple(kinds))))
    if random.random() < 0.4:
        happenings.append(Crash(1, random.randint(20, 140), random.choice(MOMENTS), 5.0))
    return happenings


def _unseen(random: Random) -> float:
    """In every eighth story new droplets and names answer 404 for a while."""
    return random.choice((2.0, 20.0, 100.0)) if random.random() < 1 / 8 else 0.0


def _across_an_end(random: Random, settings: Settings, order: Order) -> list[Happening]:
    """The API server goes away shortly before a session's end, while something is still written."""
    ready = _ready_at(settings, order)
    end = ready + _lives(order) + random.uniform(-2, 4)
    at = max(end - random.uniform(5, 80), ready)
    outage = Outage(round(at, 1), "the API server", round(end + random.uniform(-3, 8) - at, 1))
    if random.random() < 0.5:
        return [outage]
    moment = round(at + random.uniform(-1, 3), 1)
    return [outage, Act(moment, "strips the finalizers of", order.name)]


def _falls(random: Random) -> list[Happening]:
    falls: list[Happening] = []
    for number in range(1, 1 + random.choice((0, 0, 1, 1, 2, 3))):
        call = random.choice((random.randint(1, 60), random.randint(10, 160)))
        moment = random.choice(MOMENTS)
        if random.random() < 0.75:
            falls.append(Crash(number, call, moment, round(random.uniform(0.5, 20), 1)))
        else:
            lease = round(random.uniform(15, 18), 1)
            wakes = round(lease + random.uniform(0.5, 40), 1)
            falls.append(Handover(number, call, moment, lease, wakes))
            break
    return falls
