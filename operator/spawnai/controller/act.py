"""Carries out actions: every call to the cloud, to Claude, to a droplet and to the API server.

Each action has a time limit, finds out by itself whether it was done already, and leaves what it
learnt in the session's memory: identities of what exists go into the ledger first of all.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from spawnai.api.durations import parse_duration
from spawnai.api.names import (
    API_VERSION,
    FINALIZER,
    SESSION_UID_LABEL,
    TAG_EPHEMERAL,
    TAG_PRODUCT,
    class_tag,
    cluster_tag,
    session_droplet_name,
    session_firewall_name,
    session_tag,
    ttl_tag,
)
from spawnai.api.record import GenerationEntry, LedgerEntry, ResourceKind
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing import ledger as books
from spawnai.billing.token_prices import has_price, token_cost
from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import (
    Ambiguous,
    NoCapacity,
    NotFound,
    OverQuota,
    UnknownOption,
)
from spawnai.digitalocean.firewalls import session_rules
from spawnai.digitalocean.models import DomainRecord, Droplet, DropletOrder, FirewallOrder
from spawnai.droplet.client import (
    AgentClient,
    AgentRejected,
    AgentStatus,
    AgentUnreachable,
    AgentUntrusted,
)
from spawnai.droplet.cloud_config import DropletBootstrap, render_user_data
from spawnai.droplet.credentials import SessionCredentials, derive_credentials
from spawnai.generation.bundle import Bundle
from spawnai.generation.claude import GenerationOrder, GenerationProgress, Generator
from spawnai.generation.errors import GenerationError
from spawnai.generation.usage import TokenUsage
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import (
    AppView,
    DropletView,
    FailureKind,
    Session,
    StoredBundle,
)
from spawnai.telemetry.metrics import Metrics

from .accounts import CloudAccount
from .cluster import Cluster, Conflict, ObjectNotFound
from .failures import SessionFailed, failure_of
from .memory import Memory
from .store import Store

AGENT_PORT = 8443
AGENT_POLL_SECONDS = 0.25
PROGRESS_INTERVAL_SECONDS = 5.0
BUNDLE_KEY = "bundle.json"
GENERATION_KEY = "generation.json"
APP_FAILURES = {
    "InstallFailed": "the app's dependencies could not be installed",
    "AppCrashed": "the app died as often as it was started",
    "AppNeverAnswered": "the app started but never answered",
    "OutOfMemory": "the app used more memory than it may",
    "DiskFull": "the app filled its disk",
    "TooManyProcesses": "the app started too many processes",
}

ActionType = TypeVar("ActionType", bound=do.Action)


@dataclass(frozen=True, slots=True)
class Backing:
    """What serves a session: its class, and the account and Claude behind it."""

    class_name: str
    class_uid: str
    spec: ClassSpec
    account: CloudAccount
    generator: Generator


@dataclass(frozen=True, slots=True)
class Work:
    """One action to carry out, with all it may look at."""

    uid: str
    session: Session | None
    memory: Memory
    backing: Backing | None


class NotYet(Exception):
    """Looked, and it is not so yet: look again."""


class Actor:
    """Carries out one action at a time for a session; made once, knows no session itself."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        master_key: bytes,
        cluster_uid: str,
        agent_source: str,
        before_write: Callable[[], None],
        wake: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._master_key = master_key
        self._cluster_uid = cluster_uid
        self._agent_source = agent_source
        self._before_write = before_write
        self._wake = wake
        self._handlers: Mapping[
            type[do.Action], tuple[float, Callable[[Work, Any], Awaitable[timedelta | None]]]
        ] = {
            do.AddFinalizer: (15, self._add_finalizer),
            do.RemoveFinalizer: (15, self._remove_finalizer),
            do.CreateRecord: (15, self._create_record),
            do.DeleteRecord: (15, self._delete_record),
            do.ConfirmSessionGone: (15, self._confirm_session_gone),
            do.CreateDroplet: (90, self._create_droplet),
            do.FindDroplet: (60, self._find_droplet),
            do.AwaitDroplet: (30, self._await_droplet),
            do.CreateFirewall: (60, self._create_firewall),
            do.FindFirewall: (60, self._find_firewall),
            do.CheckFirewall: (60, self._check_firewall),
            do.CreateDomainRecord: (60, self._create_domain_record),
            do.FindDomainRecord: (60, self._find_domain_record),
            do.GenerateApp: (600, self._generate_app),
            do.DeployApp: (600, self._deploy_app),
            do.SetExpiry: (15, self._set_expiry),
            do.CheckApp: (15, self._check_app),
            do.TakeLog: (5, self._take_log),
            do.DeleteResource: (120, self._delete_resource),
            do.VerifyGone: (120, self._verify_gone),
        }

    async def carry_out(self, work: Work, action: do.Action) -> timedelta | None:
        """Do it. Returns when to do it again at the earliest, if that matters; raises on failure.

        A creation that ran out of time is ambiguous: it may have happened.
        """
        limit, handler = self._handlers[type(action)]
        try:
            async with asyncio.timeout(limit):
                return await handler(work, action)
        except TimeoutError as error:
            if isinstance(action, do.CreateDroplet | do.CreateFirewall | do.CreateDomainRecord):
                raise Ambiguous(f"no answer within {limit:.0f} s; it may have happened") from error
            raise

    # --- The API server -------------------------------------------------------------------------

    async def _add_finalizer(self, work: Work, _action: do.AddFinalizer) -> None:
        session = _session(work)
        await self._set_finalizers(session, present=True)

    async def _remove_finalizer(self, work: Work, _action: do.RemoveFinalizer) -> None:
        session = work.session
        if session is None:
            return
        try:
            await self._set_finalizers(session, present=False)
        except ObjectNotFound:
            self._store.remove_session(work.uid)

    async def _set_finalizers(self, session: Session, *, present: bool) -> None:
        """Replace the list against the version it was read at: someone else may change it too."""
        body = await self._cluster.get_session(session.namespace, session.name)
        metadata = body["metadata"]
        if metadata["uid"] != session.uid:
            raise ObjectNotFound(
                f"session {session.namespace}/{session.name}", "another one has its name now"
            )
        finalizers = [name for name in metadata.get("finalizers") or [] if name != FINALIZER]
        if present:
            finalizers.append(FINALIZER)
        if finalizers != (metadata.get("finalizers") or []):
            body = await self._cluster.patch_session(
                session.namespace,
                session.name,
                {
                    "metadata": {
                        "finalizers": finalizers,
                        "resourceVersion": metadata["resourceVersion"],
                    }
                },
            )
        self._store.put_session(body)

    async def _create_record(self, work: Work, action: do.CreateRecord) -> None:
        owner = action.spec.owner
        body = {
            "apiVersion": API_VERSION,
            "kind": "SpawnRecord",
            "metadata": {"name": owner.uid, "labels": {SESSION_UID_LABEL: owner.uid}},
            "spec": action.spec.document(),
        }
        try:
            created = await self._cluster.create_record(body)
            work.memory.record_made_here = True
        except Conflict:
            created = await self._cluster.get_record(owner.uid)
        self._store.put_record(created)

    async def _delete_record(self, work: Work, _action: do.DeleteRecord) -> None:
        try:
            await self._cluster.delete_record(work.uid)
        except ObjectNotFound:
            self._store.remove_record(work.uid)

    async def _confirm_session_gone(self, work: Work, action: do.ConfirmSessionGone) -> None:
        try:
            body = await self._cluster.get_session(action.namespace, action.name)
        except ObjectNotFound:
            work.memory.session_confirmed_gone = True
            return
        if body["metadata"]["uid"] == work.uid:
            self._store.put_session(body)
        else:
            work.memory.session_confirmed_gone = True

    # --- Droplets -------------------------------------------------------------------------------

    async def _create_droplet(self, work: Work, action: do.CreateDroplet) -> None:
        session, backing, memory = _session(work), _backing(work), work.memory
        account = backing.account
        if account.quota.must_wait(work.uid, session.created_at):
            account.quota.join(work.uid, session.created_at)
            raise OverQuota("older sessions wait for the account's droplet limit")
        now = self._clock.utc_now()
        order = DropletOrder(
            name=session_droplet_name(work.uid),
            region=action.placement.region,
            size=action.placement.size,
            image=backing.spec.image,
            user_data=self._user_data(session, backing, action.expires_at),
            tags=(
                TAG_PRODUCT,
                TAG_EPHEMERAL,
                session_tag(work.uid),
                cluster_tag(self._cluster_uid),
                class_tag(backing.class_uid),
                wave_tag(now),
                ttl_tag(int(action.expires_at.timestamp())),
            ),
        )
        self._before_write()
        try:
            droplet = await account.droplets.create(order, priority=Priority.NEW)
        except OverQuota:
            account.quota.join(work.uid, session.created_at)
            raise
        except (NoCapacity, UnknownOption) as error:
            placement = (action.placement.region, action.placement.size)
            memory.rejected[placement] = failure_of(error, self._clock.utc_now())
            raise
        account.quota.leave(work.uid)
        self._note_droplet(work, droplet, backing)
        if (waiting := account.quota.first()) is not None:
            self._wake(waiting)

    def _user_data(self, session: Session, backing: Backing, expires_at: datetime) -> str:
        return render_user_data(
            DropletBootstrap(
                session_uid=session.uid,
                app_type=session.order.app_type,
                credentials=self._credentials(session.uid, session.created_at),
                agent_source=self._agent_source,
                expires_at=expires_at,
                grace_seconds=int(
                    parse_duration(backing.spec.lifetime.dead_man_grace).total_seconds()
                ),
                agent_port=AGENT_PORT,
                http_port=backing.spec.exposure.http_port,
            )
        )

    def _credentials(self, uid: str, created_at: datetime) -> SessionCredentials:
        return derive_credentials(self._master_key, uid, created_at)

    def _note_droplet(self, work: Work, droplet: Droplet, backing: Backing) -> None:
        memory = work.memory
        price = droplet.price_hourly
        if price is None:
            price = backing.account.prices.get(droplet.size)
        entry = LedgerEntry(
            kind=ResourceKind.DROPLET,
            id=str(droplet.id),
            name=droplet.name,
            region=droplet.region,
            size=droplet.size,
            ip=droplet.public_ip,
            price_hourly=str(price) if price is not None else None,
            created_at=droplet.created_at,
        )
        memory.ledger = books.with_resource(work.memory.book, entry)
        memory.proven.add((ResourceKind.DROPLET, str(droplet.id)))
        memory.droplet = DropletView(droplet.id, droplet.status, droplet.public_ip)
        backing.account.inventory.saw(droplet)

    async def _find_droplet(self, work: Work, _action: do.FindDroplet) -> timedelta:
        backing = _backing(work)
        name = session_droplet_name(work.uid)
        found = await backing.account.droplets.list_by_name(name, priority=Priority.RUNNING)
        for droplet in found:
            if droplet.name == name:
                self._note_droplet(work, droplet, backing)
        return timedelta(seconds=3)

    async def _await_droplet(self, work: Work, action: do.AwaitDroplet) -> None:
        backing, memory = _backing(work), work.memory
        inventory = backing.account.inventory
        created = next(
            (
                entry.created_at
                for entry in memory.book.resources
                if entry.id == str(action.droplet_id)
            ),
            self._clock.utc_now(),
        )
        wave = wave_tag(created)
        deadline = self._clock.now() + 20
        inventory.watch(wave)
        try:
            while self._clock.now() < deadline:
                view = memory.droplet
                if view is not None and view.status == "active" and view.ip is not None:
                    memory.ledger = books.with_address(
                        memory.book, ResourceKind.DROPLET, str(view.id), view.ip
                    )
                    return
                await self._clock.sleep(0.05)
        finally:
            inventory.unwatch(wave)
        # Not in its wave's listing: its tag came late, or it is gone.
        droplet = await backing.account.droplets.get(action.droplet_id, priority=Priority.NEW)
        if droplet is not None:
            inventory.saw(droplet)
            memory.droplet = DropletView(droplet.id, droplet.status, droplet.public_ip)
        elif self._clock.utc_now() > created + timedelta(seconds=60):
            self._saw_gone(work, ResourceKind.DROPLET, str(action.droplet_id))

    def _saw_gone(self, work: Work, kind: ResourceKind, id_: str) -> None:
        memory = work.memory
        known = memory.book
        memory.ledger = books.with_gone(known, kind, id_, self._clock.utc_now())

    # --- Firewall and name ----------------------------------------------------------------------

    async def _create_firewall(self, work: Work, action: do.CreateFirewall) -> None:
        backing = _backing(work)
        order = firewall_order(
            session_firewall_name(work.uid), backing.spec, droplet_ids=(action.droplet_id,)
        )
        self._before_write()
        firewall = await backing.account.firewalls.create(order, priority=Priority.NEW)
        self._note(work, ResourceKind.FIREWALL, firewall.id, firewall.name)

    async def _find_firewall(self, work: Work, _action: do.FindFirewall) -> timedelta:
        name = session_firewall_name(work.uid)
        for firewall in await _backing(work).account.firewalls.list(priority=Priority.RUNNING):
            if firewall.name == name:
                self._note(work, ResourceKind.FIREWALL, firewall.id, firewall.name)
        return timedelta(seconds=3)

    async def _check_firewall(self, work: Work, action: do.CheckFirewall) -> None:
        watch = _backing(work).account.firewall_watch
        if not await watch.in_force(action.firewall_id, action.droplet_id):
            raise NotYet(f"firewall {action.firewall_id} does not exist")
        work.memory.firewall_in_force = True

    async def _create_domain_record(self, work: Work, action: do.CreateDomainRecord) -> None:
        self._before_write()
        record = await _backing(work).account.records.create(
            action.domain, action.name, action.ip, action.ttl_seconds, priority=Priority.NEW
        )
        self._note_record(work, record)

    async def _find_domain_record(self, work: Work, action: do.FindDomainRecord) -> timedelta:
        found = await _backing(work).account.records.find(
            f"{action.name}.{action.domain}", action.domain, priority=Priority.RUNNING
        )
        for record in found:
            if record.data == action.ip:
                self._note_record(work, record)
        return timedelta(seconds=3)

    def _note_record(self, work: Work, record: DomainRecord) -> None:
        self._note(
            work,
            ResourceKind.DOMAIN_RECORD,
            str(record.id),
            f"{record.name}.{record.domain}",
            domain=record.domain,
            ip=record.data,
        )

    def _note(
        self,
        work: Work,
        kind: ResourceKind,
        id_: str,
        name: str,
        *,
        domain: str | None = None,
        ip: str | None = None,
    ) -> None:
        entry = LedgerEntry(
            kind=kind,
            id=id_,
            name=name,
            domain=domain,
            ip=ip,
            created_at=self._clock.utc_now().replace(microsecond=0),
        )
        work.memory.ledger = books.with_resource(work.memory.book, entry)
        work.memory.proven.add((kind, id_))

    # --- The app --------------------------------------------------------------------------------

    async def _generate_app(self, work: Work, _action: do.GenerateApp) -> None:
        session, backing, memory = _session(work), _backing(work), work.memory
        stored = await self._stored_bundle(session)
        if stored is not None:
            memory.bundle = stored
            self._note_generation(work, stored.generation)
            return
        model = backing.spec.model
        started = self._clock.utc_now().replace(microsecond=0)
        order = GenerationOrder(
            prompt=session.order.prompt,
            app_type=session.order.app_type,
            model=model.name,
            max_output_tokens=model.max_output_tokens,
            effort=model.effort,
            user_id=work.uid,
        )

        paid = TokenUsage()
        woken = self._clock.now()

        def progress(news: GenerationProgress) -> None:
            nonlocal paid, woken
            paid, memory.generation_fraction = news.usage, news.fraction
            if self._clock.now() >= woken + PROGRESS_INTERVAL_SECONDS:
                woken = self._clock.now()
                self._wake(work.uid)

        try:
            made = await backing.generator.generate(order, on_progress=progress)
        except asyncio.CancelledError:
            self._note_unfinished(work, model.name, paid, started, "Cancelled")
            raise
        except GenerationError as error:
            outcome = type(error).__name__
            self._note_unfinished(work, model.name, error.usage, started, outcome)
            if failure_of(error, started).kind is FailureKind.FINAL:
                raise SessionFailed(outcome, error.message) from error
            raise
        entry = _generation_entry(
            made.model,
            made.usage,
            started=started,
            finished=self._clock.utc_now(),
            outcome="Stored",
            repairs=made.repairs,
        )
        self._note_generation(work, entry)
        memory.bundle = await self._store_bundle(session, made.bundle, entry)

    async def _stored_bundle(self, session: Session) -> StoredBundle | None:
        try:
            data = await self._cluster.get_secret(session.namespace, bundle_name(session.uid))
        except ObjectNotFound:
            return None
        bundle = Bundle.from_document(json.loads(data[BUNDLE_KEY]))
        entry = GenerationEntry.model_validate_json(data[GENERATION_KEY])
        return StoredBundle(bundle.digest, entry)

    async def _store_bundle(
        self, session: Session, bundle: Bundle, entry: GenerationEntry
    ) -> StoredBundle:
        """Store what was paid for; trying again here is free, ordering again is not."""
        data = {
            BUNDLE_KEY: json.dumps(bundle.document(), ensure_ascii=False).encode(),
            GENERATION_KEY: entry.model_dump_json(by_alias=True).encode(),
        }
        owner = {
            "apiVersion": API_VERSION,
            "kind": "SpawnSession",
            "name": session.name,
            "uid": session.uid,
        }
        pause = 0.2
        while True:
            try:
                await self._cluster.create_secret(
                    session.namespace,
                    bundle_name(session.uid),
                    data,
                    labels={SESSION_UID_LABEL: session.uid},
                    owner=owner,
                )
            except Conflict:
                stored = await self._stored_bundle(session)
                if stored is not None:
                    return stored
            except Exception:
                if pause > 20:  # noqa: PLR2004
                    raise
            else:
                return StoredBundle(bundle.digest, entry)
            await self._clock.sleep(pause)
            pause *= 2

    def _note_unfinished(
        self, work: Work, model: str, paid: TokenUsage, started: datetime, outcome: str
    ) -> None:
        """An order without an app is paid for all the same."""
        if paid != TokenUsage():
            finished = self._clock.utc_now()
            entry = _generation_entry(
                model, paid, started=started, finished=finished, outcome=outcome
            )
            self._note_generation(work, entry)

    def _note_generation(self, work: Work, entry: GenerationEntry) -> None:
        memory = work.memory
        known = memory.book
        memory.ledger = books.with_generation(known, entry)
        if memory.ledger is not known:
            for kind in ("input", "output", "cache_read", "cache_write"):
                count = getattr(entry, f"{kind}_tokens")
                if count:
                    self._metrics.claude_tokens(entry.model, kind, count)

    async def _deploy_app(self, work: Work, action: do.DeployApp) -> None:
        """Give the app to the droplet and follow it until it answers, or says why it never will."""
        session = _session(work)
        data = await self._cluster.get_secret(session.namespace, bundle_name(session.uid))
        document = json.loads(data[BUNDLE_KEY])
        async with self._agent(work, action.ip) as agent:
            await self._push(agent, document)
            while True:
                try:
                    status = await agent.status()
                except AgentUnreachable:
                    await self._clock.sleep(AGENT_POLL_SECONDS)
                    continue
                self._saw_app(work, status)
                if status.state in ("running", "finished"):
                    return
                if status.state == "failed":
                    reason = status.reason or "AppCrashed"
                    words = APP_FAILURES.get(reason, "the app failed")
                    tail = " | ".join(status.log[-5:])
                    raise SessionFailed(reason, f"{words}; its last lines: {tail}")
                await self._clock.sleep(AGENT_POLL_SECONDS)

    async def _push(self, agent: AgentClient, document: Mapping[str, Any]) -> None:
        while True:
            try:
                await agent.push(document)
            except AgentUnreachable:
                await self._clock.sleep(AGENT_POLL_SECONDS)
            else:
                return

    def _agent(self, work: Work, ip: str) -> AgentClient:
        session = _session(work)
        credentials = self._credentials(work.uid, session.created_at)
        return AgentClient(ip, AGENT_PORT, credentials)

    def _saw_app(self, work: Work, status: AgentStatus) -> None:
        work.memory.app = AppView(
            status.state, status.reason, status.restarts, self._clock.utc_now()
        )
        if status.log:
            work.memory.log = status.log

    async def _set_expiry(self, work: Work, action: do.SetExpiry) -> None:
        async with self._agent(work, action.ip) as agent:
            await agent.set_expiry(action.expires_at)

    async def _check_app(self, work: Work, action: do.CheckApp) -> None:
        try:
            async with self._agent(work, action.ip) as agent:
                self._saw_app(work, await agent.status())
        except AgentUnreachable:
            await self._look_after_droplet(work)
            raise

    async def _look_after_droplet(self, work: Work) -> None:
        """The agent is silent: is its droplet still there? It may have gone before a restart."""
        account = _backing(work).account
        for entry in work.memory.book.resources:
            if entry.kind is ResourceKind.DROPLET and entry.gone_at is None:
                found = await account.droplets.get(int(entry.id), priority=Priority.RUNNING)
                if found is None:
                    self._saw_gone(work, entry.kind, entry.id)

    async def _take_log(self, work: Work, action: do.TakeLog) -> None:
        try:
            async with self._agent(work, action.ip) as agent:
                self._saw_app(work, await agent.status())
        except (AgentUnreachable, AgentRejected, AgentUntrusted):
            return

    # --- The end --------------------------------------------------------------------------------

    async def _delete_resource(self, work: Work, action: do.DeleteResource) -> None:
        """Delete one thing by its recorded identity, once it has shown that it is ours."""
        account, entry = _backing(work).account, action.entry
        if (entry.kind, entry.id) not in work.memory.proven:
            ours = await self._is_ours(work, account, entry)
            if ours is None:
                self._saw_gone(work, entry.kind, entry.id)
                return
            if not ours:
                work.memory.ledger = books.with_unknown(work.memory.book, entry.kind, entry.id)
                raise NotYet(
                    f"{entry.kind} {entry.id} does not show that it belongs to this session: "
                    "it was left alone; look at it and delete it by hand"
                )
            work.memory.proven.add((entry.kind, entry.id))
        self._before_write()
        if entry.kind is ResourceKind.DROPLET:
            accepted = await account.droplets.delete(int(entry.id), priority=Priority.DESTROY)
        elif entry.kind is ResourceKind.DOMAIN_RECORD:
            accepted = await account.records.delete(
                entry.domain or "", int(entry.id), priority=Priority.DESTROY
            )
        else:
            accepted = await account.firewalls.delete(entry.id, priority=Priority.DESTROY)
        now = self._clock.utc_now()
        work.memory.ledger = books.with_deletion_accepted(
            work.memory.book, entry.kind, entry.id, now
        )
        if entry.kind is ResourceKind.DROPLET:
            account.quota.leave(work.uid)
            if (waiting := account.quota.first()) is not None:
                self._wake(waiting)
        if not accepted:
            self._saw_gone(work, entry.kind, entry.id)

    async def _is_ours(self, work: Work, account: CloudAccount, entry: LedgerEntry) -> bool | None:
        """Whether the thing itself shows this session's mark; None when it does not exist."""
        priority = Priority.DESTROY
        if entry.kind is ResourceKind.DROPLET:
            known = {droplet.id: droplet for droplet in account.inventory.snapshot_of(work.uid)}
            droplet = known.get(int(entry.id))
            if droplet is None:
                droplet = await account.droplets.get(int(entry.id), priority=priority)
            if droplet is None:
                return None
            return session_tag(work.uid) in droplet.tags or (
                droplet.name == session_droplet_name(work.uid)
            )
        if entry.kind is ResourceKind.DOMAIN_RECORD:
            domain = entry.domain or ""
            record = await account.records.get(domain, int(entry.id), priority=priority)
            if record is None:
                return None
            return f"{record.name}.{domain}" == entry.name and record.data == entry.ip
        firewall = await account.firewalls.get(entry.id, priority=priority)
        if firewall is None:
            return None
        return firewall.name == session_firewall_name(work.uid)

    async def _verify_gone(self, work: Work, action: do.VerifyGone) -> None:
        account = _backing(work).account
        if action.kind is ResourceKind.DROPLET:
            gone = await account.droplets.get(int(action.id), priority=Priority.DESTROY) is None
            if gone:
                account.inventory.forget(int(action.id))
        elif action.kind is ResourceKind.DOMAIN_RECORD:
            try:
                left = await account.inventory.verify_records(
                    action.domain or "", priority=Priority.DESTROY
                )
            except NotFound:
                left = ()
            gone = all(str(record.id) != action.id for record in left)
        else:
            gone = await account.firewalls.get(action.id, priority=Priority.DESTROY) is None
        if not gone:
            raise NotYet(f"{action.kind} {action.id} is still there")
        self._saw_gone(work, action.kind, action.id)


