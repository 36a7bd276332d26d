"""The console with many open pages: how soon a change is seen, and what the pages cost; and how
quick the plugin is.

A control plane and the console run here, and no operator: what one would write, the benchmark
writes. Pages are WebSockets as a browser opens them; the page itself is measured in Chromium.
"""

import asyncio
import base64
import json
import os
import shutil
import ssl
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect

from spawnai.api.names import API_VERSION, GROUP
from spawnai.console.api_server import MERGE_PATCH
from spawnai_local.bench.figures import Figure, Judge
from spawnai_local.cloud_settings import LOCAL_ANTHROPIC_KEY, LOCAL_DIGITALOCEAN_TOKEN
from spawnai_local.console import NAMESPACE, PERSON, LocalConsole
from spawnai_local.control_plane import ControlPlane
from spawnai_local.installation import install, read_manifests
from spawnai_local.kubectl import Kubectl
from spawnai_local.narration import Narrator
from spawnai_local.paths import checkout
from spawnai_local.toolchain import kubectl_plugin

SEEN_MILLISECONDS = 100.0
MEMORY_MEBIBYTES = 150.0
REST_PERCENT = 5.0
PAGE_KILOBYTES = 60.0
PAINT_MILLISECONDS = 300.0
HELP_MILLISECONDS = 400.0
LIST_MILLISECONDS = 600.0

_SESSION = "measured"
_TICKS = os.sysconf("SC_CLK_TCK")
_AT_ONCE = 25
_CHANGE_SECONDS = 10.0
_PLUGIN_RUNS = 10


@dataclass(frozen=True, slots=True)
class Pages:
    """What was measured; times in milliseconds, memory in MiB, processor time in percent."""

    seen: tuple[float, ...]
    memory: float
    rest: float
    watches: int
    page_kilobytes: float | None
    paint: tuple[float, ...]
    plugin_help: tuple[float, ...]
    plugin_list: tuple[float, ...]
    few: int
    many: int

    def figures(self) -> list[Figure]:
        """The figures beside their goals."""
        found = [
            Figure(f"Status change to {self.few} open pages", "ms", self.seen, SEEN_MILLISECONDS),
            Figure(
                f"Console's memory, {self.many} open watches",
                "MiB",
                (self.memory,),
                MEMORY_MEBIBYTES,
                Judge.MOST,
            ),
            Figure(
                f"Console's processor time at rest, {self.many} open watches",
                "% of a core",
                (self.rest,),
                REST_PERCENT,
                Judge.MOST,
            ),
            Figure(
                "Watches at the API server for them", "", (float(self.watches),), 1.0, Judge.MOST
            ),
            Figure(
                "`kubectl spawn --help`", "ms", self.plugin_help, HELP_MILLISECONDS, Judge.MEDIAN
            ),
            Figure("`kubectl spawn list`", "ms", self.plugin_list, LIST_MILLISECONDS, Judge.MEDIAN),
        ]
        if self.page_kilobytes is not None:
            found += [
                Figure(
                    "Page, over the wire", "kB", (self.page_kilobytes,), PAGE_KILOBYTES, Judge.MOST
                ),
                Figure("Page, first paint", "ms", self.paint, PAINT_MILLISECONDS, Judge.MEDIAN),
            ]
        return found


async def measure(
    directory: Path, narrator: Narrator, *, few: int, many: int, changes: int, rest_seconds: float
) -> Pages:
    """Measure with `few` pages how soon changes are seen, and with `many` what they cost."""
    if directory.exists():
        shutil.rmtree(directory)
    async with ControlPlane(directory, unsafe_no_fsync=True) as plane:
        manifests = read_manifests(checkout())
        await install(
            plane.kubectl,
            manifests,
            None,
            digitalocean_token=LOCAL_DIGITALOCEAN_TOKEN,
            anthropic_api_key=LOCAL_ANTHROPIC_KEY,
        )
        console = await LocalConsole.start(
            directory, plane.kubectl, operator_namespace=manifests.namespace
        )
        try:
            await plane.kubectl.apply(_order(), *_right_to_write())
            async with AsyncExitStack() as stack:
                readers = await _open(stack, console, few)
                narrator.say(f"{few} pages are open")
                seen = await _changes(plane, console.token, readers, changes)
            async with AsyncExitStack() as stack:
                await _open(stack, console, many)
                narrator.say(f"{many} pages are open")
                memory, rest = await _at_rest(console, rest_seconds)
                watches = await _watches(plane.kubectl)
            size, paint = await _page(console.url)
            help_ = await _plugin(plane.kubectl, "--help")
            list_ = await _plugin(plane.kubectl, "list")
        finally:
            await console.process.stop()
    return Pages(tuple(seen), memory, rest, watches, size, paint, help_, list_, few, many)


def _order() -> dict[str, object]:
    return {
        "apiVersion": "spawn-ai.com/v1alpha1",
        "kind": "SpawnSession",
        "metadata": {"name": _SESSION, "namespace": NAMESPACE},
        "spec": {"prompt": "A clock", "appType": "webapp"},
    }


