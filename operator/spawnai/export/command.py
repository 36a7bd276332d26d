"""`spawnai export focus` and `spawnai export sql`."""

import argparse
import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from kubernetes.aio.client import ApiException
from pydantic import ValidationError

from spawnai.api.durations import parse_duration, parse_time
from spawnai.cluster_access import NoClusterAccess

from .charges import Ledger
from .cluster import ClusterReader, connect
from .focus import write_focus

if TYPE_CHECKING:
    from .database import Database

Write = Callable[[str], object]

LOG = logging.getLogger(__name__)

DONE, FAILED, WRONG_USE = 0, 1, 2

_SHORTEST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 60.0
_ROWS_AT_ONCE = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = "Export what sessions cost, from their SpawnRecords."
    kinds = parser.add_subparsers(dest="kind", required=True)
    focus = kinds.add_parser("focus", help="a FOCUS 1.2 CSV file, to stdout")
    focus.add_argument("--since", required=True, help="charges that began from this RFC 3339 time")
    focus.add_argument("--to", help="until before this time; now by default")
    sql = kinds.add_parser("sql", help="tables in PostgreSQL or SQLite")
    sql.add_argument(
        "--to",
        help="the database: postgresql://user@host/database or sqlite:///file.db. With a password "
        "in it, set SPAWNAI_DATABASE_URL instead: arguments are seen by every process",
    )
    sql.add_argument("--follow", action="store_true", help="go on until it is told to stop")
    sql.add_argument("--every", default="15s", help="with --follow: how often; 15s by default")


def run(
    given: argparse.Namespace, environment: Mapping[str, str], output: TextIO, say: Write
) -> int:
    """Run the command; returns the exit code: 0 done, 1 failed, 2 wrong use.

    Args:
        given: the parsed arguments.
        environment: the environment variables.
        output: where a FOCUS file goes.
        say: takes lines for people.
    """
    try:
        if given.kind == "focus":
            now = datetime.now(UTC)
            since = parse_time(given.since)
            to = parse_time(given.to) if given.to else now
            return asyncio.run(_export_focus(since, to, now, output, say))
        return asyncio.run(_export_sql(given, environment, say))
    except ValueError as error:  # a time, a duration or an address that cannot be read
        say(f"spawnai export: {error}\n")
        return WRONG_USE
    except (ApiException, NoClusterAccess, OSError, TimeoutError) as error:
        say(f"spawnai export: the API server did not answer: {_reason(error)}\n")
        return FAILED


async def _export_focus(
    since: datetime, to: datetime, now: datetime, output: TextIO, say: Write
) -> int:
    async with _reader() as reader:
        ledgers = [ledger async for ledger in _ledgers(reader)]
    count = write_focus(ledgers, output, since=since, to=to, now=now)
    say(f"{count} charges\n")
    return DONE


async def _export_sql(given: argparse.Namespace, environment: Mapping[str, str], say: Write) -> int:
    # SQLAlchemy is an extra of the package, and takes 0.3 s to import.
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from spawnai.database.address import database_url  # noqa: PLC0415

    from .database import Database  # noqa: PLC0415

    address = given.to or environment.get("SPAWNAI_DATABASE_URL")
    if not address:
        raise ValueError("name the database with --to or SPAWNAI_DATABASE_URL")
    every = parse_duration(given.every).total_seconds()
    database = Database(database_url(address))
    pause = _SHORTEST_RETRY_SECONDS
    try:
        while True:
            try:
                await database.migrate()
                changed = await _copy(database)
            except (SQLAlchemyError, ApiException, OSError, TimeoutError) as error:
                say(f"spawnai export: {database.shown}: {_reason(error)}\n")
                if not given.follow:
                    return FAILED
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
                continue
            pause = _SHORTEST_RETRY_SECONDS
            if changed or not given.follow:
                say(f"{changed} rows changed in {database.shown}\n")
            if not given.follow:
                return DONE
            await asyncio.sleep(every)
    finally:
        await database.close()


async def _copy(database: "Database") -> int:
    """Write every session and ledger; returns how many rows changed."""
    from .rows import SessionObject, rows_of  # noqa: PLC0415

    now = datetime.now(UTC)
    changed = 0
    async with _reader() as reader:
        sessions = {}
        async for document in reader.objects("spawnsessions"):
            with _skipping(document):
                sessions[document["metadata"]["uid"]] = SessionObject.of(document)
        batch = []
        async for ledger in _ledgers(reader):
            batch += list(rows_of(sessions.pop(ledger.uid, None), ledger, now))
            if len(batch) >= _ROWS_AT_ONCE:
                changed += await database.write(batch)
                batch = []
        for session in sessions.values():
            batch += list(rows_of(session, None, now))
        return changed + await database.write(batch)


async def _ledgers(reader: ClusterReader) -> AsyncIterator[Ledger]:
    async for document in reader.objects("spawnrecords"):
        with _skipping(document):
            yield Ledger.of(document)


@contextlib.contextmanager
def _skipping(document: dict[str, object]) -> Iterator[None]:
    """An object that cannot be read is left out and named; the others are exported."""
    try:
        yield
    except (ValidationError, KeyError, TypeError) as error:
        metadata = document.get("metadata")
        LOG.warning("%s cannot be read and is left out: %s", metadata, type(error).__name__)


@contextlib.asynccontextmanager
async def _reader() -> AsyncIterator[ClusterReader]:
    api, reader = await connect()
    async with api:
        yield reader


def _reason(error: BaseException) -> str:
    """One line, without what an error quotes of its statement: that may hold a prompt."""
    original = getattr(error, "orig", None) or error
    return str(original).splitlines()[0][:300] if str(original) else type(original).__name__
