"""The operator's small HTTP server: /healthz, /readyz and /metrics."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Check = Callable[[], str | None]


class TelemetryServer:
    """Answers probes and Prometheus.

    Args:
        registry: what /metrics shows.
        check_health: why the process should be started again, or None. It runs on the event loop,
            so a loop that hangs fails the probe by not answering.
        check_ready: why the process cannot do its work yet, or None.
        host: the address to listen on.
        port: the port to listen on; 0 takes any free one.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        check_health: Check,
        check_ready: Check,
        host: str = "0.0.0.0",  # noqa: S104 - kubelet and Prometheus come from outside the pod
        port: int = 8080,
    ) -> None:
        self._registry = registry
        self._checks = {"/healthz": check_health, "/readyz": check_ready}
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
        for path in self._checks:
            application.router.add_get(path, self._answer_probe)
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

    async def _answer_probe(self, request: web.Request) -> web.Response:
        reason = self._checks[request.path]()
        if reason is None:
            return web.Response(text="ok\n")
        status = 500 if request.path == "/healthz" else 503
        return web.Response(text=f"{reason}\n", status=status)

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
