"""Looks at the certificate as Caddy serves it: one that was renewed and not taken is no use."""

import asyncio
import hashlib
import ssl
from datetime import datetime
from pathlib import Path

from cryptography import x509

from spawnai.clock import Clock

from .settings import GatewaySettings

LOOK_SECONDS = 30.0
HANDSHAKE_SECONDS = 5.0


class ServedCertificate:
    """What this replica serves, by a handshake like a visitor's.

    Attributes:
        not_after: when it expires; None: there was no handshake.
        is_current: whether it is the one in the mounted Secret.
    """

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.not_after: datetime | None = None
        self.is_current = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once."""
        served = await self._handshake()
        self.not_after = served.not_valid_after_utc if served is not None else None
        self.is_current = served is not None and served == await asyncio.to_thread(self._mounted)

    async def _handshake(self) -> x509.Certificate | None:
        settings = self._settings
        host = "127.0.0.1" if settings.address == "0.0.0.0" else settings.address  # noqa: S104
        context = ssl.create_default_context()
        # It is looked at, whoever signed it; nothing is said over the connection.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        # A name of the domain that no session has.
        name = f"{hashlib.sha256(settings.domain.encode()).hexdigest()[:16]}.{settings.domain}"
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                _, writer = await asyncio.open_connection(
                    host, settings.https_port, ssl=context, server_hostname=name
                )
        except (OSError, TimeoutError):
            return None
        encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(encoded)

    def _mounted(self) -> x509.Certificate | None:
        try:
            pem = Path(self._settings.tls_directory, "tls.crt").read_bytes()
            return x509.load_pem_x509_certificates(pem)[0]
        except (OSError, ValueError):
            return None
