"""`spawnai gateway`: the composition root of the process beside Caddy."""

import argparse
import asyncio
import logging
import signal
from collections.abc import Mapping
from pathlib import Path

from kubernetes.aio import client
from prometheus_client import CollectorRegistry, Counter, Gauge

from spawnai import background
from spawnai.clock import SystemClock
from spawnai.cluster_access import NoClusterAccess, cluster_access
from spawnai.telemetry.http import TelemetryServer
from spawnai.telemetry.logs import configure_logging

from .caddy import CaddyConfiguration, render_caddyfile
from .dns import RouteDns
from .routes import Routes
from .served import ServedCertificate
from .settings import GatewaySettings, gateway_settings_from
from .watch import SessionWatch

_LOGGER = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--caddyfile",
        metavar="FILE",
        type=Path,
        help="write Caddy's configuration to FILE and end",
    )


def main(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the gateway until it is told to stop; returns the exit code.

    Raises:
        SettingsError: the environment has a value that cannot be used.
    """
    settings = gateway_settings_from(environment)
    if given.caddyfile is not None:
        given.caddyfile.write_text(render_caddyfile(settings))
        return 0
    configure_logging(settings.log_level, settings.log_format)
    return asyncio.run(_run(settings))


async def _run(settings: GatewaySettings) -> int:
    clock, registry = SystemClock(), CollectorRegistry()
    routes = Routes(settings.domain)
    dns = RouteDns(routes.find)
    Gauge(
        "spawnai_gateway_routes", "Apps that the gateway leads to.", registry=registry
    ).set_function(lambda: len(routes))
    Gauge(
        "spawnai_gateway_lookups", "Questions of Caddy for a droplet, answered.", registry=registry
    ).set_function(lambda: dns.answered)
    reloads = Counter(
        "spawnai_gateway_certificate_reloads",
        "Times that Caddy was given a new certificate, by result.",
        ["result"],
        registry=registry,
    )
    served = ServedCertificate(settings, clock)
    Gauge(
        "spawnai_gateway_certificate_expiration_timestamp_seconds",
        "When the certificate expires that this replica serves.",
        registry=registry,
    ).set_function(
        lambda: served.not_after.timestamp() if served.not_after is not None else float("nan")
    )
    Gauge(
        "spawnai_gateway_certificate_is_current",
        "Whether this replica serves the certificate that it was given last.",
        registry=registry,
    ).set_function(lambda: served.is_current)
    try:
        access = await cluster_access()
    except NoClusterAccess as problem:
        _LOGGER.error("%s", problem)  # noqa: TRY400 - the sentence says all
        return 2
    async with client.ApiClient(access) as api:
        watch = SessionWatch(api, routes, clock)
        certificate = CaddyConfiguration(
            settings,
            clock,
            on_reload=lambda worked: reloads.labels("taken" if worked else "refused").inc(),
        )
        telemetry = TelemetryServer(
            registry,
            host=settings.telemetry_address.host,
            port=settings.telemetry_address.port,
        )
        try:
            await dns.start(*settings.dns)
        except OSError as error:
            _LOGGER.error(  # noqa: TRY400 - the sentence says all
                "Cannot listen at %s:%d (%s): free the port, or set SPAWNAI_GATEWAY_DNS",
                *settings.dns,
                error.strerror,
            )
            return 2
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        tasks = [
            background.forever(watch.run(), name="watch"),
            background.forever(certificate.run(), name="certificate"),
            background.forever(served.run(), name="served certificate"),
            background.forever(_tell_when_ready(watch, certificate, telemetry), name="telemetry"),
        ]
        try:
            # With the routes it has, also where a task died: kubelet ends it by its liveness.
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            dns.stop()
            await telemetry.stop()
    return 0


async def _tell_when_ready(
    watch: SessionWatch, caddy: CaddyConfiguration, telemetry: TelemetryServer
) -> None:
    """Answer probes once all sessions were seen and Caddy serves: before it, every app would be "no
    such app".
    """
    await watch.synced.wait()
    await caddy.is_loaded.wait()
    try:
        await telemetry.start()
    except OSError as error:
        _LOGGER.error(  # noqa: TRY400 - the sentence says all
            "Cannot listen at port %d (%s): free it, or set SPAWNAI_HTTP_ADDRESS",
            telemetry.port,
            error.strerror,
        )
        raise
    await asyncio.Event().wait()
