"""What a request costs the gateway with one session and with many, and its memory with many.

Caddy and `spawnai gateway` are the real ones, each a process. The API server is a listing that
never changes, and one droplet answers, so nothing but the number of sessions differs. What is told
is processor time: how fast answers come depends on who asks.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from spawnai.api.names import API_VERSION, session_host_label
from spawnai.droplet.credentials import derive_droplets_authority, derive_gateway_certificate
from spawnai_local.address_block import claim_address_block
from spawnai_local.bench.figures import Figure, Judge
from spawnai_local.bench.operator_process import cpu_seconds_of, memory_of
from spawnai_local.certificates import CertificateAuthority
from spawnai_local.classes import LOCAL_WILDCARD_DOMAIN
from spawnai_local.cloud_settings import NO_CLOUD
from spawnai_local.gateway import LocalGateway
from spawnai_local.narration import Narrator
from spawnai_local.processes import free_port

MOST_RATIO = 1.5
MOST_MEGABYTES = 250.0
WARM_UP, REQUESTS, AT_ONCE = 500, 5000, 8

_MASTER_KEY = b"k" * 32
_UID = "{:08x}-0000-4000-8000-000000000001"
_PROMPT = "A shop that sells ferns, with a basket and an order form. " * 20
_PATH = f"/apis/{API_VERSION}/spawnsessions"


@dataclass(frozen=True, slots=True)
class Load:
    """What the gateway used."""

    caddy_seconds: float
    """Processor time for each request."""
    lookup_seconds: float
    caddy_bytes: int
    lookup_bytes: int

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.caddy_seconds + self.lookup_seconds


@dataclass(frozen=True, slots=True)
class Led:
    """What was measured with one session, and with many."""

    sessions: int
    one: Load
    many: Load

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        one, many = self.one, self.many
        return [
            Figure(
                f"gateway: processor time of a request with {self.sessions} sessions, with 1 = 1",
                "",
                (many.seconds / one.seconds,),
                MOST_RATIO,
                Judge.MOST,
                remark=f"{REQUESTS} requests for one app over {AT_ONCE} connections: "
                f"Caddy {many.caddy_seconds * 1e6:.0f} µs each and the lookup "
                f"{many.lookup_seconds * 1e6:.0f} µs, with one session "
                f"{one.caddy_seconds * 1e6:.0f} and {one.lookup_seconds * 1e6:.0f} µs",
            ),
            Figure(
                f"gateway: memory with {self.sessions} sessions",
                "MB",
                ((many.caddy_bytes + many.lookup_bytes) / 1e6,),
                MOST_MEGABYTES,
                Judge.MOST,
                remark=f"Caddy {many.caddy_bytes / 1e6:.0f} MB, lookup "
                f"{many.lookup_bytes / 1e6:.0f} MB; with one session "
                f"{one.caddy_bytes / 1e6:.0f} and {one.lookup_bytes / 1e6:.0f} MB",
            ),
        ]


async def _is_mounted() -> bool:
    """The Secrets lie in the gateway's folder already."""
    return True


def _session(number: int, address: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"app-{number}", "uid": _UID.format(number), "resourceVersion": "1"},
        "spec": {"prompt": _PROMPT, "appType": "webapp"},
        "status": {"phase": "Running", "droplet": {"ip": address}},
    }


@asynccontextmanager
async def _api_server(count: int, droplet_address: str) -> AsyncIterator[str]:
    """The API server as a gateway uses it: pages of sessions, then a watch that tells nothing."""
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") in ("true", "True", "1"):
            watch = web.StreamResponse()
            await watch.prepare(request)
            await over.wait()
            return watch
        first = int(request.query.get("continue") or 0)
        end = min(count, first + int(request.query.get("limit") or count))
        more = {"continue": str(end)} if end < count else {}
        items = [_session(number, droplet_address) for number in range(first, end)]
        return web.json_response({"metadata": {"resourceVersion": "1", **more}, "items": items})

    application = web.Application()
    application.router.add_get(_PATH, answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        over.set()
        await runner.cleanup()


@asynccontextmanager
async def _droplet(folder: Path, address: str, port: int) -> AsyncIterator[None]:
    """The web server of the first session's droplet, with the certificate that gateways know."""
    label = session_host_label("app-0", _UID.format(0))
    pair = derive_gateway_certificate(_MASTER_KEY, _UID.format(0), datetime.now(UTC), label)
    path = folder / "droplet.pem"
    path.touch(mode=0o600)
    path.write_text(pair.certificate_pem + pair.private_key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    application = web.Application()
    page = "x" * 1024

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=page)

    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port, ssl_context=context).start()
        yield
    finally:
        await runner.cleanup()


async def _ask(address: str, port: int, ca: Path, requests: int) -> None:
    """Ask for the first app's page so often, over some connections at once."""

    class Names(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
            one = {"hostname": host, "host": address, "port": port}
            return [{**one, "family": family, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            """Nothing is open."""

    label = session_host_label("app-0", _UID.format(0))
    url = f"https://{label}.{LOCAL_WILDCARD_DOMAIN}:{port}/"
    connector = aiohttp.TCPConnector(
        ssl=ssl.create_default_context(cafile=str(ca)), resolver=Names(), limit=AT_ONCE
    )
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as client:

        async def some() -> None:
            for _ in range(requests // AT_ONCE):
                async with client.get(url) as answer:
                    answer.raise_for_status()
                    await answer.read()

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def _measure(folder: Path, sessions: int) -> Load:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = CertificateAuthority(folder, "SpawnAI bench")
    pair = authority.issue_server("tls", [f"*.{LOCAL_WILDCARD_DOMAIN}"])
    for path, name in ((pair.certificate, "tls.crt"), (pair.key, "tls.key")):
        path.rename(folder / name)
    ca = authority.certificate_path.rename(folder / "public.crt")
    (folder / "ca.crt").write_text(derive_droplets_authority(_MASTER_KEY))
    with claim_address_block() as block:
        address, droplet = (str(block.network.network_address + number) for number in (2, 3))
        cloud = replace(
            NO_CLOUD,
            dns_address=address,
            http_port=free_port(address),
            https_port=free_port(address),
        )
        async with (
            _api_server(sessions, droplet) as url,
            _droplet(folder, droplet, cloud.https_port),
        ):
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_text(_kubeconfig(url))
            gateway = LocalGateway(folder, cloud, kubeconfig, _is_mounted)
            await gateway.start()
            try:
                await _ask(address, cloud.https_port, ca, WARM_UP)
                before = [cpu_seconds_of(pid) for pid in gateway.pids]
                await _ask(address, cloud.https_port, ca, REQUESTS)
                after = [cpu_seconds_of(pid) for pid in gateway.pids]
                lookup, caddy = (
                    (until - since) / REQUESTS for since, until in zip(before, after, strict=True)
                )
                lookup_bytes, caddy_bytes = (memory_of(pid).resident for pid in gateway.pids)
            finally:
                await gateway.stop()
    return Load(caddy, lookup, caddy_bytes, lookup_bytes)


def _kubeconfig(url: str) -> str:
    named = {"cluster": "bench", "user": "bench"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": url}}],
            "users": [{"name": "bench", "user": {"token": "none"}}],
            "contexts": [{"name": "bench", "context": named}],
        }
    )


async def measure(directory: Path, narrator: Narrator, *, sessions: int) -> Led:
    """Put the same load on a gateway that knows one session, and on one that knows many."""
    narrator.say("one session")
    one = await _measure(directory / "one", 1)
    narrator.say(f"{sessions} sessions")
    return Led(sessions, one, await _measure(directory / "many", sessions))
