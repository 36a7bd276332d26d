"""Durations (``1h30m``) and points in time (RFC 3339) as users write them.

The admission policy and the rules of the CRDs are made from the patterns of this file, so that the
API server and the operator read the same text the same way. The patterns therefore keep to what
RE2 (the API server) and Python both know, and to ASCII.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

# Generous: the longest duration has 25 characters, the longest time 35.
MAX_LENGTH = 64

_BLANKS = " \t\r\n"
_BLANK_PATTERN = r"[\x20\t\r\n]*"

# Each group is bounded so that no sum can leave what a timedelta or a datetime can hold.
_DAYS, _HOURS, _MINUTES, _SECONDS = (
    "([0-9]{1,5}d)",
    "([0-9]{1,5}h)",
    "([0-9]{1,5}m)",
    "([0-9]{1,6}s)",
)
# At least one unit must be there, hence an alternative for each unit that may come first.
_DURATION_BODY = (
    f"({_DAYS}{_HOURS}?{_MINUTES}?{_SECONDS}?"
    f"|{_HOURS}{_MINUTES}?{_SECONDS}?"
    f"|{_MINUTES}{_SECONDS}?"
    f"|{_SECONDS})"
)
# RFC 3339, section 5.6, with the days that a month really has (appendix C for leap years). Years
# end at 2999 so that adding a duration to a time can never leave the calendar.
_YEAR = "(19[7-9][0-9]|2[0-9]{3})"
_LEAP_YEAR = "(19(7[26]|8[048]|9[26])|2[0-9](0[48]|[2468][048]|[13579][26])|2[048]00)"
_DATE = (
    f"({_YEAR}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    f"|{_YEAR}-(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    f"|{_YEAR}-02-(0[1-9]|1[0-9]|2[0-8])"
    f"|{_LEAP_YEAR}-02-29)"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
_ZONE = "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"

DURATION_PATTERN = f"^{_DURATION_BODY}$"
DURATION_ANNOTATION_PATTERN = f"^{_BLANK_PATTERN}{_DURATION_BODY}{_BLANK_PATTERN}$"
TIME_ANNOTATION_PATTERN = f"^{_BLANK_PATTERN}{_DATE}[Tt]{_CLOCK}{_ZONE}{_BLANK_PATTERN}$"
NOW_ANNOTATION_PATTERN = f"^{_BLANK_PATTERN}[Nn][Oo][Ww]{_BLANK_PATTERN}$"

_DURATION = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?", re.ASCII)
_TIME = re.compile(f"{_DATE}[Tt]{_CLOCK}{_ZONE}")

DURATION_HELP = "write a duration such as 90m, 1h30m, 3d or 0s (units d, h, m, s, in that order)"
TIME_HELP = 'write an RFC 3339 time such as 2026-12-24T18:00:00Z, or "now"'


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> timedelta:
    """Read a duration; blanks around it are no matter.

    Raises:
        ValueError: it is none; the message says what to write instead.
    """
    match = _DURATION.fullmatch(text.strip(_BLANKS)) if len(text) <= MAX_LENGTH else None
    if match is None or not any(match.groups()):
        raise ValueError(f"{_shown(text)} is not a duration: {DURATION_HELP}")
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Write a duration the way users write it, to the second: ``1h30m``, ``0s``."""
    seconds = int(value.total_seconds())
    if seconds <= 0:
        return "0s"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time from 1970 to 2999 as UTC; blanks around it are no matter.

    Raises:
        ValueError: it is none; the message says what to write instead.
    """
    stripped = text.strip(_BLANKS)
    if len(text) > MAX_LENGTH or not _TIME.fullmatch(stripped):
        raise ValueError(f"{_shown(text)} is not a time: {TIME_HELP}")
    return datetime.fromisoformat(stripped.upper()).astimezone(UTC)


def is_now(text: str) -> bool:
    """Whether `spawn-ai.com/expires-at` asks for the end at once."""
    return len(text) <= MAX_LENGTH and text.strip(_BLANKS).lower() == "now"


def format_time(value: datetime) -> str:
    """Write a time as Kubernetes does: RFC 3339, UTC, whole seconds."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(value: datetime) -> str:
    """Write a time as Kubernetes' MicroTime: RFC 3339 in UTC with six decimals, always."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "...")