def _right_to_write() -> tuple[dict[str, object], ...]:
    """The operator's right to write a status, for the person whose token the pages have."""
    group, name = "rbac.authorization.k8s.io", "spawnai-measured"
    status = {"apiGroups": [GROUP], "resources": ["spawnsessions/status"], "verbs": ["patch"]}
    keep = {"apiGroups": [GROUP], "resources": ["spawnrecords"], "verbs": ["keep"]}
    return (
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [status, keep],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": PERSON, "namespace": NAMESPACE}],
        },
    )


async def _open(stack: AsyncExitStack, console: LocalConsole, count: int) -> list[ClientConnection]:
    """Open pages, and read each until it is up to date."""
    token = base64.urlsafe_b64encode(console.token.encode()).decode().rstrip("=")
    protocols = ["spawnai.v1", f"base64url.bearer.authorization.k8s.io.{token}"]
    url = console.url.replace("http://", "ws://") + f"api/watch?namespace={NAMESPACE}"
    turns = asyncio.Semaphore(_AT_ONCE)

    async def open_one() -> ClientConnection:
        async with turns:
            socket = await stack.enter_async_context(
                connect(
                    url,
                    subprotocols=protocols,  # type: ignore[arg-type]
                    compression=None,
                    proxy=None,
                    open_timeout=60,
                    ping_interval=None,
                )
            )
            while json.loads(await socket.recv())["type"] != "synced":
                pass
            return socket

    return list(await asyncio.gather(*(open_one() for _ in range(count))))


async def _changes(
    plane: ControlPlane, token: str, readers: list[ClientConnection], changes: int
) -> list[float]:
    """Milliseconds from the moment before each write is sent to its sight in each page."""
    path = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/spawnsessions/{_SESSION}/status"
    samples: list[float] = []
    async with httpx.AsyncClient(
        base_url=plane.server,
        headers={"Authorization": f"Bearer {token}", "Content-Type": MERGE_PATCH},
        verify=ssl.create_default_context(cafile=plane.ca_path),
        trust_env=False,
    ) as client:
        for number in range(-1, changes):  # the first one, which opens the connection, is left out
            words = f"change {number} of {changes}"
            waiting = [asyncio.create_task(_until_seen(socket, words)) for socket in readers]
            began = time.monotonic()
            answer = await client.patch(path, json={"status": {"message": words}})
            answer.raise_for_status()
            times = await asyncio.gather(*waiting)
            if number >= 0:
                samples += [(seen - began) * 1000 for seen in times]
    return samples


async def _until_seen(socket: ClientConnection, words: str) -> float:
    async with asyncio.timeout(_CHANGE_SECONDS):
        while words not in str(await socket.recv()):
            pass
    return time.monotonic()


async def _at_rest(console: LocalConsole, seconds: float) -> tuple[float, float]:
    pid = (console.process.directory / "console.pid").read_text().strip()
    before = _processor_seconds(pid)
    await asyncio.sleep(seconds)
    spent = _processor_seconds(pid) - before
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024, 100 * spent / seconds


def _processor_seconds(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _watches(kubectl: Kubectl) -> int:
    """How many watches of sessions the API server says are open."""
    metrics = await kubectl.run("get", "--raw", "/metrics")
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in metrics.splitlines()
        if line.startswith("apiserver_longrunning_requests")
        and 'resource="spawnsessions"' in line
        and 'scope="namespace"' in line
    )


async def _plugin(kubectl: Kubectl, *arguments: str) -> tuple[float, ...]:
    """Milliseconds of a command of `kubectl spawn`, by its own program; the first run is left out.

    Raises:
        RuntimeError: it failed.
    """
    program, _ = kubectl_plugin()
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubectl.kubeconfig),
        "PATH": f"{kubectl.program.parent}{os.pathsep}{os.environ['PATH']}",
    }
    samples = []
    for _ in range(_PLUGIN_RUNS + 1):
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            str(program), *arguments, env=environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await process.communicate()
        samples.append((time.monotonic() - began) * 1000)
        if process.returncode != 0:
            raise RuntimeError(f"kubectl spawn {' '.join(arguments)}: {errors.decode()}")
    return tuple(samples[1:])


async def _page(url: str) -> tuple[float | None, tuple[float, ...]]:
    """Kilobytes of the page, and its first paint in milliseconds; nothing without Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        return None, ()
    from playwright.async_api import Response, async_playwright  # noqa: PLC0415 - optional

    sizes: list[int] = []
    paints: list[float] = []

    async def count(response: Response) -> None:
        found = await response.request.sizes()
        sizes.append(found["responseBodySize"])

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--no-first-run"]
        )
        for number in range(5):
            page = await browser.new_page()
            if number == 0:
                page.on("response", count)
            await page.goto(url)
            await page.wait_for_selector("#token")
            await page.wait_for_load_state("networkidle")
            paints.append(
                await page.evaluate(
                    "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                )
            )
            await page.close()
        await browser.close()
    return sum(sizes) / 1000, tuple(paints)
