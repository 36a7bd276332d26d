"""Models of Claude, which writes apps for money, and of the agents that run them on droplets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Self

from spawnai.droplet.client import (
    AgentStatus,
    AgentUnreachable,
    AgentUntrusted,
    UpdateStatus,
    UsageSample,
)
from spawnai.droplet.credentials import SessionCredentials
from spawnai.droplet.probe import ProbeAnswer
from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.claude import Generated, GenerationOrder, GenerationProgress
from spawnai.generation.errors import (
    GenerationNoCredit,
    GenerationRefused,
    GenerationUnavailable,
)
from spawnai.generation.usage import TokenUsage
from spawnai.inspector.client import InspectorAway
from spawnai.inspector.inspection import Inspection, Target
from spawnai.lifecycle.keep import has_log
from spawnai.lifecycle.observation import Session

from .cloud import NEVER, Cloud, CloudDroplet
from .edges import Wire
from .loop import PROCESS, Process, utc

TOKENS_A_SECOND = 60
INPUT_TOKENS = 900
USAGE_SECONDS = 20.0
"""How often an agent measures: lives of minutes have few minutes."""
LIAR_SECONDS = 5_000.0
BREAK_LATER = 0.25
"""How many of the apps that are processes stop for good after they came up."""


@dataclass(slots=True, eq=False)
class Paid:
    """One order as Claude counted it."""

    session: str
    process: Process
    begun: float
    input_tokens: int = 0
    output_tokens: int = 0
    ended: float | None = None
    whole: bool = False
    prompt: str = ""
    repairs: int = 0
    """How often the app of this prompt was repaired before, this order included."""


class SimulatedClaude:
    """Counts every token of every order, also of those whose operator died."""

    def __init__(self, wire: Wire, on_order: Callable[["Paid"], None]) -> None:
        self._wire = wire
        self._on_order = on_order
        self._random = Random(f"{wire.story.seed}/claude")
        self.orders: list[Paid] = []
        self.models = self

    async def retrieve(self, model, timeout=None) -> SimpleNamespace:
        """The free question whether a key is good."""
        return SimpleNamespace(id=model, lifecycle="active")

    async def generate(
        self, order: GenerationOrder, *, on_progress, on_retry, before_call
    ) -> Generated:
        before_call()
        wire, random = self._wire, self._random
        fault = wire.fault_kind("CLAUDE order")
        process = PROCESS.get()
        paid = Paid(order.user_id, process, wire.loop.time(), prompt=order.prompt)
        if order.before is not None:
            paid.repairs = order.before.rounds + bool(order.before.findings)

        def begin() -> None:
            if fault == "overloaded":
                raise GenerationUnavailable("Claude is overloaded")
            if fault == "no credit":
                raise GenerationNoCredit("no credit")
            self._on_order(paid)

        def lost(why: str) -> Exception:
            return GenerationUnavailable(why, usage=_usage(paid))

        total = int(wire.story.settings.generation_seconds * random.uniform(0.8, 1.2) * 60)
        if fault == "cut":
            total //= 2
        await wire.call("CLAUDE order", "Claude", begin, lost, words=order.user_id)
        # Its first event says what the prompt cost; who never saw it was never billed.
        paid.input_tokens = INPUT_TOKENS
        self.orders.append(paid)
        done = 0
        try:
            while done < total:
                on_progress(GenerationProgress(done / total, 0, done, _usage(paid)))
                await asyncio.sleep(1.0)
                done += TOKENS_A_SECOND
                paid.output_tokens = min(done, total)
        finally:
            paid.ended = wire.loop.time()
            on_progress(GenerationProgress(done / total, 0, done, _usage(paid)))
        if fault == "refused":
            raise GenerationRefused("Claude declined", usage=_usage(paid))
        if fault == "cut":
            raise GenerationUnavailable("the answer was cut off", usage=_usage(paid))
        paid.whole = True
        number = len(self.orders)
        page = AppFile("index.html", f"<h1>{order.user_id} {number}</h1>")
        bundle = Bundle(order.app_type, "index.html", (page,), {})
        return Generated(bundle, _usage(paid), paid.repairs, order.model)


def _usage(paid: Paid) -> TokenUsage:
    return TokenUsage(input_tokens=paid.input_tokens, output_tokens=paid.output_tokens)


class SimulatedInspector:
    """Finds something wrong, is away, or is slow, as the seed draws it for each page."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._random = Random(f"{wire.story.seed}/pages")
        self.looks = 0

    @property
    def is_there(self) -> bool:
        """In every second story; the others are as they were before there was one."""
        return Random(f"{self._wire.story.seed}/inspector").random() < 0.5

    async def inspect(self, target: Target) -> Inspection:
        self.looks += 1
        shows = self._random.random()
        if shows < 0.1:
            await asyncio.sleep(self._random.uniform(1, 22))  # it is slow
        elif shows < 0.2:
            raise InspectorAway("the inspector does not answer")
        findings = ("the page is blank",) if shows > 0.8 else ()
        picture = b"\x89PNG\r\n\x1a\n" if self._random.random() < 0.7 else b""

        def lost(why: str) -> Exception:
            return InspectorAway(why)

        inspection = Inspection(findings, picture)
        return await self._wire.call(
            "INSPECTOR look", "the inspector", lambda: inspection, lost, words=target.url
        )


