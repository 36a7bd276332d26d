"""The gateway's real Caddy in front of droplets that show the certificates real ones show."""

import asyncio
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from tests.contract.machines.certificates import Authority

from spawnai.api.names import session_host_label
from spawnai.clock import SystemClock
from spawnai.droplet.credentials import derive_droplets_authority, derive_gateway_certificate
from spawnai.gateway.caddy import CaddyConfiguration
from spawnai.gateway.dns import RouteDns
from spawnai.gateway.routes import Routes
from spawnai.gateway.served import ServedCertificate
from spawnai.gateway.settings import GatewaySettings
from spawnai.settings import Address
from spawnai_local import toolchain
from spawnai_local.address_block import claim_address_block
from spawnai_local.processes import ChildProcess, RestartPolicy, free_port

DOMAIN = "apps.spawn-ai.test"
MASTER_KEY = b"m" * 32
CREATED = datetime(2026, 11, 29, 12, tzinfo=UTC)


def session(name: str, ip: str | None, **status) -> dict:
    uid = f"{abs(hash(name)) % 16**8:08x}-0000-4000-8000-000000000001"
    return {
        "metadata": {"name": name, "uid": uid},
        "status": {"phase": "Running", "droplet": {"ip": ip} if ip else None, **status},
    }


def label_of(document: dict) -> str:
    return session_host_label(document["metadata"]["name"], document["metadata"]["uid"])


@dataclass
class Droplet:
    """A droplet's web server: the private certificate, and 421 for all hosts but its own."""

    address: str
    label: str
    http_port: int
    https_port: int
    said: str = "It lives"
    takes_seconds: float = 0.0
    proofs: dict[str, str] = field(default_factory=dict)
    runners: list[web.AppRunner] = field(default_factory=list)

    async def start(self, folder: Path) -> None:
        pair = derive_gateway_certificate(MASTER_KEY, f"uid-{self.label}", CREATED, self.label)
        certificate, key = folder / f"{self.label}.crt", folder / f"{self.label}.key"
        certificate.write_text(pair.certificate_pem)
        key.write_text(pair.private_key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        application = web.Application()
        application.router.add_get("/socket", self._socket)
        application.router.add_get("/events", self._events)
        application.router.add_route("*", "/{path:.*}", self._page)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, self.address, self.https_port, ssl_context=context).start()
        plain = web.Application()
        plain.router.add_get("/.well-known/acme-challenge/{token}", self._proof)
        plain_runner = web.AppRunner(plain, access_log=None)
        await plain_runner.setup()
        await web.TCPSite(plain_runner, self.address, self.http_port).start()
        self.runners += [runner, plain_runner]

    async def stop(self) -> None:
        for runner in self.runners:
            for connection in runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()
        self.runners.clear()

    async def _page(self, request: web.Request) -> web.Response:
        if request.host.partition(":")[0] != f"{self.label}.{DOMAIN}":
            return web.Response(status=421)
        await asyncio.sleep(self.takes_seconds)
        return web.Response(text=f"{self.said} at {request.host}")

    async def _proof(self, request: web.Request) -> web.Response:
        return web.Response(text=self.proofs[request.match_info["token"]])

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"echo {message.data}")
        return socket

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for number in range(1000):
            await stream.write(f"data: {number}\n\n".encode())
            await asyncio.sleep(0.05)
        return stream


