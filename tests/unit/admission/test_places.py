"""Who begins and who waits under the limits of a class."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from spawnai.admission.places import Begun, ClassLimits, Tally, Waiting, places

NOW = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def waiting(name: str, user: str = "a", *, minutes_ago: int = 0, namespace: str = "n") -> Waiting:
    return Waiting(name, user, namespace, NOW - minutes_ago * MINUTE)


def begun(user: str = "a", *, minutes_ago: int = 60, is_open: bool = True, namespace="n") -> Begun:
    return Begun(user, namespace, NOW - minutes_ago * MINUTE, is_open=is_open)


def may_begin(found) -> set[str]:
    return {uid for uid, place in found.items() if place.may_begin}


def test_without_limits_everyone_begins():
    found = places([waiting("1"), waiting("2")], Tally.of([begun()] * 9), ClassLimits(), NOW)
    assert may_begin(found) == {"1", "2"}


def test_who_has_the_most_running_waits_and_is_told_why():
    limits = ClassLimits(active_per_user=3)
    found = places([waiting("1")], Tally.of([begun()] * 3), limits, NOW)
    assert found["1"].message == "1st of 1: a has 3 of 3 running"
    assert found["1"].look_again_at is None


def test_a_session_that_ended_leaves_its_place():
    limits = ClassLimits(active_per_user=1)
    found = places([waiting("1")], Tally.of([begun(is_open=False)]), limits, NOW)
    assert may_begin(found) == {"1"}


def test_as_many_begin_together_as_there_is_room():
    limits = ClassLimits(active_per_user=3)
    orders = [waiting(str(n), minutes_ago=9 - n) for n in range(5)]
    assert may_begin(places(orders, Tally.of([begun()]), limits, NOW)) == {"0", "1"}


def test_deleting_a_session_does_not_take_back_that_it_began():
    limits = ClassLimits(new_per_user=2)
    ended = [begun(minutes_ago=ago, is_open=False) for ago in (14, 3)]
    place = places([waiting("1")], Tally.of(ended), limits, NOW)["1"]
    assert place.reason == "a has ordered 2 in 15 minutes, 2 are allowed"
    assert place.look_again_at == NOW + MINUTE


@pytest.mark.parametrize(("seconds", "begins"), [(899, False), (900, True)])
def test_a_start_counts_for_fifteen_minutes(seconds, begins):
    limits = ClassLimits(new_per_user=1)
    start = Begun("a", "n", NOW - timedelta(seconds=seconds), is_open=False)
    assert places([waiting("1")], Tally.of([start]), limits, NOW)["1"].may_begin is begins


def test_users_take_turns_and_each_users_own_are_in_order():
    limits = ClassLimits(active_per_namespace=3)
    orders = [waiting(f"a{n}", minutes_ago=20 - n) for n in range(6)]
    orders += [waiting("b0", "b", minutes_ago=2), waiting("c0", "c", minutes_ago=1)]
    found = places(orders, Tally(), limits, NOW)
    assert may_begin(found) == {"a0", "b0", "c0"}
    assert [found[f"a{n}"].position for n in range(1, 6)] == [1, 2, 3, 4, 5]


def test_who_has_had_no_turn_comes_before_who_ordered_first():
    limits = ClassLimits(active_per_namespace=2)
    orders = [waiting(f"a{n}", minutes_ago=20 - n) for n in range(6)] + [waiting("b0", "b")]
    open_one, ended_one = begun(), begun(minutes_ago=5, is_open=False)
    assert may_begin(places(orders, Tally.of([open_one]), limits, NOW)) == {"b0"}
    # Otherwise short sessions of one user would take each place that they leave.
    assert may_begin(places(orders, Tally.of([ended_one, begun("c")]), limits, NOW)) == {"b0"}
    long_ago = Tally.of([begun(is_open=False), begun("c")])
    assert may_begin(places(orders, long_ago, limits, NOW)) == {"a0"}


def test_another_users_limit_is_no_reason_to_wait():
    limits = ClassLimits(active_per_user=1)
    orders = [waiting("a1", minutes_ago=9), waiting("b1", "b")]
    assert may_begin(places(orders, Tally.of([begun()]), limits, NOW)) == {"b1"}


def test_a_thousand_orders_are_shared_out_fairly():
    limits = ClassLimits(active_per_user=100, active_per_namespace=101)
    orders = [waiting(f"{n}", f"user-{n % 50}", minutes_ago=n) for n in range(1000)]
    found = places(orders, Tally(), limits, NOW)
    shares = [0] * 50
    for uid in may_begin(found):
        shares[int(uid) % 50] += 1
    assert sum(shares) == 101
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("count", "says"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd")]
)
def test_places_are_written_as_people_say_them(count, says):
    limits = ClassLimits(active_per_namespace=1)
    orders = [waiting(f"{n:02}", minutes_ago=60 - n) for n in range(count)]
    found = places(orders, Tally.of([begun()]), limits, NOW)
    assert found[f"{count - 1:02}"].message.startswith(f"{says} of {count}: ")


def test_a_tally_that_followed_every_change_is_the_one_of_what_is_left():
    random = Random(4)
    followed, left = Tally(), {}
    for _ in range(2_000):
        uid = str(random.randrange(40))
        if random.random() < 0.3:
            followed.drop(uid)
            left.pop(uid, None)
        else:
            left[uid] = begun(
                random.choice("ab"),
                minutes_ago=random.randrange(30),
                is_open=random.random() < 0.5,
                namespace=random.choice("nm"),
            )
            followed.put(uid, left[uid])
    counted = Tally.of(left.values())
    for user, namespace in (("a", "n"), ("b", "m"), ("nobody", "nowhere")):
        assert followed.open_of_user(user) == counted.open_of_user(user)
        assert followed.open_of_namespace(namespace) == counted.open_of_namespace(namespace)
        assert followed.recent_starts(user, NOW) == counted.recent_starts(user, NOW)
    assert counted.recent_starts("a", NOW), "something was counted"
