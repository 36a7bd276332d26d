"""The inspector and a real Chromium, on pages that work, that do not, and that mean harm."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import async_playwright

from spawnai.inspector import page as page_module
from spawnai.inspector.browser import Browsers
from spawnai.inspector.client import InspectorAway, InspectorClient
from spawnai.inspector.inspection import LARGEST_SCREENSHOT, Clicks, Inspection, Target
from spawnai.inspector.program import find_chromium
from spawnai.inspector.server import Inspector

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.asyncio(loop_scope="module"),
]

HOST = "board.example.com"
ADDRESS = "127.0.0.1"

PAGES = {
    "/good": "<h1>Board</h1><button onclick='this.textContent=1'>Add</button><a href='/good'>x</a>",
    "/broken": """<h1>Board</h1><script src='/main.js'></script>
        <script>console.error('no board')</script><img src='/gone.png'>""",
    "/blank": "<div id='root'></div>",
    "/clicked": """<h1>Board</h1><button onclick='missing()'>Add a card</button>
        <a href='/nowhere'>About</a>""",
    "/unusual": """<canvas width='300' height='200'></canvas><script>
        fetch('/api/me'); new EventSource('/events')</script>""",
    "/endless": "<h1>Board</h1><script>while (true) {}</script>",
    "/late": "<h1>Board</h1><script src='/late.js'></script>",
    "/noise": """<canvas width='1280' height='720' style='position:fixed;inset:0'></canvas><script>
        const pen = document.querySelector('canvas').getContext('2d');
        const data = pen.createImageData(1280, 720);
        for (let i = 0; i < data.data.length; i++) data.data[i] = Math.random() * 256;
        pen.putImageData(data, 0, 0);</script>""",
    "/outside": """<h1>Weather</h1><script>
        fetch('https://weather.example.org/').catch((e) => console.error(e));</script>""",
}
FILES = {"/main.js": "// one\nconst board = null;\nboard.draw();\n"}


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, ADDRESS, 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def asked() -> set[str]:
    return set()


@pytest.fixture(scope="module")
def named() -> dict[str, tuple[str | None, ...]]:
    """What each request said of the version that it wants: by header, and by cookie."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(asked, named):
    async def answer(request: web.Request) -> web.StreamResponse:
        asked.add(request.path)
        by_header = request.headers.get("X-SpawnAI-Trial")
        named[request.path] = (by_header, request.cookies.get("spawnai-trial"))
        if request.path == "/events":
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
            await asyncio.sleep(60)
        if request.path == "/late.js":
            await asyncio.sleep(3)
            return web.Response(text="1", content_type="text/javascript")
        if request.path == "/api/me":
            return web.Response(status=401)
        if request.path in FILES:
            return web.Response(text=FILES[request.path], content_type="text/javascript")
        if request.path in PAGES:
            return web.Response(text=PAGES[request.path], content_type="text/html")
        return web.Response(status=404)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with serving(application) as port:
        yield port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inspector():
    async def resolve(_host: str) -> None:
        return None

    async with async_playwright() as playwright:
        browsers = Browsers(playwright, CHROMIUM, sandbox=os.getuid() != 0)
        made = Inspector(
            browsers, resolve=resolve, networks=(ip_network("127.0.0.0/8"),), at_once=2
        )
        async with serving(made.application()) as port:
            client = InspectorClient(f"http://{ADDRESS}:{port}")
            yield client
            await client.close()
        await browsers.close()


@pytest.fixture(scope="module")
def seen() -> dict[str, Inspection]:
    return {}


@pytest.fixture
def look(inspector, site):
    async def look(path: str, clicks: Clicks = Clicks.ALL):
        return await inspector.inspect(Target(f"http://{HOST}:{site}{path}", ADDRESS, clicks))

    return look