class Gateway:
    """Caddy and the process beside it, without an API server: the test tells of sessions."""

    def __init__(self, folder: Path, addresses: list[str]) -> None:
        self.folder = folder
        self.address, *self.droplet_addresses = addresses
        self.public = Authority()
        self.routes = Routes(DOMAIN)
        self.dns = RouteDns(self.routes.find)
        https_port = free_port(self.address)
        self.settings = GatewaySettings(
            domain=DOMAIN,
            address=self.address,
            http_port=free_port(self.address),
            https_port=https_port,
            droplet_http_port=free_port(addresses[1]),
            droplet_https_port=free_port(addresses[1]),
            dns=Address(self.address, 0),
            admin_socket=folder / "admin.sock",
            tls_directory=folder,
            ca_directory=folder,
        )
        self.droplets: list[Droplet] = []
        self.reloads = 0

    def write_certificate(self, *names: str) -> int:
        issued = self.public.issue(*(names or (f"*.{DOMAIN}",)))
        (self.folder / "tls.crt").write_text(issued.chain)
        (self.folder / "tls.key").write_text(issued.key)
        return issued.serial

    async def start(self) -> None:
        port = await self.dns.start(self.address, 0)
        self.settings = self.settings.model_copy(update={"dns": Address(self.address, port)})
        self.write_certificate()
        (self.folder / "ca.crt").write_text(derive_droplets_authority(MASTER_KEY))
        self.caddy = ChildProcess(
            "caddy",
            [toolchain.caddy(), "run"],
            self.folder,
            environment={
                "HOME": str(self.folder),
                "XDG_DATA_HOME": str(self.folder),
                "CADDY_ADMIN": f"unix/{self.settings.admin_socket}",
            },
            restart=RestartPolicy(),
        )
        await self.caddy.start()
        self.reloading = CaddyConfiguration(
            self.settings, SystemClock(), on_reload=lambda worked: self._count(worked=worked)
        )
        self.watching = asyncio.create_task(self.reloading.run())

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection(self.address, self.settings.https_port)
            except OSError:
                return False
            writer.close()
            return True

        await self.caddy.wait_until_ready(listens, limit_seconds=30)

    def _count(self, *, worked: bool) -> None:
        self.reloads += worked

    async def stop(self) -> None:
        self.watching.cancel()
        await asyncio.wait([self.watching])
        await self.caddy.stop()
        self.dns.stop()
        for droplet in self.droplets:
            await droplet.stop()

    async def droplet(self, document: dict, **changes) -> Droplet:
        droplet = Droplet(
            document["status"]["droplet"]["ip"],
            changes.get("label", label_of(document)),
            self.settings.droplet_http_port,
            self.settings.droplet_https_port,
        )
        await droplet.start(self.folder)
        self.droplets.append(droplet)
        return droplet

    def replica(self, folder: Path) -> "Gateway":
        """Another one before the same droplets, at an address of its own; it is to be started."""
        other = Gateway(folder, [self.droplet_addresses.pop(), *self.droplet_addresses])
        other.public = self.public
        ports = {"droplet_http_port", "droplet_https_port"}
        other.settings = other.settings.model_copy(update=self.settings.model_dump(include=ports))
        return other

    def client(self) -> aiohttp.ClientSession:
        """A browser outside that knows the public root and where the gateway is."""
        gateway = self

        class Names(aiohttp.abc.AbstractResolver):
            async def resolve(self, host, port=0, family=0):
                one = {"hostname": host, "host": gateway.address, "port": port}
                return [{**one, "family": family, "proto": 0, "flags": 0}]

            async def close(self):
                pass

        context = ssl.create_default_context(cadata=self.public.pem)
        connector = aiohttp.TCPConnector(ssl=context, resolver=Names(), force_close=True)
        return aiohttp.ClientSession(connector=connector, trust_env=False)

    def url(self, document: dict, path: str = "/", scheme: str = "https") -> str:
        port = self.settings.https_port if scheme == "https" else self.settings.http_port
        return f"{scheme}://{label_of(document)}.{DOMAIN}:{port}{path}"


@pytest.fixture
async def gateway(tmp_path) -> AsyncIterator[Gateway]:
    with claim_address_block() as block:
        first = block.network.network_address + 2
        folder = tmp_path / "a path with spaces"
        folder.mkdir()
        gateway = Gateway(folder, [str(first + number) for number in range(5)])
        await gateway.start()
        yield gateway
        await gateway.stop()
        await asyncio.sleep(0.25)  # TLS connections end some steps of the loop after their closing


