"""`make page-pictures`: the page in its states, from a stack that really runs, as PNG files.

They are not kept in the repository. Whoever changes the page looks at them: three widths, both
schemes, both languages. A running app is made as SVG too, which is text.
"""

import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

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

_SVG_WIDTH = 1000
_AS_SVG = Path(__file__).with_name("as_svg.js")


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
    settings = StackSettings(directory, console=True)
    async with (
        LocalStack(settings, report=narrator.part) as stack,
        async_playwright() as playwright,
    ):
        if stack.console is None:
            raise RuntimeError("the stack has no console")
        browser = await playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        photographer = _Photographer(browser, stack.console.url, stack.console.token, pictures)
        await photographer.tell_a_life()
        await photographer.all_views()
        await browser.close()
    narrator.say(f"{len(list(pictures.iterdir()))} pictures are in {pictures}")
    return 0


class _Photographer:
    def __init__(self, browser: Browser, url: str, token: str, pictures: Path) -> None:
        self._browser = browser
        self._url = url
        self._token = token
        self._pictures = pictures

    async def tell_a_life(self) -> None:
        """One app from the order to the receipt, and another that goes on; at 1280 px."""
        page = await self._open(1280, "light")
        await page.fill("#prompt", PROMPT)
        await self._take(page, "order")
        await page.keyboard.press("Control+Enter")
        await page.wait_for_selector(".paper li.now", timeout=_READY_MILLISECONDS)
        await self._take(page, "building")
        await page.wait_for_selector("#open-app", timeout=_READY_MILLISECONDS)
        await self._take_svg(page, "running")
        await page.click("#extend")
        await self._take(page, "extend")
        await page.keyboard.press("Escape")
        await page.click("#end-now")
        await self._take(page, "end")
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
        await page.goto(self._url)
        await page.fill("#token", self._token)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#prompt")
        await asyncio.sleep(0.5)
        return page

    async def _take_svg(self, page: Page, name: str) -> None:
        before = page.viewport_size
        await page.set_viewport_size({"width": _SVG_WIDTH, "height": _HEIGHT})
        picture = self._pictures / f"{name}.svg"
        picture.write_text(await page.evaluate(_AS_SVG.read_text()))
        if before is not None:
            await page.set_viewport_size(before)

    async def _take(self, page: Page, name: str) -> None:
        await page.screenshot(path=self._pictures / f"{name}.png", full_page=True)


if __name__ == "__main__":
    main()
