"""What a page shows: opened, looked at, pictured, clicked, as its first visitor would."""

import asyncio
import base64
import contextlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    Response,
)
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeout

from .inspection import LARGEST_SCREENSHOT, LIMIT_SECONDS, Clicks, Findings, Inspection, Target
from .proxy import OneHostProxy

_WIDTH, _HEIGHT = 1280, 720
_LOAD_SECONDS = 5.0
_ANSWER_SECONDS = 3.0
"""After so long without an answer to a script of one digit, a page blocks its browser."""
_CLICKS_UNTIL_SECONDS = 6.0
"""No click is begun later, so that what it does is seen within the limit."""
_QUIET_SECONDS = 0.15
"""After so long without a request under way, a page that has loaded is looked at."""
_LONGEST_UNQUIET_SECONDS = 1.5
_LOOK_SECONDS = 0.03
_STREAMS = frozenset({"eventsource", "websocket"})
_CLICK_SECONDS = 0.7
_AFTER_CLICK_SECONDS = 0.06
_LONGEST_AFTER_CLICK_SECONDS = 0.7
_MOST_BUTTONS, _MOST_LINKS = 3, 2
# 800 pixels wide, as the console shows it; smaller where that is more than a picture may have.
_SCALES = (0.625, 0.4, 0.25)

_BUTTONS = "button, [role=button], input[type=button], input[type=submit], summary"
_LINKS = "a[href]"
# Chromium's own line about a request, which `_on_response` and `_on_failed` tell better.
_OF_A_REQUEST = "Failed to load resource"
# How a script says that its fetch failed.
_OF_THE_NETWORK = re.compile(r"Failed to fetch|NetworkError|ERR_|network error", re.IGNORECASE)
_ASKED_BY_BROWSERS = frozenset({"/favicon.ico"})
_FILES = frozenset({"document", "stylesheet", "image", "media", "font", "script", "manifest"})
_SERVER_FAULT = 500
# Given up by the page itself, or an answer whose status says it better.
_TOLD_ELSEWHERE = ("ERR_ABORTED", "ERR_HTTP_RESPONSE_CODE_FAILURE")

_IS_BLANK = """() => {
  const body = document.body;
  if (!body) return true;
  if (body.innerText.trim()) return false;
  const seen = 'img,svg,canvas,video,iframe,object,embed,input,button,select,textarea';
  return ![...body.querySelectorAll(seen)].some((one) => {
    const box = one.getBoundingClientRect();
    return box.width > 1 && box.height > 1;
  });
}"""


# How a droplet's Caddy hears which version is wanted: by a cookie, which WebSockets and workers
# bring too, and by a header, for what a page asks for without cookies.
_TRIAL_COOKIE, _TRIAL_HEADER = "spawnai-trial", "X-SpawnAI-Trial"


# The thing of a kind with that number among those that can be seen, and where it takes a click: one
# question to the browser instead of the six that a driver's own click asks.
_FIND = """([selector, number]) => {
  const seen = [...document.querySelectorAll(selector)].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && box.height && getComputedStyle(one).visibility === 'visible';
  });
  const one = seen[number];
  if (!one) return null;
  one.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
  const box = one.getClientRects()[0];
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const covered = !one.contains(document.elementFromPoint(x, y));
  const off = one.matches(':disabled') || one.getAttribute('aria-disabled') === 'true';
  return {
    x, y, label: one.innerText || '', takesClicks: !covered && !off,
    href: one.matches('a[href]') ? String(one.href) : null,
    isDownload: one.hasAttribute('download'),
  };
}"""


class Unreachable(Exception):
    """Nothing answers at the page's address; the message says why."""


