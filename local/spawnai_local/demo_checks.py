"""What the demo promises, as questions about documents: each answers with a sentence and a verdict.

Nothing here asks a server; what the cluster, the cloud and Claude said is handed in.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from spawnai.api.budget import BudgetStatus
from spawnai.api.conditions import ConditionType, find_condition, is_true
from spawnai.api.record import (
    LedgerEntry,
    Presence,
    PriceTerms,
    RecordStatus,
    ResourceKind,
    UsageTotals,
)
from spawnai.api.session import CostStatus, Phase, PriceStatus, SessionStatus
from spawnai.billing.token_prices import token_cost

GONE_WITHIN = timedelta(seconds=5)
"""The product's promise: gone within 5 s of its time."""

HALF_OF_THE_LAST_DIGIT = Decimal("0.0000005")
"""A record gives each order to the millionth of a dollar; a cached token costs less than that."""

_FIFTH = Decimal("0.2")
"""How much more or less is charged for a minute above 80 % or below 30 %."""

A_SECOND_OF_USE = Decimal("0.01")
"""What a second more or less changes in a factor: records give times to the second."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that was promised, whether it is true, and what was found if it is not."""

    sentence: str
    holds: bool
    found: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """One session's SpawnRecord."""

    session: str
    uid: str
    status: RecordStatus
    terms: PriceTerms | None = None
    """How its price is made; None: nobody is charged."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Ledger":
        """Read a SpawnRecord as the API server gives it."""
        terms = document["spec"].get("priceTerms")
        return cls(
            session=document["spec"]["owner"]["name"],
            uid=document["spec"]["owner"]["uid"],
            status=RecordStatus.model_validate(document.get("status") or {}),
            terms=PriceTerms.model_validate(terms) if terms is not None else None,
        )

    @property
    def droplet_dollars(self) -> Decimal:
        """What its droplets cost."""
        costs = (entry.cost for entry in self.status.resources if entry.cost is not None)
        return sum(map(Decimal, costs), Decimal(0))

    @property
    def token_dollars(self) -> Decimal:
        """What Claude was paid."""
        return sum((Decimal(entry.cost) for entry in self.status.generations), Decimal(0))

    @property
    def total_dollars(self) -> Decimal:
        """What the record itself gives as the sum."""
        return Decimal(self.status.total_cost or 0)


def is_running(name: str, status: SessionStatus) -> Claim:
    """A session that should run does."""
    return Claim(
        f"{name} is Running and Ready",
        status.phase is Phase.RUNNING and is_true(status.conditions, ConditionType.READY),
        _state(status),
    )


def is_inspected(name: str, status: SessionStatus) -> Claim:
    """A page was looked at before it was Ready."""
    inspected = find_condition(status.conditions, ConditionType.INSPECTED)
    return Claim(
        f"a browser opened the page of {name} and found nothing wrong",
        is_true(status.conditions, ConditionType.INSPECTED),
        "nobody looked" if inspected is None else f"{inspected.reason}: {inspected.message}",
    )


def reason_to_wait(status: SessionStatus) -> str | None:
    """What a session waits for, as a condition's reason; None when it does not wait."""
    admitted = find_condition(status.conditions, ConditionType.ADMITTED)
    return admitted.reason if admitted is not None and admitted.status == "False" else None


def waits(name: str, status: SessionStatus, reason: str, words: str) -> Claim:
    """A session is held back before anything is made, and says where it stands and for what."""
    message = status.message or ""
    return Claim(
        f"{name} says for what it waits, and at which place: {message}",
        status.phase is Phase.REQUESTED
        and reason_to_wait(status) == reason
        and "1st of 1: " in message
        and words in message,
        f"Admitted is {reason_to_wait(status)}; {_state(status)}",
    )


def says_its_price_before(name: str, status: SessionStatus) -> Claim:
    """The estimate is there while nothing is made, and between what its user is charged."""
    cost = status.cost or CostStatus()
    price = cost.price or PriceStatus()
    amounts = (cost.estimated, price.lowest, price.estimated, price.highest)
    known = [Decimal(amount) for amount in amounts if amount is not None]
    return Claim(
        f"{name} says what it will cost before anything is made: about ${cost.estimated}, and what "
        f"is charged: ${price.lowest} to ${price.highest}",
        len(known) == len(amounts)
        and 0 < known[0] <= known[1] < known[2] < known[3]
        and status.droplet is None,
        f"a cost of {cost.estimated}, prices {amounts[1:]}, droplet {status.droplet}",
    )


