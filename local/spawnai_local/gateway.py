"""The gateway of class local-wildcard: Caddy and `spawnai gateway`, as they stand in a pod.

What a cluster does for a gateway is done here: its Secrets lie in files, its name leads to it, and
its certificate for `*.domain` is obtained (there by cert-manager, for example) by dns-01.
"""

import sys
from pathlib import Path

import httpx

from spawnai.acme.client import AcmeAccount
from spawnai.acme.issuer import Issuer
from spawnai.acme.order import (
    CertificateRequest,
    Challenge,
    ChallengeType,
    KeptOrder,
    new_key,
)
from spawnai.clock import SystemClock
from spawnai_local import toolchain
from spawnai_local.classes import LOCAL_WILDCARD_DOMAIN
from spawnai_local.cloud_settings import CloudReport
from spawnai_local.processes import ChildProcess, RestartPolicy, free_port

_READY_SECONDS = 30.0
_RECORD_TTL_SECONDS = 30


class LocalGateway:
    """One gateway, at the cloud's own address."""

    def __init__(self, directory: Path, cloud: CloudReport, token: str, kubeconfig: Path) -> None:
        self._directory = directory
        self._cloud = cloud
        self._token = token
        self._kubeconfig = kubeconfig
        self._processes: list[ChildProcess] = []

    async def start(self, droplets_authority: bytes) -> None:
        """Obtain its certificate, make its name, and start both processes.

        `droplets_authority`: the certificate by which droplets are known, PEM.

        Raises:
            AcmeError: there is no certificate.
            ProcessError: a process did not come up.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._directory / "ca.crt").write_bytes(droplets_authority)
        await self._obtain_certificate()
        await _Records(self._cloud, self._token).create("A", "*", str(self._cloud.dns_address))
        environment = self._environment()
        caddyfile = self._directory / "Caddyfile"
        command = (sys.executable, "-m", "spawnai.cli", "gateway")
        write = ChildProcess(
            "caddyfile",
            [*command, "--caddyfile", caddyfile],
            self._directory,
            environment=environment,
        )
        await write.start()
        await write.wait()
        lookup = ChildProcess(
            "gateway", command, self._directory, environment=environment, restart=RestartPolicy()
        )
        caddy = ChildProcess(
            "caddy",
            [toolchain.caddy(), "run", "--config", caddyfile, "--adapter", "caddyfile"],
            self._directory,
            environment={"HOME": str(self._directory), "XDG_DATA_HOME": str(self._directory)},
            restart=RestartPolicy(),
        )
        self._processes = [lookup, caddy]
        for process in self._processes:
            await process.start()
        telemetry = environment["SPAWNAI_HTTP_ADDRESS"]
        async with httpx.AsyncClient(trust_env=False) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get(f"http://{telemetry}/readyz")).is_success
                except httpx.TransportError:
                    return False

            await lookup.wait_until_ready(is_ready, limit_seconds=_READY_SECONDS)

    async def stop(self) -> None:
        """End both."""
        for process in self._processes:
            await process.stop()

    def _environment(self) -> dict[str, str]:
        address = str(self._cloud.dns_address)
        return {
            "KUBECONFIG": str(self._kubeconfig),
            "SPAWNAI_GATEWAY_DOMAIN": LOCAL_WILDCARD_DOMAIN,
            "SPAWNAI_GATEWAY_ADDRESS": address,
            "SPAWNAI_GATEWAY_HTTP_PORT": str(self._cloud.http_port),
            "SPAWNAI_GATEWAY_HTTPS_PORT": str(self._cloud.https_port),
            "SPAWNAI_GATEWAY_DROPLET_HTTP_PORT": str(self._cloud.http_port),
            "SPAWNAI_GATEWAY_DROPLET_HTTPS_PORT": str(self._cloud.https_port),
            "SPAWNAI_GATEWAY_DNS": f"{address}:{free_port(address)}",
            "SPAWNAI_GATEWAY_ADMIN_SOCKET": str(self._directory / "admin.sock"),
            "SPAWNAI_GATEWAY_TLS": str(self._directory),
            "SPAWNAI_GATEWAY_CA": str(self._directory),
            "SPAWNAI_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        }

    async def _obtain_certificate(self) -> None:
        clock = SystemClock()
        account = AcmeAccount(
            str(self._cloud.acme_directory_url), new_key(), clock, ca_file=self._cloud.acme_ca
        )
        request = CertificateRequest((f"*.{LOCAL_WILDCARD_DOMAIN}",))
        records = _Records(self._cloud, self._token)
        try:
            kept = await Issuer(account, clock).obtain(request, _Memory(), records)
        finally:
            await account.close()
        key = self._directory / "tls.key"
        key.touch(mode=0o600)
        key.write_bytes(kept.key_pem)
        (self._directory / "tls.crt").write_bytes(kept.chain_pem or b"")


class _Memory:
    """Keeps an order for as long as this process lives: a local cloud's certificates are free."""

    def __init__(self) -> None:
        self._kept: KeptOrder | None = None

    async def load(self) -> KeptOrder | None:
        return self._kept

    async def save(self, order: KeptOrder) -> None:
        self._kept = order


class _Records:
    """Records of the gateway's domain, made as a person would make them; dns-01 by TXT records."""

    challenge_type = ChallengeType.DNS_01
    outlives_process = True

    def __init__(self, cloud: CloudReport, token: str) -> None:
        self._url = f"{cloud.digitalocean_url}/v2/domains/{LOCAL_WILDCARD_DOMAIN}/records"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._made: dict[str, int] = {}

    async def create(self, type_: str, name: str, data: str) -> int:
        order = {"type": type_, "name": name, "data": data, "ttl": _RECORD_TTL_SECONDS}
        async with httpx.AsyncClient(trust_env=False, headers=self._headers) as client:
            answer = await client.post(self._url, json=order)
        return int(answer.raise_for_status().json()["domain_record"]["id"])

    async def publish(self, challenge: Challenge) -> None:
        name = challenge.record.removesuffix(f".{LOCAL_WILDCARD_DOMAIN}")
        self._made[challenge.token] = await self.create("TXT", name, challenge.value)

    async def withdraw(self, challenge: Challenge) -> None:
        record = self._made.pop(challenge.token, None)
        if record is not None:
            async with httpx.AsyncClient(trust_env=False, headers=self._headers) as client:
                (await client.delete(f"{self._url}/{record}")).raise_for_status()
