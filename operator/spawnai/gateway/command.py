"""`spawnai gateway`: the composition root of the process beside Caddy."""

import argparse
import asyncio
import logging
import signal
from collections.abc import Mapping
from pathlib import Path

from kubernetes.aio import client, config
from prometheus_client import CollectorRegistry, Counter, Gauge

from spawnai.clock import SystemClock
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
    await config.load_config()  # type: ignore[no-untyped-call]
    async with client.ApiClient() as api:
        watch = SessionWatch(api, routes, clock)
        certificate = CaddyConfiguration(
            settings,
            clock,
            on_reload=lambda worked: reloads.labels("taken" if worked else "refused").inc(),
        )
        telemetry = TelemetryServer(
            registry,
            check_health=lambda: None,
            host=settings.telemetry_host,
            port=settings.telemetry_port,
        )
        try:
            await dns.start(settings.dns_host, settings.dns_port)
        except OSError as error:
            _LOGGER.error(  # noqa: TRY400 - the sentence says all
                "Cannot listen at %s:%d (%s): free the port, or set SPAWNAI_GATEWAY_DNS",
                settings.dns_host,
                settings.dns_port,
                error.strerror,
            )
            return 2
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        tasks = [
            asyncio.create_task(watch.run(), name="watch"),
            asyncio.create_task(certificate.run(), name="certificate"),
            asyncio.create_task(served.run(), name="served certificate"),
            asyncio.create_task(_tell_when_ready(watch, certificate, telemetry), name="telemetry"),
            asyncio.create_task(stop.wait(), name="stop"),
        ]
        try:
            await asyncio.wait([tasks[-1]])
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
    await telemetry.start()
    await asyncio.Event().wait()
