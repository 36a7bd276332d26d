"""Which droplets nobody explains: what the reaper may delete, and when it must not.

A droplet is an orphan when it wears all of our marks and nothing in the cluster stands for it any
more. Deleting the wrong one ends somebody's app, so every doubt protects:

* **All marks, or it is foreign**: the tags of the product, of its session and of this cluster, and
  the session's name. What lacks one of them is never touched.
* **Explained** is what an open ledger lists, and what belongs to a session that still lives.
  What a closed ledger lists as present is a removal that was begun and not ended.
* **Unlisted** is what belongs to an open ledger that does not list it. That is no orphan: it is
  entered there, and the session's own plan deletes the spare one.
* **Two sightings.** An orphan goes only when a second look, begun well after the first one was
  judged, finds it still unexplained.
* **Both sides fresh and whole.** Droplets first, then the ledgers: whoever made a droplet wrote
  its ledger before. A listing in doubt judges nothing, and its sightings do not count.
* **Not too many.** However many orphans there are, only so many go within an hour, whoever leads.
  A mistake here is noticed while it is small.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from spawnai.api.names import (
    class_firewall_name,
    class_tag,
    owner_of,
    session_firewall_name,
    session_host_suffix,
)

FRESH = timedelta(minutes=10)
"""For how long a listing may be judged after it was begun. A listing waits behind everything else
in the rate budget, and a paused process wakes with an old one in its hands."""

WINDOW = timedelta(hours=1)
"""Within which deletions are counted, and for which a sudden lack of ledgers is not believed."""

PLENTY = 3
"""So many ledgers (or droplets without one) are no coincidence when all are missing at once."""

_UID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FIREWALL = re.compile(f"(?:{session_firewall_name('')}|{class_firewall_name('')}){_UID}")
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{8}")

_NOTHING_TRIED: Mapping[int, datetime] = MappingProxyType({})

_CLASS_TAG = class_tag("")


@dataclass(frozen=True, slots=True)
class SeenDroplet:
    """A droplet as a listing showed it."""

    id: int
    name: str
    tags: frozenset[str]
    created_at: datetime
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class CloudListing:
    """Droplets of this cluster's tag.

    Attributes:
        droplets: all of them.
        started_at: when the first page was asked for.
        finished_at: when the last page had come.
        doubt: why it cannot be trusted (incomplete or suspicious), or "".
    """

    droplets: tuple[SeenDroplet, ...]
    started_at: datetime
    finished_at: datetime
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one SpawnRecord says of droplets, by DigitalOcean's ids. `reaped`: those that a reaper
    has deleted, and when.
    """

    completed: bool
    present: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    reaped: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterListing:
    """Every SpawnRecord and SpawnSession, from the API server itself.

    Attributes:
        ledgers: by the UID of their session.
        living_sessions: UIDs of the sessions that have not come to Destroyed.
        started_at: when the first of them was asked for.
        known_before: how many ledgers were known to exist before, from any other source.
    """

    ledgers: Mapping[str, Ledger]
    living_sessions: frozenset[str]
    started_at: datetime
    known_before: int = 0


class Verdict(StrEnum):
    """What a droplet is to the reaper."""

    FOREIGN = "foreign"
    EXPLAINED = "explained"
    YOUNG = "young"
    UNLISTED = "unlisted"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class ReapingRules:
    """How careful to be.

    Attributes:
        minimum_age: what is younger is left alone: its making may still be under way.
        between_sightings: from the judgement of the first sighting to the begin of the listing
            that counts as the second.
        most_per_hour: deletions within an hour; None: no limit (a person looks on).
    """

    minimum_age: timedelta = timedelta(minutes=10)
    between_sightings: timedelta = timedelta(seconds=20)
    most_per_hour: int | None = 20


