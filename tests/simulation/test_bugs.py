"""The simulation bites: it finds each deliberate bug within a few hundred stories."""

import pytest
from tests.simulation.bugs import BUGS
from tests.simulation.story import story_of
from tests.simulation.world import run_story

# A killed process drops its coroutines in mid-air: that is what is simulated.
pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MOST_SEEDS = 400


def seed_that_finds(bug) -> tuple[int, str] | None:
    with bug.made():
        for seed in range(MOST_SEEDS):
            violation = run_story(story_of(seed)).violation
            if violation is not None:
                return seed, violation
    return None


def test_there_are_at_least_twenty():
    assert len({bug.sentence for bug in BUGS}) >= 20


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.sentence.replace(" ", "-"))
def test_the_simulation_finds_that(bug):
    assert seed_that_finds(bug) is not None, f"{MOST_SEEDS} stories did not find: {bug.sentence}"
