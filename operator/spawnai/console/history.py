"""The history: sessions that have ended, also those that were deleted, with their cost.

It is read from the ledgers, which the operator keeps for as long as a class says, and where one is
configured from the database that `spawnai export sql` fills, which keeps everything.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, ValidationError

from spawnai.api.durations import parse_time
from spawnai.api.history import MOST, Search

from .api_server import ApiServer
from .caller import Caller
from .errors import Problem
from .models import EndedSession, HistoryAnswer, Namespace
from .operator_door import AWAY, OperatorDoor
from .rights import require_list
from .sessions import CallerOfRequest, Sessions, errors

DATABASE_AWAY = {
    "missing": "older",
    "notice": "the history database does not answer; this is what the ledgers hold, and older "
    "sessions are missing",
}
OPERATOR_AWAY = {
    "missing": "newest",
    "notice": "the operator does not answer; this is what the history database holds, and "
    "sessions that ended in the last minute may be missing",
}


class DatabaseAway(Exception):
    """The history database does not answer, or does not hold what is asked for."""


class HistoryDatabase(Protocol):
    """Where ended sessions are kept for good. It knows no rights."""

    async def ended(self, namespace: str | None, search: Search) -> HistoryAnswer:
        """The ended sessions of a namespace, or of all, that match: the newest first, `MOST` at
        most.

        Raises:
            DatabaseAway: it cannot be read.
        """


def _read_time(text: Any) -> Any:
    """A time, or a date, whose first moment in UTC it stands for."""
    return parse_time(text if "T" in text.upper() else f"{text}T00:00:00Z")


Time = Annotated[datetime, BeforeValidator(_read_time)]


class History:
    """The route.

    Args:
        api: decides who may read what the database holds.
        door: the operator's; it decides who may read its ledgers.
        sessions: knows the namespace of a caller who names none.
        database: None where none is configured.
    """

    def __init__(
        self,
        api: ApiServer,
        door: OperatorDoor,
        sessions: Sessions,
        database: HistoryDatabase | None,
    ) -> None:
        self._api = api
        self._door = door
        self._sessions = sessions
        self._database = database
        self.router = router = APIRouter(prefix="/api", tags=["history"])
        router.add_api_route(
            "/history",
            self.show,
            methods=["GET"],
            summary="List ended sessions, also deleted ones",
            responses=errors(404),
        )

    async def show(
        self,
        caller: CallerOfRequest,
        *,
        namespace: Annotated[Namespace | None, Query()] = None,
        all_namespaces: Annotated[
            bool,
            Query(
                alias="allNamespaces",
                description="Of all namespaces, for callers who may list their sessions.",
            ),
        ] = False,
        user: Annotated[str | None, Query(max_length=253)] = None,
        class_name: Annotated[str | None, Query(alias="class", max_length=253)] = None,
        search: Annotated[
            str | None, Query(max_length=253, description="A part of name, user, class or prompt.")
        ] = None,
        since: Annotated[
            Time | None, Query(description="The first moment of an end: a time, or a date.")
        ] = None,
        until: Annotated[
            Time | None, Query(description="The first moment after: a time, or a date.")
        ] = None,
    ) -> HistoryAnswer:
        """Sessions that ended from `since` on and before `until`, the newest first.

        `user` is whom limits and cost belong to: the namespace for an order without a user.
        """
        wanted = Search(user, class_name, search, since, until)
        place = None if all_namespaces else self._sessions.namespace_of(caller, namespace)
        return await self._ended(caller, place, wanted)

    async def _ended(self, caller: Caller, namespace: str | None, search: Search) -> HistoryAnswer:
        if self._database is None:
            return await self._from_ledgers(caller, namespace, search)
        # The database asks nobody for a right: it is asked for what the caller may list.
        await require_list(self._api, caller, namespace)
        try:
            kept = await self._database.ended(namespace, search)
        except DatabaseAway:
            ledgers = await self._from_ledgers(caller, namespace, search)
            return ledgers.model_copy(update=DATABASE_AWAY)
        try:
            ledgers = await self._from_ledgers(caller, namespace, search)
        except Problem as problem:
            if problem.answer.reason != AWAY:
                raise
            return kept.model_copy(update=OPERATOR_AWAY)
        return merged(ledgers, kept)

    async def _from_ledgers(
        self, caller: Caller, namespace: str | None, search: Search
    ) -> HistoryAnswer:
        path = "/v1/history" if namespace is None else f"/v1/namespaces/{namespace}/history"
        content = await self._door.read(caller, path, search.query)
        try:
            return HistoryAnswer.model_validate_json(content)
        except ValidationError as error:
            raise Problem(
                HTTPStatus.BAD_GATEWAY, "BadGateway", "the operator's answer is no history"
            ) from error


def merged(ledgers: HistoryAnswer, kept: HistoryAnswer) -> HistoryAnswer:
    """Both in one: a ledger is newer than its copy, and only the copy has the prompt."""
    copies = {one.uid: one for one in kept.items}
    found: dict[str, EndedSession] = dict(copies)
    for one in ledgers.items:
        copy = copies.get(one.uid)
        found[one.uid] = one if copy is None else one.model_copy(update={"prompt": copy.prompt})
    items = sorted(found.values(), key=lambda one: (one.completed_at, one.uid), reverse=True)
    more = ledgers.more or kept.more or len(items) > MOST
    return HistoryAnswer(items=items[:MOST], more=more)
