"""A real Kubernetes control plane on this machine: etcd, kube-apiserver, kube-controller-manager.

There is no kubelet and no scheduler, so pods do not run; all else is what a cluster does: custom
resources with CEL, admission policies, RBAC, service accounts and their tokens, garbage collection,
the deletion of namespaces. Everything listens on 127.0.0.1 only, and needs a certificate.
"""

import asyncio
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from spawnai_local import toolchain
from spawnai_local.certificates import (
    CertificateAuthority,
    KeyPair,
    write_private_key,
    write_public_key,
)
from spawnai_local.kubectl import Kubectl
from spawnai_local.processes import ChildProcess, free_port
from spawnai_local.toolchain import ControlPlanePrograms

_ADDRESS = "127.0.0.1"
_SERVICE_ADDRESSES = "10.0.0.0/24"
_ISSUER = "https://kubernetes.default.svc.cluster.local"

# Start to ready takes 3 s on an idle machine; a busy one may take ten times as long.
_READY_SECONDS = 60.0
_STOP_SECONDS = 5.0

# Those that make custom resources, namespaces, accounts and policies behave as in any cluster. The
# rest serve nodes and pods, which do not exist here, and would only take memory.
_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "validatingadmissionpolicy-status-controller",
)


class ControlPlane:
    """One control plane in one directory: an async context manager, or `start` and `stop`.

    `directory` gets the data, keys, logs, pid files and `kubeconfig` (an administrator's). Started
    in a directory that was used before, it has the objects of then, with new certificates and
    another port. `programs` are looked for, and made if need be, when not given. `unsafe_no_fsync`
    makes etcd faster and lets it lose data in a power cut: for tests. `api_server_flags` are added
    to kube-apiserver's.
    """

    def __init__(
        self,
        directory: Path,
        programs: ControlPlanePrograms | None = None,
        *,
        unsafe_no_fsync: bool = False,
        api_server_flags: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.ca_path = directory / "pki" / "ca.crt"
        self._programs = programs
        self._unsafe_no_fsync = unsafe_no_fsync
        self._api_server_flags = tuple(api_server_flags)
        self._port = 0
        self._etcd: ChildProcess | None = None
        self._api_server: ChildProcess | None = None
        self._controller_manager: ChildProcess | None = None
        self._tls: ssl.SSLContext | None = None

    @property
    def server(self) -> str:
        """The API server's address, such as https://127.0.0.1:21234."""
        return f"https://{_ADDRESS}:{self._port}"

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the administrator."""
        return self.kubectl_with(self.kubeconfig)

    def kubectl_with(self, kubeconfig: Path) -> Kubectl:
        """kubectl with another kubeconfig for this cluster."""
        return Kubectl(toolchain.kubectl(), kubeconfig, self.directory / "kubectl-cache")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all three and wait until they serve.

        Raises:
            ToolchainError: the programs are missing and could not be made.
            ProcessError: one of them ended or was not ready in time; with its last log lines.
        """
        if self._programs is None:
            self._programs = await asyncio.to_thread(toolchain.control_plane_programs)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._define_processes(self._programs)
        try:
            etcd, api_server, controller_manager = self._processes()
            await etcd.start()
            await api_server.start()  # It waits for etcd by itself.
            await self._until_api_server_ready()
            # It ends by itself when it finds no API server for ten seconds.
            await controller_manager.start()
            await self._until_controllers_work()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop all three, etcd last. Safe to call twice."""
        first = [self._controller_manager, self._api_server]
        await asyncio.gather(*(process.stop() for process in first if process is not None))
        if self._etcd is not None:
            await self._etcd.stop()

    async def stop_api_server(self) -> None:
        """Kill the API server alone, as a crash would: clients lose their connections."""
        await self._started(self._api_server).kill()

    async def start_api_server(self) -> None:
        """Start the API server again at the same address, and wait until it is ready."""
        await self._started(self._api_server).start()
        await self._until_api_server_ready()

    async def kubeconfig_for_service_account(
        self, namespace: str, name: str, *, duration: str = "24h"
    ) -> Path:
        """Write a kubeconfig with exactly a service account's rights, and return its path.

        Raises:
            KubectlError: there is no such service account.
        """
        token = await self.kubectl.run(
            "create", "token", name, f"--namespace={namespace}", f"--duration={duration}"
        )
        path = self.directory / f"kubeconfig-{namespace}-{name}"
        self._write_kubeconfig(path, {"token": token.strip()}, namespace=namespace)
        return path

    def _define_processes(self, programs: ControlPlanePrograms) -> None:
        pki = self.directory / "pki"
        authority = CertificateAuthority(pki, "spawnai-local")
        self.ca_path = authority.certificate_path
        server = authority.issue_server(
            "server", [_ADDRESS, "localhost", "10.0.0.1", "kubernetes.default.svc"]
        )
        etcd_client = authority.issue_client("etcd-client", "kube-apiserver")
        administrator = authority.issue_client("admin", "admin", "system:masters")
        manager = authority.issue_client("controller-manager", "system:kube-controller-manager")
        account_key, account_public_key = pki / "service-accounts.key", pki / "service-accounts.pub"
        if not account_key.exists():  # kept: tokens outlive a restart
            key = ec.generate_private_key(ec.SECP256R1())
            write_private_key(account_key, key)
            write_public_key(account_public_key, key)

        self._port, etcd_port, peer_port, manager_port = _different_free_ports(4)
        self._tls = ssl.create_default_context(cafile=authority.certificate_path)
        self._tls.load_cert_chain(administrator.certificate, administrator.key)
        self._write_kubeconfig(self.kubeconfig, _client_certificate(administrator))
        manager_kubeconfig = pki / "controller-manager.kubeconfig"
        self._write_kubeconfig(manager_kubeconfig, _client_certificate(manager))

        etcd_url = f"https://{_ADDRESS}:{etcd_port}"
        peer_url = f"http://{_ADDRESS}:{peer_port}"
        self._etcd = self._process(
            "etcd",
            programs.etcd,
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            f"--cert-file={server.certificate}",
            f"--key-file={server.key}",
            "--client-cert-auth",
            f"--trusted-ca-file={self.ca_path}",
            "--log-level=warn",
            *(["--unsafe-no-fsync"] if self._unsafe_no_fsync else []),
        )
        self._api_server = self._process(
            "kube-apiserver",
            programs.kube_apiserver,
            f"--etcd-servers={etcd_url}",
            f"--etcd-cafile={self.ca_path}",
            f"--etcd-certfile={etcd_client.certificate}",
            f"--etcd-keyfile={etcd_client.key}",
            f"--bind-address={_ADDRESS}",
            f"--advertise-address={_ADDRESS}",
            "--endpoint-reconciler-type=none",  # nothing reaches the API through its Service here
            f"--secure-port={self._port}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={self.ca_path}",
            f"--service-cluster-ip-range={_SERVICE_ADDRESSES}",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={account_public_key}",
            f"--service-account-signing-key-file={account_key}",
            "--authorization-mode=RBAC",
            "--allow-privileged",
            "--profiling=false",
            *self._api_server_flags,
        )
        self._controller_manager = self._process(
            "kube-controller-manager",
            programs.kube_controller_manager,
            f"--kubeconfig={manager_kubeconfig}",
            f"--bind-address={_ADDRESS}",
            f"--secure-port={manager_port}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--root-ca-file={self.ca_path}",
            f"--service-account-private-key-file={account_key}",
            f"--controllers={','.join(_CONTROLLERS)}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--profiling=false",
        )

    def _process(self, name: str, program: Path, *flags: str) -> ChildProcess:
        return ChildProcess(name, [program, *flags], self.directory, stop_seconds=_STOP_SECONDS)

    def _processes(self) -> list[ChildProcess]:
        return [
            self._started(process)
            for process in (self._etcd, self._api_server, self._controller_manager)
        ]

    def _started(self, process: ChildProcess | None) -> ChildProcess:
        if process is None:
            message = f"the control plane in {self.directory} was not started"
            raise RuntimeError(message)
        return process

    async def _until_api_server_ready(self) -> None:
        async with self._client() as client:

            async def is_ready() -> bool | str:
                return await _answers(client, "/readyz")

            await self._started(self._api_server).wait_until_ready(
                is_ready, limit_seconds=_READY_SECONDS
            )

    async def _until_controllers_work(self) -> None:
        """A new namespace's service account is the controllers' own doing."""
        async with self._client() as client:

            async def work() -> bool | str:
                answer = await _answers(
                    client, "/api/v1/namespaces/default/serviceaccounts/default"
                )
                if answer is not True:
                    return answer
                return await _answers(client, "/api/v1/namespaces/kube-system")

            await self._started(self._controller_manager).wait_until_ready(
                work, limit_seconds=_READY_SECONDS
            )

    def _client(self) -> httpx.AsyncClient:
        if self._tls is None:
            message = f"the control plane in {self.directory} was not started"
            raise RuntimeError(message)
        return httpx.AsyncClient(
            base_url=self.server, verify=self._tls, timeout=5.0, trust_env=False
        )

    def _write_kubeconfig(
        self, path: Path, user: dict[str, str], *, namespace: str = "default"
    ) -> None:
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "local",
            "clusters": [
                {
                    "name": "local",
                    "cluster": {
                        "server": self.server,
                        "certificate-authority": str(self.ca_path),
                    },
                }
            ],
            "users": [{"name": "local", "user": user}],
            "contexts": [
                {
                    "name": "local",
                    "context": {"cluster": "local", "user": "local", "namespace": namespace},
                }
            ],
        }
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2) + "\n")  # JSON is YAML


async def _answers(client: httpx.AsyncClient, path: str) -> bool | str:
    """Whether the path is answered well, or what came instead."""
    try:
        answer = await client.get(path)
    except httpx.TransportError as error:
        return f"GET {path}: {str(error) or type(error).__name__}"
    if answer.is_success:
        return True
    return f"GET {path}: {answer.status_code} {' '.join(answer.text.split())[:300]}"


def _client_certificate(pair: KeyPair) -> dict[str, str]:
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


def _different_free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port(_ADDRESS))
    return list(ports)
