"""A PostgreSQL or SQLite database that takes rows. Writing the same rows again changes nothing."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Table, or_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from spawnai.database.tables import ORDER

from .rows import Row


class Database:
    """One database, with our tables in it."""

    def __init__(self, url: URL) -> None:
        self.shown = url.render_as_string(hide_password=True)
        self._engine: AsyncEngine = create_async_engine(url, pool_pre_ping=True)

    async def migrate(self) -> None:
        """Bring the tables to this version's shape.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: the database refused or does not answer.
        """
        async with self._engine.begin() as connection:
            await connection.run_sync(_migrate)

    async def write(self, rows: Iterable[tuple[Table, Row]]) -> int:
        """Insert or update rows in one transaction; returns how many rows changed.

        A column that a row does not name keeps its value.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: the database refused or does not answer.
        """
        groups: dict[Table, dict[tuple[str, ...], list[Row]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for table, row in rows:
            groups[table][tuple(sorted(row))].append(row)
        changed = 0
        async with self._engine.begin() as connection:
            for table in ORDER:
                for columns, alike in groups[table].items():
                    statement = _upsert(table, columns, self._engine.dialect.name)
                    # Rows as parameters: written into the statement, each batch would be compiled
                    # anew, which takes three times as long as the database does.
                    changed += len((await connection.execute(statement, alike)).all())
        return changed

    async def close(self) -> None:
        """Give the connections back."""
        await self._engine.dispose()


def _upsert(table: Table, columns: tuple[str, ...], dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table)
    key = [column.name for column in table.primary_key]
    others = [name for name in columns if name not in key]
    # JSON has no equality in PostgreSQL, and ours never changes.
    compared = [name for name in others if name != "metadata"]
    upsert = statement.on_conflict_do_update(
        index_elements=key,
        set_={name: statement.excluded[name] for name in others},
        where=or_(*(table.c[name].is_distinct_from(statement.excluded[name]) for name in compared)),
    )
    # A row that is as it was is not updated, and not returned.
    return upsert.returning(*table.primary_key)


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
