"""What is asked of the history of ended sessions, by the console of the operator's door."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .durations import format_micro_time, parse_time

MOST = 1_000
"""How many ended sessions one answer tells."""


@dataclass(frozen=True, slots=True)
class Search:
    """Which ended sessions are asked for; what is None does not matter.

    `text` is looked for whatever its case. `since` is the first moment of an end, `until` the first
    one after.
    """

    user: str | None = None
    class_name: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Search":
        """The search that a query asks for.

        Raises:
            ValueError: `since` or `until` is no time; the message says what to write.
        """
        since, until = query.get("since"), query.get("until")
        return cls(
            user=query.get("user"),
            class_name=query.get("class"),
            text=query.get("search"),
            since=parse_time(since) if since else None,
            until=parse_time(until) if until else None,
        )

    @property
    def query(self) -> Mapping[str, str]:
        """The query that `of` reads."""
        given = {
            "user": self.user,
            "class": self.class_name,
            "search": self.text,
            "since": format_micro_time(self.since) if self.since else None,
            "until": format_micro_time(self.until) if self.until else None,
        }
        return {name: text for name, text in given.items() if text}
