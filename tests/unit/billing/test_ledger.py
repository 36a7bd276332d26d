"""How soon the ledger has to be written: what is lost in a crash, and what is found again."""

from datetime import UTC, datetime

import pytest

from spawnai.api.record import GenerationEntry, LedgerEntry, RecordStatus, ResourceKind
from spawnai.billing.ledger import (
    ADDRESS_COMES_WITHIN,
    AT_ONCE,
    merged,
    with_deletion_accepted,
    with_gone,
    with_resource,
    write_within,
)

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
IP = "203.0.113.7"
EMPTY = RecordStatus()
ORDER = GenerationEntry(model="claude-sonnet-5-5", started_at=AT, outcome="Stored", cost="0.04")


def line(kind: ResourceKind, id_: str, ip: str | None = None) -> LedgerEntry:
    return LedgerEntry(kind=kind, id=id_, name=f"name-{id_}", ip=ip, created_at=AT)


DROPLET = line(ResourceKind.DROPLET, "77")
ADDRESSED = line(ResourceKind.DROPLET, "77", IP)
NAME = line(ResourceKind.DOMAIN_RECORD, "5", IP)
FIREWALL = line(ResourceKind.FIREWALL, "firewall-1")


def book(*resources: LedgerEntry, orders: int = 0) -> RecordStatus:
    return RecordStatus(resources=list(resources), generations=[ORDER] * orders)


@pytest.mark.parametrize(
    ("known", "named"),
    [
        (book(DROPLET), False),
        (book(ADDRESSED), True),
        (book(FIREWALL), True),
        (book(orders=1), True),
        (RecordStatus(residuals=["Droplet 77"]), True),
        (RecordStatus(completed_at=AT), True),
    ],
)
def test_identities_money_and_ends_are_written_at_once(known, named):
    assert write_within(EMPTY, known, named=named) == AT_ONCE


def test_a_droplet_that_will_have_a_name_may_wait_for_its_address():
    assert write_within(EMPTY, book(DROPLET), named=True) == ADDRESS_COMES_WITHIN


def test_an_address_is_written_at_once_where_a_name_is_to_lead_there():
    assert write_within(book(DROPLET), book(ADDRESSED), named=True) == AT_ONCE
    assert write_within(book(DROPLET), book(ADDRESSED), named=False) is None


def test_a_name_waits_for_the_app_to_be_written():
    stored = book(ADDRESSED)
    assert write_within(stored, book(ADDRESSED, NAME), named=True) is None
    assert write_within(stored, book(ADDRESSED, NAME, orders=1), named=True) == AT_ONCE
    written = book(ADDRESSED, orders=1)
    assert write_within(written, book(ADDRESSED, NAME, orders=1), named=True) == AT_ONCE


def test_the_most_urgent_line_decides():
    assert write_within(EMPTY, book(DROPLET, FIREWALL), named=True) == AT_ONCE


def test_what_is_stored_is_not_written_again():
    stored = book(ADDRESSED, NAME, orders=1)
    assert write_within(stored, stored, named=True) is None


def test_the_same_thing_is_noted_once():
    twice = with_resource(with_resource(EMPTY, DROPLET), ADDRESSED)
    assert twice == book(DROPLET)
    other_kind = DROPLET.model_copy(update={"kind": ResourceKind.DOMAIN_RECORD})
    assert with_resource(book(DROPLET), other_kind).resources == [DROPLET, other_kind]


def test_two_writers_of_one_ledger_lose_no_line_no_order_and_no_receipt():
    ours = with_deletion_accepted(book(DROPLET, NAME, orders=1), NAME.kind, NAME.id, AT)
    theirs = with_gone(book(DROPLET, FIREWALL, orders=1), DROPLET.kind, DROPLET.id, AT)
    both = merged(ours, theirs)
    assert both.resources == [theirs.resources[0], ours.resources[1], FIREWALL]
    assert both.generations == [ORDER]
    assert merged(both, theirs) == both
    assert merged(both, EMPTY) == both
