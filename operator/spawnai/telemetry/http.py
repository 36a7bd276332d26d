"""The operator's small HTTP server: /healthz, /readyz and /metrics."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from spawnai import background


class TelemetryServer:
    """Answers probes and Prometheus.

    /readyz says yes as long as anything answers at all. A process that waits for the lease is as
    ready as one that leads: a new pod must become Ready beside the old one, which gives the lease
    back only when it ends. And one that leads and still loads serves nobody who could be sent to
    another.

    Args:
        registry: what /metrics shows.
        check_health: why the process should be started again, or None; beside a background task
            that died, which is asked for always. It runs on the event loop, so a loop that hangs
            fails the probe by not answering.
        host: the address to listen on.
        port: the port to listen on; 0 takes any free one.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        check_health: Callable[[], str | None] = lambda: None,
        host: str = "0.0.0.0",  # noqa: S104 - kubelet and Prometheus come from outside the pod
        port: int = 8080,
    ) -> None:
        self._registry = registry
        self._check_health = check_health
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        if self._runner is not None and self._runner.addresses:
            return int(self._runner.addresses[0][1])
        return self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address or port cannot be had.
        """
        application = web.Application()
        application.router.add_get("/healthz", self._answer_health)
        application.router.add_get("/readyz", self._answer_ready)
        application.router.add_get("/metrics", self._answer_metrics)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening; requests under way get a second."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _answer_health(self, _request: web.Request) -> web.Response:
        reason = background.failure() or self._check_health()
        if reason is None:
            return web.Response(text="ok\n")
        return web.Response(text=f"{reason}\n", status=500)

    async def _answer_ready(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
