"""Stories of sessions behind load balancers: slow, errored, busy, deleted by somebody, answers
lost, operators killed.

None is left behind, each stands in a ledger, and no name leads to one that was deleted. All else
that `judge.py` asks for holds as well.
"""

import os
from dataclasses import replace
from unittest import mock

import pytest
from tests.simulation.story import story_of, with_load_balancers
from tests.simulation.world import run_story

from spawnai.api.record import ResourceKind
from spawnai.lifecycle import keep, resources
from spawnai.lifecycle.kinds import KINDS, TEARDOWN

SEEDS = max(40, int(os.environ.get("SPAWNAI_SEEDS", "500")) // 25)
WENT_WRONG = (141,)
BALANCER = ResourceKind.LOAD_BALANCER


def violation_of(seed: int) -> str | None:
    return run_story(with_load_balancers(story_of(seed)), load_balancers=True).violation


@pytest.mark.slow
@pytest.mark.timeout(max(300, 5 * SEEDS))
def test_no_story_goes_wrong():
    assert {
        seed: wrong for seed in (*range(SEEDS), *WENT_WRONG) if (wrong := violation_of(seed))
    } == {}


def a_story_goes_wrong(seeds, words: str) -> bool:
    return any(words in (violation_of(seed) or "") for seed in seeds)


_unaccounted_since = resources.unaccounted_since


def _only_lost_answers(o, name):
    """What an operator of before may have sent is not looked for."""
    is_forgotten = name.kind is BALANCER and o.effort(name.create_key).unclear_at is None
    return None if is_forgotten else _unaccounted_since(o, name)


def test_one_that_a_killed_operator_made_and_nobody_looks_for_is_noticed():
    with mock.patch.object(resources, "unaccounted_since", _only_lost_answers):
        assert a_story_goes_wrong(range(70, 200), "load balancer")


def test_one_that_somebody_deleted_and_nobody_looks_for_is_noticed():
    with mock.patch.object(keep, "_look_at_the_way", return_value=None):
        assert a_story_goes_wrong(range(20), "a stranger's")


def test_one_that_goes_before_its_name_is_noticed():
    rows = {**KINDS, BALANCER: replace(KINDS[BALANCER], teardown_order=5)}
    order = (BALANCER, *(kind for kind in TEARDOWN if kind is not BALANCER))
    with (
        mock.patch.object(resources, "KINDS", rows),
        mock.patch.object(resources, "TEARDOWN", order),
    ):
        assert a_story_goes_wrong(range(20), "still leads to")
