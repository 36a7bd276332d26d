"""kopf: login and watching. It appears here and nowhere else.

One `@kopf.on.event` for each kind hands the object to the controller. None of kopf's per-object
state is used: it writes no annotation and holds no finalizer. The handlers are coroutines because
kopf runs plain functions in threads, and the store and the queue belong to the event loop.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from itertools import chain, repeat
from pathlib import Path
from random import uniform
from typing import Any

import kopf
from kopf._cogs.structs.references import Insights

from spawnai import background
from spawnai.api.names import GROUP, VERSION

from .cluster import BUDGETS, CLASSES, KINDS, POOLS, RECORDS, SESSIONS, Cluster, ClusterError
from .controller import Controller
from .resync import Resync

_LOGGER = logging.getLogger(__name__)

_SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

_KOPF = Path(kopf.__file__).parent

WATCH_SECONDS = 20
"""How long one watch lasts before it is taken up anew."""

_GRACE_SECONDS = 5
_ENDING_SECONDS = 1.0
_AGAIN_SECONDS = 1.0

OVERLOOKED_SECONDS = 2.0
"""While a kind is not watched, it is asked every so often whether it is served by now."""


class _Backoffs:
    """Seconds between attempts to reach the API server: soon longer, never long, without end.

    kopf's own end after nine attempts, and the operator with them; and they grow to 21 s.
    """

    def __iter__(self) -> Iterator[float]:
        return (
            uniform(0.8, 1.2) * seconds  # noqa: S311 - nothing secret
            for seconds in chain((0.25, 0.5, 1.0), repeat(2.0))
        )


class WatchesEnded(Exception):
    """kopf watches less than there is."""


async def watch(
    controller: Controller, cluster: Cluster, resync: Resync, take_signals: Callable[[], None]
) -> None:
    """Show the controller every object of ours and every change, until cancelled.

    An error that the API server tells through a watch ends kopf. What is known stays known, and
    ends in time, so it is no reason to end: the watches begin again.
    """
    asyncio.get_running_loop().set_exception_handler(pass_over_unclosed_watches)
    while True:
        try:
            await _watch(controller, cluster, resync, take_signals)
        except Exception as error:  # noqa: BLE001 - whatever it was, only another look helps
            _LOGGER.warning("The watches broke off and begin again: %r", error)
        await asyncio.sleep(_AGAIN_SECONDS)


def pass_over_unclosed_watches(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler that says nothing of a watch which kopf has left open.

    Cancelled while it hands on an event, kopf leaves the generator of the watch as it is. The event
    loop, at its end, closes that one and the context manager inside it in no order, and has an
    error to tell when the inner one comes first. Both are closed then; nothing is wrong.
    """
    generator = context.get("asyncgen")
    if generator is not None and Path(generator.ag_code.co_filename).is_relative_to(_KOPF):
        return
    loop.default_exception_handler(context)


async def _watch(
    controller: Controller, cluster: Cluster, resync: Resync, take_signals: Callable[[], None]
) -> None:
    """Run kopf. It takes the process's signals for itself; `take_signals` takes them back. Its
    tasks are ended here: `kopf.run_tasks` would take every task of the process for one of its own,
    and wait for it.
    """
    insights = Insights()
    tasks = await kopf.spawn_tasks(
        registry=_registry(controller, resync),
        settings=_settings(),
        insights=insights,
        clusterwide=True,
        standalone=True,
    )
    take_signals()
    tasks = [
        *tasks,
        background.awaited(watch_over_kinds(insights, cluster), name="watch over kinds"),
    ]
    try:
        await background.until_one_ends(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_ENDING_SECONDS)


