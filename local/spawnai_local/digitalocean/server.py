"""The HTTP server before the API: aiohttp's plain server, one handler, no framework between."""

import asyncio

from aiohttp import web

from spawnai_local.digitalocean.api import Api, Exchange
from spawnai_local.digitalocean.clock import Clock
from spawnai_local.digitalocean.control import PREFIX, Control
from spawnai_local.digitalocean.exchange import Answer, Request

KEEP_ALIVE_SECONDS = 75.0


class HttpServer:
    """Serves one API and its control API on an address."""

    def __init__(self, api: Api, control: Control, clock: Clock) -> None:
        self._api = api
        self._control = control
        self._clock = clock
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on `host`; port 0 takes any free one, which `port` then tells.

        Raises:
            OSError: the address cannot be had.
        """
        server = web.Server(self._handle, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=1024).start()
        except OSError:
            await self.stop()
            raise
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        request = Request(
            incoming.method,
            incoming.path,
            incoming.query,
            incoming.headers,
            await incoming.read(),
            f"{incoming.scheme}://{incoming.host}",
        )
        if request.path.startswith(PREFIX):
            return _response(await self._control.answer(request))
        answer = await self._follow(self._api.exchange(request))
        if answer is None:
            if incoming.transport is not None:
                incoming.transport.abort()
            raise asyncio.CancelledError
        return _response(answer)

    async def _follow(self, exchange: Exchange) -> Answer | None:
        try:
            while True:
                await self._clock.sleep(next(exchange))
        except StopIteration as end:
            answer: Answer | None = end.value
            return answer
        finally:
            exchange.close()


def _response(answer: Answer) -> web.Response:
    return web.Response(
        status=answer.status,
        body=answer.body,
        headers=answer.headers,
        content_type="application/json" if answer.body is not None else None,
    )