async def test_a_session_is_reached_by_its_name_and_no_other_one(gateway):
    board = session("retro-board", gateway.droplet_addresses[0])
    quotes = session("quotes", gateway.droplet_addresses[1])
    for document in (board, quotes):
        gateway.routes.put(document)
        await gateway.droplet(document)
    async with gateway.client() as client:
        for document in (board, quotes):
            async with client.get(gateway.url(document)) as answer:
                assert answer.status == 200
                assert label_of(document) in await answer.text()


async def test_an_app_that_is_not_there_says_so_to_people_and_programs(gateway):
    nobody = session("nobody", None)
    async with gateway.client() as client:
        async with client.get(gateway.url(nobody), headers={"Accept": "text/html"}) as answer:
            assert answer.status == 404
            assert "<h1>No such app</h1>" in await answer.text()
        headers = {"Accept": "application/json"}
        async with client.get(gateway.url(nobody), headers=headers) as answer:
            assert answer.status == 404
            document = json.loads(await answer.text())
            assert document["status"] == 404
            assert "its time is over" in document["error"]


async def test_a_droplet_that_is_down_is_502_and_says_when_to_come_again(gateway):
    document = session("down", gateway.droplet_addresses[0])
    gateway.routes.put(document)
    async with gateway.client() as client, client.get(gateway.url(document)) as answer:
        assert answer.status == 502
        assert answer.headers["Retry-After"] == "5"
        assert "does not answer at the moment" in await answer.text()


async def test_an_ended_session_is_not_reached_any_more(gateway):
    document = session("ended", gateway.droplet_addresses[0])
    gateway.routes.put(document)
    await gateway.droplet(document)
    document["status"]["phase"] = "Destroying"
    gateway.routes.put(document)
    async with gateway.client() as client, client.get(gateway.url(document)) as answer:
        assert answer.status == 404


async def test_a_stranger_at_the_droplet_s_address_is_not_believed(gateway):
    document = session("mine", gateway.droplet_addresses[0])
    gateway.routes.put(document)
    await gateway.droplet(document, label="somebody-else-11112222")
    async with gateway.client() as client, client.get(gateway.url(document)) as answer:
        assert answer.status == 502


async def test_another_host_is_told_that_this_is_the_wrong_server(gateway):
    document = session("board", gateway.droplet_addresses[0])
    async with gateway.client() as client:
        headers = {"Host": "www.example.com"}
        async with client.get(gateway.url(document), headers=headers) as answer:
            assert answer.status == 421
        async with client.get(gateway.url(document, scheme="http"), headers=headers) as answer:
            assert answer.status == 421


async def test_http_leads_to_https_but_proofs_pass_to_the_droplet(gateway):
    document = session("board", gateway.droplet_addresses[0])
    gateway.routes.put(document)
    droplet = await gateway.droplet(document)
    droplet.proofs["abc"] = "abc.thumbprint"
    async with gateway.client() as client:
        plain = gateway.url(document, "/page?x=1", scheme="http")
        async with client.get(plain, allow_redirects=False) as answer:
            assert answer.status == 308
            assert answer.headers["Location"] == gateway.url(document, "/page?x=1")
        proof = gateway.url(document, "/.well-known/acme-challenge/abc", scheme="http")
        async with client.get(proof) as answer:
            assert await answer.text() == "abc.thumbprint"


