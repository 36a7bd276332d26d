from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from spawnai.api.conditions import Condition
from spawnai.api.record import (
    GenerationEntry,
    LedgerEntry,
    Presence,
    PriceTerms,
    RecordStatus,
    ResourceKind,
    UsageTotals,
)
from spawnai.api.session import CostStatus, Phase, SessionStatus
from spawnai_local import demo_checks as checks
from spawnai_local.demo_checks import Ledger

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
DOMAIN = "apps.example.test"


def condition(kind: str, *, holds: bool = True) -> Condition:
    status = "True" if holds else "False"
    return Condition(type=kind, status=status, reason="Test", last_transition_time=NOON)


def status(phase: Phase, *conditions: Condition, **fields) -> SessionStatus:
    return SessionStatus(phase=phase, conditions=list(conditions), **fields)


def droplet(**fields) -> LedgerEntry:
    entry = {
        "kind": ResourceKind.DROPLET,
        "id": "7",
        "name": f"spawn-{UID}",
        "created_at": NOON,
        "deletion_accepted_at": NOON,
        "gone_at": NOON,
        "presence": Presence.GONE,
        "cost": "0.01",
    }
    return LedgerEntry(**{**entry, **fields})


def order(**fields) -> GenerationEntry:
    entry = {
        "model": "claude-sonnet-5-5",
        "started_at": NOON,
        "outcome": "ok",
        "input_tokens": 1000,
        "output_tokens": 2000,
        "cost": "0.022",
    }
    return GenerationEntry(**{**entry, **fields})


def ledger(*resources: LedgerEntry, orders=(), total="0.01", **fields) -> Ledger:
    record = RecordStatus(
        resources=list(resources),
        generations=list(orders),
        total_cost=total,
        **{"completed_at": NOON, **fields},
    )
    return Ledger("board", UID, record)


def bill_line(**fields):
    return {"droplet_id": 7, "dollars": "0.010000", "deleted_at": NOON.timestamp(), **fields}


def claude_count(**fields):
    counts = {
        "input_tokens": 1000,
        "output_tokens": 2000,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }
    return {UID: {**counts, **fields}}


def test_running_means_ready_as_well():
    assert checks.is_running("board", status(Phase.RUNNING, condition("Ready"))).holds
    assert not checks.is_running("board", status(Phase.RUNNING)).holds
    assert not checks.is_running("board", status(Phase.DEPLOYING, condition("Ready"))).holds


def test_a_failure_is_stalled_and_has_a_reason():
    stalled = condition("Stalled")
    failed = status(Phase.DESTROYED, stalled, termination_reason="AppCrashed")
    assert checks.failed_with_reason("broken", failed).holds
    without_reason = status(Phase.DESTROYED, stalled)
    assert not checks.failed_with_reason("broken", without_reason).holds
    orderly = status(Phase.DESTROYED, termination_reason="Expired", ready_at=NOON)
    assert not checks.failed_with_reason("broken", orderly).holds


@pytest.mark.parametrize(
    ("after", "later", "holds"),
    [
        (NOON + timedelta(seconds=1), True, True),
        (NOON, True, False),
        (NOON - timedelta(seconds=1), True, False),
        (NOON - timedelta(seconds=1), False, True),
        (NOON + timedelta(seconds=1), False, False),
        (None, True, False),
    ],
)
def test_an_end_has_to_move_the_way_that_was_asked_for(after, later, holds):
    assert checks.expiry_moved("board", NOON, after, later=later).holds is holds


@pytest.mark.parametrize(
    ("seconds_after_expiry", "holds"), [(-0.1, False), (0, True), (5, True), (5.1, False)]
)
def test_gone_means_within_five_seconds_and_never_before_its_time(seconds_after_expiry, holds):
    ended = status(Phase.DESTROYED, expiration_time=NOON)
    gone_at = NOON + timedelta(seconds=seconds_after_expiry)
    assert checks.ended_in_time("board", ended, gone_at).holds is holds


def test_a_droplet_that_the_cloud_still_has_is_not_gone_in_time():
    ended = status(Phase.DESTROYED, expiration_time=NOON)
    gone_at = checks.droplet_gone_at(ledger(droplet()), [bill_line(deleted_at=None)])
    assert gone_at is None
    assert not checks.ended_in_time("board", ended, gone_at).holds


