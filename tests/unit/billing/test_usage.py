"""What the agent measured, as factors of a price."""

from datetime import timedelta
from decimal import Decimal

import pytest

from spawnai.api.record import RecordStatus, UsageTotals
from spawnai.billing.ledger import merged, write_within
from spawnai.billing.usage import ALL_BUSY, AS_USUAL, Factors, Sample, factors_of, with_usage

HOUR = timedelta(hours=1)


def measured(*samples: Sample, ran: timedelta = HOUR) -> Factors:
    return factors_of(with_usage(RecordStatus(), samples, len(samples)).usage, ran)


@pytest.mark.parametrize(
    ("percent", "factor"),
    [(100, "1.2"), (80.1, "1.2"), (80, "1"), (30, "1"), (29.9, "0.8"), (0, "0.8")],
)
def test_more_than_80_percent_costs_more_and_less_than_30_less(percent, factor):
    assert measured(Sample(3600, percent, 50)).cpu == Decimal(factor)
    assert measured(Sample(3600, 50, percent)).memory == Decimal(factor)


def test_what_was_not_measured_counts_as_usual():
    assert measured() == AS_USUAL
    assert factors_of(None, HOUR) == AS_USUAL
    half = [Sample(60, 90, 50)] * 30
    assert measured(*half) == Factors(Decimal("1.1"), Decimal(1))


def test_samples_are_weighted_by_their_time():
    assert measured(Sample(2400, 90, 50), Sample(1200, 10, 50)).cpu == 1 + Decimal("0.2") / 3


def test_an_agent_that_lies_says_at_most_that_all_was_busy():
    ever = [Sample(86_000, 100, 100)] * 50
    assert measured(*ever) == ALL_BUSY
    assert measured(*ever, ran=timedelta()) == ALL_BUSY


def test_samples_are_added_to_those_before():
    first = with_usage(RecordStatus(), [Sample(60.0, 90, 10)], 1)
    second = with_usage(first, [Sample(59.7, 10, 50)], 2)
    assert second.usage == UsageTotals(
        next=2,
        measured_seconds=120,
        cpu_busy_seconds=60,
        cpu_idle_seconds=60,
        memory_idle_seconds=60,
    )


def test_what_was_measured_is_written_with_other_news_or_each_twelve_hours():
    stored = RecordStatus()
    known = stored
    for minute in range(12 * 60):
        known = with_usage(known, [Sample(60, 50, 50)], minute + 1)
    assert write_within(stored, known) is None
    assert write_within(stored, with_usage(known, [Sample(60, 50, 50)], 721)) == timedelta()
    assert write_within(known, known) is None


def test_two_writers_keep_what_was_measured_longer():
    longer, shorter = (
        with_usage(RecordStatus(), [Sample(60, 50, 50)] * count, count) for count in (3, 2)
    )
    assert merged(longer, shorter).usage == merged(shorter, longer).usage == longer.usage
    assert merged(RecordStatus(), shorter).usage == shorter.usage