def budget_says_the_bill(budget: Mapping[str, Any], ledgers: Sequence[Ledger]) -> Claim:
    """A budget spent what the records add up to, has nothing reserved, and was not exceeded."""
    status = BudgetStatus.model_validate(budget.get("status") or {})
    limit, spent = budget["spec"]["limit"], Decimal(status.spent or 0)
    billed = sum(
        (
            ledger.total_dollars
            for ledger in ledgers
            if ledger.status.completed_at is not None
            # At midnight between two months the first sessions belong to the month before.
            and (status.period_start is None or ledger.status.completed_at >= status.period_start)
        ),
        Decimal(0),
    )
    return Claim(
        f"the budget says that ${dollars(spent)} of ${limit} were spent, as the records do",
        0 < spent == billed <= Decimal(limit) and Decimal(status.reserved or 0) == 0,
        f"the records say ${dollars(billed)}, and ${status.reserved} is reserved",
    )


def failed_with_reason(name: str, status: SessionStatus) -> Claim:
    """A session that cannot work ended by itself, and says why."""
    stalled = find_condition(status.conditions, ConditionType.STALLED)
    return Claim(
        f"{name} ended by itself, and says why: {status.termination_reason}",
        status.phase is Phase.DESTROYED
        and bool(status.termination_reason)
        and status.ready_at is None
        and stalled is not None
        and stalled.status == "True",
        _state(status),
    )


def expiry_moved(
    name: str, before: datetime | None, after: datetime | None, *, later: bool
) -> Claim:
    """A change of the annotation moved the end in the direction that was asked for."""
    way = "later" if later else "earlier"
    moved = before is not None and after is not None and before != after
    return Claim(
        f"{name} ends {way} than before: {_clock(before)} → {_clock(after)}",
        moved and before is not None and after is not None and (after > before) is later,
        f"it was to end at {_clock(before)}, and now at {_clock(after)}",
    )


def ended_in_time(name: str, status: SessionStatus, gone_at: datetime | None) -> Claim:
    """The droplet was gone from the cloud within the promised time of its expiry.

    `gone_at` is when the cloud itself says so.
    """
    expiry = status.expiration_time
    if expiry is None or gone_at is None:
        return Claim(f"{name} was gone in time", holds=False, found=_state(status))
    after = (gone_at - expiry).total_seconds()
    return Claim(
        f"{name}: the cloud deleted its droplet {after:.2f} s after its time was over",
        timedelta(0) <= gone_at - expiry <= GONE_WITHIN,
        f"its time was over at {_clock(expiry)}, the droplet was deleted at {_clock(gone_at)}",
    )


def is_tombstone(name: str, status: SessionStatus) -> Claim:
    """An expired session stays, as a tombstone that kstatus reads as Current."""
    conditions = status.conditions
    return Claim(
        f"{name} stays as a tombstone: Destroyed, Expired, everything cleaned up",
        status.phase is Phase.DESTROYED
        and is_true(conditions, ConditionType.EXPIRED)
        and is_true(conditions, ConditionType.CLEANUP_COMPLETE)
        and find_condition(conditions, ConditionType.READY) is None,
        _state(status),
    )


def all_receipts_are_there(ledgers: Sequence[Ledger], sessions: Iterable[str]) -> Claim:
    """Every session has a closed record in which every resource was seen gone."""
    missing = sorted(set(sessions) - {ledger.session for ledger in ledgers})
    problems = [f"{name} has no record" for name in missing]
    count = 0
    for ledger in ledgers:
        count += len(ledger.status.resources)
        if ledger.status.completed_at is None:
            problems.append(f"the record of {ledger.session} is not closed")
        problems += [
            f"{entry.kind} {entry.id} of {ledger.session} is {entry.presence}"
            for entry in ledger.status.resources
            if entry.presence is not Presence.GONE or entry.gone_at is None
        ]
    return Claim(
        f"{len(ledgers)} records hold a receipt for each of the {count} resources that were made",
        not problems,
        "; ".join(problems),
    )


def every_droplet_is_recorded(
    ledgers: Sequence[Ledger], bill_lines: Sequence[Mapping[str, Any]]
) -> Claim:
    """What the cloud billed and what the records list are the same droplets."""
    recorded = {
        entry.id
        for ledger in ledgers
        for entry in ledger.status.resources
        if entry.kind is ResourceKind.DROPLET
    }
    billed = {str(line["droplet_id"]) for line in bill_lines}
    return Claim(
        f"the cloud billed {len(billed)} droplets, and the records list the same ones",
        billed == recorded,
        f"only billed: {sorted(billed - recorded)}, only recorded: {sorted(recorded - billed)}",
    )