def test_the_cloud_s_own_time_of_deletion_counts():
    assert checks.droplet_gone_at(ledger(droplet()), [bill_line()]) == NOON
    assert checks.droplet_gone_at(ledger(droplet()), [bill_line(droplet_id=8)]) is None
    assert checks.droplet_gone_at(None, [bill_line()]) is None


def test_a_tombstone_is_expired_clean_and_has_no_ready_condition():
    clean = condition("CleanupComplete")
    expired = condition("Expired")
    assert checks.is_tombstone("board", status(Phase.DESTROYED, expired, clean)).holds
    assert not checks.is_tombstone("board", status(Phase.DESTROYED, expired)).holds
    unclean = condition("CleanupComplete", holds=False)
    assert not checks.is_tombstone("board", status(Phase.DESTROYED, expired, unclean)).holds
    ready = condition("Ready", holds=False)
    assert not checks.is_tombstone("board", status(Phase.DESTROYED, expired, clean, ready)).holds


def test_a_receipt_says_gone_and_when():
    assert checks.all_receipts_are_there([ledger(droplet())], ["board"]).holds
    unknown = ledger(droplet(presence=Presence.UNKNOWN))
    claim = checks.all_receipts_are_there([unknown], ["board"])
    assert not claim.holds
    assert claim.found == "Droplet 7 of board is Unknown"
    assert not checks.all_receipts_are_there([ledger(droplet(gone_at=None))], ["board"]).holds
    still_open = ledger(droplet(), completed_at=None)
    assert not checks.all_receipts_are_there([still_open], ["board"]).holds


def test_every_session_has_a_record():
    claim = checks.all_receipts_are_there([ledger(droplet())], ["board", "quotes"])
    assert not claim.holds
    assert claim.found == "quotes has no record"


def test_a_droplet_that_only_the_cloud_knows_is_found():
    known = ledger(droplet())
    assert checks.every_droplet_is_recorded([known], [bill_line()]).holds
    stray = checks.every_droplet_is_recorded([known], [bill_line(), bill_line(droplet_id=8)])
    assert not stray.holds
    assert stray.found == "only billed: ['8'], only recorded: []"
    assert not checks.every_droplet_is_recorded([known], []).holds


def test_droplets_cost_the_same_to_the_last_digit():
    record = ledger(droplet(cost="0.010001"))
    assert checks.droplets_cost_what_the_cloud_billed(
        [record], [bill_line(dollars="0.010001")]
    ).holds
    assert not checks.droplets_cost_what_the_cloud_billed([record], [bill_line()]).holds


def test_tokens_cost_what_claude_counted():
    record = ledger(orders=[order()])  # 1000 at $2 and 2000 at $10 per million
    assert checks.tokens_cost_what_claude_billed([record], claude_count()).holds
    one_more = claude_count(output_tokens=2001)
    claim = checks.tokens_cost_what_claude_billed([record], one_more)
    assert not claim.holds
    assert claim.found == "board: $0.022, but Claude billed $0.02201"


def test_tokens_billed_without_a_record_are_found():
    record = ledger(orders=[order()])
    stray = {**claude_count(), "another": claude_count()[UID]}
    assert not checks.tokens_cost_what_claude_billed([record], stray).holds


def test_a_record_s_total_is_the_sum_of_its_lines_and_what_the_session_says():
    def says(actual):
        return {"board": status(Phase.DESTROYED, cost=CostStatus(actual=actual))}

    record = ledger(droplet(), orders=[order()], total="0.032")
    assert checks.sums_add_up([record], says("0.032")).holds
    assert not checks.sums_add_up([record], says("0.031")).holds
    assert not checks.sums_add_up([record], {}).holds
    wrong_total = ledger(droplet(), orders=[order()], total="0.03")
    assert not checks.sums_add_up([wrong_total], says("0.03")).holds


def held_back(reason: str, message: str, **fields) -> SessionStatus:
    admitted = Condition(type="Admitted", status="False", reason=reason, last_transition_time=NOON)
    return status(Phase.REQUESTED, admitted, message=message, **fields)


def test_one_that_waits_says_where_it_stands_and_for_what():
    queued = held_back("Queued", "Waiting: 1st of 1: default has 4 of 4 running")
    assert checks.waits("board", queued, "Queued", "of 4 running").holds
    assert not checks.waits("board", queued, "WaitingForBudget", "of 4 running").holds
    assert not checks.waits("board", queued, "Queued", "of 3 running").holds
    admitted = status(Phase.PROVISIONING, condition("Admitted"), message=queued.message)
    assert not checks.waits("board", admitted, "Queued", "of 4 running").holds


