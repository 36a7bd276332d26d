"""When an action that failed is tried again."""

from datetime import timedelta

from .observation import FailureKind

FIRST = timedelta(milliseconds=200)
LONGEST = timedelta(seconds=30)
LONGEST_FOR_DELETIONS = timedelta(seconds=5)
"""Shorter: a deletion that waits costs money, and is to go as soon as the cloud answers again."""
QUOTA_PAUSE = timedelta(seconds=10)
"""Until the account's limit is tried again: another droplet may have gone."""
PERSON_PAUSE = timedelta(seconds=30)
"""Until what only a person can mend is tried again."""


def delay_after(kind: FailureKind, failures: int, longest: timedelta = LONGEST) -> timedelta:
    """How long to wait after that many failures in a row, before jitter.

    What was ambiguous is looked for at once, a rejected placement has a next one at once, a limit
    or a person takes time, and everything else backs off exponentially.
    """
    match kind:
        case FailureKind.AMBIGUOUS | FailureKind.NO_CAPACITY | FailureKind.UNKNOWN_OPTION:
            return timedelta()
        case FailureKind.OVER_QUOTA:
            return QUOTA_PAUSE
        case FailureKind.NEEDS_PERSON:
            return PERSON_PAUSE
        case _:
            doublings = min(max(failures - 1, 0), 16)
            return min(FIRST * int(2**doublings), longest)