def droplets_cost_what_the_cloud_billed(
    ledgers: Sequence[Ledger], bill_lines: Sequence[Mapping[str, Any]]
) -> Claim:
    """The sums for droplets are equal to the last digit."""
    recorded = sum((ledger.droplet_dollars for ledger in ledgers), Decimal(0))
    billed = sum((Decimal(line["dollars"]) for line in bill_lines), Decimal(0))
    return Claim(
        f"droplets: the records say ${dollars(recorded)}, the cloud billed ${dollars(billed)}",
        recorded == billed,
        f"a difference of ${dollars(recorded - billed)}",
    )


def tokens_cost_what_claude_billed(
    ledgers: Sequence[Ledger], bill: Mapping[str, Mapping[str, int]]
) -> Claim:
    """Session by session, the tokens cost what Claude counted, to the last digit of the record.

    `bill` holds Claude's own token counts by session UID.
    """
    problems = []
    for ledger in ledgers:
        billed = claude_dollars(ledger, bill)
        if abs(ledger.token_dollars - billed) > HALF_OF_THE_LAST_DIGIT * len(
            ledger.status.generations
        ):
            recorded = dollars(ledger.token_dollars)
            problems.append(f"{ledger.session}: ${recorded}, but Claude billed ${dollars(billed)}")
    unknown = set(bill) - {ledger.uid for ledger in ledgers}
    problems += [f"Claude billed a session {uid} that has no record" for uid in sorted(unknown)]
    return Claim(
        "tokens cost in every record what Claude's own count of tokens comes to",
        not problems,
        "; ".join(problems),
    )


def claude_dollars(ledger: Ledger, bill: Mapping[str, Mapping[str, int]]) -> Decimal:
    """What Claude's own count for a session comes to, unrounded."""
    counts, orders = bill.get(ledger.uid), ledger.status.generations
    if counts is None or not orders:
        return Decimal(0)
    return token_cost(
        orders[0].model,
        input_tokens=counts["input_tokens"],
        output_tokens=counts["output_tokens"],
        cache_read_tokens=counts["cache_read_input_tokens"],
        cache_write_tokens=counts["cache_creation_input_tokens"],
    )


def sums_add_up(ledgers: Sequence[Ledger], statuses: Mapping[str, SessionStatus]) -> Claim:
    """Each record's total is the sum of its lines, and what its session says."""
    problems = []
    for ledger in ledgers:
        expected = ledger.droplet_dollars + ledger.token_dollars
        status = statuses.get(ledger.session)
        said = status.cost.actual if status is not None and status.cost is not None else None
        if ledger.total_dollars != expected or said is None or Decimal(said) != expected:
            problems.append(
                f"{ledger.session}: lines ${dollars(expected)}, "
                f"record ${dollars(ledger.total_dollars)}, session ${said}"
            )
    return Claim(
        "every session says the cost that its record adds up to", not problems, "; ".join(problems)
    )


def prices_follow_use(ledgers: Sequence[Ledger], statuses: Mapping[str, SessionStatus]) -> Claim:
    """Each price is cost and overhead, times the multiplier, times how busy processor and memory
    were, which change it by a fifth at most; what never ran is charged nothing.
    """
    problems, measured = [], 0
    for ledger in ledgers:
        status = statuses.get(ledger.session)
        usage = ledger.status.usage or UsageTotals()
        measured += usage.measured_seconds
        if not _is_right(_price_of(status), ledger, usage, status):
            problems.append(f"{ledger.session}: {_price_of(status)}, after {usage}")
    if not measured:
        problems.append("no agent has measured anything")
    return Claim(
        f"each price is what cost and use come to; {measured} s of use were measured",
        not problems,
        "; ".join(problems),
    )


