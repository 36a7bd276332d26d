"""The history in SQL: what `spawnai export sql` wrote. Read only, and it knows no rights."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Case,
    ColumnElement,
    Numeric,
    Row,
    Select,
    case,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from spawnai.api.history import MOST, Search
from spawnai.billing.ledger import money
from spawnai.database.address import database_url
from spawnai.database.tables import cost_tracking, sessions

from .history import DatabaseAway
from .models import EndedSession, HistoryAnswer

_LOGGER = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
_CONNECTIONS = 4
_MONEY = Numeric(14, 6)


class SqlHistory:
    """One PostgreSQL or SQLite database. A connection is made when one is needed.

    Args:
        address: as users write it.
    """

    def __init__(self, address: str) -> None:
        url = _read_only(database_url(address))
        self._shown = url.render_as_string(hide_password=True)
        self._engine = create_async_engine(
            url, pool_pre_ping=True, pool_size=_CONNECTIONS, max_overflow=0
        )

    async def ended(self, namespace: str | None, search: Search) -> HistoryAnswer:
        """The ended sessions of a namespace, or of all, that match: the newest first, `MOST` at
        most.

        Raises:
            DatabaseAway: it does not answer in time, or has no such tables.
        """
        try:
            async with asyncio.timeout(_ANSWER_SECONDS), self._engine.connect() as connection:
                rows = (await connection.execute(_ended_sessions(namespace, search))).all()
                shown = rows[:MOST]
                paid = await connection.execute(_costs([row.id for row in shown]))
                costs = {uid: (server, claude) for uid, server, claude in paid}
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            # Not SQLAlchemy's own text: it quotes the statement, and with it what is looked for.
            original = getattr(error, "orig", None) or error
            reason = str(original).partition("\n")[0] or type(original).__name__
            _LOGGER.warning("%s cannot be read: %s", self._shown, reason)
            raise DatabaseAway from error
        items = [_ended(row, costs.get(row.id, (None, None))) for row in shown]
        return HistoryAnswer(items=items, more=len(rows) > MOST)

    async def close(self) -> None:
        """Give the connections back."""
        await self._engine.dispose()


def _read_only(url: URL) -> URL:
    """SQLite makes a file that is not there, unless it is told to read only."""
    if not url.drivername.startswith("sqlite") or not url.database:
        return url
    return url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})


def _ended_sessions(namespace: str | None, search: Search) -> Select[Any]:
    row = sessions.c
    query = (
        select(sessions)
        .where(row.destroyed_at.is_not(None))
        .order_by(row.destroyed_at.desc(), row.id.desc())
        .limit(MOST + 1)
    )
    if namespace is not None:
        query = query.where(row.namespace == namespace)
    if search.user is not None:
        query = query.where(row.user_id == search.user)
    if search.class_name is not None:
        query = query.where(row.class_name == search.class_name)
    if search.text is not None:
        columns = (row.name, row.user_id, row.class_name, row.prompt)
        found = (one.icontains(search.text, autoescape=True) for one in columns)
        query = query.where(or_(*found))
    if search.since is not None:
        query = query.where(row.destroyed_at >= search.since.astimezone(UTC))
    if search.until is not None:
        query = query.where(row.destroyed_at < search.until.astimezone(UTC))
    return query


def _costs(uids: Sequence[str]) -> Select[Any]:
    row = cost_tracking.c
    is_claude = row.resource_type == "claude_api"
    return (
        select(
            row.session_id,
            _sum(case((is_claude, 0), else_=row.total_cost)),
            _sum(case((is_claude, row.total_cost), else_=0)),
        )
        .where(row.session_id.in_(uids))
        .group_by(row.session_id)
    )


def _sum(amounts: Case[Any]) -> ColumnElement[Decimal]:
    return type_coerce(func.sum(amounts), _MONEY)


def _ended(row: Row[Any], costs: tuple[Decimal | None, Decimal | None]) -> EndedSession:
    server, claude = costs
    return EndedSession(
        uid=row.id,
        namespace=row.namespace,
        name=row.name,
        # The export writes the namespace where an order names no user.
        user=None if row.user_id == row.namespace else row.user_id,
        class_name=row.class_name,
        app_type=row.app_type,
        tier=row.tier,
        prompt=row.prompt,
        created_at=_utc(row.created_at),
        completed_at=_utc(row.destroyed_at),
        termination_reason=row.termination_reason,
        server_cost=_text(server),
        claude_cost=_text(claude),
        total_cost=_text(row.actual_cost),
    )


def _utc(moment: datetime) -> datetime:
    """SQLite keeps no zone; what the export writes is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else money(amount)
