"""Gives Caddy its configuration, and a new certificate without dropping a connection."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from string import Template

import httpx

from spawnai.clock import Clock

from .settings import GatewaySettings

_LOGGER = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Between two looks at the certificate's files. A kubelet needs a minute to change them."""

RELOAD_SECONDS = 20.0
_FILES = ("tls.crt", "tls.key", "ca.crt")


def render_caddyfile(settings: GatewaySettings) -> str:
    """The configuration of Caddy: the same for every session, and for as long as it runs."""
    text = resources.files("spawnai.gateway").joinpath("Caddyfile").read_text("utf-8")
    return Template(text).substitute(
        admin=_quoted(f"unix/{settings.admin_socket}"),
        address=settings.address,
        http_port=settings.http_port,
        https_port=settings.https_port,
        dns=settings.dns,
        domain=settings.domain,
        labels=settings.domain.count(".") + 1,
        certificate=_quoted(settings.tls_directory / "tls.crt"),
        key=_quoted(settings.tls_directory / "tls.key"),
        authority=_quoted(settings.ca_directory / "ca.crt"),
        droplet_http_port=settings.droplet_http_port,
        droplet_https_port=settings.droplet_https_port,
        port_suffix=settings.port_suffix,
    )


def _quoted(word: str | Path) -> str:
    """One word of a Caddyfile, whatever a path contains."""
    return '"' + str(word).replace('"', '\\"') + '"'


class CaddyConfiguration:
    """Has Caddy load its configuration: when it has none, as after a start, and whenever a file of
    the certificate has changed.

    Caddy is started without one (`caddy run`, with its control socket in CADDY_ADMIN). A pair that
    it refuses leaves the one before in service; `problem` says what it said.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Clock,
        *,
        on_reload: Callable[[bool], None] = lambda _worked: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_reload = on_reload
        self._loaded: bytes | None = None
        self.problem: str | None = None
        self.is_loaded = asyncio.Event()
        """Set once Caddy has taken its configuration."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            digest = await asyncio.to_thread(self._digest)
            is_new = digest is not None and digest != self._loaded
            if digest is None:
                self.problem = "a file of the certificate is missing"
            elif (is_new or not await self._has_configuration()) and await self._load():
                self._loaded = digest
                self.is_loaded.set()
            await self._clock.sleep(LOOK_SECONDS)

    def _digest(self) -> bytes | None:
        """What the files hold; None while one of them is missing."""
        settings, digest = self._settings, hashlib.sha256()
        for name in _FILES:
            folder = settings.ca_directory if name == "ca.crt" else settings.tls_directory
            try:
                digest.update(Path(folder, name).read_bytes())
            except OSError:
                return None
        return digest.digest()

    async def _has_configuration(self) -> bool:
        """Whether Caddy has what it was given; one that was started again has nothing."""
        try:
            async with self._client() as client:
                answer = await client.get("http://caddy/config/apps/http")
        except httpx.HTTPError:
            return False
        return answer.is_success and answer.text.strip() != "null"

    async def _load(self) -> bool:
        before = self.problem
        try:
            async with self._client() as client:
                answer = await client.post(
                    "http://caddy/load",
                    content=render_caddyfile(self._settings),
                    # The configuration is the same; what it names is not.
                    headers={"Content-Type": "text/caddyfile", "Cache-Control": "must-revalidate"},
                )
        except httpx.HTTPError as error:
            self.problem = f"Caddy cannot be reached ({type(error).__name__})"
        else:
            self.problem = None if answer.is_success else f"Caddy refuses it: {answer.text[:500]}"
        self._on_reload(self.problem is None)
        if self.problem is None:
            _LOGGER.info("Caddy has taken its configuration and the certificate")
        elif self.problem != before:
            _LOGGER.warning(
                "The certificate is not served: %s. What Caddy had before stays; it is tried again",
                self.problem,
            )
        return self.problem is None

    def _client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self._settings.admin_socket))
        return httpx.AsyncClient(transport=transport, timeout=RELOAD_SECONDS)
