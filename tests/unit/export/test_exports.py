"""Charges, FOCUS rows and SQL rows of one session."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.unit.export.ledgers import UID, record_document, session_document

from spawnai.database import tables
from spawnai.database.address import DatabaseAddressError, database_url
from spawnai.export.charges import Ledger, Provider, charges_of
from spawnai.export.focus import COLUMNS, write_focus
from spawnai.export.rows import SessionObject, rows_of

NOW = datetime(2026, 11, 29, 15, 0, tzinfo=UTC)
DAY = datetime(2026, 11, 29, tzinfo=UTC)
LEDGER = Ledger.of(record_document())
SESSION = SessionObject.of(session_document())


def test_a_ledger_charges_what_has_a_price_and_each_order():
    droplet, claude = charges_of(LEDGER, NOW)
    assert (droplet.provider, droplet.quantity, droplet.cost) == (
        Provider.DIGITALOCEAN,
        Decimal("2.000000"),
        Decimal("0.017860"),
    )
    assert (claude.provider, claude.quantity, claude.cost) == (
        Provider.ANTHROPIC,
        Decimal(11000),
        Decimal("0.086000"),
    )


def test_the_charges_are_the_ledgers_total():
    total = sum(charge.cost for charge in charges_of(LEDGER, NOW))
    assert total == Decimal(LEDGER.status.total_cost)


def test_a_droplet_that_lives_is_charged_until_now_and_is_not_final():
    document = record_document()
    document["status"]["resources"] = [
        {
            "kind": "Droplet",
            "id": "41",
            "name": "d",
            "priceHourly": "0.00893",
            "createdAt": "2026-11-29T12:00:00Z",
        }
    ]
    document["status"]["generations"] = []
    (droplet,) = charges_of(Ledger.of(document), NOW)
    assert not droplet.is_final
    assert droplet.cost == Decimal("0.026790")


def focus(**period) -> list[dict[str, str]]:
    output = io.StringIO()
    write_focus([LEDGER], output, **{"since": DAY, "to": NOW, "now": NOW, **period})
    output.seek(0)
    return list(csv.DictReader(output))


def test_a_focus_row_names_whose_and_what_the_session_was():
    assert json.loads(focus()[0]["Tags"]) == {
        "user": "dana",
        "class": "standard",
        "session": "retro-board",
        "appType": "webapp",
        "tier": "light",
    }


def test_a_focus_file_has_the_columns_of_the_specification():
    rows = focus()
    assert len(COLUMNS) == 58
    assert tuple(rows[0]) == COLUMNS
    assert [row["ServiceCategory"] for row in rows] == ["Compute", "AI and Machine Learning"]
    assert [row["BilledCost"] for row in rows] == ["0.01786", "0.086"]
    assert {row["x_SessionId"] for row in rows} == {UID}
    assert {row["BillingPeriodEnd"] for row in rows} == {"2026-12-01T00:00:00Z"}


def test_a_charge_is_in_the_export_in_whose_time_it_began():
    assert focus(since=DAY + timedelta(days=1), to=NOW + timedelta(days=2)) == []
    assert len(focus(to=datetime(2026, 11, 29, 12, 0, 1, tzinfo=UTC))) == 1


def rows(session=SESSION, ledger=LEDGER):
    made = {}
    for table, row in rows_of(session, ledger, NOW):
        made.setdefault(table.name, []).append(row)
    return made


def test_a_session_becomes_rows_of_the_first_descriptions_tables():
    made = rows()
    assert set(made) == {table.name for table in tables.ORDER}
    (session,) = made["sessions"]
    assert (session["id"], session["state"], session["user_id"]) == (UID, "destroyed", "dana")
    assert session["actual_cost"] == Decimal("0.10386")
    assert made["droplets_pool"][0]["status"] == "destroyed"
    assert [row["message"] for row in made["session_logs"]][:2] == ["listening", "bye"]
    assert made["system_alerts"][0]["type"] == "cost_overrun"


def test_a_ledger_alone_tells_what_it_knows_and_nothing_else():
    (session,) = rows(session=None)["sessions"]
    assert session["state"] == "destroyed"
    assert "prompt" not in session


def test_a_session_that_waits_has_a_row_of_its_own():
    waiting = SessionObject.of(session_document() | {"status": {}})
    made = rows(session=waiting, ledger=None)
    assert [row["state"] for row in made["sessions"]] == ["requested"]


def test_a_class_ledger_is_no_session():
    document = record_document()
    document["spec"]["owner"]["kind"] = "SpawnClass"
    assert rows(session=None, ledger=Ledger.of(document)) == {}


@pytest.mark.parametrize("text", ["mysql://host/x", "nonsense", "", "http://me:hidden@h/x"])
def test_an_address_that_is_no_database_of_ours_is_refused_without_quoting_it(text):
    with pytest.raises(DatabaseAddressError, match="write postgresql://") as refused:
        database_url(text)
    assert "hidden" not in str(refused.value)


def test_a_shown_address_hides_its_password():
    url = database_url("postgresql://me:hidden@host/x")
    assert "hidden" not in str(url)
    assert url.drivername == "postgresql+asyncpg"
