"""Which tags of an account nothing can come to carry any more.

A deletion takes a tag from whatever carries it at that moment, and the tags of a droplet come after
its creation. So only a tag that no new droplet can get is dead: one that names a session whose
ledger has been closed for an hour, or a time that has been over for a day.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from spawnai.api.names import session_tag, ttl_tag

CLOSED_FOR = timedelta(hours=1)
OVER_FOR = timedelta(days=1)
_SESSION = session_tag("")
_TTL = ttl_tag(0).removesuffix("0")
_WAVE = "wave:"
_WAVE_FORM = "%Y%m%d%H%M"
_LONGEST_EPOCH = 10


def dead_tags(
    counts: Iterable[tuple[str, int]], closed: Mapping[str, datetime], now: datetime
) -> list[str]:
    """The names of the dead tags.

    Args:
        counts: every tag of the account with how many things carry it.
        closed: when the ledger of each session of this cluster was closed, by the session's UID.
        now: by this machine's clock.
    """
    return [name for name, count in counts if count == 0 and _is_over(name, closed, now)]


def _is_over(name: str, closed: Mapping[str, datetime], now: datetime) -> bool:
    if name.startswith(_SESSION):
        closed_at = closed.get(name.removeprefix(_SESSION))
        return closed_at is not None and now - closed_at >= CLOSED_FOR
    time = _time_of(name)
    return time is not None and now - time >= OVER_FOR


def _time_of(name: str) -> datetime | None:
    """The time that a tag names; None for one that names none."""
    try:
        if name.startswith(_WAVE):
            return datetime.strptime(name.removeprefix(_WAVE), _WAVE_FORM).replace(tzinfo=UTC)
        epoch = name.removeprefix(_TTL)
        if name.startswith(_TTL) and epoch.isdecimal() and len(epoch) <= _LONGEST_EPOCH:
            return datetime.fromtimestamp(int(epoch), UTC)
    except ValueError:
        pass
    return None
