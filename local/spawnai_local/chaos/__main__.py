"""`make chaos`: carry out every plan, print a table, and write it into docs/reliability.md."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from spawnai_local.chaos import report
from spawnai_local.chaos.campaign import Campaign, campaign
from spawnai_local.chaos.faults import Fault
from spawnai_local.chaos.lab import Verdict
from spawnai_local.chaos.plans import Plan, Situation, sample
from spawnai_local.chaos.recording import write_known
from spawnai_local.interruption import run_until_interrupted
from spawnai_local.narration import Narrator
from spawnai_local.paths import checkout
from spawnai_local.up import READABLE_ERRORS

LABS = 2
"""How many stacks a whole campaign uses side by side: most of its time it waits."""

_LIMIT_SECONDS = 60 * 60.0
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> None:
    """Run it; exit code 1 when anything was violated or a fault could not strike."""
    parser = argparse.ArgumentParser(prog="python -m spawnai_local.chaos", description=__doc__)
    parser.add_argument(
        "--plan", action="append", default=[], help="only the plans whose id begins so, alone"
    )
    parser.add_argument("--situation", action="append", type=Situation, choices=list(Situation))
    parser.add_argument("--fault", action="append", type=Fault, choices=list(Fault))
    parser.add_argument("--sample", type=int, help="only so many plans")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--list", action="store_true", help="only record, and list the plans")
    arguments = parser.parse_args()
    narrator = Narrator()
    try:
        code = run_until_interrupted(_run(narrator, arguments))
    except (*READABLE_ERRORS, TimeoutError) as error:
        narrator.blank()
        narrator.warn(str(error) or "it took too long and was ended")
        sys.exit(1)
    sys.exit(_INTERRUPTED if code is None else code)


async def _run(narrator: Narrator, arguments: argparse.Namespace) -> int:
    narrator.title(
        "SpawnAI at every boundary",
        "The real operator between a real API server and the local cloud; each of its calls goes "
        "wrong in every way that exists, once in every situation.",
    )

    def tell(verdict: Verdict) -> None:
        for line in report.lines_of(verdict):
            narrator.say(line)

    few = arguments.plan or arguments.sample or arguments.list
    async with (
        asyncio.timeout(_LIMIT_SECONDS),
        campaign(checkout() / "build" / "chaos", tell, labs=1 if few else LABS) as made,
    ):
        narrator.step("What calls there are")
        plans = await made.record()
        narrator.lines(report.boundary_table(made.boundaries))
        chosen = _chosen(plans, arguments)
        if arguments.list:
            narrator.lines([plan.id for plan in chosen])
            return 0
        narrator.step(f"{len(chosen)} plans")
        await made.carry_out(chosen)
        return _conclude(narrator, made, whole=len(chosen) == len(plans))


def _chosen(plans: Sequence[Plan], arguments: argparse.Namespace) -> list[Plan]:
    if arguments.plan:
        chosen = [plan for plan in plans if plan.id.startswith(tuple(arguments.plan))]
        if not chosen:
            raise TimeoutError(f"no plan is called {arguments.plan}; --list lists them")
        return chosen
    chosen = [
        plan
        for plan in plans
        if (not arguments.situation or plan.boundary.situation in arguments.situation)
        and (not arguments.fault or plan.fault in arguments.fault)
    ]
    if arguments.sample:
        return sample(chosen, arguments.sample, arguments.seed)
    return chosen


def _conclude(narrator: Narrator, made: Campaign, *, whole: bool) -> int:
    narrator.step("The end")
    left = made.at_the_end()
    narrator.lines(report.table(made.verdicts))
    narrator.blank()
    for line in report.summary(made, left):
        narrator.say(line)
    if whole:
        write_known(made.boundaries)
        report.write_page(made, left, narrator.elapsed)
        narrator.say("Written down in docs/reliability.md.")
    violated = any(one.violations for one in made.verdicts)
    return 1 if left or violated or report.missed(made.verdicts) else 0


if __name__ == "__main__":
    main()
