"""The annotations that people write, and what they mean."""

from dataclasses import dataclass

from .durations import DURATION_HELP, TIME_HELP
from .names import (
    DEFAULT_CLASS_ANNOTATION,
    EXPIRES_AT_ANNOTATION,
    FEEDBACK_ANNOTATION,
    TTL_ANNOTATION,
)

_A_TIME = "2026-12-24T18:00:00Z"


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation: where it is written, which values it takes, what it does."""

    name: str
    kind: str
    values: str
    meaning: str
    examples: tuple[str, ...]


ANNOTATIONS = (
    Annotation(
        name=TTL_ANNOTATION,
        kind="SpawnSession",
        values=f"A duration: {DURATION_HELP}.",
        meaning=(
            "How long the app lives, counted from the moment it is ready. Change it at any time to "
            "extend or shorten the life. When it is not set: the lifetime of the session's tier. "
            "Beyond the class's maximum it is capped, and the session says so. A change that would "
            "have ended the session in the past ends it after the class's notice; `0s` ends it at "
            "once."
        ),
        examples=(
            f"kubectl annotate --overwrite ss retro-board {TTL_ANNOTATION}=4h",
            f"kubectl annotate --overwrite ss retro-board {TTL_ANNOTATION}=0s",
        ),
    ),
    Annotation(
        name=EXPIRES_AT_ANNOTATION,
        kind="SpawnSession",
        values=f"A time from 1970 to 2999: {TIME_HELP}.",
        meaning=(
            "When the app ends, as a point in time. It wins over the ttl, earlier or later, under "
            "the same maximum. Use it to extend a session whose ttl is kept in Git: what Git holds "
            "would be put back within seconds. `now` ends the session at once. Remove it and the "
            "ttl counts again."
        ),
        examples=(
            f"kubectl annotate --overwrite ss retro-board {EXPIRES_AT_ANNOTATION}={_A_TIME}",
            f"kubectl annotate --overwrite ss retro-board {EXPIRES_AT_ANNOTATION}=now",
            f"kubectl annotate ss retro-board {EXPIRES_AT_ANNOTATION}-",
        ),
    ),
    Annotation(
        name=FEEDBACK_ANNOTATION,
        kind="SpawnSession",
        values="yes or no; anything else counts as no answer.",
        meaning=(
            "Whether the app works as its owner expected. The page asks for it; the metric "
            "spawnai_session_feedback counts the answers."
        ),
        examples=(f"kubectl annotate --overwrite ss retro-board {FEEDBACK_ANNOTATION}=yes",),
    ),
    Annotation(
        name=DEFAULT_CLASS_ANNOTATION,
        kind="SpawnClass",
        values='"true", in quotes; anything else means no.',
        meaning=(
            "The class serves sessions that name none. When several classes have it, the newest "
            "of them does."
        ),
        examples=(f"kubectl annotate spawnclass standard {DEFAULT_CLASS_ANNOTATION}=true",),
    ),
)
