"""kopf: login and watching. It appears here and nowhere else.

One `@kopf.on.event` for each kind hands the object to the controller. None of kopf's per-object
state is used: it writes no annotation and holds no finalizer. The handlers are coroutines because
kopf runs plain functions in threads, and the store and the queue belong to the event loop.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kopf

from spawnai.api.names import GROUP, VERSION

from .cluster import CLASSES, RECORDS, SESSIONS
from .controller import Controller

_SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


async def watch(controller: Controller, stop: asyncio.Event) -> None:
    """Show the controller every object of ours and every change, until told to stop."""
    await kopf.operator(
        registry=_registry(controller),
        settings=_settings(),
        clusterwide=True,
        standalone=True,
        stop_flag=stop,
    )


def _registry(controller: Controller) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**arguments: Any) -> Any:
        """Use the pod's service account, or the kubeconfig that kubectl would use."""
        if _SERVICE_ACCOUNT_TOKEN.exists():
            return kopf.login_with_service_account(**arguments)
        return kopf.login_with_kubeconfig(**arguments)

    @kopf.on.event(GROUP, VERSION, SESSIONS, registry=registry)
    async def on_session(event: Mapping[str, Any], **_: Any) -> None:
        controller.on_session(event["type"], event["object"])

    @kopf.on.event(GROUP, VERSION, RECORDS, registry=registry)
    async def on_record(event: Mapping[str, Any], **_: Any) -> None:
        controller.on_record(event["type"], event["object"])

    @kopf.on.event(GROUP, VERSION, CLASSES, registry=registry)
    async def on_class(event: Mapping[str, Any], **_: Any) -> None:
        controller.on_class(event["type"], event["object"])

    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Events come from our own recorder, which counts instead of repeating.
    settings.posting.enabled = False
    # A watch that says nothing for this long is opened again: a silent network looks like quiet.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.enforce_retry_after = True
    # An object's worker waits this long for its next event. Ours hands events on at once, so few
    # workers and no waiting keep a start with thousands of objects small.
    settings.queueing.idle_timeout = 0.01
    settings.queueing.worker_limit = 50
    return settings
