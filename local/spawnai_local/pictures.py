"""`make page-pictures`: the page in its states, from a stack that really runs, as PNG files.

They are not kept in the repository. Whoever changes the page looks at them: three widths, both
schemes, both languages. A running app is drawn as SVG too, which is text: the README shows it.
"""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserType, Page, async_playwright

from spawnai_local.classes import LOCAL_DNS_CLASS
from spawnai_local.interruption import run_until_interrupted
from spawnai_local.narration import Narrator
from spawnai_local.paths import checkout
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import StackSettings
from spawnai_local.up import READABLE_ERRORS

PROMPT = "A retro board with three columns, cards people can add and vote on"
_WIDTHS = (390, 768, 1280)
_SCHEMES = ("light", "dark")
_HEIGHT = 900
_READY_MILLISECONDS = 120_000
_FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

IN_README = Path("docs") / "page.svg"
_AS_SVG = Path(__file__).with_name("as_svg.js")
_SVG_WIDTH = 1000
_APP_WIDTH, _APP_HEIGHT = 1000, 563
_CARDS = (
    ("well", "The release went out on Tuesday", 4),
    ("well", "Two new people on the team", 2),
    ("improve", "Reviews wait for more than a day", 3),
    ("next", "Review before lunch, every day", 5),
)
_SAME_NAMES = "crypto.getRandomValues = (bytes) => { bytes.set([0x7f, 0x3a]); return bytes; }"
"""A page whose orders have the same names each time: pictures differ only where the page does."""


def main() -> None:
    """Run the command; exit code 1 without Chromium, or when the stack does not come up."""
    narrator = Narrator()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        narrator.warn("There is no Chromium on this machine (Debian: apt-get install chromium).")
        sys.exit(1)
    try:
        run_until_interrupted(_run(narrator, program))
    except READABLE_ERRORS as error:
        narrator.warn(str(error))
        sys.exit(1)


async def _run(narrator: Narrator, program: str) -> int:
    pictures = checkout() / ".local" / "pictures"
    if pictures.exists():
        shutil.rmtree(pictures)
    pictures.mkdir(parents=True)
    directory = checkout() / "build" / "pictures"
    settings = StackSettings(
        directory, default_class=LOCAL_DNS_CLASS, https=True, inspector=True, console=True
    )
    async with (
        LocalStack(settings, report=narrator.part) as stack,
        async_playwright() as playwright,
    ):
        if stack.console is None:
            raise RuntimeError("the stack has no console")
        browser = await playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        photographer = _Photographer(browser, stack.console.url, stack.console.token, pictures)
        app = await photographer.tell_a_beginning()
        address = await stack.kubectl.run(
            "get", "spawnsessions", "--output=jsonpath={.items[0].status.droplet.ip}"
        )
        drawn = await _draw_app(playwright.chromium, program, app, address)
        await photographer.draw(checkout() / IN_README, drawn)
        await photographer.tell_an_end()
        await photographer.all_views()
        await browser.close()
    narrator.say(f"{len(list(pictures.iterdir()))} pictures are in {pictures}, one is {IN_README}")
    return 0


async def _draw_app(chromium: BrowserType, program: str, url: str, address: str) -> str:
    """The app in use, as an SVG picture. Its host is known to the local DNS server alone."""
    rule = f"--host-resolver-rules=MAP {urlsplit(url).hostname} {address}"
    browser = await chromium.launch(executable_path=program, args=[*_FLAGS, rule])
    page = await browser.new_page(
        viewport={"width": _APP_WIDTH, "height": _APP_HEIGHT}, ignore_https_errors=True
    )
    await page.goto(url)
    for column, text, votes in _CARDS:
        await page.fill(f"#{column} textarea", text)
        await page.click(f"#{column} button[type=submit]")
        for _ in range(votes):
            await page.locator(f"#{column} .card", has_text=text).locator(".vote").click()
    drawn = await _as_svg(page, height=_APP_HEIGHT)
    await browser.close()
    return drawn


async def _as_svg(page: Page, **given: Any) -> str:
    drawn: str = await page.evaluate(_AS_SVG.read_text(), given)
    return drawn