@dataclass(frozen=True, slots=True)
class Recollection:
    """What one judgement leaves to the next.

    Attributes:
        sightings: when each droplet was first judged to be what it still is.
        most_ledgers: how many ledgers there were when there was plenty.
        fewer_since: since when there are suddenly few.
    """

    sightings: Mapping[tuple[int, Verdict], datetime] = field(default_factory=dict)
    most_ledgers: int = 0
    fewer_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A droplet that wears all of our marks, and the session it was made for."""

    droplet: SeenDroplet
    session_uid: str

    @property
    def class_uid(self) -> str | None:
        """The class that it was made for, by its tag."""
        return next(
            (
                tag.removeprefix(_CLASS_TAG)
                for tag in sorted(self.droplet.tags)
                if tag.startswith(_CLASS_TAG)
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows from a look at both sides.

    Attributes:
        doubt: why nothing follows, or "".
        orphans: all orphans, those that wait for a second sighting too.
        due: orphans to delete now, the oldest first.
        withheld: orphans that only the limit of deletions in an hour protects.
        unlisted: droplets to enter in the open ledger of their session now.
        recollection: for the next judgement.
    """

    doubt: str
    recollection: Recollection
    orphans: tuple[Orphan, ...] = ()
    due: tuple[Orphan, ...] = ()
    withheld: int = 0
    unlisted: tuple[Orphan, ...] = ()


def verdict_on(
    droplet: SeenDroplet,
    cluster_uid: str,
    ledger: Ledger | None,
    *,
    session_lives: bool,
    minimum_age: timedelta,
    now: datetime,
) -> Verdict:
    """What one droplet is, given what its session's ledger says."""
    if owner_of(droplet.name, droplet.tags, cluster_uid) is None:
        return Verdict.FOREIGN
    is_open = ledger is not None and not ledger.completed
    if ledger is not None and is_open and str(droplet.id) in ledger.present:
        return Verdict.EXPLAINED
    if session_lives and not is_open:
        return Verdict.EXPLAINED
    if now - droplet.created_at < minimum_age:
        return Verdict.YOUNG
    return Verdict.UNLISTED if is_open else Verdict.ORPHAN


def judge(
    cloud: CloudListing,
    cluster: ClusterListing,
    *,
    cluster_uid: str,
    before: Recollection,
    rules: ReapingRules,
    now: datetime,
    tried_at: Mapping[int, datetime] = _NOTHING_TRIED,
) -> Judgement:
    """Decide what to delete now.

    `tried_at`: when this process tried to delete earlier orphans. It need not know of those that
    have a receipt: the ledgers tell, so that a new leader goes on with what is left of the hour.
    """
    recollection, few = _remember_plenty(cluster, before, now)
    found: dict[Verdict, list[Orphan]] = {verdict: [] for verdict in Verdict}
    for droplet in sorted(cloud.droplets, key=lambda seen: (seen.created_at, seen.id)):
        owner = owner_of(droplet.name, droplet.tags, cluster_uid)
        if owner is None:
            continue
        verdict = verdict_on(
            droplet,
            cluster_uid,
            cluster.ledgers.get(owner),
            session_lives=owner in cluster.living_sessions,
            minimum_age=rules.minimum_age,
            now=now,
        )
        found[verdict].append(Orphan(droplet, owner))
    orphans = found[Verdict.ORPHAN]
    doubt = (
        cloud.doubt or _stale(cloud, cluster, now) or few or _nothing_where_plenty(cluster, orphans)
    )
    if doubt:
        return Judgement(doubt, recollection, orphans=tuple(orphans))
    sightings = {
        (orphan.droplet.id, verdict): before.sightings.get((orphan.droplet.id, verdict), now)
        for verdict in (Verdict.ORPHAN, Verdict.UNLISTED)
        for orphan in found[verdict]
    }
    seen_twice = {
        key
        for key in sightings
        if key in before.sightings
        and before.sightings[key] + rules.between_sightings <= cloud.started_at
    }
    due = [orphan for orphan in orphans if (orphan.droplet.id, Verdict.ORPHAN) in seen_twice]
    allowed = len(due)
    if rules.most_per_hour is not None:
        allowed = max(rules.most_per_hour - _within_the_hour(cluster, tried_at, now), 0)
    return Judgement(
        "",
        Recollection(sightings, recollection.most_ledgers, recollection.fewer_since),
        orphans=tuple(orphans),
        due=tuple(due[:allowed]),
        withheld=max(len(due) - allowed, 0),
        unlisted=tuple(
            orphan
            for orphan in found[Verdict.UNLISTED]
            if (orphan.droplet.id, Verdict.UNLISTED) in seen_twice
        ),
    )


