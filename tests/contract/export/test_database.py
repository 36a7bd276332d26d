"""The SQL export, and the history that the console reads from it, against real databases:
PostgreSQL, and SQLite as the embedded default.
"""

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from tests.unit.export.ledgers import (
    UID,
    image_document,
    record_document,
    session_document,
    spare_document,
)

import spawnai.export.database
from spawnai.console.history import MOST, DatabaseAway, Search
from spawnai.console.history_database import SqlHistory, _ended_sessions
from spawnai.database.address import database_url
from spawnai.database.tables import ORDER, VIEWS, sessions
from spawnai.export.charges import Ledger
from spawnai.export.database import Database
from spawnai.export.rows import SessionObject, rows_of
from spawnai_local.postgresql import postgresql, programs

MIGRATIONS = Path(spawnai.export.database.__file__).parent / "migrations"
NOW = datetime(2026, 11, 29, 15, 0, tzinfo=UTC)
END = datetime(2026, 11, 29, 14, 0, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if programs() is None:
        pytest.skip("PostgreSQL's server is not here: apt-get install postgresql")
    # Not below pytest's directory, which only its owner may enter.
    with (
        tempfile.TemporaryDirectory(prefix="spawnai-pg-") as directory,
        postgresql(Path(directory)) as address,
    ):
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, tmp_path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path}/export.db"
    else:
        address = request.getfixturevalue("server")
    opened = Database(database_url(address))
    await opened.migrate()
    yield opened
    async with opened._engine.begin() as connection:
        for table in reversed(ORDER):
            await connection.execute(table.delete())
    await opened.close()


def rows(*, session=True, **status):
    made = SessionObject.of(session_document()) if session else None
    return list(rows_of(made, Ledger.of(record_document(**status)), NOW))


async def test_writing_the_same_again_changes_no_row(database):
    assert await database.write(rows()) == 8
    await database.migrate()
    assert await database.write(rows()) == 0


async def test_what_changed_is_updated_and_what_went_stays(database):
    await database.write(rows())
    assert await database.write(rows(session=False, terminationReason="Deleted")) == 2
    async with database._engine.connect() as connection:
        row = (await connection.execute(select(sessions))).one()
    assert (row.id, row.prompt, row.termination_reason) == (UID, "A retro board", "Deleted")


async def test_the_first_descriptions_queries_answer(database):
    await database.write(rows())
    async with database._engine.connect() as connection:
        for view in VIEWS:
            await connection.execute(text(f"SELECT * FROM {view}"))  # noqa: S608 - our names
        costs = (await connection.execute(text("SELECT * FROM session_costs"))).one()
    assert float(costs.total_cost) == pytest.approx(0.10386)


def rows_of_others():
    return [
        row
        for document in (spare_document(), image_document())
        for row in rows_of(None, Ledger.of(document), NOW)
    ]


async def test_costs_of_no_session_are_written_once_and_stand_apart(database):
    await database.write([*rows(), *rows_of_others()])
    assert await database.write([*rows_of_others(), *rows()]) == 0
    async with database._engine.connect() as connection:
        shared = (await connection.execute(text("SELECT * FROM shared_costs"))).all()
        owned = (await connection.execute(text("SELECT * FROM session_costs"))).all()
    assert {(one.kind, one.owner_name): float(one.total_cost) for one in shared} == {
        ("pool", "quick"): pytest.approx(0.01),
        ("image", "standard"): pytest.approx(0.016429),
    }
    assert [one.session_id for one in owned] == [UID]


async def test_a_database_of_before_lets_costs_be_no_sessions_and_keeps_what_it_has(database):
    await database.write(rows())
    async with database._engine.begin() as connection:
        await connection.run_sync(_as_of_version_2)
    await database.migrate()
    await database.write([*rows(), *rows_of_others()])
    async with database._engine.connect() as connection:
        kinds = (
            await connection.execute(
                text("SELECT kind, COUNT(*) AS n FROM cost_tracking GROUP BY kind")
            )
        ).all()
    assert {one.kind: one.n for one in kinds} == {"session": 2, "pool": 1, "image": 2}


def _as_of_version_2(connection):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.downgrade(config, "0002")


async def test_many_sessions_are_written_in_batches(database):
    many = [
        row
        for number in range(600)
        for row in rows_of(None, Ledger.of(record_document(f"uid-{number}", resources=[])), NOW)
    ]
    await database.write(many)
    assert await database.write(many) == 0
    async with database._engine.connect() as connection:
        assert (
            await connection.execute(select(func.count()).select_from(sessions))
        ).scalar() == 600


async def test_a_database_that_is_away_is_an_error_that_shows_no_password():
    away = Database(database_url("postgresql://me:hidden@127.0.0.1:9/x"))
    with pytest.raises((OSError, SQLAlchemyError)) as refused:
        await away.migrate()
    assert "hidden" not in str(refused.value)
    assert "hidden" not in away.shown
    await away.close()


# The history.


@pytest.fixture
async def history(database):
    address = database._engine.url.render_as_string(hide_password=False)
    opened = SqlHistory(address)
    yield opened
    await opened.close()