async def test_sockets_and_streams_survive_new_routes_and_a_new_certificate(gateway):
    document = session("board", gateway.droplet_addresses[0])
    gateway.routes.put(document)
    await gateway.droplet(document)
    async with (
        gateway.client() as client,
        client.ws_connect(gateway.url(document, "/socket")) as socket,
        client.get(gateway.url(document, "/events")) as events,
    ):
        await socket.send_str("one")
        assert await socket.receive_str() == "echo one"
        assert await events.content.readline() == b"data: 0\n"
        for number in range(50):
            gateway.routes.put(session(f"other-{number}", gateway.droplet_addresses[1]))
        loaded = gateway.reloads
        serial = gateway.write_certificate()
        async with asyncio.timeout(60):
            while gateway.reloads == loaded:
                await asyncio.sleep(0.05)
        await socket.send_str("two")
        assert await socket.receive_str() == "echo two"
        assert await events.content.readline() in (b"\n", b"data: 1\n")
        assert await served_serial(gateway) == serial


async def test_a_pair_that_does_not_fit_leaves_the_one_before_in_service(gateway):
    before = await served_serial(gateway)
    other = Authority().issue(f"*.{DOMAIN}")
    (gateway.folder / "tls.crt").write_text(other.chain)
    async with asyncio.timeout(60):
        while gateway.reloading.problem is None:
            await asyncio.sleep(0.05)
    assert "does not match" in gateway.reloading.problem
    assert await served_serial(gateway) == before


async def test_a_replica_that_is_killed_under_load_loses_what_was_in_flight_on_it_alone(
    gateway, tmp_path
):
    """A hundred requests a second, sent to both in turn; who finds one closed asks the other.

    They are POSTs: a GET whose answer is lost is sent again by most clients.
    """
    document = session("board", gateway.droplet_addresses[0])
    other = gateway.replica(tmp_path)
    await other.start()
    droplet = await gateway.droplet(document)
    droplet.takes_seconds = 0.2
    statuses: list[int] = []
    lost: list[tuple[Gateway, int]] = []
    async with gateway.client() as first, other.client() as second:
        clients = {gateway: first, other: second}
        for replica in clients:
            replica.routes.put(document)

        async def ask(number: int) -> None:
            for replica in (gateway, other) if number % 2 else (other, gateway):
                try:
                    async with clients[replica].post(replica.url(document)) as answer:
                        statuses.append(answer.status)
                        return
                except aiohttp.ClientConnectorError:
                    continue  # refused, so nothing was sent
                except aiohttp.ClientError:
                    lost.append((replica, number))
                    return

        async with asyncio.TaskGroup() as asked:
            for number in range(120):
                asked.create_task(ask(number))
                await asyncio.sleep(0.01)
                if number == 60:
                    assert gateway.caddy.pid is not None
                    os.kill(gateway.caddy.pid, signal.SIGKILL)
    await other.stop()
    assert lost, "nothing was in flight"
    assert {replica for replica, _ in lost} == {gateway}
    assert max(number for _, number in lost) <= 65
    assert statuses == [200] * (120 - len(lost))


async def test_a_caddy_that_was_started_again_is_given_its_configuration_again(gateway):
    document = session("board", gateway.droplet_addresses[0])
    gateway.routes.put(document)
    await gateway.droplet(document)
    loaded = gateway.reloads
    os.kill(gateway.caddy.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while gateway.reloads == loaded:
            await asyncio.sleep(0.05)
    async with gateway.client() as client, client.get(gateway.url(document)) as answer:
        assert answer.status == 200


async def test_a_certificate_that_caddy_has_not_taken_shows_as_not_current(gateway):
    served = ServedCertificate(gateway.settings, SystemClock())
    await served.look()
    assert served.is_current
    before = served.not_after
    gateway.watching.cancel()  # nobody has Caddy take the next one
    gateway.write_certificate()
    await served.look()
    assert not served.is_current
    assert served.not_after == before
    await gateway.caddy.stop()
    await served.look()
    assert served.not_after is None


async def served_serial(gateway: Gateway) -> int:
    context = ssl.create_default_context(cadata=gateway.public.pem)
    _, writer = await asyncio.open_connection(
        gateway.address,
        gateway.settings.https_port,
        ssl=context,
        server_hostname=f"any.{DOMAIN}",
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(der).serial_number
