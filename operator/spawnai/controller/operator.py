"""The composition root: everything the operator is made of is built and wired here.

kopf gives login and watching. One `@kopf.on.event` for each kind stores the object and wakes its
key; nothing below this module knows of kopf.
"""

import asyncio
import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from random import SystemRandom
from typing import Any

import kopf
from kubernetes.aio import client, config
from prometheus_client import CollectorRegistry

from spawnai.api.names import GROUP, VERSION, cluster_tag
from spawnai.api.record import ResourceKind
from spawnai.api.session import Phase
from spawnai.billing.ledger import with_gone
from spawnai.clock import Clock, SystemClock
from spawnai.digitalocean.models import Droplet
from spawnai.droplet.cloud_config import read_agent_source
from spawnai.generation.claude import Generator, open_client
from spawnai.lifecycle.observation import DropletView
from spawnai.settings import Settings
from spawnai.telemetry.events import EventRecorder
from spawnai.telemetry.http import TelemetryServer
from spawnai.telemetry.logs import configure_logging
from spawnai.telemetry.metrics import Metrics
from spawnai.telemetry.redaction import Redactor

from .accounts import Accounts
from .act import Actor
from .agents import Agents
from .bundles import Bundles
from .classes import Classes, Claude
from .cluster import CLASSES, RECORDS, SESSIONS, Cluster
from .custody import Custody
from .deploy import Deploy
from .destroy import Destroy
from .generate import Generate
from .installation_key import installation_key
from .leader import KubernetesLeases, Leadership, LeadershipLost
from .memory import Memories
from .observe import Observer
from .provision import Provision
from .reconciler import Reconciler
from .report import Reporter
from .store import Store
from .workqueue import WorkQueue

_LOGGER = logging.getLogger(__name__)

CLASS_PREFIX = "class/"
STUCK_SECONDS = 60.0
"""After how long without a step the work queue counts as stuck and the liveness probe fails."""

LEASE_NAME = "spawnai-operator"


