from spawnai.console.rate_limit import RateLimit


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return self.seconds


def test_a_quarter_of_a_minutes_requests_may_come_at_once():
    limit = RateLimit(120, Clock())
    assert [limit.take("dana") for _ in range(30)] == [None] * 30
    assert limit.take("dana") == 0.5


def test_what_was_used_comes_back_with_time():
    clock = Clock()
    limit = RateLimit(4, clock)
    assert limit.take("dana") is None
    assert limit.take("dana") == 15.0
    clock.seconds = 14.9
    assert limit.take("dana") is not None
    clock.seconds = 15.0
    assert limit.take("dana") is None


def test_one_caller_takes_nothing_from_another():
    limit = RateLimit(4, Clock())
    assert limit.take("dana") is None
    assert limit.take("dana") is not None
    assert limit.take("ines") is None
