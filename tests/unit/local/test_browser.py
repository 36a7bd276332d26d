import asyncio
import contextlib
from collections.abc import AsyncIterator

import dns.message
import dns.rcode
import dns.rrset
import pytest
from aiohttp import web

from spawnai_local.browser import DnsServer, FetchError, Page, fetch, lookup

HOST = "board.apps.example.test"


@contextlib.asynccontextmanager
async def name_server(names: dict[str, str]) -> AsyncIterator[DnsServer]:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, sender):
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            name = query.question[0].name.to_text(omit_final_dot=True)
            if name in names:
                answer.answer.append(dns.rrset.from_text(f"{name}.", 30, "IN", "A", names[name]))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.transport.sendto(answer.to_wire(), sender)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Server, local_addr=("127.0.0.1", 0)
    )
    try:
        yield DnsServer(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[int]:
    async def page(request):
        body = (
            f"<html><head><title>Board at {request.host}</title><style>b {{}}</style></head>"
            "<body><h1>Retro</h1><script>var hidden</script><p>Start\n<ul><li>one<li>two</ul>"
        )
        return web.Response(text=body, content_type="text/html")

    async def echo(request):
        return web.json_response(await request.json(), status=201)

    async def moved(request):
        raise web.HTTPFound("/page")

    app = web.Application()
    app.add_routes(
        [web.get("/page", page), web.post("/items", echo), web.get("/", moved)],
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_name_is_resolved_by_the_given_server_and_the_site_is_told_its_name():
    async with name_server({HOST: "127.0.0.1"}) as server, site() as port:
        page = await fetch(f"http://{HOST}:{port}/page", server=server)
    assert page.status == 200
    assert page.address == "127.0.0.1"
    assert page.title == f"Board at {HOST}:{port}"


async def test_a_person_sees_the_text_and_no_markup_scripts_or_styles():
    async with site() as port:
        page = await fetch(f"http://127.0.0.1:{port}/page")
    assert page.lines(10) == ["Retro", "Start", "one", "two"]


async def test_redirects_within_the_site_are_followed():
    async with site() as port:
        page = await fetch(f"http://127.0.0.1:{port}/")
    assert page.status == 200


async def test_a_document_is_sent_as_json():
    async with site() as port:
        page = await fetch(f"http://127.0.0.1:{port}/items", method="POST", document={"name": "é"})
    assert page.status == 201
    assert page.lines(1) == ['{"name": "\\u00e9"}']


async def test_an_unknown_name_is_no_error_of_a_lookup_but_of_a_fetch():
    async with name_server({}) as server:
        assert await lookup(HOST, server) == ()
        with pytest.raises(FetchError, match=f"there is no name {HOST}"):
            await fetch(f"http://{HOST}/", server=server)


async def test_nobody_at_the_address_says_so():
    with pytest.raises(FetchError, match=r"GET http://127.0.0.1:1/ \(127.0.0.1\) got no answer"):
        await fetch("http://127.0.0.1:1/")


async def test_a_url_that_is_none_says_what_was_expected():
    with pytest.raises(FetchError, match="expected a URL like https://name/path"):
        await fetch("ftp://127.0.0.1/")


def test_a_page_without_a_title_is_known_by_its_heading():
    page = Page("http://a/", "127.0.0.1", 200, "text/html", "<h1>Hello</h1><p>there")
    assert page.title == "Hello"
