"""Everything between the watches and the outside world, wired once.

Production, tests and simulations build the same controller and differ only in the `Outside` that
they hand in: the API server, the accounts, Claude, the droplets' agents, the clock.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import chain
from random import Random
from typing import Any

from spawnai.acme.limits import ORDERS, PlacedOrder
from spawnai.acme.nameservers import Nameservers
from spawnai.api.names import owner_of, session_tag
from spawnai.api.record import (
    CLASS_OWNER,
    IMAGE_OWNER,
    POOL_OWNER,
    SESSION_OWNER,
    LedgerEntry,
    Presence,
    RecordStatus,
    ResourceKind,
)
from spawnai.api.session import Phase
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.digitalocean.budget import RateBudget
from spawnai.digitalocean.droplet_resource import droplet_line
from spawnai.digitalocean.inventory import Sweep
from spawnai.digitalocean.models import Droplet
from spawnai.droplet.probe import Probes
from spawnai.inspector.client import InspectorClient
from spawnai.lifecycle.https import ordered_name
from spawnai.lifecycle.observation import DropletView
from spawnai.notices.sender import NoticeSender
from spawnai.telemetry.events import EventRecorder
from spawnai.telemetry.logs import session_context
from spawnai.telemetry.metrics import AcmeLimit, Metrics
from spawnai.telemetry.redaction import Redactor

from .accounts import AccountNews, Accounts, CloudAccount, Connect
from .actions.actor import Actor
from .actions.agents import Agents
from .actions.app_env import AppEnvironments
from .actions.bundles import Bundles
from .actions.certificates import Acme, AcmeServer, CertificateSteps, Keys, orders_in
from .actions.claim import Claim
from .actions.custody import Custody
from .actions.deploy import Deploy
from .actions.droplets import DropletSteps
from .actions.generate import Generate
from .actions.inspect import Inspect
from .actions.kinds import steps_of_all_kinds
from .actions.load_balancers import LoadBalancerSteps
from .actions.replace import Replace, ReplacementPace
from .actions.reserve import Reservations
from .actions.resources import Resources
from .actions.revise import Revise
from .admission import Admission
from .budgets import BudgetReports
from .classes.claude import Claude
from .classes.controller import ClassController
from .classes.gateways import Gateways
from .classes.ledger import ClassLedgers
from .classes.records import ClassRecords
from .classes.state import ClassState
from .clock_difference import ClockDifference
from .clock_steps import ClockSteps
from .cluster import BUDGETS, CLASSES, POOLS, RECORDS, SESSIONS, Cluster, ObjectNotFound, pause_of
from .failures import is_expected
from .health_watch import HealthWatch
from .images.baker import Baker
from .images.class_images import ClassImages
from .leader import LeadershipLost
from .memory import Memories
from .namespaces import NamespaceLabels
from .observe import Observer
from .pools.pools import Pools
from .pools.spares import Spares
from .reaping.reaper import Reaper, ReaperSettings
from .reconciler import Reconciler
from .regions import Regions
from .report import Reporter
from .resync import Kind
from .store import Store, StoredRecord
from .user_notices import UserNotices
from .workqueue import WorkQueue, log_failure

CLASS_PREFIX = "class/"
BUDGET_PREFIX = "budget/"
POOL_PREFIX = "pool/"

DELETIONS_IN_SIGHT = timedelta(minutes=1)
"""How long before the end of a session its deletions are counted as due, and how long after it
they are while they are not accepted."""


@dataclass(frozen=True, slots=True)
class Outside:
    """All that the controller reaches beyond its own memory."""

    cluster: Cluster
    connect: Connect
    claude_for: Callable[[str], Claude]
    agents: Agents
    events: EventRecorder
    metrics: Metrics
    redactor: Redactor
    clock: Clock
    random: Random
    check_leadership: Callable[[], None]
    namespace: str
    cluster_uid: str
    agent_source: str
    notices: NoticeSender
    inspector: InspectorClient | None
    acme: AcmeServer | None = None
    probes: Probes = field(default_factory=Probes)
    reaper: ReaperSettings = field(default_factory=ReaperSettings)
    clock_difference: ClockDifference = field(default_factory=ClockDifference)


class Controller:
    """Takes in what the watches show, and turns the keys of the work queue into reconciles."""

    def __init__(self, outside: Outside) -> None:
        clock, metrics, cluster = outside.clock, outside.metrics, outside.cluster
        self._clock = clock
        self._metrics = metrics
        self._cluster = cluster
        self.store = Store()
        self.memories = Memories()
        self.queue = WorkQueue(
            clock, outside.random, on_failure=self._log_failure, pause_of=pause_of
        )
        self.accounts = Accounts(
            outside.connect,
            AccountNews(
                on_droplet=self._on_droplet,
                on_gone=self._on_gone,
            ),
            on_sweep=self._on_sweep,
            deletions_due=self._deletions_due,
        )
        self._acme: Acme | None = None
        certificates: CertificateSteps | None = None
        keys = Keys(cluster, outside.namespace, self._ledger_uid)
        nameservers = outside.acme.nameservers if outside.acme is not None else Nameservers(clock)
        if outside.acme is not None:
            self._acme = Acme(
                keys,
                clock,
                outside.acme,
                history=self._placed_orders,
                on_order=metrics.acme_order,
            )
            metrics.watch_acme_limits(partial(self._acme_limits, self._acme))
            certificates = CertificateSteps(self._acme, keys, outside.agents, outside.acme, clock)
        ledgers = ClassLedgers(cluster, self.store, outside.cluster_uid)
        self.images = images = ClassImages(
            cluster=cluster,
            store=self.store,
            clock=clock,
            random=outside.random,
            cluster_uid=outside.cluster_uid,
            baker=Baker(
                cluster,
                self.store,
                clock,
                cluster_uid=outside.cluster_uid,
                agent_source=outside.agent_source,
                on_cost=partial(self._count_cost, "image"),
            ),
            wake=lambda name: self.queue.add(CLASS_PREFIX + name),
            on_count=metrics.images,
        )
        self.pools = pools = Pools(
            cluster=cluster,
            store=self.store,
            spares=Spares(
                cluster=cluster,
                store=self.store,
                agents=outside.agents,
                images=images,
                clock=clock,
                cluster_uid=outside.cluster_uid,
                agent_source=outside.agent_source,
                book_of=self._open_book,
                on_cost=partial(self._count_cost, "pool"),
            ),
            events=outside.events,
            metrics=metrics,
            clock=clock,
            random=outside.random,
            cluster_uid=outside.cluster_uid,
            agent_source=outside.agent_source,
            class_state=self._class_state,
        )
        self.classes = ClassController(
            cluster=cluster,
            store=self.store,
            accounts=self.accounts,
            claude_for=outside.claude_for,
            redactor=outside.redactor,
            events=outside.events,
            clock=clock,
            namespace=outside.namespace,
            ledgers=ledgers,
            gateways=Gateways(
                cluster=cluster,
                store=self.store,
                ledgers=ledgers,
                records=ClassRecords(ledgers, clock),
                acme=self._acme,
                keys=keys,
                nameservers=nameservers,
                clock=clock,
                namespace=outside.namespace,
                wake=lambda name: self.queue.add(CLASS_PREFIX + name),
                on_look=metrics.gateway_certificate,
            ),
            images=images,
            pools=pools,
            clock_words=outside.clock_difference.words,
            wake_session=self.queue.add,
            wake_class_after=lambda name, delay: self.queue.add_after(CLASS_PREFIX + name, delay),
        )
        self.bundles = bundles = Bundles(cluster, outside.namespace, self._ledger_uid)
        self.admission = Admission(
            self.store,
            clock.utc_now,
            wake=self.queue.add,
            wake_after=self.queue.add_after,
            budget_moved=lambda name: self.queue.add(BUDGET_PREFIX + name),
        )
        self.store.listener = self.admission
        replacements = ReplacementPace(clock)
        self._regions = regions = Regions(self.store, clock)
        self.health = HealthWatch(
            outside.probes, clock, outside.random, metrics, wake=self.queue.add
        )
        self._observer = Observer(
            self.store,
            self.memories,
            self.classes,
            NamespaceLabels(cluster, clock),
            self.admission,
            health=self.health,
            replacements=replacements,
            regions=regions,
            pools=pools,
            cluster_uid=outside.cluster_uid,
            has_acme=self._acme is not None,
            has_inspector=outside.inspector is not None,
            started_at=clock.utc_now(),
            utc_now=clock.utc_now,
        )
        self.clock_steps = ClockSteps(
            clock,
            move_dates=self._move_dates,
            look_at_all=self._look_at_all,
            check_leadership=outside.check_leadership,
        )
        environments = AppEnvironments(cluster, outside.redactor.register)
        generate = Generate(
            bundles=bundles,
            environments=environments,
            metrics=metrics,
            clock=clock,
            before_call=outside.check_leadership,
            on_answer=self.classes.on_claude_answer,
            wake=self.queue.add,
        )
        inspect = Inspect(
            outside.inspector,
            bundles=bundles,
            metrics=metrics,
            clock=clock,
            repair=generate.repair_app,
        )
        user_notices = UserNotices(outside.notices, self.store, clock)
        self._budgets = BudgetReports(
            cluster=cluster,
            store=self.store,
            admission=self.admission,
            events=outside.events,
            metrics=metrics,
            clock=clock,
            wake_after=lambda name, delay: self.queue.add_after(BUDGET_PREFIX + name, delay),
            tell=user_notices.tell_of_budget,
        )
        self._reconciler = Reconciler(
            store=self.store,
            memories=self.memories,
            observer=self._observer,
            actor=Actor(
                custody=Custody(cluster, self.store),
                resources=Resources(
                    steps_of_all_kinds(
                        DropletSteps(
                            agents=outside.agents,
                            clock=clock,
                            cluster_uid=outside.cluster_uid,
                            agent_source=outside.agent_source,
                            wake=self.queue.add,
                            no_capacity=regions.refuse,
                            images=images,
                            missed=pools.missed,
                        ),
                        LoadBalancerSteps(clock, outside.cluster_uid, outside.probes),
                        clock,
                        certificates,
                    )
                ),
                generate=generate,
                deploy=Deploy(
                    agents=outside.agents,
                    bundles=bundles,
                    environments=environments,
                    clock=clock,
                    repair=generate.repair_app,
                ),
                inspect=inspect,
                replace=Replace(
                    bundles=bundles,
                    pace=replacements,
                    metrics=metrics,
                    clock=clock,
                    cluster_uid=outside.cluster_uid,
                ),
                revise=Revise(
                    agents=outside.agents,
                    bundles=bundles,
                    generate=generate,
                    inspect=inspect,
                    environments=environments,
                    clock=clock,
                ),
                claim=Claim(
                    cluster=cluster,
                    store=self.store,
                    agents=outside.agents,
                    pools=pools,
                    metrics=metrics,
                    clock=clock,
                    agent_source=outside.agent_source,
                ),
                reservations=Reservations(self.store, self.admission.reserve),
            ),
            reporter=Reporter(
                cluster=cluster,
                store=self.store,
                events=outside.events,
                metrics=metrics,
                redactor=outside.redactor,
                clock=clock,
                tell_users=user_notices.tell,
            ),
            health=self.health,
            queue=self.queue,
            metrics=metrics,
            clock=clock,
            random=outside.random,
            check_leadership=outside.check_leadership,
            notice_steps=self.clock_steps.notice,
        )
        self._cluster_uid = outside.cluster_uid
        self.reaper = Reaper(
            cluster=cluster,
            store=self.store,
            events=outside.events,
            metrics=metrics,
            clock=clock,
            cluster_uid=outside.cluster_uid,
            check_leadership=outside.check_leadership,
            adopt=self._adopt,
            forget_ledger=self._forget_ledger,
            account_of=self._account_of,
            settings=outside.reaper,
        )
        metrics.watch_queue(
            depth=lambda: self.queue.depth,
            delayed=lambda: self.queue.delayed,
            oldest_wait_seconds=lambda: self.queue.oldest_wait_seconds,
        )
        metrics.watch_budget(
            remaining_in_hour=lambda: self._least(lambda budget: budget.remaining),
            remaining_in_minute=lambda: self._least(lambda budget: budget.remaining_in_minute),
        )

    def _least(self, of: Callable[[RateBudget], int]) -> float:
        """The least that any account has left; NaN before one is open."""
        return min(
            (float(of(account.budget)) for account in self.accounts.all()), default=float("nan")
        )

    def _ledger_uid(self, session_uid: str) -> str | None:
        record = self.store.record(session_uid)
        return record.uid if record is not None else None

    def _placed_orders(self) -> Iterable[PlacedOrder]:
        """Every order for a certificate that a ledger lists, what is not written yet included."""
        written = (line for stored in self.store.records() for line in stored.status.resources)
        known = (line for memory in self.memories for line in memory.book.resources)
        return orders_in({line.id: line for line in chain(written, known)}.values())

    def _acme_limits(self, acme: Acme) -> Iterator[AcmeLimit]:
        """How the limits stand that the orders of the classes count against."""
        specs = (known.spec for known in self.store.classes() if known.spec is not None)
        names = (name for spec in specs if (name := ordered_name(spec.exposure)) is not None)
        for one in acme.limits(names):
            domain = "" if one.limit is ORDERS else one.about
            yield AcmeLimit(one.limit.name, domain, one.limit.most, one.left)

    def _count_cost(self, kind: str, stored: StoredRecord, closed: RecordStatus) -> None:
        """The ledger of an image or a spare was closed: all of its cost is known."""
        class_name = stored.spec.class_name or "unknown"
        self._metrics.cost(books.known_cost(closed), kind, class_name)

    def _account_of(self, class_name: str | None) -> CloudAccount | None:
        state = self.classes.state(class_name or "")
        return state.account if state is not None else None

    def _class_state(self, class_name: str) -> ClassState | None:
        return self.classes.state(class_name)

    async def handle(self, key: str) -> None:
        """One turn of the work queue. Each line logged in it, or by what it starts, says whose it
        is.
        """
        began = self._clock.now()
        kind = _kind_of(key)
        result = "failed"
        try:
            with self._log_context(key):
                if kind == "class":
                    await self.classes.reconcile(key.removeprefix(CLASS_PREFIX))
                elif kind == "budget":
                    await self._budgets.report(key.removeprefix(BUDGET_PREFIX))
                elif kind == "pool":
                    self.pools.tend(key.removeprefix(POOL_PREFIX))
                elif not self._is_tended_beside(key):
                    self._take_in_unlisted(key)
                    await self._reconciler.reconcile(key)
            result = "ok"
        finally:
            self._metrics.reconciled(kind, result, self._clock.now() - began)

    def _log_failure(self, key: str, error: BaseException, failures: int) -> None:
        if isinstance(error, LeadershipLost):
            return  # This process ends for it, and says so once.
        with self._log_context(key):
            log_failure(key, error, failures, is_expected=is_expected)

    def _log_context(self, key: str) -> AbstractContextManager[None]:
        """Names the session of a key in the log, as long as it or its ledger is known."""
        if _kind_of(key) != "session":
            return nullcontext()
        session, record = self.store.session(key), self.store.record(key)
        if session is not None:
            return session_context(session.namespace, session.name, key)
        if record is not None:
            return session_context(record.spec.owner.namespace or "", record.spec.owner.name, key)
        return session_context("", key, key)

    def _move_dates(self, step: timedelta) -> None:
        """The clock was set: what this process remembers is as old as it was."""
        self._observer.move_start(step)
        self.health.move_dates(step)
        self._regions.move_dates(step)
        for memory in self.memories:
            memory.move_dates(step)

    def _look_at_all(self) -> None:
        """Whatever waits for a time waits for another one now."""
        for spawn_class in self.store.classes():
            self.queue.add(CLASS_PREFIX + spawn_class.name)
        for budget in self.store.budgets():
            self.queue.add(BUDGET_PREFIX + budget.name)
        for pool in self.store.pools():
            self.queue.add(POOL_PREFIX + pool.name)
        for session in self.store.sessions():
            self.queue.add(session.uid)
        for record in self.store.records():
            if record.spec.owner.kind == SESSION_OWNER:
                self.queue.add(record.spec.owner.uid)

    async def stop_acting(self) -> None:
        """End all that is under way. All of it can be ended half-way and found again."""
        await asyncio.gather(
            self.reaper.close(),
            self.memories.close(),
            self.classes.close(),
            self.pools.close(),
            self.health.close(),
        )

    async def close(self) -> None:
        """End all that is under way, and close all connections."""
        await self.stop_acting()
        await self.accounts.close()
        if self._acme is not None:
            await self._acme.close()

    async def load(self) -> None:
        """Take in all there is, before anything is decided: a session without its ledger would be
        taken for one that has none.

        Raises:
            ClusterError: a listing could not be had.
        """
        async for body in self._cluster.list_all(CLASSES):
            self.on_class(None, body)
        async for body in self._cluster.list_all(RECORDS):
            self.on_record(None, body)
        with suppress(ObjectNotFound):  # A kind that is not installed: there is no budget.
            async for body in self._cluster.list_all(BUDGETS):
                self.on_budget(None, body)
        with suppress(ObjectNotFound):  # The same of pools.
            async for body in self._cluster.list_all(POOLS):
                self.on_pool(None, body)
        async for body in self._cluster.list_all(SESSIONS):
            self.on_session(None, body)

    def kinds(self) -> tuple[Kind, ...]:
        """What is known of each kind of object, and how it is forgotten."""

        def gone(
            show: Callable[[str | None, Mapping[str, Any]], None], key: str
        ) -> Callable[[str], None]:
            return lambda value: show("DELETED", {"metadata": {key: value}})

        return (
            Kind(
                CLASSES,
                "name",
                lambda: [known.name for known in self.store.classes()],
                gone(self.on_class, "name"),
            ),
            Kind(
                RECORDS,
                "name",
                lambda: [known.spec.owner.uid for known in self.store.records()],
                gone(self.on_record, "name"),
            ),
            Kind(
                SESSIONS,
                "uid",
                lambda: [known.uid for known in self.store.sessions()],
                gone(self.on_session, "uid"),
            ),
            Kind(
                BUDGETS,
                "name",
                lambda: [known.name for known in self.store.budgets()],
                gone(self.on_budget, "name"),
            ),
            Kind(
                POOLS,
                "name",
                lambda: [known.name for known in self.store.pools()],
                gone(self.on_pool, "name"),
            ),
        )

    def on_session(self, type_: str | None, body: Mapping[str, Any]) -> None:
        """A watch showed a session. `type_` is ADDED, MODIFIED, DELETED, or None when listed."""
        uid = body["metadata"]["uid"]
        if type_ == "DELETED":
            self.store.remove_session(uid)
        elif not self.store.put_session(body):
            return
        self.queue.add(uid)

    def on_record(self, type_: str | None, body: Mapping[str, Any]) -> None:
        """A watch showed a ledger."""
        name = body["metadata"]["name"]
        if type_ == "DELETED":
            self._on_record_gone(name, body["metadata"].get("uid"))
        elif not self.store.put_record(body):
            return
        record = self.store.record(name)
        if record is not None and record.spec.owner.kind == CLASS_OWNER:
            self.queue.add(CLASS_PREFIX + record.spec.owner.name)
            return
        if record is not None and record.spec.owner.kind == IMAGE_OWNER:
            self.images.wake(record.spec.owner.name)
            self.queue.add(CLASS_PREFIX + record.spec.owner.name)
            return
        if record is not None and record.spec.owner.kind == POOL_OWNER:
            self.queue.add(POOL_PREFIX + record.spec.owner.name)
            return
        if record is not None:
            self.memories.of(name).take_in_ledger(record.status)
        self.queue.add(name)

    def _on_record_gone(self, name: str, uid: str | None) -> None:
        """A ledger was deleted. By hand, or with its kind, where something in it still exists:
        then what we know of it is kept, and written again.
        """
        known = self.store.record(name)
        if known is None or uid not in (None, known.uid):
            return
        is_sessions = known.spec.owner.kind == SESSION_OWNER
        book = self._book(name) if is_sessions else known.status
        exists = any(entry.presence is not Presence.GONE for entry in book.resources)
        if book.completed_at is not None or not exists:
            self.store.remove_record(name)
        elif not is_sessions:
            self.store.lose_record(name, stored=known.status)
        else:
            self.memories.of(name).ledger = book
            self.store.lose_record(name, stored=RecordStatus())

    def on_class(self, type_: str | None, body: Mapping[str, Any]) -> None:
        """A watch showed a class; sessions that wait for one look again."""
        name = body["metadata"]["name"]
        if type_ == "DELETED":
            self.store.remove_class(name)
        elif not self.store.put_class(body):
            return
        self.admission.class_changed(name)
        self.queue.add(CLASS_PREFIX + name)
        for session in self.store.sessions():
            if session.status.phase in (None, Phase.REQUESTED):
                self.queue.add(session.uid)

    def on_budget(self, type_: str | None, body: Mapping[str, Any]) -> None:
        """A watch showed a budget."""
        name = body["metadata"]["name"]
        if type_ == "DELETED":
            self.store.remove_budget(name)
        elif not self.store.put_budget(body):
            return
        self.queue.add(BUDGET_PREFIX + name)

    def on_pool(self, type_: str | None, body: Mapping[str, Any]) -> None:
        """A watch showed a pool."""
        name = body["metadata"]["name"]
        if type_ == "DELETED":
            self.store.remove_pool(name)
        elif not self.store.put_pool(body):
            return
        self.queue.add(POOL_PREFIX + name)
        pool = self.store.pool(name)
        if pool is not None and pool.spec is not None:
            self.queue.add(CLASS_PREFIX + pool.spec.class_name)  # It may need a firewall for them.

    def _deletions_due(self, account: CloudAccount) -> int:
        """How many names and droplets of an account are to be deleted within a minute.

        Those of sessions that ended just now count until their deletion is accepted: a session's
        droplet waits for its name, so a crowd of them is not always waiting for calls. A firewall
        does not count, since it goes after its droplet was seen gone. More than the account may
        call in a minute are not counted further.
        """
        now = self._clock.utc_now()
        due = 0
        for session in self.store.ending(now - DELETIONS_IN_SIGHT, now + DELETIONS_IN_SIGHT):
            if self._account_of(self.store.class_of(session)) is account:
                due += _left_to_delete(self._book(session.uid))
                if due >= account.budget.per_minute:
                    break
        return due

    def _on_sweep(self, account: CloudAccount, sweep: Sweep) -> None:
        """A walk through an account's droplets ended."""
        self.reaper.on_sweep(account, sweep)
        if sweep.complete and not sweep.suspicious:
            self._ask_after_unseen(account, sweep)

    def _ask_after_unseen(self, account: CloudAccount, sweep: Sweep) -> None:
        """A running session whose droplet no listing has shown: it may have gone before a restart.

        What the inventory knew and misses now, it asks after itself.
        """
        shown = {str(droplet.id) for droplet in sweep.droplets}
        for session in self.store.sessions():
            ready_at = session.status.ready_at
            if session.status.phase is not Phase.RUNNING or ready_at is None:
                continue
            if ready_at >= sweep.started_at:
                continue
            if self._account_of(self.store.class_of(session)) is not account:
                continue
            line = _droplet_of(self._book(session.uid))
            shown_here = {str(one.id) for one in account.inventory.snapshot_of(session.uid)}
            if line is not None and line.id not in shown | shown_here:
                self.memories.of(session.uid).droplet_unseen = True
                self.queue.add(session.uid)

    def _take_in_unlisted(self, uid: str) -> None:
        """After a start, a listing may have shown a droplet before its ledger was known."""
        if self.store.record(uid) is None:
            return
        for account in self.accounts.all():
            for droplet in account.inventory.snapshot_of(uid):
                if all(entry.id != str(droplet.id) for entry in self._book(uid).resources):
                    self._on_droplet(droplet)

    def _on_droplet(self, droplet: Droplet) -> None:
        """A listing showed a droplet in a new state."""
        uid = self._session_of(droplet)
        if uid is None:
            return
        memory, book = self.memories.of(uid), self._book(uid)
        line = next(
            (
                entry
                for entry in book.resources
                if entry.kind is ResourceKind.DROPLET and entry.id == str(droplet.id)
            ),
            None,
        )
        if line is None:
            if owner_of(droplet.name, droplet.tags, self._cluster_uid) == uid:
                self._adopt(uid, droplet)
            return
        if line is _droplet_of(book):
            before = memory.droplet
            memory.saw_droplet(DropletView(droplet.id, droplet.status, droplet.public_ip))
            session = self.store.session(uid)
            is_new = session is not None and session.status.ready_at is None
            if is_new or (before is not None and before.status != droplet.status):
                self.queue.add(uid)

    def _book(self, uid: str) -> RecordStatus:
        """A session's ledger with all that was learnt since it was last written."""
        memory, record = self.memories.of(uid), self.store.record(uid)
        if memory.ledger is not None:
            return memory.ledger
        return record.status if record is not None else RecordStatus()

    def _open_book(self, uid: str) -> RecordStatus | None:
        """A session's ledger with all that is known; None: it is closed, or there is none."""
        record = self.store.record(uid)
        if record is None or record.status.completed_at is not None:
            return None
        return self._book(uid)

    def _adopt(self, uid: str, droplet: Droplet) -> None:
        """Enter a droplet that turned up in the open ledger of its session.

        Its creation's answer was lost, or somebody dropped the ledger. From here on the session's
        own plan looks after it: it takes it, or deletes it where it has one already. A closed
        ledger stays closed; what turns up after it is the reaper's.
        """
        if self._is_tended_beside(uid):
            return  # The look of the image or the spare finds it by its name.
        book = self._book(uid)
        if self.store.record(uid) is None or book.completed_at is not None:
            return
        prices = next(
            (account.prices for account in self.accounts.all() if droplet.size in account.prices),
            {},
        )
        memory = self.memories.of(uid)
        memory.ledger = book = books.with_found(book, droplet_line(droplet, prices))
        primary = _droplet_of(book)
        if primary is not None and primary.id == str(droplet.id):
            memory.saw_droplet(DropletView(droplet.id, droplet.status, droplet.public_ip))
        self.queue.add(uid)

    def _session_of(self, droplet: Droplet) -> str | None:
        """The session whose plan looks after a droplet; None: it has no ledger, or an image's or
        a spare's. One that changes hands wears the marks of both for a moment.
        """
        return next(
            (
                uid
                for uid in _owners_of(droplet)
                if self.store.record(uid) is not None and not self._is_tended_beside(uid)
            ),
            None,
        )

    def _is_tended_beside(self, uid: str) -> bool:
        """Whether a ledger is that of an image or a spare, which no session's plan looks after."""
        record = self.store.record(uid)
        return record is not None and record.spec.owner.kind in (IMAGE_OWNER, POOL_OWNER)

    def _forget_ledger(self, uid: str) -> None:
        """A ledger was written beside the session's own plan: read it again."""
        if self._is_tended_beside(uid):
            return
        stored = self.store.record(uid)
        self.memories.of(uid).ledger = stored.status if stored is not None else None
        self.queue.add(uid)

    def _on_gone(self, droplet: Droplet) -> None:
        """A droplet was deleted outside the operator; DigitalOcean itself says so."""
        uid = self._session_of(droplet)
        if uid is None:
            for spare in _owners_of(droplet):
                self.pools.droplet_gone(spare)
            return
        self.memories.of(uid).ledger = books.with_gone(
            self._book(uid), ResourceKind.DROPLET, str(droplet.id), self._clock.utc_now()
        )
        self.queue.add(uid)


