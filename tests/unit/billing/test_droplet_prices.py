"""What a droplet costs: by the second, with a minimum, capped in each calendar month."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawnai.billing.droplet_prices import droplet_cost, droplet_cost_between

LIGHT = Decimal("0.00893")
COMPLEX = Decimal("0.03571")
HOUR = 3600


@pytest.mark.parametrize(
    ("price", "seconds", "expected"),
    [
        # One cent is the least, and LIGHT reaches it after 4,032 s (1 h 7 min 12 s).
        (LIGHT, 0, "0.01"),
        (LIGHT, 59, "0.01"),
        (LIGHT, 4031, "0.01"),
        (LIGHT, 2 * HOUR, "0.01786"),
        (COMPLEX, 72 * HOUR, "2.57112"),
        (COMPLEX, HOUR + 0.5, "0.035714959722"),
        # A price at which 60 seconds are more than one cent: then the 60 seconds count.
        (Decimal("6.00"), 1, "0.1"),
        (Decimal("6.00"), 60, "0.1"),
        (Decimal("6.00"), 61, "0.101666666667"),
        # 672 hours are the most of a month.
        (LIGHT, 672 * HOUR, "6.00096"),
        (LIGHT, 700 * HOUR, "6.00096"),
        (LIGHT, 730 * HOUR + HOUR, "6.00989"),
    ],
)
def test_the_cost_of_a_time(price, seconds, expected):
    assert droplet_cost(price, seconds).quantize(Decimal("1e-12")) == Decimal(expected)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-02-01T00:00", "2026-03-01T00:00", 672),
        ("2026-01-01T00:00", "2026-02-01T00:00", 672),
        ("2026-01-31T23:00", "2026-02-01T01:00", 2),
        ("2026-01-01T00:00", "2026-03-01T00:00", 2 * 672),
        # 20 days in November and 20 in December: neither month reaches its cap.
        ("2026-11-11T00:00", "2026-12-21T00:00", 40 * 24),
        ("2026-12-31T12:00", "2027-01-01T12:00", 24),
    ],
)
def test_each_calendar_month_has_its_own_cap(start, end, hours):
    begin, finish = (datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (start, end))
    assert droplet_cost_between(LIGHT, begin, finish) == LIGHT * hours


def test_months_are_utc_months_whatever_zone_a_time_is_written_in():
    zone = datetime.fromisoformat("2026-02-01T00:30:00+01:00")
    assert droplet_cost_between(COMPLEX, zone, zone + timedelta(hours=3)) == COMPLEX * 3


@given(
    st.integers(min_value=0, max_value=28 * 24 * HOUR),
    st.decimals(min_value="0.00893", max_value="3", places=5),
)
def test_within_a_month_both_agree_and_money_stays_exact(seconds, price):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    by_dates = droplet_cost_between(price, start, start + timedelta(seconds=seconds))
    assert droplet_cost(price, seconds) == by_dates
    assert isinstance(by_dates, Decimal)
    assert by_dates >= Decimal("0.01")


def test_a_time_that_runs_backwards_is_a_mistake_and_no_cost():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="cannot have ended before"):
        droplet_cost_between(LIGHT, start, start - timedelta(seconds=1))
    with pytest.raises(ValueError, match="exchanged"):
        droplet_cost(LIGHT, -1)
    with pytest.raises(ValueError, match="negative"):
        droplet_cost(Decimal(-1), 1)
