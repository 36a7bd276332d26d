"""Pebble as a child process, and the front that callers see."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from spawnai_local.acme.front import AcmeFront, Door, open_door
from spawnai_local.acme.rate_limits import AcmeLimits, LimitCounters
from spawnai_local.certificates import CertificateAuthority
from spawnai_local.processes import ChildProcess, free_port

_READY_SECONDS = 20.0
_VALIDITY_SECONDS = {"classic": 90 * 86400, "tlsserver": 45 * 86400, "shortlived": 160 * 3600}
"""Let's Encrypt's profiles in autumn 2026, and how long their certificates are valid."""


class AcmeServerError(Exception):
    """The ACME server did not come up; the message says why."""


class AcmeServer:
    """An ACME server at one address.

    Args:
        directory: for its files; its alone.
        pebble: the program.
        address: where it listens.
        dns: the DNS server that it asks for names, "address:port".
        http_port: the port where it looks for proofs of http-01, at every address.
        https_port: the same for tls-alpn-01.
        limits: Let's Encrypt's, or others for a test.
        now: seconds since 1970, for the limits.
        door: what every call goes through.
    """

    def __init__(
        self,
        directory: Path,
        *,
        pebble: Path,
        address: str,
        dns: str,
        http_port: int,
        https_port: int,
        limits: AcmeLimits | None = None,
        now: Callable[[], float] = time.time,
        door: Door = open_door,
    ) -> None:
        self.root_path = directory / "root.pem"
        """The roots of this run's certificates: a client that trusts them sees no warning."""
        self.ca_path = directory / "ca.crt"
        """What the server's own certificate is checked by."""
        self.front: AcmeFront
        self._directory = directory
        self._pebble = pebble
        self._address = address
        self._dns = dns
        self._http_port, self._https_port = http_port, https_port
        self._counters = LimitCounters(limits or AcmeLimits(), now)
        self._door = door
        self._process: ChildProcess | None = None

    @property
    def directory_url(self) -> str:
        """The directory of the server, as a client is told it."""
        return f"https://{self._address}:{self.front.port}/dir"

    async def start(self, port: int = 0) -> None:
        """Start; returns when it answers.

        Raises:
            AcmeServerError: it does not.
        """
        authority = CertificateAuthority(self._directory, "SpawnAI local ACME server")
        pair = authority.issue_server("server", [self._address])
        upstream, management = free_port(self._address), free_port(self._address)
        config = {
            "pebble": {
                "listenAddress": f"{self._address}:{upstream}",
                "managementListenAddress": f"{self._address}:{management}",
                "certificate": str(pair.certificate),
                "privateKey": str(pair.key),
                "httpPort": self._http_port,
                "tlsPort": self._https_port,
                "ocspResponderURL": "",
                "externalAccountBindingRequired": False,
                "keyAlgorithm": "ecdsa",
                "retryAfter": {"authz": 1, "order": 1},
                "profiles": {
                    name: {"description": f"as Let's Encrypt's {name}", "validityPeriod": seconds}
                    for name, seconds in _VALIDITY_SECONDS.items()
                },
            }
        }
        path = self._directory / "pebble.json"
        path.write_text(json.dumps(config, indent=2))
        self._process = ChildProcess(
            "pebble",
            [self._pebble, "-config", path, "-dnsserver", self._dns],
            self._directory,
            # It would wait 0 to 5 s before each look at a proof. Its refused nonces stay on.
            environment={"PEBBLE_VA_NOSLEEP": "1"},
        )
        await self._process.start()
        trust = ssl.create_default_context(cafile=str(authority.certificate_path))
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:

            async def has_root() -> bool:
                try:
                    answer = await client.get(f"https://{self._address}:{management}/roots/0")
                except httpx.TransportError:
                    return False
                self.root_path.write_text(answer.text)
                return answer.is_success

            await self._process.wait_until_ready(has_root, limit_seconds=_READY_SECONDS)
        self.front = AcmeFront(
            f"https://{self._address}:{upstream}",
            str(authority.certificate_path),
            self._counters,
            door=self._door,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        try:
            await self.front.start(self._address, context, port)
        except OSError as error:
            raise AcmeServerError(
                f"the ACME server cannot listen at {self._address}:{port}: {error.strerror}"
            ) from error

    def trust_too(self, root: bytes) -> None:
        """Put the root of another authority beside its own: load balancers have theirs."""
        self.root_path.write_text(f"{self.root_path.read_text().rstrip()}\n{root.decode()}")

    async def stop(self) -> None:
        """End it."""
        if hasattr(self, "front"):
            await self.front.stop()
        if self._process is not None:
            await self._process.stop()

    async def kill(self) -> None:
        """Cut Pebble off, as a crash would; the front answers 503."""
        if self._process is not None:
            await self._process.kill()
            await asyncio.sleep(0)
