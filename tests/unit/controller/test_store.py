"""What the operator knows of its objects, whichever way it hears of their end first."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spawnai.api.names import FINALIZER
from spawnai.controller.store import Store

UID = "2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11"
NOW = "2026-11-23T10:00:00Z"


def body(version: int, *, deleting: bool = False, held: bool = True, uid: str = UID) -> Any:
    return {
        "metadata": {
            "name": "board",
            "namespace": "default",
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": NOW,
            **({"deletionTimestamp": NOW} if deleting else {}),
            **({"finalizers": [FINALIZER]} if held else {}),
        },
        "spec": {"prompt": "A retro board", "appType": "webapp"},
    }


def class_body(version: int, **how: Any) -> Any:
    return {**body(version, **how), "spec": {}}


@pytest.mark.parametrize("deleted_first", [True, False])
def test_the_answer_that_lets_an_object_go_does_not_bring_it_back(deleted_first):
    store = Store()
    store.put_session(body(1))
    store.put_class(class_body(1))
    if deleted_first:
        store.remove_session(UID)
        store.remove_class("board")
    store.put_session(body(2, deleting=True, held=False))
    store.put_class(class_body(2, deleting=True, held=False))
    assert store.session(UID) is None
    assert store.spawn_class("board") is None


def test_a_class_of_the_same_name_is_not_taken_for_the_one_that_went():
    store = Store()
    store.put_class(class_body(3, uid="another"))
    store.put_class(class_body(2, deleting=True, held=False))
    known = store.spawn_class("board")
    assert known is not None
    assert known.uid == "another"


def test_the_sessions_that_end_within_some_time_are_found_as_they_come_change_and_go():
    ten = datetime(2026, 11, 23, 10, tzinfo=UTC)
    store = Store()
    versions = iter(range(1, 100))

    def put(uid: str, minute: int | None) -> None:
        end = None if minute is None else (ten + timedelta(minutes=minute)).isoformat()
        store.put_session({**body(next(versions), uid=uid), "status": {"expirationTime": end}})

    def ending(first: int, last: int) -> list[str]:
        found = store.ending(ten + timedelta(minutes=first), ten + timedelta(minutes=last))
        return [session.uid for session in found]

    for uid, minute in (("a", 5), ("b", 1), ("c", 3), ("d", None), ("e", 3)):
        put(uid, minute)
    assert ending(0, 9) == ["b", "c", "e", "a"]
    assert ending(1, 3) == ["b", "c", "e"]
    put("c", 8)
    put("d", 2)
    put("b", None)
    store.remove_session("e")
    store.remove_session("e")
    assert ending(0, 9) == ["d", "a", "c"]
    assert ending(6, 7) == []


def test_an_end_without_a_time_zone_in_a_status_does_no_harm():
    store = Store()
    ends = ("2026-11-23T10:00:00", "2026-11-23T10:00:00Z")
    for version, end in enumerate(ends * 2):
        session = body(version + 1, uid=f"{version % 3}")
        assert store.put_session({**session, "status": {"expirationTime": end}})
    store.remove_session("0")
    assert {session.uid for session in store.sessions()} == {"1", "2"}


def test_an_object_that_is_deleted_but_held_is_still_there():
    store = Store()
    store.put_session(body(2, deleting=True))
    session = store.session(UID)
    assert session is not None
    assert session.deleting


@pytest.mark.parametrize(("orphaned", "closed"), [(True, True), (None, False)])
def test_a_ledger_made_for_an_orphan_is_closed_from_the_first(orphaned, closed):
    """It is made and written in two calls; between them nothing may take it for a session's."""
    store = Store()
    ledger = {
        **body(7),
        "spec": {
            "owner": {"kind": "SpawnSession", "name": "retro-board", "uid": "retro-board"},
            "clusterUid": "one",
            "orphaned": orphaned,
        },
    }
    store.put_record(ledger)
    known = store.record(ledger["metadata"]["name"])
    assert known is not None
    assert (known.status.completed_at is not None) is closed


def test_a_session_that_has_taken_a_spare_is_known_until_its_ledger_is_closed():
    store = Store()
    owner = {"kind": "SpawnSession", "namespace": "team", "name": "board", "uid": "board"}
    line = {"kind": "Droplet", "id": "1", "name": "spawn-board", "createdAt": NOW}
    spec = {"owner": owner, "clusterUid": "one"}
    store.put_record({**body(7), "spec": spec, "status": {"resources": [line]}})
    assert list(store.takers()) == []
    taken = {"resources": [{**line, "spare": "another"}]}
    store.put_record({**body(8), "spec": spec, "status": taken})
    assert [one.spec.owner.uid for one in store.takers()] == ["board"]
    store.put_record({**body(9), "spec": spec, "status": {**taken, "completedAt": NOW}})
    assert list(store.takers()) == []


def test_a_spare_whose_ledger_is_closed_is_kept_and_not_open():
    store = Store()
    owner = {"kind": "SpawnPool", "name": "spares", "uid": "board"}
    opened = {**body(7), "spec": {"owner": owner, "clusterUid": "one"}}
    store.put_record(opened)
    assert [one.spec.owner.uid for one in store.open_spares()] == ["board"]
    store.put_record({**body(8), "spec": opened["spec"], "status": {"completedAt": NOW}})
    assert [one.spec.owner.uid for one in store.spares()] == ["board"]
    assert list(store.open_spares()) == []
    store.remove_record("board")
    assert list(store.spares()) == []