def bundle_name(session_uid: str) -> str:
    """The Secret that holds a session's app.

    Its name is known before its content: that is how a restarted operator, which may not list
    Secrets, finds out that the app was paid for already. The digest stands inside.
    """
    return f"spawn-{session_uid}-app"


def wave_tag(at: datetime) -> str:
    """The creation window of ten minutes that a droplet belongs to."""
    window = at.astimezone(UTC)
    return f"wave:{window:%Y%m%d%H}{window.minute // 10}0"


def firewall_order(
    name: str,
    spec: ClassSpec,
    *,
    tags: tuple[str, ...] = (),
    droplet_ids: tuple[int, ...] = (),
) -> FirewallOrder:
    """The firewall that a class wants around its droplets."""
    inbound, outbound = session_rules(
        agent_port=AGENT_PORT,
        operator_addresses=tuple(spec.firewall.operator_addresses),
        ssh_from_private_ranges=spec.firewall.ssh,
    )
    return FirewallOrder(
        name=name, inbound=inbound, outbound=outbound, tags=tags, droplet_ids=droplet_ids
    )


def _session(work: Work) -> Session:
    if work.session is None:
        raise NotYet("the session is not known any more")
    return work.session


def _backing(work: Work) -> Backing:
    if work.backing is None:
        raise NotYet("its class cannot be used now")
    return work.backing


def _generation_entry(
    model: str,
    usage: TokenUsage,
    *,
    started: datetime,
    finished: datetime,
    outcome: str,
    repairs: int = 0,
) -> GenerationEntry:
    tokens = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
    }
    return GenerationEntry(
        model=model,
        started_at=started,
        finished_at=finished.replace(microsecond=0),
        outcome=outcome,
        repairs=repairs,
        cost=books.money(token_cost(model, **tokens)) if has_price(model) else "0",
        **tokens,
    )
