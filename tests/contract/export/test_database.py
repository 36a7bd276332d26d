"""The SQL export against real databases: PostgreSQL, and SQLite as the embedded default."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from tests.unit.export.ledgers import UID, record_document, session_document

from spawnai.export.charges import Ledger
from spawnai.export.database import Database, database_url
from spawnai.export.rows import SessionObject, rows_of
from spawnai.export.tables import ORDER, VIEWS, sessions
from spawnai_local.postgresql import postgresql, programs

NOW = datetime(2026, 11, 29, 15, 0, tzinfo=UTC)


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