class _Photographer:
    def __init__(self, browser: Browser, url: str, token: str, pictures: Path) -> None:
        self._browser = browser
        self._url = url
        self._token = token
        self._pictures = pictures
        self._page: Page

    async def tell_a_beginning(self) -> str:
        """One app from the order until it runs; its URL."""
        self._page = page = await self._open(1280, "light")
        await page.fill("#prompt", PROMPT)
        await self._take(page, "order")
        await page.keyboard.press("Control+Enter")
        await page.wait_for_selector(".paper li.now", timeout=_READY_MILLISECONDS)
        await self._take(page, "building")
        await page.wait_for_selector("#open-app", timeout=_READY_MILLISECONDS)
        await page.wait_for_selector(".shot img", timeout=_READY_MILLISECONDS)
        return str(await page.get_attribute("#open-app", "href"))

    async def draw(self, path: Path, app: str) -> None:
        """Write what is on the screen as SVG, with the app drawn where its picture is."""
        before = self._page.viewport_size
        await self._page.set_viewport_size({"width": _SVG_WIDTH, "height": _HEIGHT})
        tabs = await self._page.locator("[role=tablist]").bounding_box()
        if tabs is None:
            raise RuntimeError("the page shows no running app")
        drawn = await _as_svg(
            self._page,
            height=round(tabs["y"] + tabs["height"]) + 20,
            unwanted="#skip,#panel,details .pop",
            pictures=[app],
        )
        path.write_text(drawn)
        if before is not None:
            await self._page.set_viewport_size(before)

    async def tell_an_end(self) -> None:
        """Its dialogs and its receipt, and two other apps that go on."""
        page = self._page
        await page.click("#extend")
        await self._take(page, "extend", full_page=False)
        await page.keyboard.press("Escape")
        await page.click("#end-now")
        await self._take(page, "end", full_page=False)
        await page.click("#end-app")
        await page.wait_for_selector(".slip .gone", timeout=_READY_MILLISECONDS)
        for prompt in ("A quiz with ten questions", "A clock for three cities"):
            await page.goto(f"{self._url}#/new")
            await page.fill("#prompt", prompt)
            await page.keyboard.press("Control+Enter")
            await page.wait_for_selector("#open-app", timeout=_READY_MILLISECONDS)
        await page.context.close()

    async def all_views(self) -> None:
        """Every view at every width, in both schemes; the dark ones in French."""
        for width in _WIDTHS:
            for scheme in _SCHEMES:
                page = await self._open(width, scheme)
                await self._take(page, f"new-{width}-{scheme}")
                await page.evaluate("location.hash = '/apps'")
                await page.wait_for_selector(".list tbody tr")
                await self._take(page, f"apps-{width}-{scheme}")
                await page.check("input[name=group] >> nth=-1")
                await page.wait_for_selector(".list.past tbody tr")
                await self._take(page, f"history-{width}-{scheme}")
                await page.check("input[name=group] >> nth=0")
                await page.wait_for_selector(".list:not(.past) tbody tr")
                links = await page.eval_on_selector_all(
                    ".list tbody tr",
                    "rows => rows.map(row => [row.querySelector('a').hash,"
                    " row.querySelector('.tag').classList[1]])",
                )
                seen: set[str] = set()
                for link, state in links:
                    if state in seen:
                        continue
                    seen.add(state)
                    await page.evaluate("hash => { location.hash = hash }", link)
                    await page.wait_for_selector("h1")
                    await page.wait_for_timeout(700)
                    await self._take(page, f"{state}-{width}-{scheme}")
                await page.context.close()

    async def _open(self, width: int, scheme: str) -> Page:
        context = await self._browser.new_context(
            viewport={"width": width, "height": _HEIGHT},
            color_scheme="dark" if scheme == "dark" else "light",
            locale="fr-FR" if scheme == "dark" else "en-US",
            reduced_motion="reduce",
        )
        page = await context.new_page()
        await page.add_init_script(_SAME_NAMES)
        await page.goto(self._url)
        await page.fill("#token", self._token)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#prompt")
        await asyncio.sleep(0.5)
        return page

    async def _take(self, page: Page, name: str, *, full_page: bool = True) -> None:
        await page.screenshot(path=self._pictures / f"{name}.png", full_page=full_page)


if __name__ == "__main__":
    main()
