"""How long a campaign waits for what must come true."""

import time

import pytest

from spawnai_local.chaos.world import seconds_left


def test_the_time_to_end_is_counted_from_the_last_kill_since_it_was_waited_for():
    now = time.time()
    assert seconds_left(now - 100, 150, []) == pytest.approx(50, abs=1)
    assert seconds_left(now - 100, 150, [(now - 300, now - 295)]) == pytest.approx(50, abs=1)
    killed_twice = [(now - 95, now - 90), (now - 15, now - 10)]
    assert seconds_left(now - 100, 150, killed_twice) == pytest.approx(140, abs=1)
