"""A crowd under DigitalOcean's limits: the real controller and adapters on leaping time.

The rate budget, the client, the listings and the whole lifecycle are the product's own; the cloud
behind them is the local cloud's, with its limits of 250 calls a minute and 5,000 an hour. What is
modelled is the network between them, the API server, the agents, and Claude, who never answers.
"""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from random import Random
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from prometheus_client import CollectorRegistry
from tests.simulation.api_server import ApiServer, SimulatedCluster, session_body
from tests.simulation.loop import utc

from spawnai.api.names import (
    API_VERSION,
    DEFAULT_CLASS_ANNOTATION,
    FINALIZER,
    class_tag,
    cluster_tag,
    session_droplet_name,
    session_host_label,
    session_tag,
)
from spawnai.api.record import (
    LedgerEntry,
    OwnerReference,
    PlannedResource,
    RecordSpec,
    RecordStatus,
    ResourceKind,
)
from spawnai.api.session import DropletStatus, Phase, SessionStatus, Tier
from spawnai.controller.accounts import (
    AccountNews,
    CloudAccount,
    account_behind,
)
from spawnai.controller.classes.claude import Claude
from spawnai.controller.clock_difference import ClockDifference
from spawnai.controller.controller import Controller, Outside
from spawnai.controller.leader import LeadershipLost
from spawnai.digitalocean.budget import RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.digitalocean.scopes import BASE, of_domain
from spawnai.droplet.client import AgentStatus, AgentUnreachable
from spawnai.generation.claude import GenerationProgress
from spawnai.notices.sender import NoticeSender
from spawnai.telemetry.metrics import Metrics
from spawnai.telemetry.redaction import Redactor
from spawnai_local.digitalocean import Emulator, Limits, Settings
from spawnai_local.digitalocean.exchange import Request

DOMAIN = "apps.example"
NAMESPACE = "team"
CLUSTER_UID = "cluster-uid"
TOKEN = "test-token"
OTHER_TOKEN = "other-token"
SIZE = "s-1vcpu-1gb"
DELETED = 204
LIMITED = 429
MISSING = 404

SCOPE_PROBES = {scope.probe.url_path for scope in (*BASE, *of_domain(DOMAIN))}
"""Paths of deletions that ask for nothing but whether the token may delete."""


async def _no_secret(name: str) -> dict[str, bytes]:
    raise AssertionError(f"no class names channels: {name}")


class Clock:
    """The virtual loop's time, for the product and for the local cloud."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def utc_now(self) -> datetime:
        return utc(self.now())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class CloudClock:
    """The same time, as the local cloud counts it: seconds since 1970."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.utc_now().timestamp()

    def call_at(self, when: float, callback) -> None:
        asyncio.get_running_loop().call_later(max(0.0, when - self.now()), callback)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Wire:
    """What the model of the API server is told of the world: nothing goes wrong."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.story = SimpleNamespace(
            seed=1,
            settings=SimpleNamespace(
                stale_list_seconds=0.0, watch_seconds=0.05, watch_repeats=0, watch_disorder=0
            ),
        )

    def fault_kind(self, _name: str) -> None:
        """What goes wrong with the next call of that name."""

    async def call(self, _name, _to, effect, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(0.005)
        return effect()


@dataclass(frozen=True)
class Answered:
    """An answer whose body comes in one block."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes

    async def iter_raw(self):
        yield self.body

    async def close(self) -> None:
        pass


