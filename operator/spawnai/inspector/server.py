"""The inspector's door: one request for each page, answered with what the page showed."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, ip_address
from urllib.parse import urlsplit

from aiohttp import web

from spawnai import background

from .browser import Browsers, NoBrowser
from .inspection import PATH, QUEUE_SECONDS, Inspection, Target
from .page import Unreachable, inspect
from .proxy import OneHostProxy

_LOGGER = logging.getLogger(__name__)

Resolve = Callable[[str], Awaitable[str | None]]
"""The first address of a host name; None: it has none."""


class Inspector:
    """Opens pages, a few at a time.

    Args:
        browsers: where browsers come from.
        resolve: finds the address of a host where the caller names none.
        networks: networks beside the public ones whose addresses may be opened.
        at_once: how many pages are opened side by side; the others wait.
    """

    def __init__(
        self,
        browsers: Browsers,
        *,
        resolve: Resolve,
        networks: tuple[IPv4Network, ...],
        at_once: int,
    ) -> None:
        self._browsers = browsers
        self._resolve = resolve
        self._networks = networks
        self._places = asyncio.Semaphore(at_once)

    def application(self) -> web.Application:
        """What answers inspections and probes."""
        application = web.Application(client_max_size=16 * 1024)
        application.router.add_post(PATH, self._answer)
        application.router.add_get("/healthz", _alive)
        application.router.add_get("/readyz", _well)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            target = Target.read(json.loads(await request.text()))
            address = await self._address(target)
        except ValueError as error:
            return _problem(HTTPStatus.BAD_REQUEST, str(error))
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "all browsers are taken")
        try:
            inspection = await self._inspect(target, address)
        except Unreachable as error:
            return _problem(HTTPStatus.BAD_GATEWAY, str(error))
        except NoBrowser as error:
            _LOGGER.error("%s", error)  # noqa: TRY400 - the sentence says all
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        finally:
            self._places.release()
        _LOGGER.info(
            "Inspected %s in %.2f s: %d findings",
            urlsplit(target.url).hostname,
            inspection.seconds,
            len(inspection.findings),
        )
        return web.json_response(inspection.document())

    async def _inspect(self, target: Target, address: str) -> Inspection:
        async with OneHostProxy(target.url, address) as proxy, self._browsers.open() as browser:
            return await inspect(browser, target, proxy)

    async def _address(self, target: Target) -> str:
        """Where the page is: an address that no service of ours can have.

        Raises:
            ValueError: there is none, or it is a private one.
        """
        host = urlsplit(target.url).hostname or ""
        address = target.address or _literal(host) or await self._resolve(host)
        if address is None:
            raise ValueError(f"there is no address for {host}")
        parsed = ip_address(address)
        is_known = isinstance(parsed, IPv4Address) and any(parsed in one for one in self._networks)
        if not is_known and not parsed.is_global:
            raise ValueError(
                f"{address} is not a public address; SPAWNAI_DROPLET_NETWORKS names others"
            )
        return str(parsed)


def _literal(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        return None


async def _well(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _alive(_: web.Request) -> web.Response:
    died = background.failure()
    if died is None:
        return web.Response(text="ok\n")
    return web.Response(text=f"{died}\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _problem(status: HTTPStatus, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
