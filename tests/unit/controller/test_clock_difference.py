"""By how much the clocks differ, and who is told."""

from datetime import UTC, datetime, timedelta

import pytest

from spawnai.clock import seconds_ahead
from spawnai.controller.clock_difference import DIGITALOCEAN, KUBERNETES, ClockDifference

SENT = datetime(2026, 11, 29, 12, 0, 0, 900_000, tzinfo=UTC)
ANSWERED = SENT + timedelta(seconds=0.4)


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        # The server wrote it in the second in which the call was sent, or in which it was answered.
        ("Sun, 29 Nov 2026 12:00:00 GMT", 0.0),
        ("Sun, 29 Nov 2026 12:00:01 GMT", 0.0),
        # It was 11:59:59.999 at the latest when the answer was written: at least 0.9 s.
        ("Sun, 29 Nov 2026 11:59:59 GMT", pytest.approx(0.9)),
        ("Sun, 29 Nov 2026 12:00:03 GMT", pytest.approx(-1.7)),
        ("Sun, 29 Nov 2026 11:00:00 GMT", pytest.approx(3599.9)),
        ("", None),
        (None, None),
        ("yesterday", None),
        ("Sun, 29 Nov 99999 12:00:00 GMT", None),
    ],
)
def test_only_what_a_date_of_whole_seconds_proves_counts(date, ahead):
    assert seconds_ahead(date, SENT, ANSWERED) == ahead


def test_a_difference_of_minutes_is_told_once_and_its_end_too(caplog):
    measured: list[tuple[str, float]] = []
    difference = ClockDifference(lambda *news: measured.append(news))
    difference.note(KUBERNETES, 0.0)
    difference.note(DIGITALOCEAN, 59.0)
    assert difference.words() == ""
    for ahead in (250.0, 255.0, None):
        difference.note(DIGITALOCEAN, ahead)
    assert difference.words() == (
        "the operator's clock is 4 min ahead of DigitalOcean's: set it (NTP), or sessions end at "
        "the wrong time"
    )
    difference.note(KUBERNETES, -7200.0)
    assert "120 min behind Kubernetes's" in difference.words()
    difference.note(KUBERNETES, 0.0)
    difference.note(DIGITALOCEAN, 0.0)
    assert difference.words() == ""
    assert len(caplog.records) == 4
    assert measured == [
        (KUBERNETES, 0.0),
        (DIGITALOCEAN, 59.0),
        (DIGITALOCEAN, 250.0),
        (DIGITALOCEAN, 255.0),
        (KUBERNETES, -7200.0),
        (KUBERNETES, 0.0),
        (DIGITALOCEAN, 0.0),
    ]