class Network:
    """Stands for pydo's client: carries requests to the local cloud, and takes its time for it.

    `meddle(method, path, token)` may answer in place of the cloud, with a status and headers;
    `delays` tells by method and path for how much longer an answer is on its way.
    """

    def __init__(self, emulator: Emulator, random: Random, token: str, meddle, delays) -> None:
        self._emulator = emulator
        self._random = random
        self._token = token
        self._meddle = meddle
        self._delays = delays

    async def send_request(self, request, *, stream, trace_request_ctx) -> Answered:
        assert stream
        await asyncio.sleep(self._random.uniform(0.01, 0.1))
        trace_request_ctx.leave()
        parts = urlsplit(request.url)
        foreign = self._meddle(request.method, parts.path, self._token)
        if foreign is not None:
            status, headers = foreign
            body = b'{"id": "refused", "message": "the required permission is missing"}'
            return Answered(status, headers, body)
        content = request.content or b""
        answer = self._emulator.api.call(
            Request(
                request.method,
                parts.path,
                dict(parse_qsl(parts.query)),
                {"authorization": f"Bearer {self._token}"},
                content.encode() if isinstance(content, str) else content,
            )
        )
        assert answer is not None
        await asyncio.sleep(self._random.uniform(0.01, 0.1))
        await asyncio.sleep(self._delays.get(f"{request.method} {parts.path}", 0.0))
        return Answered(answer.status, answer.headers, answer.body or b"")

    async def close(self) -> None:
        pass


class Client(ApiClient):
    """The product's client on that network."""

    def __init__(
        self, token: str, budget: RateBudget, network: Network, before_change: Callable[[], None]
    ) -> None:
        super().__init__(
            token,
            "http://127.0.0.1",
            budget,
            before_change=before_change,
            droplet_networks=(ip_network("127.0.0.0/8"),),
        )
        self._network = network

    def _connect(self) -> Network:
        return self._network


class SlowClaude:
    """Claude, who takes longer than any of these tests, or refuses keys or orders."""

    def __init__(self) -> None:
        self.models = self
        self.refuses_key: Exception | None = None
        self.refuses_orders: Exception | None = None
        self.asked_for_key: list[float] = []
        self.asked_for_order: list[float] = []

    async def retrieve(self, model, timeout=None) -> SimpleNamespace:
        self.asked_for_key.append(asyncio.get_running_loop().time())
        if self.refuses_key is not None:
            raise self.refuses_key
        return SimpleNamespace(id=model, lifecycle="active")

    async def generate(self, _order, *, on_progress, on_retry, before_call) -> None:
        self.asked_for_order.append(asyncio.get_running_loop().time())
        if self.refuses_orders is not None:
            raise self.refuses_orders
        on_progress(GenerationProgress(0.1, 0, 100))
        await asyncio.sleep(7 * 86_400)


class Agents:
    """Agents that nobody hears; or, where they answer, whose apps run."""

    def __init__(self, *, answer: bool) -> None:
        self._answer = answer

    def gateway_certificate(self, _session) -> None:
        return None

    def credentials(self, _session) -> SimpleNamespace:
        return SimpleNamespace(token="test-token", certificate_pem="", private_key_pem="")

    def client(self, _session, ip) -> "Agents":
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def status(self, *, after: str | None = None) -> AgentStatus:
        if not self._answer:
            raise AgentUnreachable("nobody")
        expires_at = utc(asyncio.get_running_loop().time()) + timedelta(hours=2)
        return AgentStatus(None, "running", None, None, 0, (), expires_at, "1")

    async def set_expiry(self, _expires_at, *, remaining) -> None:
        pass