async def test_a_page_that_works_has_no_findings_and_a_picture(look):
    good = await look("/good")
    assert good.findings == ()
    assert good.screenshot.startswith(b"\x89PNG")
    assert len(good.screenshot) <= LARGEST_SCREENSHOT
    # Of its browser nothing is left: one profile is that of the next.
    assert len(list(Path(tempfile.gettempdir()).glob(f"spawnai-page-{os.getpid()}-*"))) <= 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/broken", "main.js:3: uncaught TypeError: Cannot read properties of null"),
        ("/broken", "console error: no board"),
        ("/broken", "GET /gone.png is answered with 404"),
        ("/blank", "the page is blank"),
        ("/clicked", "after a click on 'Add a card': "),
        ("/clicked", "uncaught ReferenceError: missing is not defined"),
        ("/clicked", "after a click on 'About': GET /nowhere is answered with 404"),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(look, seen, path, expected):
    seen[path] = seen.get(path) or await look(path)
    assert expected in " | ".join(seen[path].findings)


async def test_every_request_for_a_version_that_is_held_names_its_word(inspector, site, named):
    word = "w" * 32
    PAGES["/held"] = """<h1>Board</h1><img src='/held.png'><script>
        fetch('/bare', {credentials: 'omit'}); new WebSocket(`ws://${location.host}/socket`);
        new Worker(URL.createObjectURL(new Blob([`fetch('${location.origin}/worker')`])));
        </script>"""
    named.clear()
    await inspector.inspect(Target(f"http://{HOST}:{site}/held", ADDRESS, Clicks.LINKS, word))
    words = {path: word in carried for path, carried in named.items() if path != "/favicon.ico"}
    assert words == dict.fromkeys(("/held", "/held.png", "/bare", "/socket", "/worker"), True)


async def test_streams_logins_and_drawings_are_no_findings(look):
    assert (await look("/unusual")).findings == ()


async def test_a_file_that_takes_its_time_is_no_finding(look, monkeypatch):
    monkeypatch.setattr(page_module, "_LOAD_SECONDS", 1.0)
    assert (await look("/late")).findings == ()


async def test_buttons_of_an_app_with_a_database_are_left_alone(look):
    found = (await look("/clicked", Clicks.LINKS)).findings
    assert found == ("after a click on 'About': GET /nowhere is answered with 404",)


async def test_a_large_picture_is_made_smaller(look):
    noise = await look("/noise")
    assert noise.screenshot == b"" or len(noise.screenshot) <= LARGEST_SCREENSHOT


async def test_a_page_reaches_nothing_but_its_host_and_is_not_blamed_for_that(look):
    assert (await look("/outside")).findings == ()


async def test_a_page_does_not_reach_this_machine(look, asked):
    async def inner(request: web.Request) -> web.Response:
        asked.add("the machine's own service")
        return web.Response()

    application = web.Application()
    application.router.add_get("/", inner)
    async with serving(application) as port:
        PAGES["/inside"] = "<h1>x</h1>" + "".join(
            f"<script src='http://{host}:{port}/'></script>"
            f"<script>new WebSocket('ws://{host}:{port}/')</script>"
            for host in ("localhost", "127.0.0.1", "[::1]")
        )
        await look("/inside")
    assert "the machine's own service" not in asked


async def test_a_page_that_never_ends_is_killed_at_the_limit(look, monkeypatch):
    monkeypatch.setattr(page_module, "_LOAD_SECONDS", 2.0)
    endless = await look("/endless")
    assert "blocks the browser" in " ".join(endless.findings)
    monkeypatch.undo()
    assert (await look("/good")).findings == ()


async def test_an_address_that_does_not_answer_is_no_fault_of_the_page(inspector):
    with pytest.raises(InspectorAway, match="nothing answers at"):
        await inspector.inspect(Target(f"http://{HOST}:9/", ADDRESS))


@pytest.mark.parametrize("address", ["10.0.0.7", "169.254.169.254", "not an address"])
async def test_private_addresses_are_refused(inspector, address):
    with pytest.raises(InspectorAway, match="address"):
        await inspector.inspect(Target(f"http://{HOST}/", address))


async def test_an_inspector_that_is_away_says_so():
    client = InspectorClient("http://127.0.0.1:9")
    with pytest.raises(InspectorAway, match="does not answer"):
        await client.inspect(Target("http://board.example.com/"))
    await client.close()
