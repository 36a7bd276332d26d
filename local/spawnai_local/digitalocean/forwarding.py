"""Carries the traffic of load balancers: each listens on its own address for its droplets.

Connections go in turn to the droplets that the health check has found well, if their firewalls let
the load balancer in. TLS ends here with the certificate that the rule names. The first HTTP request
of a connection gets `X-Forwarded-For` and `X-Forwarded-Proto`; the rest is carried as it is, also
WebSockets. Where no droplet is well the answer is 503.
"""

import asyncio
import contextlib
import itertools
import logging
import ssl
import tempfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

from spawnai_local.digitalocean.clock import Clock
from spawnai_local.digitalocean.cloud import Cloud
from spawnai_local.digitalocean.state.load_balancers import TLS_PROTOCOLS, LoadBalancer

log = logging.getLogger(__name__)

WEB_PROTOCOLS = ("http", "https", "http2")
CONNECT_SECONDS = 5.0
HEAD_BYTES = 64 * 1024
BLOCK_BYTES = 64 * 1024
HEAD_SECONDS = 60.0
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: 27\r\n\r\nNo server is available here"
)
OK_STATUSES = range(200, 400)


class Forwarding:
    """The listeners of all load balancers that are active.

    Args:
        cloud: what there is.
        clock: what health checks go by.
        ports: the port of this machine that stands for one of DigitalOcean's, where it is another:
            only root may listen at 80.
    """

    def __init__(self, cloud: Cloud, clock: Clock, ports: Mapping[int, int]) -> None:
        self._cloud = cloud
        self._clock = clock
        self._ports = ports
        self._serving: dict[str, _Balancer] = {}
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the load balancers. Needs a running event loop."""
        self._cloud.load_balancers.on_change = self._again.set
        self._task = asyncio.create_task(self._follow(), name="load balancers")
        self._again.set()

    async def stop(self) -> None:
        """Close all listeners and connections."""
        self._cloud.load_balancers.on_change = lambda: None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        for balancer in self._serving.values():
            await balancer.stop()
        self._serving.clear()

    def healthy(self, identifier: str) -> set[int]:
        """The droplets that get traffic of a load balancer now."""
        balancer = self._serving.get(identifier)
        return set() if balancer is None else set(balancer.healthy)

    async def _follow(self) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            active = {
                one.id: one for one in self._cloud.load_balancers.all() if one.status == "active"
            }
            for identifier in [one for one in self._serving if one not in active]:
                await self._serving.pop(identifier).stop()
            for identifier, known in active.items():
                if identifier not in self._serving:
                    self._serving[identifier] = _Balancer(
                        known, self._cloud, self._clock, self._ports
                    )
                await self._serving[identifier].listen()


class _Balancer:
    """One load balancer's listeners, health checks and connections."""

    def __init__(
        self, known: LoadBalancer, cloud: Cloud, clock: Clock, ports: Mapping[int, int]
    ) -> None:
        self._known = known
        self._cloud = cloud
        self._clock = clock
        self._ports = ports
        self._rules: list[dict[str, Any]] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._turn = itertools.count()
        self._well: Counter[int] = Counter()
        self._unwell: Counter[int] = Counter()
        self.healthy: set[int] = set()
        self._checking = asyncio.create_task(self._check_health())

    async def listen(self) -> None:
        """Listen as the rules say now."""
        rules = [dict(rule) for rule in self._known.forwarding_rules]
        if rules == self._rules:
            return
        await self._close_listeners()
        for rule in rules:
            port = self._ports.get(rule["entry_port"], rule["entry_port"])
            try:
                server = await asyncio.start_server(
                    self._handler(rule), self._known.address, port, ssl=self._tls(rule)
                )
            except OSError as error:
                log.warning("load balancer %s cannot listen: %s", self._known.name, error)
                continue
            self._servers.append(server)
        self._rules = rules

    async def stop(self) -> None:
        """Close everything."""
        self._checking.cancel()
        await self._close_listeners()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(self._checking, *self._connections, return_exceptions=True)

    async def _close_listeners(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    def _tls(self, rule: dict[str, Any]) -> ssl.SSLContext | None:
        if rule["entry_protocol"] not in TLS_PROTOCOLS or rule["tls_passthrough"]:
            return None
        certificate = self._cloud.certificates.find(rule["certificate_id"])
        if certificate is None:
            raise OSError(f"its certificate {rule['certificate_id']} is gone")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(certificate.key + certificate.chain)
            pem.flush()
            context.load_cert_chain(pem.name)
        return context

    def _handler(self, rule: dict[str, Any]) -> Any:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
            try:
                await self._carry(rule, reader, writer)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

        return handle

    async def _carry(
        self, rule: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        web = rule["entry_protocol"] in WEB_PROTOCOLS and not rule["tls_passthrough"]
        head = b""
        if web:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            if rule["entry_protocol"] == "http" and self._known.flags["redirect_http_to_https"]:
                writer.write(_redirect(head))
                await writer.drain()
                return
            peer = writer.get_extra_info("peername")[0]
            scheme = "http" if rule["entry_protocol"] == "http" else "https"
            added = f"\r\nX-Forwarded-For: {peer}\r\nX-Forwarded-Proto: {scheme}\r\n\r\n"
            head = head[:-4] + added.encode()
        target = await self._connect(rule)
        if target is None:
            if web:
                writer.write(UNAVAILABLE)
                await writer.drain()
            return
        target_reader, target_writer = target
        try:
            target_writer.write(head)
            await _relay(reader, writer, target_reader, target_writer)
        finally:
            target_writer.close()

    async def _connect(
        self, rule: dict[str, Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next droplet in turn that is well; None: none is."""
        candidates = sorted(self.healthy)
        first = next(self._turn)
        for step in range(len(candidates)):
            droplet_id = candidates[(first + step) % len(candidates)]
            connection = await self._open(
                droplet_id, rule["target_port"], rule["target_protocol"] in TLS_PROTOCOLS
            )
            if connection is not None:
                return connection
        return None

    async def _open(
        self,
        droplet_id: int,
        port: int,
        tls: bool,  # noqa: FBT001 - a protocol's property
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        droplet = self._cloud.droplets.target(droplet_id)
        lets_in = self._cloud.firewalls.admits(droplet_id, port, self._known.id)
        if droplet is None or not lets_in:
            return None
        context: ssl.SSLContext | None = None
        if tls:
            # DigitalOcean does not say that it looks at a droplet's certificate.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(
                    droplet.public_address, self._ports.get(port, port), ssl=context
                )
        except (OSError, TimeoutError):
            return None

    async def _check_health(self) -> None:
        while True:
            check = self._known.health_check
            members = self._cloud.load_balancers.members(self._known)
            results = await asyncio.gather(*(self._is_well(one, check) for one in members))
            for droplet_id, well in zip(members, results, strict=True):
                counted, other = (self._well, self._unwell) if well else (self._unwell, self._well)
                counted[droplet_id] += 1
                other[droplet_id] = 0
                if self._well[droplet_id] >= check["healthy_threshold"]:
                    self.healthy.add(droplet_id)
                elif self._unwell[droplet_id] >= check["unhealthy_threshold"]:
                    self.healthy.discard(droplet_id)
            self.healthy.intersection_update(members)
            await self._clock.sleep(check["check_interval_seconds"])

    async def _is_well(self, droplet_id: int, check: dict[str, Any]) -> bool:
        connection = await self._open(droplet_id, check["port"], check["protocol"] == "https")
        if connection is None:
            return False
        reader, writer = connection
        try:
            if check["protocol"] == "tcp":
                return True
            async with asyncio.timeout(check["response_timeout_seconds"]):
                request = (
                    f"GET {check['path']} HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n"
                )
                writer.write(request.encode())
                words = (await reader.readline()).split()
                return len(words) > 1 and int(words[1]) in OK_STATUSES
        except (OSError, TimeoutError, ValueError):
            return False
        finally:
            writer.close()


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target_reader: asyncio.StreamReader,
    target_writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes both ways until both sides have ended."""

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while block := await source.read(BLOCK_BYTES):
            sink.write(block)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()

    up = asyncio.create_task(copy(reader, target_writer))
    down = asyncio.create_task(copy(target_reader, writer))
    try:
        # A client that has sent all may still wait for the answer; not the other way round.
        await asyncio.wait([down])
    finally:
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


def _redirect(head: bytes) -> bytes:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    path = words[1] if len(words) > 1 and words[1].startswith("/") else "/"
    host = next(
        (line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:")), ""
    )
    return (
        f"HTTP/1.1 301 Moved Permanently\r\nLocation: https://{host.partition(':')[0]}{path}\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n"
    ).encode("latin-1", "replace")
