"""Runs a story: the real controller among models of everything it reaches."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from unittest import mock
from uuid import UUID

from spawnai import background
from spawnai.api.durations import format_duration
from spawnai.api.names import (
    API_VERSION,
    DEFAULT_CLASS_ANNOTATION,
    EXPIRES_AT_ANNOTATION,
    TTL_ANNOTATION,
    cluster_tag,
    load_balancer_name,
    session_droplet_name,
    session_firewall_name,
    session_host_label,
    session_tag,
)
from spawnai.api.session import Phase
from spawnai.controller.accounts import (
    AccountNews,
    CloudAccount,
    WaitingForQuota,
)
from spawnai.controller.actions import droplets as droplet_steps
from spawnai.controller.actions.droplets import wave_tag
from spawnai.controller.classes.claude import Claude
from spawnai.controller.cluster import ClusterError
from spawnai.controller.controller import Controller, Outside
from spawnai.controller.leader import LeadershipLost
from spawnai.digitalocean.firewall_watch import FirewallWatch
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import FirewallOrder
from spawnai.digitalocean.record_listings import RecordListings
from spawnai.notices.sender import NoticeSender
from spawnai.telemetry.redaction import Redactor

from .acme import SimulatedAcme
from .api_server import ApiServer, SimulatedCluster, session_body
from .apps import SimulatedAgents, SimulatedClaude, SimulatedInspector, SimulatedProbes
from .cloud import (
    DOMAIN,
    Cloud,
    SimulatedCatalog,
    SimulatedCertificates,
    SimulatedDroplets,
    SimulatedFirewalls,
    SimulatedLoadBalancers,
    SimulatedRecords,
    SimulatedTags,
)
from .edges import Wire
from .judge import END_SECONDS, STANDARD, Judge, Violation
from .loop import Process, Runaway, SimulatedLoop, utc
from .story import (
    METERED,
    Act,
    BudgetSet,
    ClassDeleted,
    ClockJump,
    Crash,
    Crowd,
    Handover,
    MachineSleep,
    Order,
    PoolSet,
    SecretsRefused,
    Story,
    WatchGap,
)
from .turns import InTurn, SimulatedClient, budget_of

CLUSTER_UID = "cluster-uid"
NAMESPACE = "team"
MOST_STEPS = 60_000
MOST_TURNS = 100
MOST_CPU_SECONDS = 20.0
WORKERS = 4
GIVE_UP_SECONDS = 3_600.0
SHARE_THAT_REPAIRS = 0.3
"""Of the stories: their class has apps repaired that stop for good. Drawn apart from all else."""
AT_REST_SECONDS = 30.0
"""After the last disturbance: a call that was lost in it hangs for its time limit, and only the
try after it shows that a session which seemed to wait for a person goes on."""
REFUSED_PAUSE_SECONDS = 40.0
"""How long after a refusal that a person had to lift an operator may wait before it tries again."""
STILL_SECONDS = 120.0
QUIET_SECONDS = 300.0
SPARES_GO_SECONDS = 120.0
"""How long after a change of its pool a spare may still be on its way out."""
LOOKED_AGAIN_SECONDS = 70.0
"""Who waits for money is looked at once a minute, when nothing wakes him."""


async def _no_secret(name: str) -> dict[str, bytes]:
    raise AssertionError(f"no class names channels: {name}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a story."""

    story: Story
    violation: str | None
    trace: list[tuple[float, str, str]]
    steps: int
    seconds: float

    def told(self) -> str:
        """The trace in lines."""
        return "\n".join(f"{at - 1000:9.3f}  {who:<11} {what}" for at, who, what in self.trace)


class Stopped(BaseException):
    """Breaks out of code that nothing else would stop."""


class _Silent:
    """Metrics that nobody reads."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return _ignore


def _ignore(*_: Any, **__: Any) -> None:
    return None


class _Events:
    """Events, as they are told."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world = world
        self._process = process

    def emit(self, regarding, _type, reason, _action, note) -> None:
        self._world.wire.note(self._process.name, f"event {reason}: {note}")
        self._world.told(self._process, regarding.uid, reason, note)