def _is_right(
    price: PriceStatus, ledger: Ledger, usage: UsageTotals, status: SessionStatus | None
) -> bool:
    if price.final is None or ledger.terms is None or status is None:
        return False
    if status.ready_at is None:
        return Decimal(price.final) == 0
    ended = max(
        (
            entry.deletion_accepted_at
            for entry in ledger.status.resources
            if entry.kind is ResourceKind.DROPLET and entry.deletion_accepted_at is not None
        ),
        default=status.ready_at,
    )
    ran = max((ended - status.ready_at).total_seconds(), usage.measured_seconds, 1.0)
    total = ledger.total_dollars * (1 + Decimal(ledger.terms.overhead or 0))
    total *= Decimal(ledger.terms.multiplier or 1)
    for shown, busy, idle in (
        (price.cpu, usage.cpu_busy_seconds, usage.cpu_idle_seconds),
        (price.memory, usage.memory_busy_seconds, usage.memory_idle_seconds),
    ):
        factor = Decimal(shown or 0)
        if abs(factor - (1 + _FIFTH * (busy - idle) / Decimal(str(ran)))) > A_SECOND_OF_USE:
            return False
        total *= factor
    return abs(Decimal(price.final) - total) <= 2 * HALF_OF_THE_LAST_DIGIT


def price_lines(
    ledgers: Sequence[Ledger], statuses: Mapping[str, SessionStatus]
) -> list[tuple[str, ...]]:
    """Prices as rows: what was shown before, the cost, the factors, and what is charged."""
    rows: list[tuple[str, ...]] = [
        ("SESSION", "SHOWN BEFORE", "COST", "PROCESSOR", "MEMORY", "CHARGED")
    ]
    for ledger in ledgers:
        price = _price_of(statuses.get(ledger.session))
        before = f"${price.lowest} to ${price.highest}" if price.lowest is not None else ""
        charged = f"${price.final}" if price.final is not None else ""
        factors = [
            f"× {factor}" if factor is not None else "" for factor in (price.cpu, price.memory)
        ]
        rows.append(
            (ledger.session, before, f"${dollars(ledger.total_dollars)}", *factors, charged)
        )
    return rows


def _price_of(status: SessionStatus | None) -> PriceStatus:
    cost = status.cost if status is not None else None
    return (cost.price if cost is not None else None) or PriceStatus()


def cloud_is_empty(state: Mapping[str, Any], domain: str | None) -> Claim:
    """Nothing that costs or points anywhere is left in the account."""
    addresses = [
        f"{record['name']} → {record['data']}"
        for known in state["domains"]
        if known["name"] == domain
        for record in known["records"]
        if record["type"] == "A"
    ]
    left = {
        "droplets": [droplet["name"] for droplet in state["droplets"]],
        "firewalls": [firewall["name"] for firewall in state["firewalls"]],
        "DNS addresses": addresses,
    }
    return Claim(
        "the account is empty: no droplet, no firewall, no address in DNS",
        not any(left.values()),
        "; ".join(f"{kind}: {', '.join(names)}" for kind, names in left.items() if names),
    )


def droplet_gone_at(
    ledger: Ledger | None, bill_lines: Sequence[Mapping[str, Any]]
) -> datetime | None:
    """When the cloud says that the session's last droplet was deleted."""
    ids = {entry.id for entry in ledger.status.resources} if ledger is not None else set()
    times = [line["deleted_at"] for line in bill_lines if str(line["droplet_id"]) in ids]
    if not times or None in times:
        return None
    return datetime.fromtimestamp(max(times), UTC)


def cloud_dollars(ledger: Ledger, bill_lines: Sequence[Mapping[str, Any]]) -> Decimal:
    """What the cloud billed for a session's droplets."""
    ids = {entry.id for entry in ledger.status.resources}
    billed = (line["dollars"] for line in bill_lines if str(line["droplet_id"]) in ids)
    return sum(map(Decimal, billed), Decimal(0))


def receipt_lines(ledger: Ledger) -> list[tuple[str, ...]]:
    """A record's resources as rows: kind, id, made, deletion accepted, seen gone, cost."""
    return [_receipt(ledger.session, entry) for entry in ledger.status.resources]


def dollars(amount: Decimal) -> str:
    """Dollars with at least two and at most six places."""
    text = f"{amount:.6f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<2}"


def _receipt(session: str, entry: LedgerEntry) -> tuple[str, ...]:
    cost = f"${dollars(Decimal(entry.cost))}" if entry.cost is not None else ""
    return (
        session,
        str(entry.kind),
        entry.id if len(entry.id) <= 12 else f"{entry.id[:8]}…",  # noqa: PLR2004 - a UUID's head
        _clock(entry.created_at),
        _clock(entry.deletion_accepted_at),
        _clock(entry.gone_at),
        cost,
    )


def _state(status: SessionStatus) -> str:
    message = f": {status.message}" if status.message else ""
    return f"phase {status.phase or 'none'}{message}"


def _clock(moment: datetime | None) -> str:
    return "–" if moment is None else moment.astimezone(UTC).strftime("%H:%M:%S")