def test_an_estimate_is_there_before_a_droplet():
    price = {"model": "Dynamic", "lowest": "0.18", "estimated": "0.28", "highest": "0.4"}
    cost = CostStatus(estimated="0.07", price=price)
    assert checks.says_its_price_before("board", held_back("Queued", "", cost=cost)).holds
    no_range = CostStatus(estimated="0.07", price=price | {"highest": "0.28"})
    assert not checks.says_its_price_before("board", held_back("Queued", "", cost=no_range)).holds
    assert not checks.says_its_price_before("board", held_back("Queued", "")).holds


HALF_BUSY = UsageTotals(measured_seconds=60, cpu_busy_seconds=60, memory_idle_seconds=30)


@pytest.mark.parametrize(
    ("usage", "cpu", "memory", "final", "holds"),
    [
        # 100 s ran: processor 1 + 0.2 × 60 / 100, memory 1 - 0.2 × 30 / 100.
        (HALF_BUSY, "1.12", "0.94", "0.221088", True),
        (HALF_BUSY, "1.12", "0.94", "0.21", False),
        (HALF_BUSY, "1.3", "0.94", "0.221088", False),
        (HALF_BUSY, "1.12", "0.94", None, False),
        (None, "1", "1", "0.21", False),  # nothing was measured
    ],
)
def test_a_price_is_what_cost_and_use_come_to(usage, cpu, memory, final, holds):
    gone = droplet(deletion_accepted_at=NOON + timedelta(seconds=100))
    price = {"model": "Dynamic", "cpu": cpu, "memory": memory, "final": final}
    cost = CostStatus(price=price)
    ran = status(Phase.DESTROYED, ready_at=NOON, cost=cost)
    terms = PriceTerms(model="Dynamic", overhead="0.05", multiplier="2")
    booked = replace(ledger(gone, total="0.1", usage=usage), terms=terms)
    assert checks.prices_follow_use([booked], {"board": ran}).holds is holds


@pytest.mark.parametrize(
    ("spent", "reserved", "holds"),
    [("0.03", "0", True), ("0.02", "0", False), ("0.03", "0.01", False), (None, None, False)],
)
def test_a_budget_spent_what_the_records_add_up_to(spent, reserved, holds):
    budget = {"spec": {"limit": "5"}, "status": {"spent": spent, "reserved": reserved}}
    ledgers = [ledger(total="0.01"), ledger(total="0.02"), ledger(total="1", completed_at=None)]
    assert checks.budget_says_the_bill(budget, ledgers).holds is holds


def test_a_budget_counts_what_ended_in_its_period():
    last_month = ledger(total="1", completed_at=NOON - timedelta(days=1))
    month = {"spent": "0.01", "reserved": "0", "periodStart": "2026-03-01T00:00:00Z"}
    budget = {"spec": {"limit": "5"}, "status": month}
    assert checks.budget_says_the_bill(budget, [ledger(), last_month]).holds


def test_an_empty_cloud_has_no_droplet_firewall_or_address_of_ours():
    domains = [{"name": DOMAIN, "records": [{"type": "NS", "name": "@", "data": "ns1"}]}]
    empty = {"droplets": [], "firewalls": [], "domains": domains}
    assert checks.cloud_is_empty(empty, DOMAIN).holds
    assert not checks.cloud_is_empty({**empty, "droplets": [{"name": "spawn"}]}, DOMAIN).holds
    assert not checks.cloud_is_empty({**empty, "firewalls": [{"name": "fw"}]}, DOMAIN).holds
    pointing = [{"name": DOMAIN, "records": [{"type": "A", "name": "a", "data": "127.1.1.1"}]}]
    claim = checks.cloud_is_empty({**empty, "domains": pointing}, DOMAIN)
    assert not claim.holds
    assert claim.found == "DNS addresses: a → 127.1.1.1"


def test_dollars_have_two_places_or_as_many_as_they_need():
    shown = [checks.dollars(Decimal(text)) for text in ("0", "0.1", "0.012345", "12.340000")]
    assert shown == ["0.00", "0.10", "0.012345", "12.34"]
