"""The life of an external resource, the same for every kind.

    absent ─► creating ─► present ─► deleting ─► accepted ─► gone
                 │           ▲           │
                 ▼           │           ▼
              unclear ───────┘        unknown: it does not show that it is ours

DigitalOcean has no idempotency key. So a creation without an answer is *unclear*, and is settled by
looking for its name, for as long as its kind says, before it may be sent again (docs/decisions/
0004). What a ledger lists is *present* until it was seen gone. A ledger is closed only when nothing
it lists is left and nothing can appear any more. What each kind needs differently stands in its row
of `lifecycle/kinds.py`; the line in the ledger holds the rest of the state.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spawnai.api.record import LedgerEntry, Presence, ResourceKind

from .actions import ActionKey, Create, Delete, Find, Verify, Wanted
from .kinds import APPEARS_WITHIN, KINDS, TEARDOWN, MakesWay
from .observation import Effort, Observation, Record
from .status import Draft

LOOK_AGAIN = timedelta(seconds=3)
"""Between the first looks for what a lost answer may have left behind; then they become rarer."""


def may_still_appear(known_since: datetime, now: datetime) -> bool:
    """Whether a thing is so young that a 404 does not prove that it is gone.

    One that was given up on such a 404 would show up later, cost money, and have no session left.

    Args:
        known_since: when this process first knew of it. Not when it was made, unless that is long
            ago: that date is by another clock, or by this one before it was set.
        now: by the same clock.
    """
    return now < known_since + APPEARS_WITHIN


@dataclass(frozen=True, slots=True)
class Name:
    """What may exist outside: a kind, a name, and the address that it has to lead to, if any."""

    kind: ResourceKind
    name: str
    address: str | None = None

    @property
    def create_key(self) -> ActionKey:
        """The key of its creation."""
        return ActionKey("Create", self.kind, self.name)

    @property
    def find(self) -> Find:
        """The look for it."""
        return Find(self.kind, self.name, self.address)


def names_of(o: Observation, record: Record) -> list[Name]:
    """All that the ledger's intent names and that may have been made.

    A kind that follows another one was not made before that one's address was stored.
    """
    names = []
    for planned in record.spec.planned:
        follows = _followed(record, planned.kind)
        if follows is None:
            names.append(Name(planned.kind, planned.name))
            continue
        lines = [line for line in record.status.resources if line.kind is follows]
        # That of the latest: what led to one before was settled before it was given up.
        addresses = [line.ip for line in reversed(lines)]
        if o.droplet is not None and follows is ResourceKind.DROPLET:
            addresses.append(o.droplet.ip)
        address = next((ip for ip in addresses if ip is not None), None)
        if address is not None:
            names.append(Name(planned.kind, planned.name, address))
    return names


def _followed(record: Record, kind: ResourceKind) -> ResourceKind | None:
    """What a kind is made after, and leads to, in this ledger."""
    planned = {one.kind for one in record.spec.planned}
    follows = KINDS[kind].follows
    return next((one for one in follows if one in planned), next(reversed(follows), None))


def ensure(d: Draft, wanted: Wanted, address: str | None = None) -> None:
    """Plan the next step towards a thing that the ledger does not list yet.

    `address`: where it leads, for a kind that is found by that.
    """
    if not settle(d, Name(wanted.kind, wanted.name, address), KINDS[wanted.kind].resend_after):
        d.do(Create(wanted))


def settle(d: Draft, name: Name, patience: timedelta) -> bool:
    """Whether a creation is unclear; then the next look for it is planned.

    `patience`: how long after the lost answer the last look has to begin.
    """
    o = d.observation
    since = unaccounted_since(o, name)
    if since is None or looked(o.effort(name.find.key), since + patience):
        return False
    due = _next_look(o.effort(name.find.key), since, patience)
    if d.now < due:
        d.wake(due)
    else:
        d.do(name.find)
    return True


def _next_look(find: Effort, since: datetime, patience: timedelta) -> datetime:
    """When to look next: soon, then ever more rarely, and once the answer is settled."""
    if find.started_at is None or find.started_at < since or find.failure is not None:
        return since
    pause = max(LOOK_AGAIN, (find.started_at - since) / 2)
    return min(find.started_at + pause, since + patience)


def looked(find: Effort, since: datetime) -> bool:
    """Whether a look was made that began no earlier than that."""
    if find.failure is not None or find.done_at is None or find.started_at is None:
        return False
    return find.started_at >= since


def unaccounted_since(o: Observation, name: Name) -> datetime | None:
    """Since when a creation may be on its way beside all that the ledger lists; None: none is.

    A POST without an answer that no look has found may take effect yet. What an earlier life of
    this operator may have sent counts as one such POST.
    """
    if o.record is None:
        return None
    effort = o.effort(name.create_key)
    sent = effort.effects
    if _earlier_life_may_have_sent(o, o.record, name.kind):
        before = o.operator_started_at
        sent += 1 + sum(one.started_at < before for one in o.record.status.replacements)
    if KINDS[name.kind].unique:
        sent = min(sent, 1)
    # A droplet that was a spare accounts for no order of the session's own.
    made = (
        line for line in o.record.status.resources if line.kind is name.kind and line.spare is None
    )
    if sum(1 for _ in made) >= sent:
        return None
    return effort.unclear_at or o.operator_started_at


def _earlier_life_may_have_sent(o: Observation, record: Record, kind: ResourceKind) -> bool:
    """What follows another kind is made once that is stored, and then that is not looked for."""
    if not o.earlier_life_may_have_created:
        return False
    follows = _followed(record, kind)
    return follows is None or not any(
        key.action == "Find" and key.kind is follows and effort.started_at is not None
        for key, effort in o.efforts.items()
    )


def is_creating(o: Observation, name: Name) -> bool:
    """Whether it is being made; a creation that waits for its turn is given up by a teardown."""
    effort = o.effort(name.create_key)
    return effort.running and not effort.waits_for_turn


def delete(d: Draft, record: Record, line: LedgerEntry) -> None:
    """Plan the next step towards the end of one thing: its line stored, deleted, seen gone."""
    if not record.stores(line):
        d.store_ledger = True  # Or a crash would forget that it ever was.
    elif line.deletion_accepted_at is None:
        d.do(Delete(line))
    else:
        d.do(Verify(line))


def give_up(d: Draft, record: Record) -> bool:
    """Plan the next steps towards the end of what was replaced; tells whether all of it is gone."""
    o = d.observation
    waited_for: set[int] = set()
    left = False
    for kind in TEARDOWN:
        row = KINDS[kind]
        lines = [line for line in record.living(kind) if line.id in record.given_up]
        if all(order >= row.teardown_order for order in waited_for):
            for line in lines:
                delete(d, record, line)
        if not all(_makes_way(o, line) for line in lines):
            waited_for.add(row.teardown_order)
        left = left or bool(lines)
    return not left


_BEFORE_THE_DROPLET = frozenset({ResourceKind.DOMAIN_RECORD, ResourceKind.LOAD_BALANCER})
"""What may exist of these leads to no droplet when there is a load balancer between."""


def delete_all(d: Draft, record: Record, *, log_taken: bool) -> set[ResourceKind]:
    """Plan the next steps towards the end of all that exists, in the order of the kinds.

    Returns the kinds of which it is not sure yet whether something was made.
    """
    o = d.observation
    names = names_of(o, record)
    is_balanced = any(one.kind is ResourceKind.LOAD_BALANCER for one in names)
    unsure: set[ResourceKind] = set()
    waited_for: set[int] = set()
    for kind in TEARDOWN:
        row, lines = KINDS[kind], record.living(kind)
        is_led_to = kind is ResourceKind.LOAD_BALANCER and _may_be_led_to(o, record, unsure)
        is_next = not is_led_to and all(order >= row.teardown_order for order in waited_for)
        if is_next and (log_taken or not row.holds_the_log):
            for line in lines:
                delete(d, record, line)
        for name in names:
            if name.kind is kind and (is_creating(o, name) or settle(d, name, row.close_after)):
                unsure.add(kind)  # It may exist already.
        may_lead_on = kind in unsure and not (is_balanced and kind in _BEFORE_THE_DROPLET)
        if may_lead_on or not (is_led_to or all(_makes_way(o, line) for line in lines)):
            waited_for.add(row.teardown_order)
    return unsure


def _may_be_led_to(o: Observation, record: Record, unsure: set[ResourceKind]) -> bool:
    """Whether a name may exist and lead to the load balancer: one that was ordered and has not
    shown, or one that answers 404 and is young. The droplet does not wait for it.
    """
    named = record.living(ResourceKind.DOMAIN_RECORD)
    return ResourceKind.DOMAIN_RECORD in unsure or any(
        (line.kind, line.id) in o.missing for line in named
    )


def _makes_way(o: Observation, line: LedgerEntry) -> bool:
    """Whether what is deleted after this need not wait for it any more.

    What somebody changed is his now: it is left alone, and the ledger says so. What answers 404
    while it is young may still show up; its deletion goes on being tried, and nothing waits for it.
    """
    makes_way = KINDS[line.kind].makes_way
    if makes_way is MakesWay.GONE:
        return line.presence is Presence.GONE
    if makes_way is MakesWay.ASKED and o.effort(Delete(line).key).failure is not None:
        return True
    return (
        line.deletion_accepted_at is not None
        or line.presence is Presence.UNKNOWN
        or (line.kind, line.id) in o.missing
    )