@dataclass(slots=True)
class Trial:
    """A further bundle, tried beside the one that serves."""

    digest: str
    pushed_at: float
    held: bool
    word: str
    failed: bool = False


@dataclass(slots=True)
class Machine:
    """What runs on one droplet."""

    digest: str | None = None
    pushed_at: float = NEVER
    pushes: int = 0
    versions: int = 0
    """How many bundles came after the first one."""
    trial: Trial | None = None
    is_process: bool = False
    expires_at: datetime = field(default_factory=lambda: utc(0))
    stopped_at: float = NEVER
    first_stopped_at: float = NEVER
    proofs: set[str] = field(default_factory=set)
    """Of http-01, by their tokens."""
    certificates: list[str] = field(default_factory=list)
    """What it was given to serve, the last one last."""


class SimulatedProbes:
    """The looks from outside. They are no calls of a story: their number changes no other draw."""

    def __init__(self, agents: "SimulatedAgents", wire: Wire) -> None:
        self._agents = agents
        self._wire = wire
        self._random = Random(f"{wire.story.seed}/probes")

    async def health(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        if self._wire.out("every agent"):
            await asyncio.sleep(seconds)
            return ProbeAnswer.NONE
        await asyncio.sleep(self._random.uniform(0.01, 0.08))
        return self._agents.seen_from_outside(address)

    async def health_of(self, host: str, address: str, port: int, seconds: float) -> ProbeAnswer:
        behind = self._agents.behind_balancer(address)
        if behind is None:
            return ProbeAnswer.NONE
        seen = await self.health(behind, port, seconds)
        return ProbeAnswer.DOWN if seen is ProbeAnswer.NONE else seen

    async def knock(self, address: str, port: int, seconds: float) -> ProbeAnswer:
        seen = await self.health(address, port, seconds)
        return seen if seen is ProbeAnswer.NONE else ProbeAnswer.UP


CREDENTIALS = SessionCredentials("test-token", "certificate", "key")


class SimulatedAgents:
    """What the controller knows as `Agents`."""

    def __init__(self, cloud: Cloud, wire: Wire) -> None:
        self._cloud = cloud
        self._wire = wire
        self._random = Random(f"{wire.story.seed}/agents")
        self._fates: dict[tuple[int, int], tuple[float, str]] = {}
        self.machines: dict[int, Machine] = {}

    def behind_balancer(self, address: str) -> str | None:
        """The address of the droplet that an active load balancer leads to."""
        cloud = self._cloud
        for one in cloud.balancers.values():
            if one.ip == address and one.active <= cloud.now < one.gone:
                droplet = cloud.droplets.get(one.order.droplet_ids[0])
                return droplet.ip if droplet is not None else None
        return None

    def credentials(self, _session: Session) -> SessionCredentials:
        return CREDENTIALS

    def credentials_of(self, _uid: str, _created_at: datetime) -> SessionCredentials:
        return CREDENTIALS

    def spare(self, uid: str, _created_at: datetime, ip: str) -> "SimulatedSpare":
        return SimulatedSpare(self, uid, ip)

    async def take_over(self, uid: str, _created_at: datetime, ip: str, bootstrap) -> None:
        """Safe to repeat: the session is answered once it has the droplet."""
        session = bootstrap.session_uid

        def effect(droplet: CloudDroplet, machine: Machine) -> None:
            droplet.session = session
            machine.expires_at = bootstrap.expires_at

        droplet = self.droplet(ip)
        holder = droplet.session if droplet is not None else None
        await self.call("AGENT take over", ip, session if holder == session else uid, effect)

    def gateway_certificate(self, _session: Session) -> None:
        return None

    def client(self, session: Session, ip: str) -> "SimulatedAgent":
        return SimulatedAgent(self, session, ip)

    def droplet(self, ip: str) -> CloudDroplet | None:
        now = self._cloud.now
        found = [
            known
            for known in self._cloud.droplets.values()
            if known.ip == ip and now < known.gone and now >= known.active + 1 and known.answers
        ]
        return found[-1] if found else None

    def seen_from_outside(self, ip: str) -> ProbeAnswer:
        """What anybody sees who asks that address; it may be another session's by now."""
        droplet = self.droplet(ip)
        if droplet is None:
            return ProbeAnswer.NONE
        machine = self.machine(droplet)
        if machine.digest is None or machine.stopped_at < NEVER:
            return ProbeAnswer.DOWN
        failed = self._cloud.now >= self.breaks_at(droplet)
        return ProbeAnswer.FAILED if failed else ProbeAnswer.UP

    def machine(self, droplet: CloudDroplet) -> Machine:
        machine = self.machines.setdefault(droplet.id, Machine())
        self._settle(droplet, machine)
        return machine

    def _settle(self, droplet: CloudDroplet, machine: Machine) -> None:
        """What has become of the bundle that is tried."""
        trial = machine.trial
        if trial is None or trial.failed or machine.stopped_at < NEVER:
            return
        wait, end = self._fate(droplet, machine.versions + 1)
        if self._cloud.now < trial.pushed_at + wait:
            return
        if end == "failed":
            trial.failed = True
        elif not trial.held:
            machine.digest, machine.pushed_at = trial.digest, trial.pushed_at
            machine.versions += 1
            machine.trial = None

    def fate(self, droplet: CloudDroplet) -> tuple[float, str]:
        """After how long the app there answers, or fails."""
        return self._fate(droplet, self.machine(droplet).versions)

    def serves(self, droplet: CloudDroplet, machine: Machine) -> bool:
        """Whether an app answers there: then a further bundle is tried beside it."""
        if machine.digest is None or machine.stopped_at < NEVER:
            return False
        wait, end = self._fate(droplet, machine.versions)
        came = self._cloud.now >= machine.pushed_at + wait
        return came and end == "running" and self._cloud.now < self.breaks_at(droplet)

    def _fate(self, droplet: CloudDroplet, version: int) -> tuple[float, str]:
        key = droplet.id, version
        if key not in self._fates:
            # Of a changed app from numbers of its own, so that no other draw depends on it.
            random = self._random
            if version:
                random = Random(f"repaired:{self._wire.story.seed}/{droplet.id}/{version}")
            ends = random.random()
            state = "failed" if ends < 0.04 else "running"
            self._fates[key] = (random.uniform(0.5, 3), state)
        return self._fates[key]

    def breaks_at(self, droplet: CloudDroplet) -> float:
        """When an app that came up stops for good. Drawn apart, so that no other draw depends on
        it; a webapp is files.
        """
        machine = self.machines.get(droplet.id)
        fate = self._fates.get((droplet.id, machine.versions)) if machine is not None else None
        if machine is None or fate is None or not machine.is_process:
            return NEVER
        wait, end = fate
        random = Random(f"breaks:{self._wire.story.seed}/{droplet.id}")
        if end == "failed" or random.random() > BREAK_LATER:
            return NEVER
        at = machine.pushed_at + wait + random.choice((10, 40, 160)) * random.uniform(0.5, 1.5)
        return at if at < machine.first_stopped_at else NEVER

    def update_of(self, droplet: CloudDroplet, machine: Machine) -> UpdateStatus | None:
        """What an agent says of the bundle that is tried."""
        trial = machine.trial
        if trial is None:
            return None
        if trial.failed:
            return UpdateStatus(trial.digest, "failed", reason="AppCrashed")
        wait, _ = self._fate(droplet, machine.versions + 1)
        if self._cloud.now < trial.pushed_at + wait:
            return UpdateStatus(trial.digest, "starting")
        return UpdateStatus(trial.digest, "held", word=trial.word)

    def measured(self, droplet: CloudDroplet) -> tuple[UsageSample, ...]:
        """What the agent on a droplet has measured by now. Every fourth agent lies: it says that
        all was busy, and for hours.
        """
        seed = self._wire.story.seed
        is_liar = Random(f"liar:{seed}/{droplet.id}").random() < 0.25
        seconds = max(min(self._cloud.now, droplet.gone) - droplet.created, 0.0)
        samples = []
        for number in range(1, int(seconds / USAGE_SECONDS) + 1):
            random = Random(f"usage:{seed}/{droplet.id}/{number}")
            at = utc(droplet.created + number * USAGE_SECONDS)
            cpu, memory = (random.choice((5.0, 50.0, 95.0)) for _ in range(2))
            if is_liar:
                samples.append(UsageSample(at, LIAR_SECONDS, 100.0, 100.0))
            else:
                samples.append(UsageSample(at, USAGE_SECONDS, cpu, memory))
        return tuple(samples)

    async def call(self, name: str, ip: str, uid: str, effect):
        def lost(why: str) -> Exception:
            return AgentUnreachable(why)

        def happen():
            droplet = self.droplet(ip)
            if droplet is None:
                raise AgentUnreachable(f"{ip} does not answer")
            if (droplet.session or droplet.spare) != uid:
                raise AgentUntrusted(f"{ip} shows another certificate")
            return effect(droplet, self.machine(droplet))

        return await self._wire.call(name, "every agent", happen, lost, words=ip)


class SimulatedSpare:
    """The client of the agent of a spare."""

    def __init__(self, agents: SimulatedAgents, uid: str, ip: str) -> None:
        self._agents = agents
        self._uid = uid
        self._ip = ip

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def status(self) -> SimpleNamespace:
        def effect(_droplet: CloudDroplet, _machine: Machine) -> SimpleNamespace:
            return SimpleNamespace(runtime="ok")

        return await self._agents.call("AGENT status", self._ip, self._uid, effect)


class SimulatedAgent:
    """The client of one agent."""

    def __init__(self, agents: SimulatedAgents, session: Session, ip: str) -> None:
        self._agents = agents
        self._uid = session.uid
        self._is_process = has_log(session)
        self._ip = ip

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def knock(self) -> None:
        if self._agents.droplet(self._ip) is None:
            raise AgentUnreachable(f"{self._ip} does not answer")

    async def status(self, *, after: str | None = None) -> AgentStatus:
        """An agent need not wait, and this one never does."""

        def effect(droplet: CloudDroplet, machine: Machine) -> AgentStatus:
            wait, end = self._agents.fate(droplet)
            state = "idle"
            if machine.digest is not None:
                ready = self._agents._cloud.now >= machine.pushed_at + wait
                state = end if ready else "starting"
                if self._agents._cloud.now >= self._agents.breaks_at(droplet):
                    state = "failed"
                elif machine.stopped_at < NEVER:
                    state = "stopped"
            silent_since = min(self._agents.breaks_at(droplet), machine.stopped_at)
            return AgentStatus(
                bundle_digest=machine.digest,
                state=state,
                reason="AppCrashed" if state == "failed" else None,
                exit_code=None,
                restarts=0,
                # What it says last is the time; an app that has stopped says no more.
                log=(f"{min(self._agents._cloud.now, silent_since):.3f}",),
                expires_at=machine.expires_at,
                agent_version="1",
                update=self._agents.update_of(droplet, machine),
            )

        return await self._agents.call("AGENT status", self._ip, self._uid, effect)

    async def read_usage(self, after: int = 0) -> tuple[tuple[UsageSample, ...], int]:
        def effect(droplet: CloudDroplet, _machine: Machine):
            samples = self._agents.measured(droplet)
            return samples[after if after <= len(samples) else 0 :], len(samples)

        return await self._agents.call("AGENT usage", self._ip, self._uid, effect)

    async def push(self, document) -> None:
        def effect(droplet: CloudDroplet, machine: Machine) -> None:
            digest, now = document["digest"], self._agents._cloud.now
            hold, trial = bool(document.get("hold")), machine.trial
            if trial is not None and trial.digest == digest:
                trial.held = trial.held and hold
            elif machine.digest == digest:
                machine.trial = None
            elif self._agents.serves(droplet, machine):
                machine.trial = Trial(digest, now, hold, word=f"{digest}@{now}")
            else:
                machine.versions += machine.digest is not None
                machine.digest, machine.pushed_at, machine.trial = digest, now, None
                machine.is_process = self._is_process

        await self._agents.call("AGENT push", self._ip, self._uid, effect)

    async def set_expiry(self, expires_at: datetime, *, remaining: timedelta) -> None:
        def effect(_droplet: CloudDroplet, machine: Machine) -> None:
            machine.expires_at = expires_at

        await self._agents.call("AGENT expiry", self._ip, self._uid, effect)

    async def stop(self, grace_seconds: float) -> None:
        def effect(_droplet: CloudDroplet, machine: Machine) -> None:
            machine.stopped_at = min(machine.stopped_at, self._agents._cloud.now)
            machine.first_stopped_at = min(machine.first_stopped_at, machine.stopped_at)

        await self._agents.call("AGENT stop", self._ip, self._uid, effect)

    async def restart(self) -> None:
        def effect(_droplet: CloudDroplet, machine: Machine) -> None:
            machine.stopped_at = NEVER

        await self._agents.call("AGENT restart", self._ip, self._uid, effect)

    async def put_challenge(self, token: str, key_authorization: str) -> None:
        def effect(_droplet: CloudDroplet, machine: Machine) -> None:
            machine.proofs.add(token)

        await self._agents.call("AGENT challenge", self._ip, self._uid, effect)

    async def delete_challenge(self, token: str) -> None:
        def effect(_droplet: CloudDroplet, machine: Machine) -> None:
            machine.proofs.discard(token)

        await self._agents.call("AGENT challenge", self._ip, self._uid, effect)

    async def put_certificate(self, chain_pem: str, key_pem: str, names) -> None:
        def effect(_droplet: CloudDroplet, machine: Machine) -> None:
            machine.certificates.append(chain_pem)

        await self._agents.call("AGENT certificate", self._ip, self._uid, effect)

    async def put_hosts(self, hosts, *, redirect_http: bool) -> None:
        await self._agents.call("AGENT hosts", self._ip, self._uid, lambda _droplet, _machine: None)
