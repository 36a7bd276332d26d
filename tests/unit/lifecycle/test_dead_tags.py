"""A tag is dead when no new droplet can come to carry it."""

from datetime import UTC, datetime, timedelta

import pytest

from spawnai.lifecycle.dead_tags import dead_tags

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND = timedelta(seconds=1)


def ttl(time: datetime) -> str:
    return f"ttl:{int(time.timestamp())}"


def wave(time: datetime) -> str:
    return f"wave:{time:%Y%m%d%H%M}"


@pytest.mark.parametrize(
    ("name", "dead"),
    [
        ("session:closed-for-an-hour", True),
        ("session:closed-just-now", False),
        ("session:of-another-cluster", False),
        (ttl(NOW - DAY), True),
        (ttl(NOW - DAY + SECOND), False),
        (ttl(NOW + DAY), False),
        (wave(NOW - DAY), True),
        (wave(NOW - DAY + timedelta(minutes=10)), False),
        ("ttl:", False),
        ("ttl:soon", False),
        ("ttl:99999999999999999999", False),
        ("wave:1", False),
        ("wave:somewhere", False),
        ("spawn-ai", False),
        ("cluster:1", False),
        ("class:1", False),
        ("production", False),
    ],
)
def test_only_what_names_an_ended_session_or_a_time_long_over_is_dead(name, dead):
    closed = {"closed-for-an-hour": NOW - HOUR, "closed-just-now": NOW - HOUR + SECOND}
    assert dead_tags([(name, 0)], closed, NOW) == ([name] if dead else [])
    assert dead_tags([(name, 1)], closed, NOW) == [], "something carries it"
