"""How many calls fell into one minute, against DigitalOcean's limit for any minute."""

from spawnai_local.bench.crowd import busiest_minute


def test_a_minute_may_begin_anywhere():
    assert busiest_minute([0.0, 50.0, 70.0, 100.0, 109.0]) == 4


def test_a_call_exactly_a_minute_later_is_in_the_next_one():
    assert busiest_minute([0.0, 60.0]) == 1


def test_no_call_is_no_busy_minute():
    assert busiest_minute([]) == 0
