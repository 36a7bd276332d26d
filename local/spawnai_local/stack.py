"""All of SpawnAI on one machine: a cluster, the cloud, and the operator between them.

`LocalStack` brings up, in this order and each as a child process with a log and a pid file:

1. the control plane (or takes the cluster of the current KUBECONFIG),
2. the cloud: DigitalOcean's API with droplets that boot, its DNS, and Claude's API,
3. the operator, under the rights that manifests/ give it; it comes back when it dies,
4. the inspector, which opens pages in this machine's Chromium,
5. the console, which has no rights of its own.

`make local`, `make demo`, the benchmarks and the end-to-end tests all use it, and differ only in
the settings they hand in. When it stops, or its process is killed, nothing is left running.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from spawnai.api.spawnclass import RuntimeSpec
from spawnai.settings import NO_ACME
from spawnai_local import toolchain
from spawnai_local.browser import DnsServer
from spawnai_local.building import ToolchainError
from spawnai_local.classes import (
    LOCAL_DOMAIN,
    LOCAL_WILDCARD_CLASS,
    LOCAL_WILDCARD_DOMAIN,
    digitalocean_class,
    local_classes,
)
from spawnai_local.cloud_settings import NO_CLOUD, CloudReport
from spawnai_local.console import LocalConsole
from spawnai_local.control_plane import ControlPlane
from spawnai_local.gateway import LocalGateway, mount_secrets
from spawnai_local.guard import Guard
from spawnai_local.helm import Helm
from spawnai_local.inspector import LocalInspector, NotInspected
from spawnai_local.installation import (
    Manifests,
    delete_sessions,
    install,
    read_manifests,
    refuse_second_operator,
    refuse_sessions_of_another_cloud,
    write_current_context,
    write_operator_kubeconfig,
)
from spawnai_local.kubectl import Kubectl, KubectlError
from spawnai_local.paths import PROBLEM_FILE, checkout
from spawnai_local.processes import MARK, ChildProcess, RestartPolicy, end_leftovers, free_port
from spawnai_local.stack_settings import (
    Claude,
    Cloud,
    Cluster,
    Installer,
    StackSettings,
)

_CLOUD_SECONDS = 30.0
_CLOUD_STOP_SECONDS = 15.0
_OPERATOR_SECONDS = 60.0
_OPERATOR_STOP_SECONDS = 15.0
_EMPTYING_SECONDS = 180.0
_LOOK_SECONDS = 0.5

_REAL_DROPLETS = "real-droplets"
"""A file that is there from the operator's start until every real droplet was seen gone."""

OPERATOR_COMMAND = (sys.executable, "-m", "spawnai.cli", "run")

_Result = TypeVar("_Result")

PartReport = Callable[[str, str, float], None]
"""Takes a part that is up: its name, what it is, and how many seconds that took."""


class StackError(Exception):
    """The stack could not be brought up, or not be ended cleanly; the message says what to do."""


