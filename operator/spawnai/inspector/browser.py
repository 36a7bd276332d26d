"""Chromium, started anew for each page and killed after it: no page meets what another left."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser as Connected
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Playwright

from spawnai import background

_START_SECONDS = 15.0
_LOOK_SECONDS = 0.02
_END_SECONDS = 2.0

_FLAGS = (
    "--headless=new",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-startup-window",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-features=Translate,MediaRouter,OptimizationHints,DialMediaRouteProvider",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    # Video and sound must not find a way around the proxy.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)


class NoBrowser(Exception):
    """Chromium cannot be started; the message says why."""


@dataclass(slots=True)
class _Chromium:
    """One running browser, its own process group, and its profile."""

    process: asyncio.subprocess.Process
    profile: Path
    endpoint: str = ""
    drained: asyncio.Task[None] | None = field(default=None, repr=False)

    async def end(self) -> None:
        """Kill it with all its children, and remove its profile."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self.process.wait()
        await asyncio.to_thread(shutil.rmtree, self.profile, ignore_errors=True)


class Browsers:
    """Hands out browsers that have seen no page. One is kept ready: a start takes most of a second.

    Args:
        playwright: the driver.
        program: Chromium's.
        sandbox: whether Chromium confines its own processes. That needs user namespaces, which
            root and most containers do not have.
    """

    def __init__(self, playwright: Playwright, program: str, *, sandbox: bool) -> None:
        self._playwright = playwright
        self._command = (program, *_FLAGS, *(() if sandbox else ("--no-sandbox",)))
        self._spare: asyncio.Task[_Chromium] | None = None

    async def warm_up(self) -> None:
        """Have one ready.

        Raises:
            NoBrowser: it cannot be started.
        """
        await asyncio.shield(self._next())

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connected]:
        """A browser of one's own, killed at the end.

        Raises:
            NoBrowser: it cannot be started.
        """
        taken, self._spare = self._next(), None
        chromium: _Chromium | None = None
        try:
            chromium = await taken
            try:
                connected = await self._playwright.chromium.connect_over_cdp(
                    chromium.endpoint, timeout=_START_SECONDS * 1000
                )
            except PlaywrightError as error:
                raise NoBrowser(f"Chromium does not answer: {error.message}") from error
            yield connected
        finally:
            if chromium is None:
                await _end_late(taken)
            else:
                await chromium.end()
            self._next()

    def _next(self) -> asyncio.Task[_Chromium]:
        if self._spare is None or (self._spare.done() and not _is_usable(self._spare)):
            self._spare = background.awaited(_start(self._command), name="browser")
        return self._spare

    async def close(self) -> None:
        """End the one that is ready."""
        if self._spare is not None:
            spare, self._spare = self._spare, None
            await _end_late(spare)


def _is_usable(spare: asyncio.Task[_Chromium]) -> bool:
    if spare.cancelled() or spare.exception() is not None:
        return False
    return spare.result().process.returncode is None


async def _end_late(starting: asyncio.Task[_Chromium]) -> None:
    """End a browser that nobody waits for any more, also one that is only just starting."""
    starting.cancel()
    with contextlib.suppress(NoBrowser, asyncio.CancelledError):
        await (await starting).end()


async def _start(command: Sequence[str]) -> _Chromium:
    profile = Path(tempfile.mkdtemp(prefix=f"spawnai-page-{os.getpid()}-"))
    log = profile / "chromium.log"
    try:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                f"--user-data-dir={profile}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_end_with_the_inspector,
                env={**_PLAIN_ENVIRONMENT, "HOME": str(profile), "TMPDIR": str(profile)},
            )
    except OSError as error:
        shutil.rmtree(profile, ignore_errors=True)
        raise NoBrowser(f"{command[0]} cannot be started: {error.strerror}") from error
    chromium = _Chromium(process, profile)
    try:
        async with asyncio.timeout(_START_SECONDS):
            chromium.endpoint = await _endpoint(chromium)
    except TimeoutError as error:
        said = _last_line(log)
        await chromium.end()
        raise NoBrowser(f"Chromium did not start within {_START_SECONDS:.0f} s: {said}") from error
    except BaseException:
        await chromium.end()
        raise
    return chromium


def _end_with_the_inspector() -> None:
    """In the new process: have the kernel kill it when its parent dies, however that dies."""
    pr_set_pdeathsig = 1  # prctl(2)
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


async def _endpoint(chromium: _Chromium) -> str:
    """Where it can be driven, which it writes into its profile."""
    file = chromium.profile / "DevToolsActivePort"
    while True:
        if chromium.process.returncode is not None:
            said = _last_line(chromium.profile / "chromium.log")
            raise NoBrowser(f"Chromium ended at once: {said}")
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:  # noqa: PLR2004 - port and path
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(_LOOK_SECONDS)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:300] if lines else "it said nothing"


_PLAIN_ENVIRONMENT = {
    name: value
    for name in ("PATH", "LANG", "FONTCONFIG_PATH", "FONTCONFIG_FILE")
    if (value := os.environ.get(name)) is not None
}
"""What Chromium gets of this process's environment: nothing that could be a secret."""
