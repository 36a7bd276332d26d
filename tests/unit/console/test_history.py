"""Where the history comes from: ledgers and database, or the one of them that answers."""

import json
from types import SimpleNamespace

import pytest

from spawnai.console.api_server import Refused
from spawnai.console.caller import Caller
from spawnai.console.errors import Problem
from spawnai.console.history import DatabaseAway, History, Search
from spawnai.console.models import EndedSession, HistoryAnswer
from spawnai.console.operator_door import OperatorAway


def ended(uid: str, hour: int, **fields) -> EndedSession:
    return EndedSession(
        uid=uid,
        namespace="team-a",
        name=f"app-{uid}",
        user=None,
        created_at="2026-11-29T08:00:00Z",
        completed_at=f"2026-11-29T{hour}:00:00Z",
        termination_reason="Expired",
        total_cost="0.1",
        **fields,
    )


class ApiServer:
    def __init__(self, *, allowed: bool = True):
        self.allowed = allowed

    async def call(self, token, method, path, **_):
        if path.endswith("selfsubjectaccessreviews"):
            return {"status": {"allowed": self.allowed}}
        raise Refused(403, {"message": f"may not {method} {path}"})


class Door:
    """The operator's; without items it is away."""

    def __init__(self, *items: EndedSession, content: bytes | None = None):
        self.content = content
        if items:
            document = HistoryAnswer(items=list(items)).model_dump(mode="json", by_alias=True)
            self.content = json.dumps(document).encode()

    async def read(self, caller, path, query):
        self.asked = path, query
        if self.content is None:
            raise OperatorAway("no answer in time")
        return self.content


class Database:
    def __init__(self, *items: EndedSession, away: bool = False):
        self.items, self.away, self.asked = list(items), away, False

    async def ended(self, namespace, search):
        self.asked = namespace or "all"
        if self.away:
            raise DatabaseAway
        return HistoryAnswer(items=self.items)


async def read(door, database=None, *, allowed=True, search=None):
    history = History(ApiServer(allowed=allowed), door, SimpleNamespace(), database)
    return await history._ended(Caller("t"), "team-a", search or Search())


async def read_all(door, database=None, *, allowed=True):
    history = History(ApiServer(allowed=allowed), door, SimpleNamespace(), database)
    return await history._ended(Caller("t"), None, Search())


async def test_without_a_database_it_is_what_the_operator_tells():
    door = Door(ended("1", 12))
    answer = await read(door, search=Search(user="dana", text="app"))
    assert [one.uid for one in answer.items] == ["1"]
    assert door.asked == ("/v1/namespaces/team-a/history", {"user": "dana", "search": "app"})


async def test_a_ledger_wins_over_its_copy_and_the_copy_brings_the_prompt_and_what_is_older():
    ledgers = Door(ended("1", 12, server_cost="0.02"), ended("2", 13))
    copies = Database(ended("1", 11, prompt="A clock"), ended("3", 10, prompt="A quiz"))
    answer = await read(ledgers, copies)
    assert [one.uid for one in answer.items] == ["2", "1", "3"]
    assert [one.prompt for one in answer.items] == [None, "A clock", "A quiz"]
    assert answer.items[1].completed_at.hour == 12
    assert (answer.missing, answer.notice) == (None, None)


async def test_while_the_database_is_away_the_ledgers_answer_and_it_is_said():
    answer = await read(Door(ended("1", 12)), Database(away=True))
    assert [one.uid for one in answer.items] == ["1"]
    assert answer.missing == "older"
    assert "the history database does not answer" in answer.notice


async def test_while_the_operator_is_away_the_database_answers_and_it_is_said():
    answer = await read(Door(), Database(ended("1", 12)))
    assert [one.uid for one in answer.items] == ["1"]
    assert answer.missing == "newest"
    assert "the operator does not answer" in answer.notice


async def test_while_both_are_away_there_is_no_answer():
    with pytest.raises(OperatorAway):
        await read(Door(), Database(away=True))


async def test_the_database_is_not_asked_for_whom_kubernetes_refuses():
    database = Database(ended("1", 12))
    with pytest.raises(Refused, match=r"may not GET /apis/.*/namespaces/team-a/spawnsessions"):
        await read(Door(ended("1", 12)), database, allowed=False)
    with pytest.raises(Refused, match=r"may not GET /apis/spawn-ai.com/v1alpha1/spawnsessions"):
        await read_all(Door(ended("1", 12)), database, allowed=False)
    assert not database.asked


async def test_all_namespaces_are_searched_in_the_ledgers_and_in_the_database():
    door, database = Door(ended("2", 13)), Database(ended("1", 12))
    assert [one.uid for one in (await read_all(door, database)).items] == ["2", "1"]
    assert (door.asked, database.asked) == (("/v1/history", {}), "all")
    # Without a database the operator decides who may.
    assert [one.uid for one in (await read_all(door)).items] == ["2"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"items": [{"uid": 1}]}'])
async def test_an_answer_that_is_no_history_is_said_to_be_none(content):
    with pytest.raises(Problem) as caught:
        await read(Door(content=content))
    assert caught.value.status == 502
