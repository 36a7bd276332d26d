"""The stack of a campaign: a real control plane and operator, and a gate between it and all else.

The cloud runs in this process, so that a fault, a bill and a droplet's switch are one look away.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
from aiohttp import web

from spawnai.api.spawnclass import LifetimeSpec
from spawnai_local import toolchain
from spawnai_local.acme.front import AcmeCall
from spawnai_local.chaos import calls
from spawnai_local.chaos.calls import Edge
from spawnai_local.chaos.faults import KILLS, OF_CLAUDE
from spawnai_local.chaos.gate import Gate, Passage, Trap
from spawnai_local.chaos.orders import Orders, refusal
from spawnai_local.chaos.proxy import Proxy
from spawnai_local.chaos.strays import MINIMUM_AGE_SECONDS
from spawnai_local.claude import ClaudeSimulator
from spawnai_local.claude.faults import Fault as ClaudeFault
from spawnai_local.cloud import LocalCloud, local_cloud
from spawnai_local.cloud_settings import LOCAL_ANTHROPIC_KEY, CloudSettings
from spawnai_local.digitalocean import Emulator
from spawnai_local.machines.shell_host import ShellAnswer, ShellHost, ShellPace
from spawnai_local.processes import ChildProcess, RestartPolicy, free_port
from spawnai_local.stack import OPERATOR_COMMAND, LocalStack
from spawnai_local.stack_settings import StackSettings

LANES = 24
"""How many plans are under way at once; each has a DigitalOcean token of its own."""

TOKENS = 1000
"""How many plans may have a token that was never used before."""

CLOUD = CloudSettings(
    boot_seconds=(0.8, 1.2),
    delays={"network": 0.3, "firewall": 0.3, "tags": 0.1},
    first_token_seconds=1.5,
    tokens_per_second=3000.0,
    agents=ShellPace(agent=0.1, install=0.2, start=0.2),
    droplet_limit=1000,
)
LIFETIME = LifetimeSpec(
    max="2h", provisioning_deadline="5m", notice="15s", warning="1s", dead_man_grace="10m"
)
OPERATOR_SETTINGS = {
    # The reaper takes what was put there for it. What a plan leaves over is never old enough.
    "SPAWNAI_REAPER_MINIMUM_AGE": f"{MINIMUM_AGE_SECONDS:.0f}s",
    "SPAWNAI_REAPER_MOST_PER_HOUR": "10000",
    # A worker that writes to the API server waits for the answer, and many are held back at once.
    "SPAWNAI_WORKERS": "64",
}
OPERATOR = "operator"
"""The owner of calls that no session and no class is the reason for: the Lease."""

_COME_BACK = RestartPolicy(first_delay_seconds=0.1, longest_delay_seconds=0.2)
_LEADS_SECONDS = 60.0
_POLL_SECONDS = 0.1


class StackError(Exception):
    """The stack is not as a campaign needs it."""


class ChaosStack(LocalStack):
    """A local stack whose operator sees everything through a gate."""

    orders: Orders

    def __init__(self, directory: Path, *, lanes: int = LANES) -> None:
        super().__init__(
            StackSettings(directory, local_cloud=CLOUD, lifetime=LIFETIME, operator=False)
        )
        self.gate = Gate()
        self.lanes = tuple(f"lane-{number:02d}" for number in range(lanes))
        self.unused_tokens = [f"token-{number:04d}" for number in range(TOKENS)]
        """Tokens that no operator has opened an account with yet."""
        self.kills: list[tuple[float, float]] = []
        """When the operator was killed, and when the next one led (epoch seconds)."""
        self._parts_here = AsyncExitStack()
        self._cloud: LocalCloud | None = None
        self._process: ChildProcess | None = None
        self._http: aiohttp.ClientSession | None = None
        self._api_server_proxy = ""

    # What is in this process.

    @property
    def emulator(self) -> Emulator:
        """DigitalOcean behind the gate."""
        if self._cloud is None or self._cloud.emulator is None:
            raise StackError("the stack is not up")
        return self._cloud.emulator

    @property
    def claude(self) -> ClaudeSimulator:
        """Claude behind the gate."""
        if self._cloud is None or self._cloud.claude is None:
            raise StackError("the stack is not up")
        return self._cloud.claude

    @property
    def shells(self) -> ShellHost:
        """The droplets' agents behind the gate."""
        if self._cloud is None or not isinstance(self._cloud.machines, ShellHost):
            raise StackError("the stack is not up")
        return self._cloud.machines

    # The parts, as LocalStack starts them.

    async def _start_cloud(self) -> None:
        pebble = await asyncio.to_thread(toolchain.pebble, self._progress)
        self._cloud = await self._parts_here.enter_async_context(
            local_cloud(
                self.directory,
                replace(self.settings.local_cloud, pebble=str(pebble)),
                tokens=frozenset((*self.lanes, *self.unused_tokens)),
                door=self._door,
                acme_door=self._acme_door,
            )
        )
        self.cloud = self._cloud.report
        self.orders = Orders(self.emulator.cloud.droplets.session_at)
        router = self.emulator.cloud.router()
        digitalocean = await self._proxy(
            Proxy(
                self.gate,
                Edge.DIGITALOCEAN,
                self._cloud.report.digitalocean_url or "",
                lambda request: calls.of_digitalocean(request, router),
                rewrite=self._account_of_its_own,
            )
        )
        claude = await self._proxy(
            Proxy(
                self.gate,
                Edge.CLAUDE,
                self._cloud.report.claude_url or "",
                calls.of_claude,
                before_sending=self._before_claude,
            )
        )
        self.cloud = replace(self.cloud, digitalocean_url=digitalocean, claude_url=claude)

    async def _proxy(self, proxy: Proxy) -> str:
        await proxy.start()
        self._parts_here.push_async_callback(proxy.stop)
        return proxy.url

    async def _install(self) -> None:
        await super()._install()
        self._http = await self._parts_here.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0))
        )
        document = json.loads(self.operator_kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        url = await self._proxy(
            Proxy(self.gate, Edge.API_SERVER, cluster["server"], calls.of_api_server, tls=tls)
        )
        document["clusters"][0]["cluster"] = {"server": url}
        self.operator_kubeconfig.write_text(json.dumps(document))
        self.gate.owners["spawnai-operator"] = OPERATOR

    async def stop(self) -> None:
        """End everything."""
        self.gate.closed.set()
        if self._process is not None:
            await self._process.stop()
        await self._parts_here.aclose()
        await super().stop()

    def _account_of_its_own(self, passage: Passage, path: str) -> str:
        """Let every token see the droplets of its own plan alone, as if it had an account.

        Otherwise thirty inventories would each ask after everyone's droplets.
        """
        class_uid = self.gate.classes.get(passage.owner or "", "none")
        return re.sub(r"(tag_name=)(?:cluster|wave)(%3A|:)[^&]*", rf"\1class\g<2>{class_uid}", path)

    # What calls go through.

    async def _door(
        self, droplet_id: int, call: str, perform: Callable[[], Awaitable[ShellAnswer]]
    ) -> ShellAnswer | None:
        uid = self.emulator.cloud.droplets.sessions.get(droplet_id, "")
        passage = self.gate.enter(calls.of_agent(call, uid))
        answer: ShellAnswer | None = None
        try:
            answer = await self.gate.through(passage, perform, _agent_refusal)
        finally:
            passage.status = answer[0] if answer is not None else None
            passage.ended_at = time.time()
        return answer

    async def _acme_door(
        self, asked: AcmeCall, perform: Callable[[], Awaitable[web.Response]]
    ) -> web.Response | None:
        async def perform_and_learn() -> web.Response:
            answer = await perform()
            self.orders.learn(asked, answer)
            return answer

        passage = self.gate.enter(self.orders.call(asked))
        answer: web.Response | None = None
        try:
            answer = await self.gate.through(passage, perform_and_learn, refusal)
        finally:
            passage.status = answer.status if answer is not None else None
            passage.ended_at = time.time()
        return answer

    def _before_claude(self, passage: Passage) -> dict[str, str]:
        """Every lane has a key, and the simulator one; what goes wrong with an answer, it does."""
        trap = passage.trap
        if trap is not None and passage.call.streams and trap.fault not in KILLS:
            name, session = OF_CLAUDE[trap.fault], self.gate.uids.get(trap.owner, "")
            self.claude.faults.add([ClaudeFault(name, session=session)])
        return {"x-api-key": LOCAL_ANTHROPIC_KEY}

    # The operator.

    async def start_operator(self) -> None:
        """Start it; returns when it leads."""
        address = f"127.0.0.1:{free_port()}"
        self.metrics_url = f"http://{address}/metrics"
        self._process = ChildProcess(
            "operator",
            OPERATOR_COMMAND,
            self.directory,
            environment=self.operator_environment(address) | OPERATOR_SETTINGS,
            restart=_COME_BACK,
        )
        await self._process.start()
        await self.until_it_leads()

    async def kill_operator(self, traps: Sequence[Trap] = ()) -> None:
        """SIGKILL, let go of the calls that were held for it, and wait until the next one leads."""
        process = self._process
        if process is None or process.pid is None:
            raise StackError("there is no operator to kill")
        starts, killed = process.starts, time.time()
        os.kill(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + _LEADS_SECONDS
        while process.starts == starts:
            await self._pause(deadline, "started again")
        for trap in traps:
            trap.let_go.set()
        await self.until_it_leads()
        self.kills.append((killed, time.time()))

    def waited_for_processor(self) -> float:
        """How long the operator's main thread could have run and had no processor, in seconds.

        The second number of /proc/PID/schedstat (Linux, Documentation/scheduler/sched-stats).
        """
        if self._process is None or self._process.pid is None:
            return 0.0
        try:
            return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[1]) / 1e9
        except FileNotFoundError:
            return 0.0

    async def until_it_leads(self) -> None:
        """Wait until there is an operator that leads."""
        if self._http is None:
            raise StackError("the stack is not up")
        deadline = time.monotonic() + _LEADS_SECONDS
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._http.get(self.metrics_url) as answer:
                    if "spawnai_leader 1.0" in await answer.text():
                        return
            await self._pause(deadline, "leading")

    async def _pause(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            tail = self._process.log_tail() if self._process is not None else ""
            raise StackError(f"the operator is not {what} within {_LEADS_SECONDS:.0f} s:\n{tail}")
        await asyncio.sleep(_POLL_SECONDS)


def _agent_refusal(status: int, _retry_after: int | None) -> ShellAnswer:
    return status, {"error": "asked for by a plan of make chaos"}
