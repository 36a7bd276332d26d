"""The simulation bites: it finds each deliberate bug within a few hundred stories.

A story counts only when it goes well without the mistake: what is found is the mistake.
"""

from dataclasses import dataclass

import pytest
from tests.simulation.bugs import BUGS
from tests.simulation.bugs.bug import Bug
from tests.simulation.bugs.situations import any_story
from tests.simulation.world import run_story

# What a deliberate mistake leaves to the collector is its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MOST_SEEDS = 400
SEEDS_OF_A_SITUATION = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """The first story that goes wrong with a mistake. `without`: what is wrong in the same story
    when the mistake is left out; that has to be nothing.
    """

    seed: int
    violation: str
    without: str | None


def first_finding(bug: Bug) -> Finding | None:
    """Look for a bug."""
    for seed in range(bug.seed, bug.seed + MOST_SEEDS):
        story = bug.story_of(seed)
        with bug.made():
            violation = run_story(story).violation
        if violation is not None:
            with bug.left_out():
                return Finding(seed, violation, run_story(story).violation)
    return None


def test_there_are_at_least_twenty_and_each_has_a_sentence_of_its_own():
    assert len({bug.sentence for bug in BUGS}) == len(BUGS) >= 20


SITUATIONS = sorted({bug.story_of for bug in BUGS} - {any_story}, key=lambda one: one.__name__)


@pytest.mark.parametrize("story_of", SITUATIONS, ids=lambda one: one.__name__)
def test_without_the_mistake_all_goes_well_in_its_situation(story_of):
    stories = map(story_of, range(SEEDS_OF_A_SITUATION))
    assert [str(story) for story in stories if run_story(story).violation is not None] == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.sentence.replace(" ", "-"))
def test_the_simulation_finds_that(bug):
    finding = first_finding(bug)
    assert finding is not None, f"{MOST_SEEDS} stories did not find: {bug.sentence}"
    assert finding.without is None, f"story {finding.seed} goes wrong without the mistake too"
