"""How a SpawnPool says that it stands: for people, for kstatus and for an autoscaler."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.unit.lifecycle.test_pooling import BOOTING, FREE, READY

from spawnai.api.pool import PoolSpec, PoolStatus
from spawnai.controller.pools.state import Problem, Stand, status_of
from spawnai.controller.store import StoredPool
from spawnai.lifecycle.pooling import Holder, Keeping

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
KEEP = Keeping({})


def stored(**spec):
    wanted = PoolSpec(class_name="standard", **spec)
    return StoredPool(1, "spares", "uid", 3, wanted, None, PoolStatus())


def said(pool, stand):
    status = status_of(pool, stand, NOW)
    return {one.type: (str(one.status), one.reason) for one in status.conditions}


def test_it_counts_what_there_is_and_what_is_ordered_just_now():
    leaving = replace(READY, uid="leaving", ending="Aged")
    taken = replace(READY, uid="taken", holder=Holder.LISTS)
    around = replace(FREE, claimed=4)
    stand = Stand([READY, BOOTING, leaving, taken], replace(KEEP, begin=1), around, None)
    status = status_of(stored(replicas=3), stand, NOW)
    counts = (status.ready, status.booting, status.leaving, status.claimed, status.replicas)
    assert counts == (1, 2, 1, 4, 3)
    assert status.selector == "spawn-ai.com/pool=spares"
    assert status.observed_generation == 3


def test_it_is_ready_with_min_ready_spares_and_not_in_progress_while_others_boot():
    stand = Stand([READY, BOOTING], KEEP, FREE, None)
    assert said(stored(replicas=2, min_ready=1), stand) == {"Ready": ("True", "SparesReady")}
    assert said(stored(replicas=2, min_ready=2), stand) == {
        "Ready": ("False", "Booting"),
        "Reconciling": ("True", "Booting"),
    }


def test_a_pool_of_none_is_ready():
    pool = stored(replicas=0, min_ready=1)
    assert said(pool, Stand([], KEEP, FREE, None)) == {"Ready": ("True", "SparesReady")}


def test_it_says_what_holds_it_up():
    around = replace(FREE, held_up="sessions wait for the account's droplet limit, and go first")
    stand = Stand([], replace(KEEP, missing=1), around, None)
    status = status_of(stored(min_ready=1), stand, NOW)
    [ready] = [one for one in status.conditions if one.type == "Ready"]
    assert ready.reason == "WaitingForRoom"
    assert ready.message == (
        "0 of 1 spares are ready; sessions wait for the account's droplet limit, and go first"
    )


@pytest.mark.parametrize(("for_a_person", "also"), [(True, "Stalled"), (False, "Reconciling")])
def test_what_a_person_has_to_mend_is_stalled_and_what_may_appear_is_in_progress(
    for_a_person, also
):
    problem = Problem("ClassNotFound", "there is no SpawnClass", for_a_person=for_a_person)
    assert said(stored(), Stand([], KEEP, FREE, problem)) == {
        "Ready": ("False", "ClassNotFound"),
        also: ("True", "ClassNotFound"),
    }


def test_refills_that_failed_are_told_with_digitaloceans_words():
    around = replace(FREE, failures=3, failed_at=NOW)
    stand = Stand([], replace(KEEP, has_failed=True), around, None, "no such size")
    status = status_of(stored(), stand, NOW)
    [stalled] = [one for one in status.conditions if one.type == "Stalled"]
    assert stalled.reason == "RefillsFailed"
    assert stalled.message.startswith("3 spares in a row came to nothing (no such size): ")
