"""`spawnai inspector`: the composition root of the inspector's process. It holds no key."""

import asyncio
import logging
import os
import signal

import dns.asyncresolver
import dns.exception
import dns.nameserver
from aiohttp import web
from playwright.async_api import Playwright, async_playwright

from spawnai.settings import Address

from .browser import Browsers, NoBrowser
from .program import find_chromium
from .server import Inspector
from .settings import InspectorSettings

_LOGGER = logging.getLogger(__name__)

_LOOKUP_SECONDS = 3.0


async def run(settings: InspectorSettings) -> int:
    """Run the inspector until it is told to stop; returns the exit code."""
    program = find_chromium(settings.chromium)
    if program is None:
        _LOGGER.error(
            "There is no Chromium: install the package chromium, or name its program in "
            "SPAWNAI_INSPECTOR_CHROMIUM"
        )
        return 2
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with async_playwright() as playwright:
        try:
            browsers = await _browsers(playwright, program, sandbox=settings.sandbox)
        except NoBrowser as error:
            _LOGGER.error("%s", error)  # noqa: TRY400 - the sentence says all
            return 2
        inspector = Inspector(
            browsers,
            resolve=_Resolver(settings.dns),
            networks=settings.networks,
            at_once=settings.browsers,
        )
        runner = web.AppRunner(inspector.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            host, port = settings.address
            await web.TCPSite(runner, host, port).start()
            _LOGGER.info("Pages are opened with %s", program)
            await stop.wait()
        except OSError as error:
            _LOGGER.error(  # noqa: TRY400 - the sentence says all
                "Cannot listen at %s:%d (%s): free the port, or set SPAWNAI_INSPECTOR_ADDRESS",
                *settings.address,
                error.strerror,
            )
            return 2
        finally:
            await runner.cleanup()
            await browsers.close()
    return 0


async def _browsers(playwright: Playwright, program: str, *, sandbox: bool | None) -> Browsers:
    """Browsers that start here: with Chromium's own sandbox where the machine lets it.

    Raises:
        NoBrowser: none starts, in either way.
    """
    if sandbox is not None:
        browsers = Browsers(playwright, program, sandbox=sandbox)
        await browsers.warm_up()
        return browsers
    if os.getuid() != 0:
        browsers = Browsers(playwright, program, sandbox=True)
        try:
            await browsers.warm_up()
        except NoBrowser as error:
            _LOGGER.warning("Chromium runs without its sandbox, which does not start: %s", error)
        else:
            return browsers
    browsers = Browsers(playwright, program, sandbox=False)
    await browsers.warm_up()
    return browsers


class _Resolver:
    """Finds addresses of hosts, each time anew."""

    def __init__(self, server: Address | None) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        if server is not None:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(server.host, server.port)]

    async def __call__(self, host: str) -> str | None:
        try:
            answer = await self._resolver.resolve(host, "A", lifetime=_LOOKUP_SECONDS, search=False)
        except dns.exception.DNSException:
            return None
        return next((str(record.address) for record in answer), None)
