"""`spawnai console`: the composition root of the console's process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import SystemRandom

import uvicorn
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.process_collector import ProcessCollector

from spawnai import background
from spawnai.clock import SystemClock
from spawnai.telemetry.http import TelemetryServer
from spawnai.telemetry.logs import configure_logging

from .api_server import ApiServer
from .app import build_app
from .history import HistoryDatabase
from .live import Live
from .operator_door import OperatorDoor
from .rate_limit import RateLimit
from .settings import ConsoleSettings, console_settings_from

_LOGGER = logging.getLogger(__name__)

_SHUTDOWN_SECONDS = 3
_PING_SECONDS = 30.0


def main(environment: Mapping[str, str]) -> int:
    """Run the console until it is told to stop; returns the exit code.

    Raises:
        SettingsError: the environment has a value that cannot be used.
    """
    settings = console_settings_from(environment)
    configure_logging(settings.log_level, settings.log_format)
    return asyncio.run(_run(settings))


async def _run(settings: ConsoleSettings) -> int:
    clock, random = SystemClock(), SystemRandom()
    registry = CollectorRegistry()
    async with (
        ApiServer(settings.kubernetes_url, settings.kubernetes_ca) as api,
        OperatorDoor(api, clock, settings.operator_namespace) as door,
        _history_database(settings) as history_database,
    ):
        live = Live(api, clock, random)
        _watch_figures(registry, live)
        app = build_app(
            api=api,
            door=door,
            live=live,
            rate_limit=RateLimit(settings.requests_per_minute, clock),
            default_namespace=settings.default_namespace,
            history_database=history_database,
        )
        telemetry = TelemetryServer(
            registry,
            host=settings.telemetry_address.host,
            port=settings.telemetry_address.port,
        )
        try:
            await telemetry.start()
        except OSError as error:
            _LOGGER.error(  # noqa: TRY400 - the sentence says all
                "Cannot listen at %s:%d (%s): free the port, or set SPAWNAI_HTTP_ADDRESS",
                settings.telemetry_address.host,
                settings.telemetry_address.port,
                error.strerror,
            )
            return 2
        rechecking = background.forever(live.run(), name="rights")
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.address.host,
                port=settings.address.port,
                log_config=None,
                access_log=False,  # a line for each request says little, and paths hold names
                server_header=False,
                ws="websockets-sansio",
                # A compressor for each page would cost more memory than all else together.
                ws_per_message_deflate=False,
                ws_max_size=4096,  # pages have nothing to say
                ws_ping_interval=_PING_SECONDS,
                ws_ping_timeout=_PING_SECONDS,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
                proxy_headers=False,
            )
        )
        try:
            await server.serve()
        finally:
            rechecking.cancel()
            await asyncio.wait([rechecking])
            await telemetry.stop()
    return 0 if server.started else 2


@asynccontextmanager
async def _history_database(settings: ConsoleSettings) -> AsyncIterator[HistoryDatabase | None]:
    if settings.database_url is None:
        yield None
        return
    # SQLAlchemy takes 20 MB and 0.3 s: only where it is used.
    from .history_database import SqlHistory  # noqa: PLC0415

    database = SqlHistory(settings.database_url.get_secret_value())
    try:
        yield database
    finally:
        await database.close()


def _watch_figures(registry: CollectorRegistry, live: Live) -> None:
    """Show on /metrics how many pages are served by how many watches, and the process itself."""
    ProcessCollector(registry=registry)
    streams = Gauge(
        "spawnai_console_streams", "Streams of live updates that are open", registry=registry
    )
    streams.set_function(lambda: live.readers)
    watches = Gauge(
        "spawnai_console_watches", "Watches at the API server that serve them", registry=registry
    )
    watches.set_function(lambda: live.watches)