class Operator:
    """One operator process, from its first watch to its last write."""

    def __init__(
        self,
        settings: Settings,
        *,
        api: client.ApiClient,
        leadership: Leadership,
        clock: Clock,
        cluster_uid: str,
        master_key: bytes,
        metrics: Metrics,
        redactor: Redactor,
    ) -> None:
        random = SystemRandom()
        self._clock = clock
        self._leadership = leadership
        self._settings = settings
        self.store = Store()
        self.memories = Memories()
        self.queue = WorkQueue(clock, random)
        self.metrics = metrics
        self.cluster = Cluster(
            api,
            before_write=leadership.check,
            on_write=metrics.api_write,
        )
        self.events = EventRecorder(
            self.cluster.write_event,
            clock,
            instance=settings.identity,
            on_result=metrics.event,
            redactor=redactor,
        )
        self.accounts = Accounts(
            base_url=settings.digitalocean_api_url,
            cluster_tag=cluster_tag(cluster_uid),
            clock=clock,
            random=random,
            on_call=metrics.digitalocean_call,
            on_droplet=self._on_droplet,
            on_gone=self._on_gone,
        )
        self._claude: dict[str, Claude] = {}
        self._random = random
        self.classes = Classes(
            cluster=self.cluster,
            store=self.store,
            accounts=self.accounts,
            claude_for=self._claude_for,
            redactor=redactor,
            clock=clock,
            namespace=settings.namespace,
            cluster_uid=cluster_uid,
            wake_session=self.queue.add,
            wake_class_after=lambda name, delay: self.queue.add_after(CLASS_PREFIX + name, delay),
        )
        agents, bundles = Agents(master_key), Bundles(self.cluster, clock)
        self._reconciler = Reconciler(
            store=self.store,
            memories=self.memories,
            observer=Observer(
                self.store,
                self.memories,
                self.classes,
                cluster_uid=cluster_uid,
                started_at=clock.utc_now(),
                utc_now=clock.utc_now,
            ),
            actor=Actor(
                custody=Custody(self.cluster, self.store),
                provision=Provision(
                    agents=agents,
                    clock=clock,
                    cluster_uid=cluster_uid,
                    agent_source=read_agent_source(),
                    before_write=leadership.check,
                    wake=self.queue.add,
                ),
                generate=Generate(
                    bundles=bundles, metrics=metrics, clock=clock, wake=self.queue.add
                ),
                deploy=Deploy(agents=agents, bundles=bundles, clock=clock),
                destroy=Destroy(before_write=leadership.check, wake=self.queue.add),
            ),
            reporter=Reporter(self.cluster, self.store, self.events, metrics, clock),
            queue=self.queue,
            metrics=metrics,
            clock=clock,
            random=random,
            check_leadership=leadership.check,
        )
        metrics.watch_queue(
            depth=lambda: self.queue.depth,
            delayed=lambda: self.queue.delayed,
            oldest_wait_seconds=lambda: self.queue.oldest_wait_seconds,
        )
        metrics.watch_budget(
            remaining_in_hour=lambda: self._remaining("remaining"),
            remaining_in_minute=lambda: self._remaining("remaining_in_minute"),
        )

    def _remaining(self, which: str) -> float:
        budgets = [account.budget for account in self.accounts.all()]
        return min((float(getattr(budget, which)) for budget in budgets), default=float("nan"))

    def _claude_for(self, api_key: str) -> Claude:
        if api_key not in self._claude:
            opened = open_client(api_key, self._settings.anthropic_base_url)
            generator = Generator(opened, clock=self._clock, random=self._random)
            self._claude[api_key] = Claude(opened, generator)
        return self._claude[api_key]

    async def handle(self, key: str) -> None:
        """One turn of the work queue."""
        began = self._clock.now()
        kind = "class" if key.startswith(CLASS_PREFIX) else "session"
        result = "failed"
        try:
            if kind == "class":
                await self.classes.reconcile(key.removeprefix(CLASS_PREFIX))
            else:
                await self._reconciler.reconcile(key)
            result = "ok"
        finally:
            self.metrics.reconciled(kind, result, self._clock.now() - began)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch and work until told to stop, or until the lease is lost."""
        ready = asyncio.Event()
        operator = kopf.operator(
            registry=self._registry(),
            settings=_kopf_settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )
        tasks = [
            asyncio.create_task(operator, name="kopf"),
            asyncio.create_task(self.queue.run(self._settings.workers, self.handle), name="queue"),
            asyncio.create_task(self.events.run(), name="events"),
            asyncio.create_task(self._leadership.hold(), name="lease"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stop.set()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)
            await self.accounts.close()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        def login(**arguments: Any) -> Any:
            """Use the pod's service account, or the kubeconfig that kubectl would use."""
            if Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists():
                return kopf.login_with_service_account(**arguments)
            return kopf.login_with_kubeconfig(**arguments)

        @kopf.on.event(GROUP, VERSION, SESSIONS, registry=registry)
        def on_session(event: Mapping[str, Any], **_: Any) -> None:
            body = event["object"]
            uid = body["metadata"]["uid"]
            if event["type"] == "DELETED":
                self.store.remove_session(uid)
            elif not self.store.put_session(body):
                return
            self.queue.add(uid)

        @kopf.on.event(GROUP, VERSION, RECORDS, registry=registry)
        def on_record(event: Mapping[str, Any], **_: Any) -> None:
            body = event["object"]
            name = body["metadata"]["name"]
            if event["type"] == "DELETED":
                self.store.remove_record(name)
            elif not self.store.put_record(body):
                return
            record = self.store.record(name)
            if record is not None and record.spec.owner.kind == "SpawnClass":
                self.queue.add(CLASS_PREFIX + record.spec.owner.name)
            else:
                self.queue.add(name)

        @kopf.on.event(GROUP, VERSION, CLASSES, registry=registry)
        def on_class(event: Mapping[str, Any], **_: Any) -> None:
            body = event["object"]
            name = body["metadata"]["name"]
            if event["type"] == "DELETED":
                self.store.remove_class(name)
            elif not self.store.put_class(body):
                return
            self.queue.add(CLASS_PREFIX + name)
            self._wake_waiting()

        return registry

    def _wake_waiting(self) -> None:
        """A class came, went or changed: sessions that wait for one look again."""
        for session in self.store.sessions():
            if session.status.phase in (None, Phase.REQUESTED):
                self.queue.add(session.uid)

    def _on_droplet(self, droplet: Droplet) -> None:
        uid = _session_of(droplet)
        if uid is None or self.store.record(uid) is None:
            return
        memory = self.memories.of(uid)
        known = any(
            entry.kind is ResourceKind.DROPLET and entry.id == str(droplet.id)
            for entry in memory.book.resources
        )
        if known:
            memory.droplet = DropletView(droplet.id, droplet.status, droplet.public_ip)
            session = self.store.session(uid)
            if session is not None and session.status.ready_at is None:
                self.queue.add(uid)

    def _on_gone(self, droplet: Droplet) -> None:
        """A droplet was deleted outside the operator; DigitalOcean itself says so."""
        uid = _session_of(droplet)
        if uid is None or self.store.record(uid) is None:
            return
        memory = self.memories.of(uid)
        memory.ledger = with_gone(
            memory.book, ResourceKind.DROPLET, str(droplet.id), self._clock.utc_now()
        )
        self.queue.add(uid)


