"""A campaign: the recorded run, its plans, and their verdicts, on one or more labs side by side.

Two rounds, because a kill disturbs everyone in its lab: first the plans that leave the operator
alone, as many at once as there are lanes; then those for which it is killed or started again, in
batches that come to their calls together and share the kills. Each lab takes what comes next.

A call may still not come, because a kill that was another's made the operator take another way, or
because two writes were one by chance. Its plan is then carried out again, and one that needs a kill
alone; only a call that does not come then either is missed. The table says how often this was so.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from spawnai_local.chaos.canaries import Foreign
from spawnai_local.chaos.lab import Lab, Verdict
from spawnai_local.chaos.plans import Boundary, Plan, all_plans, batches
from spawnai_local.chaos.stack import LANES, ChaosStack
from spawnai_local.chaos.world import World

ATTEMPTS = 3
"""How often a plan is tried whose call does not come."""


@dataclass(frozen=True, slots=True)
class Round:
    """Plans that a lab carries out at once: `in_company` those that share the operator's kills."""

    plans: Sequence[Plan]
    in_company: bool = False


class Campaign:
    """Labs, and the plans that they share out."""

    def __init__(self, labs: Sequence[Lab]) -> None:
        self._labs = labs
        self.boundaries: list[Boundary] = []
        self.by_chance: list[Boundary] = []
        """Calls that only some of the recorded lives made."""
        self.verdicts: list[Verdict] = []
        self.repeated: list[Plan] = []
        """Plans whose call did not come the first time."""

    @property
    def _lane_count(self) -> int:
        return min(len(lab.stack.lanes) for lab in self._labs)

    @property
    def kill_count(self) -> int:
        """How often an operator was killed."""
        return sum(len(lab.stack.kills) for lab in self._labs)

    @property
    def overruns(self) -> list[float]:
        """How late each deletion with nothing in its way was accepted, in seconds."""
        return [late for lab in self._labs for late in lab.judge.overruns]

    async def record(self) -> list[Plan]:
        """The recorded run; returns every plan that follows from it."""
        self.boundaries, self.by_chance, self.verdicts = await self._labs[0].record()
        return all_plans(self.boundaries)

    async def carry_out(self, plans: Sequence[Plan], *, together: bool = False) -> None:
        """Carry out plans: those without a kill first, or all `together`, without batches."""
        left = list(plans)
        for attempt in range(1, ATTEMPTS + 1):
            if together and attempt == 1:
                rounds = [Round(left)]
            else:
                rounds = self._rounds(left, self._lane_count if attempt == 1 else 1)
            before = len(self.verdicts)
            await self._share_out(iter(rounds))
            missed = [one for one in self.verdicts[before:] if not one.struck]
            left = [one.plan for one in missed if one.plan is not None]
            if not left or attempt == ATTEMPTS:
                break
            if attempt == 1:
                self.repeated = left
            # It counts by its last life; what went wrong in another one stays.
            self.verdicts = [one for one in self.verdicts if one not in missed or one.violations]

    def _rounds(self, plans: Sequence[Plan], size: int) -> list[Round]:
        calm = [plan for plan in plans if not plan.needs_restart]
        # What takes long begins first, so that nobody waits for it at the end.
        calm.sort(key=lambda plan: plan.fault.value.startswith("timeout"), reverse=True)
        shares = len(self._labs)
        with_kills = batches((plan for plan in plans if plan.needs_restart), size)
        return [
            *(Round(calm[first::shares]) for first in range(shares)),
            *(Round(batch, in_company=True) for batch in with_kills),
        ]

    async def _share_out(self, rounds: Iterator[Round]) -> None:
        async def work(lab: Lab) -> None:
            for one in rounds:
                carry_out = lab.in_company if one.in_company else lab.all
                self.verdicts.extend(await carry_out(one.plans))

        async with asyncio.TaskGroup() as group:
            for lab in self._labs:
                group.create_task(work(lab))

    def at_the_end(self) -> list[str]:
        """What is wrong with an account as a whole."""
        return [found for lab in self._labs for found in lab.at_the_end()]


@asynccontextmanager
async def campaign(
    directory: Path,
    tell: Callable[[Verdict], None] = lambda _verdict: None,
    *,
    labs: int = 1,
    lanes: int = LANES,
) -> AsyncIterator[Campaign]:
    """A campaign on stacks of its own in `directory`; all has ended when the context has."""
    numbers = count(1)
    async with AsyncExitStack() as parts:
        made = []
        for number in range(1, labs + 1):
            stack = ChaosStack(directory / f"lab-{number}", lanes=lanes)
            await parts.enter_async_context(stack)
            world = await parts.enter_async_context(World(stack))
            foreign = Foreign(stack.emulator)
            await stack.start_operator()
            made.append(Lab(world, foreign, numbers, tell))
        async with asyncio.TaskGroup() as beside:
            # What runs beside the plans takes the campaign down with it.
            serving = [beside.create_task(lab.serve(), name="conduct") for lab in made]
            try:
                yield Campaign(made)
            finally:
                for task in serving:
                    task.cancel()
