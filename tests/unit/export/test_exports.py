"""Charges, FOCUS rows and SQL rows of one session."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.unit.export.ledgers import (
    UID,
    image_document,
    record_document,
    session_document,
    spare_document,
)

from spawnai.database import tables
from spawnai.database.address import DatabaseAddressError, database_url
from spawnai.export.charges import Ledger, Provider, charges_of
from spawnai.export.focus import COLUMNS, write_focus
from spawnai.export.rows import SessionObject, rows_of

NOW = datetime(2026, 11, 29, 15, 0, tzinfo=UTC)
DAY = datetime(2026, 11, 29, tzinfo=UTC)
LEDGER = Ledger.of(record_document())
SESSION = SessionObject.of(session_document())
SPARE = Ledger.of(spare_document())
IMAGE = Ledger.of(image_document())


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


def focus(*ledgers, **period) -> list[dict[str, str]]:
    output = io.StringIO()
    write_focus(ledgers or [LEDGER], output, **{"since": DAY, "to": NOW, "now": NOW, **period})
    output.seek(0)
    return list(csv.DictReader(output))


def test_a_focus_row_names_whose_and_what_the_session_was():
    assert json.loads(focus()[0]["Tags"]) == {
        "kind": "session",
        "user": "dana",
        "class": "standard",
        "session": "retro-board",
        "appType": "webapp",
        "tier": "light",
    }


def test_a_spares_cost_is_a_line_of_its_own_and_on_no_user():
    pool, droplet, _claude = focus(SPARE, LEDGER)
    assert json.loads(pool["Tags"]) == {
        "kind": "pool",
        "class": "standard",
        "pool": "quick",
        "tier": "light",
    }
    assert (pool["SubAccountType"], pool["SubAccountId"]) == ("SpawnPool", "quick")
    assert (pool["ServiceCategory"], pool["BilledCost"], pool["x_SessionId"]) == (
        "Compute",
        "0.01",
        "",
    )
    # The session that took the droplet pays from then on.
    assert pool["ResourceId"] == droplet["ResourceId"] == "41"
    assert pool["ChargePeriodEnd"] == droplet["ChargePeriodStart"] == "2026-11-29T12:00:00Z"
    assert droplet["x_SessionId"] == UID


def test_an_images_ledger_is_storage_and_its_builders_hours_are_on_no_user():
    rows = focus(IMAGE, since=DAY - timedelta(days=2))
    assert [(row["ServiceCategory"], row["ServiceName"]) for row in rows] == [
        ("Compute", "Droplets"),
        ("Storage", "Snapshots"),
    ]
    for row in rows:
        assert json.loads(row["Tags"]) == {"kind": "image", "class": "standard"}
        assert (row["SubAccountType"], row["x_SessionId"]) == ("SpawnImage", "")


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


def test_what_a_pool_pays_is_a_cost_of_no_session():
    made = rows(session=None, ledger=SPARE)
    (cost,) = made.pop("cost_tracking")
    assert made == {}, "the droplet is the session's now, which has a row of it"
    assert (cost["session_id"], cost["kind"], cost["owner_name"]) == (None, "pool", "quick")
    assert cost["total_cost"] == Decimal("0.01")


def test_a_spare_that_changes_hands_is_in_one_ledgers_row_already_before_its_own_is_closed():
    document = spare_document(terminationReason=None, completedAt=None)
    document["status"]["resources"][0] |= {"cost": None, "goneAt": None, "presence": "Present"}
    assert rows(session=None, ledger=Ledger.of(document)) == {}


def test_a_spare_that_waits_is_available_and_nobodys():
    document = spare_document(takenOverBy=None, takenOverAt=None, completedAt=None)
    entry = document["status"]["resources"][0]
    for name in ("cost", "goneAt", "deletionAcceptedAt", "presence"):
        del entry[name]
    made = rows(session=None, ledger=Ledger.of(document))
    assert set(made) == {"droplets_pool"}, "what it costs is not known yet"
    (droplet,) = made["droplets_pool"]
    assert (droplet["status"], droplet["current_session_id"]) == ("available", None)


def test_an_image_has_two_costs_and_its_builder_is_a_droplet_of_nobody():
    made = rows(session=None, ledger=IMAGE)
    assert [row["resource_type"] for row in made["cost_tracking"]] == ["droplet", "image"]
    assert {row["kind"] for row in made["cost_tracking"]} == {"image"}
    (builder,) = made["droplets_pool"]
    assert (builder["status"], builder["current_session_id"]) == ("destroyed", None)
    assert set(made) == {"cost_tracking", "droplets_pool"}


def test_a_class_ledger_is_no_session():
    document = record_document()
    document["spec"]["owner"] |= {"kind": "SpawnClass", "namespace": None, "user": None}
    document["status"]["generations"] = []
    made = rows(session=None, ledger=Ledger.of(document))
    assert {row["session_id"] for row in made["cost_tracking"]} == {None}
    assert set(made) == {"cost_tracking", "droplets_pool"}


@pytest.mark.parametrize("text", ["mysql://host/x", "nonsense", "", "http://me:hidden@h/x"])
def test_an_address_that_is_no_database_of_ours_is_refused_without_quoting_it(text):
    with pytest.raises(DatabaseAddressError, match="write postgresql://") as refused:
        database_url(text)
    assert "hidden" not in str(refused.value)


def test_a_shown_address_hides_its_password():
    url = database_url("postgresql://me:hidden@host/x")
    assert "hidden" not in str(url)
    assert url.drivername == "postgresql+asyncpg"
