"""What `spawnai reap` shows: a line for each thing that it found, and what becomes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spawnai.api.durations import format_duration
from spawnai.digitalocean.models import Firewall, Image
from spawnai.lifecycle.reaping import SeenDroplet

from .leftovers import Leftover
from .removal import Estate, Outcome, Result, full_name

_WOULD_BE_DELETED = "would be deleted"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    kind: str
    id: str
    name: str
    age: str
    what: str


def droplet_row(droplet: SeenDroplet, what: str, now: datetime) -> Row:
    """A droplet, and what is to be said of it."""
    return Row("Droplet", str(droplet.id), droplet.name, _age(droplet.created_at, now), what)


def estate_rows(estate: Estate, now: datetime) -> list[Row]:
    """An orphan that goes, and what hangs on it."""
    rows = [
        Row("DomainRecord", str(one.id), full_name(one), "", _WOULD_BE_DELETED)
        for one in estate.names
    ]
    if (balancer := estate.load_balancer) is not None:
        rows.append(Row("LoadBalancer", balancer.id, balancer.name, "", _WOULD_BE_DELETED))
    rows.append(droplet_row(estate.orphan.droplet, _WOULD_BE_DELETED, now))
    if estate.firewall is not None:
        rows.append(firewall_row(estate.firewall))
    return rows


def firewall_row(firewall: Firewall) -> Row:
    """A firewall that goes."""
    return Row("Firewall", firewall.id, firewall.name, "", _WOULD_BE_DELETED)


def image_row(image: Image, now: datetime) -> Row:
    """A baked image that goes."""
    age = _age(image.created_at, now)
    return Row("Image", str(image.id), image.name, age, _WOULD_BE_DELETED)


def leftover_row(leftover: Leftover) -> Row:
    """What is only listed."""
    words = f"LISTED ONLY: {leftover.why}"
    return Row(leftover.kind, leftover.id, leftover.name, "", words)


def outcome_row(outcome: Outcome, estate: Estate | None, now: datetime) -> Row:
    """What became of one thing."""
    age = ""
    if estate is not None and outcome.kind == "Droplet":
        age = _age(estate.orphan.droplet.created_at, now)
    words = {
        Result.DELETED: "deleted",
        Result.GONE: "had gone already",
        Result.UNVERIFIED: "NOT SEEN GONE",
        Result.LEFT: "LEFT",
        Result.FAILED: "FAILED",
    }[outcome.result]
    if outcome.words:
        words = f"{words}: {outcome.words}"
    return Row(outcome.kind, outcome.id, outcome.name, age, words)


def _age(created_at: datetime, now: datetime) -> str:
    seconds = max(int((now - created_at).total_seconds()), 0)
    if seconds >= 60:  # noqa: PLR2004
        seconds -= seconds % 60
    return format_duration(timedelta(seconds=seconds))


def table(rows: Sequence[Row]) -> str:
    """The rows under their headings, in columns."""
    if not rows:
        return "Nothing was found.\n"
    lines = [("KIND", "ID", "NAME", "AGE", "RESULT")]
    lines += [(row.kind, row.id, row.name, row.age, row.what) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
