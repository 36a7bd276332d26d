"""What a namespace's history tells, and how it is searched."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.export.ledgers import record_document

from spawnai.api.record import RecordSpec, RecordStatus
from spawnai.controller.door.history import MOST, Search, history_document
from spawnai.controller.store import StoredRecord

END = datetime(2026, 11, 29, 14, 0, 3, tzinfo=UTC)


def a_record(uid="1", name="retro-board", user="dana", ended_at=END, **spec) -> StoredRecord:
    document = record_document(uid)
    owner = document["spec"]["owner"] | {"name": name, "user": user}
    return StoredRecord(
        resource_version=1,
        uid=f"of-the-ledger-{uid}",
        spec=RecordSpec.model_validate(document["spec"] | {"owner": owner} | spec),
        status=RecordStatus.model_validate(document["status"] | {"completedAt": ended_at}),
        created_at=END - timedelta(hours=2),
        has_finalizer=False,
        deleting=False,
    )


def names(*records, namespace="team-a", **query):
    items = history_document(records, namespace, Search.of(query))["items"]
    return [one["name"] for one in items]


def test_an_ended_session_tells_its_receipt():
    (item,) = history_document([a_record()], "team-a", Search())["items"]
    assert item == {
        "uid": "1",
        "namespace": "team-a",
        "name": "retro-board",
        "user": "dana",
        "className": "standard",
        "appType": "webapp",
        "tier": "light",
        "createdAt": "2026-11-29T12:00:03+00:00",
        "completedAt": "2026-11-29T14:00:03+00:00",
        "terminationReason": "Expired",
        "serverCost": "0.01786",
        "claudeCost": "0.086",
        "totalCost": "0.10386",
    }


def test_what_lives_or_is_of_others_is_not_told():
    living = a_record(ended_at=None)
    a_class = a_record(owner={"kind": "SpawnClass", "name": "standard", "uid": "c"})
    assert names(living, a_class) == []
    assert names(a_record(), namespace="team-b") == []
    assert names(living, a_class, a_record(), namespace=None) == ["retro-board"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["quiz", "clock"]),
        ({"user": "dana"}, ["clock"]),
        ({"user": "team-a"}, ["quiz"]),
        ({"class": "big"}, ["quiz"]),
        ({"class": "bi"}, []),
        ({"search": "DAN"}, ["clock"]),
        ({"search": "bi"}, ["quiz"]),
        ({"search": "qui"}, ["quiz"]),
        # In another zone: 13:00:03 and 14:00:03 in UTC.
        ({"since": "2026-11-29T15:00:00+01:00"}, ["quiz"]),
        ({"until": "2026-11-29T15:00:00+01:00"}, ["clock"]),
        ({"until": "2026-11-29T14:00:03Z"}, ["clock"]),
        ({"since": "2026-11-29T14:00:03Z"}, ["quiz"]),
    ],
)
def test_it_is_searched_by_user_class_text_and_time(query, found):
    clock = a_record("1", name="clock", ended_at=END - timedelta(hours=1))
    quiz = a_record("2", name="quiz", user=None, className="big")
    assert names(clock, quiz, **query) == found


def test_a_time_that_is_none_is_refused_with_what_to_write():
    with pytest.raises(ValueError, match="write an RFC 3339 time"):
        Search.of({"since": "yesterday"})


def test_more_than_one_answer_holds_is_said():
    records = [a_record(str(number)) for number in range(MOST + 1)]
    document = history_document(records, "team-a", Search())
    assert (len(document["items"]), document["more"]) == (MOST, True)
