"""The composition root: one operator process is put together, waits for the lease, and leads."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from random import Random, SystemRandom
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kubernetes.aio import client
from prometheus_client import CollectorRegistry

from spawnai import background
from spawnai.acme.client import AcmeAccount
from spawnai.acme.nameservers import Nameserver, Nameservers
from spawnai.api.names import cluster_tag
from spawnai.clock import Clock, SystemClock
from spawnai.cluster_access import NoClusterAccess, cluster_access
from spawnai.digitalocean.client import CallOutcome
from spawnai.droplet.packing import read_agent_source
from spawnai.generation.claude import Generator, open_client, warm_up
from spawnai.generation.judging.judge import Judge
from spawnai.inspector.client import InspectorClient
from spawnai.lifecycle.reaping import ReapingRules
from spawnai.notices.sender import NoticeSender
from spawnai.settings import Settings
from spawnai.telemetry.events import EventRecorder
from spawnai.telemetry.http import TelemetryServer
from spawnai.telemetry.logs import configure_logging
from spawnai.telemetry.metrics import Metrics
from spawnai.telemetry.redaction import Redactor

from .accounts import connector
from .actions.agents import Agents
from .actions.certificates import AcmeServer
from .classes.claude import Claude
from .clock_difference import DIGITALOCEAN, ClockDifference
from .cluster import Cluster, ClusterError
from .controller import Controller, Outside
from .door.log import AppLogs
from .door.server import Door
from .droplets_authority import publish_droplets_authority
from .heap import keep_trimmed, set_apart
from .installation_key import installation_keys
from .leader import KubernetesLeases, Leadership, LeadershipLost, Leases
from .reaping.reaper import ReaperSettings
from .resync import Resync
from .rights import RightsReview
from .schemas import Schemas, SchemasOutdated
from .tag_cleanup import TagCleanup
from .watches import watch

_LOGGER = logging.getLogger(__name__)

STUCK_SECONDS = 60.0
"""After how long without a step the work queue counts as stuck and the liveness probe fails."""

SHUTDOWN_SECONDS = 1.0
"""How long the parts may take to end, and the last events to be written, each."""

LEASE_NAME = "spawnai-operator"

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.5, 10.0
"""Between two attempts to begin."""

Result = TypeVar("Result")


class Process:
    """One operator process: it waits for the lease, leads, and ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._redactor = Redactor()
        self._metrics = Metrics(CollectorRegistry())
        self._stop = asyncio.Event()
        self.controller: Controller | None = None

    async def run(self) -> int:
        """Run until told to stop; returns the exit code. Losing the lease ends it, by design."""
        settings = self._settings
        configure_logging(settings.log_level, settings.log_format, self._redactor)
        try:
            access = await cluster_access()
        except NoClusterAccess as problem:
            _LOGGER.error("%s", problem)  # noqa: TRY400 - the sentence says all
            return 2
        self._take_signals()
        server = self.server()
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
            # The lease has connections of its own: a renewal does not queue behind a crowd's calls.
            async with client.ApiClient(access) as api, client.ApiClient(access) as lease_api:
                leases = KubernetesLeases(lease_api, settings.namespace, LEASE_NAME)
                return await self._take_part(api, leases)
        finally:
            await server.stop()

    def server(self) -> TelemetryServer:
        """What answers the probes and shows the metrics of this process, from its first moment."""
        return TelemetryServer(
            self._metrics.registry,
            check_health=self._stuck,
            host=self._settings.http_host,
            port=self._settings.http_port,
        )

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _stuck(self) -> str | None:
        if self.controller is None:
            return None
        return self.controller.queue.stuck(STUCK_SECONDS)

    async def _take_part(self, api: client.ApiClient, leases: Leases) -> int:
        settings = self._settings
        leadership = Leadership(
            leases,
            settings.identity,
            self._clock,
            lease_seconds=settings.lease_seconds,
            renew_deadline=settings.lease_seconds * 2 / 3,
            retry=settings.lease_seconds / 7.5,
        )
        self._metrics.watch_leadership(leadership.is_held)
        acquiring = background.awaited(leadership.acquire(), name="acquire the lease")
        stopping = background.awaited(self._stop.wait(), name="stop")
        await asyncio.wait([acquiring, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not acquiring.done():
            acquiring.cancel()
            await asyncio.wait([acquiring])
            await leadership.release()
            return 0
        try:
            await acquiring
            await self._lead_until(stopping, api, leadership)
        except LeadershipLost as lost:
            _LOGGER.error("%s: ending without another write", lost)  # noqa: TRY400 - it says all
            return 3
        except SchemasOutdated as outdated:
            _LOGGER.error("Ending: %s", outdated)  # noqa: TRY400 - it says all
            return 4
        finally:
            stopping.cancel()
        return 0

    async def _lead_until(
        self, stopping: asyncio.Task[Any], api: client.ApiClient, leadership: Leadership
    ) -> None:
        """Lead until told to stop. The lease is renewed from the first moment to the last, and
        given back when everything has ended, whatever ended it.

        Raises:
            LeadershipLost: it could not be renewed; it is not given back then.
        """
        leading = background.awaited(self._lead(api, leadership), name="lead")
        holding = background.awaited(leadership.hold(), name="lease")
        try:
            await asyncio.wait([leading, holding, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leading.cancel()
            await asyncio.wait([leading])
            if not holding.done():
                await leadership.release()
            await asyncio.wait([holding])
        holding.result()
        if not leading.cancelled():
            leading.result()

    async def _lead(self, api: client.ApiClient, leadership: Leadership) -> None:
        """Watch and work until cancelled, or until a part of it has ended: none dies in silence."""
        settings, clock, metrics = self._settings, self._clock, self._metrics
        cluster = Cluster(api, before_write=leadership.check, on_write=metrics.api_write)
        difference = ClockDifference(metrics.clock_ahead)
        review = RightsReview(cluster, metrics, clock, settings.namespace)
        tasks = [
            background.awaited(self._work(cluster, leadership, difference), name="work"),
            background.awaited(review.run(), name="rights"),
            background.awaited(difference.watch(cluster, clock), name="clock difference"),
        ]
        try:
            await background.until_one_ends(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _work(
        self, cluster: Cluster, leadership: Leadership, difference: ClockDifference
    ) -> None:
        def called(outcome: CallOutcome) -> None:
            metrics.digitalocean_call(outcome)
            difference.note(DIGITALOCEAN, outcome.clock_ahead)

        settings, clock, metrics = self._settings, self._clock, self._metrics
        cluster_uid = await self._patiently(lambda: cluster.namespace_uid("kube-system"))
        events = EventRecorder(
            cluster.write_event,
            clock,
            instance=settings.identity,
            on_result=metrics.event,
            redactor=self._redactor,
        )
        keys = await self._patiently(lambda: installation_keys(cluster, settings.namespace))
        random = SystemRandom()
        await self._patiently(lambda: publish_droplets_authority(cluster, settings.namespace, keys))
        agents = Agents(keys)
        judge = Judge()
        claude = ClaudeKeys(settings.anthropic_base_url, clock, random, judge)
        notices = NoticeSender(
            partial(cluster.get_secret, settings.namespace),
            clock,
            on_result=metrics.notice,
            register_secret=self._redactor.register,
        )
        inspector = (
            InspectorClient(settings.inspector_url) if settings.inspector_url is not None else None
        )
        self.controller = controller = Controller(
            Outside(
                cluster=cluster,
                connect=connector(
                    base_url=settings.digitalocean_api_url,
                    cluster_tag=cluster_tag(cluster_uid),
                    clock=clock,
                    random=random,
                    on_call=called,
                    before_change=leadership.check,
                    droplet_networks=settings.droplet_networks,
                ),
                claude_for=claude.open,
                agents=agents,
                events=events,
                metrics=metrics,
                redactor=self._redactor,
                clock=clock,
                random=random,
                check_leadership=leadership.check,
                namespace=settings.namespace,
                cluster_uid=cluster_uid,
                agent_source=read_agent_source(),
                notices=notices,
                inspector=inspector,
                clock_difference=difference,
                acme=acme_server(settings, clock),
                reaper=ReaperSettings(
                    rules=ReapingRules(
                        minimum_age=settings.reaper_minimum_age,
                        most_per_hour=settings.reaper_most_per_hour,
                    ),
                    dry_run=settings.reaper_dry_run,
                ),
            )
        )
        resync = Resync(cluster, clock, random, controller.kinds())
        schemas = Schemas(cluster, metrics, clock)
        tasks: list[asyncio.Task[None]] = []
        try:
            await warm_up()
            await judge.start()
            await self._patiently(schemas.check)
            await self._patiently(controller.load)
            set_apart()
            tasks += [
                background.awaited(
                    watch(controller, cluster, resync, self._take_signals), name="watches"
                ),
                background.awaited(resync.run(), name="resync"),
                background.awaited(schemas.watch(), name="schemas"),
                background.awaited(
                    controller.queue.run(settings.workers, controller.handle), name="work queue"
                ),
                background.awaited(controller.clock_steps.watch(), name="clock"),
                background.awaited(controller.health.run(), name="health"),
                background.awaited(
                    TagCleanup(controller.accounts.all, controller.store, clock, random).run(),
                    name="dead tags",
                ),
                background.awaited(events.run(), name="events"),
                background.awaited(keep_trimmed(clock), name="heap"),
            ]
            if settings.door is not None:
                door = Door(
                    cluster=cluster,
                    store=controller.store,
                    memories=controller.memories,
                    classes=controller.classes,
                    admission=controller.admission,
                    bundles=controller.bundles,
                    logs=AppLogs(controller.store, agents, clock),
                    redactor=self._redactor,
                    clock=clock,
                    namespace=settings.namespace,
                    address=settings.door.address,
                    host=settings.door.host,
                    port=settings.door.port,
                )
                tasks.append(background.awaited(door.run(), name="inner door"))
            await background.until_one_ends(tasks)
        finally:
            await end(controller, tasks)
            await claude.close()
            await judge.close()
            await notices.close()
            if inspector is not None:
                await inspector.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_SECONDS):
                    await events.shut_down()

    async def _patiently(self, what: Callable[[], Awaitable[Result]]) -> Result:
        """Do what the start needs, again and again until the API server lets it: with a right that
        is missing, a process that ends and comes back would only write more log.
        """
        told, pause = "", FIRST_PAUSE_SECONDS
        while True:
            try:
                return await what()
            except ClusterError as error:
                if str(error) != told:
                    told = str(error)
                    _LOGGER.warning("Cannot begin yet, trying again: %s", error)
            await self._clock.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)


async def end(controller: Controller, tasks: Collection[asyncio.Task[None]]) -> None:
    """End what leads. First what could still act, for the watches may take their time to end."""
    for task in tasks:
        task.cancel()
    await controller.stop_acting()
    if tasks:
        await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)
    await controller.close()


def acme_server(settings: Settings, clock: Clock) -> AcmeServer | None:
    """The ACME server of the settings; None: there is none."""
    url = settings.acme_directory_url
    if url is None:
        return None
    dns = Nameserver(*settings.acme_dns) if settings.acme_dns is not None else None
    return AcmeServer(
        host=urlsplit(url).hostname or "",
        open_account=lambda key: AcmeAccount(url, key, clock, ca_file=settings.acme_ca_file),
        nameservers=Nameservers(clock, dns),
    )


class ClaudeKeys:
    """Claude, opened once for each API key."""

    def __init__(self, base_url: str | None, clock: Clock, random: Random, judge: Judge) -> None:
        self._base_url = base_url
        self._judge = judge
        self._clock = clock
        self._random = random
        self._open: dict[str, Claude] = {}

    def open(self, api_key: str) -> Claude:
        """Claude behind that key."""
        if api_key not in self._open:
            opened = open_client(api_key, self._base_url)
            generator = Generator(
                opened, clock=self._clock, random=self._random, judge=self._judge.judge
            )
            self._open[api_key] = Claude(opened, generator)
        return self._open[api_key]

    async def close(self) -> None:
        """Close all connections."""
        for claude in self._open.values():
            await claude.client.close()


async def run(settings: Settings) -> int:
    """Run one operator process; returns its exit code."""
    return await Process(settings).run()
