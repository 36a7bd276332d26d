"""Durations and times: the operator and the API server take the same texts."""

import calendar
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawnai.api.durations import (
    DURATION_ANNOTATION_PATTERN,
    MAX_LENGTH,
    NOW_ANNOTATION_PATTERN,
    TIME_ANNOTATION_PATTERN,
    format_duration,
    format_micro_time,
    format_time,
    is_now,
    parse_duration,
    parse_time,
)

LONGEST_DURATION = timedelta(days=99999, hours=99999, minutes=99999, seconds=999999)


def api_server_takes(pattern: str, text: str) -> bool:
    """As the policy decides: RE2 sees `$` as the end of the text, Python only does in fullmatch."""
    body = pattern.removeprefix("^").removesuffix("$")
    return len(text) <= MAX_LENGTH and re.fullmatch(body, text, re.ASCII) is not None


def operator_reads(parse, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0s", timedelta(0)),
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("3d", timedelta(days=3)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        (" 2h\n", timedelta(hours=2)),
        ("007m", timedelta(minutes=7)),
    ],
)
def test_a_duration_is_read_as_written(text, value):
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "2",
        "2 h",
        "2H",
        "h",
        "-1h",
        "+1h",
        "1.5h",
        "30m1h",
        "1h1h",
        "1w",
        "1h30",
        "∞",
        "\uff12h",
        "\u00a02h",
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(text):
    with pytest.raises(ValueError, match="not a duration: write a duration such as 90m") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@given(
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9999)).map(
        lambda value: timedelta(seconds=int(value.total_seconds()))
    )
)
def test_a_duration_that_is_written_is_read_back(value):
    assert parse_duration(format_duration(value)) == value


def test_a_refusal_shows_only_the_beginning_of_a_long_text():
    with pytest.raises(ValueError, match=r"x\.\.\.' is not a duration") as caught:
        parse_duration("x" * 100_000)
    assert len(str(caught.value)) < 200


# Parts in the right order more often than not, some of them too long.
ALMOST_DURATIONS = st.tuples(
    *(
        st.one_of(st.just(""), st.from_regex(f"[0-9]{{1,7}}{unit}", fullmatch=True))
        for unit in "dhms"
    ),
    st.sampled_from(["", "", " ", "\n", "\u00a0", "s", "d"]),
).map("".join)


@given(st.one_of(st.text(max_size=80), ALMOST_DURATIONS, st.text("0129dhms \n\t")))
def test_the_api_server_takes_exactly_the_durations_that_the_operator_reads(text):
    assert api_server_takes(DURATION_ANNOTATION_PATTERN, text) is operator_reads(
        parse_duration, text
    )


def test_no_duration_leaves_the_calendar_when_it_is_added_to_a_time():
    latest = parse_time("2999-12-31T23:59:59-23:59")
    assert parse_duration("99999d99999h99999m999999s") == LONGEST_DURATION
    assert (latest + LONGEST_DURATION).year < 9999


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-12-24T18:00:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24t18:00:00z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T18:00:00+05:30", datetime(2026, 12, 24, 12, 30, tzinfo=UTC)),
        ("2026-12-31T23:59:59.123456789-01:00", datetime(2027, 1, 1, 0, 59, 59, 123456, UTC)),
        (" 2028-02-29T00:00:00Z\n", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_utc(text, value):
    assert parse_time(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "tomorrow",
        "1766599200",
        "2026-12-24",
        "2026-12-24T18:00:00",
        "2026-12-24 18:00:00Z",
        "2026-12-24T18:00Z",
        "2026-12-24T24:00:00Z",
        "2026-12-24T18:00:60Z",
        "2026-12-24T18:00:00+24:00",
        "2026-12-24T18:00:00+0100",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "\uff12026-12-24T18:00:00Z",
    ],
)
def test_what_is_no_time_is_refused_with_what_to_write(text):
    with pytest.raises(ValueError, match=r"is not a time: write an RFC 3339 time such as 2026-"):
        parse_time(text)


@given(st.one_of(st.text(max_size=80), st.from_regex(TIME_ANNOTATION_PATTERN)))
def test_the_api_server_takes_exactly_the_times_that_the_operator_reads(text):
    assert api_server_takes(TIME_ANNOTATION_PATTERN, text) is operator_reads(parse_time, text)


@pytest.mark.parametrize("year", [1970, 1972, 2000, 2026, 2100, 2400, 2900, 2996, 2999])
def test_the_pattern_knows_the_days_of_every_month(year):
    for month in range(14):
        for day in range(33):
            text = f"{year}-{month:02}-{day:02}T00:00:00Z"
            try:
                datetime.fromisoformat(text)
            except ValueError:
                exists = False
            else:
                exists = True
            assert api_server_takes(TIME_ANNOTATION_PATTERN, text) is exists, text


def test_the_pattern_knows_every_leap_year():
    for year in range(1970, 3000):
        text = f"{year}-02-29T00:00:00Z"
        assert api_server_takes(TIME_ANNOTATION_PATTERN, text) is calendar.isleap(year), text


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
)
def test_a_time_that_is_written_is_read_back_to_the_second(value):
    assert parse_time(format_time(value)) == value.replace(microsecond=0)


@given(st.one_of(st.text(max_size=8), st.text("nowNOW \t\n", max_size=8)))
def test_both_sides_agree_on_now(text):
    assert api_server_takes(NOW_ANNOTATION_PATTERN, text) is is_now(text)


def test_now_may_stand_between_blanks_and_in_capitals():
    assert is_now(" Now\n")
    assert not is_now("now!")
    assert not is_now("\u00a0now")


def test_a_micro_time_has_six_decimals_and_is_in_utc():
    tokyo = timezone(timedelta(hours=9))
    assert format_micro_time(datetime(2026, 11, 1, 21, tzinfo=tokyo)) == (
        "2026-11-01T12:00:00.000000Z"
    )
