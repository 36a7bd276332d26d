"""What a pool keeps, orders and gives up, what becomes of a spare, and which one is taken."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spawnai.lifecycle.beside import OwnDroplet
from spawnai.lifecycle.kinds import Placement
from spawnai.lifecycle.pooling import (
    BOOTS_WITHIN,
    COOLDOWN,
    FAILURE_PAUSE,
    MARGIN,
    MOST_FAILURES,
    NEVER_READY,
    NO_ROOM,
    REFUSED,
    SILENCE,
    TAKEN,
    Abandon,
    Circumstances,
    Close,
    Holder,
    OfferedSpare,
    Order,
    Remove,
    Spare,
    Wait,
    Wanted,
    choose_spare,
    contents_of,
    keep_spares,
    plan_spare,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
HERE, THERE = Placement("nyc3", "s-1vcpu-1gb"), Placement("sfo3", "s-1vcpu-1gb")
WANTED = Wanted(HERE, "same", replicas=2, min_ready=0, max_total=None, max_age=timedelta(hours=24))
FREE = Circumstances()
NOTHING = Spare("new", NOW, HERE, "same")
BOOTING = replace(
    NOTHING, uid="booting", droplets=(OwnDroplet(1, "new", locked=False),), had_droplet=True
)
READY = replace(
    BOOTING, uid="ready", droplets=(OwnDroplet(2, "active", locked=False),), is_ready=True
)


def ready(uid, minutes=0, **changes):
    return replace(READY, uid=uid, begun_at=NOW - timedelta(minutes=minutes), **changes)


def keep(*spares, wanted=WANTED, now=NOW, **around):
    return keep_spares(spares, wanted, replace(FREE, **around), now)


def test_a_pool_orders_as_many_as_it_wants():
    assert keep().begin == 2


def test_what_is_ordered_and_not_listed_yet_counts():
    assert keep(NOTHING, BOOTING).begin == 0
    assert keep(NOTHING).begin == 1


def test_one_that_was_taken_is_replaced_at_once():
    kept = ready("kept")
    assert keep(kept, ready("taken", holder=Holder.UNDECIDED)).begin == 1
    assert keep(kept, ready("taken", holder=Holder.LISTS), claimed=1).begin == 1


def test_only_what_is_ready_is_offered():
    assert keep(READY, BOOTING).offered == {"ready"}
    silent = ready("silent", is_ready=False, silent_since=NOW)
    assert keep(READY, silent).offered == {"ready"}


@pytest.mark.parametrize(
    "spare",
    [ready("one", place=THERE), ready("one", contents="other")],
    ids=["of another place", "that boots with something else"],
)
def test_a_spare_that_no_session_could_take_goes_and_is_replaced(spare):
    keeping = keep(spare)
    assert keeping.endings == {"one": "Outdated"}
    assert keeping.begin == 2
    assert not keeping.offered


def test_spares_and_what_sessions_use_stay_within_max_total():
    capped = replace(WANTED, max_total=3)
    assert keep(wanted=capped, claimed=2).begin == 1
    assert keep(wanted=capped, claimed=3).begin == 0
    assert keep(wanted=capped, claimed=3).missing == 2
    leaving = ready("leaving", ending="ScaledDown")
    taken = ready("taken", holder=Holder.UNDECIDED)
    assert keep(leaving, taken, wanted=capped, claimed=1).begin == 0


def test_too_many_spares_go_after_a_while_and_those_that_only_boot_first():
    old, young = ready("old", minutes=5), ready("young", minutes=1)
    smaller = replace(WANTED, replicas=1)
    assert keep(old, young, BOOTING, wanted=smaller).has_excess
    assert keep(old, young, BOOTING, wanted=smaller, excess_since=NOW).endings == {}
    later = NOW + COOLDOWN
    endings = keep(old, young, BOOTING, wanted=smaller, now=later, excess_since=NOW).endings
    assert endings == {"booting": "ScaledDown", "old": "ScaledDown"}


def test_a_pool_of_none_gives_all_of_them_up_and_a_deleted_one_at_once():
    none = replace(WANTED, replicas=0)
    later = NOW + COOLDOWN
    assert set(keep(READY, wanted=none, now=later, excess_since=NOW).endings) == {"ready"}
    assert keep_spares([READY, BOOTING], None, FREE, NOW).endings == {
        "ready": "NotWanted",
        "booting": "NotWanted",
    }


def test_what_a_session_has_taken_is_no_longer_the_pools_to_give_up():
    taken = ready("taken", holder=Holder.LISTS)
    assert keep_spares([taken], None, FREE, NOW).endings == {}
    outdated = ready("taken", holder=Holder.UNDECIDED, contents="other")
    assert keep(outdated).endings == {}


def test_one_that_has_aged_goes_and_another_one_is_ordered():
    aged = ready("aged", minutes=24 * 60)
    keeping = keep(aged, READY)
    assert keeping.endings == {"aged": "Aged"}
    assert keeping.begin == 1


def test_one_that_has_aged_stays_until_enough_others_are_ready():
    careful = replace(WANTED, min_ready=1)
    aged = ready("aged", minutes=24 * 60)
    keeping = keep(aged, BOOTING, wanted=careful)
    assert keeping.endings == {}
    assert keeping.begin == 1
    assert keeping.offered == {"aged"}
    assert keep(aged, READY, wanted=careful).endings == {"aged": "Aged"}


def test_one_that_has_aged_goes_where_it_takes_the_place_of_the_next():
    careful = replace(WANTED, min_ready=1, replicas=1, max_total=1)
    keeping = keep(ready("aged", minutes=24 * 60), wanted=careful)
    assert keeping.endings == {"aged": "Aged"}


def test_none_stays_until_its_switch_ends_it():
    careful = replace(WANTED, min_ready=2)
    minutes = (WANTED.max_age + MARGIN / 2).total_seconds() / 60
    assert keep(ready("aged", minutes=minutes), wanted=careful).endings == {"aged": "Aged"}


def test_one_that_does_not_come_up_is_given_up():
    late = NOW + BOOTS_WITHIN
    assert keep(BOOTING, now=late - timedelta(seconds=1)).endings == {}
    assert keep(BOOTING, now=late).endings == {"booting": NEVER_READY}


def test_one_that_has_fallen_silent_is_given_up_and_never_offered():
    silent = ready("silent", is_ready=False, silent_since=NOW)
    assert keep(silent).endings == {}
    assert keep(silent, now=NOW + SILENCE).endings == {"silent": "Silent"}


def test_three_failures_in_a_row_end_the_trying_for_a_while_and_count_until_one_succeeds():
    failed = {"failures": MOST_FAILURES, "failed_at": NOW}
    assert keep(failures=MOST_FAILURES - 1, failed_at=NOW).begin == 2
    keeping = keep(**failed)
    assert (keeping.begin, keeping.missing, keeping.has_failed) == (0, 2, True)
    keeping = keep(now=NOW + FAILURE_PAUSE, **failed)
    assert (keeping.begin, keeping.has_failed) == (2, True)


def test_nothing_is_ordered_while_sessions_need_what_it_takes():
    assert keep(held_up="calls are needed for deletions").begin == 0
    assert keep(READY, held_up="calls are needed for deletions").endings == {}


def test_a_spare_goes_for_each_session_that_waits_for_the_droplet_limit():
    old, young = ready("old", minutes=5), ready("young", minutes=1)
    assert keep(old, young, sessions_wait=1, held_up="x").endings == {"old": "GaveWay"}
    leaving = ready("leaving", ending="GaveWay")
    assert keep(young, leaving, sessions_wait=1, held_up="x").endings == {}
    assert set(keep(old, young, sessions_wait=5, held_up="x").endings) == {"old", "young"}


def test_a_ledger_that_a_person_deletes_takes_its_spare_along():
    assert keep(ready("mine", deleted=True)).endings == {"mine": "Deleted"}


# One spare.


def test_its_droplet_is_ordered_once_a_lost_answer_is_settled():
    assert plan_spare(NOTHING, NOW) == Order()
    unclear = replace(NOTHING, settles_at=NOW + timedelta(seconds=5))
    assert plan_spare(unclear, NOW) == Wait()
    assert plan_spare(unclear, NOW + timedelta(seconds=5)) == Order()


def test_of_two_droplets_of_one_order_the_second_goes():
    second = OwnDroplet(9, "active", locked=False)
    assert plan_spare(replace(READY, droplets=(second, *READY.droplets)), NOW) == Remove(9)
    new = OwnDroplet(9, "new", locked=True, shows_marks=False)
    assert plan_spare(replace(READY, droplets=(new, *READY.droplets)), NOW) == Wait()


def test_it_is_written_that_it_is_given_up_before_it_is_deleted():
    assert plan_spare(READY, NOW, abandon="Aged") == Abandon("Aged")
    given_up = replace(READY, ending="Aged")
    assert plan_spare(given_up, NOW) == Remove(2)
    assert plan_spare(replace(given_up, droplets=()), NOW) == Close("Aged")


def test_what_may_still_come_keeps_its_ledger_open():
    unclear = replace(NOTHING, ending=REFUSED, settles_at=NOW + timedelta(seconds=5))
    assert plan_spare(unclear, NOW) == Wait()
    locked = replace(READY, ending="Aged", droplets=(OwnDroplet(2, "new", locked=True),))
    assert plan_spare(locked, NOW) == Wait()


def test_one_that_somebody_else_deleted_is_given_up():
    assert plan_spare(replace(READY, droplets=()), NOW) == Abandon("SpareGone")


@pytest.mark.parametrize("refused", [REFUSED, NO_ROOM])
def test_an_order_that_was_refused_ends_its_spare(refused):
    assert plan_spare(replace(NOTHING, refused=refused), NOW) == Abandon(refused)


def test_one_that_a_session_is_taking_is_left_alone():
    assert plan_spare(replace(READY, holder=Holder.UNDECIDED), NOW, abandon="Aged") == Wait()


def test_its_ledger_is_closed_once_its_droplet_wears_the_sessions_marks_only():
    taken = replace(READY, holder=Holder.LISTS)
    assert plan_spare(taken, NOW) == Wait()
    handed_over = replace(
        taken, droplets=(OwnDroplet(2, "active", locked=False, shows_marks=False),)
    )
    assert plan_spare(handed_over, NOW) == Close(TAKEN)
    assert plan_spare(replace(taken, droplets=()), NOW) == Close(TAKEN)


def test_one_whose_session_ended_before_it_had_it_is_given_up():
    over = replace(READY, holder=Holder.OVER)
    assert plan_spare(over, NOW) == Abandon(TAKEN)
    assert plan_spare(replace(over, droplets=()), NOW) == Close(TAKEN)


# The choice.


def offer(uid, place=HERE, minutes=0, **changes):
    return OfferedSpare(uid, "1", place, NOW - timedelta(minutes=minutes), **changes)


def test_a_session_takes_the_oldest_spare_of_its_best_place():
    offered = [offer("young"), offer("old", minutes=9), offer("oldest", THERE, minutes=99)]
    assert choose_spare(offered, [HERE, THERE]).uid == "old"
    assert choose_spare(offered, [THERE, HERE]).uid == "oldest"
    assert choose_spare(offered, [Placement("ams3", "s-1vcpu-1gb")]) is None


def test_a_session_goes_on_with_the_spare_that_is_its_already():
    offered = [offer("old", minutes=9), offer("mine", THERE, is_held=True)]
    assert choose_spare(offered, [HERE]).uid == "mine"


def test_a_digest_tells_apart_what_spares_boot_with():
    assert contents_of({"image": "a", "ports": [1]}) == contents_of({"ports": [1], "image": "a"})
    assert contents_of({"image": "a"}) != contents_of({"image": "b"})