def _kind_of(key: str) -> str:
    """What a key of the work queue is about."""
    if key.startswith(CLASS_PREFIX):
        return "class"
    if key.startswith(POOL_PREFIX):
        return "pool"
    return "budget" if key.startswith(BUDGET_PREFIX) else "session"


def _owners_of(droplet: Droplet) -> list[str]:
    """The UIDs of those whose marks a droplet wears."""
    prefix = session_tag("")
    return sorted(tag.removeprefix(prefix) for tag in droplet.tags if tag.startswith(prefix))


def _droplet_of(book: RecordStatus) -> LedgerEntry | None:
    """The droplet that a session goes on with: the first that was not seen gone."""
    return next(
        (
            entry
            for entry in book.resources
            if entry.kind is ResourceKind.DROPLET and entry.presence is not Presence.GONE
        ),
        None,
    )


_DELETED_FIRST = (
    ResourceKind.DOMAIN_RECORD,
    ResourceKind.LOAD_BALANCER,
    ResourceKind.DROPLET,
)


def _left_to_delete(book: RecordStatus) -> int:
    """How many names, load balancers and droplets of a session are not deleted yet."""
    return sum(
        1
        for entry in book.resources
        if entry.kind in _DELETED_FIRST
        and entry.presence is not Presence.GONE
        and entry.deletion_accepted_at is None
    )
