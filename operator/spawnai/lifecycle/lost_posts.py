"""What a POST without an answer may have made, or may still make, and how it is found.

A creation is settled by looking, before it may be sent again (docs/decisions/0004). It may take
effect even later: then a last look finds what nobody else would, a second name or a firewall.
"""

from dataclasses import dataclass
from datetime import datetime

from spawnai.api.record import LedgerEntry, ResourceKind

from .actions import (
    CREATIONS,
    Action,
    CreateDomainRecord,
    CreateDroplet,
    CreateFirewall,
    DeleteResource,
    FindDomainRecord,
    FindDroplet,
    FindFirewall,
)
from .observation import Observation, Record
from .settling import (
    APPEARS_WITHIN,
    looked,
    settled,
    unaccounted_since,
    unsettled_since,
)
from .status import Draft

CREATION_KEYS = tuple(kind.__name__ for kind in CREATIONS)
"""Given up while they wait for their turn among DigitalOcean's calls. One that had it is never
stopped half-way."""


def is_running(o: Observation, key: str) -> bool:
    """Whether it is under way, and not given up by this very plan."""
    return o.effort(key).running and not (key in CREATION_KEYS and o.effort(key).waits_for_turn)


@dataclass(frozen=True, slots=True)
class Search:
    """How a creation without an answer is found: the creation's key, and the look."""

    kind: ResourceKind
    create: str
    find: Action


def searches_of(o: Observation, record: Record) -> list[Search]:
    """The looks for all that a session may have made."""
    planned = {resource.kind: resource.name for resource in record.spec.planned}
    searches = [Search(ResourceKind.DROPLET, CreateDroplet.__name__, FindDroplet())]
    if ResourceKind.FIREWALL in planned:
        searches.append(
            Search(ResourceKind.FIREWALL, CreateFirewall.__name__, FindFirewall()),
        )
    droplet_ip = next(
        (
            entry.ip
            for entry in record.status.resources
            if entry.kind is ResourceKind.DROPLET and entry.ip is not None
        ),
        o.droplet.ip if o.droplet is not None else None,
    )
    if ResourceKind.DOMAIN_RECORD in planned and (droplet_ip is not None or record.droplet):
        label, _, domain = planned[ResourceKind.DOMAIN_RECORD].partition(".")
        # The ledger may not know the address yet; a look at the droplet tells it.
        find = FindDomainRecord(domain, label, droplet_ip) if droplet_ip else FindDroplet()
        searches.append(
            Search(ResourceKind.DOMAIN_RECORD, CreateDomainRecord.__name__, find),
        )
    return searches


def settle(d: Draft, searches: list[Search]) -> set[ResourceKind]:
    """Wait for creations under way, look for those whose answer was lost: what is not sure yet."""
    o = d.observation
    unsure: set[ResourceKind] = set()
    for search in searches:
        if is_running(o, search.create):
            unsure.add(search.kind)
        elif not _is_settled(o, search):
            unsure.add(search.kind)
            d.do(search.find)
        elif not _was_looked_for_again(o, search):
            unsure.add(search.kind)
            d.do(search.find, at_once=_given_up_at(o, search.kind) is not None)
    return unsure


def _is_settled(o: Observation, search: Search) -> bool:
    """Whether something of that kind is known, or has been looked for until nothing can come."""
    if _lines(o, search.kind):
        return True
    since = unsettled_since(o, search.create)
    return since is None or settled(o.effort(search.find.key), since)


def _was_looked_for_again(o: Observation, search: Search) -> bool:
    """Whether there can be no second name: one that is known may have a twin, made by a POST that
    was thought to be lost. One look after the deletions have begun tells, and is only spent where
    a POST was sent that nothing in the ledger accounts for, or where an operator that died soon
    after it made the name may have known of one.
    """
    if not isinstance(search.find, FindDomainRecord) or not _lines(o, search.kind):
        return True
    since = unaccounted_since(o, search.kind, search.create)
    if since is None:
        if not _was_new_at_restart(o, search.kind):
            return True
        since = o.operator_started_at
    look, given_up_at = o.effort(search.find.key), _given_up_at(o, search.kind)
    if looked(look, since + APPEARS_WITHIN):
        return True
    return given_up_at is not None and looked(look, given_up_at)


def _given_up_at(o: Observation, kind: ResourceKind) -> datetime | None:
    """When the deletions of that kind began; None: they have not."""
    begun = [
        o.effort(DeleteResource(line).key).started_at or line.deletion_accepted_at
        for line in _lines(o, kind)
    ]
    return min((time for time in begun if time is not None), default=None)


def _was_new_at_restart(o: Observation, kind: ResourceKind) -> bool:
    """Whether an earlier operator may have died before it entered what its last look found."""
    since = o.operator_started_at - 2 * APPEARS_WITHIN
    return o.earlier_life_may_have_created and any(
        since < line.created_at < o.operator_started_at for line in _lines(o, kind)
    )


def _lines(o: Observation, kind: ResourceKind) -> list[LedgerEntry]:
    """All of that kind that the ledger lists, gone or not."""
    lines = o.record.status.resources if o.record is not None else []
    return [line for line in lines if line.kind is kind]


def look_for_late_ones(d: Draft, searches: list[Search], now: datetime) -> bool:
    """Whether a lost POST may still make something, although it was settled: the ledger stays open
    for a last look. A droplet that comes so late is the reaper's; nobody else finds a name or a
    firewall.
    """
    o = d.observation
    late = False
    for search in searches:
        since = unaccounted_since(o, search.kind, search.create)
        if search.kind is ResourceKind.DROPLET or since is None:
            continue
        if looked(o.effort(search.find.key), since + APPEARS_WITHIN):
            continue
        late = True
        if now < since + APPEARS_WITHIN:
            d.wake(since + APPEARS_WITHIN)
        else:
            d.do(search.find)
    return late
