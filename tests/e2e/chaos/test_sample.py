"""A sample of `make chaos`: calls of the real operator go wrong, and nothing is lost or left.

Plans without time-outs, which take their time; all at once, on one stack. SPAWNAI_CHAOS_SEED draws
another sample.
"""

import os

import pytest

from spawnai_local import toolchain
from spawnai_local.building import ToolchainError
from spawnai_local.chaos.campaign import campaign
from spawnai_local.chaos.faults import Fault
from spawnai_local.chaos.plans import all_plans, sample
from spawnai_local.chaos.recording import read_known
from spawnai_local.chaos.report import lines_of

PLANS = 16
SEED = int(os.environ.get("SPAWNAI_CHAOS_SEED", "1"))


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_whatever_goes_wrong_at_a_call_everything_is_made_once_and_gone_in_the_end(tmp_path):
    try:
        toolchain.pebble()
    except ToolchainError as error:
        pytest.skip(f"Pebble cannot be built here: {error}")
    quick = [plan for plan in all_plans(read_known()) if plan.fault is not Fault.TIMEOUT_AFTER]
    chosen = sample(quick, PLANS, SEED)
    async with campaign(tmp_path / "stack", lanes=PLANS) as made:
        await made.carry_out(chosen, together=True)
        told = [line for verdict in made.verdicts for line in lines_of(verdict)]
        assert told == [], "\n".join(told)
        assert made.at_the_end() == []
        assert len(made.verdicts) == PLANS
