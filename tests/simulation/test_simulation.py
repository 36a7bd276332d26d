"""Whatever happens, nothing leaks, nothing is made twice, nothing foreign is touched.

Each seed is a story: one to three sessions on the real controller, among models of the API server,
the cloud, Claude and the agents, with crashes, lost answers, outages, late watches, two operators,
clocks that differ, and users who change their minds. `judge.py` holds what must always be true.
"""

import os
import subprocess
import sys

import pytest
from tests.simulation.story import story_of
from tests.simulation.world import run_story

# What each of them once found stands in the history of the code that it changed.
SEEDS_THAT_FOUND_SOMETHING = (
    3, 4, 25, 30, 46, 63, 64, 69, 74, 87, 115, 154, 173, 182, 194, 196, 199, 218, 240, 270, 318,
    319, 391, 443, 461, 486, 490, 511, 593, 597, 642, 702, 731, 846, 848, 851, 937, 949, 976, 1746,
    1891, 1907, 1950, 1953, 2033, 2261, 3019, 3884, 4332, 5041, 6138, 6415, 6791, 6812, 7021, 7455,
    7725, 8004, 8693, 9641,
)  # fmt: skip


def test_stories_that_went_wrong_once_go_well():
    wrong = [
        (seed, outcome.violation)
        for seed in SEEDS_THAT_FOUND_SOMETHING
        if (outcome := run_story(story_of(seed))).violation is not None
    ]
    assert wrong == []


@pytest.mark.parametrize("seed", [7, 74, 461])
def test_a_seed_always_tells_the_same_story(seed):
    first, second = run_story(story_of(seed)), run_story(story_of(seed))
    assert first.trace == second.trace
    assert first.steps == second.steps


def test_a_story_does_not_depend_on_the_order_of_hashes():
    """Python orders sets of strings by a number drawn for each process."""
    script = (
        "from tests.simulation.story import story_of\n"
        "from tests.simulation.world import run_story\n"
        "import hashlib\n"
        "for seed in (7, 74, 461):\n"
        "    outcome = run_story(story_of(seed))\n"
        "    print(outcome.steps, hashlib.sha256(outcome.told().encode()).hexdigest())\n"
    )
    told_with = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": number},
            capture_output=True,
            check=True,
            text=True,
            timeout=300,
        ).stdout
        for number in ("1", "2")
    }
    assert len(told_with) == 1


@pytest.mark.skipif("SPAWNAI_SEED" not in os.environ, reason="replays SPAWNAI_SEED when it is set")
def test_replay():
    outcome = run_story(story_of(int(os.environ["SPAWNAI_SEED"])))
    print(outcome.story)  # noqa: T201
    print(outcome.told())  # noqa: T201
    assert outcome.violation is None
