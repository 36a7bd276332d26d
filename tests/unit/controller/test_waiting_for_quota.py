"""The queue for the account's droplet limit is fair over namespaces."""

from datetime import UTC, datetime, timedelta

from spawnai.controller.accounts import WaitingForQuota

BEGIN = datetime(2026, 11, 29, 12, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def served(queue: WaitingForQuota, namespaces: dict[str, str]) -> list[str]:
    """Everyone in the order in which they get their droplets."""
    order = []
    while (uid := queue.first()) is not None:
        order.append(uid)
        queue.served(uid, namespaces[uid])
    return order


def test_the_first_session_of_a_namespace_does_not_wait_for_the_twenty_of_another():
    queue = WaitingForQuota()
    for number in range(20):
        queue.join(f"crowd-{number:02}", at(number), "crowd")
    queue.join("alone", at(100), "small")
    assert queue.position("alone") == 2
    assert queue.position("crowd-01") == 3
    assert queue.must_wait("alone", at(100), "small")
    queue.served("crowd-00", "crowd")
    assert queue.position("alone") == 1
    assert not queue.must_wait("alone", at(100), "small")
    assert queue.must_wait("crowd-01", at(1), "crowd")


def test_namespaces_take_turns_and_the_oldest_of_each_goes_first():
    queue = WaitingForQuota()
    namespaces = {}
    for uid, age, namespace in (
        ("a2", 2, "a"),
        ("a1", 1, "a"),
        ("a3", 3, "a"),
        ("b1", 5, "b"),
        ("b2", 6, "b"),
        ("c1", 9, "c"),
    ):
        namespaces[uid] = namespace
        queue.join(uid, at(age), namespace)
    assert served(queue, namespaces) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_namespace_that_was_served_just_now_does_not_push_in_before_those_that_wait():
    queue = WaitingForQuota()
    queue.join("b1", at(5), "b")
    queue.served("a0", "a")
    assert queue.must_wait("a1", at(1), "a"), "older, but its namespace had the last turn"
    assert not queue.must_wait("b0", at(4), "b")


def test_one_namespace_is_a_plain_queue():
    queue = WaitingForQuota()
    for uid, age in (("second", 2), ("first", 1), ("third", 3)):
        queue.join(uid, at(age), "a")
    assert [queue.position(uid) for uid in ("first", "second", "third")] == [1, 2, 3]
    queue.leave("first")
    assert queue.first() == "second"
    assert queue.position("first") is None


def test_an_empty_queue_remembers_no_turns():
    queue = WaitingForQuota()
    queue.join("a", at(1), "a")
    queue.served("a", "a")
    assert queue.first() is None
    assert not queue.must_wait("b", at(2), "a")
    queue.join("a2", at(3), "a")
    queue.join("b2", at(4), "b")
    assert queue.first() == "a2"