async def watch_over_kinds(insights: Insights, cluster: Cluster) -> None:
    """Return never, and cost nothing, while all our kinds are watched.

    After each change of a CRD kopf asks once what is served now. The API server may answer that for
    a moment as it was before the change, and kopf does not ask again: a kind whose CRD was deleted
    and put back would never be watched again.

    Raises:
        WatchesEnded: a kind is served, and kopf does not watch it.
    """

    def unwatched() -> frozenset[str]:
        return KINDS - {resource.plural for resource in insights.watched_resources}

    await insights.ready_resources.wait()
    while True:
        async with insights.revised:
            await insights.revised.wait_for(unwatched)
        await asyncio.sleep(OVERLOOKED_SECONDS)
        with suppress(ClusterError):
            served = await cluster.served_kinds()
            if overlooked := unwatched() & served:
                raise WatchesEnded(f"served and not watched: {', '.join(sorted(overlooked))}")


def _registry(controller: Controller, resync: Resync) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**arguments: Any) -> Any:
        """Use the pod's service account, or the kubeconfig that kubectl would use."""
        if _SERVICE_ACCOUNT_TOKEN.exists():
            return lenient(kopf.login_with_service_account(**arguments))
        return lenient(kopf.login_with_kubeconfig(**arguments))

    def note(event: Mapping[str, Any]) -> None:
        if event["type"] is None:
            resync.on_listed(event["object"]["metadata"]["uid"])

    @kopf.on.event(GROUP, VERSION, SESSIONS, registry=registry)
    async def on_session(event: Mapping[str, Any], **_: Any) -> None:
        note(event)
        controller.on_session(event["type"], event["object"])

    @kopf.on.event(GROUP, VERSION, RECORDS, registry=registry)
    async def on_record(event: Mapping[str, Any], **_: Any) -> None:
        note(event)
        controller.on_record(event["type"], event["object"])

    @kopf.on.event(GROUP, VERSION, CLASSES, registry=registry)
    async def on_class(event: Mapping[str, Any], **_: Any) -> None:
        note(event)
        controller.on_class(event["type"], event["object"])

    @kopf.on.event(GROUP, VERSION, BUDGETS, registry=registry)
    async def on_budget(event: Mapping[str, Any], **_: Any) -> None:
        note(event)
        controller.on_budget(event["type"], event["object"])

    @kopf.on.event(GROUP, VERSION, POOLS, registry=registry)
    async def on_pool(event: Mapping[str, Any], **_: Any) -> None:
        note(event)
        controller.on_pool(event["type"], event["object"])

    return registry


class _ClusterConnection(kopf.ConnectionInfo):
    """A connection that does not ask a cluster's certificates for what only Python asks for."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """The context as kopf makes it, without `VERIFY_X509_STRICT`."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def lenient(info: kopf.ConnectionInfo | None) -> kopf.ConnectionInfo | None:
    """The same connection without `VERIFY_X509_STRICT`, which Python switches on since 3.13.

    It refuses authorities without key identifiers. Whoever runs the cluster chose its authority,
    kubectl and every Go client take it, and the trust is the same: the chain, the host name and the
    dates are checked as ever.
    """
    if info is None:
        return None
    return _ClusterConnection(**{one.name: getattr(info, one.name) for one in fields(info)})


class _NoDifferences(kopf.DiffBaseStorage):
    """Compares nothing: to copy each object for it takes longer than all else that is done with an
    event.
    """

    def build(self, **_: Any) -> Any:
        """Nothing of an object is essential."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # How the process ends is the composition root's.
    settings.process.ultimate_exiting_timeout = None
    settings.queueing.exit_timeout = 0.2
    # Events come from our own recorder, which counts instead of repeating.
    settings.posting.enabled = False
    # A silent network looks like quiet. So the API server ends each watch after a while, and one
    # that outlasts this has been cut without a word. It is taken up where it ended.
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.inactivity_timeout = WATCH_SECONDS + _GRACE_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + 2 * _GRACE_SECONDS
    settings.watching.connect_timeout = 5
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.request_timeout = 30
    settings.networking.enforce_retry_after = True
    # What has changed since kopf handled an object last is for handlers that are not used here.
    settings.persistence.diffbase_storage = _NoDifferences()
    # An object's worker waits this long for its next event. Ours hands events on at once, so few
    # workers and no waiting keep a start with thousands of objects small.
    settings.queueing.idle_timeout = 0.01
    settings.queueing.worker_limit = 50
    return settings