async def inspect(browser: Browser, target: Target, proxy: OneHostProxy) -> Inspection:
    """Open a page in a fresh profile and say what is wrong with it; takes at most 10 s.

    Raises:
        Unreachable: its address takes no connection, so nothing can be said of the page.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    visit = _Visit(target, proxy)
    try:
        # What was found until then counts: a machine that is busy is no fault of the page.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_SECONDS):
                await visit.make(browser)
    except PlaywrightError as error:
        visit.findings.add(f"the page ends the browser: {error.message.splitlines()[0]}")
    if not proxy.answered:
        raise Unreachable(f"nothing answers at {target.url} ({proxy.problem or 'no request came'})")
    return Inspection(visit.findings.all(), visit.screenshot, loop.time() - began)


class _Visit:
    """One visit of one page."""

    def __init__(self, target: Target, proxy: OneHostProxy) -> None:
        self._target = target
        self._proxy = proxy
        self._origin = _origin(target.url)
        self._clicked = ""
        self._leaving = False
        self._under_way: set[Request] = set()
        self._is_answered = False
        self._began = asyncio.get_running_loop().time()
        self.findings = Findings()
        self.screenshot = b""

    async def make(self, browser: Browser) -> None:
        trial = self._target.trial
        context = await browser.new_context(
            # The operator has already asked for the page by the certificate it is served with.
            ignore_https_errors=True,
            accept_downloads=False,
            viewport={"width": _WIDTH, "height": _HEIGHT},
            # Chromium would reach loopback without it.
            proxy={"server": self._proxy.url, "bypass": "<-loopback>"},
            extra_http_headers={_TRIAL_HEADER: trial} if trial else None,
        )
        if trial:
            await context.add_cookies(
                [{"name": _TRIAL_COOKIE, "value": trial, "url": self._target.url, "httpOnly": True}]
            )
        page = await context.new_page()
        self._listen(context, page)
        if not await self._open(page) or not await self._responds(page):
            return
        await self._wait_until_quiet(_QUIET_SECONDS, _LONGEST_UNQUIET_SECONDS)
        if await page.evaluate(_IS_BLANK):
            self.findings.add("the page is blank: nothing on it can be seen")
        self.screenshot = await _picture(page)
        if self._target.clicks is Clicks.ALL:
            await self._click(page, _BUTTONS, _MOST_BUTTONS)
        await self._click(page, _LINKS, _MOST_LINKS)

    async def _open(self, page: Page) -> bool:
        """Whether there is a page to look at."""
        try:
            answer = await page.goto(
                self._target.url, wait_until="load", timeout=_LOAD_SECONDS * 1000
            )
        except PlaywrightTimeout:
            # A file of it may take its time, or a script of it: the next question tells.
            if self._is_answered:
                return True
            raise Unreachable(
                f"{self._target.url} is not answered within {_LOAD_SECONDS:.0f} s"
            ) from None
        except PlaywrightError as error:
            self.findings.add(f"the page cannot be opened: {_reason(error.message)}")
            return False
        return answer is not None

    async def _responds(self, page: Page) -> bool:
        """Whether the page's scripts come to an end."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await page.evaluate("1")
        except TimeoutError:
            self._tell("the page blocks the browser: a script of it does not come to an end")
            return False
        return True

    async def _wait_until_quiet(self, quiet_seconds: float, longest_seconds: float) -> None:
        """Let what the page asks for meanwhile come: until no request was under way for a while."""
        loop = asyncio.get_running_loop()
        quiet_since, end = loop.time(), loop.time() + longest_seconds
        while (now := loop.time()) < end and now < quiet_since + quiet_seconds:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._under_way:
                quiet_since = loop.time()

    # What happens on the page.

    def _listen(self, context: BrowserContext, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", self._on_exception)
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_finished)
        page.on("requestfailed", self._on_failed)
        page.on("response", self._on_response)
        page.on("crash", lambda _: self.findings.add("the page crashed the browser's tab"))
        page.on("dialog", _dismiss)
        context.on("page", lambda other: _close_other(other, page))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type != "error" or message.text.startswith(_OF_A_REQUEST):
            return
        # What failed because the inspector lets nothing else through is no fault of the page.
        if self._proxy.refused:
            return
        place = message.location
        where = self._short(str(place.get("url", "")), int(place.get("lineNumber", -1)) + 1)
        self._tell(f"{where}console error: {message.text}")

    def _on_exception(self, error: Any) -> None:
        text = str(getattr(error, "message", error))
        if self._proxy.refused and _OF_THE_NETWORK.search(text):
            return
        name = str(getattr(error, "name", "") or "")
        stack = str(getattr(error, "stack", "") or "")
        said = text if not name or text.startswith(name) else f"{name}: {text}"
        self._tell(f"{self._first_place(stack)}uncaught {said}")

    def _on_request(self, request: Request) -> None:
        if request.resource_type not in _STREAMS:
            self._under_way.add(request)

    def _on_finished(self, request: Request) -> None:
        self._under_way.discard(request)

    def _on_failed(self, request: Request) -> None:
        self._under_way.discard(request)
        # A request that a click gave up by leaving the page has not failed.
        if self._leaving or _origin(request.url) != self._origin:
            return
        if request.failure and not request.failure.endswith(_TOLD_ELSEWHERE):
            self._tell(f"{request.method} {self._path(request.url)} failed: {request.failure}")

    def _on_response(self, response: Response) -> None:
        path = urlsplit(response.url).path
        self._is_answered = True
        if response.ok or _origin(response.url) != self._origin or path in _ASKED_BY_BROWSERS:
            return
        kind, status = response.request.resource_type, response.status
        # An app with a login answers 401 to whoever is new, and that is no fault.
        bad_file = kind in _FILES and status >= 400  # noqa: PLR2004
        missing = status == 404  # noqa: PLR2004
        if bad_file or missing or status >= _SERVER_FAULT:
            self._tell(
                f"{response.request.method} {self._path(response.url)} is answered with {status}"
            )

    def _tell(self, text: str) -> None:
        self.findings.add(f"{self._clicked}{text}")

    # What a visitor does.

    async def _click(self, page: Page, selector: str, most: int) -> None:
        """Click the first things of a kind that can be seen; come back where that leads away."""
        for number in range(most):
            if asyncio.get_running_loop().time() > self._began + _CLICKS_UNTIL_SECONDS:
                return
            if not self._is_at_home(page):
                self._leaving = True
                await self._open(page)
                self._leaving = False
            thing = await page.evaluate(_FIND, [selector, number])
            if thing is None:
                return
            if not self._is_worth_it(thing):
                continue
            label = " ".join(thing["label"].split())[:40]
            self._clicked = f"after a click on {label or 'a button'!r}: "
            try:
                # A handler that does not come to an end is told by the question after it.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLICK_SECONDS):
                        await page.mouse.click(thing["x"], thing["y"])
                await self._wait_until_quiet(_AFTER_CLICK_SECONDS, _LONGEST_AFTER_CLICK_SECONDS)
                if not await self._responds(page):
                    return
                await page.wait_for_load_state("load", timeout=_LOAD_SECONDS * 1000)
            except PlaywrightError:
                pass  # Gone meanwhile: that is for a person to judge.
            self._clicked = ""

    def _is_at_home(self, page: Page) -> bool:
        return page.url.partition("#")[0] == self._target.url.partition("#")[0]

    def _is_worth_it(self, thing: dict[str, Any]) -> bool:
        """Whether it takes a click now, and stays on this app."""
        href = thing["href"]
        leads_away = href is not None and _origin(href) != self._origin
        return bool(thing["takesClicks"]) and not leads_away and not thing["isDownload"]

    # Words.

    def _path(self, url: str) -> str:
        parts = urlsplit(url)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _short(self, url: str, line: int) -> str:
        """`main.js:12: ` for a place in the app, nothing for any other."""
        if _origin(url) != self._origin:
            return ""
        name = urlsplit(url).path.lstrip("/") or "index.html"
        return f"{name}:{line}: " if line > 0 else f"{name}: "

    def _first_place(self, stack: str) -> str:
        for url, line in re.findall(r"(https?://[^\s()]+?):(\d+):\d+", stack):
            if found := self._short(url, int(line)):
                return found
        return ""


async def _picture(page: Page) -> bytes:
    session = await page.context.new_cdp_session(page)
    for scale in _SCALES:
        clip = {"x": 0, "y": 0, "width": _WIDTH, "height": _HEIGHT, "scale": scale}
        taken = await session.send("Page.captureScreenshot", {"format": "png", "clip": clip})
        picture = base64.b64decode(taken["data"])
        if len(picture) <= LARGEST_SCREENSHOT:
            return picture
    return b""


async def _dismiss(dialog: Dialog) -> None:
    await dialog.dismiss()


async def _close_other(other: Page, page: Page) -> None:
    if other is not page:
        await other.close()


def _reason(message: str) -> str:
    """The browser's word for it, out of a driver's report of several lines."""
    found = re.search(r"net::(\w+)", message)
    return found[1] if found else message.splitlines()[0]


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    host: str | None
    port: int | None


def _origin(url: str) -> _Origin:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return _Origin(parts.scheme, parts.hostname, port or usual)