def _within_the_hour(
    cluster: ClusterListing, tried_at: Mapping[int, datetime], now: datetime
) -> int:
    """How many droplets the reapers of this cluster have deleted, or tried to."""
    told = {
        int(number): moment
        for ledger in cluster.ledgers.values()
        for number, moment in ledger.reaped.items()
    }
    return sum(1 for moment in {**told, **tried_at}.values() if moment > now - WINDOW)


def _stale(cloud: CloudListing, cluster: ClusterListing, now: datetime) -> str:
    if now - cloud.started_at > FRESH:
        age = int((now - cloud.started_at).total_seconds())
        return f"the listing of droplets is {age} s old"
    if cluster.started_at < cloud.finished_at:
        return "the ledgers were listed before the droplets, so they may not know all of them"
    return ""


def _remember_plenty(
    cluster: ClusterListing, before: Recollection, now: datetime
) -> tuple[Recollection, str]:
    """Notice when most ledgers are suddenly not there; a listing like that is an accident first.

    A cluster that shrank in earnest is believed after a while, an empty one never by itself.
    """
    most = max(before.most_ledgers, cluster.known_before)
    count = len(cluster.ledgers)
    if most - count < PLENTY or 2 * count >= most:
        return Recollection({}, count), ""
    since = before.fewer_since or now
    if count and now - since >= WINDOW:
        return Recollection({}, count), ""
    return Recollection({}, most, since), (
        f"the API server lists {count} SpawnRecords where there were {most}"
    )


def _nothing_where_plenty(cluster: ClusterListing, orphans: list[Orphan]) -> str:
    """The cloud's own word for plenty: it needs no memory, so it also holds after a restart."""
    if cluster.ledgers or len(orphans) < PLENTY:
        return ""
    return (
        f"the API server lists no SpawnRecord at all, and DigitalOcean shows {len(orphans)} "
        "droplets of this cluster: were the records lost?"
    )


def is_name_of(session_uid: str, label: str, data: str, addresses: Iterable[str]) -> bool:
    """Whether a DNS record is a session's name: our label, and one of its droplet's addresses."""
    suffix = session_host_suffix(session_uid)
    return label.endswith(suffix) and len(label) > len(suffix) and data in frozenset(addresses)


def is_bare_session_firewall(
    session_uid: str,
    name: str,
    tags: Iterable[str],
    covered: Iterable[int],
    own_droplets: Iterable[int],
) -> bool:
    """Whether it is a session's own firewall, and covers nothing but the session's own droplets."""
    return (
        name == session_firewall_name(session_uid)
        and not frozenset(tags)
        and frozenset(covered) <= frozenset(own_droplets)
    )


def is_bare_class_firewall(
    class_uid: str, name: str, tags: Iterable[str], covered: Iterable[int]
) -> bool:
    """Whether it is a class's Shared firewall, and covers nothing but what carries its tag."""
    return (
        name == class_firewall_name(class_uid)
        and frozenset(tags) == {class_tag(class_uid)}
        and not frozenset(covered)
    )


def has_form_of_name(label: str) -> bool:
    """Whether a DNS label is formed like a session's name. That is a hint, and no proof."""
    return _HOST_LABEL.fullmatch(label) is not None


def has_form_of_firewall(name: str) -> bool:
    """Whether a firewall is called like a session's or a class's. That is a hint, and no proof."""
    return _FIREWALL.fullmatch(name) is not None