def ledger(uid, *, name="quiz", namespace="team-a", user=None, class_name="standard", **status):
    document = record_document(uid, resources=[], generations=[], **status)
    document["spec"]["owner"] |= {"name": name, "namespace": namespace, "user": user}
    document["spec"]["className"] = class_name
    return list(rows_of(None, Ledger.of(document), NOW))


async def names(history, namespace="team-a", **search):
    found = await history.ended(namespace, Search(**search))
    return [one.name for one in found.items]


async def test_a_receipt_is_the_ledgers_and_has_the_prompt(database, history):
    await database.write(rows())
    (item,) = (await history.ended("team-a", Search())).items
    assert item.model_dump(mode="json") == {
        "uid": UID,
        "namespace": "team-a",
        "name": "retro-board",
        "user": "dana",
        "class_name": "standard",
        "app_type": "webapp",
        "tier": "light",
        "prompt": "A retro board",
        "created_at": "2026-11-29T12:00:00Z",
        "completed_at": "2026-11-29T14:00:03Z",
        "termination_reason": "Expired",
        "server_cost": "0.01786",
        "claude_cost": "0.086",
        "total_cost": "0.10386",
    }


async def test_it_is_searched_as_the_ledgers_are(database, history):
    await database.write(rows())
    await database.write(ledger("2", completedAt="2026-11-29T15:00:00Z", class_name="big"))
    await database.write(ledger("3", name="alive", completedAt=None))
    await database.write(ledger("4", name="foreign", namespace="team-b"))
    assert await names(history) == ["quiz", "retro-board"]
    assert await names(history, "team-b") == ["foreign"]
    assert await names(history, user="dana") == ["retro-board"]
    assert await names(history, user="team-a") == ["quiz"]
    assert await names(history, class_name="big") == ["quiz"]
    assert await names(history, text="A RETRO") == ["retro-board"]
    assert await names(history, text="%") == []
    assert await names(history, until=END) == []
    assert await names(history, since=END) == ["quiz", "retro-board"]
    assert await names(history, since=datetime.fromisoformat("2026-11-29T15:30:00+01:00")) == [
        "quiz"
    ]


async def test_of_all_namespaces_it_is_one_list(database, history):
    await database.write(rows())
    await database.write(ledger("2", completedAt="2026-11-29T15:00:00Z", namespace="team-b"))
    assert await names(history, None) == ["quiz", "retro-board"]
    assert await names(history, None, user="dana") == ["retro-board"]


@pytest.mark.parametrize(
    ("namespace", "index"),
    [("team-a", "idx_sessions_ended"), (None, "idx_sessions_ended_anywhere")],
)
async def test_a_database_of_before_gets_the_indexes_that_it_is_read_by(database, namespace, index):
    is_sqlite = database._engine.dialect.name == "sqlite"
    async with database._engine.begin() as connection:
        for name in ("idx_sessions_ended", "idx_sessions_ended_anywhere"):
            await connection.execute(text(f"DROP INDEX {name}"))
        await connection.execute(text("UPDATE spawnai_schema_version SET version_num = '0001'"))
    await database.migrate()
    query = _ended_sessions(namespace, Search()).compile(
        database._engine, compile_kwargs={"literal_binds": True}
    )
    async with database._engine.begin() as connection:
        if not is_sqlite:  # it reads the whole of a table that is as small as this one
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        plan = str((await connection.execute(text(f"{explain} {query}"))).all())
    assert f"{index} " in plan, plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


async def test_more_than_one_answer_holds_is_said(database, history):
    await database.write([row for number in range(MOST + 1) for row in ledger(str(number))])
    found = await history.ended("team-a", Search())
    assert (len(found.items), found.more) == (MOST, True)


@pytest.mark.parametrize("exists", [True, False])
async def test_a_file_that_the_export_did_not_make_cannot_be_read(tmp_path, exists):
    path = tmp_path / "history.db"
    if exists:
        path.touch()
    history = SqlHistory(f"sqlite:///{path}")
    with pytest.raises(DatabaseAway):
        await history.ended("team-a", Search())
    await history.close()
    assert path.exists() == exists
    for thread in threading.enumerate():  # aiosqlite's ends a moment after a connection failed
        if "connection_worker" in thread.name:
            await asyncio.to_thread(thread.join)


@pytest.mark.parametrize("who", ["nobody-of-that-name:open-sesame@", None])
async def test_a_server_that_refuses_or_is_away_cannot_be_read(request, who, caplog):
    if who is None:
        address = "postgresql://me:open-sesame@127.0.0.1:9/x"
    else:
        there = request.getfixturevalue("server")
        address = there.replace("://", f"://{who}", 1).replace("spawnai@", "")
    away = SqlHistory(address)
    with pytest.raises(DatabaseAway):
        await away.ended("team-a", Search(text="what-was-looked-for"))
    await away.close()
    assert "cannot be read" in caplog.text
    assert "open-sesame" not in caplog.text
    assert "what-was-looked-for" not in caplog.text
