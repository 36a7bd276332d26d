"""The ledger of one session: every external resource and every order to Claude, in money.

All functions are pure: they take a `RecordStatus` and give a new one. What is not written here
was not made; what is not `Gone` here is a residual.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from spawnai.api.record import (
    GenerationEntry,
    LedgerEntry,
    Presence,
    RecordStatus,
    Replacement,
    ResourceKind,
    UsageTotals,
)

from .droplet_prices import droplet_cost_between
from .load_balancer_prices import load_balancer_cost_between

CENT_FRACTION = Decimal("0.000001")

USAGE_UNWRITTEN_SECONDS = 12 * 3600
"""How much that was measured may be known to one process only. An agent keeps a day of it."""

AT_ONCE = timedelta()
ADDRESS_COMES_WITHIN = timedelta(seconds=2)
"""How long a new droplet's line may wait for its address, to be written together with it."""


def money(amount: Decimal) -> str:
    """A decimal string with at most six places and no trailing zeros: ``0.0312``."""
    text = format(amount.quantize(CENT_FRACTION), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_resource(ledger: RecordStatus, entry: LedgerEntry) -> RecordStatus:
    """Note a thing that was made or found; the same thing twice is noted once."""
    if any(known.kind is entry.kind and known.id == entry.id for known in ledger.resources):
        return ledger
    return ledger.model_copy(update={"resources": [*ledger.resources, entry]})


def _with_changed(
    ledger: RecordStatus, kind: ResourceKind, id_: str, changes: dict[str, object]
) -> RecordStatus:
    resources = [
        entry.model_copy(update=changes) if entry.kind is kind and entry.id == id_ else entry
        for entry in ledger.resources
    ]
    return ledger.model_copy(update={"resources": resources})


def with_address(ledger: RecordStatus, kind: ResourceKind, id_: str, ip: str) -> RecordStatus:
    """Note the address that a droplet was given."""
    return _with_changed(ledger, kind, id_, {"ip": ip})


def with_deletion_accepted(
    ledger: RecordStatus, kind: ResourceKind, id_: str, at: datetime
) -> RecordStatus:
    """Note when DigitalOcean accepted the deletion."""
    return _with_changed(ledger, kind, id_, {"deletion_accepted_at": at})


def with_unknown(ledger: RecordStatus, kind: ResourceKind, id_: str) -> RecordStatus:
    """Note that nobody can say whether the thing lives: a residual, not a success."""
    return _with_changed(ledger, kind, id_, {"presence": Presence.UNKNOWN})


def with_gone(ledger: RecordStatus, kind: ResourceKind, id_: str, at: datetime) -> RecordStatus:
    """Note that the thing was seen gone, and what it cost until its deletion was accepted."""
    entry = next(
        (known for known in ledger.resources if known.kind is kind and known.id == id_), None
    )
    if entry is None or entry.presence is Presence.GONE:
        return ledger
    changes: dict[str, object] = {
        "presence": Presence.GONE,
        "gone_at": at,
        "deletion_accepted_at": entry.deletion_accepted_at or at,
    }
    if entry.price_hourly is not None:
        # The two times come from two clocks, the cloud's and ours.
        end = max(entry.created_at, entry.deletion_accepted_at or at)
        changes["cost"] = money(_cost_until(entry, Decimal(entry.price_hourly), end))
    return _with_changed(ledger, kind, id_, changes)


def _cost_until(entry: LedgerEntry, price_hourly: Decimal, end: datetime) -> Decimal:
    """Dollars for one thing from its creation to then."""
    is_balancer = entry.kind is ResourceKind.LOAD_BALANCER
    cost_between = load_balancer_cost_between if is_balancer else droplet_cost_between
    return cost_between(price_hourly, entry.created_at, end)


def with_found(ledger: RecordStatus, entry: LedgerEntry) -> RecordStatus:
    """Note a thing that exists although the ledger did not know so.

    A line that says it is gone was wrong and is replaced. The thing becomes the last of its kind,
    so that a session goes on with the one it has, and not with the one that turned up.
    """
    known = {(line.kind, line.id): line for line in ledger.resources}.get((entry.kind, entry.id))
    if known is not None and known.presence is not Presence.GONE:
        return ledger
    others = [line for line in ledger.resources if line is not known]
    return ledger.model_copy(update={"resources": [*others, entry]})


def merged(ours: RecordStatus, theirs: RecordStatus) -> RecordStatus:
    """What we know, with all that another writer of the same ledger noted and we did not.

    No line of either is dropped, and a receipt stays a receipt.
    """
    noted = {(line.kind, line.id): line for line in theirs.resources}
    resources = [
        _with_receipt_of(line, noted.pop((line.kind, line.id), line)) for line in ours.resources
    ]
    paid = {(order.started_at, order.model) for order in ours.generations}
    orders = [one for one in theirs.generations if (one.started_at, one.model) not in paid]
    return ours.model_copy(
        update={
            "resources": [*resources, *noted.values()],
            "generations": [*ours.generations, *orders],
            "replacements": _merged_replacements(ours, theirs),
            "log": ours.log or theirs.log,
            "reserved": _the_more(ours.reserved, theirs.reserved),
            "usage": max((ours.usage, theirs.usage), key=_measured),
            "total_cost": ours.total_cost or theirs.total_cost,
            "termination_reason": ours.termination_reason or theirs.termination_reason,
            "completed_at": ours.completed_at or theirs.completed_at,
        }
    )


def _the_more(ours: str | None, theirs: str | None) -> str | None:
    amounts = [amount for amount in (ours, theirs) if amount is not None]
    return max(amounts, key=Decimal, default=None)


def _measured(usage: UsageTotals | None) -> int:
    return usage.measured_seconds if usage is not None else 0


def _with_receipt_of(ours: LedgerEntry, theirs: LedgerEntry) -> LedgerEntry:
    if ours.presence is Presence.GONE:
        return ours
    if theirs.presence is Presence.GONE:
        return theirs
    accepted_at = ours.deletion_accepted_at or theirs.deletion_accepted_at
    return ours.model_copy(update={"ip": ours.ip or theirs.ip, "deletion_accepted_at": accepted_at})


def with_reserved(ledger: RecordStatus, amount: Decimal) -> RecordStatus:
    """Note that this much is reserved in the budgets now."""
    return ledger.model_copy(update={"reserved": money(amount)})


def with_total(ledger: RecordStatus) -> RecordStatus:
    """Add up a closed ledger again, after a line was added late."""
    return ledger.model_copy(update={"total_cost": money(known_cost(ledger))})


def with_generation(ledger: RecordStatus, entry: GenerationEntry) -> RecordStatus:
    """Note an order to Claude: it was paid for, whatever came of it. The same one is noted once."""
    if any(
        known.started_at == entry.started_at and known.model == entry.model
        for known in ledger.generations
    ):
        return ledger
    return ledger.model_copy(update={"generations": [*ledger.generations, entry]})


def with_replacement(ledger: RecordStatus, entry: Replacement) -> RecordStatus:
    """Note that a droplet is to be replaced."""
    return ledger.model_copy(update={"replacements": [*ledger.replacements, entry]})


def with_replaced(ledger: RecordStatus, at: datetime) -> RecordStatus:
    """Note that the app answers on the droplet that took the place of another."""
    *before, last = ledger.replacements
    finished = last.model_copy(update={"finished_at": at})
    return ledger.model_copy(update={"replacements": [*before, finished]})


def _merged_replacements(ours: RecordStatus, theirs: RecordStatus) -> list[Replacement]:
    """Those of both; one that either says is finished is finished."""
    known = {one.started_at: one for one in theirs.replacements}
    for one in ours.replacements:
        other = known.get(one.started_at)
        known[one.started_at] = one if other is None or other.finished_at is None else other
    return [known[at] for at in sorted(known)]


def tokens_cost(ledger: RecordStatus) -> Decimal:
    """What Claude was paid, in dollars."""
    return sum((Decimal(entry.cost) for entry in ledger.generations), Decimal(0))


def resources_cost(ledger: RecordStatus) -> Decimal:
    """What the resources cost that are gone, in dollars."""
    gone = (Decimal(entry.cost) for entry in ledger.resources if entry.cost is not None)
    return sum(gone, Decimal(0))


def known_cost(ledger: RecordStatus) -> Decimal:
    """What is known to have been spent: tokens, and the resources that are gone."""
    return tokens_cost(ledger) + resources_cost(ledger)


def cost_by(ledger: RecordStatus, now: datetime) -> Decimal:
    """What has been spent by that moment, in dollars: what lives is billed until then."""
    living = (
        _cost_until(
            entry,
            Decimal(entry.price_hourly),
            # The two times come from two clocks, the cloud's and ours.
            max(entry.created_at, entry.deletion_accepted_at or now),
        )
        for entry in ledger.resources
        if entry.cost is None and entry.price_hourly is not None
    )
    return known_cost(ledger) + sum(living, Decimal(0))


def residuals(resources: Iterable[LedgerEntry]) -> list[str]:
    """What has not been seen gone, in words: ``Droplet 123 (spawn-…)``."""
    return [
        f"{entry.kind} {entry.id} ({entry.name})"
        for entry in resources
        if entry.presence is not Presence.GONE
    ]


def closed(
    ledger: RecordStatus, *, reason: str, log: tuple[str, ...], at: datetime
) -> RecordStatus:
    """The last page: the sum, the reason and the log. Everything must have been seen gone."""
    return ledger.model_copy(
        update={
            "total_cost": money(known_cost(ledger)),
            "termination_reason": reason,
            "residuals": [],
            "log": list(log) or ledger.log,
            "completed_at": at,
        }
    )


def write_within(
    stored: RecordStatus, known: RecordStatus, *, named: bool = False
) -> timedelta | None:
    """How soon what is known has to be written; None: it rides along with the next write.

    Identities of what was made and money that was paid are written at once, with two exceptions
    that save a write each, because the cloud tells them again when asked:

    * A droplet's line may wait a moment for its address, where a name is to lead there (`named`):
      the address is how that name is found again, also when the droplet has gone meanwhile.
      Until then the droplet is found by its own name, which the ledger's intent holds.
    * A name's line waits for the app to be written. It is found by its name and its address.

    How busy a droplet was is asked of its agent again, which keeps a day of it.

    Nothing may be deleted before its line is written; whoever plans a deletion sees to that.
    """
    if (
        len(known.generations) > len(stored.generations)
        or known.residuals != stored.residuals
        or known.completed_at != stored.completed_at
        or known.reserved != stored.reserved
        or known.replacements != stored.replacements
        or _measured(known.usage) - _measured(stored.usage) > USAGE_UNWRITTEN_SECONDS
    ):
        return AT_ONCE
    identities = {(entry.kind, entry.id) for entry in stored.resources}
    addresses = {entry.ip for entry in stored.resources}
    waits: list[timedelta] = []
    for entry in known.resources:
        if (entry.kind, entry.id) in identities:
            if named and entry.ip not in addresses:
                waits.append(AT_ONCE)
        elif entry.kind is ResourceKind.DOMAIN_RECORD:
            if known.generations:
                waits.append(AT_ONCE)
        else:
            address_comes = named and entry.kind is ResourceKind.DROPLET and entry.ip is None
            waits.append(ADDRESS_COMES_WITHIN if address_comes else AT_ONCE)
    return min(waits, default=None)