class _Account(CloudAccount):
    """An account whose tags are the model's."""

    tags: Any = None


class World:
    """Everything around the operators."""

    def __init__(
        self, story: Story, *, certificates: bool = False, load_balancers: bool = False
    ) -> None:
        self.story = story
        self._is_balanced = load_balancers
        self.loop = SimulatedLoop(MOST_STEPS)
        self.wire = Wire(self.loop, story)
        self.wire.on_fall = self._fall
        self.random = Random(f"{story.seed}/world")
        self.judge = Judge(self.wire)
        self.server = ApiServer(self.wire, self.judge.changed, self.judge.idle_write)
        self._names: dict[str, str] = {}
        self.cloud = Cloud(self.wire, self.judge.watch(), self._names.get)
        self.claude = SimulatedClaude(self.wire, self.judge.order_begun)
        self.agents = SimulatedAgents(self.cloud, self.wire)
        self.acme = SimulatedAcme(self.wire, self.cloud, self.agents) if certificates else None
        self.probes = SimulatedProbes(self.agents, self.wire)
        self.inspector = SimulatedInspector(self.wire)
        self.judge.server, self.judge.cloud = self.server, self.cloud
        self.judge.money.server = self.server
        self.judge.claude, self.judge.agents = self.claude, self.agents
        self.processes: list[Process] = []
        self._controllers: list[Controller] = []
        self._waiting_users = 0
        self._warned: set[tuple[int, str, str]] = set()

    def told(self, process: Process, uid: str, reason: str, note: str) -> None:
        """An event was told: of one end, one operator warns once, unless it was another between."""
        if reason in ("ExpiryChanged", "ExpiryOnNotice"):
            self._warned = {news for news in self._warned if news[1] != uid}
        if reason == "ExpiringSoon":
            news = (process.number, uid, note)
            if news in self._warned:
                self.judge.blame(f"of one end was warned twice: {note}")
            self._warned.add(news)

    # --- the run -----------------------------------------------------------------------------

    def run(self) -> Outcome:
        violation = None
        before = signal.signal(signal.SIGPROF, self._too_long)
        signal.setitimer(signal.ITIMER_PROF, MOST_CPU_SECONDS)
        try:
            self.loop.run_until_complete(self._main())
        except (Violation, Runaway) as error:
            violation = f"{type(error).__name__}: {error}"
        except Stopped:
            violation = f"Runaway: {self.loop.halt}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
            self.loop.bury()
        return Outcome(
            self.story, violation, self.wire.trace, self.loop.steps, self.loop.time() - 1000
        )

    def _too_long(self, *_: object) -> None:
        """Code that never waits never lets the loop count its steps."""
        self.loop.halt = Runaway(f"one story takes more than {MOST_CPU_SECONDS:.0f} s of a core")
        raise Stopped

    async def _main(self) -> None:
        self._furnish()
        self._schedule()
        self._begin_operator()
        last = self._last_disturbance
        while (
            (left := self.judge.unfinished())
            or self._waiting_users
            or self.loop.time() < last() + AT_REST_SECONDS
        ):
            await asyncio.sleep(5)
            self.judge.look()
            self._end_in_time(last(), left)
        await asyncio.sleep(STILL_SECONDS)
        await self._quiet()
        if left := self.judge.unfinished():
            self.judge.blame(f"came back after the end: {left[0]}")
        self.judge.accounts()
        if self.acme is not None:
            self.judge.certificates(self.acme)
        self._nothing_is_kept()
        if died := background.failure():
            self.judge.blame(died)
        await asyncio.sleep(0.1)

    def _nothing_is_kept(self) -> None:
        """Of a session that is over no app stays in memory."""
        for process, controller in zip(self.processes, self._controllers, strict=True):
            if process.alive and any(memory.unstored for memory in controller.memories):
                self.judge.blame(f"{process.name} still keeps an app that nobody needs any more")

    async def _quiet(self) -> None:
        """Nothing is written while nothing changes, but that ledgers and tombstones go when their
        time is over.
        """
        for _ in range(5):
            api, cloud, began = self.server.writes, self.cloud.writes, self.loop.time()
            await asyncio.sleep(QUIET_SECONDS)
            if self._last_disturbance() > began - STILL_SECONDS / 2:
                continue
            dropped = sum(
                self.server.writes_of(kind, "DELETED", QUIET_SECONDS)
                for kind in ("record", "session")
            )
            if self.server.writes - api > dropped or self.cloud.writes > cloud:
                self.judge.blame("something is written although nothing changes")
            return

    def _last_disturbance(self) -> float:
        """The end of everything that the story does to the world."""
        ends = [until for _, until, _ in self.wire.disturbances]
        return max([self.loop.time(), *ends]) if not ends else max(ends)

    def _end_in_time(self, last: float, left: list[str]) -> None:
        now, judge = self.loop.time(), self.judge
        if now > last + GIVE_UP_SECONDS + judge.clock_error:
            judge.blame(f"not ended: {'; '.join(left)}")
        for life in judge.lives.values():
            if life.finished is not None and not judge.left_of(life.uid):
                continue
            causes = [life.deleted, life.gone, life.finished]
            if life.status.termination_reason or life.status.phase is Phase.DESTROYED:
                causes.append(self._since(life.uid))
            known = [cause for cause in causes if cause is not None]
            began = max(last, min(known, default=now), judge.found_at.get(life.uid, 0.0))
            if known and now > began + END_SECONDS:
                judge.blame(f"{life.key} does not come to its end: {'; '.join(left)}")

    def _since(self, uid: str) -> float:
        """When the session was first seen ending."""
        return self._ending.setdefault(uid, self.loop.time())

    # --- the furniture -----------------------------------------------------------------------

    def _furnish(self) -> None:
        self._ending: dict[str, float] = {}
        settings = self.story.settings
        self.server.secrets["spawnai", "spawnai-credentials"] = (
            {"digitalocean-token": b"test-token", "anthropic-api-key": b"test-key"},
            None,
        )
        spec: dict[str, Any] = {
            "regions": ["nyc3", "sfo3"],
            "tiers": {
                "light": {"sizes": ["s-1vcpu-1gb"], "ttl": "3m"},
                "standard": {"sizes": ["s-2vcpu-2gb"], "ttl": "4m"},
            },
            "lifetime": {
                "max": "12m",
                "provisioningDeadline": "4m",
                "notice": "40s",
                "warning": "1m",
                **(
                    {"ttlAfterFinished": f"{settings.kept_seconds:.0f}s"}
                    if settings.kept_seconds is not None
                    else {}
                ),
            },
            "records": {"retention": format_duration(self.story.retention)},
            "firewall": {"mode": "PerSession" if settings.own_firewalls else "Shared"},
        }
        if Random(f"repairs:{self.story.seed}").random() < SHARE_THAT_REPAIRS:
            spec["health"] = {"onAppFailure": "Repair"}
        if settings.domain:
            spec["exposure"] = {"domain": DOMAIN}
        if self._is_balanced:
            spec["exposure"] = {"domain": DOMAIN, "mode": "LoadBalancer"}
        self._class_spec = spec
        self._apply_class("class-uid")
        if any(order.class_name == METERED for order in self.story.of(Order)):
            metered = spec | {"pricing": {"model": "Dynamic"}}
            self._make_class(METERED, "metered-uid", metered, is_default=False)
        self._canaries()

    def _apply_class(self, uid: str) -> None:
        self._make_class(STANDARD, uid, self._class_spec, is_default=True)

    def _make_class(self, name: str, uid: str, spec: dict[str, Any], *, is_default: bool) -> None:
        annotations = {DEFAULT_CLASS_ANNOTATION: "true"} if is_default else {}
        body = {
            "apiVersion": API_VERSION,
            "kind": "SpawnClass",
            "metadata": {"name": name, "uid": uid, "annotations": annotations},
            "spec": spec,
        }
        self.server.create("admin", "class", name, body)

    def _canaries(self) -> None:
        """Things of other people: some look very much like ours."""
        other = self._uid()
        foreign = [
            ("web-1", frozenset({"production"})),
            (session_droplet_name(other), frozenset({"spawn-ai", "ephemeral"})),
            (
                session_droplet_name(other),
                frozenset({"spawn-ai", session_tag(other), cluster_tag("another-cluster")}),
            ),
        ]
        for name, tags in foreign:
            self._foreign_droplet(name, tags)
        # Somebody put our tags on a droplet of his own.
        ours = {"spawn-ai", "ephemeral", session_tag(other), cluster_tag(CLUSTER_UID)}
        self.cloud.place_foreign("mail", frozenset(ours))
        for name in ("web", session_firewall_name(other), "fw-spawn-class-another"):
            firewall = self.cloud.make_firewall(FirewallOrder(name, (), ()), None)
            self.cloud.foreign.add(("firewall", firewall.id))
        self._foreign_record("www")
        self._foreign_record(f"app-0-{other[:8]}")

    def _foreign_droplet(self, name: str, tags: frozenset[str]) -> int:
        droplet = self.cloud.make_droplet(name, "nyc3", "s-1vcpu-1gb", tags, None)
        droplet.tagged = droplet.listed = self.loop.time()
        self.cloud.foreign.add(("droplet", str(droplet.id)))
        return droplet.id

    def _lookalikes(self, uid: str) -> None:
        """Droplets of others that have the very name that ours will have."""
        name = session_droplet_name(uid)
        others = {"spawn-ai", "ephemeral", session_tag(uid), cluster_tag("another-cluster")}
        self.cloud.place_foreign(name, frozenset())
        self.cloud.place_foreign(name, frozenset({*others, wave_tag(utc(self.loop.time()))}))

    def _foreign_record(self, name: str) -> None:
        record = self.cloud.make_record(name, "198.51.100.7", None)
        self.cloud.foreign.add(("record", str(record.record.id)))

    def _uid(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    # --- operators ---------------------------------------------------------------------------

    def _begin_operator(self) -> None:
        number = len(self.processes) + 1
        process = Process(self.loop, number, self.story.settings.skew_seconds + self._jumped())
        self.processes.append(process)
        self.wire.note(process.name, "starts")
        self.judge.starts.append(self.loop.time())
        self.wire.disturb(self.loop.time(), self.loop.time() + 6, f"{process.name} starts")
        process.context.run(self._compose, process)

    def _jumped(self) -> float:
        now = self.loop.time() - 1000
        return sum(jump.seconds for jump in self.story.of(ClockJump) if jump.at <= now)

    def _compose(self, process: Process) -> None:
        def check() -> None:
            if not process.leads:
                raise LeadershipLost("the lease has passed to another")

        random = Random(f"{self.story.seed}/{process.number}")
        controller = Controller(
            Outside(
                cluster=SimulatedCluster(self.server, self.wire, process, check),
                connect=lambda _token, news: self._account(process, random, news, check),
                claude_for=lambda _key: Claude(self.claude, self.claude),
                agents=self.agents,
                inspector=self.inspector if self.inspector.is_there else None,
                events=_Events(self, process),
                metrics=_Silent(),
                redactor=Redactor(),
                clock=process,
                random=random,
                check_leadership=check,
                namespace="spawnai",
                cluster_uid=CLUSTER_UID,
                agent_source="",
                notices=NoticeSender(_no_secret, process),
                probes=self.probes,
                acme=self.acme.server() if self.acme is not None else None,
            )
        )
        self._controllers.append(controller)
        shows = {
            "session": controller.on_session,
            "record": controller.on_record,
            "class": controller.on_class,
            "budget": controller.on_budget,
            "pool": controller.on_pool,
        }
        self.server.watch(process, lambda kind, event, body: shows[kind](event, body))
        work = controller.queue.run(WORKERS, self._bounded(process, controller.handle))
        if self.story.of(BudgetSet) or self.story.of(PoolSet):
            # As in earnest: what is reserved must be known before anything is decided.
            work = self._after_loading(process, controller, work)
        process.start(work, "work queue")
        process.start(controller.health.run(), "health")
        if self.story.of(ClockJump) or self.story.of(MachineSleep):
            # In other stories it would find nothing, a thousand times.
            process.start(controller.clock_steps.watch(), "clock")

    async def _after_loading(
        self, process: Process, controller: Controller, work: Coroutine[Any, Any, None]
    ) -> None:
        while True:
            try:
                await controller.load()
                break
            except ClusterError:
                await process.sleep(1)
        await work

    def _bounded(self, process: Process, handle: Callable[[str], Any]) -> Callable[[str], Any]:
        """The handler, stopped when it turns in a circle at one moment of time."""
        turns, moment = 0, self.loop.time()

        async def handled(key: str) -> None:
            nonlocal turns, moment
            turns = turns + 1 if self.loop.time() < moment + 0.01 else 0
            moment = moment if turns else self.loop.time()
            if turns > MOST_TURNS:
                self.wire.note(process.name, f"reconciles {key} for ever")
                self.loop.halt = Runaway(f"{key} is reconciled {turns} times at one moment")
                await asyncio.Event().wait()
            await handle(key)

        return handled

    def _account(
        self, process: Process, random: Random, news: AccountNews, check: Callable[[], None]
    ) -> CloudAccount:
        budget = budget_of(process, self.story)
        client = SimulatedClient(budget, check)
        droplets = InTurn(SimulatedDroplets(self.cloud), client)
        records = InTurn(SimulatedRecords(self.cloud), client)
        firewalls = InTurn(SimulatedFirewalls(self.cloud), client)
        inventory = Inventory(
            droplets,
            process,
            random,
            budget=budget,
            cluster_tag=cluster_tag(CLUSTER_UID),
            on_droplet=news.on_droplet,
            on_sweep=news.on_sweep,
            on_gone=news.on_gone,
        )
        account = _Account(
            client=client,
            budget=budget,
            droplets=droplets,
            records=records,
            firewalls=firewalls,
            catalog=InTurn(SimulatedCatalog(self.cloud), client),
            inventory=inventory,
            firewall_watch=FirewallWatch(firewalls, droplets, inventory, budget),
            record_listings=RecordListings(inventory, records, process),
            quota=WaitingForQuota(),
            task=process.start(inventory.run(), "inventory"),
            load_balancers=InTurn(SimulatedLoadBalancers(self.cloud), client),
            certificates=InTurn(SimulatedCertificates(self.cloud), client),
        )
        account.tags = InTurn(SimulatedTags(self.cloud), client)
        return account

    def _fall(self, process: Process, fall: Crash | Handover) -> None:
        if not process.alive or process.held is not None or not process.leads:
            return
        now = self.loop.time()
        if isinstance(fall, Crash):
            self.wire.note(process.name, "is killed")
            process.kill()
            self.judge.deaths[process.number] = now
            self.wire.disturb(now, now + fall.downtime + 6, "no operator")
            self.loop.outside(fall.downtime, self._begin_operator)
            return
        self.wire.note(process.name, "is stopped")
        process.hold()
        process.leads = False
        self.judge.deaths[process.number] = now
        self.wire.disturb(now, now + fall.lease + 6, "no operator")
        self.loop.outside(fall.lease, self._begin_operator)
        self.loop.outside(fall.wakes_after, self._wake, process)

    def _wake(self, process: Process) -> None:
        self.wire.note(process.name, "wakes up")
        process.let_go()
        self.loop.outside(self.random.uniform(0, 2), self._exit, process)

    def _exit(self, process: Process) -> None:
        self.wire.note(process.name, "ends: the lease is lost")
        process.kill()

    # --- users -------------------------------------------------------------------------------

    def _schedule(self) -> None:
        for order in self.story.of(Order):
            self.loop.outside(
                order.at, self._apply, order.name, order.ttl, order.app_type, order.class_name
            )
            self.wire.disturb(1000 + order.at, 1000 + order.at, "an order")
        for act in self.story.of(Act):
            self.loop.outside(act.at, self._act, act)
            seen = 1000 + act.at + 3 * self.story.settings.watch_seconds
            self.wire.disturb(1000 + act.at, seen, act.what)
        for jump in self.story.of(ClockJump):
            self.loop.outside(jump.at, self._jump, jump)
            self.wire.disturb(1000 + jump.at, 1000 + jump.at + 10, "the clock")
        for budget in self.story.of(BudgetSet):
            self.loop.outside(budget.at, self._set_budget, budget)
            seen = 1000 + budget.at + 3 * self.story.settings.watch_seconds
            self.wire.disturb(1000 + budget.at, seen + LOOKED_AGAIN_SECONDS, "the budget")
        for pool in self.story.of(PoolSet):
            self.loop.outside(pool.at, self._set_pool, pool)
            seen = 1000 + pool.at + 3 * self.story.settings.watch_seconds
            self.wire.disturb(1000 + pool.at, seen + SPARES_GO_SECONDS, "the pool")
        for crowd in self.story.of(Crowd):
            until = 1000 + crowd.at + crowd.seconds + 2
            self.wire.disturb(1000 + crowd.at, until, "the calls go to others")
        for sleep in self.story.of(MachineSleep):
            self.loop.outside(sleep.at, self._fall_asleep, sleep)
            begin = 1000 + sleep.at
            self.wire.disturb(begin, begin + sleep.seconds + 10, "no operator")
        for deleted in self.story.of(ClassDeleted):
            self.loop.outside(deleted.at, self._delete_class, deleted)
            self.wire.disturb(1000 + deleted.at, 1000 + deleted.at + 5, "the class")
        for refused in self.story.of(SecretsRefused):
            begin = 1000 + refused.at
            self.wire.disturb(begin, begin + refused.seconds + REFUSED_PAUSE_SECONDS, "the quota")
        for gap in self.story.of(WatchGap):
            self.loop.outside(gap.at, self._cut_watches, gap)
            self.wire.disturb(1000 + gap.at, 1000 + gap.at + gap.seconds + 2, "the watches")

    def _set_budget(self, budget: BudgetSet) -> None:
        self.wire.note("admin", str(budget).strip())
        if budget.limit is None:
            self.server.delete("admin", "budget", "all")
        elif self.server.get("budget", "all") is not None:
            patch = {"spec": {"limit": budget.limit}}
            self.server.patch("admin", "budget", "all", patch, status=False)
        else:
            body = {
                "apiVersion": API_VERSION,
                "kind": "SpawnBudget",
                "metadata": {"name": "all", "uid": "budget-uid"},
                "spec": {"limit": budget.limit, "period": "Day"},
            }
            self.server.create("admin", "budget", "all", body)

    def _set_pool(self, pool: PoolSet) -> None:
        self.wire.note("admin", str(pool).strip())
        if pool.replicas is None:
            self.server.delete("admin", "pool", "spares")
        elif self.server.get("pool", "spares") is not None:
            patch = {"spec": {"replicas": pool.replicas}}
            self.server.patch("admin", "pool", "spares", patch, status=False)
        else:
            body = {
                "apiVersion": API_VERSION,
                "kind": "SpawnPool",
                "metadata": {"name": "spares", "uid": "pool-uid"},
                "spec": {"className": STANDARD, "replicas": pool.replicas},
            }
            self.server.create("admin", "pool", "spares", body)

    def _cut_watches(self, gap: WatchGap) -> None:
        self.wire.note("world", str(gap).strip())
        self.server.cut(gap.seconds)

    def _delete_class(self, deleted: ClassDeleted) -> None:
        self.wire.note("admin", "deletes the class")
        self.server.delete("admin", "class", STANDARD)
        self._class_again(deleted.after)

    def _class_again(self, after: float) -> None:
        if self.server.get("class", STANDARD) is not None:
            self.loop.outside(2, self._class_again, after)
        elif after > 0:
            self.loop.outside(after, self._class_again, 0.0)
        else:
            self.wire.note("admin", "applies the class again")
            now = self.loop.time()
            self.wire.disturb(now, now + 5, "the class")
            self._apply_class(f"class-uid-{now:.0f}")

    def _jump(self, jump: ClockJump) -> None:
        self.wire.note("world", str(jump).strip())
        for process in self.processes:
            process.skew_seconds += jump.seconds

    def _fall_asleep(self, sleep: MachineSleep) -> None:
        self.wire.note("world", str(sleep).strip())
        for process in self.processes:
            if process.alive and process.held is None:
                process.sleep_through(sleep.seconds)

    def _apply(
        self, name: str, ttl: str | None, app_type: str, class_name: str | None = None
    ) -> None:
        key = f"{NAMESPACE}/{name}"
        if self.server.get("session", key) is not None:
            return
        uid = self._uid()
        self._names[session_droplet_name(uid)] = uid
        self._names[session_firewall_name(uid)] = uid
        self._names[load_balancer_name(CLUSTER_UID, uid)] = uid
        label = session_host_label(name, uid)
        self._names[label] = uid
        self._foreign_record(label)
        self._lookalikes(uid)
        annotations = {} if ttl is None else {TTL_ANNOTATION: ttl}
        self.wire.note("user", f"applies {name} ({uid}), ttl {ttl}")
        body = session_body(NAMESPACE, name, uid, app_type, annotations, class_name=class_name)
        self.server.create("user", "session", key, body)

    def _act(self, act: Act) -> None:
        key = f"{NAMESPACE}/{act.name}"
        if act.what == "makes by hand a droplet with the marks of":
            self._make_by_hand(act.name)
            return
        if act.what in ("repoints the name of", "deletes by hand the name of"):
            self._change_names(act, gone=act.what.startswith("deletes"))
            return
        body = self.server.get("session", key)
        if body is None:
            return
        self.wire.note("user", f"{act.what} {act.name} {act.value}")
        uid = body["metadata"]["uid"]
        match act.what:
            case "sets the ttl of":
                self._annotate(key, TTL_ANNOTATION, act.value)
            case "sets expires-at of":
                value = act.value or None
                if value is not None and value[0] in "+-":
                    at = utc(self.loop.time() + float(value)).replace(microsecond=0)
                    value = at.isoformat().replace("+00:00", "Z")
                self._annotate(key, EXPIRES_AT_ANNOTATION, value)
            case "changes the prompt of":
                patch = {"spec": {"prompt": act.value}}
                self.server.patch("user", "session", key, patch, status=False)
            case "deletes":
                self.server.delete("user", "session", key)
            case "deletes and applies again":
                self.server.delete("user", "session", key)
                self._waiting_users += 1
                self._again(act.name, 60)
            case "deletes the ledger of":
                if self.server.get("record", uid) is not None:
                    self.judge.ledger_deleted_by_hand(uid)
                    self.server.delete("user", "record", uid)
            case "strips the finalizers of":
                patch = {"metadata": {"finalizers": None}}
                self.server.patch("user", "session", key, patch, status=False)
            case "writes a foreign droplet into the status of":
                foreign = min(int(id_) for kind, id_ in self.cloud.foreign if kind == "droplet")
                droplet = {"id": foreign, "name": "web-1", "ip": "198.51.100.7"}
                self._tamper(key, uid, {"droplet": droplet})
            case "writes another end into the status of":
                self._tamper(key, uid, {"expirationTime": "2027-01-01T00:00:00Z"})
            case "forges the readiness of":
                self._forge(key, uid, "readyAt", act.value)
            case forging if forging.startswith("forges "):
                self._forge(key, uid, forging.split()[1], act.value)
            case "switches off the droplet of" | "hangs the droplet of" | "breaks the droplet of":
                for droplet in self.cloud.living(uid):
                    droplet.harmed = True
                    droplet.off = droplet.off or act.what.startswith("switches")
                    droplet.hangs = droplet.hangs or act.what.startswith("hangs")
                    droplet.broken = droplet.broken or act.what.startswith("breaks")
                    self.wire.disturb(self.loop.time(), self.loop.time() + 60, act.what)
            case "deletes by hand the load balancer of":
                for balancer in self.cloud.balancers_of(uid):
                    balancer.gone, balancer.by_hand = self.loop.time(), True
            case "deletes by hand the droplet of":
                for droplet in self.cloud.living(uid):
                    self.cloud.end_droplet(droplet, by_hand=True)

    def _change_names(self, act: Act, *, gone: bool) -> None:
        """Point the DNS records of sessions of that name elsewhere; or delete those, later."""
        for known in self.cloud.records.values():
            life = self.judge.lives.get(known.session or "")
            if life is None or not life.key.endswith(act.name) or self.loop.time() >= known.gone:
                continue
            if gone and known.by_hand:
                known.gone = self.loop.time()
            elif not gone:
                known.by_hand = True
                known.record = replace(known.record, data="198.51.100.77")
            else:
                continue
            self.wire.note("user", f"{act.what} {act.name}: DNS record {known.record.id}")

    def _make_by_hand(self, name: str) -> None:
        """A droplet of the latest session of that name, whatever has become of that."""
        uid = next(
            (life.uid for life in reversed(self.judge.lives.values()) if life.key.endswith(name)),
            None,
        )
        # A session that never began and waits for its owner explains it for as long as it waits.
        if uid is None or uid not in self.judge.ledgers:
            return
        tags = frozenset({"spawn-ai", "ephemeral", session_tag(uid), cluster_tag(CLUSTER_UID)})
        droplet = self.cloud.make_droplet(
            session_droplet_name(uid), "nyc3", "s-1vcpu-1gb", tags, uid
        )
        droplet.late = True
        self.wire.note("user", f"makes by hand droplet {droplet.id} with the marks of {name}")

    def _forge(self, key: str, uid: str, field: str, value: str) -> None:
        """Write another value into the status, or take out the one that is there."""
        forged: Any = value or None
        if value and value[0] in "+-":
            at = utc(self.loop.time() + float(value)).replace(microsecond=0)
            forged = at.isoformat().replace("+00:00", "Z")
        elif value.isdigit():
            forged = f"{value}-12-31T23:59:59Z"
        if field == "conditions" and forged is not None:
            types = ("CleanupComplete", "Ready", "Stalled", "AppHealthy", "Expired")
            how = {"status": "True", "reason": "Forged", "message": "Forged"}
            forged = [{"type": one, **how, "lastTransitionTime": forged} for one in types]
        self.judge.lives[uid].forged = True
        self._tamper(key, uid, {field: forged})

    def _annotate(self, key: str, name: str, value: str | None) -> None:
        patch = {"metadata": {"annotations": {name: value}}}
        self.server.patch("user", "session", key, patch, status=False)

    def _tamper(self, key: str, uid: str, status: dict[str, Any]) -> None:
        self.judge.lives[uid].tampered = True
        self.server.patch("user", "session", key, {"status": status}, status=True)

    def _again(self, name: str, tries: int) -> None:
        if self.server.get("session", f"{NAMESPACE}/{name}") is not None and tries:
            self.loop.outside(2, self._again, name, tries - 1)
            return
        self._waiting_users -= 1
        self.wire.disturb(self.loop.time(), self.loop.time(), "an order")
        self._apply(name, "45s", "webapp")


@contextmanager
def prepared() -> Iterator[None]:
    """Quiet logs, and user data that nobody boots: neither is what a story is about."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    enabled = gc.isenabled()
    with mock.patch.object(droplet_steps, "render_user_data", return_value="#cloud-config"):
        try:
            yield
        finally:
            logging.disable(before)
            if enabled:
                gc.enable()


def run_story(story: Story, *, certificates: bool = False, load_balancers: bool = False) -> Outcome:
    """Run one story; `certificates`: with an ACME server; `load_balancers`: with one for each."""
    with prepared():
        return World(story, certificates=certificates, load_balancers=load_balancers).run()
