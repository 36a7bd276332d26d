"""A lab: one stack, its operator, and the plans that are carried out on it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from spawnai_local.chaos.calls import Edge
from spawnai_local.chaos.canaries import Foreign
from spawnai_local.chaos.gate import Passage, Trap
from spawnai_local.chaos.judge import Judge
from spawnai_local.chaos.lives import Company, Life, Living
from spawnai_local.chaos.plans import Boundary, Plan, Situation
from spawnai_local.chaos.recording import record
from spawnai_local.chaos.stack import OPERATOR, ChaosStack
from spawnai_local.chaos.world import World

GATHER_SECONDS = 3.0
"""How long a held call waits for others to be held where nobody knows how many will be."""

HOLD_SECONDS = 7.0
"""How long a held call waits at most for those of its company, so that one kill serves them all.
Less than the shortest time limit of a call (`CALLER_SECONDS`)."""

_TICK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one plan."""

    plan: Plan | None
    """None: a life of the recorded run."""
    life: Life
    violations: tuple[str, ...]
    story: tuple[Passage, ...] = field(repr=False)
    seconds: float

    @property
    def struck(self) -> bool:
        """Whether the call came at all, so that the fault could strike."""
        return self.life.struck


class Conductor:
    """Kills the operator for all who wait for it: held calls, and lives that want a restart."""

    def __init__(self, stack: ChaosStack) -> None:
        self._stack = stack
        self._holding: list[Trap] = []
        self._wishes: list[asyncio.Future[None]] = []
        self._first = 0.0
        self.company: Company | None = None
        """Whose calls come together; None: lives of which each goes its own way."""
        stack.gate.on_hold = self._held

    def _held(self, trap: Trap) -> None:
        self._note()
        self._holding.append(trap)

    async def restart(self) -> None:
        """Have the operator started again; returns when the next one leads."""
        self._note()
        wish = asyncio.get_running_loop().create_future()
        self._wishes.append(wish)
        await wish

    def _note(self) -> None:
        if not self._holding and not self._wishes:
            self._first = time.monotonic()

    async def run(self) -> None:
        """Serve for as long as the campaign lasts."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if not self._is_time():
                continue
            traps, self._holding = self._holding, []
            wishes, self._wishes = self._wishes, []
            await self._stack.kill_operator(traps)
            for wish in wishes:
                if not wish.done():
                    wish.set_result(None)

    def _is_time(self) -> bool:
        if not self._holding and not self._wishes:
            return False
        waited = time.monotonic() - self._first
        if self.company is None or not self._holding:
            return waited >= GATHER_SECONDS
        return self.company.is_complete or waited >= HOLD_SECONDS


class Lateness:
    """What a busy machine does to the operator and to this process, the cloud it calls."""

    def __init__(self, stack: ChaosStack) -> None:
        self._stack = stack
        self._late: list[tuple[float, float]] = []

    async def run(self) -> None:
        """Measure: how long the operator waited for a processor, and how late this loop was."""
        waited = 0.0
        while True:
            before = time.monotonic()
            await asyncio.sleep(_TICK_SECONDS)
            late = max(0.0, time.monotonic() - before - _TICK_SECONDS)
            now = self._stack.waited_for_processor()
            late += max(0.0, now - waited) if waited else 0.0
            waited = now
            self._late.append((time.time(), late))

    def between(self, since: float, until: float) -> float:
        """How much of the time between two moments (epoch seconds) was lost, in seconds."""
        return sum(late for at, late in self._late if since <= at <= until)


class Lab:
    """Carries out plans on a stack of its own, and judges each when its life is over.

    `numbers` names the lives; labs of one campaign share them. `tell` hears of each verdict.
    """

    def __init__(
        self,
        world: World,
        foreign: Foreign,
        numbers: Iterator[int],
        tell: Callable[[Verdict], None],
    ) -> None:
        self._world = world
        self._foreign = foreign
        self._numbers = numbers
        self._tell = tell
        self._conductor = Conductor(world.stack)
        self._lateness = Lateness(world.stack)
        self._living = Living(world, self._conductor.restart)
        self._lanes: asyncio.Queue[str] = asyncio.Queue()
        for lane in world.stack.lanes:
            self._lanes.put_nowait(lane)
        self.judge = Judge(world.stack)
        world.gate.situations[OPERATOR] = Situation.READY

    @property
    def stack(self) -> ChaosStack:
        """The stack."""
        return self._world.stack

    async def record(self) -> tuple[list[Boundary], list[Boundary], list[Verdict]]:
        """Lives without a fault: the calls made for them, those made by chance, and verdicts."""
        known, by_chance, lives = await record(self._world, self._conductor.restart)
        return known, by_chance, [self._verdict(None, life) for life in lives]

    async def all(self, plans: Sequence[Plan]) -> list[Verdict]:
        """Carry out plans as lanes get free; none waits for another."""
        async with asyncio.TaskGroup() as group:
            lives = []
            for plan in plans:
                lane = await self._lanes.get()
                life = await self._life(plan, lane)
                lives.append(group.create_task(self._one(plan, lane, life), name=plan.id))
        return [life.result() for life in lives]

    async def in_company(self, plans: Sequence[Plan]) -> list[Verdict]:
        """Carry out a batch of plans that share the operator's kills."""
        lanes = [await self._lanes.get() for _ in plans]
        lives = [await self._life(plan, lane) for plan, lane in zip(plans, lanes, strict=True)]
        company = self._conductor.company = Company(lives)
        async with asyncio.TaskGroup() as group:
            led = [
                group.create_task(self._one(plan, lane, life, company), name=plan.id)
                for plan, lane, life in zip(plans, lanes, lives, strict=True)
            ]
        self._conductor.company = None
        return [life.result() for life in led]

    async def _one(
        self, plan: Plan, lane: str, life: Life, company: Company | None = None
    ) -> Verdict:
        try:
            await self._living.live(life, company)
            return self._verdict(plan, life)
        finally:
            self._lanes.put_nowait(lane)

    async def _life(self, plan: Plan, lane: str) -> Life:
        boundary = plan.boundary
        name = f"plan-{next(self._numbers):04d}"
        keys = lane
        if boundary.situation is Situation.CREATING and boundary.call.edge is Edge.DIGITALOCEAN:
            # Some calls are only made the first time that an account is used.
            keys = await self._world.unused_keys()
        # A Lease has no owner that would tell one plan's from another's.
        owner = OPERATOR if boundary.is_operators_own else name
        trap = Trap(owner, boundary.situation, boundary.call.name, plan.fault)
        return Life(name, keys, boundary.flavour, boundary.situation, trap, boundary.call.edge)

    def _verdict(self, plan: Plan | None, life: Life) -> Verdict:
        violations = self.judge.violations(life, self._lateness.between)
        verdict = Verdict(
            plan,
            life,
            tuple(violations),
            tuple(self.judge.passages(life)),
            time.time() - life.began,
        )
        self._tell(verdict)
        return verdict

    def at_the_end(self) -> list[str]:
        """What is wrong with the account as a whole."""
        cloud = self.stack.emulator.cloud
        found = [f"4: a foreign {one['kind']} is {one['what']}" for one in self._foreign.touched()]
        found += [
            f"1: droplet {one.id} ({one.name}) is left over"
            for one in cloud.droplets.all()
            if not one.canary and one.deleted_at is None
        ]
        found += [
            f"1: firewall {one.name} is left over"
            for one in cloud.firewalls.all()
            if not one.canary
        ]
        return found

    async def serve(self) -> None:
        """What runs beside the plans."""
        await asyncio.gather(self._world.watch(), self._conductor.run(), self._lateness.run())
