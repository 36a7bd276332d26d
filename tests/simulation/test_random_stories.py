"""Random stories, a few in each test: each test can run in a process of its own."""

import os

import pytest
from tests.simulation.seeds import failures_in, told

SEEDS = int(os.environ.get("SPAWNAI_SEEDS", "475"))
FIRST = int(os.environ.get("SPAWNAI_FIRST_SEED", "0"))
STORIES_A_TEST = 25
"""Few enough to stay far from the time limit of a test on a machine that is busy."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", range(FIRST, FIRST + SEEDS, STORIES_A_TEST), ids=lambda first: f"from-{first}"
)
def test_no_story_goes_wrong(first):
    seeds = range(first, min(first + STORIES_A_TEST, FIRST + SEEDS))
    failures = failures_in(seeds)
    if failures:
        others = ", ".join(str(failure.seed) for failure in failures[1:])
        pytest.fail(
            f"{len(failures)} of {len(seeds)} stories went wrong (others: {others or 'none'})\n\n"
            + told(failures[0]),
            pytrace=False,
        )