def _session_of(droplet: Droplet) -> str | None:
    return next(
        (tag.removeprefix("session:") for tag in droplet.tags if tag.startswith("session:")), None
    )


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Events come from our own recorder, which counts instead of repeating.
    settings.posting.enabled = False
    # A watch that says nothing for this long is opened again: a silent network looks like quiet.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.enforce_retry_after = True
    # Between two events of one object kopf waits to see whether more come; we deduplicate.
    settings.queueing.idle_timeout = 1.0
    return settings


class Process:
    """One operator process: it waits for the lease, leads, and ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._redactor = Redactor()
        self._metrics = Metrics(CollectorRegistry())
        self._stop = asyncio.Event()
        self._operator: Operator | None = None

    async def run(self) -> int:
        """Run until told to stop; returns the exit code. Losing the lease ends it, by design."""
        settings = self._settings
        configure_logging(settings.log_level, settings.log_format, self._redactor)
        await config.load_config()  # type: ignore[no-untyped-call]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        server = TelemetryServer(
            self._metrics.registry,
            check_health=self._stuck,
            check_ready=lambda: None,
            host=settings.http_host,
            port=settings.http_port,
        )
        try:
            await server.start()
        except OSError as error:
            _LOGGER.error(  # noqa: TRY400 - the sentence says all
                "Cannot listen at %s:%d (%s): free the port, or set SPAWNAI_HTTP_ADDRESS",
                settings.http_host,
                settings.http_port,
                error.strerror,
            )
            return 2
        try:
            async with client.ApiClient() as api:
                return await self._take_part(api)
        finally:
            await server.stop()

    def _stuck(self) -> str | None:
        return None if self._operator is None else self._operator.queue.stuck(STUCK_SECONDS)

    async def _take_part(self, api: client.ApiClient) -> int:
        settings = self._settings
        leadership = Leadership(
            KubernetesLeases(api, settings.namespace, LEASE_NAME),
            settings.identity,
            self._clock,
            lease_seconds=settings.lease_seconds,
            renew_deadline=settings.lease_seconds * 2 / 3,
            retry=settings.lease_seconds / 7.5,
        )
        self._metrics.watch_leadership(leadership.is_held)
        acquiring = asyncio.create_task(leadership.acquire(), name="acquire the lease")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait([acquiring, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not acquiring.done():
            acquiring.cancel()
            return 0
        await acquiring
        try:
            await self._lead(api, leadership)
        except LeadershipLost:
            _LOGGER.exception("The lease is lost: ending without another write")
            return 3
        await leadership.release()
        return 0

    async def _lead(self, api: client.ApiClient, leadership: Leadership) -> None:
        settings = self._settings
        reader = Cluster(api, before_write=leadership.check)
        self._operator = Operator(
            settings,
            api=api,
            leadership=leadership,
            clock=self._clock,
            cluster_uid=await reader.namespace_uid("kube-system"),
            master_key=await installation_key(reader, settings.namespace),
            metrics=self._metrics,
            redactor=self._redactor,
        )
        await self._operator.run(self._stop)


async def run(settings: Settings) -> int:
    """Run one operator process; returns its exit code."""
    return await Process(settings).run()
