"""HTTPS at a droplet: what the operator hands in, and what everyone then gets.

Each test runs with the Caddy of the virtual environment, and with Debian's (2.6) where it is.
"""

import asyncio
import os
import signal
import socket
import ssl
import stat

import httpx
import pytest
from cryptography import x509
from tests.contract.machines.certificates import Authority
from tests.contract.machines.support import (
    ANSWERING_SERVER,
    HOST_LABEL,
    MASTER_KEY,
    STATIC_PAGE,
    TestMachine,
    bundle,
    eventually,
)

from spawnai.droplet.client import AgentRejected
from spawnai.droplet.credentials import derive_droplets_authority, gateway_host_name

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAME = "retro-board-11111111.example.com"


@pytest.fixture
def machine(caddys_machine):
    return caddys_machine


@pytest.fixture(scope="module")
def authority():
    return Authority()


def handshake(
    machine: TestMachine, authority_pem: str, server_name: str | None
) -> x509.Certificate:
    """The certificate that the machine proves to hold; raises ssl.SSLError where it cannot."""
    context = ssl.create_default_context(cadata=authority_pem)
    context.check_hostname = server_name is not None
    with (
        socket.create_connection((machine.address, machine.host.https_port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=server_name) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


async def shown(machine, authority_pem, server_name) -> x509.Certificate:
    return await asyncio.to_thread(handshake, machine, authority_pem, server_name)


def visitor(machine: TestMachine, authority: Authority) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"https://{machine.address}:{machine.host.https_port}",
        verify=ssl.create_default_context(cadata=authority.pem),
        trust_env=False,
    )


async def test_a_challenge_is_answered_before_everything_else(machine):
    webapp = machine()
    await webapp.boot()
    await webapp.until_it_answers()
    await webapp.agent.put_challenge("token-1", "token-1.thumbprint")
    await webapp.until_caddy_answers()
    await webapp.agent.put_hosts([NAME], redirect_http=True)
    answer = await webapp.browser.get("/.well-known/acme-challenge/token-1")
    assert (answer.status_code, answer.text) == (200, "token-1.thumbprint")
    assert (await webapp.browser.get("/.well-known/acme-challenge/other")).status_code == 404

    await webapp.agent.delete_challenge("token-1")
    await webapp.agent.delete_challenge("token-1")
    assert (await webapp.browser.get("/.well-known/acme-challenge/token-1")).status_code == 404


@pytest.mark.parametrize("token", ["../session.json", "a/b", "x" * 129, "%2e%2e"])
async def test_a_challenge_that_is_none_is_refused(idle_webapp, token):
    with pytest.raises(AgentRejected):
        await idle_webapp.agent.put_challenge(token, "x.y")
    with pytest.raises(AgentRejected, match="thumbprint"):
        await idle_webapp.agent.put_challenge("token", "<script>")


async def test_from_birth_a_gateway_knows_the_droplet_by_a_private_certificate(machine):
    webapp = machine()
    await webapp.boot()
    await webapp.until_it_answers()
    await webapp.until_caddy_answers()
    ours = derive_droplets_authority(MASTER_KEY)
    internal = gateway_host_name(HOST_LABEL)
    certificate = await shown(webapp, ours, internal)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [internal]
    with pytest.raises(ssl.SSLError):  # it is no other droplet, and no other installation's
        await shown(webapp, ours, gateway_host_name("another-22222222"))
    with pytest.raises(ssl.SSLError):
        await shown(webapp, derive_droplets_authority(b"k" * 32), internal)


async def test_a_public_certificate_is_served_by_name_and_to_who_names_none(machine, authority):
    webapp = machine()
    await webapp.run(bundle("webapp", STATIC_PAGE))
    issued = authority.issue(NAME, webapp.address)
    await webapp.agent.put_certificate(issued.chain, issued.key, [NAME, webapp.address])
    for server_name in (NAME, None):
        assert (await shown(webapp, authority.pem, server_name)).serial_number == issued.serial
    async with visitor(webapp, authority) as browser:  # httpx names no host for an address
        page = await browser.get("/")
    assert (page.status_code, page.text) == (200, STATIC_PAGE["index.html"])
    # The private one stays beside it.
    ours = derive_droplets_authority(MASTER_KEY)
    await shown(webapp, ours, gateway_host_name(HOST_LABEL))


async def test_a_new_certificate_drops_no_request(machine, authority):
    server = """
    require('http').createServer((request, response) => {
      response.write('begun');
      setTimeout(() => response.end(' and ended'), 1500);
    }).listen(process.env.PORT);
    """
    api = machine("api")
    await api.run(bundle("api", {"server.js": server}))
    first, second = authority.issue(api.address), authority.issue(api.address)
    await api.agent.put_certificate(first.chain, first.key, [api.address])
    async with visitor(api, authority) as browser, browser.stream("GET", "/") as answer:
        parts = answer.aiter_text()
        assert await anext(parts) == "begun"
        await api.agent.put_certificate(second.chain, second.key, [api.address])
        assert (await shown(api, authority.pem, None)).serial_number == second.serial
        assert "".join([part async for part in parts]) == " and ended"


async def test_a_new_certificate_leaves_open_websockets_alone(machine, authority, request):
    if "Debian" in request.node.name:
        pytest.skip("Caddy 2.6 closes WebSockets whenever it is configured anew")
    server = """
    const server = require('http').createServer((request, response) => response.end('pong'));
    server.on('upgrade', (request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n' +
        'Connection: Upgrade\\r\\n\\r\\n');
      socket.pipe(socket);
    });
    server.listen(process.env.PORT);
    """
    api = machine("api")
    await api.run(bundle("api", {"server.js": server}))
    reader, writer = await asyncio.open_connection(api.address, api.host.http_port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    issued = authority.issue(api.address)
    await api.agent.put_certificate(issued.chain, issued.key, [api.address])
    writer.write(b"still there?")
    assert await asyncio.wait_for(reader.readexactly(12), 10) == b"still there?"
    writer.close()


async def test_a_droplet_answers_its_own_names_only(machine, authority):
    webapp = machine()
    await webapp.run(bundle("webapp", STATIC_PAGE))
    issued = authority.issue(NAME, webapp.address)
    await webapp.agent.put_certificate(issued.chain, issued.key, [NAME, webapp.address])
    await webapp.agent.put_hosts([NAME, webapp.address], redirect_http=False)
    async with visitor(webapp, authority) as secure:
        for browser in (webapp.browser, secure):
            for host, status in ((NAME, 200), (webapp.address, 200), ("other.example.com", 421)):
                answer = await browser.get("/", headers={"Host": host})
                assert answer.status_code == status, host
            # The operator asks the address, whatever the names are.
            health = await browser.get("/health", headers={"Host": "other.example.com"})
            assert (health.status_code, health.json()) == (200, {"state": "running"})


async def test_plain_http_leads_to_https_when_told_so(machine, authority):
    webapp = machine()
    await webapp.run(bundle("webapp", STATIC_PAGE))
    issued = authority.issue(webapp.address)
    await webapp.agent.put_certificate(issued.chain, issued.key, [webapp.address])
    await webapp.agent.put_hosts([webapp.address], redirect_http=True)
    answer = await webapp.browser.get("/boards/7?x=1")
    port = "" if webapp.host.https_port == 443 else f":{webapp.host.https_port}"
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://{webapp.address}{port}/boards/7?x=1"
    assert (await webapp.browser.get("/health")).status_code == 200


async def test_a_key_of_another_certificate_is_refused_and_changes_nothing(machine, authority):
    webapp = machine()
    await webapp.run(bundle("webapp", STATIC_PAGE))
    good, other = authority.issue(webapp.address), authority.issue(webapp.address)
    await webapp.agent.put_certificate(good.chain, good.key, [webapp.address])
    with pytest.raises(AgentRejected, match="does not belong to the chain") as refusal:
        await webapp.agent.put_certificate(good.chain, other.key, [webapp.address])
    assert refusal.value.status == 422
    assert (await shown(webapp, authority.pem, None)).serial_number == good.serial


async def test_certificate_and_names_survive_caddy_agent_and_reboot(machine, authority):
    api = machine("api")
    await api.run(bundle("api", {"server.js": ANSWERING_SERVER}))
    issued = authority.issue(api.address)
    await api.agent.put_certificate(issued.chain, issued.key, [api.address])
    await api.agent.put_hosts([api.address], redirect_http=False)

    async def is_served():
        try:
            async with visitor(api, authority) as browser:
                own = await browser.get("/")
                other = await browser.get("/", headers={"Host": "other.example.com"})
        except (httpx.TransportError, ssl.SSLError):
            return None
        return (own.text, other.status_code) == ("pong", 421)

    for process in (*api.processes("caddy run"), *api.agents()):
        os.kill(process, signal.SIGKILL)
        await eventually(is_served)
    await api.host.power_off(api.id)
    await api.boot()
    await eventually(is_served)


async def test_the_key_of_a_certificate_is_for_the_agent_alone(machine, authority):
    webapp = machine()
    await webapp.run(bundle("webapp", STATIC_PAGE))
    issued = authority.issue(webapp.address)
    await webapp.agent.put_certificate(issued.chain, issued.key, [webapp.address])
    secret = issued.key.splitlines()[1]
    holders = [
        file
        for file in webapp.host.root_of(webapp.id).rglob("*")
        if stat.S_ISREG(file.lstat().st_mode) and secret in file.read_text(errors="replace")
    ]
    assert holders == [webapp.folder / "web.json"]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((webapp.folder / "web").stat().st_mode) == 0o700


async def test_an_app_cannot_set_a_cookie_for_the_domain_it_shares(machine):
    server = """
    require('http').createServer((request, response) => {
      response.setHeader('Set-Cookie', ['a=1; Domain=example.com; Path=/', 'b=2; HttpOnly']);
      response.end();
    }).listen(process.env.PORT);
    """
    api = machine("api")
    await api.run(bundle("api", {"server.js": server}))
    answer = await api.browser.get("/", headers={"Host": NAME})
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; HttpOnly"]
