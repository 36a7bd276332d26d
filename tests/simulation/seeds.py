"""Runs seeds one after the other, and tells the shortest story of what went wrong."""

from collections.abc import Iterable
from dataclasses import dataclass

from .story import Order, Story, story_of
from .world import Outcome, run_story

MOST_RUNS_TO_SHORTEN = 150


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed whose story went wrong."""

    seed: int
    violation: str


def failures_in(seeds: Iterable[int]) -> list[Failure]:
    """Tell the story of each."""
    found = []
    for seed in seeds:
        outcome = run_story(story_of(seed))
        if outcome.violation is not None:
            found.append(Failure(seed, outcome.violation))
    return found


def shortest(story: Story, kind: str) -> Outcome:
    """Leave out whatever is not needed for the story to go wrong in the same way.

    `kind` is how the violation begins: a shorter story may tell of the same fault with other names.
    """
    best = run_story(story)
    runs, shortened = 0, True
    while shortened and runs < MOST_RUNS_TO_SHORTEN:
        shortened = False
        for index in reversed(range(len(best.story.happenings))):
            candidate = best.story.without(index)
            if not candidate.of(Order) or candidate.keeps_a_pool:
                continue
            runs += 1
            outcome = run_story(candidate)
            if outcome.violation is not None and alike(outcome.violation, kind):
                best, shortened = outcome, True
    return best


def alike(violation: str, other: str) -> bool:
    """Whether two violations tell of the same rule, whatever the names and numbers in them."""
    return _rule(violation) == _rule(other)


def _rule(violation: str) -> tuple[str, ...]:
    words = violation.replace("'s ", " ").split()
    return tuple(word for word in words if word.isalpha())[:4]


def told(failure: Failure, *, trace_lines: int = 80) -> str:
    """A failing seed as a person reads it: what happened, step by step, and how to see it again."""
    outcome = shortest(story_of(failure.seed), failure.violation)
    lines = outcome.told().splitlines()
    left_out = len(lines) - trace_lines
    if left_out > 0:
        lines = [*lines[:10], f"   … {left_out} lines …", *lines[-(trace_lines - 10) :]]
    return "\n".join(
        [
            f"Seed {failure.seed}: {failure.violation}",
            "",
            "The shortest story that goes wrong in this way:",
            str(outcome.story),
            f"→ {outcome.violation}",
            "",
            "What happened (seconds since the beginning):",
            *lines,
            "",
            (
                f"Again, whole: SPAWNAI_SEED={failure.seed} make test "
                'PYTEST_ARGS="tests/simulation -k replay -s"'
            ),
        ]
    )