class LocalStack:
    """One stack, as an async context manager. Its attributes may be used once it is up.

    `report` hears of each part that is up, `progress` the lines of a long first step (the control
    plane's build).
    """

    kubectl: Kubectl
    helm: Helm
    """Only with Installer.HELM."""
    kubeconfig: Path
    operator_kubeconfig: Path
    cloud: CloudReport
    manifests: Manifests
    metrics_url: str
    classes: tuple[str, ...]

    def __init__(
        self,
        settings: StackSettings,
        *,
        report: PartReport = lambda _name, _what, _seconds: None,
        progress: Callable[[str], None] = toolchain.report_to_stderr,
    ) -> None:
        self.settings = settings
        self.directory = settings.directory
        self.operator: ChildProcess | None = None
        self.console: LocalConsole | None = None
        self.gateway: LocalGateway | None = None
        self.inspector: LocalInspector | None = None
        self.forgotten_processes = 0
        """After `stop`: how many processes its own order of ending had missed; a defect if any."""
        self._report = report
        self._progress = progress
        self._lock: IO[str] | None = None
        self._guard: Guard | None = None
        self._control_plane: ControlPlane | None = None
        self._cloud_process: ChildProcess | None = None
        self._is_installed = False
        self._parts: list[str] = []

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring everything up; returns when the operator says it is ready.

        Raises:
            StackError: the directory is in use by another stack.
            ProcessError, ToolchainError, KubectlError, InstallationError: a part did not come up.
        """
        await self._claim_directory()
        self._guard = Guard.start(self.directory)
        (self.directory / "stack.pid").write_text(f"{os.getpid()}\n")
        self.manifests = read_manifests(checkout())
        await _side_by_side(self._start_cluster(), self._start_cloud())
        await _side_by_side(self._install(), self._start_inspector())
        if self.settings.operator:
            await self._start_operator()
        if self.settings.operator and self.cloud.acme_directory_url is not None:
            await self._start_gateway()
        if self.settings.console:
            await self._start_console()
        self._write_environment_file()

    async def stop(self) -> None:
        """End everything, the last first. Safe to call twice, and after half a start.

        Raises:
            StackError: sessions are left in a cluster or a cloud that goes on without us.
        """
        problem = await self._leave_nothing_behind() if self.settings.outlives_us else None
        if self.console is not None:
            await self.console.process.stop()
        if self.gateway is not None:
            await self.gateway.stop()
        if self.operator is not None:
            await self.operator.stop()
        if self.inspector is not None:
            await self.inspector.stop()
        if self._cloud_process is not None:
            await self._cloud_process.stop()
        if self._control_plane is not None:
            await self._control_plane.stop()
        if self._guard is not None:
            self.forgotten_processes = await self._guard.stop()
            self._guard = None
        if self._lock is not None:
            for name in ("stack.pid", "env", "operator.kubeconfig", "cloud.json"):
                (self.directory / name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        if problem is not None:
            (self.directory / PROBLEM_FILE).write_text(f"{problem}\n")
            raise StackError(problem)

    @property
    def control_plane(self) -> ControlPlane:
        """The embedded control plane, for those who make it fail.

        Raises:
            StackError: the cluster is another's.
        """
        if self._control_plane is None:
            raise StackError("the stack has no control plane of its own")
        return self._control_plane

    @property
    def dns(self) -> DnsServer | None:
        """The DNS server that knows the apps' names; None when it is the world's own DNS."""
        if self.cloud.dns_address is None or self.cloud.dns_port is None:
            return None
        return DnsServer(self.cloud.dns_address, self.cloud.dns_port)

    def environment(self) -> dict[str, str]:
        """What a shell needs to use the stack. A person's own keys are not repeated here."""
        variables = {
            "KUBECONFIG": str(self.kubeconfig),
            "DIGITALOCEAN_API_URL": self.cloud.digitalocean_url,
            "DIGITALOCEAN_TOKEN": self.settings.digitalocean_token
            if self.settings.cloud is Cloud.LOCAL
            else None,
            "ANTHROPIC_BASE_URL": self.cloud.claude_url,
            "ANTHROPIC_API_KEY": self.settings.anthropic_api_key
            if self.settings.claude is Claude.SIMULATOR
            else None,
            "SPAWNAI_METRICS_URL": self.metrics_url if self.settings.operator else None,
            "SPAWNAI_DNS": str(self.dns) if self.dns is not None else None,
            "SPAWNAI_CA": self.cloud.acme_root,
            "SPAWNAI_DROPLET_NETWORKS": self.cloud.network or None,
            "SPAWNAI_CONSOLE_URL": self.console.url if self.console is not None else None,
            "SPAWNAI_CONSOLE_TOKEN": self.console.token if self.console is not None else None,
        }
        return {name: value for name, value in variables.items() if value is not None}

    def class_documents(self) -> list[dict[str, Any]]:
        """The SpawnClasses that the stack offers; the cloud must have been started."""
        if self.settings.cloud is not Cloud.LOCAL:
            return digitalocean_class(self.settings.domain)
        return local_classes(
            (self.cloud.http_port, self.cloud.https_port),
            self.settings.lifetime,
            self.settings.default_class,
            RuntimeSpec(
                mirror=self.cloud.mirror_url,
                node_sha256=self.cloud.node_sha256,
                caddy_sha256=self.cloud.caddy_sha256,
            ),
            gateway=str(self.cloud.dns_address)
            if self.cloud.acme_directory_url is not None
            else None,
            pricing=self.settings.pricing,
        )

    async def happenings(self) -> AsyncIterator[str]:
        """What happens to the parts, in sentences, for as long as the stack is up.

        Raises:
            StackError: a part that nobody starts again has ended.
        """
        starts = self.operator.starts if self.operator is not None else 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for name in self._parts:
                if not (self.directory / f"{name}.pid").exists():
                    raise StackError(
                        f"{name} has ended by itself; the end of {self.directory / name}.log says "
                        "why. Everything else is ended too."
                    )
            if self.operator is not None and self.operator.starts != starts:
                code = self.operator.returncode
                starts = self.operator.starts
                yield f"The operator ended ({_words(code)}) and was started again."

    # The parts, in the order in which they start.

    async def _claim_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (self.directory / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackError(
                f"a local stack runs already in {self.directory}. `make local-down` ends it; "
                "SPAWNAI_LOCAL_DIRECTORY=/another/directory runs a second one beside it."
            ) from None
        self._lock = lock
        await end_leftovers(self.directory)
        keep = {"lock"}
        if self.settings.cloud is Cloud.DIGITALOCEAN:
            # What a killed stack left in the real cloud is known there.
            keep |= {"etcd", "pki", _REAL_DROPLETS}
        elif (self.directory / _REAL_DROPLETS).exists():
            raise StackError(
                "the last stack here was killed while it had droplets at DigitalOcean. Start "
                "`make local CLOUD=digitalocean` once more, and end it with Ctrl-C: that destroys "
                f"them. (If you have done so yourself, remove {self.directory / _REAL_DROPLETS}.)"
            )
        for path in self.directory.iterdir():
            if path.name not in keep:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    async def _start_cluster(self) -> None:
        started = time.monotonic()
        self.kubeconfig = self.directory / "kubeconfig"
        self.kubectl = Kubectl(
            program=toolchain.kubectl(),
            kubeconfig=self.kubeconfig,
            cache=self.directory / "kubectl-cache",
        )
        if self.settings.cluster is Cluster.KUBECONFIG:
            await write_current_context(self.kubectl, self.settings.kubeconfig)
            what = "from your KUBECONFIG"
        else:
            programs = await _in_a_thread_that_may_be_left(
                lambda: toolchain.control_plane_programs(
                    self._progress, {**os.environ, MARK: str(self.directory)}
                )
            )
            self._control_plane = ControlPlane(
                self.directory,
                programs=programs,
                # Nobody misses the objects of a cloud that is gone with them.
                unsafe_no_fsync=self.settings.cloud is Cloud.LOCAL,
                api_server_flags=self.settings.api_server_flags,
            )
            await self._control_plane.start()
            self._parts += ["etcd", "kube-apiserver", "kube-controller-manager"]
            what = f"Kubernetes {toolchain.pinned_versions().kubernetes}, {programs.origin}"
        server = json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        self._report("cluster", f"{server}  {what}", time.monotonic() - started)

    async def _start_cloud(self) -> None:
        started = time.monotonic()
        settings = replace(
            self.settings.local_cloud,
            digitalocean=self.settings.cloud is Cloud.LOCAL,
            claude=self.settings.claude is Claude.SIMULATOR,
            pebble=await self._pebble(),
        )
        if not settings.digitalocean and not settings.claude:
            self.cloud = NO_CLOUD
            return
        report = self.directory / "cloud.json"
        self._cloud_process = ChildProcess(
            "cloud",
            [sys.executable, "-m", "spawnai_local.cloud", self.directory, settings.to_json()],
            self.directory,
            stop_seconds=_CLOUD_STOP_SECONDS,
        )
        await self._cloud_process.start()

        async def is_up() -> bool:
            return report.is_file()

        await self._cloud_process.wait_until_ready(is_up, limit_seconds=_CLOUD_SECONDS)
        self._parts.append("cloud")
        self.cloud = CloudReport.from_json(report.read_text())
        seconds = time.monotonic() - started
        if self.cloud.digitalocean_url is not None:
            droplets = "droplets at" if settings.machines else "empty droplets at"
            what = f"{self.cloud.digitalocean_url}  {droplets} {self.cloud.network}"
            self._report("DigitalOcean", what, seconds)
            self._report("DNS", f"{self.dns}  answers for {LOCAL_DOMAIN}", seconds)
        if self.cloud.acme_directory_url is not None:
            what = f"{self.cloud.acme_directory_url}  its root is {self.cloud.acme_root}"
            self._report("ACME", what, seconds)
        if self.cloud.claude_url is not None:
            self._report("Claude", f"{self.cloud.claude_url}  a simulator, free of charge", seconds)

    async def _pebble(self) -> str | None:
        """The program of the ACME server; None where none is wanted, or none can be built."""
        if not self.settings.https or self.settings.cloud is not Cloud.LOCAL:
            return None
        try:
            return str(
                await _in_a_thread_that_may_be_left(lambda: toolchain.pebble(self._progress))
            )
        except ToolchainError as error:
            self._progress(f"no ACME server, so apps are reached by HTTP: {error}")
            return None

    async def _install(self) -> None:
        started = time.monotonic()
        classes = self.class_documents()
        self.classes = tuple(document["metadata"]["name"] for document in classes)
        if self.settings.cluster is Cluster.KUBECONFIG:
            await refuse_second_operator(self.kubectl, self.manifests)
            await refuse_sessions_of_another_cloud(self.kubectl, self.classes)
        await install(
            self.kubectl,
            self.manifests,
            await self._helm(),
            digitalocean_token=self.settings.digitalocean_token,
            anthropic_api_key=self.settings.anthropic_api_key,
        )
        await self.kubectl.apply(*classes)
        self._is_installed = True
        self.operator_kubeconfig = self.directory / "operator.kubeconfig"
        await write_operator_kubeconfig(self.kubectl, self.manifests, self.operator_kubeconfig)
        source = (
            "the chart" if self.settings.installer is Installer.HELM else "crds/ and manifests/"
        )
        what = f"{source}, SpawnClass {' and '.join(self.classes)}"
        self._report("installation", what, time.monotonic() - started)

    async def _helm(self) -> Helm | None:
        if self.settings.installer is not Installer.HELM:
            return None
        program = await _in_a_thread_that_may_be_left(lambda: toolchain.helm(self._progress))
        self.helm = Helm(program, self.kubectl, self.directory / "helm")
        return self.helm

    async def _start_operator(self) -> None:
        started = time.monotonic()
        if self.settings.cloud is Cloud.DIGITALOCEAN:
            (self.directory / _REAL_DROPLETS).touch()
        address = f"127.0.0.1:{free_port()}"
        self.metrics_url = f"http://{address}/metrics"
        self.operator = ChildProcess(
            "operator",
            OPERATOR_COMMAND,
            self.directory,
            environment=self.operator_environment(address),
            stop_seconds=_OPERATOR_STOP_SECONDS,
            restart=RestartPolicy(),
        )
        await self.operator.start()
        await self.operator.wait_until_answers(
            f"http://{address}/readyz", limit_seconds=_OPERATOR_SECONDS
        )
        what = f"{self.metrics_url}  as {self.manifests.service_account}"
        self._report("operator", what, time.monotonic() - started)

    async def _start_inspector(self) -> None:
        if not self.settings.inspector:
            return
        started = time.monotonic()
        try:
            browser = await _in_a_thread_that_may_be_left(
                lambda: LocalInspector.find_browser(self._progress)
            )
            self.inspector = LocalInspector(self.directory, self.cloud, browser)
            await self.inspector.start()
        except NotInspected as error:
            self.inspector = None
            self._progress(str(error))
            return
        self._report("inspector", f"{self.inspector.url}  opens pages", time.monotonic() - started)

    async def _start_gateway(self) -> None:
        started = time.monotonic()
        directory = self.directory / "gateway"
        mount = partial(mount_secrets, self.kubectl, self.manifests.namespace, directory)
        self.gateway = LocalGateway(directory, self.cloud, self.operator_kubeconfig, mount)
        try:
            await self.gateway.start()
        except TimeoutError:
            offer = await self.kubectl.json("get", "spawnclass", LOCAL_WILDCARD_CLASS)
            conditions = (offer.get("status") or {}).get("conditions") or []
            said = [one["message"] for one in conditions if one["status"] == "False"]
            raise StackError(
                "the gateway's certificate was not ordered in time. "
                f"SpawnClass {LOCAL_WILDCARD_CLASS} says: {'; '.join(said) or 'nothing'}"
            ) from None
        what = f"https://*.{LOCAL_WILDCARD_DOMAIN}  for class {LOCAL_WILDCARD_CLASS}"
        self._report("gateway", what, time.monotonic() - started)

    async def _start_console(self) -> None:
        started = time.monotonic()
        self.console = await LocalConsole.start(
            self.directory, self.kubectl, operator_namespace=self.manifests.namespace
        )
        what = f"{self.console.url}  the page and its API"
        self._report("console", what, time.monotonic() - started)

    def operator_environment(self, http_address: str) -> dict[str, str]:
        """What an operator of this stack needs, also one that a test starts by itself."""
        variables = {
            "KUBECONFIG": str(self.operator_kubeconfig),
            "SPAWNAI_NAMESPACE": self.manifests.namespace,
            # Started again only when it is dead, as kubelet does: it takes over its own lease.
            "POD_NAME": "spawnai-operator",
            "POD_UID": f"local-{os.getpid()}",
            "SPAWNAI_HTTP_ADDRESS": http_address,
            "SPAWNAI_DOOR_ADDRESS": f"127.0.0.1:{free_port()}" if self.settings.console else "",
            "SPAWNAI_INSPECTOR_URL": self.inspector.url if self.inspector is not None else "",
            "SPAWNAI_LOG_FORMAT": "json",
            "MALLOC_ARENA_MAX": "2",  # as in the image
            # The operator reads its keys from the Secret. What a shell holds must not mislead it.
            "DIGITALOCEAN_TOKEN": "",
            "ANTHROPIC_API_KEY": "",
            "DIGITALOCEAN_API_URL": self.cloud.digitalocean_url
            or self.settings.digitalocean_api_url,
            "ANTHROPIC_BASE_URL": self.cloud.claude_url or "",
        }
        if self.cloud.digitalocean_url is not None:
            # Local droplets have addresses of this machine alone.
            variables["SPAWNAI_DROPLET_NETWORKS"] = self.cloud.network
            variables["SPAWNAI_ACME_DIRECTORY_URL"] = self.cloud.acme_directory_url or NO_ACME
            variables["SPAWNAI_ACME_CA_FILE"] = self.cloud.acme_ca or ""
            variables["SPAWNAI_ACME_DNS"] = str(self.dns) if self.dns is not None else ""
        if self.cloud.digitalocean_url is not None and self.cloud.claude_url is not None:
            # A proxy of the machine cannot reach addresses that exist on this machine alone.
            names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
            variables |= dict.fromkeys(names, "")
            variables |= {name.lower(): "" for name in names}
        return variables

    def _write_environment_file(self) -> None:
        programs = self.directory / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "kubectl").symlink_to(toolchain.kubectl())
        for plugin in toolchain.kubectl_plugin():
            (programs / plugin.name).symlink_to(plugin)
        path = self.directory / "env"
        path.touch(mode=0o600)
        path.write_text(exports(self.environment(), programs))

    # The end.

    async def _leave_nothing_behind(self) -> str | None:
        """Delete every session where the cluster or the cloud goes on; returns what went wrong."""
        if not self._is_installed or self.operator is None:
            return None
        try:
            await delete_sessions(self.kubectl, self.classes, limit_seconds=_EMPTYING_SECONDS)
        except KubectlError as error:
            left = "droplets that cost money" if self.settings.cloud is Cloud.DIGITALOCEAN else ""
            return (
                f"not every session could be ended, so objects{' and ' + left if left else ''} may "
                f"be left. Look with `kubectl get spawnsessions,spawnclasses,spawnrecords -A`"
                f"{', and for droplets with the tag spawn-ai' if left else ''}. {error}"
            )
        (self.directory / _REAL_DROPLETS).unlink(missing_ok=True)
        return None


def exports(variables: Mapping[str, str], programs: Path) -> str:
    """What a shell reads (`. .local/env`), whatever stands in a path."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, f'export PATH={shlex.quote(str(programs))}:"$PATH"', ""])


def _words(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit code {returncode}"


async def _side_by_side(*works: Coroutine[Any, Any, None]) -> None:
    """Do all at once; when one fails the others are cancelled, and its error is raised alone."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _in_a_thread_that_may_be_left(work: Callable[[], _Result]) -> _Result:
    """Do blocking work in a thread that, unlike an executor's, nobody waits for at the end.

    A build of some minutes must not keep a person who pressed Ctrl-C.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def finish(set_outcome: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(lambda: None if done.done() else set_outcome())

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is raised again by whoever awaits
            failure = error
            finish(lambda: done.set_exception(failure))
        else:
            finish(lambda: done.set_result(result))

    threading.Thread(target=run, daemon=True).start()
    return await done
