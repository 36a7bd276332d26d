"""Durations as `spawn-ai.com/ttl` takes them: 90m, 1h30m, 3d."""

import re
from datetime import UTC, datetime, timedelta

from kubectl_spawn.errors import CommandError, ExitCode

_DURATION = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?", re.ASCII)
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def parse_duration(text: str) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: it is not one; the message says what to write.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(f'"{text}": write a duration such as 90m, 1h30m or 3d')
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def duration_option(option: str, value: str | None) -> timedelta | None:
    """A duration that was given as an option.

    Raises:
        CommandError: it is not one.
    """
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise CommandError(f"{option} {error}", code=ExitCode.USAGE) from None


def format_duration(value: timedelta, *, parts: int = 2) -> str:
    """Write a duration with its `parts` largest units: 1h57m, 4m12s, 0s."""
    seconds = max(0, int(value.total_seconds()))
    written: list[str] = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            written.append(f"{count}{unit}")
    return "".join(written[:parts]) or "0s"


def parse_time(text: str | None) -> datetime | None:
    """Read a time of the API server; None when there is none."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def format_time(value: datetime) -> str:
    """Write a time as Kubernetes does: RFC 3339, UTC, whole seconds."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_clock(value: datetime, now: datetime) -> str:
    """A time for people, in this machine's zone: `16:03 CET`; with the date beyond 20 hours."""
    here = value.astimezone()
    clock = here.strftime("%H:%M %Z").strip()
    if abs(value - now) > timedelta(hours=20):
        return here.strftime("%a %d %b ") + clock
    return clock
