"""When a session ends. Each test says the times in words; edges are tested a second each side."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawnai.lifecycle.expiry import Expiry, Limits, Wish, read_wish, resolve

READY = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIMITS = Limits(
    default_ttl=timedelta(hours=2), maximum=timedelta(hours=72), notice=timedelta(minutes=2)
)


def at(**time: float) -> datetime:
    return READY + timedelta(**time)


def resolved(ttl=None, expires_at=None, *, now, promised=None, ready_at=READY) -> Expiry:
    wish = read_wish(ttl, expires_at)
    return resolve(wish, LIMITS, ready_at=ready_at, promised=promised, now=now)


def test_a_promise_is_kept_under_a_wrong_annotation_but_never_beyond_the_maximum():
    assert resolved("soon", now=at(minutes=1), promised=at(days=400)).time == at(hours=72)


def test_without_annotations_the_tier_s_default_counts_from_ready():
    assert resolved(now=at(minutes=1)).time == at(hours=2)


def test_ttl_counts_from_ready():
    assert resolved("90m", now=at(minutes=1)).time == at(minutes=90)


def test_ttl_does_not_count_before_ready():
    assert resolved("90m", now=at(minutes=1), ready_at=None).time is None


def test_expires_at_wins_over_ttl_when_it_is_later():
    assert resolved("1h", "2026-11-23T18:00:00Z", now=at(minutes=1)).time == at(hours=6)


def test_expires_at_wins_over_ttl_when_it_is_earlier():
    assert resolved("10h", "2026-11-23T13:00:00Z", now=at(minutes=1)).time == at(hours=1)


def test_expires_at_holds_before_ready():
    expiry = resolved("10h", "2026-11-23T13:00:00Z", now=at(minutes=-5), ready_at=None)
    assert expiry.time == at(hours=1)


@pytest.mark.parametrize("over", [False, True])
def test_the_class_s_maximum_caps_both(over):
    seconds = 72 * 3600 + (1 if over else 0)
    by_ttl = resolved(f"{seconds}s", now=at(minutes=1))
    by_time = resolved(expires_at=f"2026-11-26T12:00:0{1 if over else 0}Z", now=at(minutes=1))
    assert by_ttl == by_time == Expiry(at(hours=72), capped=over)


def test_a_change_that_lands_in_the_past_gives_the_notice():
    # promised 14:00, at 13:00 the ttl becomes 30m (12:30, past): ends at 13:02
    expiry = resolved("30m", now=at(hours=1), promised=at(hours=2))
    assert expiry == Expiry(at(hours=1, minutes=2), on_notice=True)


def test_the_notice_does_not_start_again_at_every_look():
    first = resolved("30m", now=at(hours=1), promised=at(hours=2)).time
    again = resolved("30m", now=at(hours=1, seconds=90), promised=first).time
    assert again == first


def test_a_notice_never_lengthens_a_life():
    # promised to end in 10 s; a change into the past does not give two minutes more
    expiry = resolved("1s", now=at(hours=2) - timedelta(seconds=10), promised=at(hours=2))
    assert expiry.time == at(hours=2)


def test_a_change_that_lands_one_second_ahead_is_taken_as_it_is():
    now = at(minutes=30) - SECOND
    assert resolved("30m", now=now, promised=at(hours=2)) == Expiry(at(minutes=30))


@pytest.mark.parametrize(
    ("ttl", "expires_at"), [("0s", None), (None, "now"), ("5h", "NOW"), ("5h", " now ")]
)
def test_zero_and_now_end_it_now(ttl, expires_at):
    now = at(minutes=30)
    assert resolved(ttl, expires_at, now=now, promised=at(hours=2)).time == now


def test_an_end_that_was_now_stays_when_it_was():
    then = at(minutes=30)
    assert resolved("0s", now=then + SECOND, promised=then).time == then


def test_an_extension_after_the_end_counts_while_nothing_was_destroyed():
    assert resolved("5h", now=at(hours=3), promised=at(hours=2)).time == at(hours=5)


def test_an_expiry_that_has_passed_stays_passed():
    assert resolved("2h", now=at(hours=2), promised=at(hours=2)).time == at(hours=2)


@pytest.mark.parametrize("ttl", ["", "soon", "90", "1.5h", "-1h", "1h 30m", "30m1h", "\uff11h"])
def test_a_ttl_that_is_no_duration_keeps_the_last_good_expiry_and_says_what_to_write(ttl):
    expiry = resolved(ttl, now=at(minutes=1), promised=at(hours=1))
    assert expiry.time == at(hours=1)
    assert "write a duration such as 90m" in (expiry.problem or "")


@pytest.mark.parametrize("time", ["tomorrow", "2026-11-23", "2026-11-23T13:00:00", "13:00Z"])
def test_a_time_that_is_no_rfc_3339_keeps_the_last_good_expiry(time):
    expiry = resolved("5h", time, now=at(minutes=1), promised=at(hours=1))
    assert expiry.time == at(hours=1)
    assert "RFC 3339" in (expiry.problem or "")


def test_an_invalid_value_on_a_session_that_becomes_ready_gets_the_default():
    expiry = resolved("soon", now=at(), promised=None)
    assert expiry.time == at(hours=2)
    assert expiry.problem is not None


@given(
    ttl=st.integers(0, 200 * 3600),
    now=st.integers(0, 200 * 3600),
    promised=st.none() | st.integers(0, 72 * 3600),
)
def test_no_wish_ever_passes_the_cap(ttl, now, promised):
    expiry = resolve(
        Wish(ttl=timedelta(seconds=ttl)),
        LIMITS,
        ready_at=READY,
        promised=None if promised is None else at(seconds=promised),
        now=at(seconds=now),
    )
    assert expiry.time is not None
    assert expiry.time <= at(hours=72)