class Events:
    """Events, counted by reason."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.of_classes: list[tuple[str, str]] = []

    def emit(self, regarding, type_, reason, _action, _note) -> None:
        if regarding.kind == "SpawnClass":
            self.of_classes.append((type_, reason))
        else:
            self.reasons[reason] += 1


LONG_AGO = timedelta(hours=2)
"""How old the crowd's names are: where an operator died soon after it made one, the next one looks
again and again, and so many sessions cannot have been made in a moment."""


class Crowd:
    """So many running sessions, their droplets and names, and one operator that finds them.

    A user comes in through `expire` and `order`; the rest tells what came of it.
    """

    def __init__(self, sessions: int, *, agents_answer: bool = False) -> None:
        self.agents = Agents(answer=agents_answer)
        self.clock = Clock()
        self.random = Random(1)
        self.began = self.clock.now()
        self.emulator = Emulator(
            CloudClock(self.clock),
            settings=Settings(
                tokens=frozenset({TOKEN, OTHER_TOKEN}),
                limits=Limits(droplets=10_000, rate_limited=False),
            ),
        )
        self.events = Events()
        self.registry = CollectorRegistry()
        self.claude = SlowClaude()
        self.meddle = lambda _method, _path, _token: None
        self.delays: dict[str, float] = {}
        self.opened: list[CloudAccount] = []
        self.server = ApiServer(Wire(), lambda *_: None, lambda _what: None)
        self.uids: list[str] = []
        self.leads = True
        self._applied: dict[str, float] = {}
        self._expiry: dict[str, datetime] = {}
        self._furnish()
        for number in range(sessions):
            self._seed(f"copy-{number:04d}")
        self.emulator.cloud.world.limits = Limits(droplets=10_000)

    # --- what happens ------------------------------------------------------------------------

    async def expire(self, first: float, within: float) -> None:
        """Give all of them an end, the first so many seconds from now, all within some time."""
        for number, uid in enumerate(self.uids):
            end = self.clock.utc_now() + timedelta(seconds=first + within * number / len(self.uids))
            self._expiry[uid] = end.replace(microsecond=0)
            stamp = self._expiry[uid].isoformat().replace("+00:00", "Z")
            patch = {"metadata": {"annotations": {"spawn-ai.com/expires-at": stamp}}}
            self.server.patch("user", "session", self.key(uid), patch, status=False)
        await asyncio.sleep(first)

    def end_now(self, uid: str) -> None:
        """A user wants it to end at once."""
        patch = {"metadata": {"annotations": {"spawn-ai.com/expires-at": "now"}}}
        self.server.patch("user", "session", self.key(uid), patch, status=False)

    def order(self, name: str) -> str:
        """Somebody applies a new session; returns its UID."""
        uid = self._uid()
        body = session_body(NAMESPACE, name, uid, "webapp", {})
        self._applied[uid] = self.clock.utc_now().timestamp()
        self.server.create("user", "session", f"{NAMESPACE}/{name}", body)
        return uid

    def delete(self, name: str) -> None:
        """Somebody deletes a session."""
        self.server.delete("user", "session", f"{NAMESPACE}/{name}")

    def check_leadership(self) -> None:
        if not self.leads:
            raise LeadershipLost("the lease has passed to another")

    async def other_program(self, calls_a_minute: float) -> None:
        """Another program uses the same token, evenly."""
        while True:
            await asyncio.sleep(60 / calls_a_minute)
            if self.emulator.api.rate_limits.document()["last_minute"] < 250:
                self.emulator.api.rate_limits.spend(TOKEN, 1)

    async def until(self, condition, limit_seconds: float) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(limit_seconds):
            while not condition():
                await asyncio.sleep(1)

    async def close(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def set_keys(self, **values: str | None) -> None:
        """Change what is in the Secret of the class: `token`, `key`; None takes it out."""
        names = {"token": "digitalocean-token", "key": "anthropic-api-key"}
        data, owner = self.server.secrets["spawnai", "spawnai-credentials"]
        data = data | {names[one]: (value or "").encode() for one, value in values.items()}
        kept = {name: value for name, value in data.items() if value}
        self.server.secrets["spawnai", "spawnai-credentials"] = (kept, owner)

    def set_class(self, **spec: Any) -> None:
        """Change the spec of the class."""
        self.server.patch("admin", "class", "standard", {"spec": spec}, status=False)

    # --- what there is -----------------------------------------------------------------------

    def began_at(self, uid: str) -> float:
        """When a session was applied, in seconds since 1970."""
        return self._applied[uid]

    def key(self, uid: str) -> str:
        return self._keys[uid]

    def session(self, uid: str) -> dict[str, Any]:
        return self.server.get("session", self.key(uid))

    def class_says(self) -> tuple[str, str]:
        """Reason and message of the class's Ready condition; empty before there is one."""
        conditions = self.server.get("class", "standard").get("status", {}).get("conditions", [])
        ready = [one for one in conditions if one["type"] == "Ready"]
        return (ready[0]["reason"], ready[0]["message"]) if ready else ("", "")

    def phases(self) -> Counter[str]:
        return Counter(self.session(uid)["status"]["phase"] for uid in self.uids)

    def droplets(self, uids: list[str]) -> list[str]:
        """The droplets of these sessions whose deletion was not accepted yet."""
        droplets = self.emulator.cloud.droplets.all()
        living = {droplet.session for droplet in droplets if droplet.deleted_at is None}
        return [uid for uid in uids if uid in living]

    def expiries(self) -> list[float]:
        """When each session's time is over, in seconds since the first one's."""
        times = [moment.timestamp() for moment in self._expiry.values()]
        return [moment - min(times) for moment in times]

    def moments(self) -> list[float]:
        """When the calls arrived, in seconds since the first expiry."""
        first = min(self._expiry.values()).timestamp()
        return [call.received_at - first for call in self.calls()]

    def metric(self, name: str, **labels: str) -> float:
        """What Prometheus reads of the operator."""
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, name
        return value

    def orders(self) -> list[Any]:
        """The droplets that were ordered."""
        return [call for call in self.calls() if call.endpoint == "POST /v2/droplets"]

    def calls(self) -> list[Any]:
        return self.emulator.api.calls.log(0)

    def deletions(self) -> dict[str, list[tuple[float, int]]]:
        """When each thing's deletion was sent, in seconds since the first expiry, and answered."""
        found: dict[str, list[tuple[float, int]]] = {}
        first = min(self._expiry.values()).timestamp()
        for call in self.calls():
            if call.endpoint.startswith("DELETE") and call.path not in SCOPE_PROBES:
                found.setdefault(call.path, []).append((call.received_at - first, call.status))
        return found

    # --- making it ---------------------------------------------------------------------------

    def _uid(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def _furnish(self) -> None:
        self._keys: dict[str, str] = {}
        self.emulator.cloud.domains.create({"name": DOMAIN})
        secret = {"digitalocean-token": TOKEN.encode(), "anthropic-api-key": b"test-key"}
        self.server.secrets["spawnai", "spawnai-credentials"] = (secret, None)
        self.server.create(
            "admin",
            "class",
            "standard",
            {
                "apiVersion": API_VERSION,
                "kind": "SpawnClass",
                "metadata": {
                    "name": "standard",
                    "uid": "class-uid",
                    "annotations": {DEFAULT_CLASS_ANNOTATION: "true"},
                },
                "spec": {
                    "regions": ["nyc3"],
                    "exposure": {"domain": DOMAIN},
                    "lifetime": {"max": "24h", "notice": "5s", "warning": "5s"},
                },
            },
        )

    def _seed(self, name: str) -> None:
        uid, now = self._uid(), self.clock.utc_now()
        tags = ["spawn-ai", session_tag(uid), cluster_tag(CLUSTER_UID), class_tag("class-uid")]
        (made,) = self.emulator.cloud.droplets.create(
            {
                "name": session_droplet_name(uid),
                "region": "nyc3",
                "size": SIZE,
                "image": "ubuntu-24-04-x64",
                "tags": tags,
            }
        )
        droplet = made.droplet
        label = session_host_label(name, uid)
        record = self.emulator.cloud.domains.create_record(
            DOMAIN, {"type": "A", "name": label, "data": droplet.public_address, "ttl": 30}
        )
        resources = [
            LedgerEntry(
                kind=ResourceKind.DROPLET,
                id=str(droplet.id),
                name=droplet.name,
                region="nyc3",
                size=SIZE,
                ip=droplet.public_address,
                price_hourly="0.00893",
                created_at=now,
            ),
            LedgerEntry(
                kind=ResourceKind.DOMAIN_RECORD,
                id=str(record.id),
                name=f"{label}.{DOMAIN}",
                domain=DOMAIN,
                ip=droplet.public_address,
                created_at=now - LONG_AGO,
            ),
        ]
        spec = RecordSpec(
            owner=OwnerReference(
                kind="SpawnSession", namespace=NAMESPACE, name=name, uid=uid, user="user"
            ),
            cluster_uid=CLUSTER_UID,
            class_name="standard",
            planned=[PlannedResource(kind=entry.kind, name=entry.name) for entry in resources],
        )
        self.server.create(
            "seed",
            "record",
            uid,
            {
                "metadata": {"name": uid, "uid": f"record-{uid}"},
                "spec": spec.document(),
                "status": RecordStatus(resources=resources).document(),
            },
        )
        status = SessionStatus(
            phase=Phase.RUNNING,
            class_name="standard",
            tier=Tier.LIGHT,
            region="nyc3",
            size=SIZE,
            started_at=now,
            ready_at=now,
            expiration_time=now + timedelta(hours=2),
            url=f"http://{label}.{DOMAIN}",
            droplet=DropletStatus(id=droplet.id, name=droplet.name, ip=droplet.public_address),
        )
        body = session_body(NAMESPACE, name, uid, "webapp", {})
        body["metadata"]["finalizers"] = [FINALIZER]
        self._keys[uid] = f"{NAMESPACE}/{name}"
        self.server.create(
            "seed", "session", self._keys[uid], {**body, "status": status.document()}
        )
        self.uids.append(uid)

    async def operate(self) -> None:
        """Start the operator, once all droplets have booted; it knows all sessions afterwards."""
        await asyncio.sleep(5)
        self.start()
        await asyncio.sleep(90)

    async def stop(self) -> None:
        """End the operator."""
        self._process.alive = False
        self._working.cancel()
        await asyncio.wait([self._working])
        await self.controller.close()

    def start(self) -> None:
        """Start an operator."""
        self.registry = CollectorRegistry()
        self.clock_difference = ClockDifference()
        self._process = process = SimpleNamespace(
            name="operator 1",
            alive=True,
            shown_until=0.0,
            context=contextvars.copy_context(),
        )
        self.controller = controller = Controller(
            Outside(
                cluster=SimulatedCluster(self.server, Wire(), process, lambda: None),
                connect=self._account,
                claude_for=lambda _key: Claude(self.claude, self.claude),
                agents=self.agents,
                events=self.events,
                metrics=Metrics(self.registry),
                redactor=Redactor(),
                clock=self.clock,
                random=Random(2),
                check_leadership=self.check_leadership,
                namespace="spawnai",
                cluster_uid=CLUSTER_UID,
                agent_source="",
                inspector=None,
                notices=NoticeSender(_no_secret, self.clock),
                clock_difference=self.clock_difference,
            )
        )
        shows = {
            "session": controller.on_session,
            "record": controller.on_record,
            "class": controller.on_class,
        }
        self.server.watch(process, lambda kind, event, body: shows[kind](event, body))
        self._working = asyncio.create_task(controller.queue.run(8, controller.handle))

    def _answer_in_place(self, method: str, path: str, token: str):
        return self.meddle(method, path, token)

    def _account(self, token: str, news: AccountNews) -> CloudAccount:
        self.deletions_due = news.deletions_due
        budget = RateBudget(self.clock, deletions_due=news.deletions_due)
        network = Network(
            self.emulator,
            Random(3),
            token,
            self._answer_in_place,
            self.delays,
        )
        client = Client(token, budget, network, self.check_leadership)
        account = account_behind(
            client,
            budget,
            news,
            cluster_tag=cluster_tag(CLUSTER_UID),
            clock=self.clock,
            random=Random(4),
        )
        self.opened.append(account)
        return account
